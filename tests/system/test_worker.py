"""The worker process of a real node: what it holds, how it ends, and what its end means for a stream (P2, P9)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from nodes.cli.client import ask
from nodes.directory import layout_of
from nodes.preparing import FEWEST
from nodes.sockets import connect_local
from tests.system.agencies import SMALLEST, Node, until

pytestmark = [
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="on one core a node has no worker"),
    pytest.mark.timeout(300),
]

BATCH = 2 * FEWEST  # what a stream hands over at once
MANY = 8 * BATCH
SECRET = "a word of the node's environment"


class Stream:
    """Posts on one connection to the local socket, and the answers as they come."""

    def __init__(self, node: Node, first: int, count: int) -> None:
        self.ids = [f"00000000-0000-4000-8000-{number:012d}" for number in range(first, first + count)]
        self.answers: dict[int, dict[str, Any]] = {}
        self._socket = connect_local(layout_of(node.directory).socket, timeout_s=120)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._socket.sendall(b"POST /v1/stream HTTP/1.1\r\nHost: node\r\nTransfer-Encoding: chunked\r\n\r\n")
        self._reader.start()

    def send(self) -> None:
        """All posts in one chunk, and the end."""
        posts = [{"content": json.dumps(SMALLEST), "to": ["bka.de"], "id": message} for message in self.ids]
        lines = b"".join(json.dumps(line).encode() + b"\n" for line in ({}, *posts))
        with contextlib.suppress(OSError):  # the node may be killed
            self._socket.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (len(lines), lines))

    def ended(self) -> Stream:
        """Wait for the last answer."""
        self._reader.join(120)
        assert not self._reader.is_alive()
        self._socket.close()
        return self

    def posted(self) -> list[str]:
        """Ids of what was answered as posted; there must be no other answer."""
        assert {answer["exit"] for answer in self.answers.values()} <= {0}
        return [str(answer["document"]["message_id"]) for answer in self.answers.values()]

    def _read(self) -> None:
        with contextlib.suppress(OSError), self._socket.makefile("rb") as answers:
            for line in answers:
                if line.startswith(b'{"seq":'):
                    answer = json.loads(line)
                    self.answers[answer["seq"]] = answer
                elif line == b"0\r\n":  # the last chunk; the connection stays
                    return


def streamed(node: Node, first: int, count: int = BATCH) -> Stream:
    stream = Stream(node, first, count)
    stream.send()
    return stream


def events(node: Node, name: str) -> list[dict[str, Any]]:
    """What the node's log has under this name."""
    lines = (node.home / f"{node.agency}.log").read_text().splitlines()
    told = [json.loads(line) for line in lines if line.startswith("{")]
    return [event for event in told if event.get("event") == name]


def worker_of(node: Node, first: int) -> int:
    """The process, up: a first stream brings it, and the next ones go through it."""
    before = len(events(node, "worker.started"))
    streamed(node, first).ended()
    until(lambda: len(events(node, "worker.started")) > before, "a worker")
    return int(events(node, "worker.started")[-1]["pid"])


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def everything_arrived_once(bogota: Node, berlin: Node, posted: list[str]) -> None:
    until(lambda: bogota.ask("status")["outbound"]["queued"] == 0, "delivery of all", 120)
    arrived = [str(entry["message_id"]) for entry in berlin.ask("inbox", limit=10_000)["messages"]]
    assert sorted(arrived) == sorted(posted)


def test_a_worker_killed_in_the_middle_of_a_stream_costs_no_post_and_doubles_none(pair: tuple[Node, Node]) -> None:
    bogota, berlin = pair
    pid = worker_of(bogota, 0)
    os.kill(pid, signal.SIGSTOP)  # whatever is handed over now stays there
    stream = streamed(bogota, 1_000, MANY)
    flash = {"content": json.dumps({**SMALLEST, "precedence": "flash"}), "to": ["bka.de"], "wait_s": 60}

    said = ask(bogota.directory, "post", flash)

    assert said.document["recipients"][0]["state"] == "stored"  # it waited for no worker
    assert len(stream.answers) < MANY
    os.kill(pid, signal.SIGKILL)
    posted = stream.ended().posted()
    assert len(posted) == MANY
    (lost,) = events(bogota, "worker.lost")
    assert lost["unanswered"] > 0
    assert SMALLEST["summary"] not in (bogota.home / f"{bogota.agency}.log").read_text()
    first = [f"00000000-0000-4000-8000-{number:012d}" for number in range(BATCH)]
    everything_arrived_once(bogota, berlin, [*first, *posted, str(said.document["message_id"])])
    numbers = count(10_000, BATCH)  # after its rest, the next large batch brings another
    until(
        lambda: len(events(bogota, "worker.started")) > 1 or not streamed(bogota, next(numbers)).ended().answers,
        "another worker",
    )


