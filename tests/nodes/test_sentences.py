"""Where a message stands, in a sentence with the next step. What another node says twice is not smoothed over."""

from __future__ import annotations

from nodes.sentences import next_step, waiting_sentence


def _said(*levels: str) -> dict[str, object]:
    return {"state": levels[-1], "reason": None, "receipts": [{"level": level} for level in levels]}


def _told(*levels: str) -> tuple[str, str]:
    recipient = _said(*levels)
    return waiting_sentence("BKA", recipient), next_step("bka.de", "+4961155123", recipient, "m")


def test_a_recipient_that_accepted_and_rejected_is_to_be_asked() -> None:
    """Our own node refuses the second decision of its officers; another's may not."""
    once = _told("stored", "opened", "rejected")
    twice = _told("stored", "opened", "accepted", "rejected")
    assert "conflicting_decisions" in twice[0]
    assert "conflicting_decisions" not in once[0]
    assert "+4961155123" in twice[1]
    assert twice[1] != once[1]
