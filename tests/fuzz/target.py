"""Owns what a fuzz target is: a parser that meets outside bytes, and the errors it may answer them with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """One parser. `run` takes any bytes; it returns, or raises one of `refusals`. An AssertionError is a finding too.

    `longest` is what a campaign gives it at most, in bytes; `executions` how many mutations the suite runs.
    """

    name: str
    run: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...] = ()
    longest: int = 4_096
    executions: int = 600

    def check(self, data: bytes) -> bool:
        """Give it `data`: whether it was taken. Raises what is a finding: anything but its refusals."""
        try:
            self.run(data)
        except self.refusals:
            return False
        return True