def test_a_node_that_drains_finishes_what_lies_at_a_worker_that_hangs(pair: tuple[Node, Node]) -> None:
    bogota, berlin = pair
    pid = worker_of(bogota, 0)
    os.kill(pid, signal.SIGSTOP)
    stream = streamed(bogota, 1_000, MANY)
    bogota.ask("status")

    assert bogota.stop() == 0

    assert not is_running(pid)
    assert [(lost["why"], lost["unanswered"] > 0) for lost in events(bogota, "worker.lost")] == [("too_slow", True)]
    posted = stream.ended().posted()
    assert posted
    bogota.start()
    again = streamed(bogota, 1_000, MANY).ended()
    assert set(posted) <= {str(answer["document"]["message_id"]) for answer in again.answers.values() if _again(answer)}
    first = [f"00000000-0000-4000-8000-{number:012d}" for number in range(BATCH)]
    everything_arrived_once(bogota, berlin, [*first, *again.posted()])


def test_no_worker_outlives_a_node_that_is_killed_and_no_post_is_lost_or_doubled(pair: tuple[Node, Node]) -> None:
    bogota, berlin = pair
    idle = worker_of(bogota, 0)
    bogota.kill()
    until(lambda: not is_running(idle), "the worker's end")

    bogota.start()
    busy = worker_of(bogota, 1_000)
    stream = streamed(bogota, 2_000, MANY)
    until(lambda: bool(stream.answers), "an answer")
    bogota.kill()
    until(lambda: not is_running(busy), "the worker's end")
    posted = stream.ended().posted()

    bogota.start()
    again = streamed(bogota, 2_000, MANY).ended()  # whoever lost an answer asks again with the same id
    assert set(posted) <= set(again.posted())
    assert set(posted) <= {str(answer["document"]["message_id"]) for answer in again.answers.values() if _again(answer)}
    before = [f"00000000-0000-4000-8000-{first + number:012d}" for first in (0, 1_000) for number in range(BATCH)]
    everything_arrived_once(bogota, berlin, [*before, *again.posted()])


def test_a_node_on_one_core_starts_no_worker(pair: tuple[Node, Node]) -> None:
    bogota, berlin = pair
    bogota.stop()
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        bogota.start()
    finally:
        os.sched_setaffinity(0, cores)
    posted = [message for first in (0, 1_000) for message in streamed(bogota, first).ended().posted()]
    everything_arrived_once(bogota, berlin, posted)
    bogota.stop()
    assert [events(bogota, f"worker.{what}") for what in ("started", "ended", "lost")] == [[], [], []]


def test_a_worker_heeds_no_signal_that_is_meant_for_the_node(pair: tuple[Node, Node]) -> None:
    bogota, berlin = pair
    pid = worker_of(bogota, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, number)
    posted = streamed(bogota, 1_000).ended().posted()
    assert is_running(pid)
    assert events(bogota, "worker.lost") == []
    first = [f"00000000-0000-4000-8000-{number:012d}" for number in range(BATCH)]
    everything_arrived_once(bogota, berlin, [*first, *posted])


def test_a_worker_shows_neither_content_nor_keys_and_holds_nothing_of_the_node(
    pair: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    bogota, _ = pair
    bogota.stop()
    monkeypatch.setenv("TOCSIN_TEST_SECRET", SECRET)
    bogota.start()
    pid = worker_of(bogota, 0)
    streamed(bogota, 1_000).ended()
    process = Path(f"/proc/{pid}")

    shown = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    secrets = (SECRET, SMALLEST["summary"], bogota.passphrase.read_text().strip(), str(bogota.directory))
    assert [text for text in secrets if text.encode() in shown] == []
    assert b"TOCSIN" not in shown

    held = {int(entry.name): os.readlink(entry) for entry in (process / "fd").iterdir()}
    assert set(held) == {0, 1, 2, 3}
    assert held[1] == held[2] == os.devnull
    assert all(held[number].startswith(("pipe:", "socket:")) for number in (0, 3))
    assert sorted(_listening(held.values())) == []
    assert (process / "cwd").readlink() == Path("/")
    assert "Max core file size        0" in (process / "limits").read_text()


def _again(answer: dict[str, Any]) -> bool:
    return bool(answer["document"]["repeated"])


def _listening(held: Iterable[str]) -> list[str]:
    """Which of these are sockets of the internet, or wait for callers."""
    inodes = {name.removeprefix("socket:[").rstrip("]") for name in held if name.startswith("socket:")}
    found = [line for line in Path("/proc/net/unix").read_text().splitlines()[1:] if line.split()[6] in inodes]
    internet = [
        line.split()[9]
        for family in ("tcp", "tcp6", "udp", "udp6")
        for line in Path(f"/proc/net/{family}").read_text().splitlines()[1:]
    ]
    accepting = [line for line in found if int(line.split()[3], 16) & 0x10000]  # __SO_ACCEPTCON
    return [*accepting, *inodes.intersection(internet)]
