"""Checks that what the documents point at exists. Owns the ways of pointing; judges no prose.

Looked at are links and their anchors, sections of docs/PROTOCOL.md (`PROTOCOL §7.1`) and decisions (`ADR NNNN`), both
in the code too, `make` targets, and paths of the project in backticks, with the test behind `::`. One line per finding.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

LINK = re.compile(r"(?<!!)\[[^\]]+\]\(<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\)")
HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*#*$")
SECTION = re.compile(r"\bPROTOCOL(?:\.md)?`?,?\s+§+\s?(\d+(?:\.\d+)*)")
DECISION = re.compile(r"\bADR[ -](\d{4})\b")
CODE_SPAN = re.compile(r"`([^`\n]+)`")
MAKE = re.compile(r"^(?:\$ )?make ([a-z][a-z-]*)\b")
TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)
PATH = re.compile(
    r"^(?:keys|exchange|nodes|tests|docs|scripts|benchmarks|deploy|requirements|\.ci)/[\w./-]*(?:::\w+)?$"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that points at nothing: file, line (from 1), what is wrong."""

    path: str
    line: int
    problem: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.problem}"


def anchor_of(heading: str) -> str:
    """The anchor that a forge gives a heading: lower case, punctuation dropped, spaces as hyphens."""
    text = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def prose_and_code(text: str) -> Iterator[tuple[int, str, bool]]:
    """Each line with its number and whether it lies inside a fence."""
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
            continue
        yield number, line, fenced


class Project:
    """The files of a project, as its documents see them."""

    def __init__(self, root: Path, files: list[str]) -> None:
        self.root = root
        self.files = files

    def read(self, path: str) -> str:
        """The text of one file of the project."""
        return (self.root / path).read_text(encoding="utf-8")

    @cached_property
    def sections(self) -> set[str]:
        """Numbers of the sections of docs/PROTOCOL.md."""
        if "docs/PROTOCOL.md" not in self.files:
            return set()
        numbered = re.findall(r"^#+ (\d+(?:\.\d+)*)\.? ", self.read("docs/PROTOCOL.md"), re.MULTILINE)
        return set(numbered)

    @cached_property
    def targets(self) -> set[str]:
        """Targets of the Makefile."""
        return set(TARGET.findall(self.read("Makefile"))) if "Makefile" in self.files else set()

    @cached_property
    def decisions(self) -> set[str]:
        """Numbers of the records in docs/adr."""
        return {path.removeprefix("docs/adr/")[:4] for path in self.files if path.startswith("docs/adr/")}

    def anchors(self, path: str) -> set[str]:
        """Anchors of a document; the second heading of one name gets -1, as on a forge."""
        seen: dict[str, int] = {}
        anchors = set()
        for _, line, fenced in prose_and_code(self.read(path)):
            heading = HEADING.match(line)
            if heading is None or fenced:
                continue
            anchor = anchor_of(heading[2])
            count = seen.get(anchor, 0)
            seen[anchor] = count + 1
            anchors.add(f"{anchor}-{count}" if count else anchor)
        return anchors

    def findings(self) -> list[Finding]:
        """Everything in the project's documents, and in the comments of its code, that points at nothing."""
        found: list[Finding] = []
        for path in self.files:
            if path.endswith(".md"):
                found += self._in_document(path)
            if path.endswith((".md", ".py")):
                found += self._references(path)
        return found

    def _in_document(self, path: str) -> Iterator[Finding]:
        for number, line, fenced in prose_and_code(self.read(path)):
            spans = [line.strip()] if fenced else CODE_SPAN.findall(line)
            if not fenced:
                for target in LINK.findall(CODE_SPAN.sub("", line)):
                    yield from self._link(path, number, target)
            for span in spans:
                made = MAKE.match(span)
                if made and made[1] not in self.targets:
                    yield Finding(path, number, f"the Makefile has no target {made[1]}")
                if not fenced and PATH.match(span):
                    yield from self._path(path, number, span)

    def _link(self, path: str, number: int, target: str) -> Iterator[Finding]:
        if re.match(r"[a-z][a-z+.-]*:", target):
            return
        place, _, anchor = unquote(target).partition("#")
        pointed = (self.root / path).parent / place if place else self.root / path
        if not pointed.exists():
            yield Finding(path, number, f"link to {place}, which does not exist")
        elif anchor and pointed.suffix == ".md":
            inside = pointed.resolve().relative_to(self.root.resolve()).as_posix()
            if anchor not in self.anchors(inside):
                yield Finding(path, number, f"{inside} has no heading #{anchor}")

    def _path(self, path: str, number: int, span: str) -> Iterator[Finding]:
        place, _, test = span.partition("::")
        pointed = self.root / place
        if not pointed.exists() and not pointed.with_name(pointed.name + ".py").exists():
            yield Finding(path, number, f"{place} does not exist")
        elif test and not re.search(rf"^\s*(?:async )?(?:def|class) {test}\b", self.read(place), re.MULTILINE):
            yield Finding(path, number, f"{place} has no {test}")

    def _references(self, path: str) -> Iterator[Finding]:
        for number, line in enumerate(self.read(path).splitlines(), 1):
            for section in SECTION.findall(line):
                if section not in self.sections:
                    yield Finding(path, number, f"docs/PROTOCOL.md has no section {section}")
            for decision in DECISION.findall(line):
                if decision not in self.decisions:
                    yield Finding(path, number, f"docs/adr has no record {decision}")


def committed_files(root: Path) -> list[str]:
    """Paths of all files that are, or would be, committed, and exist."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(listing, cwd=root, capture_output=True, check=True).stdout.decode()
    return sorted({name for name in listed.split("\0") if name and (root / name).is_file()})


def main() -> int:
    """Check the project that this script lies in."""
    root = Path(__file__).resolve().parent.parent
    files = committed_files(root)
    findings = Project(root, files).findings()
    for finding in findings:
        print(finding)
    documents = sum(path.endswith(".md") for path in files)
    print(f"{documents} documents, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
