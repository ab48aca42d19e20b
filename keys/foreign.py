"""Owns the edge to the cryptographic libraries: which of their errors mean a refusal; knows no key and no format.

PyNaCl raises its own family (and, from some calls, builtins), cryptography raises InvalidSignature, InvalidTag and
ValueError. All of these are about the bytes given, their length included. Anything else (an algorithm that the
installed OpenSSL lacks, memory) is no verdict on the bytes and passes through.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cryptography.exceptions import InvalidSignature, InvalidTag
from nacl.exceptions import CryptoError

from keys.errors import KeysError


@contextmanager
def refusals_as(error: KeysError) -> Iterator[None]:
    """Raise `error` instead of what a library raises about the bytes it was given."""
    try:
        yield
    except (InvalidSignature, InvalidTag, CryptoError, ValueError) as foreign:
        raise error from foreign
