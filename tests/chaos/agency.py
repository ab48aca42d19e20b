"""One agency's node as the campaign sees it: made, started, ended in every way, asked. Owns its process and the files
beside it; it knows no fault.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nodes.cli.client import ask
from tests.chaos.control import Control
from tests.chaos.host import MAX_JOB_BYTES, Job
from tests.power_cut import begin_to_keep
from tests.processes import Children

START_S = 60.0
END_S = 60.0
ASK_S = 60.0
PASSPHRASE = "correct horse battery staple"
# Of the disk that fills up: the product's floors are for disks of another size.
FLOOR_BYTES, RESERVE_BYTES = 4 * 1024 * 1024, 1024 * 1024


class Host:
    """The process that forks the nodes of an arena (tests/chaos/host.py)."""

    def __init__(self, children: Children) -> None:
        """Start it. From the main thread: it dies with the thread that starts it."""
        self._channel, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            children.start(
                [sys.executable, Path(__file__).with_name("host.py"), str(other.fileno())], pass_fds=(other.fileno(),)
            )
        self._ended: dict[int, int] = {}
        self._news = threading.Condition()
        self._started: list[int] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def start(self, job: Job, ready: int) -> int:
        """Have a job done; its process."""
        with self._news:
            socket.send_fds(self._channel, [json.dumps(asdict(job)).encode()], [ready])
            if not self._news.wait_for(lambda: self._started, START_S):
                raise AssertionError("the host does not answer")
            return self._started.pop()

    def status(self, pid: int) -> int | None:
        """How it ended, negative for a signal; None while it runs."""
        with self._news:
            return self._ended.get(pid)

    def wait(self, pid: int, seconds: float) -> int | None:
        """The same, once it has ended; None if it has not within so many seconds."""
        with self._news:
            self._news.wait_for(lambda: pid in self._ended, seconds)
            return self._ended.get(pid)

    def close(self) -> None:
        """Let it end."""
        self._channel.shutdown(socket.SHUT_RDWR)
        self._channel.close()

    def _listen(self) -> None:
        while True:
            try:
                data = self._channel.recv(MAX_JOB_BYTES)
            except OSError:
                return
            if not data:
                return
            said = json.loads(data)
            with self._news:
                if "started" in said:
                    self._started.append(said["started"])
                else:
                    self._ended[said["ended"]] = said["status"]
                self._news.notify_all()


@dataclass(slots=True)
class Agency:
    """One node. `home` holds what is not the node's: its control page, what its disk kept, its log."""

    host: Host
    children: Children
    home: Path
    disk: Path
    agency: str
    country: str
    wire: Path
    code: str = ""
    pid: int | None = None
    control: Control = field(init=False)
    exits: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.home.mkdir(exist_ok=True)
        self.control = Control(self.home / "control")

    @property
    def directory(self) -> Path:
        return self.disk / self.agency

    @property
    def store(self) -> Path:
        return self.directory / "store" / "node.db"

    @property
    def kept(self) -> Path:
        return self.home / "kept"

    @property
    def log(self) -> Path:
        return self.home / "log"

    @property
    def passphrase(self) -> Path:
        return self.home / "passphrase"

    def make(self) -> None:
        """`tocsin init`, with floors that fit a small disk."""
        self.passphrase.write_text(PASSPHRASE + "\n")
        self.passphrase.chmod(0o600)
        done = self.children.run(
            [
                *(sys.executable, "-m", "nodes.cli", "--passphrase-file", self.passphrase, "--json"),
                *("init", self.directory, "--agency", self.agency, "--name", self.agency, "--country", self.country),
                *("--listen", "127.0.0.1:0", "--contact", "+4961155123"),
            ],
            cwd=Path(__file__).resolve().parents[2],
        )
        assert done.returncode == 0, done.stderr.decode()
        self.code = json.loads(done.stdout)["safety_code"]
        config = self.directory / "node.toml"
        lines = []
        for line in config.read_text().splitlines():
            key = line.partition(" = ")[0]
            floor = {"floor_bytes": FLOOR_BYTES, "reserve_bytes": RESERVE_BYTES}.get(key)
            lines.append(line if floor is None else f"{key} = {floor}")
        config.write_text("\n".join(lines) + "\n")
        begin_to_keep(self.store, self.kept)

    def start(self) -> bool:
        """`tocsin run`. True when it is ready, False when it ended before."""
        reading, writing = os.pipe()
        argv = ["-D", str(self.directory), "--passphrase-file", str(self.passphrase), "run"]
        job = Job(argv, str(self.home / "control"), str(self.kept), str(self.wire), str(self.log))
        try:
            self.pid = self.host.start(job, writing)
        finally:
            os.close(writing)
        with os.fdopen(reading, "rb") as ready:
            if not select.select([ready], [], [], START_S)[0]:
                raise AssertionError(f"{self.agency} is neither ready nor gone after {START_S:.0f} s")
            if ready.readline():
                return True
        self.ended()
        return False

    @property
    def runs(self) -> bool:
        """Whether its process is there."""
        return self.pid is not None and self.host.status(self.pid) is None

    def signal(self, number: signal.Signals) -> None:
        """Send it to the process."""
        assert self.pid is not None
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill -9, if it still runs."""
        if self.runs:
            self.signal(signal.SIGKILL)
        if self.pid is not None:
            self.ended()

    def ended(self, seconds: float = END_S) -> int | None:
        """Its exit, once it has ended; None if it goes on."""
        if self.pid is None:
            return self.exits[-1]
        status = self.host.wait(self.pid, seconds)
        if status is not None:
            self.pid = None
            self.exits.append(status)
        return status

    def stop(self) -> int | None:
        """SIGTERM, and its exit."""
        self.signal(signal.SIGTERM)
        return self.ended()

    def ask(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """An operation of the local API."""
        return ask(self.directory, operation, arguments).document


def until(happened: Callable[[], bool], seconds: float, every: float = 0.02) -> bool:
    """Wait for what another process brings about. False when it did not."""
    pause = threading.Event()
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            return False
        pause.wait(every)
    return True
