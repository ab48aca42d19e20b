"""The composition root: builds a node from its directory, starts it, drains it, stops it. Owns lifetimes; no rule
lives here.

Nothing gets "the daemon": each part is handed exactly what it needs.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from keys.errors import KeyFileError, KeyFileProblem
from keys.ids import AgencyId
from keys.keystore import KeyStore
from keys.randomness import random_bytes
from keys.trust import Trust
from nodes.birth import STORE_FILE, Born, create_node
from nodes.budgets import Budgets, Rates
from nodes.config import NodeConfig, default_case_prefix, format_listen, load_config, parse_config
from nodes.courier import Courier
from nodes.directory import DirectoryLock, Layout, check_directory
from nodes.errors import FatalError, OperationError
from nodes.events import Events, MessageArrived, RecipientMoved, RoundEnded
from nodes.evidence_export import EvidenceExport
from nodes.findings import Finding, NodeFacts, own_findings
from nodes.following import Following
from nodes.generations import Generations
from nodes.intake import Intake
from nodes.intake_plan import Taken
from nodes.keyring import PAIR_SINCE_META, Keyring
from nodes.ledger import Ledger
from nodes.loading import load_identity, load_own_logs, load_peers
from nodes.local_api import LocalApi, Operation, Stream
from nodes.logging import get_logger
from nodes.metrics import Metrics
from nodes.node import Node
from nodes.notices import Notices
from nodes.operations import Operations
from nodes.operators import Operators
from nodes.outflow import Outflow
from nodes.oversight import Oversight, Standing
from nodes.peer_api import PeerApi, PeerLimits
from nodes.peer_book import PeerBook
from nodes.peer_client import PeerClient
from nodes.peer_listener import ConnectionLimits
from nodes.peers import Peer
from nodes.posting import Posting
from nodes.reading import Reading
from nodes.sockets import LocalListener
from nodes.speaking import Speaking
from nodes.store.contract import Startup
from nodes.store.sqlite import SqliteStore
from nodes.submitting import CaseNumbers, Submitting
from nodes.tls import OwnLeaf, PeerRoot, PeerRoots
from nodes.vault import Vault
from nodes.worker import Worker, cores
from nodes.writer import CommitFigures, Writer

TICK_S = 30.0
KEYS_EVERY_TICKS = 120  # an hour
CLOCK_READ_ONLY_MS = 24 * 3_600_000
URGENT = frozenset({"flash", "immediate"})  # wakes a person
UNOPENED_AT_START = 1_000

log = get_logger("daemon")


def wall_clock() -> int:
    """Milliseconds UTC."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Ready:
    """The node answers."""

    agency: AgencyId
    listen: str | None
    socket: Path

    def document(self) -> dict[str, object]:
        """First line of `run --json`."""
        return {
            "v": 1,
            "event": "ready",
            "agency": self.agency,
            "pid": os.getpid(),
            "listen": self.listen,
            "socket": str(self.socket),
            "version": version("tocsin"),
        }


