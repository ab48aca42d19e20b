"""The line of PROTOCOL §9 and §13: TLS with one pinned root on either side, one request, one answer."""

from __future__ import annotations

import http.client
import http.server
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROUND_CAP = 4_194_304


def tls_context(side: ssl.Purpose, trusted_root: bytes, own: bytes) -> ssl.SSLContext:
    """TLS 1.3 with our key and leaf (PEM), trusting only the pinned root, whatever the time."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if side is ssl.Purpose.CLIENT_AUTH else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    if side is ssl.Purpose.CLIENT_AUTH:
        context.num_tickets = 0
    context.load_verify_locations(cadata=trusted_root)
    with tempfile.TemporaryDirectory() as directory:
        pem = Path(directory, "tls.pem")
        pem.write_bytes(own)
        context.load_cert_chain(pem)
    return context


def post(context: ssl.SSLContext, agency: str, address: tuple[str, int], request: bytes) -> tuple[int, bytes]:
    """`POST /v1/round` to an agency: status and body."""
    with (
        socket.create_connection(address, timeout=30) as plain,
        context.wrap_socket(plain, server_hostname=agency) as line,
    ):
        connection = http.client.HTTPConnection(*address)
        connection.sock = line
        connection.request("POST", "/v1/round", request, {"Content-Type": "application/msgpack"})
        answer = connection.getresponse()
        return answer.status, answer.read(ROUND_CAP + 1)


@contextmanager
def serving(make_context: Callable[[], ssl.SSLContext], answer: Callable[[bytes], bytes]) -> Iterator[int]:
    """Answer requests on a port of 127.0.0.1 (the port is yielded) until the block ends."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            said = answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Type", "application/msgpack")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def finish_request(self, request: Any, client_address: Any) -> None:
            with make_context().wrap_socket(request, server_side=True) as line:
                super().finish_request(line, client_address)

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
