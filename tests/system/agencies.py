"""Real nodes for system tests: made by `init`, run as processes, asked through the command line. Nothing of the
product is replaced.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.processes import Children

TOCSIN = (sys.executable, "-m", "nodes.cli")
ROOT = Path(__file__).resolve().parents[2]
PASSPHRASE = "correct horse battery staple"
START_S = 60.0
WAIT_S = 60.0
PATIENCE = float(os.environ.get("TOCSIN_PATIENCE", "1"))  # of `until`; less where a test is expected to fail

SMALLEST: dict[str, Any] = {
    "kind": "alert",
    "precedence": "immediate",
    "summary": "Girl, 9, taken from school in Cucuta, white van towards the border",
    "handling": {"tlp": "AMBER", "permitted_actions": "stop_and_protect"},
    "incident": {
        "type": "child_nonfamily",
        "confirmation": "confirmed",
        "taken": {
            "earliest": "2026-11-23T02:10:00-05:00",
            "latest": "2026-11-23T02:30:00-05:00",
            "tz": "America/Bogota",
        },
        "risk": {"level": "extreme", "life_at_risk": True, "reasons": ["child_under_13"]},
    },
    "persons": [
        {
            "id": "p1",
            "roles": ["victim"],
            "identified": "yes",
            "names": [{"full": "Luc\u00eda P\u00e9rez", "type": "official"}],
            "age": {"min": 9, "max": 9},
            "minor": "yes",
            "status": "held_suspected",
        }
    ],
    "locations": [{"id": "l1", "role": "abduction", "country": "CO"}],
    "requested_actions": [{"action": "check_border", "target": "p1", "if_found": "stop_protect_victim"}],
}


@dataclass(slots=True)
class Said:
    """What a command came to."""

    exit: int
    document: dict[str, Any]
    stderr: str


@dataclass(slots=True)
class Node:
    """One agency's node."""

    children: Children
    home: Path
    agency: str
    country: str
    code: str = ""
    process: subprocess.Popen[bytes] | None = None
    extra: list[str] = field(default_factory=list)

    @property
    def directory(self) -> Path:
        return self.home / self.agency

    @property
    def passphrase(self) -> Path:
        return self.home / f"{self.agency}.passphrase"

    def make(self, *options: str) -> Said:
        """`tocsin init`."""
        self.passphrase.write_text(f"{PASSPHRASE}\n")
        self.passphrase.chmod(0o600)
        said = self.cli(
            "init",
            str(self.directory),
            *("--agency", self.agency, "--name", f"Agency {self.agency}", "--country", self.country),
            *("--listen", "127.0.0.1:0", "--contact", "+4961155123", *options),
            directory=False,
        )
        self.code = said.document.get("safety_code", "")
        return said

    def born(self) -> None:
        """What `init` makes, by the same function and without the cost of a process."""
        from nodes.daemon import init_node

        self.passphrase.write_text(f"{PASSPHRASE}\n")
        self.passphrase.chmod(0o600)
        settings: dict[str, object] = {
            "agency": self.agency,
            "name": f"Agency {self.agency}",
            "country": self.country,
            "listen": "127.0.0.1:0",
            "endpoints": [],
            "contact": "+4961155123",
            "case_prefix": None,
            "languages": ["en"],
        }
        self.code = init_node(str(self.directory), settings, PASSPHRASE, operator=getpass.getuser()).safety_code

    @property
    def store(self) -> Path:
        return next((self.directory / "store").glob("*.db"))

    def start(
        self, crash: tuple[str, int] | None = None, kept: Path | None = None, clock_ms: int = 0
    ) -> dict[str, Any]:
        """`tocsin run`; returns its ready document. `crash` names a moment at which it kills itself; then `kept` gets
        what its disk would hold after a power cut. `clock_ms` is how far its clock is off.
        """
        reading, writing = os.pipe()
        program: Sequence[str] = TOCSIN
        if crash is not None:
            script = str(Path(__file__).with_name("crash_run.py"))
            program = (sys.executable, script, crash[0], str(crash[1]), "-" if kept is None else str(kept), "--")
        elif clock_ms:
            program = (sys.executable, str(Path(__file__).with_name("clock_run.py")), str(clock_ms), "--")
        log = (self.home / f"{self.agency}.log").open("ab")
        self.process = self.children.start(
            [
                *program,
                "-D",
                str(self.directory),
                "--passphrase-file",
                str(self.passphrase),
                "run",
                "--ready-fd",
                str(writing),
            ],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(writing,),
        )
        log.close()
        os.close(writing)
        with os.fdopen(reading, "rb") as ready:
            line = ready.readline()
        if not line:
            raise AssertionError(
                f"{self.agency} did not start: " + (self.home / f"{self.agency}.log").read_text()[-2000:]
            )
        document: dict[str, Any] = json.loads(line)
        return document

    def kill(self) -> None:
        """Kill -9."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait(START_S)
            self.process = None

    def stop(self) -> int:
        """SIGTERM; returns the exit."""
        assert self.process is not None
        self.process.terminate()
        code = self.process.wait(START_S)
        self.process = None
        return code

    def cli(
        self, *arguments: str, given: bytes = b"", directory: bool = True, env: dict[str, str] | None = None
    ) -> Said:
        """One command with --json."""
        where = ("-D", str(self.directory)) if directory else ()
        done = self.children.run(
            [*TOCSIN, *where, "--passphrase-file", str(self.passphrase), "--json", *arguments],
            cwd=ROOT,
            given=given,
            env=env,
        )
        text = done.stdout.decode()
        assert text.count("\n") == 1, (arguments, text, done.stderr.decode())
        return Said(done.returncode, json.loads(text), done.stderr.decode())

    def ok(self, *arguments: str, given: bytes = b"") -> dict[str, Any]:
        """One command that must succeed; its document."""
        said = self.cli(*arguments, given=given)
        assert said.exit == 0, said
        return said.document

    def trust(self, other: Node) -> dict[str, Any]:
        """`peer add CARD --code CODE`."""
        return self.ok("peer", "add", str(other.directory / "card.tocsin"), "--code", other.code)

    def post(self, to: str, *options: str, **changes: Any) -> dict[str, Any]:
        """Post the smallest alert, with changes."""
        return self.ok("post", "-", "--to", to, *options, given=json.dumps({**SMALLEST, **changes}).encode())

    def ask(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """An operation of the local API, without the cost of a process."""
        from nodes.cli.client import ask

        return ask(self.directory, operation, arguments).document

    def inbox(self) -> list[dict[str, Any]]:
        """`inbox --json`."""
        found: list[dict[str, Any]] = self.ok("inbox")["messages"]
        return found

    def state(self, message: str, recipient: str) -> str:
        """State of a message of ours with one recipient."""
        recipients = self.ask("track", id=message)["recipients"]
        return next(str(entry["state"]) for entry in recipients if entry["agency"] == recipient)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a stopped node's store."""
        with contextlib.closing(sqlite3.connect(self.store)) as connection:
            return connection.execute(sql).fetchall()


def introduce(*nodes: Node) -> None:
    """Everybody trusts everybody, and the first rounds have passed."""
    for node in nodes:
        for other in nodes:
            if other is not node:
                card = (other.directory / "card.tocsin").read_text()
                node.ask("peer_add", card=card, code=other.code)
    for node in nodes:
        until(lambda node=node: all(peer["reachable"] for peer in node.ask("status")["peers"]), "the first contact")  # type: ignore[misc]


def until(happened: Callable[[], bool], what: str, wait_s: float = WAIT_S) -> None:
    """Wait for something that only another process can bring about."""
    pause = threading.Event()
    deadline = time.monotonic() + wait_s * PATIENCE
    while not happened():
        assert time.monotonic() < deadline, f"{what} did not happen within {wait_s:.0f} s"
        pause.wait(0.05)
