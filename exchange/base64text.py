"""Owns standard base64 in text (RFC 4648 §4), in its one form; knows nothing of what is encoded."""

from __future__ import annotations

import base64
import binascii

from keys.errors import EncodingError


def encode_base64(data: bytes) -> str:
    """`data` in standard base64 with padding, in one line."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str) -> bytes:
    """The bytes of `text`, which must be what `encode_base64` makes of them: no spaces, no bits left over.

    Raises:
        EncodingError: `base64`.
    """
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise EncodingError("base64") from error
    if encode_base64(data) != text:
        raise EncodingError("base64")
    return data
