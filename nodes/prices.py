"""What a round costs its peer, in units of work of about 0.1 ms (PROTOCOL §9.4). Owns the price list; who pays, and
what happens to those who cannot, is `budgets`'.
"""

from __future__ import annotations

from typing import Final

from exchange.round import Round

WASTE: Final = 16
"""What proves nothing, or has to be refused by a signed entry: nobody honest sends it often."""

_DECODED_BYTES: Final = 256  # for one unit
_MOST_DECODED: Final = 1_000  # units: a body has 131,072 values at most, whatever its size
_SIGNED: Final = 4  # a checkpoint, a key change, an anchor: two signatures
_CHANGE_AGAIN: Final = 3 * _SIGNED  # for an anchor the key changes of its agency are verified again, with their proofs


def decoding(size: int) -> int:
    """Price of decoding a body of so many bytes."""
    return 1 + min(size // _DECODED_BYTES, _MOST_DECODED)


def taking(spoken: Round, changes: int) -> int:
    """Price of taking a round, told from its shape; an item is one unit. `changes`: key changes known of its agency."""
    signed = len(spoken.groups) + len(spoken.key_changes) + (spoken.anchor is not None)
    signed += sum((head.checkpoint is not None) + len(head.key_changes) for head in spoken.hello.held)
    again = 0 if spoken.anchor is None else _CHANGE_AGAIN * changes
    return _SIGNED * signed + again + sum(len(group.entries) for group in spoken.groups)
