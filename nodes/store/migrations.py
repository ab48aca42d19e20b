"""Brings a SQLite file to the schema this version knows. Owns schema numbers and scripts; it knows no row.

Schema n is what scripts 0001.sql to n.sql make, each executed in one transaction that also writes the new number: a
crash leaves the schema before or the schema after. A released script is never edited.
"""

from __future__ import annotations

import re
import sqlite3
from importlib import resources

from nodes.errors import SchemaTooNewError, StoreCorruptError

APPLICATION_ID = 0x546F6373  # "Tocs": file(1) and our own start-up tell this file from any other database

_SCRIPT_NAME = re.compile(r"(\d{4})\.sql")


def schema_scripts() -> tuple[str, ...]:
    """The scripts in order. Raises RuntimeError when one is missing from the installed package."""
    found: dict[int, str] = {}
    for item in (resources.files("nodes.store") / "schema").iterdir():
        if match := _SCRIPT_NAME.fullmatch(item.name):
            found[int(match[1])] = item.read_text(encoding="utf-8")
    if sorted(found) != list(range(1, len(found) + 1)):
        raise RuntimeError(f"schema scripts are not numbered from 1 without a gap: {sorted(found)}")
    return tuple(found[number] for number in sorted(found))


def check_schema(connection: sqlite3.Connection) -> None:
    """Raise SchemaTooNewError or, for another program's file, StoreCorruptError. Writes nothing."""
    supported = len(schema_scripts())
    found = _pragma(connection, "user_version")
    application = _pragma(connection, "application_id")
    empty = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
    if application != APPLICATION_ID and not (application == 0 and found == 0 and empty):
        raise StoreCorruptError("this is not a Tocsin store")
    if found > supported:
        raise SchemaTooNewError(found, supported)


def migrate(connection: sqlite3.Connection) -> None:
    """Execute the scripts that the file lacks. Call `check_schema` first."""
    scripts = schema_scripts()
    for number in range(_pragma(connection, "user_version") + 1, len(scripts) + 1):
        _execute_script(connection, scripts[number - 1], number)


def _execute_script(connection: sqlite3.Connection, script: str, number: int) -> None:
    try:
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{script}\n"
            f"PRAGMA application_id = {APPLICATION_ID};\nPRAGMA user_version = {number};\nCOMMIT;"
        )
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value
