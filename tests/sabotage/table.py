"""Sabotages: small patches that each break one promise, and the test that must notice. Owns reading, applying and
undoing them in a tree; runs nothing.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).with_name("sabotages.toml")
PROMISE = re.compile(r"^\| (P\d+) \|[^|]*\| (kept[^|]*|not yet[^|]*)\|([^|]*)\|$", re.MULTILINE)


class DoesNotApplyError(Exception):
    """The code that an edit names has moved or changed."""


@dataclass(frozen=True, slots=True)
class Edit:
    """`find`, which stands exactly once in `file`, becomes `replace`."""

    file: str
    find: str
    replace: str

    def applied_to(self, text: str) -> str:
        """The text with the edit. Raises DoesNotApplyError."""
        found = text.count(self.find)
        if found != 1:
            raise DoesNotApplyError(f"{self.file}: found {found} times: {self.find.strip()}")
        return text.replace(self.find, self.replace)


@dataclass(frozen=True, slots=True)
class Sabotage:
    """Breaks `promise`; `test` (a pytest id) must then fail. `quick`: the suite runs it too."""

    promise: str
    name: str
    test: str
    quick: bool
    edits: tuple[Edit, ...]

    def edited(self, tree: Path) -> dict[Path, str]:
        """The files that it changes in this tree, as they would be. Raises DoesNotApplyError."""
        texts: dict[Path, str] = {}
        for edit in self.edits:
            path = tree / edit.file
            if not path.is_file():
                raise DoesNotApplyError(f"{edit.file}: there is no such file")
            texts[path] = edit.applied_to(texts.get(path) or path.read_text())
        return texts

    @contextmanager
    def applied(self, tree: Path) -> Iterator[None]:
        """While this lasts the tree is sabotaged. Raises DoesNotApplyError, and has then changed nothing."""
        edited = self.edited(tree)
        before = {path: path.read_text() for path in edited}
        try:
            for path, text in edited.items():
                _write(path, text)
            yield
        finally:
            for path, text in before.items():
                _write(path, text)


def read_table() -> list[Sabotage]:
    """All of them, in the order of the table."""
    return [
        Sabotage(
            promise=row["promise"],
            name=row["name"],
            test=row["test"],
            quick=row.get("quick", False),
            edits=tuple(Edit(**edit) for edit in row["edits"]),
        )
        for row in tomllib.loads(TABLE.read_text())["sabotage"]
    ]


def promises(readme: str) -> dict[str, tuple[bool, list[str]]]:
    """Of each promise in the README's table: is it kept (perhaps in part), and the files of its tests."""
    return {
        promise: (status.startswith("kept"), re.findall(r"`([^`]+)`", tests))
        for promise, status, tests in PROMISE.findall(readme)
    }


def _write(path: Path, text: str) -> None:
    """A module's compiled form is looked up by size and second of its source: two edits in one second look alike."""
    path.write_text(text)
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()
