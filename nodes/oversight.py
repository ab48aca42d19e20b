"""How the node stands: status, doctor, log verify, keys status. Owns what an operator or auditor asks about the
machine, not about messages.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from exchange.checkpoint import verify_checkpoint
from exchange.errors import ExchangeError
from exchange.log import Frontier, leaf_hash
from keys.errors import KeysError
from keys.ids import AgencyId, format_uuid
from keys.trust import AnchorLife, Trust, anchor_life
from nodes.errors import OperationError
from nodes.events import Events, RecipientMoved
from nodes.findings import SKEW_ERROR_MS, SKEW_WARNING_MS, Finding, lost_findings, peer_findings, stranded_findings
from nodes.identity import Identity, log_name
from nodes.loading import stored_checkpoint
from nodes.local_api import Answer, Document
from nodes.metrics import Metrics
from nodes.peers import Peer, Peers
from nodes.reading import Reading, timestamp
from nodes.store.contract import LogState, MessageRow, Store
from nodes.writer import Writer

TEST_WAIT_S = 10.0
CONNECT_WAIT_S = 5.0
VERIFY_STEP = 4_096
_TRUST_STEPS = {
    Trust.PENDING: "type the code it says by phone: tocsin peer add CARD --code CODE",
    Trust.SUSPENDED: "tocsin peer resume {agency}",
}


@dataclass(frozen=True, slots=True)
class Standing:
    """What the daemon knows of itself."""

    state: str
    since: int
    version: str
    listen: str | None


class Oversight:
    """Implements `status`, `doctor`, `log verify`, `keys status`, and what Prometheus asks."""

    def __init__(
        self,
        *,
        identity: Identity,
        peers: Peers,
        store: Store,
        writer: Writer,
        reading: Reading,
        events: Events,
        clock: Callable[[], int],
        standing: Callable[[], Standing],
        own_findings: Callable[[], list[Finding]],
        send_test: Callable[[AgencyId], Awaitable[MessageRow]],
        metrics: Metrics,
    ) -> None:
        self._identity = identity
        self._peers = peers
        self._store = store
        self._writer = writer
        self._reading = reading
        self._events = events
        self._clock = clock
        self._standing = standing
        self._own_findings = own_findings
        self._send_test = send_test
        self._metrics = metrics

    async def metrics(self, args: Document) -> Answer:
        """Everything counted, as Prometheus reads it. What is queued and what is free is looked up now."""
        self._metrics.queued.set(sum(count.queued for count in await self._store.queue_counts()))
        _, free = await self._store.sizes()
        self._metrics.disk_free_bytes.set(free)
        return Answer({"v": 1, "text": self._metrics.render().decode()})

    async def status(self, args: Document) -> Answer:
        """`status`."""
        now = self._clock()
        standing = self._standing()
        counts = {count.agency: count for count in await self._store.queue_counts()}
        inbound = await self._store.inbound_count()
        listed = await self._reading.listed()
        used, free = await self._store.sizes()
        oldest = [count.oldest_at for count in counts.values() if count.oldest_at is not None]
        queued = {agency: count.queued for agency, count in counts.items()}
        findings = [
            *self._own_findings(),
            *lost_findings(self._peers, now),
            *peer_findings(self._peers, now),
            *stranded_findings(queued, self._peers),
        ]
        document = {
            "v": 1,
            "agency": self._identity.agency,
            "state": standing.state,
            "since": timestamp(standing.since),
            "version": standing.version,
            "listen": standing.listen,
            "log": {"origin": self._writer.origin.name, "size": self._writer.durable_size},
            "outbound": {
                "queued": sum(count.queued for count in counts.values()),
                "in_custody": sum(count.in_custody for count in counts.values()),
                "oldest_at": timestamp(min(oldest, default=None)),
            },
            "inbound": {
                "unopened": inbound.unopened,
                "undecided": inbound.undecided,
                "listed": None if listed is None else {"unopened": listed[0], "undecided": listed[1]},
            },
            "peers": [
                {
                    "agency": peer.agency,
                    "trust": peer.trust.value,
                    "reachable": peer.line.reachable,
                    "last_contact_at": timestamp(peer.row.last_contact_at),
                    "queued": counts[peer.agency].queued if peer.agency in counts else 0,
                    "clock_skew_ms": peer.row.clock_skew_ms,
                }
                for peer in self._peers
                if peer.trust is not Trust.REMOVED
            ],
            "disk": {"free": free, "store": used},
            "findings": [finding.document() for finding in findings],
        }
        return Answer(document)

    # --- the log

    async def log_verify(self, args: Document) -> Answer:
        """Rebuild the tree from the stored entries and compare it with the newest signed checkpoint."""
        origin = self._writer.origin
        name = log_name(origin.gateway, origin.generation)
        state = next(state for state in (await self._store.startup()).logs if state.log == name)
        document = await verify_log(self._store, self._identity, state, origin.name)
        return Answer(document, 0 if document["ok"] else 65)

    async def keys_status(self, args: Document) -> Answer:
        """What keys exist and until when. No key material."""
        now = self._clock()
        anchor = self._identity.anchor
        published = sorted(self._identity.published(), key=lambda key: key.number)
        current = self._identity.keys.history.pair_for(
            self._identity.gateway, self._writer.generation, self._writer.durable_size + 1
        )
        return Answer(
            {
                "v": 1,
                "agency": self._identity.agency,
                "root": {
                    "safety_code": self._identity.code,
                    "online": self._identity.keystore.has_root(),
                    "serial": anchor.body.serial,
                    "expires_at": timestamp(anchor.body.expires_at),
                },
                "node": {
                    "key_id": current.ed25519.hex()[:16],
                    "changes": len(self._identity.key_changes),
                    "origin": self._writer.origin.name,
                },
                "epoch": {
                    "published": len(published),
                    "ahead": sum(1 for key in published if key.use_from > now),
                    "first": published[0].number if published else None,
                    "last": published[-1].number if published else None,
                    "destroyed": sum(1 for row in self._identity.epoch_rows.values() if row.destroyed_at is not None),
                },
            }
        )

    # --- doctor

    async def doctor(self, args: Document) -> Answer:
        """Step by step, to a peer or on this machine; stops being able to say `ok` where a step fails, and says what
        to do.
        """
        agency = args.get("peer")
        if agency is None:
            return await self._doctor_own()
        peer = self._peers.get(AgencyId(str(agency)))
        if peer is None or peer.trust is Trust.REMOVED:
            raise OperationError("unknown_agency", f"{agency} is no peer of this node", "tocsin peer list shows them")
        checks = await self._peer_checks(peer)
        return _doctor_answer(str(agency), checks)

    async def _doctor_own(self) -> Answer:
        now = self._clock()
        findings = {finding.code: finding for finding in self._own_findings()}
        log = await self.log_verify({})
        checks = [
            _check("directory", "ok", "The directory and its permissions are right."),
            _finding_check(
                "keys",
                findings,
                ("needs_anchor", "anchor_expired", "card_expiring", "epoch_keys_short", "root_online"),
                "The keys are in order.",
            ),
            _finding_check("disk", findings, ("disk_low",), "There is room on the disk."),
            _finding_check("clock", findings, ("clock_behind_log",), "The clock is not behind the log."),
            _check("store", "ok", "The store answers."),
            _check(
                "log",
                "ok" if log.exit == 0 else "fail",
                "The log verifies." if log.exit == 0 else "The log does not verify.",
                None if log.exit == 0 else "keep a copy of the directory; stop the node",
            ),
        ]
        standing = self._standing()
        listening = (
            "This node takes no inbound connections." if standing.listen is None else f"Listening on {standing.listen}."
        )
        checks.append(_check("listen", "ok", listening))
        del now
        return _doctor_answer(None, checks)

    async def _peer_checks(self, peer: Peer) -> list[Document]:
        now = self._clock()
        checks: list[Document] = []
        if not peer.endpoints:
            checks.append(
                _check("name", "warn", f"{peer.agency} takes no inbound connections: it calls us.", "nothing to do")
            )
            checks += [_check(name, "skip", "It calls us.") for name in ("tcp", "tls")]
        else:
            checks += await self._network(peer)
        checks.append(_clock_check(peer))
        trust = peer.trust is Trust.TRUSTED
        checks.append(
            _check(
                "trust",
                "ok" if trust else "fail",
                f"{peer.agency} is {peer.trust.value} here.",
                _TRUST_STEPS.get(peer.trust, "").format(agency=peer.agency) or None,
            )
        )
        life = anchor_life(peer.anchor, now)
        valid = life is AnchorLife.VALID
        checks.append(
            _check(
                "card",
                "ok" if valid else "warn",
                f"Its card expires {timestamp(peer.anchor.body.expires_at)}.",
                None if valid else "ask for a new card",
            )
        )
        has_key = peer.usable_key(now) is not None
        checks.append(
            _check(
                "epoch_key",
                "ok" if has_key else "fail",
                "We hold a key to seal to." if has_key else "It has not sent a key to seal to.",
                None if has_key else "it comes with the first successful round",
            )
        )
        if trust and all(check["result"] != "fail" for check in checks):
            checks += await self._test_message(peer)
        else:
            checks += [_check(name, "skip", "An earlier step failed.") for name in ("test_message", "receipt")]
        return checks

    async def _network(self, peer: Peer) -> list[Document]:
        endpoint = peer.endpoints[0]
        host, _, port = endpoint.removeprefix("https://").rpartition(":")
        host = host.strip("[]")
        loop = asyncio.get_running_loop()
        started = time.monotonic()
        try:
            async with asyncio.timeout(CONNECT_WAIT_S):
                await loop.getaddrinfo(host, int(port))
        except (OSError, TimeoutError, ValueError):
            return [
                _check(
                    "name", "fail", f"The name {host} does not resolve.", "check DNS, or ask for a new card", started
                ),
                _check("tcp", "skip", "An earlier step failed."),
                _check("tls", "skip", "An earlier step failed."),
            ]
        checks = [_check("name", "ok", f"{host} resolves.", None, started)]
        started = time.monotonic()
        try:
            async with asyncio.timeout(CONNECT_WAIT_S):
                _, writer = await asyncio.open_connection(host, int(port))
                writer.close()
        except (OSError, TimeoutError):
            return [
                *checks,
                _check(
                    "tcp",
                    "fail",
                    f"Nothing answers at {host}:{port}.",
                    "check the line and firewalls; call them",
                    started,
                ),
                _check("tls", "skip", "An earlier step failed."),
            ]
        checks.append(_check("tcp", "ok", f"{host}:{port} answers.", None, started))
        return [*checks, await self._round_check(peer)]

    async def _round_check(self, peer: Peer) -> Document:
        """One round at once, whatever its back-off: only an answer that came is an answer."""
        if peer.trust is not Trust.TRUSTED:
            return _check("tls", "skip", f"No round is held with a peer that is {peer.trust.value} here.")
        started = time.monotonic()
        before = peer.line.last_round_at or 0
        peer.line.next_attempt_at = 0
        peer.line.failures = 0
        peer.wake.set()
        with self._events.listen() as news:
            try:
                async with asyncio.timeout(CONNECT_WAIT_S):
                    while not (peer.line.last_round_at or 0) > before and not peer.line.failures:
                        await news.get()
            except TimeoutError:
                return _check(
                    "tls",
                    "warn",
                    f"No answer within {CONNECT_WAIT_S:.0f} s: it takes connections and says nothing.",
                    "call them: their node may hang",
                    started,
                )
        if peer.line.bar == "peer_does_not_trust_us":
            return _check(
                "tls",
                "fail",
                f"{peer.agency} answers, but does not trust us.",
                "call them: they must confirm our card",
                started,
            )
        if peer.line.failures:
            return _check("tls", "fail", f"No round succeeds ({peer.line.bar}).", "call them", started)
        return _check("tls", "ok", "Both sides know each other.", None, started)

    async def _test_message(self, peer: Peer) -> list[Document]:
        started = time.monotonic()
        row = await self._send_test(peer.agency)
        checks = [_check("test_message", "ok", "A sealed test message was logged and queued.", None, started)]
        started = time.monotonic()
        recipients = await self._reading.recipients(row)
        with self._events.listen() as news:
            try:
                async with asyncio.timeout(TEST_WAIT_S):
                    recipients = await self._reading.recipients(row)
                    while recipients[0]["state"] == "queued":
                        event = await news.get()
                        if isinstance(event, RecipientMoved):
                            recipients = await self._reading.recipients(row)
            except TimeoutError:
                pass
        state = recipients[0]["state"]
        if state == "stored":
            checks.append(_check("receipt", "ok", "Its signed receipt came back and verifies.", None, started))
        else:
            reason = recipients[0]["reason"]
            checks.append(
                _check(
                    "receipt",
                    "fail",
                    f"No receipt within {TEST_WAIT_S:.0f} s ({reason or state}).",
                    f"tocsin why {format_uuid(row.message_id)}",
                    started,
                )
            )
        return checks


async def verify_log(store: Store, identity: Identity, state: LogState, origin: str) -> Document:
    """Recompute a log from its entries and check its newest checkpoint. Reads in steps: a log of a million entries
    needs no memory.
    """
    frontier = Frontier.empty()
    checked_at = None
    reason, first_bad = None, None
    while frontier.size < state.size and reason is None:
        entries = await store.entries(state.log, frontier.size, VERIFY_STEP)
        if not entries:
            reason, first_bad = "entry_missing", frontier.size
            break
        tiles = await store.tiles(
            state.log, sorted({(0, index // 256) for index in range(frontier.size, frontier.size + len(entries))})
        )
        leaves = []
        for offset, entry in enumerate(entries):
            index = frontier.size + offset
            stored = tiles.get((0, index // 256), b"")[(index % 256) * 32 : (index % 256) * 32 + 32]
            leaf = stored if entry is None else leaf_hash(entry)  # erased: its hash stays
            if leaf != stored:
                reason, first_bad = "entry_altered", index
                break
            leaves.append(leaf)
        frontier = frontier.append_many(leaves).frontier
    root = frontier.root if reason is None else state.root
    if reason is None and root != state.root:
        reason, first_bad = "root_differs", None
    if reason is None and state.checkpoint is not None:
        try:
            checkpoint = stored_checkpoint(state.checkpoint, identity.agency)
            checked_at = checkpoint.timestamp * 1000
            if (checkpoint.size, checkpoint.root) != (state.size, state.root):
                reason = "checkpoint_differs"
            pair = identity.keys.history.pair_for(
                checkpoint.origin.gateway, checkpoint.origin.generation, checkpoint.size
            )
            verify_checkpoint(checkpoint, pair)
        except (KeysError, ExchangeError):
            reason = "bad_checkpoint_signature"
    return {
        "v": 1,
        "origin": origin,
        "ok": reason is None,
        "size": state.size,
        "root_hash": state.root.hex(),
        "checkpoint_at": timestamp(checked_at),
        "first_bad_index": first_bad,
        "reason": reason,
    }


def _check(
    name: str, result: str, sentence: str, next_step: str | None = None, started: float | None = None
) -> Document:
    elapsed = 0 if started is None else round((time.monotonic() - started) * 1000)
    return {"name": name, "result": result, "sentence": sentence, "next_step": next_step, "elapsed_ms": elapsed}


def _finding_check(name: str, findings: dict[str, Finding], codes: tuple[str, ...], fine: str) -> Document:
    for code in codes:
        finding = findings.get(code)
        if finding is not None:
            return _check(name, "fail" if finding.severity == "error" else "warn", finding.sentence, finding.next_step)
    return _check(name, "ok", fine)


def _clock_check(peer: Peer) -> Document:
    skew = peer.row.clock_skew_ms
    if skew is None:
        return _check("clock", "skip", "No contact yet.")
    said = f"The clocks differ by {skew} ms."
    if abs(skew) > SKEW_ERROR_MS:
        return _check("clock", "fail", said, "set the clock that is wrong")
    return _check(
        "clock",
        "warn" if abs(skew) > SKEW_WARNING_MS else "ok",
        said,
        "set the clock that is wrong" if abs(skew) > SKEW_WARNING_MS else None,
    )


def _doctor_answer(agency: str | None, checks: list[Document]) -> Answer:
    ok = all(check["result"] != "fail" for check in checks)
    document: dict[str, Any] = {"v": 1, "ok": ok, "peer": agency, "checks": checks}
    return Answer(document, 0 if ok else 1)
