"""The certificates of PROTOCOL §13."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


def make_tls(agency: str) -> tuple[bytes, bytes, bytes]:
    """Leaf key (PEM), leaf certificate (PEM) and root certificate (DER) of §13."""
    root_key, leaf_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    begin = datetime.now(UTC) - timedelta(days=1)
    root_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"{agency} root")])
    leaf_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, agency)])
    key_cert_sign = x509.KeyUsage(False, False, False, False, False, True, False, False, False)
    root = (
        x509.CertificateBuilder(root_name, root_name, root_key.public_key(), x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(root_key.public_key()), critical=False)
        .add_extension(key_cert_sign, critical=True)
        .sign(root_key, hashes.SHA256())
    )
    leaf = (
        x509.CertificateBuilder(root_name, leaf_name, leaf_key.public_key(), x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(agency)]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    key = leaf_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return key, leaf.public_bytes(Encoding.PEM), root.public_bytes(Encoding.DER)
