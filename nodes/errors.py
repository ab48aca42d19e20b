"""What can go wrong in a node and how an operator hears of it. Owns codes and exits (docs/CLI.md §3), not the printing.

Every error carries fields; `message` and `hint` are prose for a person and never asserted, never parsed. No error holds
case content but `problems` of an operator's own draft: they go back to that operator only, never to a log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

EXIT_CHECK_FAILED = 1
EXIT_WAITING = 75  # --wait ran out: a P document, no error

ERROR_EXITS: Mapping[str, int] = MappingProxyType(
    {
        "usage": 2,
        "invalid_alert": 65,
        "invalid_card": 65,
        "safety_code_mismatch": 65,
        "unknown_id": 65,
        "ambiguous_id": 65,
        "unknown_agency": 65,
        "id_reused": 65,
        "wrong_state": 65,
        "too_large": 65,
        "node_not_running": 69,
        "internal": 70,
        "exists": 73,
        "io_error": 74,
        "disk_low": 74,
        "policy_denied": 77,
        "marking_contradiction": 77,
        "not_permitted": 77,
        "peer_not_usable": 77,
        "root_changed": 77,
        "anchor_conflict": 77,
        "rollback": 77,
        "bad_config": 78,
        "bad_passphrase": 78,
        "key_file_permissions": 78,
        "schema_too_new": 78,
        "port_in_use": 78,
        "already_running": 78,
        "clock_behind_log": 78,
    }
)
"""Exit of the command line for every error code of the contract."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with what an operator gave. `path` is a JSON Pointer ("" = the whole), `rule` a stable code."""

    path: str
    rule: str
    message: str
    example: str | None = None

    def document(self) -> dict[str, str | None]:
        """The contract's form."""
        return {"path": self.path, "rule": self.rule, "message": self.message, "example": self.example}


class NodeError(Exception):
    """Root of everything nodes/ raises on purpose. Never raised itself.

    `code` is one of ERROR_EXITS; `message` says what happened, `hint` what to do next.
    """

    code: str = "internal"

    def __init__(self, message: str, *, hint: str = "", problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.problems = problems

    @property
    def exit(self) -> int:
        """Exit status of the command line."""
        return ERROR_EXITS[self.code]

    def document(self) -> dict[str, object]:
        """The contract's error document (docs/CLI.md §3, "any failure")."""
        return {
            "v": 1,
            "error": {
                "code": self.code,
                "message": self.message,
                "hint": self.hint,
                "exit": self.exit,
                "problems": [problem.document() for problem in self.problems],
            },
        }


class OperationError(NodeError):
    """An operator's request that cannot be done; what the local API answers and the command line prints."""

    def __init__(self, code: str, message: str, hint: str = "", problems: tuple[Problem, ...] = ()) -> None:
        """Raises KeyError for a code that the contract does not have: a bug of ours, found by the first test there."""
        ERROR_EXITS[code]
        super().__init__(message, hint=hint, problems=problems)
        self.code = code


class ConfigError(NodeError):
    """A setting, or the directory's shape, is not usable. `key` is dotted; "" is the file or directory as a whole."""

    code = "bad_config"

    def __init__(
        self, path: str, key: str, rule: str, hint: str, *, message: str = "", problems: tuple[Problem, ...] = ()
    ) -> None:
        """`problems` lists everything that is wrong where more than this one thing is."""
        said = message or (f"{path}: {key}: {rule}" if key else f"{path}: {rule}")
        pointer = "/" + key.replace(".", "/") if key else ""
        super().__init__(said, hint=hint, problems=problems or (Problem(pointer, rule, said),))
        self.path = path
        self.key = key
        self.rule = rule


class DirectoryPermissionsError(ConfigError):
    """Others may read or change what only the node's own user may."""

    code = "key_file_permissions"


class ListenError(NodeError):
    """The node cannot listen on `address`. `problem` is the operating system's reason."""

    code = "port_in_use"

    def __init__(self, address: str, problem: str) -> None:
        super().__init__(
            f"cannot listen on {address}: {problem}",
            hint="stop what uses this address, or change `listen` in node.toml",
        )
        self.address = address
        self.problem = problem


class AlreadyRunningError(NodeError):
    """Another process runs on this directory. `pid` is None when that process has not yet written it."""

    code = "already_running"

    def __init__(self, pid: int | None) -> None:
        who = "another process" if pid is None else f"process {pid}"
        super().__init__(f"{who} already runs on this directory", hint="stop it first, or use another directory")
        self.pid = pid


class StoreError(NodeError):
    """The store could not do what was asked; nothing of it happened."""

    code = "io_error"


class StoreBusyError(StoreError):
    """The store is held by somebody else, or overloaded; asking again may help."""


class SchemaTooNewError(StoreError):
    """The store was written by a newer version. `found` and `supported` are schema numbers."""

    code = "schema_too_new"

    def __init__(self, found: int, supported: int) -> None:
        super().__init__(
            f"the store has schema {found}, this version knows up to {supported}",
            hint="run the version that wrote it, or a newer one",
        )
        self.found = found
        self.supported = supported


class StoreCorruptError(StoreError):
    """What the store holds contradicts itself. `problem` names the check, never the data."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"the store is damaged: {problem}", hint="keep a copy of the directory, restore the last backup"
        )
        self.problem = problem


class DiskFullError(StoreError):
    """The disk has no room for this write; nothing of it happened."""

    code = "disk_low"

    def __init__(self) -> None:
        super().__init__("the disk is full", hint="free space on the disk that holds the directory")


class FatalError(NodeError):
    """The durable state is not known: a commit of unknown outcome, a disk that failed a sync, somebody else's writes.

    The process must stop signing and exit (70) after logging; the next start reads the truth.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(f"the node stops: {problem}", hint="start it again; if it stops again, see the log")
        self.problem = problem
