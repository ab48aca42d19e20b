"""Attacks of a trusted peer and of strangers on a running daemon. Each row says what comes of it; what must hold after
every one of them stands once: the code, memory, the log, no trace, no changed state, and the next honest alert arrives.
"""

from __future__ import annotations

import gzip
import json
import os
import socket
import ssl
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import msgpack
import pytest

from tests.attacks.hostile_line import DAY_MS, Came, HostileLine, harming_nothing
from tests.peerkit.formats import encode, now_ms, sha256
from tests.peerkit.independent_peer import IndependentPeer
from tests.peerkit.meeting import answer_to, sealed_alert
from tests.system.agencies import SMALLEST, until


def _field(at: int, value: Any) -> Callable[[list[Any]], list[Any]]:
    return lambda fields: [*fields[:at], value, *fields[at + 1 :]]


def _bomb(_: bytes) -> bytes:
    """64 MiB of zeros in 64 KiB."""
    deflate = zlib.compressobj(9, wbits=-15)
    packed = deflate.compress(bytes(64 * 1024 * 1024)) + deflate.flush()
    return packed.ljust(131_072, b"\x00")


def _two_streams(plaintext: bytes) -> bytes:
    deflate, second = zlib.compressobj(wbits=-15), zlib.compressobj(wbits=-15)
    packed = deflate.compress(plaintext) + deflate.flush() + second.compress(b"more") + second.flush()
    return packed.ljust(1024, b"\x00")


def _trailing(plaintext: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-15)
    return (deflate.compress(plaintext) + deflate.flush()).ljust(1023, b"\x00") + b"\x01"


SIGNED, UNSIGNED = "signed", "result"

ENVELOPES: dict[str, tuple[dict[str, Callable[[], Any]], Came]] = {
    "another recipient": ({"header": lambda: _field(3, "interpol.int")}, Came(SIGNED, "not_for_us")),
    "a sender that is not the speaker": ({"header": lambda: _field(2, "interpol.int")}, Came(UNSIGNED, "bad_proof")),
    "expired": ({"header": lambda: _field(7, now_ms() - 1)}, Came(SIGNED, "expired_on_arrival")),
    "dated two days ahead": (
        {"header": lambda: lambda f: [*f[:6], now_ms() + 2 * DAY_MS, now_ms() + 9 * DAY_MS, f[8]]},
        Came(UNSIGNED, "from_future"),
    ),
    "a time after the year 9999": ({"header": lambda: _field(7, 2**60)}, Came("silent")),
    "an unknown suite": ({"header": lambda: _field(0, 2)}, Came("silent")),
    "an epoch key that was never published": ({"header": lambda: _field(4, 999)}, Came(UNSIGNED, "cannot_open")),
    "a precedence that does not exist": ({"header": lambda: _field(5, 9)}, Came("silent")),
    "a body sealed to another key": ({"info": lambda: lambda _: b"other"}, Came(SIGNED, "malformed")),
    "a body that was altered": ({"body": lambda: lambda b: b[:-1] + bytes([b[-1] ^ 1])}, Came(SIGNED, "malformed")),
    "a truncated body": ({"body": lambda: lambda b: b[:1135]}, Came(SIGNED, "malformed")),
    "an empty body": ({"body": lambda: lambda _: b""}, Came(SIGNED, "malformed")),
    "a deflate bomb": ({"pack": lambda: _bomb}, Came(SIGNED, "malformed")),
    "two deflate streams": ({"pack": lambda: _two_streams}, Came(SIGNED, "malformed")),
    "something after the padding": ({"pack": lambda: _trailing}, Came(SIGNED, "malformed")),
    "no deflate at all": ({"pack": lambda: lambda _: os.urandom(1024)}, Came(SIGNED, "malformed")),
    "a padded size that is none": ({"pack": lambda: lambda _: bytes(1000)}, Came(SIGNED, "malformed")),
    "a plaintext that names another sender": ({"rest": lambda: _field(0, "fbi.us")}, Came(SIGNED, "malformed")),
    "a plaintext that names another envelope": ({"rest": lambda: _field(2, bytes(16))}, Came(SIGNED, "malformed")),
    "a number from which nobody can count on": (
        {"rest": lambda: _field(3, [1, 2**63 - 1])},
        Came(SIGNED, "malformed"),
    ),
    "a commitment that does not open": ({"commitment": lambda: bytes(32)}, Came(SIGNED, "malformed")),
    "a logged hash of something else": ({"logged": lambda: lambda _: bytes(32)}, Came(UNSIGNED, "bad_proof")),
    "content that is no JSON": ({"content": lambda: b"\xff\xfe"}, Came(SIGNED, "invalid_message")),
    "content nested a thousand deep": ({"content": lambda: b"[" * 1_000}, Came(SIGNED, "invalid_message")),
    "content with a name twice": ({"content": lambda: b'{"a":1,"a":2}'}, Came(SIGNED, "invalid_message")),
    "content that is not a number": ({"content": lambda: b'{"kind":NaN}'}, Came(SIGNED, "invalid_message")),
    "an empty object": ({"content": lambda: b"{}"}, Came(SIGNED, "invalid_message")),
}


