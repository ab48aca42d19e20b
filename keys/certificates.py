"""Owns an agency's TLS certificates and the question who issued a leaf; knows no context and no socket.

P-256, because every TLS stack, proxy and HSM speaks it; roots carry the extensions that strict verification asks for
(VERIFY_X509_STRICT: key identifiers, key usage, basic constraints). Validity dates are written for tools that look at
them and are not what trust rests on: a pinned root is trusted until its peer is suspended or an anchor names another.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from keys.errors import BadKeyError
from keys.ids import AgencyId

TlsPrivateKey: TypeAlias = ec.EllipticCurvePrivateKey

ROOT_LIFE_DAYS: Final = 3652
LEAF_LIFE_DAYS: Final = 365
MAX_CERTIFICATE_BYTES: Final = 4096

# What cryptography raises about a certificate that somebody made up. Its X.509 errors share no base with the others,
# and an algorithm that it does not know is here one more way in which the bytes are wrong.
_REFUSALS = (
    InvalidSignature,
    UnsupportedAlgorithm,
    ValueError,
    TypeError,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


def make_tls_root(agency: AgencyId, now: int) -> tuple[bytes, TlsPrivateKey]:
    """A fresh TLS root of `agency`: (certificate DER, private key). CA with path length 0, ten years from `now` (ms).

    Its name constraint lets it vouch for the agency's own name only: a second line, the first being that a peer is
    known by the root that issued its leaf and never by a name.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, agency),
            x509.NameAttribute(NameOID.COMMON_NAME, "Tocsin TLS root"),
        ]
    )
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        _builder(subject, subject, key, now, ROOT_LIFE_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.NameConstraints([x509.DNSName(agency)], None), critical=True)
        .add_extension(key_id, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id), critical=False)
    )
    return _signed(builder, key), key


def make_tls_leaf(
    agency: AgencyId, root_cert_der: bytes, root_key: TlsPrivateKey, now: int
) -> tuple[bytes, TlsPrivateKey]:
    """A fresh leaf for both sides of TLS, issued directly by the root: (certificate DER, private key).

    Raises:
        BadKeyError: `root_cert_der` is not a TLS root, or not that of `root_key`.
    """
    root = _parse_tls_root(root_cert_der)
    if root.public_key() != root_key.public_key():
        raise BadKeyError("p-256", "not_its_key")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, agency)])
    root_id = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        _builder(subject, root.subject, key, now, LEAF_LIFE_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(agency)]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(root_id), critical=False)
    )
    return _signed(builder, root_key), key


def check_tls_root(root_der: bytes) -> bytes:
    """`root_der` itself, if it can stand in an anchor: P-256, CA, may sign certificates, signed by
    its own key, with a key identifier.

    An anchor's roots are handed to the TLS library together: one that does not parse must not take the others with it.

    Raises:
        BadKeyError: anything else.
    """
    _parse_tls_root(root_der)
    return root_der


def is_issued_by(leaf_der: bytes, root_der: bytes) -> bool:
    """Whether exactly this root's key signed this leaf. False too for what is no certificate: peers send anything."""
    if max(len(leaf_der), len(root_der)) > MAX_CERTIFICATE_BYTES:
        return False
    try:
        leaf = x509.load_der_x509_certificate(leaf_der)
        leaf.verify_directly_issued_by(x509.load_der_x509_certificate(root_der))
    except _REFUSALS:
        return False
    return True


def certificate_names(certificate_der: bytes) -> tuple[x509.Name, x509.Name]:
    """Subject and issuer of a certificate. Raises BadKeyError if it is none."""
    certificate = _parse(certificate_der)
    try:
        return certificate.subject, certificate.issuer
    except _REFUSALS as error:  # names are read when they are asked for
        raise BadKeyError("p-256", "not_a_certificate") from error


def certificate_pem(certificate_der: bytes) -> bytes:
    """The certificate in PEM, as ssl wants it. Raises BadKeyError if it is none."""
    return _parse(certificate_der).public_bytes(serialization.Encoding.PEM)


def encrypted_key_pem(key: TlsPrivateKey, password: bytes) -> bytes:
    """PKCS#8 PEM under `password`, for ssl.load_cert_chain only.

    PKCS#8's 2,048 rounds of PBKDF2 stop nobody from guessing a person's password: `password` is 256 random bits as
    text.
    """
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password),
    )


def key_to_der(key: TlsPrivateKey) -> bytes:
    """PKCS#8 DER in clear: goes into a sealed file only."""
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def key_from_der(der: bytes) -> TlsPrivateKey:
    """The inverse of `key_to_der`. Raises BadKeyError."""
    try:
        key = serialization.load_der_private_key(der, password=None)
    except _REFUSALS as error:
        raise BadKeyError("p-256", "not_a_key") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise BadKeyError("p-256", "not_a_key")
    return key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: TlsPrivateKey, now: int, life_days: int
) -> x509.CertificateBuilder:
    # A day back: a peer whose clock is slow still finds the certificate valid, should its tools look.
    not_before = datetime.fromtimestamp(now // 1000, UTC) - timedelta(days=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_before + timedelta(days=1 + life_days))
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _signed(builder: x509.CertificateBuilder, key: TlsPrivateKey) -> bytes:
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def _parse(certificate_der: bytes) -> x509.Certificate:
    if len(certificate_der) > MAX_CERTIFICATE_BYTES:
        raise BadKeyError("p-256", "wrong_length")
    try:
        return x509.load_der_x509_certificate(certificate_der)
    except _REFUSALS as error:
        raise BadKeyError("p-256", "not_a_certificate") from error


def _parse_tls_root(root_der: bytes) -> x509.Certificate:
    root = _parse(root_der)
    try:
        key = root.public_key()
        constraints = root.extensions.get_extension_for_class(x509.BasicConstraints).value
        root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        usage = root.extensions.get_extension_for_class(x509.KeyUsage).value
        root.verify_directly_issued_by(root)
    except _REFUSALS as error:
        raise BadKeyError("p-256", "not_a_tls_root") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise BadKeyError("p-256", "not_a_tls_root")
    if not constraints.ca or not usage.key_cert_sign:  # OpenSSL's strict check refuses such a root, without a word
        raise BadKeyError("p-256", "not_a_tls_root")
    return root
