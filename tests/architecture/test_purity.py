"""keys/ and exchange/ decide; they do not wait, read a clock, draw randomness, touch a file or log.

The import contracts (pyproject.toml) see modules only, and ruff's ban on calls is lifted as a whole for the modules of
keys/ that make key pairs; here each of those is held to exactly what it may do.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PURE = sorted(
    path.relative_to(ROOT).as_posix() for area in ("keys", "exchange") for path in (ROOT / area).rglob("*.py")
)

FORBIDDEN_MODULES = frozenset(
    "aiohttp aiosqlite asyncio concurrent http io logging multiprocessing os pathlib queue random secrets select "
    "selectors shutil signal socket sqlite3 ssl structlog subprocess sys tempfile threading time urllib".split()
)
FORBIDDEN_CALLS = frozenset({"open", "print", "input", "exec", "eval", "breakpoint"})
FORBIDDEN_ATTRIBUTES = frozenset(
    {
        *("datetime.now", "datetime.utcnow", "datetime.today", "date.today"),
        *("uuid.uuid1", "uuid.uuid4", "uuid1", "uuid4", "nacl.utils.random", "utils.random"),
    }
)

DRAWS_KEYS = {"os.urandom"}
# What a module may use of `os` and its kin, and no other module of the pure packages.
PERMITTED: dict[str, set[str]] = {
    "keys/signing.py": DRAWS_KEYS,
    "keys/sealing.py": DRAWS_KEYS,
    "keys/epochs.py": DRAWS_KEYS,
    "keys/certificates.py": DRAWS_KEYS,
    "keys/randomness.py": DRAWS_KEYS,
}
TOUCHES_FILES = "keys/keystore.py"
FILE_MODULES = {"os", "pathlib", "fcntl"}


def offences(path: str, source: str) -> list[str]:
    """What in this source a pure module may not do, each as `line: what`."""
    tree = ast.parse(source, path)
    return [f"{line}: {what}" for line, what in sorted(_offences(path, tree))]


def _offences(path: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    permitted = PERMITTED.get(path, set())
    may_touch_files = path == TOUCHES_FILES
    for node in ast.walk(tree):
        match node:
            case ast.AsyncFunctionDef() | ast.Await() | ast.AsyncFor() | ast.AsyncWith():
                yield node.lineno, "waits"
            case ast.Import(names=names):
                for name in names:
                    yield from _import_offences(node.lineno, name.name, None, permitted, may_touch_files)
            case ast.ImportFrom(module=str(module), names=names):
                for name in names:
                    yield from _import_offences(node.lineno, module, name.name, permitted, may_touch_files)
            case ast.Attribute() if (dotted := _dotted(node)) is not None:
                banned = {dotted, dotted.removeprefix("datetime.")} & FORBIDDEN_ATTRIBUTES
                beyond = dotted.startswith("os.") and dotted not in permitted and not may_touch_files
                if banned or beyond:
                    yield node.lineno, f"uses {dotted}"
            case ast.Call(func=ast.Name(id=name)) if name in FORBIDDEN_CALLS:
                if not (name == "open" and may_touch_files):
                    yield node.lineno, f"calls {name}"


def _import_offences(
    line: int, module: str, name: str | None, permitted: set[str], may_touch_files: bool
) -> Iterator[tuple[int, str]]:
    top = module.partition(".")[0]
    if may_touch_files and top in FILE_MODULES:
        return
    if name is None and top in {used.partition(".")[0] for used in permitted}:
        return  # `import os`: what is used of it is looked at where it is used
    if f"{module}.{name}" in permitted:
        return
    if top in FORBIDDEN_MODULES:
        yield line, f"imports {module}"
    elif name is not None and {f"{module}.{name}", name} & FORBIDDEN_ATTRIBUTES:
        yield line, f"imports {module}.{name}"


def _dotted(node: ast.expr) -> str | None:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attr):
            head = _dotted(value)
            return None if head is None else f"{head}.{attr}"
        case _:
            return None


@pytest.mark.parametrize("path", PURE)
def test_a_pure_module_neither_waits_nor_reads_the_world(path: str) -> None:
    assert offences(path, (ROOT / path).read_text()) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("exchange/x.py", "async def f() -> None: ..."),
        ("exchange/x.py", "import time"),
        ("exchange/x.py", "from time import monotonic"),
        ("exchange/x.py", "import os.path"),
        ("exchange/x.py", "import logging as quiet"),
        ("exchange/x.py", "from datetime import datetime\nx = datetime.now()"),
        ("exchange/x.py", "import datetime\nx = datetime.datetime.now(datetime.UTC)"),
        ("exchange/x.py", "import datetime\nx = datetime.date.today()"),
        ("exchange/x.py", "import uuid\nx = uuid.uuid4()"),
        ("exchange/x.py", "from uuid import uuid4"),
        ("exchange/x.py", "from nacl.utils import random"),
        ("exchange/x.py", "x = open('a')"),
        ("exchange/x.py", "def f() -> None:\n    import socket"),
        ("keys/signing.py", "from os import environ"),
        ("keys/signing.py", "import os\nx = os.environ"),
        ("keys/signing.py", "import time"),
        ("keys/keystore.py", "import socket"),
        ("keys/keystore.py", "from datetime import datetime\nx = datetime.now()"),
        ("keys/trust.py", "from os import urandom"),
    ],
)
def test_what_a_pure_module_may_not_do_is_seen(path: str, source: str) -> None:
    assert offences(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("keys/signing.py", "import os\nx = os.urandom(32)"),
        ("keys/epochs.py", "from os import urandom\nx = urandom(32)"),
        ("keys/keystore.py", "import os\nfrom pathlib import Path\nwith open('a') as f: os.fsync(f.fileno())"),
        ("exchange/x.py", "from datetime import UTC, datetime\nx = datetime.fromtimestamp(0, UTC)"),
        ("exchange/x.py", "from uuid import UUID\nx = UUID(bytes=bytes(16))"),
    ],
)
def test_what_a_pure_module_may_do_is_let_be(path: str, source: str) -> None:
    assert offences(path, source) == []
