"""Flash alerts beside a flood by another trusted peer, and beside a stream of their own sender: how much later do they
arrive? Owns these figures.

The flood is the peer written from the protocol alone, on as many lines as it may have. Each hands over the same proved
envelope as fast as it is answered: every round costs the node a checkpoint's two signatures and a multi-proof.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path

from benchmarks.load import Local, alert, stream
from benchmarks.pair import pair_of_nodes
from nodes.cli.demonstration.agencies import Agency
from tests.peerkit.formats import encode
from tests.peerkit.independent_peer import IndependentPeer
from tests.peerkit.meeting import sealed_alert

LINES = 4
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Signals:
    """What the two processes wait for, in this order."""

    known: Event  # the flood's card and code are written
    go: Event  # it is trusted: it may begin
    begun: Event  # each of its lines has been answered
    end: Event


def flood(card: str, code: str, port: int, share: Path, signals: Signals) -> None:
    """Be a trusted peer that never stops talking, in a process of its own. Writes how many rounds a second were
    answered from the moment that all lines were up.
    """
    peer = IndependentPeer("flood.example", "FR")
    peer.pin(card, code)
    peer.found_log([])
    (share / "card").write_text(peer.card())
    (share / "code").write_text(peer.code)
    signals.known.set()
    signals.go.wait()
    for _ in range(3):  # the first words, then keys, then the envelope
        peer.call("127.0.0.1", port)
    sealed_alert(peer)
    with peer.lock:
        request = encode(peer.speak())
    answered, up = [0] * LINES, threading.Barrier(LINES + 1)

    def line(number: int) -> None:
        context, first = peer.tls_context(ssl.Purpose.SERVER_AUTH), True
        while not signals.end.is_set():
            with (
                socket.create_connection(("127.0.0.1", port), timeout=30) as plain,
                context.wrap_socket(plain, server_hostname=peer.other.agency) as wrapped,
            ):
                connection = http.client.HTTPConnection("127.0.0.1", port)
                connection.sock = wrapped
                while not signals.end.is_set():
                    connection.request("POST", "/v1/round", request, {"Content-Type": "application/msgpack"})
                    answer = connection.getresponse()
                    answer.read()
                    answered[number] += answer.status == 200
                    if first:
                        first = False
                        up.wait()

    threads = [threading.Thread(target=line, args=(number,), daemon=True) for number in range(LINES)]
    for thread in threads:
        thread.start()
    up.wait()
    began, before = time.perf_counter(), sum(answered)
    signals.begun.set()
    signals.end.wait()
    (share / "rate").write_text(str((sum(answered) - before) / (time.perf_counter() - began)))


def flashes(sender: Agency, count: int) -> list[float]:
    """Milliseconds of flash alerts, one after the other."""
    local, found = Local(sender.directory), []
    for number in range(count):
        text = json.dumps({**json.loads(alert(number)), "precedence": "flash"})
        began = time.perf_counter()
        document = local.ask("post", {"content": text, "to": ["bka.de"], "wait_s": 30})
        found.append((time.perf_counter() - began) * 1000)
        if document["recipients"][0]["state"] != "stored":
            raise RuntimeError("a flash alert was not stored: the run is void")
    return found


def measure(count: int) -> tuple[list[float], list[float], float]:
    """Latencies without and with the flood, and how many rounds a second it held."""
    context = get_context("spawn")
    signals = Signals(context.Event(), context.Event(), context.Event(), context.Event())
    with (
        pair_of_nodes(tapped=False, exchanged=1) as (sender, recipient),
        tempfile.TemporaryDirectory(prefix="tocsin-flood-") as place,
    ):
        share = Path(place)
        port = int(recipient.document("status")["listen"].rpartition(":")[2])
        card = (recipient.directory / "card.tocsin").read_text()
        process = context.Process(target=flood, args=(card, recipient.code, port, share, signals), daemon=True)
        process.start()
        _wait(signals.known)
        recipient.document("peer_add", card=(share / "card").read_text(), code=(share / "code").read_text())
        flashes(sender, 20)
        quiet = flashes(sender, count)
        signals.go.set()
        _wait(signals.begun)
        loud = flashes(sender, count)
        signals.end.set()
        process.join()
        rate = float((share / "rate").read_text())
    return quiet, loud, rate


def beside_a_stream(alerts: int) -> list[float]:
    """Latencies of flash alerts, one after the other, while their sender streams so many others to the same peer."""
    with pair_of_nodes(tapped=False, exchanged=1) as (sender, _):
        stream(sender, 1_000)  # rounds have grown
        streaming = threading.Thread(target=stream, args=(sender, alerts))
        streaming.start()
        found = []
        while streaming.is_alive():
            found += flashes(sender, 1)
        streaming.join()
    return found[:-1]  # the stream ended under the last


def _wait(signal: Event) -> None:
    if not signal.wait(PATIENCE_S):
        raise RuntimeError("the flood did not come so far: the run is void")


if __name__ == "__main__":
    quiet, loud, rate = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
    own = beside_a_stream(10_000)
    for name, values in (
        ("alone", quiet),
        (f"beside a flood of {rate:.0f} rounds/s", loud),
        (f"beside a stream of its own sender ({len(own)} of them)", own),
    ):
        p99 = statistics.quantiles(values, n=100)[98]
        print(f"| flash alert {name}, p50 and p99, ms | {statistics.median(values):.1f}, {p99:.1f} | |")
