"""Calling a peer: what each way of failing is called, and that a round is one request on a kept connection."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from exchange.round import MAX_ROUND_BYTES, encode_error
from nodes.metrics import Metrics
from nodes.peer_api import PeerLimits
from nodes.peer_client import (
    BadAnswer,
    PeerClient,
    PeerDoesNotTrustUs,
    PeerRefused,
    PeerTarget,
    RoundError,
    Unreachable,
)
from tests.nodes.transport.agencies import Agency, make_agency, make_liar
from tests.nodes.transport.listening import Listening
from tests.nodes.transport.scripted import Behaviour, ScriptedPeer, Silent, closes, http, says


class Playing:
    """ponal.co calls bka.de, which follows a script."""

    def __init__(self, peer: ScriptedPeer, client: PeerClient, metrics: Metrics, port: int) -> None:
        self.peer = peer
        self.client = client
        self.metrics = metrics
        self.target = peer.agency.target(port)

    async def call(self, body: bytes = b"hello", timeout_s: float = 10) -> bytes:
        return await self.client.round(self.target, body, timeout_s)


Play = Callable[..., Awaitable[Playing]]


@pytest.fixture
def play(bka: Agency, ponal: Agency, closing: AsyncExitStack) -> Play:
    async def start(*script: Behaviour) -> Playing:
        peer = ScriptedPeer(bka, ponal, script)
        metrics = Metrics()
        client = PeerClient(ponal.own, metrics)
        port = await peer.start(closing)
        closing.push_async_callback(client.close)
        return Playing(peer, client, metrics, port)

    return start


# --- one round ------------------------------------------------------------------------------------------------------


async def test_a_request_says_no_more_than_it_must(play: Play) -> None:
    playing = await play(http(b"answer"))
    assert await playing.call() == b"answer"
    (heard,) = playing.peer.heard
    assert heard.head.startswith(b"POST /v1/round HTTP/1.1\r\n")
    assert heard.body == b"hello"
    assert set(heard.headers) == {"host", "content-type", "content-length", "accept-encoding"}
    assert heard.headers["accept-encoding"] == "identity"


async def test_rounds_share_one_connection(play: Play) -> None:
    playing = await play(http(b"1"), http(b"2"), http(b"3"))
    assert [await playing.call() for _ in range(3)] == [b"1", b"2", b"3"]
    assert playing.peer.connections == 1
    assert playing.metrics.rounds_out.values == {"answered": 3}


async def test_a_cookie_is_not_kept(play: Play) -> None:
    playing = await play(http(b"", more=b"Set-Cookie: a=b; Path=/\r\n"))
    await playing.call()
    await playing.call()
    assert "cookie" not in playing.peer.heard[1].headers


@pytest.mark.parametrize("size", [0, 1_048_576, 1_048_577, MAX_ROUND_BYTES])
async def test_a_round_of_any_size_arrives_whole(size: int, play: Play) -> None:
    playing = await play(http(b""))
    body = bytes(index % 251 for index in range(1_000)) * (size // 1_000 + 1)
    await playing.call(body[:size])
    assert playing.peer.heard[0].body == body[:size]


async def test_a_proxy_of_the_environment_is_not_used(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    playing = await play(http(b"answer"))
    assert await playing.call() == b"answer"


# --- a peer that does not know us -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 100, 2_000_000])
async def test_a_peer_that_has_not_added_us_is_recognised(
    size: int, listening: Listening, agencies: Callable[[str], Agency]
) -> None:
    await listening.start()
    client = listening.client(agencies("stranger.example"))
    for _ in range(3):
        with pytest.raises(PeerDoesNotTrustUs):
            await client.round(listening.target, bytes(size), 10)
    assert listening.metrics.tls_refused.values == {"certificate": 6}


async def test_closing_once_is_no_distrust(play: Play) -> None:
    playing = await play(closes, http(b"answer"))
    assert await playing.call() == b"answer"
    assert playing.peer.connections == 2


async def test_closing_twice_running_is_distrust(play: Play) -> None:
    playing = await play(closes)
    with pytest.raises(PeerDoesNotTrustUs):
        await playing.call()
    assert playing.peer.connections == 2
    assert playing.metrics.rounds_out.values == {"does_not_trust_us": 1}


async def test_a_kept_connection_that_was_closed_counts_for_nothing(play: Play) -> None:
    playing = await play(http(b"1"), closes, closes, http(b"2"))
    assert await playing.call() == b"1"
    assert await playing.call() == b"2"
    assert [heard.connection for heard in playing.peer.heard] == [1, 1, 2, 3]


async def test_a_connection_that_the_peer_closed_while_idle_is_replaced(listening: Listening, ponal: Agency) -> None:
    await listening.start(PeerLimits(idle_s=0.05))
    client = listening.client(ponal)
    await client.round(listening.target, b"1", 5)
    await listening.connections.until(0)
    assert await client.round(listening.target, b"2", 5) == b"answer to 2"


async def test_a_peer_that_suspended_us_says_so(listening: Listening, ponal: Agency) -> None:
    await listening.start()
    client = listening.client(ponal)
    await client.round(listening.target, b"1", 5)
    listening.trusted.clear()
    listening.api.close_peer(ponal.id)
    with pytest.raises(PeerRefused) as refused:
        await client.round(listening.target, b"2", 5)
    assert (refused.value.code, refused.value.status) == ("not_trusted", 403)


# --- nobody there, or somebody else ---------------------------------------------------------------------------------


async def _detail(client: PeerClient, target: PeerTarget, timeout_s: float = 10) -> str:
    with pytest.raises(Unreachable) as unreachable:
        await client.round(target, b"hello", timeout_s)
    return unreachable.value.detail


async def test_a_port_where_nobody_listens_is_refused(listening: Listening, ponal: Agency, bka: Agency) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert await _detail(listening.client(ponal), bka.target(port)) == "connection_refused"


async def test_a_name_without_address_is_dns(
    listening: Listening, ponal: Agency, bka: Agency, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    target = PeerTarget(bka.id, "https://nobody.invalid:7443", bka.root)
    assert await _detail(listening.client(ponal), target) == "dns"


ENDPOINTS = [
    "",
    "bka.de:7443",
    "https://",
    "https://127.0.0.1:99999",
    "http://127.0.0.1:{port}",  # said by a peer in its profile, it would send a round in clear
    "https://127.0.0.1:{port}/elsewhere?x=",
    "https://somebody@127.0.0.1:{port}",
    "https://[::1",
]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_an_endpoint_that_is_none_is_named(
    endpoint: str, listening: Listening, ponal: Agency, bka: Agency
) -> None:
    await listening.start()
    target = PeerTarget(bka.id, endpoint.format(port=listening.port), bka.root)
    assert await _detail(listening.client(ponal), target) == "endpoint"


async def test_a_server_under_another_root_is_not_the_peer(
    listening: Listening, ponal: Agency, tls_directory: Path
) -> None:
    await listening.start()
    pinned = make_agency("bka.de", tls_directory)
    assert await _detail(listening.client(ponal), pinned.target(listening.port)) == "wrong_certificate"
    assert listening.received == []


async def test_a_leaf_of_the_right_root_with_another_name_is_not_the_peer(
    listening: Listening, ponal: Agency, tls_directory: Path
) -> None:
    listening.agency = make_liar("bka.de", "bka.example", tls_directory)
    listening.roots = type(listening.roots)(listening.agency.own)
    await listening.start()
    assert await _detail(listening.client(ponal), listening.target) == "wrong_certificate"


async def test_a_root_that_is_no_certificate_is_named(listening: Listening, ponal: Agency, bka: Agency) -> None:
    await listening.start()
    target = PeerTarget(bka.id, listening.target.endpoint, b"no DER")
    assert await _detail(listening.client(ponal), target) == "wrong_certificate"


@pytest.mark.parametrize(
    "said", [b"220 mail.example ESMTP\r\n", b"\x15\x03\x03\x00\x02\x02\x46"], ids=["no TLS", "TLS 1.2 only"]
)
async def test_a_server_that_does_not_speak_tls_1_3_is_named(
    said: bytes, listening: Listening, ponal: Agency, bka: Agency
) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        target = bka.target(server.sockets[0].getsockname()[1])
        assert await _detail(listening.client(ponal), target) == "tls"


async def test_a_peer_that_says_nothing_is_waited_for_no_longer_than_asked(play: Play) -> None:
    silent = Silent()
    playing = await play(silent)
    assert await _detail(playing.client, playing.target, 0.1) == "timeout"
    assert playing.metrics.rounds_out.values == {"unreachable": 1}


async def test_a_handshake_that_nobody_answers_ends(ponal: Agency, bka: Agency, closing: AsyncExitStack) -> None:
    client = PeerClient(ponal.own, Metrics(), connect_s=0.05)
    closing.push_async_callback(client.close)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        assert await _detail(client, bka.target(mute.getsockname()[1])) == "timeout"


async def test_an_answer_that_breaks_off_is_no_answer(play: Play) -> None:
    half = b"HTTP/1.1 200 OK\r\nContent-Type: application/msgpack\r\nContent-Length: 100\r\n\r\nhalf"
    playing = await play(says(half, hang_up=True))
    assert await _detail(playing.client, playing.target) == "closed"
    assert len(playing.peer.heard) == 1


async def test_a_leaf_of_ours_that_is_gone_is_told_apart(
    listening: Listening, ponal: Agency, closing: AsyncExitStack
) -> None:
    await listening.start()
    client = PeerClient(replace(ponal.own, key=ponal.own.key.with_suffix(".gone")), Metrics())
    closing.push_async_callback(client.close)
    assert await _detail(client, listening.target) == "own_certificate"


# --- answers that are none ------------------------------------------------------------------------------------------

TOO_LARGE = bytes(MAX_ROUND_BYTES + 1)
BAD_ANSWERS = {
    "another status": (http(b"", status="204 No Content"), "status"),
    "a redirect": (http(b"", status="302 Found", more=b"Location: https://127.0.0.1:1/v1/round\r\n"), "status"),
    "another type": (http(b"<html>", content_type="text/html"), "content_type"),
    "compressed": (http(gzip.compress(bytes(9_999)), more=b"Content-Encoding: gzip\r\n"), "encoding"),
    "too large": (http(TOO_LARGE), "too_large"),
    "too large in chunks": (
        says(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/msgpack\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"%x\r\n" % len(TOO_LARGE)
            + TOO_LARGE
            + b"\r\n0\r\n\r\n"
        ),
        "too_large",
    ),
    "a proxy's page": (http(b"<html>bad gateway", status="502 Bad Gateway", content_type="text/html"), "error_body"),
    "a long error": (http(bytes(10_000), status="400 Bad Request"), "too_large"),
    "no HTTP": (says(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", hang_up=True), "http"),
}


@pytest.mark.parametrize("answer", BAD_ANSWERS)
async def test_what_is_no_answer_is_named(answer: str, play: Play) -> None:
    behaviour, rule = BAD_ANSWERS[answer]
    playing = await play(behaviour)
    with pytest.raises(BadAnswer) as bad:
        await playing.call()
    assert bad.value.rule == rule
    assert len(playing.peer.heard) == 1
    assert playing.metrics.rounds_out.values == {"bad_answer": 1}


async def test_a_bad_answer_does_not_spoil_the_next_round(play: Play) -> None:
    playing = await play(http(TOO_LARGE), http(b"<html>", content_type="text/html"), http(b"answer"))
    for _ in range(2):
        with pytest.raises(BadAnswer):
            await playing.call()
    assert await playing.call() == b"answer"


async def test_the_peer_s_code_reaches_the_caller(play: Play) -> None:
    playing = await play(http(encode_error("rate_limited"), status="429 Too Many Requests"))
    with pytest.raises(PeerRefused) as refused:
        await playing.call()
    assert (refused.value.code, refused.value.status) == ("rate_limited", 429)
    assert playing.metrics.rounds_out.values == {"refused": 1}


# --- life -----------------------------------------------------------------------------------------------------------


async def test_forgetting_a_peer_ends_its_rounds_and_a_later_one_begins_anew(play: Play) -> None:
    silent = Silent()
    playing = await play(silent, http(b"answer"))
    calling = asyncio.create_task(playing.call())
    await silent.asked.wait()
    await playing.client.forget(playing.target.agency)
    with pytest.raises(Unreachable) as unreachable:
        await calling
    assert unreachable.value.detail == "forgotten"
    assert await playing.call() == b"answer"


async def test_a_closed_client_calls_nobody(play: Play) -> None:
    playing = await play(http(b"answer"))
    await playing.call()
    await playing.client.close()
    assert await _detail(playing.client, playing.target) == "forgotten"
    assert len(playing.peer.heard) == 1


async def test_a_peer_s_new_root_counts_at_once(listening: Listening, ponal: Agency, tls_directory: Path) -> None:
    await listening.start()
    client = listening.client(ponal)
    await client.round(listening.target, b"1", 5)
    renewed = make_agency("bka.de", tls_directory)
    assert await _detail(client, renewed.target(listening.port)) == "wrong_certificate"
    assert await client.round(listening.target, b"2", 5) == b"answer to 2"


async def test_rounds_to_many_peers_begin_together(listening: Listening, ponal: Agency) -> None:
    await listening.start()
    client = listening.client(ponal)
    answers = await asyncio.gather(*(client.round(listening.target, b"%d" % n, 10) for n in range(20)))
    assert answers == [b"answer to %d" % n for n in range(20)]


@pytest.mark.parametrize("name", ["a..b", "ab.", ".ab", "-a-", "1.2.3.4", "a" * 64, "xn--a.b"])
async def test_every_agency_id_can_be_called(
    name: str, ponal: Agency, tls_directory: Path, closing: AsyncExitStack
) -> None:
    odd = Listening(make_liar(name, name, tls_directory), [ponal], closing)
    await odd.start()
    assert await odd.client(ponal).round(odd.target, b"x", 5) == b"answer to x"


async def test_every_failure_is_a_round_error() -> None:
    assert {kind.__name__ for kind in RoundError.__subclasses__()} == {
        "BadAnswer",
        "PeerDoesNotTrustUs",
        "PeerRefused",
        "Unreachable",
    }