@pytest.mark.parametrize("name", ENVELOPES)
def test_a_forged_envelope_is_answered_with_its_code_and_harms_nothing(
    line: HostileLine, unharmed: None, name: str
) -> None:
    changes, wanted = ENVELOPES[name]
    envelope_id = line.forge(**{part: make() for part, make in changes.items()})
    assert line.told(envelope_id) == wanted


def test_an_envelope_id_used_for_other_content_is_refused(line: HostileLine) -> None:
    _, envelope_id = sealed_alert(line.peer)
    assert answer_to(line.peer, line.node, envelope_id).answer is not None
    line.peer.sent.pop(envelope_id)
    with harming_nothing(line):
        assert line.told(line.forge(envelope_id=envelope_id)) == Came(SIGNED, "id_reused")


def test_an_id_of_another_agencys_message_is_taken_by_nobody(line: HostileLine) -> None:
    own = line.node.ask("post", content=json.dumps(SMALLEST), to=["ponal.co"])["message_id"]
    until(lambda: line.node.state(own, "ponal.co") == "stored", "our own alert")
    stolen = bytes.fromhex(str(own).replace("-", ""))
    with harming_nothing(line):
        assert line.told(line.forge(message_id=stolen)) == Came(SIGNED, "invalid_message")
    assert line.node.state(own, "ponal.co") == "stored"


def test_an_envelope_that_comes_again_gets_the_same_answer_and_is_shown_once(line: HostileLine) -> None:
    _, envelope_id = sealed_alert(line.peer)
    first = answer_to(line.peer, line.node, envelope_id).answer
    with harming_nothing(line, entries=0):
        line.peer.sent[envelope_id].answer = None
        again = answer_to(line.peer, line.node, envelope_id).answer
        assert first is not None
        assert again is not None
        assert again.blob == first.blob


