"""Two agencies for a measurement: made, running, trusting each other. Owns their directory; it measures nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from benchmarks.load import latencies
from nodes.cli.demonstration.agencies import COLOMBIA, GERMANY, Agency, remove


@contextmanager
def pair_of_nodes(*, tapped: bool, exchanged: int) -> Iterator[tuple[Agency, Agency]]:
    """The sender and the recipient, after so many alerts; `tapped`: every byte between them is counted."""
    home = Path(tempfile.mkdtemp(prefix="tocsin-bench-"))
    agencies = sender, recipient = Agency(COLOMBIA, home, tapped=tapped), Agency(GERMANY, home, tapped=tapped)
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
