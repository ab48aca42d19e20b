"""PROTOCOL §13: certificates that strict TLS takes, and the question which root issued a leaf."""

from __future__ import annotations

import ssl
import warnings
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from keys.certificates import (
    MAX_CERTIFICATE_BYTES,
    TlsPrivateKey,
    certificate_names,
    certificate_pem,
    check_tls_root,
    encrypted_key_pem,
    is_issued_by,
    key_from_der,
    key_to_der,
    make_tls_leaf,
    make_tls_root,
)
from keys.errors import BadKeyError
from keys.ids import AgencyId
from tests.keys.builders import BKA, DAY_MS, NOW, PONAL

NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME; the ssl module has no name for it
PASSWORD = b"a" * 64

ROOT, ROOT_KEY = make_tls_root(BKA, NOW)
LEAF, LEAF_KEY = make_tls_leaf(BKA, ROOT, ROOT_KEY, NOW)
OTHER_ROOT, OTHER_KEY = make_tls_root(PONAL, NOW)
OTHER_LEAF, OTHER_LEAF_KEY = make_tls_leaf(PONAL, OTHER_ROOT, OTHER_KEY, NOW)


def context(side: int, path: Path, leaf: bytes, key: TlsPrivateKey, trusted: bytes) -> ssl.SSLContext:
    """As PROTOCOL §13 asks for it: TLS 1.3, both sides authenticate, strict, dates not looked at."""
    path.write_bytes(certificate_pem(leaf) + encrypted_key_pem(key, PASSWORD))
    made = ssl.SSLContext(side)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.verify_mode = ssl.CERT_REQUIRED
    made.verify_flags |= ssl.VERIFY_X509_STRICT | NO_CHECK_TIME
    made.load_cert_chain(path, password=PASSWORD)
    made.load_verify_locations(cadata=trusted)
    return made


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> tuple[bytes, bytes]:
    """What each side saw of the other: (the client's leaf, the server's leaf). Raises ssl.SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client_side = client.wrap_bio(to_client, to_server, server_hostname=name)
    server_side = server.wrap_bio(to_server, to_client, server_side=True)
    done: set[ssl.SSLObject] = set()
    for _ in range(10):
        for side in (client_side, server_side):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                continue
        if len(done) == 2:
            break
    from_client, from_server = server_side.getpeercert(True), client_side.getpeercert(True)
    assert from_client is not None
    assert from_server is not None
    return from_client, from_server


@pytest.mark.parametrize(
    "agency", ["bka.de", "interpol.int", "abc", "a-b.c-d", "0.0", "x" * 63, "x" * 31 + "." + "y" * 32]
)
def test_two_agencies_shake_hands_under_strict_verification(agency: str, tmp_path: Path) -> None:
    root, root_key = make_tls_root(AgencyId(agency), NOW)
    leaf, leaf_key = make_tls_leaf(AgencyId(agency), root, root_key, NOW)
    server = context(ssl.PROTOCOL_TLS_SERVER, tmp_path / "server", leaf, leaf_key, OTHER_ROOT)
    client = context(ssl.PROTOCOL_TLS_CLIENT, tmp_path / "client", OTHER_LEAF, OTHER_LEAF_KEY, root)
    assert shake_hands(server, client, agency) == (OTHER_LEAF, leaf)


def test_an_agency_whose_certificates_ran_out_long_ago_still_shakes_hands(tmp_path: Path) -> None:
    long_ago = NOW - 20 * 365 * DAY_MS
    root, root_key = make_tls_root(BKA, long_ago)
    leaf, leaf_key = make_tls_leaf(BKA, root, root_key, long_ago)
    server = context(ssl.PROTOCOL_TLS_SERVER, tmp_path / "server", leaf, leaf_key, OTHER_ROOT)
    client = context(ssl.PROTOCOL_TLS_CLIENT, tmp_path / "client", OTHER_LEAF, OTHER_LEAF_KEY, root)
    assert shake_hands(server, client, BKA) == (OTHER_LEAF, leaf)


def test_an_agency_that_is_not_trusted_does_not_get_in(tmp_path: Path) -> None:
    server = context(ssl.PROTOCOL_TLS_SERVER, tmp_path / "server", LEAF, LEAF_KEY, ROOT)
    client = context(ssl.PROTOCOL_TLS_CLIENT, tmp_path / "client", OTHER_LEAF, OTHER_LEAF_KEY, ROOT)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server, client, BKA)


def test_a_root_does_not_vouch_for_another_agency(tmp_path: Path) -> None:
    leaf, leaf_key = make_tls_leaf(PONAL, ROOT, ROOT_KEY, NOW)
    server = context(ssl.PROTOCOL_TLS_SERVER, tmp_path / "server", leaf, leaf_key, OTHER_ROOT)
    client = context(ssl.PROTOCOL_TLS_CLIENT, tmp_path / "client", OTHER_LEAF, OTHER_LEAF_KEY, ROOT)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server, client, PONAL)


def test_certificates_say_what_the_protocol_asks_for() -> None:
    root, leaf = x509.load_der_x509_certificate(ROOT), x509.load_der_x509_certificate(LEAF)
    constraints = root.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [BKA]
    assert [name.value for name in leaf.subject] == [BKA]
    assert leaf.issuer == root.subject
    assert leaf.subject != root.subject
    assert leaf.not_valid_before_utc.timestamp() * 1000 == NOW - DAY_MS
    lived = root.not_valid_after_utc - root.not_valid_before_utc
    assert 3650 <= lived.days <= 3660
    for certificate in (root, leaf):
        key = certificate.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert isinstance(key.curve, ec.SECP256R1)


def extensions_of(certificate: x509.Certificate) -> dict[str, bool]:
    """Which extensions it has, and whether each is critical."""
    return {extension.oid._name: extension.critical for extension in certificate.extensions}


def test_extensions_are_critical_where_a_reader_must_not_pass_over_them() -> None:
    made, key = make_tls_root(BKA, NOW)
    root = x509.load_der_x509_certificate(made)
    leaf = x509.load_der_x509_certificate(make_tls_leaf(BKA, made, key, NOW)[0])
    assert extensions_of(root) == {
        "basicConstraints": True,
        "keyUsage": True,
        "nameConstraints": True,
        "subjectKeyIdentifier": False,
        "authorityKeyIdentifier": False,
    }
    assert extensions_of(leaf) == {
        "basicConstraints": True,
        "keyUsage": True,
        "extendedKeyUsage": False,
        "subjectAltName": False,
        "subjectKeyIdentifier": False,
        "authorityKeyIdentifier": False,
    }
    assert root.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(True, 0)
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(False, None)
    assert root.extensions.get_extension_for_class(x509.KeyUsage).value == key_usage(signs_certificates=True)
    assert leaf.extensions.get_extension_for_class(x509.KeyUsage).value == key_usage(signs_certificates=False)
    assert [name.value for name in root.subject] == [BKA, "Tocsin TLS root"]


def test_certificates_are_valid_from_a_day_back_and_for_their_years() -> None:
    made, key = make_tls_root(BKA, NOW)
    for der, days in ((made, 3652), (make_tls_leaf(BKA, made, key, NOW)[0], 365)):
        certificate = x509.load_der_x509_certificate(der)
        assert certificate.not_valid_before_utc.timestamp() * 1000 == NOW - DAY_MS
        assert certificate.not_valid_after_utc.timestamp() * 1000 == NOW + days * DAY_MS


def test_a_leaf_is_known_by_the_key_that_issued_it_and_by_no_name() -> None:
    same_name_root, same_name_key = make_tls_root(BKA, NOW)
    same_name_leaf, _ = make_tls_leaf(BKA, same_name_root, same_name_key, NOW)
    assert is_issued_by(LEAF, ROOT)
    assert is_issued_by(same_name_leaf, same_name_root)
    assert not is_issued_by(same_name_leaf, ROOT)
    assert not is_issued_by(LEAF, same_name_root)
    assert not is_issued_by(LEAF, OTHER_ROOT)
    assert not is_issued_by(OTHER_LEAF, ROOT)
    assert not is_issued_by(ROOT, LEAF)


def test_a_renewed_leaf_has_a_key_of_its_own_and_the_same_root() -> None:
    renewed, renewed_key = make_tls_leaf(BKA, ROOT, ROOT_KEY, NOW + 90 * DAY_MS)
    assert is_issued_by(renewed, ROOT)
    assert renewed_key.public_key() != LEAF_KEY.public_key()


def test_a_leaf_is_made_only_with_the_key_of_its_root() -> None:
    with pytest.raises(BadKeyError) as caught:
        make_tls_leaf(BKA, ROOT, OTHER_KEY, NOW)
    assert (caught.value.algorithm, caught.value.rule) == ("p-256", "not_its_key")
    with pytest.raises(BadKeyError):
        make_tls_leaf(BKA, LEAF, LEAF_KEY, NOW)
    with pytest.raises(BadKeyError):
        make_tls_leaf(BKA, b"", ROOT_KEY, NOW)


def other_root(kind: str, padding: int = 0) -> bytes:
    """A self-signed certificate with one thing that a TLS root must not have."""
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey = ec.generate_private_key(
        ec.SECP384R1() if kind == "another curve" else ec.SECP256R1()
    )
    if kind == "another algorithm":
        key = ed25519.Ed25519PrivateKey.generate()
    root = x509.load_der_x509_certificate(ROOT)
    builder = (
        x509.CertificateBuilder()
        .subject_name(root.subject)
        .issuer_name(root.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(root.not_valid_before_utc)
        .not_valid_after(root.not_valid_after_utc)
    )
    if kind != "no basic constraints":
        builder = builder.add_extension(
            x509.BasicConstraints(ca=kind != "no authority", path_length=None), critical=True
        )
    if kind != "no key identifier":
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    if kind != "no key usage":
        builder = builder.add_extension(key_usage(signs_certificates=kind != "may not sign"), critical=True)
    if padding:
        builder = builder.add_extension(
            x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), bytes(padding)), critical=False
        )
    algorithm = None if kind == "another algorithm" else hashes.SHA256()
    signer = ROOT_KEY if kind == "signed by another" else key
    return builder.sign(signer, algorithm).public_bytes(serialization.Encoding.DER)


def key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def test_the_builder_of_bad_roots_makes_a_good_one_too() -> None:
    good = other_root("nothing wrong")
    assert check_tls_root(good) == good


@pytest.mark.parametrize(
    "kind",
    [
        "another curve",
        "another algorithm",
        "no basic constraints",
        "no authority",
        "no key identifier",
        "no key usage",
        "may not sign",
        "signed by another",
    ],
)
def test_a_certificate_that_cannot_stand_in_an_anchor_is_refused(kind: str) -> None:
    with pytest.raises(BadKeyError) as caught:
        check_tls_root(other_root(kind))
    assert (caught.value.algorithm, caught.value.rule) == ("p-256", "not_a_tls_root")


@pytest.mark.parametrize("der", [b"", b"\x30\x00", b"root", ROOT[:-1], ROOT + b"\x00", certificate_pem(ROOT)])
def test_what_is_no_certificate_is_refused(der: bytes) -> None:
    with pytest.raises(BadKeyError) as caught:
        check_tls_root(der)
    assert (caught.value.algorithm, caught.value.rule) == ("p-256", "not_a_certificate")


def test_a_leaf_is_no_root() -> None:
    with pytest.raises(BadKeyError):
        check_tls_root(LEAF)


def test_names_of_a_certificate_are_read_and_where_they_are_none_it_is_no_certificate() -> None:
    subject, issuer = certificate_names(LEAF)
    assert [name.value for name in subject] == [BKA]
    assert issuer == x509.load_der_x509_certificate(ROOT).subject
    at = LEAF.rindex(BKA.encode(), 0, LEAF.index(b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01"))  # before the public key
    unreadable = LEAF[:at] + b"\xff" + LEAF[at + 1 :]  # no UTF-8; the certificate itself still parses
    x509.load_der_x509_certificate(unreadable)
    for der in (unreadable, b"", ROOT[:-1]):
        with pytest.raises(BadKeyError) as caught:
            certificate_names(der)
        assert (caught.value.algorithm, caught.value.rule) == ("p-256", "not_a_certificate")


def certificate_of(length: int, kind: str) -> bytes:
    """A certificate of exactly that length."""
    padding = length // 2
    while len(made := other_root(kind, padding)) != length:  # a signature is a byte longer or shorter each time
        padding += length - len(made)
    return made


def test_a_certificate_may_have_4096_bytes_and_no_more() -> None:
    assert MAX_CERTIFICATE_BYTES == 4096
    assert check_tls_root(longest := certificate_of(4096, "nothing wrong")) == longest
    with pytest.raises(BadKeyError) as caught:
        check_tls_root(certificate_of(4097, "nothing wrong"))
    assert (caught.value.algorithm, caught.value.rule) == ("p-256", "wrong_length")
    assert is_issued_by(certificate_of(4096, "signed by another"), ROOT)
    assert is_issued_by(certificate_of(4097, "signed by another"), ROOT) is False


def judged(der: bytes) -> tuple[bool, bool]:
    """(issued by ROOT, can stand in an anchor); fails if anything but BadKeyError is raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cryptography warns of odd certificates; a node does not make that an error
        try:
            check_tls_root(der)
        except BadKeyError:
            return is_issued_by(der, ROOT), False
        return is_issued_by(der, ROOT), True


