"""A backlog: alerts queued for a peer that is away, a restart with them, and how they drain. Owns these figures.

    python -m benchmarks.backlog [COUNT]

With 1,000,000 it shows that the cost of an alert does not grow with the store and the log: queueing and draining are
measured in slices, by the clock and by processor time, which another process on the machine disturbs less. A quarter
of an hour, 12 GB of disk.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.load import latencies, stream
from benchmarks.pair import pair_of_nodes
from benchmarks.processes import cpu_s, own_rss_mb, rss_mb
from nodes.cli.demonstration.agencies import Agency

SLICE = 10_000
STREAMED = 60_000  # about a minute


@dataclass(frozen=True, slots=True)
class Pace:
    """How one slice went: alerts per second, and processor time of the nodes that had to do with it, us per alert."""

    per_s: float
    cpu_us: float


@dataclass(frozen=True, slots=True)
class Backlog:
    """What `count` alerts that wait cost. Memory in MB, times in seconds, CPU in microseconds per alert."""

    count: int
    idle_mb: float
    queued_mb: float
    working_mb: float
    posts: list[Pace]  # slices of 10,000
    restart_s: float  # after kill -9, until it answers
    drain: Pace  # both nodes
    drains: list[Pace]  # a tenth of it each
    drained_mb: float
    latency_ms: float  # of one alert with all of them in both stores
    streamed: Pace  # a stream, delivered, after that; both nodes


def measure(count: int) -> Backlog:
    """Queue `count` alerts, kill and restart the sender, let them go."""
    with pair_of_nodes(tapped=True, exchanged=1) as agencies:
        sender, recipient = agencies
        latencies_before = rss_mb(sender)
        recipient.stop()
        posts = []
        for _ in range(0, count, SLICE):
            cpu = cpu_s(sender)
            took = stream(sender, SLICE, delivered=False)
            posts.append(Pace(SLICE / took, (cpu_s(sender) - cpu) / SLICE * 1e6))
        queued, working = own_rss_mb(sender), rss_mb(sender)
        sender.kill()
        began = time.perf_counter()
        sender.start()
        restart = time.perf_counter() - began
        waiting = sender.document("status")["outbound"]["queued"]
        if waiting != len(posts) * SLICE:
            raise RuntimeError(f"{waiting} of {len(posts) * SLICE} are queued after the restart: the run is void")
        recipient.start()
        drain, drains = _drain(agencies, waiting)
        stored = recipient.document("status")["inbound"]["unopened"]
        if stored != waiting + 1:
            raise RuntimeError(f"{stored} of {waiting + 1} arrived: the run is void")
        memory = rss_mb(sender)
        latency = statistics.median(latencies(sender, 50))
        more = min(count, STREAMED)
        cpu = cpu_s(*agencies)
        took = stream(sender, more)
        streamed = Pace(more / took, (cpu_s(*agencies) - cpu) / more * 1e6)
    return Backlog(waiting, latencies_before, queued, working, posts, restart, drain, drains, memory, latency, streamed)


def _drain(agencies: Sequence[Agency], waiting: int) -> tuple[Pace, list[Pace]]:
    """Watch everything that is queued go: the whole, and each tenth."""
    sender, pause = agencies[0], threading.Event()
    first = last = (time.perf_counter(), cpu_s(*agencies), waiting)
    tenths = []
    while left := sender.document("status")["outbound"]["queued"]:
        if last[2] - left >= waiting // 10:
            now = (time.perf_counter(), cpu_s(*agencies), left)
            tenths.append(_pace(last, now))
            last = now
        pause.wait(min(1.0, waiting / 100_000))  # to ask counts what is queued: not so often that it is the load
    return _pace(first, (time.perf_counter(), cpu_s(*agencies), 0)), tenths


def _pace(before: tuple[float, float, int], after: tuple[float, float, int]) -> Pace:
    done = before[2] - after[2]
    return Pace(done / (after[0] - before[0]), (after[1] - before[1]) / done * 1e6)


if __name__ == "__main__":
    found = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
    posts, drains = found.posts, found.drains
    print(
        f"| queueing {found.count:,}, alerts/s, first and last 10,000 | {posts[0].per_s:.0f}, {posts[-1].per_s:.0f} | |"
    )
    cost = [round(pace.cpu_us) for pace in posts]
    print(
        f"| CPU of an alert queued, us, first, median, last | {cost[0]}, {statistics.median(cost)}, {cost[-1]} | flat |"
    )
    print(f"| memory of the sender, idle and with them queued, MB | {found.idle_mb:.0f}, {found.queued_mb:.0f} | +64 |")
    print(f"| the same with its worker process, until 30 s after the last batch, MB | {found.working_mb:.0f} | |")
    print(f"| restart after kill -9 with them queued, s | {found.restart_s:.2f} | 5 |")
    print(f"| drain, alerts/s | {found.drain.per_s:.0f} | full rate |")
    print(f"| CPU of the drain, both nodes, us per alert | {found.drain.cpu_us:.0f} | |")
    if drains:
        print(f"| the same, first and last tenth | {drains[0].cpu_us:.0f}, {drains[-1].cpu_us:.0f} | flat |")
    print(f"| memory of the sender, drained, MB | {found.drained_mb:.0f} | |")
    print(f"| latency of one alert after that, p50, ms | {found.latency_ms:.1f} | |")
    print(f"| stream after that, alerts/s; CPU, us | {found.streamed.per_s:.0f}, {found.streamed.cpu_us:.0f} | flat |")
