"""An idle link: what two agencies say to each other when nobody has anything to say. Owns that figure.

    python -m benchmarks.idle [MINUTES]

It is measured as it is, by waiting: two heartbeats of each side with the default of 31 minutes.
"""

from __future__ import annotations

import sys
import threading

from benchmarks.pair import pair_of_nodes

MINUTES_A_DAY = 1_440
SETTLED_S = 90.0  # after that the connections of the first alerts are closed


def measure(minutes: float) -> tuple[int, float]:
    """Bytes over both lines and both ways in so many minutes, and in a day."""
    pause = threading.Event()
    with pair_of_nodes(tapped=True, exchanged=1) as agencies:
        pause.wait(SETTLED_S)
        before = sum(len(agency.tap.seen) for agency in agencies)
        pause.wait(minutes * 60)
        passed = sum(len(agency.tap.seen) for agency in agencies) - before
    return passed, passed / minutes * MINUTES_A_DAY


if __name__ == "__main__":
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 31.0
    passed, a_day = measure(minutes)
    print(f"| idle link, {passed} bytes in {minutes:.0f} minutes, MB a day | {a_day / 1e6:.2f} | 1 |")
