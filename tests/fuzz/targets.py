"""Owns the table of all fuzz targets: every parser that meets outside bytes, and where its committed inputs lie."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz import documents, surroundings, verbs, wire
from tests.fuzz.target import Target

HERE = Path(__file__).resolve().parent
CORPUS = HERE / "corpus"
FOUND = HERE / "found"

TARGETS: dict[str, Target] = {
    target.name: target for target in (*wire.TARGETS, *documents.TARGETS, *surroundings.TARGETS, *verbs.TARGETS)
}


def inputs(name: str) -> dict[str, bytes]:
    """The committed inputs of a target, by file name, in order."""
    return {path.name: path.read_bytes() for path in sorted((CORPUS / name).iterdir())}
