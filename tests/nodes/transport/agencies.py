"""Agencies with TLS roots and leaves for tests, their files as the keystore leaves them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from keys.certificates import certificate_pem, encrypted_key_pem, make_tls_leaf, make_tls_root
from keys.ids import AgencyId, parse_agency_id
from nodes.peer_client import PeerTarget
from nodes.tls import OwnLeaf, PeerRoot

NOW = 1_795_420_800_000  # 2026-11-23
YEAR_MS = 365 * 86_400_000


@dataclass(frozen=True)
class Agency:
    """One agency's TLS identity."""

    id: AgencyId
    root: bytes
    root_key: ec.EllipticCurvePrivateKey
    leaf: bytes
    own: OwnLeaf

    def pinned(self, *, served: bool = True) -> PeerRoot:
        """As others pin it."""
        return PeerRoot(self.id, self.root, served)

    def target(self, port: int) -> PeerTarget:
        """As others call it."""
        return PeerTarget(self.id, f"https://127.0.0.1:{port}", self.root)


def make_agency(name: str, directory: Path, *, now: int = NOW) -> Agency:
    """An agency whose certificates were made at `now`."""
    agency = parse_agency_id(name)
    root, root_key = make_tls_root(agency, now)
    return _with_leaf(agency, agency, root, root_key, directory, now)


def make_liar(name: str, claimed: str, directory: Path) -> Agency:
    """An agency whose root vouches for any name, and whose leaf says `claimed`."""
    agency = parse_agency_id(name)
    root, root_key = make_tls_root(agency, NOW)
    root = signed_anew(root, root_key, constrained=False)
    return _with_leaf(agency, parse_agency_id(claimed), root, root_key, directory, NOW)


def signed_anew(
    root: bytes, key: ec.EllipticCurvePrivateKey, *, subject: x509.Name | None = None, constrained: bool = True
) -> bytes:
    """The same certificate, signed by `key` for `key`, with another subject or without its name constraints."""
    model = x509.load_der_x509_certificate(root)
    name = subject or model.subject
    builder = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(model.serial_number)
        .not_valid_before(model.not_valid_before_utc)
        .not_valid_after(model.not_valid_after_utc)
    )
    for extension in model.extensions:
        if constrained or not isinstance(extension.value, x509.NameConstraints):
            builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def _with_leaf(
    agency: AgencyId, leaf_name: AgencyId, root: bytes, root_key: ec.EllipticCurvePrivateKey, directory: Path, now: int
) -> Agency:
    leaf, key = make_tls_leaf(leaf_name, root, root_key, now)
    stem = directory / hashlib.sha256(leaf).hexdigest()
    own = OwnLeaf(stem.with_suffix(".pem"), stem.with_suffix(".key"), b"as the keystore derives it")
    own.certificate.write_bytes(certificate_pem(leaf))
    own.key.write_bytes(encrypted_key_pem(key, b"as the keystore derives it"))
    return Agency(agency, root, root_key, leaf, own)
