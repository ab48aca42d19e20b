"""What an agency decides about its node: node.toml as a checked value, and the commented file that `init` writes.

Owns keys, rules, examples and defaults. It does not know what is done with a setting; protocol limits are no settings.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shlex
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Self

import phonenumbers
import pycountry
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from keys.errors import KeysError
from keys.ids import AgencyId, parse_agency_id
from nodes.directory import layout_of
from nodes.endpoints import parse_endpoint
from nodes.errors import ConfigError, Problem

MAX_CONFIG_BYTES = 1_048_576
MIB = 1_048_576


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


# --- rules: each turns what is written into a value, or names the rule that it breaks ---------------------------------


class _Broken(PydanticCustomError):  # noqa: N818 # read as: raise broken, a rule
    """A rule of ours that a value breaks."""

    def __new__(cls, rule: str, said: str) -> Self:
        return super().__new__(cls, rule, said)


def _agency(value: str) -> AgencyId:
    try:
        return parse_agency_id(value)
    except KeysError as problem:
        raise _Broken("agency_id", "an agency id is 3 to 64 of a-z, 0-9, dot and hyphen") from problem


_USER_ASSIGNED = re.compile(r"AA|Q[M-Z]|X[A-Z]|ZZ|EU|UN")  # by ISO 3166-1 (XK and the like), and two it reserves


def _country(value: str) -> str:
    known = re.fullmatch("[A-Z]{2}", value) and pycountry.countries.get(alpha_2=value)
    if not known and not _USER_ASSIGNED.fullmatch(value):
        raise _Broken("country", "a country is its ISO 3166-1 code of two capital letters")
    return value


def _language(value: str) -> str:
    if not re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*", value):
        raise _Broken("language", "a language is its BCP 47 tag")
    return value


def _phone(value: str) -> str:
    try:
        number = phonenumbers.parse(value)
    except phonenumbers.NumberParseException as problem:
        raise _Broken("e164", "a telephone number is + and the country's calling code, then the number") from problem
    if number.extension or not phonenumbers.is_possible_number(number):
        raise _Broken("e164", "no telephone number of that country has this form or length")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _case_prefix(value: str) -> str:
    if not re.fullmatch(r"[A-Z]{2}[A-Z0-9-]{1,20}", value):
        raise _Broken("case_prefix", "a case prefix is two capital letters, then 1 to 20 of A-Z, 0-9 and hyphen")
    return value


def _one_line(value: str) -> str:
    if not value.isprintable() or value != value.strip():
        raise _Broken("one_line", "one line of text, without spaces around it")
    return value


def _endpoint(value: str) -> str:
    try:
        return parse_endpoint(value)
    except ValueError as problem:
        raise _Broken("endpoint", "an endpoint is https://HOST:PORT, with nothing after it") from problem


def _listen(value: object) -> object:
    try:
        return parse_listen(value) if isinstance(value, str) else value
    except ValueError as problem:
        raise _Broken("listen", "listen is HOST:PORT, [IPV6]:PORT, or none") from problem


def _tuple(value: object) -> object:
    return tuple(_tuple(item) for item in value) if isinstance(value, list) else value


def _command(value: object) -> object:
    if not isinstance(value, str):
        return _tuple(value)
    try:
        return tuple(shlex.split(value))
    except ValueError as problem:
        raise _Broken("command", "a quotation mark of the command is not closed") from problem


_Line = Annotated[str, Field(max_length=200), AfterValidator(_one_line)]
_Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_one_line)]
_Language = Annotated[str, AfterValidator(_language)]


# --- settings ---------------------------------------------------------------------------------------------------------


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class LegalBasis(_Section):
    """On what ground alerts are sent: a code of the vocabulary (L46) and the article."""

    code: Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_one_line)]
    citation: _Line = ""


class NoticeConfig(_Section):
    """What wakes a person. `command` is never given to a shell; empty: nobody is woken."""

    command: Annotated[tuple[str, ...], BeforeValidator(_command)] = ()
    repeat_minutes: Annotated[int, Field(ge=1, le=1_440)] = 5
    timeout_seconds: Annotated[int, Field(ge=1, le=600)] = 30


class DiskConfig(_Section):
    """Free space, in bytes. Below the floor new posts are refused; below the reserve everything that writes is."""

    floor_bytes: Annotated[int, Field(ge=0)] = 128 * MIB
    reserve_bytes: Annotated[int, Field(ge=0)] = 32 * MIB

    @model_validator(mode="after")
    def _reserve_lies_below_the_floor(self) -> DiskConfig:
        if self.reserve_bytes > self.floor_bytes:
            raise _Broken("reserve_above_floor", "the reserve is a part of the floor and cannot be larger")
        return self


class LimitsConfig(_Section):
    """What strangers and peers may take of this machine."""

    connections: Annotated[int, Field(ge=8, le=65_536)] = 1_024
    connections_per_address: Annotated[int, Field(ge=1, le=65_536)] = 128
    rounds_per_peer: Annotated[int, Field(ge=1, le=64)] = 4
    round_memory_bytes: Annotated[int, Field(ge=8 * MIB)] = 64 * MIB
    # Not below what every node owes a peer (PROTOCOL §9.4): 50 rounds, 4 MiB, and 1,000 items under as many heads.
    peer_rounds_per_s: Annotated[int, Field(ge=50, le=1_000_000)] = 250
    peer_bytes_per_s: Annotated[int, Field(ge=4 * MIB)] = 16 * MIB
    peer_work_per_s: Annotated[int, Field(ge=1_200, le=100_000_000)] = 4_000


class NodeConfig(_Section):
    """node.toml."""

    agency: Annotated[AgencyId, AfterValidator(_agency)]
    name: _Name
    country: Annotated[str, AfterValidator(_country)]
    names: Annotated[tuple[tuple[_Language, _Name], ...], BeforeValidator(_tuple), Field(max_length=32)] = ()
    languages: Annotated[tuple[_Language, ...], BeforeValidator(_tuple), Field(min_length=1, max_length=32)] = ("en",)
    listen: Annotated[tuple[str, int] | None, BeforeValidator(_listen)]
    endpoints: Annotated[
        tuple[Annotated[str, AfterValidator(_endpoint)], ...], BeforeValidator(_tuple), Field(max_length=8)
    ] = ()
    contact: Annotated[str, AfterValidator(_phone)] | None = None
    case_prefix: Annotated[str, AfterValidator(_case_prefix)]
    unit: _Line = ""
    officer_ref: Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_one_line)] = "duty"
    legal_basis: Annotated[tuple[LegalBasis, ...], BeforeValidator(_tuple), Field(min_length=1, max_length=16)] = (
        LegalBasis(code="national_law"),
    )
    log_level: Annotated[LogLevel, Field(strict=False)] = LogLevel.INFO
    notice: NoticeConfig = NoticeConfig()
    disk: DiskConfig = DiskConfig()
    limits: LimitsConfig = LimitsConfig()

    @property
    def all_names(self) -> tuple[tuple[str, str], ...]:
        """Every name with its language, the agency's own main name first (PROTOCOL §4)."""
        return ((self.languages[0], self.name), *self.names)


