"""Load on a node's local socket: one request per alert, or a stream with many in flight. Owns the sending side of the
measurements.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from nodes.cli.demonstration.agencies import Agency
from nodes.cli.demonstration.story import ALERT
from nodes.directory import layout_of
from nodes.sockets import connect_local

PAYLOAD_BYTES = 1_500


def alert(number: int) -> str:
    """A distinct alert of about 1.5 KB as committed."""
    document = json.loads(json.dumps(ALERT))
    document["precedence"] = "immediate"
    document["summary"] = f"Report {number}: white van seen near the border, heading east"
    document["narrative"] = [{"lang": "en", "text": f"{number} " + str(uuid.UUID(bytes=os.urandom(16))) * 8}]
    return json.dumps(document)


class Local:
    """A kept connection to a node's socket."""

    def __init__(self, directory: Path) -> None:
        self._connection = HTTPConnection("node", timeout=120)
        self._connection.sock = connect_local(layout_of(directory).socket, timeout_s=120)

    def ask(self, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """One operation's document."""
        self._connection.request(
            "POST", f"/v1/{operation}", json.dumps(arguments).encode(), {"Content-Type": "application/json"}
        )
        document: dict[str, Any] = json.loads(self._connection.getresponse().read())["document"]
        return document


def latencies(sender: Agency, count: int) -> list[float]:
    """Milliseconds from the request to the durable signed receipt, one alert at a time."""
    local = Local(sender.directory)
    found = []
    for number in range(count):
        text = alert(number)
        began = time.perf_counter()
        document = local.ask("post", {"content": text, "to": ["bka.de"], "wait_s": 30})
        found.append((time.perf_counter() - began) * 1000)
        if document["recipients"][0]["state"] != "stored":
            raise RuntimeError("an alert was not stored: the run is void")
    return found


def stream(sender: Agency, count: int, *, delivered: bool = True) -> float:
    """Hand `count` alerts over as a stream on one connection; seconds until all receipts are durable at the sender, or,
    if `delivered` is false, until all are durable there.
    """
    texts = [json.dumps({"content": alert(number), "to": ["bka.de"]}).encode() + b"\n" for number in range(count)]
    socket = connect_local(layout_of(sender.directory).socket, timeout_s=600)
    began = time.perf_counter()
    socket.sendall(b"POST /v1/stream HTTP/1.1\r\nHost: node\r\nTransfer-Encoding: chunked\r\n\r\n")

    def write() -> None:
        for line in (b"{}\n", *texts):
            socket.sendall(b"%x\r\n%s\r\n" % (len(line), line))
        socket.sendall(b"0\r\n\r\n")

    writer = threading.Thread(target=write)
    writer.start()
    answered = 0
    with socket.makefile("rb") as answers:
        for line in answers:
            answered += line.count(b'"seq":')
            if answered == count:
                break
    writer.join()
    if delivered:
        until_delivered(sender)
    took = time.perf_counter() - began
    socket.close()
    return took


def requests(sender: Agency, count: int, connections: int) -> float:
    """One request per alert over several kept connections; seconds until all receipts are durable."""
    texts = [alert(number) for number in range(count)]
    began = time.perf_counter()

    def work(first: int) -> None:
        local = Local(sender.directory)
        for number in range(first, count, connections):
            local.ask("post", {"content": texts[number], "to": ["bka.de"]})

    threads = [threading.Thread(target=work, args=(first,)) for first in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until_delivered(sender)
    return time.perf_counter() - began


def until_delivered(sender: Agency) -> None:
    """Return when nothing is queued at the sender."""
    pause = threading.Event()
    while sender.document("status")["outbound"]["queued"]:
        pause.wait(0.02)
