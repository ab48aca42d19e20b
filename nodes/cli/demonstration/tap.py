"""A wire tap between nodes: forwards TCP and keeps every byte that passed. Owns the line; it understands nothing of
it.
"""

from __future__ import annotations

import contextlib
import socket
import threading


class Tap:
    """Listens on a port of its own and forwards to `target`; `seen` is everything that went through, both ways."""

    def __init__(self, target_port: int) -> None:
        self._target = ("127.0.0.1", target_port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.seen = bytearray()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop taking connections."""
        with contextlib.suppress(OSError):
            self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listening.accept()
            except OSError:
                return
            try:
                target = socket.create_connection(self._target, timeout=5)
            except OSError:
                caller.close()  # the node behind is down: the caller sees a closed line, as on a real one
                continue
            for connection in (caller, target):
                connection.settimeout(None)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for source, sink in ((caller, target), (target, caller)):
                threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                with self._lock:
                    self.seen += data
                sink.sendall(data)
        for connection in (source, sink):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
