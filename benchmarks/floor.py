"""What one alert must cost at least on this machine: seal, open, and the signatures of a commit shared by a batch.
Owns that sum.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from exchange.checkpoint import sign_checkpoint, verify_checkpoint
from exchange.envelope import Precedence, SealRequest, decode_header, open_envelope, seal_message
from keys.ids import AgencyId, EnvelopeId, GatewayName, MessageId, Origin
from keys.randomness import random_bytes
from keys.sealing import EpochKeyPair, open_sealed, seal
from keys.signing import NodeKeyPair

BATCH = 64
ROUNDS = 400


@dataclass(frozen=True, slots=True)
class Floor:
    """CPU in microseconds."""

    seal: float
    open: float
    sign: float
    verify: float

    @property
    def alert(self) -> float:
        """One alert in a batch: sealed, opened, and its share of two signed and two verified heads."""
        return self.seal + self.open + 2 * (self.sign + self.verify) / BATCH


def measure_floor(content: bytes) -> Floor:
    """Time the four steps with the product's own functions."""
    pair, node = EpochKeyPair.generate(), NodeKeyPair.generate()
    origin = Origin(AgencyId("ponal.co"), GatewayName("gw1"), 1)
    request = SealRequest(
        envelope_id=EnvelopeId(random_bytes(16)),
        sender=AgencyId("ponal.co"),
        recipient=AgencyId("bka.de"),
        epoch_number=1,
        precedence=Precedence.IMMEDIATE,
        sent_at=1,
        deliver_by=2,
        generation=1,
        number=1,
        message_id=MessageId(random_bytes(16)),
        content=content,
    )
    public = pair.public

    def make() -> object:
        return seal_message(request, lambda info, plaintext: seal(public, info, plaintext), random_bytes(32))

    sealed = seal_message(request, lambda info, plaintext: seal(public, info, plaintext), random_bytes(32))
    header = decode_header(sealed.header_bytes)
    checkpoint = sign_checkpoint(origin, 64, bytes(32), 1, node)
    return Floor(
        seal=_cpu(make),
        open=_cpu(
            lambda: open_envelope(
                sealed.header_bytes, header, sealed.body, lambda info, body: open_sealed(pair, info, body)
            )
        ),
        sign=_cpu(lambda: sign_checkpoint(origin, 64, bytes(32), 1, node)),
        verify=_cpu(lambda: verify_checkpoint(checkpoint, node.public)),
    )


def _cpu(step: Callable[[], object]) -> float:
    for _ in range(20):
        step()
    began = time.process_time()
    for _ in range(ROUNDS):
        step()
    return (time.process_time() - began) / ROUNDS * 1e6
