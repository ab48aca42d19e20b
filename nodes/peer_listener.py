"""Accepting connections from the network under limits, up to the end of the TLS handshake. Knows no HTTP and no peer.

The listening loop is our own, because asyncio's servers say neither who connects before the handshake nor how it ended:
a stranger's handshakes are counted by address, and closed before TLS where there is no room.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from nodes.budgets import Bucket
from nodes.errors import ListenError
from nodes.logging import get_logger
from nodes.metrics import Metrics

_BACKLOG: Final = 512
_OUT_OF_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE_S: Final = 0.5
_HANDSHAKE_BURST_S: Final = 8.0
_MOST_RATES: Final = 4_096
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")

log = get_logger("peer_listener")


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How many connections, how long a handshake."""

    connections: int = 1_024
    connections_per_address: int = 128  # in the handshake
    handshakes_per_s: float = 32.0  # of one address, and eight seconds of it at once: each costs a signature
    handshake_s: float = 10.0
    shutdown_s: float = 3.0  # for what is still to be sent and the peer's close_notify, then the line is cut


class PeerListener:
    """Listens on one address and hands each connection whose handshake succeeds to a protocol of `make_protocol`."""

    def __init__(
        self,
        make_protocol: Callable[[], asyncio.Protocol],
        places_taken: Callable[[], tuple[int, int]],
        context: ssl.SSLContext,
        metrics: Metrics,
        limits: ConnectionLimits,
    ) -> None:
        """`places_taken` says how many of the protocols made are still connected: with peers that are served, and with
        others.
        """
        self._make_protocol = make_protocol
        self._places_taken = places_taken
        self._context = context
        self._metrics = metrics
        self._limits = limits
        self._sockets: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._pending = Counter[str]()  # handshakes, by address
        self._rates: dict[str, Bucket] = {}  # of addresses that called lately

    async def start(self, host: str, port: int) -> int:
        """Listen; port 0 takes a free one. Returns the port.

        Raises:
            ListenError: the address is taken, not ours, or none.
        """
        loop = asyncio.get_running_loop()
        sockets: list[socket.socket] = []
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            for family, _, _, _, address in found if port else found[:1]:
                sockets.append(_listen(family, address))
        except OSError as problem:
            for listening in sockets:
                listening.close()
            raise ListenError(f"{host}:{port}", problem.strerror or "no such address") from problem
        self._sockets += sockets
        for listening in sockets:
            self._keep(loop.create_task(self._accept(listening)))
        return int(sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Accept nothing more and give up the handshakes in progress. Connections that are up stay up."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for listening in self._sockets:
            listening.close()
        self._sockets.clear()

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, (address, *_) = await loop.sock_accept(listening)
            except OSError as problem:
                if problem.errno in _OUT_OF_RESOURCES:  # else the caller has gone again
                    self._metrics.connections_refused.add("resources")
                    log.warning("accept.out_of_resources", errno=problem.errno)
                    await asyncio.sleep(
                        _PAUSE_S
                    )  # it stays readable: without a pause this loop would take the processor
                continue
            reason = self._no_room(address)
            if reason is None:
                self._pending[address] += 1
                self._keep(loop.create_task(self._handshake(connection, address)))
            else:
                self._metrics.connections_refused.add(reason)
                connection.close()  # before TLS: the caller sees a broken line, not distrust

    def _no_room(self, address: str) -> str | None:
        pending = self._pending.total()
        if self._pending[address] >= self._limits.connections_per_address:
            return "address"
        if self._calls_too_often(network_of(address)):
            return "rate"
        # Half of all is kept for those who have shown who they are and are served.
        served, unserved = self._places_taken()
        others = pending + unserved
        if others >= self._limits.connections // 2 or served + others >= self._limits.connections:
            return "connections"
        return None

    def _calls_too_often(self, network: str) -> bool:
        now = asyncio.get_running_loop().time()
        if len(self._rates) >= _MOST_RATES:
            owing = [(known, bucket) for known, bucket in self._rates.items() if not bucket.is_full(now)]
            self._rates = dict(owing[-_MOST_RATES // 2 :])
        rate = self._limits.handshakes_per_s
        bucket = self._rates.setdefault(network, Bucket(rate, rate * _HANDSHAKE_BURST_S, now))
        if bucket.wait(now) > 0:
            return True
        bucket.spend(1, now)
        return False

    async def _handshake(self, connection: socket.socket, address: str) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().connect_accepted_socket(
                self._make_protocol,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=self._limits.handshake_s,
                ssl_shutdown_timeout=self._limits.shutdown_s,
            )
        except OSError as problem:
            self._metrics.tls_refused.add(_how_it_ended(problem))
        finally:
            self._pending[address] -= 1
            self._pending += Counter()  # drops the zeros


def _listen(family: int, address: Any) -> socket.socket:  # a sockaddr: its form depends on the family
    both = family == socket.AF_INET6 and address[0] == "::" and socket.has_dualstack_ipv6()
    listening = socket.create_server(
        address[:2], family=socket.AddressFamily(family), backlog=_BACKLOG, dualstack_ipv6=both
    )
    listening.setblocking(False)
    return listening


def network_of(address: str) -> str:
    """Who calls, as far as strangers can be told apart: an IPv6 host has 2^64 addresses to call from. An IPv4 caller is
    itself, also where it appears inside IPv6 (RFC 4291 §2.5.5.2, RFC 6052): else all of them would be one.
    """
    caller = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(caller, ipaddress.IPv4Address):
        return address
    if caller.ipv4_mapped is not None:
        return str(caller.ipv4_mapped)
    if caller in _NAT64:
        return str(ipaddress.IPv4Address(int(caller) & 0xFFFF_FFFF))
    return str(ipaddress.ip_network((caller, 64), strict=False))


def _how_it_ended(problem: OSError) -> str:
    match problem:
        case ssl.SSLCertVerificationError():
            return "certificate"
        case ssl.SSLError():
            return "protocol"
        case ConnectionAbortedError():  # asyncio's word for its own deadline
            return "timeout"
        case _:
            return "closed"
