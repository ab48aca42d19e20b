"""Runs a real node whose clock is off. Used as `python clock_run.py MS -- <arguments of tocsin>`."""

from __future__ import annotations

import sys

import nodes.daemon
from nodes.cli.main import main
from nodes.daemon import wall_clock


def set_clock(off_ms: int) -> None:
    """Give the daemon a clock that is so many milliseconds ahead, or behind if negative."""
    defaults = nodes.daemon.run_daemon.__kwdefaults__
    assert defaults is not None
    assert "clock" in defaults
    defaults["clock"] = lambda: wall_clock() + off_ms


if __name__ == "__main__":
    set_clock(int(sys.argv[1]))
    sys.exit(main(sys.argv[3:]))