class Daemon:
    """One running node."""

    def __init__(
        self, layout: Layout, config: NodeConfig, passphrase: str, clock: Callable[[], int] = wall_clock
    ) -> None:
        self._layout = layout
        self._config = config
        self._passphrase = passphrase
        self._clock = clock
        self._since = clock()
        self._stopping = asyncio.Event()
        self._fatal: FatalError | None = None
        self._draining = False
        self._free_bytes: int | None = None
        self._listen: str | None = None
        self._left_out: frozenset[AgencyId] = frozenset()

    # --- life

    async def run(self, on_ready: Callable[[Ready], None]) -> None:
        """Start, serve until `stop`, drain, close. Raises FatalError when the durable state became unknown."""
        async with contextlib.AsyncExitStack() as stack:
            ready = await self._start(stack)
            on_ready(ready)
            log.info("node.ready", listen=ready.listen)
            await self._stopping.wait()
            self._draining = True
            log.info("node.draining")
        if self._fatal is not None:
            raise self._fatal
        log.info("node.stopped")

    def stop(self) -> None:
        """Begin to drain."""
        self._stopping.set()

    def _on_fatal(self, error: FatalError) -> None:
        log.error("node.fatal", problem=error.problem)
        self._fatal = error
        self._stopping.set()

    async def _start(self, stack: contextlib.AsyncExitStack) -> Ready:
        keystore = self._open_keys()
        self._store = await SqliteStore.open(self._layout.store / STORE_FILE, create=False)
        stack.push_async_callback(self._store.close)
        startup = await self._store.startup()
        self._identity = load_identity(self._config.agency, startup, keystore)
        self._peers = await load_peers(startup, self._store)
        self._metrics = Metrics()
        self._events = Events()
        self._vault = Vault(keystore.at_rest())
        await self._build_writer(startup, stack)
        self._operators = Operators(startup.operators)
        self._build_generations(startup)
        self._worker = Worker() if cores() > 1 else None  # on one core it would only take turns
        if self._worker is not None:
            stack.push_async_callback(self._worker.close)
        self._build_node()
        await self._serve(stack)
        return Ready(self._config.agency, self._listen, self._layout.socket)

    def _open_keys(self) -> KeyStore:
        try:
            return KeyStore.open(self._layout.keys, self._passphrase)
        except KeyFileError as error:
            raise key_file_error(error) from error

    async def _build_writer(self, startup: Startup, stack: contextlib.AsyncExitStack) -> None:
        agency, gateway = self._config.agency, self._identity.gateway
        generation, main, audit = await load_own_logs(self._identity, startup, self._store)
        origin = self._identity.origin(generation)
        pair = self._identity.node_pair(generation, main.frontier.size + 1)
        self._writer = Writer(
            self._store,
            origin,
            main,
            self._identity.signer(pair),
            self._clock,
            lambda: random_bytes(16),
            audit=audit,
            on_fatal=self._on_fatal,
            on_commit=self._on_commit,
        )
        self._writer.start()
        stack.push_async_callback(self._writer.close)
        closed = [entry for entry in startup.logs if entry.log.startswith(f"{gateway}/") and entry.log != main.log]
        self._ledger = Ledger(agency, self._store, self._writer, closed)
        self._known_until = main.last_time

    def _build_generations(self, startup: Startup) -> None:
        years = {
            int(key.removeprefix("case/")): int.from_bytes(value, "big")
            for key, value in startup.meta.items()
            if key.startswith("case/")
        }
        self._cases = CaseNumbers(self._config.case_prefix, years)
        self._generations = Generations(
            identity=self._identity,
            config=self._config,
            peers=self._peers,
            writer=self._writer,
            ledger=self._ledger,
            keyring=Keyring(self._identity, self._store, self._writer, self._clock),
            cases=self._cases,
            clock=self._clock,
            card=self._layout.card,
            known_until=self._known_until,
            pair_since=int.from_bytes(startup.meta.get(PAIR_SINCE_META, b""), "big") or self._since,
        )

    def _build_node(self) -> None:
        identity, store, writer, vault, clock = self._identity, self._store, self._writer, self._vault, self._clock
        self._outflow = Outflow(identity, store, self._ledger, writer)
        self._posting = Posting(identity, self._config.country, self._peers, store, writer, vault, clock)
        limits = self._config.limits
        self._budgets = Budgets(
            Rates(limits.peer_rounds_per_s, limits.peer_bytes_per_s, limits.peer_work_per_s), self._metrics
        )
        self._node = Node(
            identity=identity,
            peers=self._peers,
            store=store,
            writer=writer,
            ledger=self._ledger,
            intake=Intake(identity, store, writer, vault, self._metrics),
            outflow=self._outflow,
            posting=self._posting,
            metrics=self._metrics,
            clock=clock,
            chance=random.SystemRandom().random,
            on_taken=self._on_taken,
            on_fork=self._generations.forked,
            on_shown=self._generations.shown,
            on_heard=self._generations.heard,
            on_anchor=self._on_anchor,
            read_only=self._is_read_only,
            budgets=self._budgets,
        )
        self._reading = Reading(identity, self._peers, store, vault, clock, self._is_disk_low)
        submitting = Submitting(
            identity=identity,
            config=self._config,
            posting=self._posting,
            reading=self._reading,
            vault=vault,
            events=self._events,
            cases=self._cases,
            clock=clock,
            check_writable=self._check_writable,
            metrics=self._metrics,
            worker=self._worker,
        )
        self._following = Following(
            identity=identity, submitting=submitting, reading=self._reading, store=store, vault=vault
        )
        self._speaking = Speaking(
            identity=identity,
            submitting=submitting,
            following=self._following,
            posting=self._posting,
            reading=self._reading,
            store=store,
            vault=vault,
            clock=clock,
        )

    async def _serve(self, stack: contextlib.AsyncExitStack) -> None:
        config = self._config
        own = OwnLeaf(*self._identity.keystore.tls_leaf_files())
        self._roots = PeerRoots(own)
        self._client = PeerClient(own, self._metrics)
        stack.push_async_callback(self._client.close)
        self._courier = Courier(
            self._node,
            self._peers,
            self._store,
            self._client,
            self._clock,
            self._on_fatal,
            lambda agency: self._events.tell(RoundEnded(agency)),
        )
        notice = config.notice
        self._notices = Notices(
            notice.command, self._metrics, repeat_s=notice.repeat_minutes * 60, timeout_s=notice.timeout_seconds
        )
        await self._notices.start()
        await self._wake_again()
        stack.push_async_callback(self._notices.close)
        self._api: PeerApi | None = None
        await self._swap_roots()
        if config.listen is not None:
            api = PeerApi(
                self._node.receive,
                self._is_trusted,
                self._roots,
                self._metrics,
                self._budgets,
                limits=PeerLimits(
                    listening=ConnectionLimits(
                        connections=config.limits.connections,
                        connections_per_address=config.limits.connections_per_address,
                    ),
                    rounds_per_peer=config.limits.rounds_per_peer,
                    round_memory_bytes=config.limits.round_memory_bytes,
                ),
                on_fatal=self._on_fatal,
            )
            port = await api.start(*config.listen)
            self._api = api
            stack.push_async_callback(api.drain)
            self._listen = format_listen((config.listen[0], port))
        await self._generations.begin()
        stack.push_async_callback(self._courier.stop)
        self._local = LocalApi(*self._operations())
        listener = LocalListener(self._layout.socket)
        stack.callback(listener.close)
        await self._local.start(listener.socket)
        stack.push_async_callback(self._local.stop)
        for peer in self._peers.trusted():
            self._courier.serve(peer)
        ticker = asyncio.create_task(self._ticking(), name="tick")
        stack.push_async_callback(_ended, ticker)

    def _operations(self) -> tuple[dict[str, Operation], dict[str, Stream]]:
        oversight = Oversight(
            identity=self._identity,
            peers=self._peers,
            store=self._store,
            writer=self._writer,
            reading=self._reading,
            events=self._events,
            clock=self._clock,
            standing=self._standing,
            own_findings=self._own_findings,
            send_test=lambda agency: self._speaking.test("doctor", agency),
            metrics=self._metrics,
        )
        operations = Operations(
            identity=self._identity,
            operators=self._operators,
            speaking=self._speaking,
            following=self._following,
            reading=self._reading,
            peer_book=PeerBook(
                own=self._identity.agency,
                peers=self._peers,
                store=self._store,
                writer=self._writer,
                clock=self._clock,
                trust_changed=self._trust_changed,
                end_line=self._end_line,
                renewed=self._posting.renewed,
            ),
            oversight=oversight,
            evidence=EvidenceExport(self._identity, self._peers, self._store, self._ledger, self._vault),
            notices=self._notices,
            events=self._events,
            store=self._store,
            writer=self._writer,
            vault=self._vault,
            clock=self._clock,
            rotate=self._generations.rotate,
            reopen=self._generations.reopen,
        )
        return operations.table(), operations.streams()

    # --- what parts tell each other

    def _on_commit(self, figures: CommitFigures) -> None:
        self._metrics.commit_seconds.observe(figures.seconds)
        self._metrics.commit_entries.observe(figures.entries)

    def _on_taken(self, taken: Taken) -> None:
        for arrived in taken.arrived:
            self._events.tell(MessageArrived(arrived.row.sender, arrived.row.message_id))
            if arrived.headline.precedence in URGENT:
                self._notices.notify(
                    arrived.row.message_id, arrived.headline.case_id, arrived.headline.precedence, arrived.row.sender
                )
        for settled in taken.settled:
            self._events.tell(RecipientMoved(settled.message_id))
        for _, message_id in taken.acknowledged:
            self._events.tell(RecipientMoved(message_id))

    def _on_anchor(self) -> None:
        """A peer's new anchor may name another TLS root: the old one must open no door any more."""
        self._swapping = asyncio.get_running_loop().create_task(self._swap_roots())

    async def _trust_changed(self, peer: Peer) -> None:
        await self._swap_roots()
        if peer.trust is Trust.TRUSTED:
            peer.line.clear_failures()
            self._courier.serve(peer)
            return
        await self._end_line(peer.agency)
        peer.guard_passed = False

    async def _end_line(self, agency: AgencyId) -> None:
        await self._courier.drop(agency)
        await self._client.forget(agency)
        if self._api is not None:
            self._api.close_peer(agency)

    async def _wake_again(self) -> None:
        """Who is woken does not outlive a process; what nobody has opened does."""
        for row in await self._store.inbox(None, UNOPENED_AT_START, unacknowledged=True):
            headline = self._vault.headline(row)
            own = await self._store.acks(row.sender, [row.message_id])
            if headline is not None and headline.precedence in URGENT and not own.get(row.message_id):
                self._notices.notify(row.message_id, headline.case_id, headline.precedence, row.sender)

    async def _swap_roots(self) -> None:
        roots = [
            PeerRoot(peer.agency, root, served=peer.trust is Trust.TRUSTED)
            for peer in self._peers
            if peer.trust is not Trust.REMOVED
            for root in peer.tls_roots
        ]
        self._left_out = await self._roots.replace(roots)
        if self._left_out:
            log.error("tls.roots_left_out", peers=",".join(sorted(self._left_out)))

    def _is_trusted(self, agency: AgencyId) -> bool:
        peer = self._peers.get(agency)
        return peer is not None and peer.trust is Trust.TRUSTED

    # --- time and state

    async def _ticking(self) -> None:
        until_keys = 0
        while True:
            try:
                self._free_bytes = (await self._store.sizes())[1]
                await self._node.tick()
                if until_keys <= 0:
                    await self._generations.keep_keys()
                    until_keys = KEYS_EVERY_TICKS
            except FatalError as error:
                self._on_fatal(error)
                return
            except Exception:
                # A full disk, a key file that cannot be written: all of it is due again at the next tick. Without
                # ticks nothing expires, no key is renewed, and a disk that was full once is full for ever.
                log.exception("tick.failed")
            until_keys -= 1
            await asyncio.sleep(TICK_S)

    def _standing(self) -> Standing:
        state = "draining" if self._draining else "read_only" if self._is_read_only() else "running"
        return Standing(state, self._since, version("tocsin"), self._listen)

    def _own_findings(self) -> list[Finding]:
        now = self._clock()
        ahead = sum(1 for key in self._identity.published() if key.use_from > now)
        facts = NodeFacts(
            anchor=self._identity.anchor,
            root_online=self._identity.keystore.has_root(),
            epoch_keys_ahead=ahead,
            disk_low=self._is_disk_low(),
            clock_behind_ms=max(0, self._writer.last_time - now),
            read_only=self._is_read_only(),
            needs_anchor=self._identity.needs_anchor,
            pair_due=self._generations.is_pair_due(),
            generation=self._writer.generation,
            notice_command=bool(self._config.notice.command),
            contact=self._config.contact,
            notice_failing=None if self._notices.failing is None else self._notices.failing.outcome,
            shut_out=tuple(sorted(self._left_out)),
        )
        return own_findings(facts, now)

    def _is_read_only(self) -> bool:
        return self._writer.last_time - self._clock() > CLOCK_READ_ONLY_MS

    def _is_disk_low(self) -> bool:
        return self._free_bytes is not None and self._free_bytes < self._config.disk.floor_bytes

    def _check_writable(self, precedence: str) -> None:
        if self._is_read_only():
            raise OperationError(
                "clock_behind_log",
                "this machine's clock is more than a day behind the log; nothing was posted",
                "set the clock; if the log is wrong: tocsin log reopen --reason clock",
            )
        if self._is_disk_low() and (precedence != "flash" or (self._free_bytes or 0) < self._config.disk.reserve_bytes):
            raise OperationError(
                "disk_low",
                "the disk is nearly full; nothing was posted",
                "free space on the disk that holds the directory",
            )


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def key_file_error(error: KeyFileError) -> OperationError:
    """What a keystore error means to an operator."""
    match error.problem:
        case KeyFileProblem.PASSPHRASE:
            return OperationError(
                "bad_passphrase",
                "the passphrase does not open the keys",
                "if it was typed, type it again; else check --passphrase-file or TOCSIN_PASSPHRASE_FILE",
            )
        case KeyFileProblem.PERMISSIONS:
            return OperationError("key_file_permissions", f"others can read {error.path}", f"chmod 600 {error.path}")
        case _:
            return OperationError(
                "bad_config", f"{error.path}: {error.problem}", "restore the keys/ directory of this node"
            )


