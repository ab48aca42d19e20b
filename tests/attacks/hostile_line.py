"""A trusted peer that cheats, over a real socket against a real daemon: what it sends, and what came of it.

It is the peer written from docs/PROTOCOL.md alone; every part of an envelope, a round and a request is open to forgery.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PublicKey

from tests.peerkit.envelopes import PADDED, SUITE, envelope_hash
from tests.peerkit.formats import ISSUED, decode, encode, now_ms, sha256
from tests.peerkit.independent_peer import IndependentPeer, Sent
from tests.peerkit.meeting import answer_to, sealed_alert
from tests.peerkit.pins import Statement
from tests.system.agencies import Node

DAY_MS = 86_400_000
MAX_RSS_KB = 16 * 1024


@dataclass(frozen=True, slots=True)
class Came:
    """What the node made of it: an HTTP status, a result or a signed refusal with its code, or nothing."""

    how: str  # http | result | signed | receipt | closed | silent
    code: str = ""
    status: int = 200


class Unscrupulous(IndependentPeer):
    """Keeps every answer to its envelopes, whether or not an honest peer would count it."""

    def _admit_answer(self, statement: Statement) -> None:
        sent = self.sent.get(statement.entry[4])
        if sent is not None:
            sent.answer = statement


@dataclass(slots=True)
class HostileLine:
    """One daemon and one trusted peer without scruples."""

    node: Node
    peer: IndependentPeer
    port: int

    # --- envelopes

    def forge(
        self,
        *,
        header: Callable[[list[Any]], list[Any]] = lambda fields: fields,
        rest: Callable[[list[Any]], list[Any]] = lambda fields: fields,
        pack: Callable[[bytes], bytes] | None = None,
        commitment: bytes | None = None,
        body: Callable[[bytes], bytes] = lambda sealed: sealed,
        content: bytes = b"{}",
        message_id: bytes | None = None,
        envelope_id: bytes | None = None,
        key: bytes | None = None,
        info: Callable[[bytes], bytes] = lambda header: b"tocsin envelope v1\x00" + header,
        logged: Callable[[bytes], bytes] = lambda hashed: hashed,
    ) -> bytes:
        """Seal and log an envelope in which one thing is wrong; its id."""
        peer = self.peer
        number, public = peer.other.newest_epoch_key()
        id_, sent_at = envelope_id or os.urandom(16), now_ms()
        peer.numbers += 1
        fields = [1, id_, peer.agency, peer.other.agency, number, 1, sent_at, sent_at + 7 * DAY_MS]
        named = message_id or os.urandom(16)
        plaintext = os.urandom(32) + encode(
            rest([peer.agency, peer.other.agency, id_, [1, peer.numbers], named, content])
        )
        whole = encode(header([*fields, commitment or sha256(b"tocsin content v1", plaintext)]))
        deflate = zlib.compressobj(wbits=-15)
        packed = deflate.compress(plaintext) + deflate.flush()
        padded = packed.ljust(next(size for size in PADDED if size >= len(packed)), b"\x00")
        given = key or public
        to = MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(given[:1184]), X25519PublicKey.from_public_bytes(given[1184:])
        )
        sealed = body(SUITE.encrypt(padded if pack is None else pack(plaintext), to, info(whole)))
        index = peer.append(ISSUED, id_, logged(envelope_hash(whole, sealed)))
        peer.sent[id_] = Sent(index, whole, sealed)
        return id_

    def told(self, envelope_id: bytes) -> Came:
        """Hand the envelope over in a round; what the node said of it."""
        peer = self.peer
        peer.refusals = []
        status, answer = peer.call("127.0.0.1", self.port)
        sent = peer.sent.pop(envelope_id)
        if status != 200:
            return Came("http", str(decode(answer)[1]), status)
        for id_, code in peer.refusals:
            if id_ == envelope_id:
                return Came("result", str(code))
        if sent.answer is None:
            return Came("silent")
        return Came("receipt") if len(sent.answer.entry) == 7 else Came("signed", str(sent.answer.entry[7]))

    # --- rounds and requests

    def round(self, change: Callable[[list[Any]], Any] = lambda spoken: spoken, **request: Any) -> Came:
        """Send what the peer would say, changed; the verdict on the whole round."""
        with self.peer.lock:
            spoken = self.peer.speak()
        return self.post(encode(change(spoken)), **request)

    def post(self, body: bytes, *, head: bytes | None = None, tail: bytes = b"") -> Came:
        """Send these bytes as the body of a round; `head` replaces the request's head."""
        if head is None:
            head = b"POST /v1/round HTTP/1.1\r\nHost: bka.de\r\nContent-Type: application/msgpack\r\n"
            head += b"Content-Length: %d\r\n\r\n" % len(body)
        return self.say(head + body + tail)

    def say(self, data: bytes, context: ssl.SSLContext | None = None) -> Came:
        """Send bytes over a fresh line and read until an answer is whole or the line ends."""
        wrapped = context or self.peer.tls_context(ssl.Purpose.SERVER_AUTH)
        try:
            with (
                socket.create_connection(("127.0.0.1", self.port), timeout=30) as plain,
                wrapped.wrap_socket(plain, server_hostname=self.peer.other.agency) as line,
            ):
                with contextlib.suppress(OSError, ssl.SSLError):  # it need not hear us out
                    line.sendall(data)
                return _answer(line)
        except (OSError, ssl.SSLError):
            return Came("closed")

    @contextmanager
    def opened(self, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> Iterator[ssl.SSLSocket]:
        """A line that stays open; with `session`, one that asks to go on where another ended."""
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=30) as plain,
            context.wrap_socket(plain, server_hostname=self.peer.other.agency, session=session) as line,
        ):
            yield line

    def ask_on(self, line: ssl.SSLSocket) -> Came:
        """An honest round on an open line."""
        with self.peer.lock:
            body = encode(self.peer.speak())
        head = b"POST /v1/round HTTP/1.1\r\nHost: b\r\nContent-Type: application/msgpack\r\nContent-Length: %d\r\n\r\n"
        try:
            line.sendall(head % len(body) + body)
            return _answer(line)
        except (OSError, ssl.SSLError):
            return Came("closed")

    # --- the daemon as others see it

    def rss_kb(self) -> int:
        """Resident memory of the daemon."""
        assert self.node.process is not None
        text = Path(f"/proc/{self.node.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", text)
        assert found is not None
        return int(found[1])

    def log_size(self) -> int:
        """Entries of the node's own log."""
        return int(self.node.ask("status")["log"]["size"])

    def traces(self) -> int:
        """Stack traces in the daemon's log."""
        return (self.node.home / f"{self.node.agency}.log").read_bytes().count(b"Traceback")


