"""The checker of the campaign notices what it is there for, and believes no node."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from exchange.log import Frontier, leaf_hash
from tests.chaos.checker import Head, Posted, Shown, Tree, check

STORED = ("stored", None)
ENTRIES = [b"entry %d" % number for number in range(7)]
HERE = Shown(
    agency="ponal.co",
    inbox=[],
    sent={"m1": STORED, "m2": ("accepted", None)},
    log_ok=True,
    origin="ponal.co/gw1/1",
    entries=ENTRIES,
)
THERE = Shown(
    agency="bka.de",
    inbox=[("ponal.co", "m1"), ("ponal.co", "m2")],
    sent={},
    log_ok=True,
    origin="bka.de/gw1/1",
    entries=ENTRIES[:3],
)
POSTED = [Posted("m1", "ponal.co", "bka.de", "yes"), Posted("m2", "ponal.co", "bka.de", "yes")]


def head(size: int, of: str = "ponal.co/gw1/1") -> Head:
    leaves = [leaf_hash(entry) for entry in ENTRIES[:size]]
    return Head(of, size, Frontier.empty().append_many(leaves).frontier.root.hex())


HEADS = [head(3), head(7), head(2, "bka.de/gw1/1")]


def found(
    posted: list[Posted] = POSTED, here: Shown = HERE, there: Shown = THERE, heads: list[Head] = HEADS
) -> list[str]:
    return [violation.code for violation in check(posted, [here, there], heads)]


def test_two_nodes_that_kept_their_word_have_done_nothing_wrong() -> None:
    assert found() == []


def test_a_promised_message_that_no_inbox_shows_is_lost() -> None:
    there = replace(THERE, inbox=[("ponal.co", "m1")])

    assert found(there=there, here=replace(HERE, sent={**HERE.sent, "m2": ("queued", "backoff")})) == ["lost"]
    assert found(there=there) == ["receipt_without_message"]


def test_a_promised_message_that_its_sender_does_not_know_any_more_is_forgotten() -> None:
    assert found(here=replace(HERE, sent={"m1": STORED})) == ["forgotten_by_sender", "message_without_sender"]


def test_an_acceptance_that_does_not_reach_the_sender_is_noticed() -> None:
    accepted = [replace(POSTED[0], accepted=True), replace(POSTED[1], accepted=True)]

    assert found(accepted) == ["ack_lost"]
    assert found(accepted, replace(HERE, sent={"m1": ("accepted", None), "m2": ("accepted", None)})) == []


def test_a_message_that_an_inbox_shows_twice_is_noticed() -> None:
    assert found(there=replace(THERE, inbox=[*THERE.inbox, ("ponal.co", "m2")])) == ["twice"]


def test_a_message_that_waits_for_ever_is_noticed_though_it_arrived() -> None:
    assert found(here=replace(HERE, sent={**HERE.sent, "m1": ("queued", "backoff")})) == ["not_settled"]


def test_a_refused_post_that_was_posted_all_the_same_is_noticed() -> None:
    refused = replace(POSTED[1], answered="no")

    assert found([POSTED[0], refused]) == ["refused_but_posted"]


def test_a_message_that_nobody_posted_is_noticed() -> None:
    assert found(there=replace(THERE, inbox=[*THERE.inbox, ("ponal.co", "m3")])) == ["never_posted"]
    assert found(there=replace(THERE, inbox=[*THERE.inbox, ("interpol.int", "m1")])) == ["never_posted"]


@pytest.mark.parametrize("arrived", [True, False])
def test_a_post_whose_answer_was_lost_may_have_happened_or_not(arrived: bool) -> None:
    unsure = Posted("m3", "ponal.co", "bka.de", "lost")
    there = replace(THERE, inbox=[*THERE.inbox, *([("ponal.co", "m3")] if arrived else [])])
    here = replace(HERE, sent={**HERE.sent, **({"m3": STORED} if arrived else {})})

    assert found([*POSTED, unsure], here, there) == []


@pytest.mark.parametrize("end", [("expired", None), ("refused", "expired_on_arrival")])
def test_an_expiry_is_an_end_only_once_the_time_is_over(end: tuple[str, str | None]) -> None:
    here = replace(HERE, sent={**HERE.sent, "m2": end})
    there = replace(THERE, inbox=[("ponal.co", "m1")])
    late = [POSTED[0], replace(POSTED[1], may_expire=True)]

    assert found(late, here, there) == []
    assert found(POSTED, here, there) == ["lost"]


def test_any_other_refusal_of_a_promised_message_is_a_loss() -> None:
    here = replace(HERE, sent={**HERE.sent, "m2": ("refused", "malformed")})
    late = [POSTED[0], replace(POSTED[1], may_expire=True)]

    assert found(late, here, replace(THERE, inbox=[("ponal.co", "m1")])) == ["lost"]


def test_a_head_of_another_history_is_noticed() -> None:
    forked = Head("ponal.co/gw1/1", 5, hashlib.sha256(b"another").hexdigest())

    assert found(heads=[*HEADS, forked]) == ["forked_head"]


def test_a_head_of_entries_that_are_not_there_any_more_is_noticed() -> None:
    assert found(here=replace(HERE, entries=ENTRIES[:6])) == ["head_beyond_log"]


def test_a_head_of_a_log_that_no_node_has_is_noticed() -> None:
    assert found(heads=[head(3, "ponal.co/gw1/2")]) == ["unknown_log"]


def test_a_log_that_is_broken_or_begun_anew_is_noticed() -> None:
    assert found(here=replace(HERE, log_ok=False)) == ["log_broken"]
    assert found(there=replace(THERE, origin="bka.de/gw1/2"), heads=[]) == ["generation"]


def test_its_tree_is_that_of_the_product_though_it_is_another_program() -> None:
    tree, frontier = Tree(), Frontier.empty()
    assert tree.root() == frontier.root
    for number in range(70):
        entry = b"%d" % number
        tree.add(entry)
        frontier = frontier.append_many([leaf_hash(entry)]).frontier
        assert tree.root() == frontier.root