EXAMPLES: Mapping[str, str] = {
    "agency": 'agency = "bka.de"',
    "name": 'name = "Bundeskriminalamt"',
    "country": 'country = "DE"',
    "names": 'names = [["en", "Federal Criminal Police Office"]]',
    "languages": 'languages = ["de", "en"]',
    "listen": 'listen = "0.0.0.0:7443"',
    "endpoints": 'endpoints = ["https://tocsin.bka.example:7443"]',
    "contact": 'contact = "+4961155123"',
    "case_prefix": 'case_prefix = "DE-BKA"',
    "unit": 'unit = "SO 12"',
    "officer_ref": 'officer_ref = "duty-07"',
    "legal_basis": 'legal_basis = [{ code = "national_law", citation = "BKAG § 3" }]',
    "log_level": 'log_level = "info"',
    "notice.command": 'command = ["/usr/local/bin/wake-duty-officer"]',
    "notice.repeat_minutes": "repeat_minutes = 5",
    "notice.timeout_seconds": "timeout_seconds = 30",
    "disk.floor_bytes": "floor_bytes = 134217728",
    "disk.reserve_bytes": "reserve_bytes = 33554432",
    "limits.connections": "connections = 1024",
    "limits.connections_per_address": "connections_per_address = 128",
    "limits.rounds_per_peer": "rounds_per_peer = 4",
    "limits.round_memory_bytes": "round_memory_bytes = 67108864",
    "limits.peer_rounds_per_s": "peer_rounds_per_s = 250",
    "limits.peer_bytes_per_s": "peer_bytes_per_s = 16777216",
    "limits.peer_work_per_s": "peer_work_per_s = 4000",
}
"""One valid line per key."""


