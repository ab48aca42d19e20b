"""The reader of imports sees every form of one."""

from __future__ import annotations

from tests.architecture.imports import imported_modules


def test_an_import_is_seen_in_each_of_its_forms() -> None:
    source = "import a.b as c\nfrom d import e\ndef f() -> None:\n    from nodes import cli"
    assert imported_modules(source) == {"a.b", "d", "d.e", "nodes", "nodes.cli"}
