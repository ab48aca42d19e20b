"""A backlog: alerts queued for a peer that is away, a restart with them, and how they drain. Owns these figures."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import latencies, stream, until_delivered
from benchmarks.processes import cpu_s, rss_mb
from nodes.cli.demonstration.agencies import COLOMBIA, GERMANY, Agency, remove

SLICE = 10_000


@dataclass(frozen=True, slots=True)
class Backlog:
    """What `count` alerts that wait cost. Memory in MB, times in seconds, CPU in microseconds per alert."""

    count: int
    idle_mb: float
    queued_mb: float
    post_per_s: list[float]  # of each slice of 10,000
    restart_s: float  # after kill -9, until it answers
    drain_per_s: float
    drain_cpu_us: float  # both nodes
    drained_mb: float
    latency_ms: float  # of one alert with all of them in both stores


def measure(count: int) -> Backlog:
    """Queue `count` alerts, kill and restart the sender, let them go."""
    home = Path(tempfile.mkdtemp(prefix="tocsin-backlog-"))
    agencies = sender, recipient = [Agency(COLOMBIA, home), Agency(GERMANY, home)]
    try:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(Agency.make, agencies))
        for agency in agencies:
            agency.start()
        sender.trust(recipient)
        recipient.trust(sender)
        latencies(sender, 1)
        latencies_before = rss_mb(sender)
        recipient.stop()
        rates = [SLICE / stream(sender, SLICE, delivered=False) for _ in range(0, count, SLICE)]
        queued = rss_mb(sender)
        sender.kill()
        began = time.perf_counter()
        sender.start()
        restart = time.perf_counter() - began
        waiting = sender.document("status")["outbound"]["queued"]
        if waiting != len(rates) * SLICE:
            raise RuntimeError(f"{waiting} of {len(rates) * SLICE} are queued after the restart: the run is void")
        recipient.start()
        cpu, began = cpu_s(*agencies), time.perf_counter()
        until_delivered(sender)
        took = time.perf_counter() - began
        drained = (cpu_s(*agencies) - cpu) / waiting * 1e6
        stored = recipient.document("status")["inbound"]["unopened"]
        if stored != waiting + 1:
            raise RuntimeError(f"{stored} of {waiting + 1} arrived: the run is void")
        memory = rss_mb(sender)
        latency = statistics.median(latencies(sender, 50))
    finally:
        for agency in agencies:
            agency.stop()
        remove(home)
    return Backlog(waiting, latencies_before, queued, rates, restart, waiting / took, drained, memory, latency)


if __name__ == "__main__":
    found = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
    rates = found.post_per_s
    print(f"| queueing {found.count:,}, alerts/s, first and last 10,000 | {rates[0]:.0f}, {rates[-1]:.0f} | flat |")
    print(f"| memory of the sender, idle and with them queued, MB | {found.idle_mb:.0f}, {found.queued_mb:.0f} | +64 |")
    print(f"| restart after kill -9 with them queued, s | {found.restart_s:.2f} | 5 |")
    print(f"| drain, alerts/s | {found.drain_per_s:.0f} | full rate |")
    print(f"| CPU of the drain, both nodes, us per alert | {found.drain_cpu_us:.0f} | |")
    print(f"| memory of the sender, drained, MB | {found.drained_mb:.0f} | |")
    print(f"| latency of one alert after that, p50, ms | {found.latency_ms:.1f} | |")
