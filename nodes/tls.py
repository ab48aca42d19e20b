"""TLS between nodes: whom a connection may come from, and which agency it is (PROTOCOL §13).

Owns the contexts of both sides and the one rule of identity: a peer is the pinned root that directly issued its leaf,
never a name in it. It does not judge trust: roots of pending and suspended peers are in here too, to be answered 403.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from cryptography import x509

from keys.certificates import certificate_names, is_issued_by
from keys.errors import BadKeyError
from keys.ids import AgencyId

# X509_V_FLAG_NO_CHECK_TIME (openssl/x509_vfy.h), which the ssl module does not name. Trust is the pinned root and ends
# by suspension or an anchor: neither a wrong clock nor a forgotten renewal ever costs a message.
_NO_CHECK_TIME = 0x200000
_LEAVES_REMEMBERED = 4_096
_BUILD_OFF_LOOP_ABOVE = 16  # roots; below, a rebuild is shorter than handing it to a thread


_Subject: TypeAlias = tuple[frozenset[tuple[str, str | bytes]], ...]


@dataclass(frozen=True, slots=True)
class OwnLeaf:
    """Files of this node's own TLS leaf (PEM) and its key (PEM, sealed with `password`)."""

    certificate: Path
    key: Path
    password: bytes | None


@dataclass(frozen=True, slots=True)
class PeerRoot:
    """The TLS root that an agency's anchor names. `served`: the peer is trusted, more than 403 awaits it."""

    agency: AgencyId
    der: bytes
    served: bool


@dataclass(frozen=True, slots=True)
class _Trusted:
    """One state of the set: the context, whose root bears which subject, and the leaves identified so far."""

    context: ssl.SSLContext
    by_subject: Mapping[_Subject, PeerRoot]
    seen: dict[bytes, AgencyId | None]


class PeerRoots:
    """The roots that clients may come from, replaceable while connections are accepted."""

    def __init__(self, own: OwnLeaf) -> None:
        """Starts without roots: nobody can connect. Raises ssl.SSLError or OSError when the leaf cannot be loaded."""
        self._own = own
        self._replacing = asyncio.Lock()
        self._trusted = _build(own, ())
        self.front = _server_context(own)
        """Context to listen with. It has no roots: should the swap below ever fail, nobody gets in."""
        self.front.sni_callback = self._swap

    def _swap(self, connection: ssl.SSLObject, name: str | None, front: ssl.SSLContext) -> None:  # noqa: ARG002
        # Called for every handshake, with or without a server name. An exception refuses the connection.
        connection.context = self._trusted.context

    async def replace(self, roots: Iterable[PeerRoot]) -> frozenset[AgencyId]:
        """Make these the roots, from the next handshake on; `identify` follows at once, so live connections do too.

        Returns the agencies whose root is left out, and who therefore cannot connect: it is unreadable, or it bears the
        subject of another agency's root. (OpenSSL picks an issuer by subject before it looks at signatures: a copied
        subject would shut the other agency out. Served peers come first.)
        """
        async with self._replacing:
            wanted = tuple(roots)
            if len(wanted) > _BUILD_OFF_LOOP_ABOVE:
                trusted = await asyncio.to_thread(_build, self._own, wanted)
            else:
                trusted = _build(self._own, wanted)
            self._trusted = trusted
        return frozenset(root.agency for root in wanted) - {root.agency for root in trusted.by_subject.values()}

    def identify(self, leaf: bytes) -> AgencyId | None:
        """The agency whose pinned root directly issued this leaf (DER), or None."""
        trusted = self._trusted
        digest = hashlib.sha256(leaf).digest()
        if digest not in trusted.seen:
            if len(trusted.seen) >= _LEAVES_REMEMBERED:
                trusted.seen.clear()
            trusted.seen[digest] = _issuer(leaf, trusted.by_subject)
        return trusted.seen[digest]


def _issuer(leaf: bytes, by_subject: Mapping[_Subject, PeerRoot]) -> AgencyId | None:
    try:
        _, issuer = certificate_names(leaf)
    except BadKeyError:  # OpenSSL took it, the stricter parser does not
        return None
    root = by_subject.get(_comparable(issuer))
    return root.agency if root is not None and is_issued_by(leaf, root.der) else None


def _comparable(name: x509.Name) -> _Subject:
    """Equal for all names that OpenSSL takes for equal: it ignores case, spaces and the kind of string."""
    return tuple(frozenset((part.oid.dotted_string, _folded(part.value)) for part in rdn) for rdn in name.rdns)


def _folded(value: str | bytes) -> str | bytes:
    return " ".join(value.lower().split()) if isinstance(value, str) else value


def _build(own: OwnLeaf, roots: Iterable[PeerRoot]) -> _Trusted:
    context = _server_context(own)
    by_subject: dict[_Subject, PeerRoot] = {}
    for root in sorted(roots, key=lambda root: (not root.served, root.agency)):
        try:
            name, _ = certificate_names(root.der)
            subject = _comparable(name)
            if subject in by_subject:
                continue
            context.load_verify_locations(cadata=root.der)
        except (BadKeyError, ValueError, ssl.SSLError):
            continue
        by_subject[subject] = root
    return _Trusted(context, by_subject, {})


def _server_context(own: OwnLeaf) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _restrict(context, own)
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0  # a resumed session would keep a suspended peer's identity
    return context


class _CallingContext(ssl.SSLContext):
    """Asks for one server by the agency's id, whatever host the URL names and whatever its caller believes."""

    server: bytes | None = None

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,  # noqa: ARG002 # the URL's host
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        return super().wrap_bio(incoming, outgoing, server_side, self.server, session)


def client_context(own: OwnLeaf, agency: AgencyId, root: bytes) -> ssl.SSLContext:
    """Context for calling the one peer whose TLS root (DER) this is. Opens the key file: call it off the loop.

    The name in the leaf is checked as well, where the id can be the name of a server; the root alone decides.

    Raises:
        ssl.SSLError, OSError: the own leaf cannot be loaded.
        ValueError: `root` is no certificate.
    """
    context = _CallingContext(ssl.PROTOCOL_TLS_CLIENT)  # CERT_REQUIRED, names checked
    _restrict(context, own)
    if agency.startswith(".") or _is_address(agency):  # ids by PROTOCOL §2, but OpenSSL takes neither for a name
        context.check_hostname = False
    else:
        context.server = agency.encode()  # as bytes: not every id passes Python's IDNA encoder
    try:
        context.load_verify_locations(cadata=root)
    except ssl.SSLError as problem:
        raise ValueError("not a certificate") from problem
    return context


def _is_address(agency: str) -> bool:
    try:
        ipaddress.ip_address(agency)
    except ValueError:
        return False
    return True


def _restrict(context: ssl.SSLContext, own: OwnLeaf) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= ssl.VERIFY_X509_STRICT | _NO_CHECK_TIME
    # Never without a password: OpenSSL would ask for it on the terminal, where a daemon has nobody to answer.
    context.load_cert_chain(own.certificate, own.key, own.password or b"")
