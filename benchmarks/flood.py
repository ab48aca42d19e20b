"""A flood by one trusted peer while another sends flash alerts: how much later do these arrive? Owns that figure.

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
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path

from benchmarks.load import Local, alert
from benchmarks.pair import pair_of_nodes
from nodes.cli.demonstration.agencies import Agency
from tests.peerkit.independent_peer import IndependentPeer, encode
from tests.peerkit.test_independent_peer import sealed_alert

LINES = 4


def flood(card: str, code: str, port: int, share: Path, go: Event, end: Event) -> None:
    """Be a trusted peer that never stops talking, in a process of its own. Writes how many rounds were answered."""
    peer = IndependentPeer("flood.example", "FR")
    peer.pin(card, code)
    peer.found_log([])
    (share / "card").write_text(peer.card())
    (share / "code").write_text(peer.code)
    go.wait()
    for _ in range(3):  # the first words, then keys, then the envelope
        peer.call("127.0.0.1", port)
    sealed_alert(peer)
    with peer.lock:
        request = encode(peer.speak())
    answered = [0] * LINES

    def line(number: int) -> None:
        context = peer.tls_context(ssl.Purpose.SERVER_AUTH)
        while not end.is_set():
            with (
                socket.create_connection(("127.0.0.1", port), timeout=30) as plain,
                context.wrap_socket(plain, server_hostname=peer.other.agency) as wrapped,
            ):
                connection = http.client.HTTPConnection("127.0.0.1", port)
                connection.sock = wrapped
                while not end.is_set():
                    connection.request("POST", "/v1/round", request, {"Content-Type": "application/msgpack"})
                    answer = connection.getresponse()
                    answer.read()
                    answered[number] += answer.status == 200

    threads = [threading.Thread(target=line, args=(number,), daemon=True) for number in range(LINES)]
    for thread in threads:
        thread.start()
    end.wait()
    (share / "answered").write_text(str(sum(answered)))


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
    go, end = context.Event(), context.Event()
    with (
        pair_of_nodes(tapped=False, exchanged=1) as (sender, recipient),
        tempfile.TemporaryDirectory(prefix="tocsin-flood-") as place,
    ):
        share = Path(place)
        port = int(recipient.document("status")["listen"].rpartition(":")[2])
        card = (recipient.directory / "card.tocsin").read_text()
        process = context.Process(target=flood, args=(card, recipient.code, port, share, go, end), daemon=True)
        process.start()
        while not (share / "code").exists() or not (share / "code").read_text():
            time.sleep(0.05)
        recipient.document("peer_add", card=(share / "card").read_text(), code=(share / "code").read_text())
        flashes(sender, 20)
        quiet = flashes(sender, count)
        go.set()
        time.sleep(2)
        began = time.perf_counter()
        loud = flashes(sender, count)
        took = time.perf_counter() - began
        end.set()
        process.join()
        answered = int((share / "answered").read_text())
    return quiet, loud, answered / (took + 2)


if __name__ == "__main__":
    quiet, loud, rate = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
    for name, values in (("alone", quiet), (f"beside a flood of {rate:.0f} rounds/s", loud)):
        p99 = statistics.quantiles(values, n=100)[98]
        print(f"| flash alert {name}, p50 and p99, ms | {statistics.median(values):.1f}, {p99:.1f} | |")
