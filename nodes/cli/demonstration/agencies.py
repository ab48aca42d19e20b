"""The three agencies of the demonstration as real processes: made by `init`, run by `run`, asked over their sockets.
Owns their lives.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nodes.cli.client import Answer, ask
from nodes.cli.demonstration.tap import Tap

START_S = 30.0
STOP_S = 15.0
_PR_SET_PDEATHSIG = 1


class DemoError(Exception):
    """The demonstration cannot go on; its text says at which step."""


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays."""

    agency: str
    name: str
    country: str
    contact: str
    place: str
    officer: str


COLOMBIA = Cast("ponal.co", "Policía Nacional de Colombia", "CO", "+576013159000", "Bogota", "C.RESTREPO")
GERMANY = Cast("bka.de", "Bundeskriminalamt", "DE", "+4961155123", "Wiesbaden", "K.WEBER")
INTERPOL = Cast("interpol.int", "INTERPOL General Secretariat", "FR", "+33472447000", "Lyon", "M.DUVAL")


class Agency:
    """One agency's node, with a tap on the line that leads to it unless it shall be called directly."""

    def __init__(self, cast: Cast, home: Path, *, tapped: bool = True, line: Callable[[int], Tap] = Tap) -> None:
        self.cast = cast
        self.directory = home / cast.agency
        self._passphrase = home / f"{cast.agency}.passphrase"
        self._log = home / f"{cast.agency}.log"
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port = int(probe.getsockname()[1])
        self.tap = line(self._port)
        self._called_at = self.tap.port if tapped else self._port
        self.code = ""

    @property
    def pid(self) -> int:
        """Of the running process; 0 when none runs."""
        return 0 if self._process is None else self._process.pid

    def make(self) -> None:
        """`tocsin init`."""
        self._passphrase.write_bytes(os.urandom(16).hex().encode())
        self._passphrase.chmod(0o600)
        cast = self.cast
        made = run_tocsin(
            "init",
            str(self.directory),
            *("--agency", cast.agency, "--name", cast.name, "--country", cast.country, "--contact", cast.contact),
            *("--listen", f"127.0.0.1:{self._port}", "--endpoint", f"https://127.0.0.1:{self._called_at}"),
            *("--passphrase-file", str(self._passphrase), "--json"),
        )
        self.code = json.loads(made)["safety_code"]

    def start(self) -> None:
        """`tocsin run`; returns when it answers."""
        reading, writing = os.pipe()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # our own program
                [
                    *_PROGRAM,
                    "-D",
                    str(self.directory),
                    "--passphrase-file",
                    str(self._passphrase),
                    "run",
                    "--ready-fd",
                    str(writing),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(writing,),
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 # no threads hold locks that the child needs before exec
            )
        os.close(writing)
        with os.fdopen(reading, "rb") as ready:
            if not ready.readline():
                tail = self._log.read_text(errors="replace").splitlines()[-5:]
                raise DemoError(f"{self.cast.agency} did not start:\n" + "\n".join(tail))

    def kill(self) -> None:
        """Kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for one that does not end."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def ask(self, operation: str, *, wait_s: float = 0, **arguments: Any) -> Answer:
        """One operation of its local API. Raises DemoError when it says no."""
        answer = ask(self.directory, operation, {**arguments, "wait_s": wait_s}, wait_s=wait_s)
        if "error" in answer.document:
            raise DemoError(f"{self.cast.agency} {operation}: {answer.document['error']['message']}")
        return answer

    def document(self, operation: str, *, wait_s: float = 0, **arguments: Any) -> dict[str, Any]:
        """Its document alone."""
        return self.ask(operation, wait_s=wait_s, **arguments).document

    def trust(self, other: Agency) -> None:
        """`peer add CARD --code CODE`, as after a telephone call."""
        card = (other.directory / "card.tocsin").read_text()
        self.document("peer_add", card=card, code=other.code)

    def enrol(self) -> None:
        """Put the duty officer in the place of the account that made the node."""
        maker = self.document("operator_list")["operators"][0]
        self.document("operator_add", ref=self.cast.officer, uid=maker["uid"], roles=maker["roles"])
        self.document("operator_remove", ref=maker["ref"])

    def disk(self) -> bytes:
        """Every byte of its directory, as a thief of the disk has it."""
        return b"\0".join(path.read_bytes() for path in sorted(self.directory.rglob("*")) if path.is_file())


def run_tocsin(*arguments: str, cwd: Path | None = None, expect: Sequence[int] = (0,)) -> bytes:
    """Run the program as an operator would, and give what it prints. Raises DemoError on another exit."""
    done = subprocess.run(  # our own program
        [*_PROGRAM, *arguments], cwd=cwd, capture_output=True, check=False, stdin=subprocess.DEVNULL, timeout=START_S
    )
    if done.returncode not in expect:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise DemoError(f"tocsin {arguments[0]} ended with {done.returncode}: {said}")
    return done.stdout


def remove(home: Path) -> None:
    """Take the directory away."""
    shutil.rmtree(home, ignore_errors=True)


_PROGRAM = (sys.executable, "-m", "nodes.cli")
_LIBC = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
