"""The listener for peers: who gets in, what is refused before it costs anything, and how connections end."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from exchange.errors import RefusalCode, RefusalError
from exchange.round import MAX_ROUND_BYTES
from keys.ids import AgencyId
from nodes import logging
from nodes.budgets import LONGEST_WAIT_S, Rates
from nodes.errors import FatalError, ListenError
from nodes.peer_api import PeerLimits
from nodes.peer_client import PeerRefused
from nodes.peer_listener import ConnectionLimits, network_of
from tests.nodes.transport.agencies import NOW, YEAR_MS, Agency, make_agency, make_liar
from tests.nodes.transport.listening import HEAD, Answer, Line, Listening, turns_until

SHORT = 0.05
SECRET = "Lucia was seen in Cucuta"


class Gate:
    """A `receive` that waits until the test lets it go on."""

    def __init__(self) -> None:
        self.entered = asyncio.Semaphore(0)
        self.opened = asyncio.Event()
        self.finished = 0
        self.cancelled = 0

    async def receive(self, agency: AgencyId, body: bytes) -> bytes:
        self.entered.release()
        try:
            await self.opened.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.finished += 1
        return b"at last"


# --- who gets in -----------------------------------------------------------------------------------------------------


async def test_a_round_goes_to_receive_with_the_agency_that_the_connection_proves(
    listening: Listening, ponal: Agency
) -> None:
    await listening.start()
    assert await listening.client(ponal).round(listening.target, b"hello", 5) == b"answer to hello"
    assert listening.received == [("ponal.co", b"hello")]


async def test_a_peer_is_its_root_whatever_name_its_leaf_bears(
    listening: Listening, agencies: Callable[[str], Agency], tls_directory: Path
) -> None:
    impostor = make_liar("thief.example", "ponal.co", tls_directory)
    listening.peers.append(impostor)
    listening.trusted.add(impostor.id)
    await listening.start()
    await listening.client(impostor).round(listening.target, b"", 5)
    assert listening.received == [("thief.example", b"")]


async def test_a_pending_peer_is_answered_not_trusted_and_closed(listening: Listening, ponal: Agency) -> None:
    listening.trusted.clear()
    await listening.start()
    line = await listening.line(ponal)
    answer = await line.post(b"hello")
    assert (answer.status, answer.code) == (403, "not_trusted")
    await line.closed()
    assert listening.received == []


async def test_a_suspended_peer_is_answered_on_its_live_connection_and_closed(
    listening: Listening, ponal: Agency
) -> None:
    await listening.start()
    line = await listening.line(ponal)
    assert (await line.post(b"1")).status == 200
    listening.trusted.clear()
    answer = await line.post(b"2")
    assert (answer.status, answer.code) == (403, "not_trusted")
    await line.closed()


async def test_closing_a_peer_ends_its_idle_connections_and_no_other(
    listening: Listening, ponal: Agency, agencies: Callable[[str], Agency]
) -> None:
    other = agencies("met.uk")
    listening.peers.append(other)
    listening.trusted.add(other.id)
    await listening.start()
    line, others = await listening.line(ponal), await listening.line(other)
    await line.post(b"1")
    await others.post(b"1")
    listening.api.close_peer(ponal.id)
    await line.closed()
    assert (await others.post(b"2")).status == 200


async def test_closing_a_peer_answers_its_round_at_once_and_still_finishes_it(
    listening: Listening, ponal: Agency
) -> None:
    gate = Gate()
    listening.receive = gate.receive
    await listening.start()
    line = await listening.line(ponal)
    answering = asyncio.create_task(line.post(b"1"))
    await gate.entered.acquire()
    listening.trusted.clear()
    listening.api.close_peer(ponal.id)
    answer = await answering
    assert (answer.status, answer.code) == (403, "not_trusted")
    await line.closed()
    gate.opened.set()
    await listening.api.drain(5)
    assert (gate.finished, gate.cancelled) == (1, 0)


async def test_closing_a_peer_stops_reading_its_body(listening: Listening, ponal: Agency) -> None:
    await listening.start()
    line = await listening.line(ponal)
    await line.post(b"1")
    await line.send(HEAD + b"Content-Length: 100\r\n\r\nhalf")
    await _until_reading(listening, ponal)
    listening.api.close_peer(ponal.id)
    answer = await line.answer()
    assert (answer.status, answer.code) == (403, "not_trusted")
    await line.closed()


async def _until_reading(listening: Listening, agency: Agency) -> None:
    """Until the server has begun to read a request of that agency."""
    (connection,) = listening.api._connections[agency.id]
    await turns_until(lambda: connection._deadline is not None)


async def test_a_peer_suspended_while_its_body_arrives_is_not_heard(listening: Listening, ponal: Agency) -> None:
    await listening.start()
    line = await listening.line(ponal)
    await line.send(HEAD + b"Content-Length: 8\r\n\r\nhalf")
    await listening.connections.until(1)
    await _until_reading(listening, ponal)
    listening.trusted.clear()
    await line.send(b"half")
    answer = await line.answer()
    assert (answer.status, answer.code) == (403, "not_trusted")
    assert listening.received == []


async def test_an_unknown_client_is_closed_in_the_handshake(
    listening: Listening, agencies: Callable[[str], Agency]
) -> None:
    await listening.start()
    line = await listening.line(agencies("stranger.example"))
    await line.closed()
    assert listening.metrics.tls_refused.values == {"certificate": 1}
    assert listening.connections.value == 0


async def test_roots_change_while_the_node_runs(listening: Listening, ponal: Agency) -> None:
    listening.peers.clear()
    await listening.start()
    await (await listening.line(ponal)).closed()
    await listening.roots.replace([ponal.pinned()])
    line = await listening.line(ponal)
    assert (await line.post(b"1")).status == 200
    await listening.roots.replace([])
    assert (await line.post(b"2")).status == 403
    await line.closed()
    await (await listening.line(ponal)).closed()


async def test_a_peer_with_another_root_is_no_longer_served_under_the_old_one(
    listening: Listening, ponal: Agency, tls_directory: Path
) -> None:
    await listening.start()
    line = await listening.line(ponal)
    assert (await line.post(b"1")).status == 200
    await listening.roots.replace([make_agency("ponal.co", tls_directory).pinned()])
    assert (await line.post(b"2")).status == 403


async def test_certificates_that_expired_years_ago_cost_no_message(listening: Listening, tls_directory: Path) -> None:
    old = make_agency("old.example", tls_directory, now=NOW - 20 * YEAR_MS)
    listening.agency = make_agency("bka.de", tls_directory, now=NOW - 20 * YEAR_MS)
    listening.roots = type(listening.roots)(listening.agency.own)
    listening.peers.append(old)
    listening.trusted.add(old.id)
    await listening.start()
    assert await listening.client(old).round(listening.target, b"x", 5) == b"answer to x"


async def test_certificates_of_tomorrow_cost_no_message(listening: Listening, tls_directory: Path) -> None:
    early = make_agency("early.example", tls_directory, now=NOW + 20 * YEAR_MS)
    listening.peers.append(early)
    listening.trusted.add(early.id)
    await listening.start()
    assert await listening.client(early).round(listening.target, b"x", 5) == b"answer to x"


# --- forms -----------------------------------------------------------------------------------------------------------

FORMS = {
    "another path": (b"POST /v1/rounds HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 404, "malformed"),
    "a query": (b"POST /v1/round?x=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 404, "malformed"),
    "an escaped path": (b"POST /v1/%72ound HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 404, "malformed"),
    "health check": (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 404, "malformed"),
    "another method": (b"GET /v1/round HTTP/1.1\r\nHost: x\r\n\r\n", 405, "malformed"),
    "tunnel": (b"CONNECT peer.example:443 HTTP/1.1\r\nHost: x\r\n\r\n", 404, "malformed"),
    "no content type": (b"POST /v1/round HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 415, "malformed"),
    "json": (
        b"POST /v1/round HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n",
        415,
        "malformed",
    ),
    "deflate": (HEAD + b"Content-Encoding: deflate\r\nContent-Length: 0\r\n\r\n", 415, "malformed"),
    "too large by one": (HEAD + b"Content-Length: %d\r\n\r\n" % (MAX_ROUND_BYTES + 1), 413, "too_large"),
    "no HTTP": (b"\x16\x03\x01\x00\x00\r\n\r\n", 400, "malformed"),
    "two lengths": (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "malformed"),
    "length and chunks": (HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "malformed"),
    "a line without end": (b"POST /" + b"a" * 5_000, 400, "malformed"),
    "a hundred headers": (HEAD + b"".join(b"A%d: b\r\n" % i for i in range(100)) + b"\r\n", 400, "malformed"),
    "bad chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "malformed"),
}


@pytest.mark.parametrize("form", FORMS)
async def test_what_is_no_round_is_answered_in_our_form(form: str, listening: Listening, ponal: Agency) -> None:
    request, status, code = FORMS[form]
    await listening.start()
    line = await listening.line(ponal)
    await line.send(request)
    answer = await line.answer()
    assert (answer.status, answer.code) == (status, code)
    assert answer.headers["content-type"] == "application/msgpack"
    assert "server" not in answer.headers
    assert ("allow" in answer.headers) == (status == 405)
    assert listening.received == []


async def test_an_answer_does_not_name_our_libraries(listening: Listening, ponal: Agency) -> None:
    await listening.start()
    answer = await (await listening.line(ponal)).post(b"")
    assert set(answer.headers) == {"content-type", "content-length", "date"}


async def test_a_compressed_body_is_refused_before_it_is_read(listening: Listening, ponal: Agency) -> None:
    await listening.start()
    bomb = gzip.compress(bytes(10 * MAX_ROUND_BYTES))
    line = await listening.line(ponal)
    await line.send(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb)
    assert (await line.answer()).status == 415
    await line.closed()
    assert listening.received == []


async def test_the_largest_round_passes(listening: Listening, ponal: Agency) -> None:
    async def length(agency: AgencyId, body: bytes) -> bytes:
        return str(len(body)).encode()

    listening.receive = length
    await listening.start()
    answer = await listening.client(ponal).round(listening.target, bytes(MAX_ROUND_BYTES), 30)
    assert answer == b"%d" % MAX_ROUND_BYTES


async def test_chunks_that_grow_too_large_are_cut_off(listening: Listening, ponal: Agency) -> None:
    await listening.start(PeerLimits(lingering_s=SHORT))
    line = await listening.line(ponal)
    await line.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    half = b"%x\r\n" % (MAX_ROUND_BYTES // 2 + 1) + bytes(MAX_ROUND_BYTES // 2 + 1) + b"\r\n"
    await line.send(half + half)
    answer = await line.answer()
    assert (answer.status, answer.code) == (413, "too_large")
    await line.closed()
    assert listening.received == []


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("malformed", 400),
        ("bad_proof", 400),
        ("key_not_valid", 400),
        ("unsupported_version", 400),
        ("not_trusted", 403),
        ("too_large", 413),
        ("rate_limited", 429),
        ("internal", 503),
    ],
)
async def test_a_refusal_becomes_its_status(code: str, status: int, listening: Listening, ponal: Agency) -> None:
    async def refuse(agency: AgencyId, body: bytes) -> bytes:
        raise RefusalError(RefusalCode(code), 3)

    listening.receive = refuse
    await listening.start()
    with pytest.raises(PeerRefused) as refused:
        await listening.client(ponal).round(listening.target, b"", 5)
    assert (refused.value.code, refused.value.status) == (code, status)


async def test_a_fault_of_ours_is_internal_and_its_text_stays_here(
    listening: Listening, ponal: Agency, log_stream: io.StringIO
) -> None:
    async def fail(agency: AgencyId, body: bytes) -> bytes:
        raise LookupError(SECRET)

    listening.receive = fail
    await listening.start()
    line = await listening.line(ponal)
    answer = await line.post(b"1")
    assert (answer.status, answer.code) == (503, "internal")
    assert (await line.post(b"2")).status == 503
    events = [json.loads(text) for text in log_stream.getvalue().splitlines()]
    assert [event["exception"] for event in events] == ["LookupError", "LookupError"]
    assert SECRET not in log_stream.getvalue()


async def test_a_fatal_error_is_reported_to_whoever_must_end_the_process(listening: Listening, ponal: Agency) -> None:
    error = FatalError("commit_unknown")

    async def fail(agency: AgencyId, body: bytes) -> bytes:
        raise error

    listening.receive = fail
    await listening.start()
    assert (await (await listening.line(ponal)).post(b"")).status == 503
    assert listening.fatal == [error]


# --- limits ----------------------------------------------------------------------------------------------------------


async def test_a_connection_without_a_handshake_is_closed(listening: Listening) -> None:
    await listening.start(PeerLimits(listening=ConnectionLimits(handshake_s=SHORT)))
    await (await listening.plain_line()).closed()
    assert listening.metrics.tls_refused.total() == 1


async def test_plain_http_is_closed(listening: Listening) -> None:
    await listening.start()
    line = await listening.plain_line()
    await line.send(HEAD + b"Content-Length: 0\r\n\r\n")
    await line.reader.read()
    assert listening.metrics.tls_refused.values == {"protocol": 1}


@pytest.mark.parametrize("said", [b"", b"POST /v1/round HTTP/1.1\r\nHost: x\r\nX"], ids=["nothing", "half a header"])
async def test_a_peer_that_does_not_come_to_its_first_request_is_closed(
    said: bytes, listening: Listening, ponal: Agency
) -> None:
    await listening.start(PeerLimits(first_request_s=SHORT))
    line = await listening.line(ponal)
    await line.send(said)
    await line.closed()


@pytest.mark.parametrize("said", [b"", b"POST /v1/round HTTP/1.1\r\nHost: x\r\nX"], ids=["nothing", "half a header"])
async def test_silence_between_requests_ends(said: bytes, listening: Listening, ponal: Agency) -> None:
    await listening.start(PeerLimits(idle_s=SHORT))
    line = await listening.line(ponal)
    assert (await line.post(b"1")).status == 200
    await line.send(said)
    await line.closed()


async def test_a_body_that_does_not_end_is_given_up(listening: Listening, ponal: Agency) -> None:
    await listening.start(PeerLimits(body_s=SHORT, slowest_bytes_per_s=1_000_000))
    line = await listening.line(ponal)
    await line.send(HEAD + b"Content-Length: 100\r\n\r\nhalf")
    answer = await line.answer()
    assert (answer.status, answer.code) == (400, "malformed")
    await line.closed()
    assert listening.received == []


async def test_an_answer_that_nobody_reads_is_given_up(listening: Listening, ponal: Agency) -> None:
    async def large(agency: AgencyId, body: bytes) -> bytes:
        return bytes(MAX_ROUND_BYTES)

    listening.receive = large
    # asyncio's TLS keeps the last pieces to itself and calls them sent: those are given up with the silence after them.
    limits = PeerLimits(answer_s=SHORT, slowest_bytes_per_s=1_000_000_000, idle_s=SHORT)
    await listening.start(replace(limits, listening=ConnectionLimits(shutdown_s=SHORT)))
    line = await listening.line(ponal, receive_buffer=4_096)
    cast("asyncio.Transport", line.writer.transport).pause_reading()
    await line.send(HEAD + b"Content-Length: 0\r\n\r\n")
    await listening.connections.until(1)
    await listening.connections.until(0)


async def test_a_peer_s_fifth_round_at_once_is_turned_away_and_hanging_up_makes_no_room(
    listening: Listening, ponal: Agency
) -> None:
    gate = Gate()
    listening.receive = gate.receive
    await listening.start(PeerLimits(rounds_per_peer=2))
    first, second, third = [await listening.line(ponal) for _ in range(3)]
    answers = [asyncio.create_task(line.post(b"1")) for line in (first, second)]
    await gate.entered.acquire()
    await gate.entered.acquire()
    assert await _refused(third) == (429, "rate_limited")
    answers[0].cancel()
    first.writer.transport.abort()
    await listening.connections.until(2)
    assert await _refused(third) == (429, "rate_limited")
    gate.opened.set()
    assert (await answers[1]).body == b"at last"
    assert (await third.post(b"1")).status == 200
    assert gate.finished == 3


async def _refused(line: Line) -> tuple[int, str]:
    answer: Answer = await line.post(b"1")
    return answer.status, answer.code


async def test_one_peer_s_rounds_leave_room_for_another_s(
    listening: Listening, ponal: Agency, agencies: Callable[[str], Agency]
) -> None:
    other = agencies("met.uk")
    listening.peers.append(other)
    listening.trusted.add(other.id)
    gate = Gate()
    listening.receive = gate.receive
    await listening.start(PeerLimits(rounds_per_peer=1))
    answers = [asyncio.create_task((await listening.line(who)).post(b"1")) for who in (ponal, other)]
    await gate.entered.acquire()
    await gate.entered.acquire()
    gate.opened.set()
    assert [(await answer).status for answer in answers] == [200, 200]


async def test_rounds_beyond_the_memory_for_all_of_them_are_turned_away(listening: Listening, ponal: Agency) -> None:
    gate = Gate()
    listening.receive = gate.receive
    await listening.start(PeerLimits(round_memory_bytes=100))
    first, second = await listening.line(ponal), await listening.line(ponal)
    answer = asyncio.create_task(first.post(bytes(60)))
    await gate.entered.acquire()
    refused = await second.post(bytes(60))
    assert (refused.status, refused.code) == (429, "rate_limited")
    gate.opened.set()
    assert (await answer).status == 200
    assert (await (await listening.line(ponal)).post(bytes(60))).status == 200


async def test_a_round_that_is_announced_and_not_sent_takes_no_memory_from_others(
    listening: Listening, ponal: Agency
) -> None:
    await listening.start(PeerLimits(round_memory_bytes=100))
    silent = [await listening.line(ponal) for _ in range(3)]
    for line in silent:
        await line.send(HEAD + b"Content-Length: 4000000\r\n\r\n" + b"x")
    assert (await (await listening.line(ponal)).post(bytes(60))).status == 200


async def test_a_long_answer_is_charged_to_who_asked_for_it(listening: Listening, ponal: Agency) -> None:
    async def long_answer(agency: AgencyId, body: bytes) -> bytes:
        return bytes(100_000)

    listening.receive = long_answer
    await listening.start(rates=Rates(bytes=10_000))
    line = await listening.line(ponal)
    assert (await line.post(b"1")).status == 200
    assert await _refused(line) == (429, "rate_limited")


async def test_what_is_no_round_counts_as_one(listening: Listening, ponal: Agency) -> None:
    await listening.start(rates=Rates(rounds=0.001))
    for status in (404, 429):
        line = await listening.line(ponal)
        await line.send(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert (await line.answer()).status == status


async def test_a_peer_that_calls_too_often_is_slowed_then_refused_and_another_is_not(
    listening: Listening, ponal: Agency, agencies: Callable[[str], Agency]
) -> None:
    other = agencies("met.uk")
    listening.peers.append(other)
    listening.trusted.add(other.id)
    await listening.start(rates=Rates(rounds=0.001))  # 2 s of it are less than one round
    line = await listening.line(ponal)
    assert (await line.post(b"1")).status == 200
    assert listening.waits == [LONGEST_WAIT_S]
    assert await _refused(line) == (429, "rate_limited")
    assert (await (await listening.line(other)).post(b"1")).status == 200
    assert listening.metrics.rounds_limited.values == {"rounds_slowed": 2, "rounds_refused": 1}


@pytest.mark.parametrize("form", ["announced", "in chunks"])
async def test_bytes_beyond_a_peer_s_share_are_not_read(listening: Listening, ponal: Agency, form: str) -> None:
    await listening.start(PeerLimits(lingering_s=SHORT), Rates(bytes=1_000))
    line = await listening.line(ponal)
    assert (await line.post(bytes(10_000))).status == 200
    length = b"Content-Length: 100000\r\n\r\n" if form == "announced" else b"Transfer-Encoding: chunked\r\n\r\n"
    await line.send(HEAD + length)
    answer = await line.answer()
    assert (answer.status, answer.code) == (429, "rate_limited")
    assert len(listening.received) == 1
    await line.closed()


async def test_what_came_in_chunks_is_charged_by_its_size_and_not_by_what_it_might_have_been(
    listening: Listening, ponal: Agency
) -> None:
    await listening.start(rates=Rates(bytes=MAX_ROUND_BYTES))
    line = await listening.line(ponal)
    for _ in range(8):
        await line.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n")
        assert (await line.answer()).status == 200
    assert listening.waits == []


async def test_an_address_that_calls_too_often_is_closed_before_tls(listening: Listening, ponal: Agency) -> None:
    await listening.start(PeerLimits(listening=ConnectionLimits(handshakes_per_s=0.2)))
    for _ in range(2):
        assert (await (await listening.line(ponal)).post(b"1")).status == 200
    third = await listening.plain_line()
    await third.closed()
    assert listening.metrics.connections_refused.values == {"rate": 1}


async def test_connections_beyond_a_peer_s_share_are_told_so(listening: Listening, ponal: Agency) -> None:
    await listening.start(PeerLimits(connections_per_peer=1))
    first = await listening.line(ponal)
    assert (await first.post(b"1")).status == 200
    second = await listening.line(ponal)
    answer = await second.post(b"1")
    assert (answer.status, answer.code) == (429, "rate_limited")
    await second.closed()
    assert (await first.post(b"2")).status == 200


@pytest.mark.parametrize("suspended", [True, False], ids=["suspended", "beyond its share"])
async def test_who_is_not_served_holds_a_few_connections_and_takes_no_place_of_those_who_are(
    suspended: bool, listening: Listening, ponal: Agency, agencies: Callable[[str], Agency]
) -> None:
    other = agencies("met.uk")
    listening.peers.append(other)
    listening.trusted.add(other.id)
    if suspended:
        listening.trusted.discard(ponal.id)
    limits = PeerLimits(connections_per_peer=1, unserved_per_peer=2, listening=ConnectionLimits(connections=8))
    await listening.start(limits)
    served = 0 if suspended else 1
    lines = [await listening.line(ponal) for _ in range(served + 2)]
    await listening.connections.until(served + 2)
    for _ in range(8):
        await (await listening.line(ponal)).closed()
    assert listening.metrics.connections_refused.values == {"unserved": 8}
    assert (await (await listening.line(other)).post(b"1")).status == 200
    assert (await lines[-1].post(b"1")).status == (403 if suspended else 429)
    await lines[-1].closed()
    await listening.connections.until(served + 2)  # one of theirs less, and the other peer's
    assert (await (await listening.line(ponal)).post(b"1")).status == (403 if suspended else 429)


async def test_who_is_not_served_counts_with_the_strangers(listening: Listening, ponal: Agency) -> None:
    listening.trusted.clear()
    await listening.start(PeerLimits(listening=ConnectionLimits(connections=4)))
    for _ in range(2):
        await listening.line(ponal)
    await listening.connections.until(2)
    await (await listening.plain_line()).closed()
    assert listening.metrics.connections_refused.values == {"connections": 1}


async def test_who_is_not_served_must_speak_sooner(listening: Listening, ponal: Agency) -> None:
    listening.trusted.clear()
    await listening.start(PeerLimits(first_request_s=3_600, unserved_first_request_s=SHORT))
    await (await listening.line(ponal)).closed()


async def test_a_connection_opened_before_its_agency_was_trusted_is_served_from_then_on(
    listening: Listening, ponal: Agency
) -> None:
    listening.trusted.clear()
    await listening.start(PeerLimits(unserved_per_peer=1, unserved_first_request_s=3_600))
    line = await listening.line(ponal)
    await listening.connections.until(1)
    listening.trusted.add(ponal.id)
    assert (await line.post(b"1")).status == 200
    assert listening.api._places_taken() == (1, 0)
    line.writer.close()
    await listening.connections.until(0)
    assert listening.api._places_taken() == (0, 0)


@pytest.mark.parametrize(
    "limits",
    [ConnectionLimits(connections_per_address=1), ConnectionLimits(connections=2)],
    ids=["of one address", "of all"],
)
async def test_handshakes_beyond_the_limit_are_closed_before_tls(
    limits: ConnectionLimits, listening: Listening, ponal: Agency
) -> None:
    await listening.start(PeerLimits(listening=limits))
    silent = await listening.plain_line()
    await (await listening.plain_line()).closed()
    assert listening.metrics.connections_refused.total() == 1
    assert listening.metrics.tls_refused.total() == 0
    silent.writer.transport.abort()
    await turns_until(lambda: not listening.api._listener._pending)
    assert (await (await listening.line(ponal)).post(b"")).status == 200


async def test_connections_are_sent_without_delay(listening: Listening, ponal: Agency) -> None:
    await listening.start()
    line = await listening.line(ponal)
    await line.post(b"1")
    (connection,) = listening.api._connections[ponal.id]
    assert connection.transport is not None
    accepted = connection.transport.get_extra_info("socket")
    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


# --- start and end ---------------------------------------------------------------------------------------------------


async def test_draining_answers_what_is_in_progress_and_frees_the_port(listening: Listening, ponal: Agency) -> None:
    gate = Gate()
    listening.receive = gate.receive
    await listening.start()
    idle, line = await listening.line(ponal), await listening.line(ponal)
    answering = asyncio.create_task(line.post(b"1"))
    await gate.entered.acquire()
    draining = asyncio.create_task(listening.api.drain(30))
    await idle.closed()
    with pytest.raises(ConnectionError):
        await listening.plain_line()
    gate.opened.set()
    assert (await answering).body == b"at last"
    await line.closed()
    await draining
    with socket.create_server(("127.0.0.1", listening.port)):
        pass


async def test_draining_does_not_wait_for_a_body(listening: Listening, ponal: Agency) -> None:
    await listening.start()
    line = await listening.line(ponal)
    await line.send(HEAD + b"Content-Length: 100\r\n\r\nhalf")
    await listening.connections.until(1)
    await _until_reading(listening, ponal)
    draining = asyncio.create_task(listening.api.drain(3_600))
    answer = await line.answer()
    assert (answer.status, answer.code) == (503, "internal")
    await draining


async def test_draining_waits_no_longer_than_it_may(listening: Listening, ponal: Agency) -> None:
    gate = Gate()
    listening.receive = gate.receive
    await listening.start()
    line = await listening.line(ponal)
    answering = asyncio.create_task(line.post(b"1"))
    await gate.entered.acquire()
    await listening.api.drain(0.0)
    assert gate.cancelled == 1
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await answering


async def test_a_port_that_is_taken_is_named(listening: Listening) -> None:
    await listening.start()
    with pytest.raises(ListenError) as refused:
        await listening.api.start("127.0.0.1", listening.port)
    assert refused.value.address == f"127.0.0.1:{listening.port}"


async def test_an_address_that_is_none_is_named(listening: Listening) -> None:
    await listening.start()
    with pytest.raises(ListenError):
        await listening.api.start("192.0.2.1", 0)


async def test_a_name_that_stands_for_several_addresses_is_listened_to_on_each(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    await listening.start()
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("127.0.0.1", "127.0.0.2")]

    async def resolve(*_: object, **__: object) -> list[object]:
        return list(found)

    monkeypatch.setattr(loop, "getaddrinfo", resolve)
    assert await listening.api.start("both.example", port) == port
    for address in ("127.0.0.1", "127.0.0.2"):
        _, writer = await asyncio.open_connection(address, port)
        writer.close()


@pytest.fixture
def log_stream(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = io.StringIO()
    logging.configure("info", stream=stream)
    return stream


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("64:ff9b::c000:201", "64:ff9b::c000:202", False),
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
    ],
)
def test_callers_are_told_apart_by_their_network(one: str, other: str, same: bool) -> None:
    assert (network_of(one) == network_of(other)) is same