# --- reading and writing ----------------------------------------------------------------------------------------------


def load_config(directory: str | os.PathLike[str]) -> NodeConfig:
    """Read DIR/node.toml.

    Raises:
        ConfigError: with every key that is wrong, its rule and an example; an unknown key with the nearest known one.
    """
    path = layout_of(directory).config_file
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
    except FileNotFoundError as problem:
        raise ConfigError(str(path), "", "missing", "this is no node's directory: run `tocsin init` first") from problem
    except OSError as problem:
        raise ConfigError(str(path), "", "unreadable", problem.strerror or "cannot be read") from problem
    if len(data) > MAX_CONFIG_BYTES:
        raise ConfigError(str(path), "", "too_large", "a configuration is a few kilobytes of text")
    try:
        document = tomllib.loads(data.decode())
    except UnicodeDecodeError as problem:
        raise ConfigError(str(path), "", "utf8", f"byte {problem.start} is not UTF-8: save it as UTF-8") from problem
    except (
        ValueError,
        RecursionError,
    ) as problem:  # not TOMLDecodeError alone: a number of 5,000 digits, deep brackets
        raise ConfigError(str(path), "", "toml_syntax", str(problem)) from problem
    return parse_config(document, path=str(path))


def parse_config(document: Mapping[str, object], *, path: str) -> NodeConfig:
    """Check settings given as TOML would give them; `path` names their source in errors.

    Raises:
        ConfigError: as `load_config`.
    """
    try:
        return NodeConfig.model_validate(dict(document))
    except ValidationError as invalid:
        found = (_problem(error) for error in invalid.errors(include_url=False, include_input=False))
        # A misspelt key first: it is the cause of the missing one.
        problems = tuple(sorted(found, key=lambda problem: problem.rule != "unknown_key"))
    first = problems[0]
    key = first.path.strip("/").replace("/", ".")
    hint = f"for example: {first.example}" if first.example else f"edit {path}"
    raise ConfigError(path, key, first.rule, hint, message=f"{path}: {key}: {first.message}", problems=problems)


def _problem(error: ErrorDetails) -> Problem:
    keys = [str(part) for part in error["loc"]]
    example = EXAMPLES.get(".".join(keys[:2])) or EXAMPLES.get(".".join(keys[:1]))
    match error["type"]:
        case "extra_forbidden":
            rule, said = "unknown_key", _unknown(keys)
        case "missing":
            rule, said = "required", "this key is required"
        case kind:
            rule, said = kind, error["msg"]
    return Problem("/" + "/".join(keys), rule, said, example)


def _unknown(keys: list[str]) -> str:
    section: type[BaseModel] = NodeConfig
    if len(keys) > 1:
        section = _SECTIONS.get(keys[0], NodeConfig)
    known = list(section.model_fields)
    nearest = difflib.get_close_matches(keys[-1], known, n=1, cutoff=0.5)
    return f"no such key; did you mean {nearest[0]}?" if nearest else f"no such key; there are {', '.join(known)}"


_SECTIONS: Mapping[str, type[BaseModel]] = {
    "notice": NoticeConfig,
    "disk": DiskConfig,
    "limits": LimitsConfig,
    "legal_basis": LegalBasis,
}


def parse_listen(text: str) -> tuple[str, int] | None:
    """Parse `HOST:PORT`, `[IPV6]:PORT` or `none` (no inbound connections).

    Raises:
        ValueError: it is none of these.
    """
    if text == "none":
        return None
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+(?:%\w+)?)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})", text)
    if match is None or int(match[3]) > 65_535:
        raise ValueError(text)
    return match[1] or match[2], int(match[3])


