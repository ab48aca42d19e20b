"""The table of mutants that no test kills, each with its reason. Owns reading it; runs nothing."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).with_name("survivors.toml")


@dataclass(frozen=True, slots=True)
class Survivor:
    """A mutant that may live. Named by the text of its line, so that lines may move."""

    module: str
    where: str
    line: str
    change: str
    why: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """As `Mutant.key`."""
        return (self.module, self.where, self.line, self.change)


def read_survivors() -> list[Survivor]:
    """All of them, in the order of the table."""
    return [Survivor(**row) for row in tomllib.loads(TABLE.read_text()).get("survivor", [])]
