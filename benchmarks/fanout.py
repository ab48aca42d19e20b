"""One alert to many agencies, each with its own store, keys and listener. Owns the figure named fan-out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import Local, alert
from nodes.cli.demonstration.agencies import COLOMBIA, Agency, remove, run_tocsin

PER_PROCESS = 25
ROUNDS = 5
FIRST_PORT = 20_000  # below those that the system hands out: two nodes made one after the other must not share one


@dataclass(frozen=True, slots=True)
class Fanout:
    """Seconds from the post until every signed receipt is durable at the sender."""

    agencies: int
    cold: float  # with the first connection to each, keys and profiles exchanged
    warm: list[float]


def measure(count: int) -> Fanout:
    """Make `count` agencies, introduce each to one sender, post to all of them."""
    home = Path(tempfile.mkdtemp(prefix="tocsin-fanout-"))
    sender = Agency(COLOMBIA, home)
    processes: list[subprocess.Popen[str]] = []
    try:
        sender.make()
        sender.start()
        passphrase = home / "passphrase"
        passphrase.write_text(os.urandom(16).hex())
        passphrase.chmod(0o600)
        names = [f"a{number:03}.example" for number in range(count)]
        with ThreadPoolExecutor(2) as pool:
            codes = list(
                pool.map(lambda number: _made(home, names[number], FIRST_PORT + number, passphrase), range(count))
            )
        shares = [names[first : first + PER_PROCESS] for first in range(0, count, PER_PROCESS)]
        processes.extend(_started(home, share, passphrase) for share in shares)
        card = (sender.directory / "card.tocsin").read_text()
        for name in names:
            Local(home / name).ask("peer_add", {"card": card, "code": sender.code})
        for name, code in zip(names, codes, strict=True):
            sender.document("peer_add", card=(home / name / "card.tocsin").read_text(), code=code)
        cold = _post(sender, names)
        return Fanout(count, cold, [_post(sender, names) for _ in range(ROUNDS)])
    finally:
        for process in processes:
            process.communicate()
        sender.stop()
        remove(home)


def _made(home: Path, name: str, port: int, passphrase: Path) -> str:
    said = run_tocsin(
        "init",
        str(home / name),
        *(
            "--agency",
            name,
            "--name",
            name,
            "--country",
            "DE",
            "--contact",
            "+4961155123",
            "--listen",
            f"127.0.0.1:{port}",
        ),
        *("--passphrase-file", str(passphrase), "--json"),
    )
    return str(json.loads(said)["safety_code"])


def _started(home: Path, names: list[str], passphrase: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(  # our own program
        [sys.executable, "-m", "benchmarks.many", str(passphrase), *(str(home / name) for name in names)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=(home / "many.log").open("ab"),
        text=True,
    )
    assert process.stdout is not None
    for _ in names:
        if not process.stdout.readline():
            raise RuntimeError((home / "many.log").read_text()[-2000:])
    return process


def _post(sender: Agency, names: list[str]) -> float:
    local = Local(sender.directory)
    began = time.perf_counter()
    document = local.ask("post", {"content": alert(int(began * 1000)), "to": names, "wait_s": 120})
    took = time.perf_counter() - began
    states = [recipient["state"] for recipient in document["recipients"]]
    if states.count("stored") != len(names):
        raise RuntimeError(f"{states.count('stored')} of {len(names)} have it: the run is void")
    return took


if __name__ == "__main__":
    found = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 196)
    warm = sorted(found.warm)
    print(f"| fan-out to {found.agencies}, cold, s | {found.cold:.2f} | |")
    print(f"| fan-out to {found.agencies}, s | {warm[len(warm) // 2]:.2f} ({warm[0]:.2f} to {warm[-1]:.2f}) | 1 |")