def format_listen(listen: tuple[str, int] | None) -> str:
    """The text that `parse_listen` reads."""
    if listen is None:
        return "none"
    host, port = listen
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def default_endpoint(listen: tuple[str, int] | None) -> str | None:
    """URL of a node that listens there; None where it cannot be told (`none`, every address, a port not yet known)."""
    if listen is None or listen[1] == 0 or listen[0] in ("0.0.0.0", "::"):  # noqa: S104 # looked at, not bound
        return None
    return f"https://{format_listen(listen)}"


def default_case_prefix(agency: str, country: str) -> str:
    """`DE-BKA` for `bka.de` in `DE`."""
    name = re.sub(r"[^A-Z0-9]+", "-", agency.partition(".")[0].upper()).strip("-") or "X"
    return f"{country}-{name}"[:22].rstrip("-")


def render_config(config: NodeConfig) -> str:
    """node.toml with every setting and what it is for; `load_config` reads the same value back."""
    return _TEMPLATE.format_map(_toml_values(config))


def _toml_values(config: NodeConfig) -> dict[str, str]:
    values = {key: _toml(value) for key, value in config.model_dump(mode="json").items() if not isinstance(value, dict)}
    for section in ("notice", "disk", "limits"):
        settings: dict[str, Any] = getattr(config, section).model_dump(mode="json")
        values.update({f"{section}_{key}": _toml(value) for key, value in settings.items()})
    values["listen"] = _toml(format_listen(config.listen))
    values["contact_line"] = (
        f"# {EXAMPLES['contact']}" if config.contact is None else f"contact = {_toml(config.contact)}"
    )
    return values


def _toml(value: object) -> str:
    """A TOML value. Strings as JSON writes them are TOML basic strings, as no control character passes the rules."""
    match value:
        case list():
            return f"[{', '.join(_toml(item) for item in value)}]"
        case dict():
            return f"{{ {', '.join(f'{key} = {_toml(item)}' for key, item in value.items())} }}"
        case _:
            return json.dumps(value, ensure_ascii=False)


_TEMPLATE = """\
# The configuration of a Tocsin node. Read when the node starts. No secret belongs in here.

# --- the agency, as its card says it. The root has signed agency, names and country: `tocsin keys anchor` changes them.
agency = {agency}
name = {name}
country = {country}
# other names, each with its language
names = {names}
# languages that the duty desk reads, the main one first
languages = {languages}
# telephone of the duty desk, 24 hours, E.164
{contact_line}

# --- where peers reach this node; "none": no inbound connections, the node calls and waits
listen = {listen}
endpoints = {endpoints}

# --- what is filled into alerts that do not say it themselves
case_prefix = {case_prefix}
unit = {unit}
officer_ref = {officer_ref}
legal_basis = {legal_basis}

# debug, info, warning or error; never case content
log_level = {log_level}

[notice]
# Runs for each inbound flash or immediate message, and again until a person has opened it. No shell; added arguments:
# message id, case id, precedence, sender. Empty: nobody is woken.
command = {notice_command}
repeat_minutes = {notice_repeat_minutes}
timeout_seconds = {notice_timeout_seconds}

[disk]
# Below `floor_bytes` of free space new posts are refused; receipts, cancels and flash go on down to `reserve_bytes`.
floor_bytes = {disk_floor_bytes}
reserve_bytes = {disk_reserve_bytes}

[limits]
# connections at once; of one address while they have not shown who they are
connections = {limits_connections}
connections_per_address = {limits_connections_per_address}
# rounds of one peer at once, and bytes of all rounds in memory
rounds_per_peer = {limits_rounds_per_peer}
round_memory_bytes = {limits_round_memory_bytes}
# What one peer may take in a second (at once: twice that) before it is slowed down, then answered rate_limited: rounds,
# bytes, and work. A unit of work is about 0.1 ms: an item is one, a signed object four, what is bad sixteen more.
peer_rounds_per_s = {limits_peer_rounds_per_s}
peer_bytes_per_s = {limits_peer_bytes_per_s}
peer_work_per_s = {limits_peer_work_per_s}
"""