def run_daemon(
    directory: str, passphrase: str, *, on_ready: Callable[[Ready], None], clock: Callable[[], int] = wall_clock
) -> None:
    """Run a node until SIGTERM or SIGINT drains it; a second signal ends the process at once."""
    layout = check_directory(directory)
    config = load_config(directory)
    _spare_the_collector()
    with DirectoryLock(layout):
        runner = asyncio.Runner(loop_factory=_loop_factory())
        with runner:
            runner.run(_run(layout, config, passphrase, on_ready, clock))


def _spare_the_collector() -> None:
    """Look for cycles seldom. Messages are trees and free themselves; at the default threshold each of them pays for a
    look at all that is young (8 % of an alert's cost), and what was loaded at start is looked at for ever.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


async def _run(
    layout: Layout, config: NodeConfig, passphrase: str, on_ready: Callable[[Ready], None], clock: Callable[[], int]
) -> None:
    daemon = Daemon(layout, config, passphrase, clock)
    loop = asyncio.get_running_loop()
    signals = 0

    def on_signal() -> None:
        nonlocal signals
        signals += 1
        if signals > 1:
            os._exit(130)
        daemon.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    await daemon.run(on_ready)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    import uvloop  # noqa: PLC0415 # only `run` pays for it

    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def init_node(directory: str, settings: dict[str, object], passphrase: str, *, operator: str) -> Born:
    """Make a node in `directory` from the settings of node.toml. Raises NodeError and leaves nothing half done."""
    country, agency = str(settings["country"]), str(settings["agency"])
    given = {key: value for key, value in settings.items() if value is not None}
    given.setdefault("case_prefix", default_case_prefix(agency, country))
    config = parse_config(given, path="the options of init")
    with asyncio.Runner() as runner:
        return runner.run(create_node(directory, config, passphrase, operator=operator, clock=wall_clock))
