"""The set of roots: who is identified as whom, what a copied name cannot do, and that nothing is resumed."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from keys.certificates import make_tls_leaf, make_tls_root
from keys.ids import AgencyId
from nodes.tls import OwnLeaf, PeerRoot, PeerRoots, client_context
from tests.nodes.transport.agencies import NOW, Agency, make_agency, signed_anew


class Lines:
    """Both ends of a TLS connection in memory."""

    def __init__(self, server: ssl.SSLContext, client: ssl.SSLContext, session: ssl.SSLSession | None = None) -> None:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = server.wrap_bio(to_server, to_client, server_side=True)
        self.client = client.wrap_bio(to_client, to_server, server_hostname="any", session=session)

    def shake_hands(self) -> Lines:
        """Raises ssl.SSLError where one side refuses the other."""
        waiting = [self.client, self.server]
        for _ in range(20):
            for end in tuple(waiting):
                try:
                    end.do_handshake()
                    waiting.remove(end)
                except ssl.SSLWantReadError:
                    pass
            if not waiting:
                return self
        raise AssertionError("the handshake does not end")

    def exchange(self) -> None:
        """A byte each way: what comes after the handshake (session tickets) comes now."""
        self.client.write(b"?")
        assert self.server.read(1) == b"?"
        self.server.write(b"!")
        assert self.client.read(1) == b"!"

    @property
    def leaf(self) -> bytes:
        """The client's, as the server saw it."""
        found = self.server.getpeercert(binary_form=True)
        assert found is not None
        return found


def calls(roots: PeerRoots, caller: Agency, called: Agency) -> Lines:
    return Lines(roots.front, client_context(caller.own, called.id, called.root)).shake_hands()


@pytest.fixture
async def roots(bka: Agency) -> PeerRoots:
    return PeerRoots(bka.own)


# --- who is who -------------------------------------------------------------------------------------------------------


async def test_without_roots_nobody_gets_in(roots: PeerRoots, bka: Agency, ponal: Agency) -> None:
    with pytest.raises(ssl.SSLError):
        calls(roots, ponal, bka)


async def test_only_tls_1_3_is_spoken(roots: PeerRoots, bka: Agency, ponal: Agency) -> None:
    await roots.replace([ponal.pinned()])
    assert calls(roots, ponal, bka).server.version() == "TLSv1.3"
    older = client_context(ponal.own, bka.id, bka.root)
    older.minimum_version = ssl.TLSVersion.TLSv1_2
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        Lines(roots.front, older).shake_hands()


async def test_a_client_without_certificate_is_refused(roots: PeerRoots, bka: Agency, ponal: Agency) -> None:
    await roots.replace([ponal.pinned()])
    anonymous = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anonymous.check_hostname = False
    anonymous.load_verify_locations(cadata=bka.root)
    with pytest.raises(ssl.SSLError):
        Lines(roots.front, anonymous).shake_hands()


async def test_if_the_swap_fails_nobody_gets_in(
    roots: PeerRoots, bka: Agency, ponal: Agency, monkeypatch: pytest.MonkeyPatch
) -> None:
    await roots.replace([ponal.pinned()])
    roots.front.sni_callback = None
    with pytest.raises(ssl.SSLError):
        calls(roots, ponal, bka)


async def test_each_peer_is_the_root_that_issued_its_leaf(
    roots: PeerRoots, bka: Agency, agencies: Callable[[str], Agency]
) -> None:
    peers = [agencies(f"agency{number}.example") for number in range(20)]  # enough to be built off the loop
    assert await roots.replace([peer.pinned() for peer in peers]) == frozenset()
    for peer in peers:
        assert roots.identify(calls(roots, peer, bka).leaf) == peer.id


async def test_a_leaf_that_no_pinned_root_issued_is_nobody_s(roots: PeerRoots, ponal: Agency) -> None:
    assert roots.identify(ponal.leaf) is None
    await roots.replace([ponal.pinned()])
    assert roots.identify(ponal.leaf) == "ponal.co"
    await roots.replace([])
    assert roots.identify(ponal.leaf) is None


async def test_bytes_that_are_no_certificate_are_nobody_s(roots: PeerRoots, ponal: Agency) -> None:
    await roots.replace([ponal.pinned()])
    unheard_of = ponal.leaf.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x12")  # X.509 version 19
    assert unheard_of != ponal.leaf
    for data in (b"", b"no DER", ponal.leaf[:-1], ponal.leaf + b"\0", unheard_of):
        assert roots.identify(data) is None


async def test_a_leaf_of_another_root_with_the_same_name_is_nobody_s(
    roots: PeerRoots, ponal: Agency, tls_directory: Path
) -> None:
    await roots.replace([ponal.pinned()])
    assert roots.identify(make_agency("ponal.co", tls_directory).leaf) is None


