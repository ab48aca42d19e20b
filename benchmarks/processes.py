"""What running nodes cost: processor time and memory, as the kernel counts them."""

from __future__ import annotations

import os
from pathlib import Path

from nodes.cli.demonstration.agencies import Agency


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