@contextmanager
def harming_nothing(line: HostileLine, entries: int = 1) -> Iterator[None]:
    """The same for a block that makes the node log so many entries at most."""
    before = line.rss_kb(), line.log_size(), line.traces()
    inbox = [row["message_id"] for row in line.node.ask("inbox")["messages"]]
    peers = line.node.ask("peer_list")["peers"][0]["trust"]
    yield
    rss, size, traces = before
    assert line.rss_kb() - rss < MAX_RSS_KB
    assert 0 <= line.log_size() - size <= entries
    assert line.traces() == traces
    assert [row["message_id"] for row in line.node.ask("inbox")["messages"]] == inbox
    assert line.node.ask("peer_list")["peers"][0]["trust"] == peers
    message_id, envelope_id = sealed_alert(line.peer)
    receipt = answer_to(line.peer, line.node, envelope_id).answer
    assert receipt is not None
    assert len(receipt.entry) == 7, "the next honest alert"
    assert line.node.ask("inbox")["messages"][0]["message_id"] == str(message_id)


def _answer(line: ssl.SSLSocket) -> Came:
    got = b""
    while b"\r\n\r\n" not in got:
        data = line.recv(65_536)
        if not data:
            return Came("closed")
        got += data
    head, _, body = got.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    length = re.search(rb"(?i)content-length: (\d+)", head)
    while length is not None and len(body) < int(length[1]):
        data = line.recv(65_536)
        if not data:
            break
        body += data
    if status == 200:
        return Came("receipt")
    try:
        return Came("http", str(decode(body)[1]), status)
    except Exception:  # noqa: BLE001 # an answer that is none of the protocol's
        return Came("http", "", status)
