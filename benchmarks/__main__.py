"""`python -m benchmarks`: measures two real nodes on this machine and prints a table beside the floor. Figures,
conditions, spread.
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

from benchmarks.floor import measure_floor
from benchmarks.load import alert, latencies, requests, stream
from benchmarks.pair import pair_of_nodes
from benchmarks.processes import cpu_s, rss_mb
from nodes.cli.demonstration.agencies import Agency

MIN_FSYNC_US = 20.0
WARM = 20  # alerts before anything is measured

Row: TypeAlias = tuple[str, str, str]
"""What was measured, what came out, the goal of DESIGN 13."""


def fsync_us(directory: Path) -> float:
    """Median of an fdatasync of 4 KB on the disk that holds the nodes."""
    path = directory / "fsync"
    found = []
    with path.open("wb", buffering=0) as file:
        for _ in range(200):
            file.write(os.urandom(4096))
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            found.append((time.perf_counter() - began) * 1e6)
    path.unlink()
    return statistics.median(found)


def command_ms(agency: Agency, runs: int) -> list[float]:
    """Wall time of `tocsin status` as a whole process."""
    found = []
    for _ in range(runs):
        began = time.perf_counter()
        subprocess.run(  # our own program
            [sys.executable, "-m", "nodes.cli", "-D", str(agency.directory), "status", "--json"],
            check=True,
            capture_output=True,
        )
        found.append((time.perf_counter() - began) * 1000)
    return found


def spread(values: list[float], digits: int = 1) -> str:
    """Median (lowest to highest)."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--alerts", type=int, default=3_000, help="alerts of one throughput run")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--latency", type=int, default=300)
    options = parser.parse_args()
    measured(options)
    return 0


def wire(options: argparse.Namespace) -> list[Row]:
    """Bytes on the line, both directions, by taps on it."""
    with pair_of_nodes(tapped=True, exchanged=WARM) as agencies:
        sender = agencies[0]

        def passed() -> int:
            return sum(len(agency.tap.seen) for agency in agencies)

        before = passed()
        latencies(sender, options.latency)
        one = (passed() - before) / options.latency
        stream(sender, options.alerts // 3)
        before = passed()
        stream(sender, options.alerts)
        many = (passed() - before) / options.alerts
    return [
        ("wire, one alert alone, bytes", f"{one:.0f}", "10,500"),
        ("wire, streamed, bytes per alert", f"{many:.0f}", "3,000"),
    ]


def measured(options: argparse.Namespace) -> None:
    """The whole table."""
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as home:
        fsync = fsync_us(Path(home))
    if fsync < MIN_FSYNC_US:
        raise SystemExit(f"an fsync of {fsync:.0f} us is no disk: choose another TMPDIR")
    floor = measure_floor(alert(0).encode())
    with pair_of_nodes(tapped=False, exchanged=WARM) as agencies:
        sender, recipient = agencies
        idle = [rss_mb(agency) for agency in agencies]
        one = latencies(sender, options.latency)
        stream(sender, options.alerts // 3)
        per_second, cpu_us = [], []
        for _ in range(options.runs):
            began = cpu_s(*agencies)
            per_second.append(options.alerts / stream(sender, options.alerts))
            cpu_us.append((cpu_s(*agencies) - began) / options.alerts * 1e6)
        single = [options.alerts / requests(sender, options.alerts, 16) for _ in range(options.runs)]
        posted = WARM + options.latency + options.alerts // 3 + 2 * options.runs * options.alerts
        arrived = recipient.document("status")["inbound"]["unopened"]
        if arrived != posted:
            raise SystemExit(f"{arrived} of {posted} alerts arrived: the run is void")
        loaded = [rss_mb(agency) for agency in agencies]
        wall = command_ms(sender, 10)
        size = recipient.document("status")["log"]["size"]
    rows: list[Row] = [
        ("throughput, stream, alerts/s", spread(per_second, 0), "3,000"),
        ("throughput, one request each, alerts/s", spread(single, 0), "1,200"),
        ("CPU per alert, both nodes, us", spread(cpu_us, 0), f"{3 * floor.alert:.0f} (3 x floor {floor.alert:.0f})"),
        ("latency idle p50, ms", f"{statistics.median(one):.2f}", f"{5 + 3 * fsync / 1000:.2f}"),
        ("latency idle p99, ms", f"{statistics.quantiles(one, n=100)[98]:.2f}", "20"),
        *wire(options),
        ("RSS idle, MB (sender, recipient)", ", ".join(f"{value:.0f}" for value in idle), "96"),
        ("RSS after load, MB (sender, recipient)", ", ".join(f"{value:.0f}" for value in loaded), ""),
        ("command line `status`, ms wall", spread(wall, 0), "150"),
    ]
    names = ("tocsin", "aiohttp", "cryptography", "pynacl", "uvloop")
    parts = (
        f"machine: {platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}",
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {ssl.OPENSSL_VERSION}",
        ", ".join(f"{name} {version(name)}" for name in names),
        f"fsync of 4 KB: {fsync:.0f} us",
        f"floor, us: seal {floor.seal:.0f}, open {floor.open:.0f}, sign {floor.sign:.0f}, verify {floor.verify:.0f}",
        f"{options.alerts} distinct alerts a run, {options.runs} runs, {options.latency} alerts for latency",
        f"recipient's log at the end: {size} entries; load and both nodes share the machine; taps count the bytes only",
    )
    print("\n".join(parts), end="\n\n")
    print("| figure | measured: median (lowest to highest) | goal |\n|---|---|---|")
    for name, value, goal in rows:
        print(f"| {name} | {value} | {goal} |")


if __name__ == "__main__":
    sys.exit(main())