def _deep(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def _group(change: Callable[[list[Any]], list[Any]]) -> Callable[[list[Any]], list[Any]]:
    """Change the one group of a round that hands over the profile again."""

    def changed(spoken: list[Any]) -> list[Any]:
        return [*spoken[:4], [change(group) for group in spoken[4]], *spoken[5:]]

    return changed


_HEAD = b"POST /v1/round HTTP/1.1\r\nHost: b\r\nContent-Type: application/msgpack\r\n"

ROUNDS: dict[str, tuple[Callable[[HostileLine], Came], Came]] = {
    "no array": (lambda line: line.round(lambda _: {"a": 1}), Came("http", "malformed", 400)),
    "an empty body": (lambda line: line.post(b""), Came("http", "malformed", 400)),
    "random bytes": (lambda line: line.post(os.urandom(4096)), Came("http", "malformed", 400)),
    "a round cut short": (
        lambda line: line.post(encode(line.peer.speak())[:-9]),
        Came("http", "malformed", 400),
    ),
    "bytes behind the round": (
        lambda line: line.post(encode(line.peer.speak()) + b"\x00"),
        Came("http", "malformed", 400),
    ),
    "an integer longer than needed": (
        lambda line: line.post(b"\x97\xcc\x01" + encode(line.peer.speak())[2:]),
        Came("http", "malformed", 400),
    ),
    "arrays thirty deep": (lambda line: line.post(encode_raw(_deep(30))), Came("http", "malformed", 400)),
    "arrays a million deep": (lambda line: line.post(b"\x91" * 1_000_000), Came("http", "malformed", 400)),
    "an array of 2^32 elements": (lambda line: line.post(b"\xdd\xff\xff\xff\xff"), Came("http", "malformed", 400)),
    "a million items": (
        lambda line: line.round(lambda spoken: [*spoken[:5], [[bytes(16), "internal"]] * 100_000, []]),
        Came("http", "malformed", 400),
    ),
    "a version of the future only": (
        lambda line: line.round(lambda spoken: [1, [[2], *spoken[1][1:]], *spoken[2:]]),
        Came("http", "unsupported_version", 400),
    ),
    "a time after the year 9999": (
        lambda line: line.round(lambda spoken: [1, [*spoken[1][:2], 2**62, *spoken[1][3:]], *spoken[2:]]),
        Came("http", "malformed", 400),
    ),
    "another path": (
        lambda line: line.say(b"GET / HTTP/1.1\r\nHost: bka.de\r\nContent-Length: 0\r\n\r\n"),
        Came("http", "malformed", 404),
    ),
    "a gzip bomb": (
        lambda line: line.post(
            gzip.compress(bytes(8 * 1024 * 1024)),
            head=_HEAD + b"Content-Encoding: gzip\r\nContent-Length: 8000\r\n\r\n",
        ),
        Came("http", "malformed", 400),
    ),
    "more than a round may hold, announced": (
        lambda line: line.say(_HEAD + b"Content-Length: 4194305\r\n\r\n"),
        Came("http", "too_large", 413),
    ),
}


def encode_raw(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value)
    return packed


@pytest.mark.parametrize("name", ROUNDS)
def test_a_bad_round_is_answered_with_its_code_and_harms_nothing(line: HostileLine, unharmed: None, name: str) -> None:
    act, wanted = ROUNDS[name]
    assert act(line) == wanted


SMUGGLED: dict[str, bytes] = {
    "two lengths": b"Content-Length: 1\r\nContent-Length: 2\r\n",
    "a length and chunks": b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
    "chunks of another name": b"Transfer-Encoding: xchunked\r\n",
    "a length with a sign": b"Content-Length: +1\r\n",
    "a folded line": b"X-A: b\r\n Content-Length: 1\r\nContent-Length: 1\r\n",
    "a space before the colon": b"Content-Length : 1\r\n",
    "a bare line feed": b"Content-Length: 1\nX: y\r\n",
    "a null in a header": b"X: a\x00b\r\nContent-Length: 1\r\n",
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_a_request_that_two_readers_would_cut_differently_is_refused_or_closed(
    line: HostileLine, unharmed: None, name: str
) -> None:
    came = line.say(_HEAD + SMUGGLED[name] + b"\r\n\x90GET /v1/round HTTP/1.1\r\n\r\n")
    assert came.how == "closed" or came.status in (400, 413, 415, 501), came


# --- groups that prove nothing, or another's


def _with_group(line: HostileLine, change: Callable[[list[Any]], list[Any]]) -> Came:
    """Hand over an honest envelope in a group that was changed; what the node said of it."""
    _, envelope_id = sealed_alert(line.peer)
    peer = line.peer
    peer.refusals = []
    honest = peer.speak

    def speak() -> list[Any]:
        return _group(change)(honest())

    peer.speak = speak  # type: ignore[method-assign]
    try:
        return line.told(envelope_id)
    finally:
        peer.speak = honest  # type: ignore[method-assign]


def _checkpoint(at: int, value: Callable[[Any], Any]) -> Callable[[list[Any]], list[Any]]:
    return lambda group: [[*group[0][:at], value(group[0][at]), *group[0][at + 1 :]], *group[1:]]


def _other_pair(line: HostileLine) -> Callable[[list[Any]], list[Any]]:
    """One half signed by the pair in force, the other by a stranger's."""
    stranger = IndependentPeer("ponal.co", "CO")

    def change(group: list[Any]) -> list[Any]:
        line.peer.node_ml, kept = stranger.node_ml, line.peer.node_ml
        try:
            return [line.peer.checkpoint(), *group[1:]]
        finally:
            line.peer.node_ml = kept

    return change


GROUPS: dict[str, Callable[[HostileLine], Callable[[list[Any]], list[Any]]]] = {
    "a root of another tree": lambda _: _checkpoint(3, sha256),
    "a size that shrinks": lambda _: _checkpoint(2, lambda size: size - 1),
    "another generation": lambda _: _checkpoint(1, lambda _: 2),
    "a gateway that no anchor names": lambda _: _checkpoint(0, lambda _: "gw9"),
    "one signature of two": lambda _: _checkpoint(6, lambda signature: bytes(len(signature))),
    "the other signature of two": lambda _: _checkpoint(4, lambda signature: bytes(len(signature))),
    "a mixed key pair": _other_pair,
    "a node too many": lambda _: lambda group: [*group[:4], [*group[4], bytes(32)], group[5]],
    "a node too few": lambda _: lambda group: [*group[:4], group[4][:-1], group[5]],
    "indices moved by one": lambda _: lambda group: [*group[:2], [index + 1 for index in group[2]], *group[3:]],
    "an entry of another place": lambda _: lambda group: [*group[:3], [*group[3][:-1], bytes(40)], *group[4:]],
}


@pytest.mark.parametrize("name", GROUPS)
def test_a_group_that_proves_nothing_brings_nothing_in(line: HostileLine, unharmed: None, name: str) -> None:
    came = _with_group(line, GROUPS[name](line))
    assert (came.how, came.code) in {
        ("result", "bad_proof"),
        ("result", "key_not_valid"),
        ("http", "malformed"),
    }, came


# --- strangers


def test_plain_http_is_closed(line: HostileLine, unharmed: None) -> None:
    with socket.create_connection(("127.0.0.1", line.port), timeout=30) as plain:
        plain.sendall(b"POST /v1/round HTTP/1.1\r\nHost: b\r\nContent-Length: 0\r\n\r\n")
        assert b"HTTP" not in plain.recv(65_536)


def test_tls_before_1_3_is_closed(line: HostileLine, unharmed: None) -> None:
    context = line.peer.tls_context(ssl.Purpose.SERVER_AUTH)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert line.say(b"GET / HTTP/1.1\r\n\r\n", context) == Came("closed")


def test_a_stranger_with_a_certificate_of_its_own_is_closed(line: HostileLine, unharmed: None) -> None:
    stranger = IndependentPeer("ponal.co", "CO")  # the name is right, the root is not
    stranger.pin((line.node.directory / "card.tocsin").read_text(), line.node.code)
    context = stranger.tls_context(ssl.Purpose.SERVER_AUTH)
    assert line.say(b"GET / HTTP/1.1\r\n\r\n", context) == Came("closed")


def test_a_suspended_peer_is_cut_off_on_its_open_line_and_told_so_on_a_new_one(line: HostileLine) -> None:
    context = line.peer.tls_context(ssl.Purpose.SERVER_AUTH)
    with line.opened(context) as open_line:
        assert line.ask_on(open_line).how == "receipt"
        session = open_line.session
        line.node.ok("peer", "suspend", "ponal.co")
        try:
            assert line.ask_on(open_line) in (Came("closed"), Came("http", "not_trusted", 403))
            with line.opened(context, session) as resumed:
                assert not resumed.session_reused, "a session outlives the suspension"
                assert line.ask_on(resumed) == Came("http", "not_trusted", 403)
        finally:
            line.node.ok("peer", "resume", "ponal.co")


# --- slow ones: a line that says little keeps nobody else waiting


def test_half_a_head_and_a_slow_body_hold_up_nobody(line: HostileLine) -> None:
    context = line.peer.tls_context(ssl.Purpose.SERVER_AUTH)
    with ExitStack() as open_lines:
        for data in (b"POST /v1/ro", _HEAD, _HEAD + b"Content-Length: 100000\r\n\r\n" + bytes(10)):
            plain = open_lines.enter_context(socket.create_connection(("127.0.0.1", line.port), timeout=30))
            slow = open_lines.enter_context(context.wrap_socket(plain, server_hostname=line.peer.other.agency))
            slow.sendall(data)
        with harming_nothing(line, entries=0):
            pass  # what is asked after every attack is asked while these lines are open
