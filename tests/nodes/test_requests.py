"""Requests at the local socket that are none: each is a usage error of its caller, none a failure of the node."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from nodes.errors import OperationError
from nodes.local_api import Document, Lines, LocalApi, read_object
from nodes.operations import _whole
from nodes.sockets import LocalListener
from nodes.submitting import content_of, wait_of


def refusal(call: Any, *args: Any) -> str:
    with pytest.raises(OperationError) as refused:
        call(*args)
    return refused.value.code


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"[]",
        b"1",
        b"[" * 5_000,
        b'{"content": "\\ud800"}',
        b'{"\\uDFFF": 1}',
        b'{"content": "\xed\xa0\x80"}',
        '{"a": 1}'.encode("utf-16"),
        b'{"wait_s": NaN}',
        b'{"limit": -Infinity}',
        b'{"uid": ' + b"9" * 5_000 + b"}",
    ],
    ids=lambda data: str(data)[:20],
)
def test_what_is_no_object_of_text_and_numbers_is_a_usage_error(data: bytes) -> None:
    assert refusal(read_object, data) == "usage"


def test_text_that_only_speaks_of_a_half_surrogate_is_taken() -> None:
    assert read_object(rb'{"content": "{\"text\": \"\\ud83d\\ude00\"}"}') == {"content": r'{"text": "\ud83d\ude00"}'}
    assert read_object(rb'{"text": "\ud83d\ude00"}') == {"text": "\U0001f600"}


def test_content_that_is_no_base64_is_a_usage_error() -> None:
    assert refusal(content_of, {"content_base64": "x"}) == "usage"
    assert refusal(content_of, {"content_base64": "é"}) == "usage"


@pytest.mark.parametrize("value", ["x", [], {}, float("inf")])
def test_a_number_that_is_none_is_a_usage_error(value: object) -> None:
    assert refusal(_whole, {"limit": value}, "limit") == "usage"


@pytest.mark.parametrize("value", [None, "x", [1], {}, "60"])
def test_a_wait_that_is_no_number_does_not_take_the_answer_of_a_durable_post(value: object) -> None:
    assert wait_of({"wait_s": value}) == 0


async def _told(uid: int, args: Document, lines: Lines) -> AsyncIterator[Sequence[Document]]:
    yield [args]


async def test_a_stream_whose_first_line_is_no_object_is_a_usage_error(tmp_path: Path) -> None:
    listener = LocalListener(tmp_path / "node.sock")
    api = LocalApi({}, {"watch": _told})
    await api.start(listener.socket)
    connector = aiohttp.UnixConnector(path=str(tmp_path / "node.sock"))
    try:
        async with aiohttp.ClientSession(connector=connector) as session:
            for first in (b"{\n", b"[]\n", b"[" * 5_000 + b"\n"):
                async with session.post("http://node/v1/watch", data=first) as said:
                    assert json.loads(await said.read())["document"]["error"]["code"] == "usage"
            async with session.post("http://node/v1/watch", data=b'{"a":1}\n') as said:
                assert json.loads(await said.read()) == {"a": 1}
    finally:
        await api.stop()
        listener.close()
