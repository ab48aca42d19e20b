"""Owns the form of an endpoint, `https://HOST:PORT` (PROTOCOL §7): our own in node.toml, a peer's in its profile."""

from __future__ import annotations

import re
from urllib.parse import urlsplit


def parse_endpoint(text: str) -> str:
    """The endpoint without a closing slash. What a peer claims is not called without TLS, nor at a path of its choice.

    Raises:
        ValueError: not https, no host or port, or anything more than these.
    """
    parts = urlsplit(text)
    if parts.scheme != "https" or not parts.hostname or not parts.port or re.fullmatch(r"[!-~]+", text) is None:
        raise ValueError("endpoint")
    if parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("endpoint")
    return f"https://{parts.netloc}"
