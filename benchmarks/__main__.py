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
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from benchmarks.floor import measure_floor
from benchmarks.load import alert, latencies, requests, stream
from nodes.cli.demonstration.agencies import COLOMBIA, GERMANY, Agency, remove

MIN_FSYNC_US = 20.0


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


def cpu_s(*agencies: Agency) -> float:
    """User and system CPU seconds of the nodes so far."""
    ticks = 0
    for agency in agencies:
        fields = Path(f"/proc/{agency.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def rss_mb(agency: Agency) -> float:
    """Resident memory of a node."""
    for line in Path(f"/proc/{agency.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


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
    home = Path(tempfile.mkdtemp(prefix="tocsin-bench-"))
    try:
        measured(home, options)
    finally:
        remove(home)
    return 0


def measured(home: Path, options: argparse.Namespace) -> None:
    """The whole table."""
    fsync = fsync_us(home)
    if fsync < MIN_FSYNC_US:
        raise SystemExit(f"an fsync of {fsync:.0f} us is no disk: choose another TMPDIR")
    floor = measure_floor(alert(0).encode())
    agencies = [Agency(COLOMBIA, home), Agency(GERMANY, home)]
    sender, recipient = agencies
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(Agency.make, agencies))
    for agency in agencies:
        agency.start()
    try:
        sender.trust(recipient)
        recipient.trust(sender)
        latencies(sender, 20)
        idle = [rss_mb(agency) for agency in agencies]
        wire_before = len(sender.tap.seen) + len(recipient.tap.seen)
        one = latencies(sender, options.latency)
        wire_one = (len(sender.tap.seen) + len(recipient.tap.seen) - wire_before) / options.latency
        rows = []
        stream(sender, options.alerts // 3)
        per_second, cpu_us, wire = [], [], []
        for _ in range(options.runs):
            began_cpu, began_wire = cpu_s(*agencies), len(sender.tap.seen) + len(recipient.tap.seen)
            took = stream(sender, options.alerts)
            per_second.append(options.alerts / took)
            cpu_us.append((cpu_s(*agencies) - began_cpu) / options.alerts * 1e6)
            wire.append((len(sender.tap.seen) + len(recipient.tap.seen) - began_wire) / options.alerts)
        single = [options.alerts / requests(sender, options.alerts, 16) for _ in range(options.runs)]
        loaded = [rss_mb(agency) for agency in agencies]
        wall = command_ms(sender, 10)
        rows = [
            ("throughput, stream, alerts/s", spread(per_second, 0), "3,000"),
            ("throughput, one request each, alerts/s", spread(single, 0), "1,200"),
            (
                "CPU per alert, both nodes, us",
                spread(cpu_us, 0),
                f"{3 * floor.alert:.0f} (3 x floor {floor.alert:.0f})",
            ),
            ("latency idle p50, ms", f"{statistics.median(one):.2f}", f"{5 + 3 * fsync / 1000:.2f}"),
            ("latency idle p99, ms", f"{statistics.quantiles(one, n=100)[98]:.2f}", "20"),
            ("wire, one alert alone, bytes", f"{wire_one:.0f}", "10,500"),
            ("wire, streamed, bytes per alert", spread(wire, 0), "3,000"),
            ("RSS idle, MB (sender, recipient)", ", ".join(f"{value:.0f}" for value in idle), "96"),
            ("RSS after load, MB (sender, recipient)", ", ".join(f"{value:.0f}" for value in loaded), ""),
            ("command line `status`, ms wall", spread(wall, 0), "150"),
        ]
        size = recipient.document("status")["log"]["size"]
    finally:
        for agency in agencies:
            agency.stop()
    names = ("tocsin", "aiohttp", "cryptography", "pynacl", "uvloop")
    parts = (
        f"machine: {platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}",
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {ssl.OPENSSL_VERSION}",
        ", ".join(f"{name} {version(name)}" for name in names),
        f"fsync of 4 KB: {fsync:.0f} us",
        f"floor, us: seal {floor.seal:.0f}, open {floor.open:.0f}, sign {floor.sign:.0f}, verify {floor.verify:.0f}",
        f"{options.alerts} distinct alerts a run, {options.runs} runs, {options.latency} alerts for latency",
        f"recipient's log at the end: {size} entries; load, both nodes and wire taps share the machine",
    )
    print("\n".join(parts), end="\n\n")
    print("| figure | measured: median (lowest to highest) | goal |\n|---|---|---|")
    for name, value, goal in rows:
        print(f"| {name} | {value} | {goal} |")


if __name__ == "__main__":
    sys.exit(main())
