"""node.toml: what is wrong in it is named all at once, and what init writes is read back."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.ids import AgencyId
from nodes.config import (
    EXAMPLES,
    LegalBasis,
    NodeConfig,
    default_case_prefix,
    default_endpoint,
    format_listen,
    load_config,
    parse_config,
    parse_listen,
    render_config,
)
from nodes.errors import ConfigError

SMALLEST: dict[str, object] = {
    "agency": "bka.de",
    "name": "Bundeskriminalamt",
    "country": "DE",
    "listen": "127.0.0.1:7443",
    "case_prefix": "DE-BKA",
}


def problems(document: dict[str, object]) -> dict[str, str]:
    """Rules broken, by key."""
    with pytest.raises(ConfigError) as refused:
        parse_config(document, path="node.toml")
    assert (refused.value.code, refused.value.exit) == ("bad_config", 78)
    return {problem.path.strip("/").replace("/", "."): problem.rule for problem in refused.value.problems}


def test_the_smallest_configuration_has_safe_defaults() -> None:
    config = parse_config(SMALLEST, path="node.toml")
    assert config.listen == ("127.0.0.1", 7443)
    assert config.endpoints == ()
    assert config.notice.command == ()
    assert config.notice.repeat_minutes == 5
    assert config.disk.reserve_bytes < config.disk.floor_bytes
    assert config.all_names == (("en", "Bundeskriminalamt"),)


@pytest.mark.parametrize("text", ["names = " + "[" * 5_000, "a = " + "9" * 5_000], ids=["deep", "long"])
def test_what_the_parser_itself_gives_up_on_is_no_toml(tmp_path: Path, text: str) -> None:
    (tmp_path / "node.toml").write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_config(tmp_path)
    assert refused.value.rule == "toml_syntax"


def test_everything_wrong_is_named_at_once_with_an_example() -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config({"agency": "BKA", "country": "Germany", "listen": "7443"}, path="node.toml")
    found = {problem.path: problem for problem in refused.value.problems}
    assert set(found) == {"/agency", "/name", "/country", "/listen", "/case_prefix"}
    assert found["/name"].rule == "required"
    assert all(problem.example for problem in found.values())


def test_a_misspelt_key_comes_first_and_names_the_nearest() -> None:
    document = {**SMALLEST, "nmae": "BKA"}
    del document["name"]
    with pytest.raises(ConfigError) as refused:
        parse_config(document, path="node.toml")
    assert (refused.value.key, refused.value.rule) == ("nmae", "unknown_key")
    assert "name" in refused.value.message


@pytest.mark.parametrize("section", ["notice", "disk", "limits"])
def test_an_unknown_key_of_a_section_is_named(section: str) -> None:
    assert problems({**SMALLEST, section: {"zzz": 1}}) == {f"{section}.zzz": "unknown_key"}


WRONG: dict[str, list[object]] = {
    "agency": ["b", "BKA.de", "bka de", 7],
    "name": ["", " BKA", "two\nlines", "\x1b[2J", "x" * 201],
    "country": ["de", "D", "DEU", "ZY"],
    "listen": ["7443", "127.0.0.1", "127.0.0.1:65536", ":7443", "[::1:7443", "a b:1", "http://x:1", True, ["a", 1]],
    "endpoints": [
        ["http://a:1"],
        ["https://a"],
        ["https://a:1/x"],
        ["https://u@a:1"],
        ["https://a:99999"],
        "https://a:1",
    ],
    "contact": ["0611 55-0", "+49", "+1555", "+999123456789", "call me", "+1 555 010 0100 ext. 7"],
    "languages": [[], ["german"], ["DE"], "de"],
    "names": [[["en"]], [["en", ""]], [["english", "BKA"]]],
    "case_prefix": ["", "D", "de-bka", "DE", "DE-" + "A" * 21, "DE/BKA"],
    "legal_basis": [[], [{"code": ""}], [{"citation": "x"}], ["national_law"]],
    "log_level": ["loud", 3],
    "officer_ref": ["", "x" * 65],
    "unit": ["a\tb"],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values])
def test_a_value_that_breaks_its_rule_is_named_by_its_key(key: str, value: object) -> None:
    found = problems({**SMALLEST, key: value})
    assert {name.partition(".")[0] for name in found} == {key}


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("notice", "command", [1]),
        ("notice", "command", "wake 'unclosed"),
        ("notice", "repeat_minutes", 0),
        ("notice", "repeat_minutes", "5"),
        ("disk", "floor_bytes", -1),
        ("limits", "rounds_per_peer", 0),
        ("limits", "round_memory_bytes", 1),
        ("limits", "connections", 1.5),
        ("limits", "connections", True),
    ],
)
def test_a_value_of_a_section_that_breaks_its_rule_is_named(section: str, key: str, value: object) -> None:
    found = problems({**SMALLEST, section: {key: value}})
    assert {".".join(name.split(".")[:2]) for name in found} == {f"{section}.{key}"}


def test_a_reserve_above_the_floor_is_named() -> None:
    assert problems({**SMALLEST, "disk": {"floor_bytes": 10, "reserve_bytes": 11}}) == {"disk": "reserve_above_floor"}


@pytest.mark.parametrize("key", EXAMPLES)
def test_every_example_is_valid(key: str) -> None:
    section, _, _ = key.rpartition(".")
    given = tomllib.loads(EXAMPLES[key])
    parse_config({**SMALLEST, **({section: given} if section else given)}, path="node.toml")


@pytest.mark.parametrize(
    ("written", "kept"),
    [("+49 611 55-0123", "+49611550123"), ("+573001234567", "+573001234567")],
)
def test_a_telephone_number_is_kept_in_its_one_form(written: str, kept: str) -> None:
    assert parse_config({**SMALLEST, "contact": written}, path="x").contact == kept


@pytest.mark.parametrize("country", ["DE", "CO", "XK", "QZ", "ZZ", "EU"])
def test_countries_and_user_assigned_codes_are_countries(country: str) -> None:
    assert parse_config({**SMALLEST, "country": country}, path="x").country == country


def test_a_command_in_one_string_is_split_but_never_given_to_a_shell() -> None:
    config = parse_config({**SMALLEST, "notice": {"command": "wake --loud 'duty officer' $HOME"}}, path="x")
    assert config.notice.command == ("wake", "--loud", "duty officer", "$HOME")


@pytest.mark.parametrize("text", ["none", "127.0.0.1:0", "[::1]:7443", "node.example:65535"])
def test_listen_is_read_and_written_alike(text: str) -> None:
    assert format_listen(parse_listen(text)) == text


@pytest.mark.parametrize(
    ("listen", "endpoint"),
    [
        ("127.0.0.1:7443", "https://127.0.0.1:7443"),
        ("[2001:db8::1]:1", "https://[2001:db8::1]:1"),
        ("127.0.0.1:0", None),
        ("0.0.0.0:7443", None),
        ("[::]:7443", None),
        ("none", None),
    ],
)
def test_an_endpoint_is_derived_where_it_can_be_told(listen: str, endpoint: str | None) -> None:
    assert default_endpoint(parse_listen(listen)) == endpoint


@given(st.from_regex(r"[a-z0-9.-]{3,64}", fullmatch=True), st.sampled_from(["DE", "CO", "XK"]))
def test_a_case_prefix_is_found_for_every_agency(agency: str, country: str) -> None:
    prefix = default_case_prefix(agency, country)
    assert parse_config({**SMALLEST, "case_prefix": prefix}, path="x").case_prefix == prefix


lines = st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable() and text == text.strip())


@given(
    lines,
    lines,
    st.lists(lines, max_size=3),
    st.sampled_from([None, "+573001234567"]),
    st.sampled_from(["none", "[::1]:7443", "127.0.0.1:1"]),
)
def test_what_is_written_is_read_back(
    name: str, citation: str, command: list[str], contact: str | None, listen: str
) -> None:
    config = NodeConfig(
        agency=AgencyId("bka.de"),
        name=name,
        country="DE",
        names=(("de", name), ("en", citation)),
        languages=("de", "en"),
        listen=parse_listen(listen),
        endpoints=("https://[::1]:7443", "https://a.example:1"),
        contact=contact,
        case_prefix="DE-BKA",
        unit=citation,
        legal_basis=(LegalBasis(code="national_law", citation=citation),),
        notice={"command": command, "repeat_minutes": 7},  # type: ignore[arg-type] # as TOML gives it
    )
    assert parse_config(tomllib.loads(render_config(config)), path="node.toml") == config


def test_the_file_is_read(tmp_path: Path) -> None:
    config = parse_config(SMALLEST, path="x")
    (tmp_path / "node.toml").write_text(render_config(config))
    assert load_config(tmp_path) == config


@pytest.mark.parametrize(
    ("data", "rule"),
    [(b"agency = ", "toml_syntax"), (b"\xff", "utf8"), (b"a" * 1_048_577, "too_large"), (None, "missing")],
)
def test_a_file_that_is_none_is_named(data: bytes | None, rule: str, tmp_path: Path) -> None:
    if data is not None:
        (tmp_path / "node.toml").write_bytes(data)
    with pytest.raises(ConfigError) as refused:
        load_config(tmp_path)
    assert (refused.value.path, refused.value.rule) == (str(tmp_path / "node.toml"), rule)


def test_a_configuration_cannot_be_changed_while_the_node_runs() -> None:
    config = parse_config(SMALLEST, path="x")
    with pytest.raises(ValueError, match="frozen"):
        config.agency = "x"  # type: ignore[misc, assignment]
