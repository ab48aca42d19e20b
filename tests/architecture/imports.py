"""Which modules a source names in its imports, read from its text. Imports nothing of it."""

from __future__ import annotations

import ast


def imported_modules(source: str) -> set[str]:
    """Every module that this source names in an import, wherever it stands; `from a import b` as both a and a.b."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                modules.update(name.name for name in names)
            case ast.ImportFrom(module=str(module), names=names):
                modules.add(module)
                modules.update(f"{module}.{name.name}" for name in names)
            case _:
                pass
    return modules
