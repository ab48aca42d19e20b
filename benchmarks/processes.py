"""What running nodes cost: processor time and memory, as the kernel counts them. Processes that a node has started
count as the node.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from nodes.cli.demonstration.agencies import Agency


def cpu_s(*agencies: Agency) -> float:
    """User and system CPU seconds of the nodes so far, with their running children and those that have ended."""
    ticks = sum(sum(map(int, _fields(pid)[11:15])) for agency in agencies for pid in family(agency.pid))
    return ticks / os.sysconf("SC_CLK_TCK")


def rss_mb(agency: Agency) -> float:
    """Resident memory of a node and its children; pages that they share count once for each."""
    return sum(_resident_kb(pid) for pid in family(agency.pid)) / 1024


def own_rss_mb(agency: Agency) -> float:
    """Resident memory of a node without its children, which end when there is nothing for them to do."""
    return _resident_kb(agency.pid) / 1024


def family(pid: int) -> list[int]:
    """A process and its running descendants."""
    children: dict[int, list[int]] = {}
    for other in _running():
        children.setdefault(int(_fields(other)[1]), []).append(other)
    found = [pid]
    for one in found:
        found.extend(children.get(one, []))
    return found


def _running() -> Iterator[int]:
    for path in Path("/proc").iterdir():
        if path.name.isdecimal() and path.joinpath("stat").exists():
            yield int(path.name)


def _fields(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
        return ["Z", *["0"] * 20]


def _resident_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0