@given(st.sampled_from([ROOT, LEAF]), st.data())
def test_a_certificate_altered_in_what_is_signed_is_refused(certificate: bytes, data: st.DataObject) -> None:
    signed = x509.load_der_x509_certificate(certificate).tbs_certificate_bytes
    start = certificate.index(signed)
    altered = bytearray(certificate)
    for at in data.draw(st.sets(st.integers(start, start + len(signed) - 1), min_size=1, max_size=3)):
        altered[at] ^= data.draw(st.integers(1, 255))
    assert judged(bytes(altered)) == (False, False)


@given(st.sampled_from([ROOT, LEAF]), st.data())
def test_a_certificate_altered_anywhere_does_nothing_worse_than_being_refused(
    certificate: bytes, data: st.DataObject
) -> None:
    altered = bytearray(certificate)
    for _ in range(data.draw(st.integers(1, 3))):
        altered[data.draw(st.integers(0, len(altered) - 1))] ^= data.draw(st.integers(1, 255))
    judged(bytes(altered))


@pytest.mark.parametrize("der", [ROOT, LEAF])
def test_every_byte_of_a_certificate_is_judged_without_surprise(der: bytes) -> None:
    """X.509 errors of cryptography have many types and no common one; `InvalidVersion` once got through."""
    for at in range(len(der)):
        judged(der[:at] + bytes([der[at] ^ 1]) + der[at + 1 :])


@given(st.binary(max_size=300))
def test_any_bytes_are_no_certificate_and_do_nothing_worse(der: bytes) -> None:
    assert not is_issued_by(der, ROOT)
    assert not is_issued_by(LEAF, der)
    with pytest.raises(BadKeyError):
        check_tls_root(der)
    with pytest.raises(BadKeyError) as caught:
        key_from_der(der)
    assert (caught.value.algorithm, caught.value.rule) == ("p-256", "not_a_key")


def test_a_key_is_read_back_from_its_der_and_only_a_p_256_key() -> None:
    assert key_to_der(key_from_der(key_to_der(ROOT_KEY))) == key_to_der(ROOT_KEY)
    for other in (ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()):
        der = other.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        with pytest.raises(BadKeyError) as caught:
            key_from_der(der)
        assert (caught.value.algorithm, caught.value.rule) == ("p-256", "not_a_key")
