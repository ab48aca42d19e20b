"""Two agencies for a measurement: made, running, trusting each other. Owns their directory; it measures nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from benchmarks.load import latencies
from nodes.cli.demonstration.agencies import COLOMBIA, GERMANY, Agency, remove
from nodes.cli.demonstration.tap import Tap


@contextmanager
def pair_of_nodes(*, tapped: bool, exchanged: int, line: Callable[[int], Tap] = Tap) -> Iterator[tuple[Agency, Agency]]:
    """The sender and the recipient, after so many alerts; `tapped`: every byte between them is counted, on a `line`."""
    home = Path(tempfile.mkdtemp(prefix="tocsin-bench-"))
    agencies = [Agency(cast, home, tapped=tapped, line=line) for cast in (COLOMBIA, GERMANY)]
    sender, recipient = agencies
    try:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(Agency.make, agencies))
        for agency in agencies:
            agency.start()
        sender.trust(recipient)
        recipient.trust(sender)
        latencies(sender, exchanged)
        yield sender, recipient
    finally:
        for agency in agencies:
            agency.stop()
        remove(home)