async def test_very_many_leaves_do_not_fill_the_memory(
    roots: PeerRoots, ponal: Agency, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nodes.tls._LEAVES_REMEMBERED", 8)
    await roots.replace([ponal.pinned()])
    for number in range(100):
        roots.identify(b"%d" % number)
    assert len(roots._trusted.seen) <= 8
    assert roots.identify(ponal.leaf) == ponal.id


# --- copied roots -----------------------------------------------------------------------------------------------------


def _copy(victim: Agency, thief: AgencyId, *, name: Callable[[str], str] = str) -> PeerRoot:
    """A root with the victim's subject and key identifiers, under a key of the thief's."""
    own_key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.load_der_x509_certificate(victim.root).subject
    renamed = x509.Name([x509.NameAttribute(part.oid, name(str(part.value))) for part in subject])
    return PeerRoot(thief, signed_anew(victim.root, own_key, subject=renamed), served=False)


@pytest.mark.parametrize(
    "name", [str, str.upper, lambda text: f"  {text} ", lambda text: text.replace(" ", "   ")], ids=list("sucw")
)
async def test_a_pending_peer_that_copied_a_root_s_name_shuts_nobody_out(
    name: Callable[[str], str], roots: PeerRoots, bka: Agency, ponal: Agency
) -> None:
    thief = _copy(ponal, AgencyId("aaa.example"), name=name)
    assert await roots.replace([thief, ponal.pinned()]) == {"aaa.example"}
    assert roots.identify(calls(roots, ponal, bka).leaf) == ponal.id


async def test_a_pending_peer_that_copied_a_whole_root_is_not_taken_for_its_owner(
    roots: PeerRoots, bka: Agency, ponal: Agency
) -> None:
    thief = PeerRoot(AgencyId("aaa.example"), ponal.root, served=False)
    assert await roots.replace([thief, ponal.pinned()]) == {"aaa.example"}
    assert roots.identify(calls(roots, ponal, bka).leaf) == ponal.id


async def test_a_root_that_cannot_be_read_takes_no_other_with_it(roots: PeerRoots, bka: Agency, ponal: Agency) -> None:
    broken = PeerRoot(AgencyId("broken.example"), b"\x30\x03\x02\x01", served=True)
    assert await roots.replace([broken, ponal.pinned()]) == {"broken.example"}
    assert roots.identify(calls(roots, ponal, bka).leaf) == ponal.id


async def test_the_last_of_several_replacements_stands(roots: PeerRoots, bka: Agency, ponal: Agency) -> None:
    many = [
        PeerRoot(AgencyId(f"a{n}.example"), make_tls_root(AgencyId(f"a{n}.example"), NOW)[0], True) for n in range(20)
    ]
    await asyncio.gather(roots.replace(many), roots.replace([ponal.pinned()]))
    assert roots.identify(calls(roots, ponal, bka).leaf) == ponal.id


# --- sessions ---------------------------------------------------------------------------------------------------------


async def test_no_session_can_be_resumed(roots: PeerRoots, bka: Agency, ponal: Agency) -> None:
    await roots.replace([ponal.pinned()])
    context = client_context(ponal.own, bka.id, bka.root)
    first = Lines(roots.front, context).shake_hands()
    first.exchange()
    session = first.client.session
    assert session is None or not session.has_ticket
    again = Lines(roots.front, context, session).shake_hands()
    again.exchange()
    assert (again.client.session_reused, again.server.session_reused) == (False, False)


async def test_a_forged_session_is_not_resumed_either(roots: PeerRoots, bka: Agency, ponal: Agency) -> None:
    """A ticket of a server under the same certificate that does give tickets, as a node once may have."""
    await roots.replace([ponal.pinned()])
    generous = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    generous.load_cert_chain(bka.own.certificate, bka.own.key, bka.own.password or b"")
    generous.num_tickets = 2
    context = client_context(ponal.own, bka.id, bka.root)
    earlier = Lines(generous, context).shake_hands()
    earlier.exchange()
    session = earlier.client.session
    assert session is not None
    assert session.has_ticket
    later = Lines(roots.front, context, session).shake_hands()
    assert later.server.session_reused is False
    assert roots.identify(later.leaf) == ponal.id


async def test_the_callers_are_not_told_whom_else_the_node_knows(
    roots: PeerRoots, bka: Agency, ponal: Agency, agencies: Callable[[str], Agency]
) -> None:
    await roots.replace([ponal.pinned(), agencies("met.uk").pinned()])
    messages: list[bytes] = []
    context = client_context(ponal.own, bka.id, bka.root)
    context._msg_callback = lambda *message: messages.append(bytes(message[-1]))  # type: ignore[attr-defined]
    Lines(roots.front, context).shake_hands()
    said = b"".join(messages)
    assert b"bka.de" in said
    assert b"met.uk" not in said


# --- own files --------------------------------------------------------------------------------------------------------


async def test_a_leaf_that_cannot_be_opened_stops_the_start(bka: Agency) -> None:
    for password in (b"another", None):
        with pytest.raises(ssl.SSLError):
            PeerRoots(OwnLeaf(bka.own.certificate, bka.own.key, password))
    with pytest.raises(OSError, match="No such file"):
        PeerRoots(OwnLeaf(bka.own.certificate.with_suffix(".none"), bka.own.key, bka.own.password))


async def test_a_renewed_leaf_needs_no_new_pin(roots: PeerRoots, ponal: Agency) -> None:
    renewed, _ = make_tls_leaf(ponal.id, ponal.root, ponal.root_key, NOW)
    await roots.replace([ponal.pinned()])
    assert roots.identify(ponal.leaf) == roots.identify(renewed) == ponal.id
