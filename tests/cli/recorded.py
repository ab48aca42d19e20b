"""A node as the command line sees it: a Unix socket that speaks HTTP and answers what a test recorded. Knows no rule.

The transport is real, the logic is absent: what is tested here is the command line, never what a node would decide.
"""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socket import SHUT_RDWR, socket
from types import TracebackType
from typing import Any, Self, cast

from nodes.sockets import LocalListener

Document = dict[str, Any]


@dataclass(frozen=True)
class Recorded:
    """One answer. `lines` answers as a stream; `lost` closes the line after the request instead."""

    document: Document = field(default_factory=dict)
    exit: int = 0
    extra: Document = field(default_factory=dict)
    status: int = 200
    body: bytes | None = None
    lines: Iterable[Document] | None = None
    lost: bool = False


Reply = Recorded | Callable[[Document], Recorded]


class RecordedNode:
    """Listens at DIR/run/node.sock until closed. `requests` holds (operation, arguments) in the order they came."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.requests: list[tuple[str, Document]] = []
        self.replies: dict[str, Reply] = {}
        (directory / "run").mkdir(parents=True, exist_ok=True)
        (directory / "node.toml").touch()
        self._listener = LocalListener(directory / "run" / "node.sock")
        self._listener.socket.setblocking(True)
        self._server = _Server(self)
        self._server.socket.close()
        self._server.socket = self._listener.socket
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def answers(self, operation: str, document: Document | None = None, exit_: int = 0, **more: Any) -> None:
        """Record what `operation` is answered from now on."""
        self.replies[operation] = Recorded(document or {}, exit_, **more)

    def asked(self, operation: str) -> Document:
        """Arguments of the last request of that name."""
        return next(arguments for name, arguments in reversed(self.requests) if name == operation)

    def close(self) -> None:
        """Stop listening; the socket is removed."""
        self._server.shutdown()
        self._thread.join()
        self._listener.close()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = True

    def __init__(self, node: RecordedNode) -> None:
        super().__init__("", _Handler, bind_and_activate=False)
        self.node = node


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        node = cast(_Server, self.server).node
        arguments = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        operation = self.path.removeprefix("/v1/")
        node.requests.append((operation, arguments))
        reply = node.replies[operation]
        recorded = reply(arguments) if callable(reply) else reply
        if recorded.lost:
            cast(socket, self.connection).shutdown(SHUT_RDWR)
            self.close_connection = True
        elif recorded.lines is not None:
            self._stream(recorded.lines)
        else:
            body = recorded.body
            if body is None:
                whole = {"exit": recorded.exit, "document": recorded.document, **recorded.extra}
                body = json.dumps(whole, ensure_ascii=False).encode() + b"\n"
            self.send_response(recorded.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def _stream(self, lines: Iterable[Document]) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for document in lines:
            line = json.dumps(document, ensure_ascii=False).encode() + b"\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def address_string(self) -> str:
        return "operator"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # its name in the standard library
        """Say nothing: a test's output is its own."""
