"""Targets of what lies around a node: key files, node.toml, endpoints, requests of peers and of operators."""

from __future__ import annotations

import asyncio
import atexit
import re
import ssl
import tomllib
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import cache
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol

import keys.keystore
from exchange.round import decode_error
from keys.encoding import encode
from keys.errors import KeyFileError
from keys.ids import AgencyId
from keys.keystore import KeyStore, PassphraseCost
from keys.sealing import ContentKey
from nodes.budgets import Budgets, Rates
from nodes.config import load_config, parse_config, parse_listen, render_config
from nodes.directory import layout_of
from nodes.endpoints import parse_endpoint
from nodes.errors import ConfigError, OperationError
from nodes.local_api import _arguments, _Lines, read_object
from nodes.metrics import Metrics
from nodes.operations import _time, _uuid
from nodes.peer_api import PeerApi, PeerLimits
from nodes.submitting import agencies_of, content_of, message_id_of, wait_of
from nodes.tls import PeerRoots
from tests.exchange.agencies import seed
from tests.fuzz.target import Target
from tests.fuzz.wire import text_of

# --- key files --------------------------------------------------------------------------------------------------------

_CHEAP = PassphraseCost(8, 1, 1)


def key_file(data: bytes) -> None:
    """Any bytes where a key file was. What a passphrase costs is the attacker's to ask for, and is not spent here."""
    with patch.object(keys.keystore, "_read", lambda *_, **__: data), _no_argon():
        for read in (
            lambda: KeyStore.load_exported_root(Path("root.key"), "passphrase"),
            lambda: _store().load_root(),
            lambda: _store().load_epoch(1),
        ):
            with suppress(KeyFileError):
                read()


def key_content(data: bytes) -> None:
    """What is sealed in a key file, by somebody who has the passphrase."""
    store = _store()

    def read(path: Path, any_mode: bool = False) -> bytes:
        key = ContentKey(store._subkey("file", path.name), b"")
        return encode(["tocsin key file", 1, key.seal(data, path.name.encode())])

    with patch.object(keys.keystore, "_read", read):
        for load in (
            store.load_tls,
            lambda: store.load_node_pair("a"),
            store.load_witness,
            lambda: store.load_epoch(1),
        ):
            with suppress(KeyFileError):
                load()


@cache
def _store() -> KeyStore:
    return KeyStore(Path("keys"), seed("keystore"))


def _no_argon() -> Any:
    return patch.object(keys.keystore, "_passphrase_key", lambda *_: bytes(32))


# --- settings ---------------------------------------------------------------------------------------------------------


def configuration(data: bytes) -> None:
    """node.toml. What was taken is written out and read back as the same."""
    layout_of(_directory()).config_file.write_bytes(data)
    config = load_config(_directory())
    written = tomllib.loads(render_config(config))
    assert parse_config(written, path="node.toml") == config


@cache
def _directory() -> Path:
    return Path(_temporary().name)


@cache
def _temporary() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="tocsin-fuzz-")


def addresses(data: bytes) -> None:
    text = text_of(data)
    with suppress(ValueError):
        found = parse_endpoint(text)
        assert parse_endpoint(found) == found
    with suppress(ValueError):
        parse_listen(text)


# --- requests of peers ------------------------------------------------------------------------------------------------

PEER = AgencyId("ponal.co")
_STATUSES = frozenset({200, 400, 403, 404, 405, 413, 415, 429})


class _Line(asyncio.Transport):
    """The other end of a connection that proved to be the peer's."""

    def __init__(self) -> None:
        super().__init__({"ssl_object": SimpleNamespace(getpeercert=lambda *_: b"leaf"), "peername": None})
        self.said = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.said += bytes(data)

    def writelines(self, list_of_data: Any) -> None:
        self.said += b"".join(map(bytes, list_of_data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        return

    def resume_reading(self) -> None:
        return


def peer_request(data: bytes) -> None:
    """Whatever a peer writes into its connection: each answer is one of ours, and none says 500."""
    _loop().run_until_complete(_served(data))


async def _served(data: bytes) -> None:
    line, connection = _Line(), _api()._make_connection()
    connection.connection_made(line)
    try:
        connection.data_received(data)
        connection.eof_received()
        for _ in range(12):
            await asyncio.sleep(0)
    finally:
        connection.connection_lost(None)
        await asyncio.sleep(0)
    said = line.said.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
    while said:
        head, end, said = said.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: ([0-9]+)", head)
        assert end, head
        assert length is not None, head
        assert re.match(rb"HTTP/[0-9]\.[0-9] [0-9]{3} ", head), head
        assert b"server:" not in head.lower()
        status, body, said = int(head[9:12]), said[: int(length[1])], said[int(length[1]) :]
        assert status in _STATUSES, head
        if status != HTTPStatus.OK:
            decode_error(body)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    runner = asyncio.Runner()
    atexit.register(runner.close)
    return runner.get_loop()


@cache
def _api() -> PeerApi:
    async def receive(agency: AgencyId, body: bytes) -> bytes:
        return b"answer"

    roots = cast(PeerRoots, SimpleNamespace(identify=lambda *_: PEER, front=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)))
    budgets = Budgets(Rates(), Metrics())
    return PeerApi(receive, lambda *_: True, roots, Metrics(), budgets, limits=PeerLimits(lingering_s=0, refusal_s=0))


# --- requests of operators --------------------------------------------------------------------------------------------


def local_request(data: bytes) -> None:
    """The body of a request at the local socket, and the arguments that every posting verb reads from it."""
    _loop().run_until_complete(_asked(data))


async def _asked(data: bytes) -> None:
    lines = _Lines(_stream(data))
    with suppress(OperationError):
        await lines.first()
        async for _ in lines.batches(8):
            pass
    for line in data.splitlines():
        with suppress(OperationError):
            read_object(line)
    args = await _arguments(cast(Any, SimpleNamespace(content=_Pieces(data))))
    for read in (content_of, message_id_of):
        with suppress(OperationError):
            read(args)
    wait_of(args)
    for value in (args, *args.values()):
        for take in (agencies_of, _time, _uuid):
            with suppress(OperationError):
                take(value)


class _Pieces:
    def __init__(self, data: bytes) -> None:
        self._data = data

    async def iter_any(self) -> AsyncIterator[bytes]:
        half = len(self._data) // 2
        for piece in (self._data[:half], self._data[half:]):
            if piece:
                yield piece


def _stream(data: bytes) -> StreamReader:
    reader = StreamReader(BaseProtocol(_loop()), 1 << 20, loop=_loop())
    for line in data.splitlines(keepends=True):
        reader.feed_data(line)
    reader.feed_eof()
    return reader


TARGETS = (
    Target("key_file", key_file, longest=8_192, executions=100 * 6),
    Target("key_content", key_content, longest=2_048, executions=60 * 6),
    Target("configuration", configuration, (ConfigError,), longest=4_096, executions=60 * 6),
    Target("addresses", addresses, longest=128, executions=200 * 6),
    Target("peer_request", peer_request, longest=8_192, executions=100 * 6),
    Target("local_request", local_request, (OperationError,), executions=150 * 6),
)
