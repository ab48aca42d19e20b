"""Who may do what: uids, operators, roles. Owns the mapping and the check; what an operation does is elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum

from nodes.errors import OperationError
from nodes.store.contract import OperatorRow


class Role(StrEnum):
    """What an operator may do."""

    ANALYST = "analyst"  # posts, reads, acknowledges
    RELEASER = "releaser"  # will release what a second officer must see (reserved for four-eyes)
    AUDITOR = "auditor"  # exports evidence, verifies the log
    ADMIN = "admin"  # peers, operators, keys


ALL_ROLES = tuple(Role)
_SPEAKING = "post preview update cancel resolve renew note ack resend stream drafts draft_save draft_show draft_delete"
_READING = "inbox sent show watch new_template notice_test"
_FOLLOWING = "track why"
_PROVING = "evidence_export log_verify"
_RULING = (
    "peer_add peer_suspend peer_resume peer_remove peer_replace"
    " operator_list operator_add operator_remove keys_rotate log_reopen"
)
_LOOKING = "card peer_list peer_show status doctor keys_status metrics"

NEEDED: Mapping[str, frozenset[Role]] = {
    operation: frozenset(roles)
    for operations, roles in (
        (_SPEAKING, (Role.ANALYST, Role.RELEASER)),
        (_READING, (Role.ANALYST, Role.RELEASER)),
        (_FOLLOWING, (Role.ANALYST, Role.RELEASER, Role.AUDITOR)),
        (_PROVING, (Role.AUDITOR, Role.ANALYST, Role.ADMIN)),
        (_RULING, (Role.ADMIN,)),
        (_LOOKING, tuple(Role)),
    )
    for operation in operations.split()
}


class Operators:
    """The enrolled operators by uid."""

    def __init__(self, rows: Iterable[OperatorRow]) -> None:
        self._by_ref = {row.ref: row for row in rows}

    def __iter__(self) -> Iterator[OperatorRow]:
        return iter(sorted(self._by_ref.values(), key=lambda row: row.ref))

    def put(self, row: OperatorRow) -> None:
        """Add or replace."""
        self._by_ref[row.ref] = row

    def drop(self, ref: str) -> None:
        """Remove; unknown is no error."""
        self._by_ref.pop(ref, None)

    def get(self, ref: str) -> OperatorRow | None:
        """By reference."""
        return self._by_ref.get(ref)

    def admins(self) -> list[OperatorRow]:
        """Those who can enrol others: the last one cannot be removed."""
        return [row for row in self._by_ref.values() if Role.ADMIN in row.roles]

    def may(self, uid: int, operation: str) -> OperatorRow:
        """The operator behind a uid, if one of its roles allows the operation.

        Raises OperationError(not_permitted) naming what is missing.
        """
        mine = [row for row in self._by_ref.values() if row.uid == uid]
        if not mine:
            raise OperationError(
                "not_permitted",
                f"uid {uid} is no operator of this node",
                f"an admin enrols it: tocsin operator add REF --uid {uid} --role analyst",
            )
        needed = NEEDED[operation]
        for row in mine:
            if needed & {Role(role) for role in row.roles}:
                return row
        roles = ", ".join(sorted(role.value for role in needed))
        raise OperationError(
            "not_permitted",
            f"{mine[0].ref} lacks a role for this ({roles})",
            "an admin can add it: tocsin operator add",
        )
