"""Runs real nodes whose disk and clock the campaign holds. Used as `python host.py SOCKET`, a descriptor over which
jobs come; each is done in a process of its own, forked from this one, which has loaded the product once.

What is exchanged for another thing, in each of those processes: the clock (tests/chaos/control.py), the system calls of
SQLite and of key files (tests/chaos/disk.py), and four periods that are too long for a campaign. What is added: every
checkpoint is written to a file outside before the round that carries it is handed to anybody.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[2]))  # run as a script: the tests are not beside it

import uvloop

import nodes.cli.run
import nodes.daemon
import nodes.node
import nodes.store.sqlite
from exchange.checkpoint import Checkpoint
from exchange.round import Round, encode_round
from keys.ids import AgencyId
from nodes.cli.main import main
from nodes.daemon import wall_clock
from nodes.node import Node
from nodes.peer_client import PeerClient, PeerTarget
from tests.chaos.control import Action, Control, Where
from tests.chaos.disk import die, install
from tests.processes import spawn_options

MAX_JOB_BYTES = 65_536
# What happens behind the answers, at this pace: a campaign of minutes sees what a node does in days.
TICK_S = 0.25
KEYS_EVERY_TICKS = 2
CHECKPOINT_IDLE_S = 0.1
WAL_LIMIT_BYTES = 512 * 1024

_LOADED = (uvloop, nodes.cli.run)  # before the fork: each of its processes finds them there


@dataclass(frozen=True, slots=True)
class Job:
    """One run of `tocsin`. `control`, `kept`, `wire`: see the module; `log` takes its standard output and error."""

    argv: list[str]
    control: str
    kept: str
    wire: str
    log: str


# --- in the process of a node


def run(job: Job, ready: int) -> int:
    """Be a node. `ready` is the descriptor for its ready line."""
    control = Control(Path(job.control))
    hold_clock(control)
    hurry()
    record_checkpoints(Path(job.wire))
    watch_rounds(control)
    install(control, Path(job.kept))
    return main([*job.argv, "--ready-fd", str(ready)])


def hold_clock(control: Control) -> None:
    """Give the daemon a clock that is as far off as the campaign says, at every look at it."""
    defaults = nodes.daemon.run_daemon.__kwdefaults__
    assert defaults is not None
    assert "clock" in defaults
    defaults["clock"] = lambda: wall_clock() + control.clock_ms


def hurry() -> None:
    """Shorten the periods of what a node does beside its traffic."""
    for module, name, value in (
        (nodes.daemon, "TICK_S", TICK_S),
        (nodes.daemon, "KEYS_EVERY_TICKS", KEYS_EVERY_TICKS),
        (nodes.store.sqlite, "IDLE_S", CHECKPOINT_IDLE_S),
        (nodes.store.sqlite, "WAL_LIMIT_BYTES", WAL_LIMIT_BYTES),
    ):
        assert hasattr(module, name)
        setattr(module, name, value)


def record_checkpoints(wire: Path) -> None:
    """Append to `wire` each checkpoint that a round will carry, before its bytes exist: origin, size, root."""
    file = os.open(wire, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    written: set[tuple[str, int, bytes]] = set()

    def recorded(body: Round) -> bytes:
        for checkpoint in _checkpoints(body):
            known = (checkpoint.origin.name, checkpoint.size, checkpoint.root)
            if known not in written:
                os.write(file, b"%s %d %s\n" % (known[0].encode(), known[1], known[2].hex().encode()))
                written.add(known)
        return encode_round(body)

    assert hasattr(nodes.node, "encode_round")
    setattr(nodes.node, "encode_round", recorded)  # noqa: B010 # mypy: the module does not say that it is to be had


def _checkpoints(body: Round) -> Iterator[Checkpoint]:
    for group in body.groups:
        yield group.checkpoint
    for proof in body.key_changes:
        yield proof.checkpoint
    for held in body.hello.held:
        if held.checkpoint is not None:
            yield held.checkpoint


def watch_rounds(control: Control) -> None:
    """Make the moments at which a round leaves or its answer comes places where a fault may strike."""
    ask, answer = PeerClient.round, Node.receive

    def strike(where: Where) -> None:
        if control.strikes_at(where) is not Action.NONE:
            die()

    async def round_(self: PeerClient, target: PeerTarget, body: bytes, timeout_s: float) -> bytes:
        strike(Where.REQUEST_LEAVES)
        answered = await ask(self, target, body, timeout_s)
        strike(Where.ANSWER_CAME)
        return answered

    async def receive(self: Node, agency: AgencyId, body: bytes) -> bytes:
        answered = await answer(self, agency, body)
        strike(Where.ANSWER_LEAVES)
        return answered

    PeerClient.round = round_  # type: ignore[method-assign]
    Node.receive = receive  # type: ignore[method-assign]


# --- in the process that forks them


def serve(asked: socket.socket) -> tuple[Job, int] | None:
    """Fork a process for each job that comes, and tell how each ended. Returns in the forked process, with its job, and
    here when nobody asks any more.
    """
    waking, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        readable, _, _ = select.select([asked.fileno(), waking], [], [])
        if waking in readable:
            os.read(waking, 4096)
            for pid, status in _ended():
                asked.send(json.dumps({"ended": pid, "status": status}).encode())
        if asked.fileno() in readable:
            data, descriptors, _, _ = socket.recv_fds(asked, MAX_JOB_BYTES, 1)
            if not data:
                return None
            job = Job(**json.loads(data))
            pid = _fork(job)
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for descriptor in (waking, woken):
                    os.close(descriptor)
                asked.close()
                return job, descriptors[0]
            os.close(descriptors[0])
            asked.send(json.dumps({"started": pid}).encode())


def _ended() -> Iterator[tuple[int, int]]:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            yield pid, os.waitstatus_to_exitcode(status)


def _fork(job: Job) -> int:
    die_with_parent: Callable[[], Any] = spawn_options()["preexec_fn"]
    pid = os.fork()
    if pid == 0:
        os.setsid()
        die_with_parent()
        log = os.open(job.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        for descriptor in (1, 2):
            os.dup2(log, descriptor)
        os.close(log)
    return pid


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        forked = serve(channel)
    sys.exit(0 if forked is None else run(*forked))
