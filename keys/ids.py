"""Owns the names of agencies, gateways, logs, messages and envelopes (PROTOCOL §2); knows no key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NewType

from keys.errors import EncodingError

AgencyId = NewType("AgencyId", str)
GatewayName = NewType("GatewayName", str)
MessageId = NewType("MessageId", bytes)
EnvelopeId = NewType("EnvelopeId", bytes)

ID_BYTES: Final = 16

_AGENCY_ID = re.compile(r"[a-z0-9.-]{3,64}", re.ASCII)
_GATEWAY_NAME = re.compile(r"[a-z0-9-]{1,16}", re.ASCII)
_GENERATION = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_MAX_GENERATION = 2**63 - 1


def parse_agency_id(text: str) -> AgencyId:
    """An agency id such as `bka.de`. Raises EncodingError (`agency_id`)."""
    if _AGENCY_ID.fullmatch(text) is None:
        raise EncodingError("agency_id")
    return AgencyId(text)


def parse_gateway_name(text: str) -> GatewayName:
    """A gateway name such as `gw1`. Raises EncodingError (`gateway_name`)."""
    if _GATEWAY_NAME.fullmatch(text) is None:
        raise EncodingError("gateway_name")
    return GatewayName(text)


def parse_uuid(text: str) -> bytes:
    """The 16 bytes of a message or envelope id. Only the lower-case form with hyphens: one id, one spelling.

    Raises:
        EncodingError: any other text (`uuid`).
    """
    if _UUID.fullmatch(text) is None:
        raise EncodingError("uuid")
    return bytes.fromhex(text.replace("-", ""))


def format_uuid(data: bytes) -> str:
    """16 bytes as lower-case UUID text. Raises EncodingError (`uuid`) for another length."""
    if len(data) != ID_BYTES:
        raise EncodingError("uuid")
    text = data.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


@dataclass(frozen=True, slots=True)
class Origin:
    """Which log: an agency's gateway and the generation of its log."""

    agency: AgencyId
    gateway: GatewayName
    generation: int

    @property
    def name(self) -> str:
        """The key name of checkpoints, `bka.de/gw1/1`."""
        return f"{self.agency}/{self.gateway}/{self.generation}"


def parse_origin(text: str) -> Origin:
    """The origin of that name; generation in decimal, from 1, without leading zero. Raises EncodingError."""
    parts = text.split("/")
    if len(parts) != 3:
        raise EncodingError("origin")
    agency, gateway, generation = parts
    if _GENERATION.fullmatch(generation) is None or int(generation) > _MAX_GENERATION:
        raise EncodingError("origin")
    return Origin(parse_agency_id(agency), parse_gateway_name(gateway), int(generation))
