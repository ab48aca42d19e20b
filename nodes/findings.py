"""What an operator should know without asking (status, doctor): the list of findings, computed from what is there now.

Owns the codes and sentences of findings. It reads; it changes nothing and remembers nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from keys.anchor import Anchor
from keys.ids import AgencyId, format_uuid
from keys.trust import AnchorLife, Trust, anchor_life, expiry_warning
from nodes.peers import Peer, Peers

SKEW_WARNING_MS = 2_000
SKEW_ERROR_MS = 60_000
UNRECONCILED_ALARM_MS = 24 * 3_600_000
EPOCH_AHEAD_WARNING = 7


@dataclass(frozen=True, slots=True)
class Finding:
    """F of the contract."""

    code: str
    severity: str  # info warning error
    sentence: str
    next_step: str
    peer: str | None = None
    count: int | None = None  # of what it speaks of, where that can be counted
    message_ids: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """The contract's form."""
        return {
            "code": self.code,
            "severity": self.severity,
            "peer": self.peer,
            "sentence": self.sentence,
            "next_step": self.next_step,
            "count": self.count,
            "message_ids": list(self.message_ids),
        }


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What the node knows of itself that may be worth a finding."""

    anchor: Anchor
    root_online: bool
    epoch_keys_ahead: int
    disk_low: bool
    clock_behind_ms: int
    read_only: bool
    needs_anchor: bool
    pair_due: bool
    generation: int
    notice_command: bool
    contact: str | None
    notice_failing: str | None = None
    shut_out: tuple[str, ...] = ()


def _confirmed(anchor: Anchor) -> int:
    """The log generation that the root has signed."""
    return max((gateway.generation for gateway in anchor.body.gateways), default=1)


def own_findings(facts: NodeFacts, now: int) -> list[Finding]:
    """Findings about this node itself, worst first."""
    found = []
    if facts.read_only:
        found.append(
            Finding(
                "clock_behind_log",
                "error",
                "The clock is more than a day behind the log: nothing is posted or admitted.",
                "set the clock; if the log is wrong: tocsin log reopen --reason clock",
            )
        )
    elif facts.clock_behind_ms > SKEW_ERROR_MS:
        found.append(
            Finding(
                "clock_behind_log",
                "warning",
                f"The clock is {facts.clock_behind_ms // 1000} s behind the log; entries carry the later time.",
                "set the clock of this machine",
            )
        )
    if facts.disk_low:
        found.append(
            Finding(
                "disk_low",
                "error",
                "The disk is nearly full: new posts are refused.",
                "free space on the disk that holds the directory",
            )
        )
    if facts.needs_anchor:
        found.append(
            Finding(
                "needs_anchor",
                "error",
                "This is an old copy, from before a key change: peers take nothing until an anchor names a new pair.",
                "stop the node; "
                + ("tocsin keys export-root -o F; " if facts.root_online else "with the root at hand (F): ")
                + "tocsin keys anchor --root F -o CARD; start it again",
            )
        )
    elif facts.generation > _confirmed(facts.anchor):
        found.append(
            Finding(
                "log_reopened",
                "warning",
                f"This node lost history: its log runs in generation {facts.generation}. Peers are asked for what they "
                "sent; what it sent itself and has forgotten only they know.",
                "ask each peer by phone what it has from you since then; in the next ceremony (node stopped) "
                "tocsin keys anchor --root F -o CARD confirms the new log; docs/operations.md has each step",
            )
        )
    found.extend(_anchor_findings(facts.anchor, now, None))
    if facts.root_online:
        found.append(
            Finding(
                "root_online",
                "warning",
                "The agency's root key lies on this machine: whoever takes it can speak for the agency for years.",
                "stop the node, then: tocsin keys export-root -o FILE (on a stick, for the safe); then start it again",
            )
        )
    if facts.epoch_keys_ahead < EPOCH_AHEAD_WARNING:
        found.append(
            Finding(
                "epoch_keys_short",
                "warning",
                f"Only {facts.epoch_keys_ahead} epoch keys are published ahead.",
                "tocsin keys status; they are made daily while the node runs",
            )
        )
    if facts.pair_due:
        found.append(
            Finding(
                "node_pair_due",
                "warning",
                "The node key pair is older than 90 days. It is changed when a peer has told what it knows of it; "
                "none has since the start.",
                "tocsin doctor AGENCY says why it cannot be reached; the old pair goes on signing until then",
            )
        )
    if not facts.notice_command:
        found.append(
            Finding(
                "no_notice_command",
                "warning",
                "Nobody is woken when a flash or immediate message arrives.",
                "set [notice] command in node.toml and start the node again, then: tocsin notice test",
            )
        )
    if facts.notice_failing is not None:
        found.append(
            Finding(
                "notice_failing",
                "error",
                f"The notice command fails ({facts.notice_failing}): perhaps nobody is woken.",
                "mend the command, or [notice] command in node.toml and start the node again; then: tocsin notice test",
            )
        )
    found.extend(
        Finding(
            "tls_root_shut_out",
            "error",
            f"{agency} cannot connect: its TLS root cannot be read, or bears the name of another agency's root.",
            "call them; if the card is right, remove the other peer",
            agency,
        )
        for agency in facts.shut_out
    )
    if facts.contact is None:
        found.append(
            Finding(
                "no_contact",
                "warning",
                "Alerts of this node name no 24x7 telephone.",
                "set contact in node.toml and start again",
            )
        )
    return found


def peer_findings(peers: Iterable[Peer], now: int) -> list[Finding]:
    """Findings about peers."""
    found: list[Finding] = []
    for peer in peers:
        if peer.trust is Trust.REMOVED:
            continue
        agency = peer.agency
        if peer.trust is Trust.PENDING:
            found.append(
                Finding(
                    "peer_pending",
                    "warning",
                    f"{agency} is not confirmed yet.",
                    "type its code: tocsin peer add CARD --code CODE",
                    agency,
                )
            )
            continue
        if peer.trust is Trust.SUSPENDED:
            found.append(
                Finding("peer_suspended", "info", f"{agency} is suspended.", f"tocsin peer resume {agency}", agency)
            )
            continue
        if peer.conflicting:
            found.append(
                Finding(
                    "anchor_conflict",
                    "error",
                    f"{agency} signed two different anchors with one serial; both are kept.",
                    f"call them; until it is clear: tocsin peer suspend {agency}",
                    agency,
                )
            )
        if peer.unproved_head:
            found.append(
                Finding(
                    "head_not_proved",
                    "error",
                    f"{agency} holds a head of this node's log that none of the keys here signed: nothing is sent to "
                    "it. Either this directory is an old copy, or they were deceived.",
                    f"call them before anything else; until it is clear: tocsin peer suspend {agency}",
                    agency,
                )
            )
        found.extend(_anchor_findings(peer.anchor, now, agency))
        skew = peer.row.clock_skew_ms
        if skew is not None and abs(skew) > SKEW_WARNING_MS:
            severity = "error" if abs(skew) > SKEW_ERROR_MS else "warning"
            found.append(
                Finding(
                    "clock_skew",
                    severity,
                    f"The clocks of {agency} and this node differ by {skew / 1000:.1f} s.",
                    "check both clocks",
                    agency,
                )
            )
        if peer.line.bar == "peer_does_not_trust_us":
            found.append(
                Finding(
                    "peer_does_not_trust_us",
                    "error",
                    f"{agency} answers, but does not trust this agency. This is not a network fault.",
                    "call them: they must confirm or resume our card",
                    agency,
                )
            )
        elif peer.line.failures:
            found.append(
                Finding(
                    "peer_unreachable",
                    "warning",
                    f"{agency} cannot be reached ({peer.line.bar}).",
                    f"tocsin doctor {agency}",
                    agency,
                )
            )
        if any(now - head.seen_at > UNRECONCILED_ALARM_MS for head in peer.unreconciled.values()):
            found.append(
                Finding(
                    "head_unreconciled",
                    "error",
                    f"{agency} has shown a head of its log for a day that it does not prove consistent.",
                    "call them: they may have lost history, or show two histories",
                    agency,
                )
            )
        if any(
            generation > 1 and not peer.keys.history.is_confirmed(gateway, generation)
            for gateway, generation in peer.heads
        ):
            found.append(
                Finding(
                    "generation_unconfirmed",
                    "warning",
                    f"{agency} opened its log again; its root has not confirmed that yet.",
                    "ask them for a new card",
                    agency,
                )
            )
    return found


def lost_findings(peers: Iterable[Peer], now: int) -> list[Finding]:
    """Findings about messages of ours that peers speak of and this node has forgotten. Removed peers are not left out:
    they have what they have.
    """
    found = []
    for peer in peers:
        lost = peer.lost
        if not lost.is_news(now):
            continue
        says = [f"{lost.count} by its own word, acks and tests counted"] if lost.count else []
        answered = [f"{len(lost.ids)} that its officers answered"] if lost.ids else []
        phone = None if peer.profile is None else peer.profile.contact
        found.append(
            Finding(
                "posts_lost",
                "error",
                f"{peer.agency} holds messages of this node that this node has forgotten: "
                f"{'; '.join([*says, *answered])}. They cannot be updated or called off from here.",
                f"call {phone or 'their duty desk'}: which of our alerts do they hold, and which must they drop; "
                "tocsin why ID tells of one that was answered; docs/operations.md has each step",
                peer.agency,
                max(lost.count, len(lost.ids)),
                tuple(format_uuid(message_id) for message_id in lost.ids),
            )
        )
    return found


def stranded_findings(queued: Mapping[AgencyId, int], peers: Peers) -> list[Finding]:
    """Findings about messages that wait for an agency which is no peer any more; `queued` counts them by agency."""
    found = []
    for agency, number in sorted(queued.items()):
        peer = peers.get(agency)
        if number and (peer is None or peer.trust is Trust.REMOVED):
            found.append(
                Finding(
                    "peer_removed",
                    "warning",
                    f"{number} of our messages wait for {agency}, which was removed here: nothing goes to it.",
                    "if it is to have them: tocsin peer add CARD --code CODE; which they are: tocsin sent --waiting",
                    agency,
                )
            )
    return found


def _anchor_findings(anchor: Anchor, now: int, agency: str | None) -> list[Finding]:
    whose = "our" if agency is None else f"the card of {agency}:"
    step = "with the root at hand: tocsin keys anchor --root F -o CARD" if agency is None else "ask them for a new card"
    life = anchor_life(anchor, now)
    if life is AnchorLife.OVER:
        return [
            Finding(
                "anchor_expired",
                "error",
                f"{whose} anchor has expired; only flash and immediate messages go.",
                step,
                agency,
            )
        ]
    if life is AnchorLife.GRACE:
        return [
            Finding(
                "anchor_expired", "error", f"{whose} anchor has expired; 30 days of grace are running.", step, agency
            )
        ]
    days = expiry_warning(anchor, now)
    if days is not None:
        return [Finding("card_expiring", "warning", f"{whose} anchor expires within {days} days.", step, agency)]
    return []
