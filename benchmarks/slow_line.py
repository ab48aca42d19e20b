"""A bad line: few bytes a second and a long way. Owns what a flash alert takes on it, alone and behind a queue.

    python -m benchmarks.slow_line [BYTES_PER_S [LATENCY_MS]]

The line is a relay between the two nodes that hands on so many bytes a second each way and each piece so much later:
TCP, TLS and the nodes are real, loss is not imitated. It is measured as it is, by waiting: some minutes.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import statistics
import sys
import threading
import time
from dataclasses import dataclass

from benchmarks.flood import flashes
from benchmarks.load import stream
from benchmarks.pair import pair_of_nodes
from nodes.cli.demonstration.agencies import Agency
from nodes.cli.demonstration.tap import Tap

BYTES_PER_S = 4_096
LATENCY_MS = 300
QUEUED = 200
FLASHES = 10
PAUSE_S = 5.0
PIECE = 512


class SlowLine(Tap):
    """Hands on `bytes_per_s` in each direction, whatever the number of connections, `latency_ms` later."""

    bytes_per_s = BYTES_PER_S
    latency_ms = LATENCY_MS

    def __init__(self, target_port: int) -> None:
        self._free = {True: 0.0, False: 0.0}  # when each direction has sent what it was given
        super().__init__(target_port)

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        pieces: queue.Queue[tuple[float, bytes]] = queue.Queue(64)  # then the sender has to wait, as behind a modem
        threading.Thread(target=self._hand_on, args=(pieces, source, sink), daemon=True).start()
        with contextlib.suppress(OSError):
            while data := source.recv(PIECE):
                pieces.put((time.monotonic() + self.latency_ms / 1000, data))
        pieces.put((0.0, b""))

    def _hand_on(self, pieces: queue.Queue[tuple[float, bytes]], source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            onward = sink.getpeername() == self._target
            while True:
                arrives, data = pieces.get()
                if not data:
                    break
                with self._lock:
                    self.seen += data
                    gone = max(arrives, self._free[onward]) + len(data) / self.bytes_per_s
                    self._free[onward] = gone
                time.sleep(max(0.0, gone - time.monotonic()))
                sink.sendall(data)
        for connection in (source, sink):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True, slots=True)
class Crossing:
    """Seconds on the slow line."""

    alone: list[float]  # flash alerts, one after the other, connections open
    behind: list[float]  # flash alerts, one every PAUSE_S while QUEUED others wait
    drained: float  # those and the others, from the first flash alert until none waits


def measure() -> Crossing:
    """Flash alerts alone, then behind a queue of others that is on its way."""
    with pair_of_nodes(tapped=True, exchanged=1, line=SlowLine) as (sender, _):
        alone = [ms / 1000 for ms in flashes(sender, 5)]
        stream(sender, QUEUED, delivered=False)
        began = time.monotonic()
        behind = []
        pause = threading.Event()
        for _ in range(FLASHES):
            behind += [ms / 1000 for ms in flashes(sender, 1)]
            pause.wait(PAUSE_S)
        if not _waiting(sender):
            raise RuntimeError("the queue was gone before the last flash alert: the run is void")
        while _waiting(sender):
            pause.wait(1.0)
        return Crossing(alone, behind, time.monotonic() - began)


def _waiting(sender: Agency) -> int:
    return sum(peer["queued"] for peer in sender.document("status")["peers"])


def _row(name: str, values: list[float]) -> str:
    return f"| {name}, s | {statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f}) | |"


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]]
    SlowLine.bytes_per_s, SlowLine.latency_ms = [*numbers, *(BYTES_PER_S, LATENCY_MS)[len(numbers) :]]
    found = measure()
    line = f"a line of {SlowLine.bytes_per_s:,} bytes/s and {SlowLine.latency_ms} ms one way"
    print(_row(f"flash alert alone on {line}", found.alone))
    print(_row(f"flash alert while {QUEUED} others drain on it", found.behind))
    print(f"| all of them, until none waits, s | {found.drained:.0f} | |")
