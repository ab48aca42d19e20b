"""DESIGN 4, PROTOCOL §4: which anchor may follow which, and whose signature counts at which place of a log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.anchor import Anchor, GatewayEntry, make_anchor
from keys.errors import AnchorError, AnchorProblem, KeyConflictError, KeyNotValidError
from keys.signing import NodePublicPair
from keys.trust import (
    AnchorLife,
    AnchorVerdict,
    KeyHistory,
    PairSpan,
    Trust,
    anchor_life,
    expiry_warning,
    judge_anchor,
)
from tests.keys.builders import DAY_MS, GW2, PONAL, anchor, anchor_body, gateway_entry, node_pair, root_pair

P1, P2, P3, P5, THIEF = (node_pair(name).public for name in ("p1", "p2", "p3", "p5", "thief"))


def history(*entries: GatewayEntry | None) -> KeyHistory:
    """Of anchors with rising serials, each with the given entry of gw1; None leaves the gateway out."""
    return KeyHistory.from_anchors(
        [anchor(serial=number, gateways=[entry] if entry else []) for number, entry in enumerate(entries, 1)]
    )


def entry(pair: NodePublicPair | None, *, generation: int = 1, base: int = 0) -> GatewayEntry:
    return gateway_entry(generation=generation, base_size=base, node=pair, revoked=pair is None)


def spans(known: KeyHistory, generation: int = 1) -> list[tuple[NodePublicPair, int, int | None]]:
    return [(span.pair, span.first_size, span.last_size) for span in known.pairs("gw1", generation)]


# anchors


def test_the_first_anchor_of_a_peer_is_new() -> None:
    assert judge_anchor(None, anchor()) is AnchorVerdict.NEW


def test_the_same_body_signed_again_is_the_same_anchor() -> None:
    assert judge_anchor(anchor(), anchor()) is AnchorVerdict.SAME


def test_a_higher_serial_is_newer_however_much_higher() -> None:
    assert judge_anchor(anchor(serial=1), anchor(serial=2)) is AnchorVerdict.NEWER
    assert judge_anchor(anchor(serial=2), anchor(serial=900)) is AnchorVerdict.NEWER


OFFERS: dict[AnchorProblem, Callable[[], Anchor]] = {
    AnchorProblem.ROLLBACK: lambda: anchor(serial=4),
    AnchorProblem.CONFLICT: lambda: anchor(serial=5, gateways=[]),
    AnchorProblem.ROOT_CHANGED: lambda: anchor(serial=6, root="other"),
    AnchorProblem.WRONG_AGENCY: lambda: anchor(serial=6, agency=PONAL),
}


@pytest.mark.parametrize("problem", OFFERS)
def test_an_anchor_that_may_not_follow_is_refused_by_its_reason(problem: AnchorProblem) -> None:
    with pytest.raises(AnchorError) as caught:
        judge_anchor(anchor(serial=5), OFFERS[problem]())
    assert caught.value.reason is problem


def test_the_same_serial_under_another_root_is_a_changed_root_and_no_conflict() -> None:
    with pytest.raises(AnchorError) as caught:
        judge_anchor(anchor(), anchor(root="other"))
    assert caught.value.reason is AnchorProblem.ROOT_CHANGED


@pytest.mark.parametrize(
    ("days_left", "warning", "life"),
    [
        (91, None, AnchorLife.VALID),
        (90, 90, AnchorLife.VALID),
        (31, 90, AnchorLife.VALID),
        (30, 30, AnchorLife.VALID),
        (8, 30, AnchorLife.VALID),
        (7, 7, AnchorLife.VALID),
        (2, 7, AnchorLife.VALID),
        (1, 1, AnchorLife.VALID),
        (0.5, 1, AnchorLife.VALID),
        (0, 0, AnchorLife.GRACE),
        (-29.9, 0, AnchorLife.GRACE),
        (-30, 0, AnchorLife.OVER),
        (-400, 0, AnchorLife.OVER),
    ],
)
def test_an_anchor_warns_before_its_end_and_has_a_month_of_grace(
    days_left: float, warning: int | None, life: AnchorLife
) -> None:
    made = anchor()
    now = made.body.expires_at - round(days_left * DAY_MS)
    assert expiry_warning(made, now) == warning
    assert anchor_life(made, now) is life


def test_an_anchor_that_ends_in_a_millisecond_is_not_over_yet() -> None:
    made = anchor()
    assert expiry_warning(made, made.body.expires_at - 1) == 1


def test_the_codes_of_a_verdict_and_of_a_life_are_those_of_the_interface() -> None:
    assert list(AnchorVerdict) == ["new", "same", "newer"]
    assert list(AnchorLife) == ["valid", "grace", "over"]


def test_the_states_of_trust_are_those_of_the_interface() -> None:
    assert list(Trust) == ["pending", "trusted", "suspended", "removed"]


# pairs by position


def test_the_first_pair_signs_every_size_from_the_empty_tree_on() -> None:
    known = history(entry(P1))
    assert spans(known) == [(P1, 0, None)]
    assert known.pair_for("gw1", 1, 0) == known.pair_for("gw1", 1, 2**62) == P1
    assert known.is_current("gw1", 1, P1)


def test_a_change_is_signed_by_the_old_pair_and_all_after_it_by_the_new() -> None:
    known = history(entry(P1)).with_change("gw1", 1, 40, P2)
    assert spans(known) == [(P1, 0, 41), (P2, 42, None)]
    assert not known.is_current("gw1", 1, P1)
    assert known.is_current("gw1", 1, P2)
    assert known.current_pair("gw1") == P2


def test_changes_in_two_leaves_that_touch_leave_the_middle_pair_one_size() -> None:
    known = history(entry(P1)).with_change("gw1", 1, 0, P2).with_change("gw1", 1, 1, P3)
    assert spans(known) == [(P1, 0, 1), (P2, 2, 2), (P3, 3, None)]


def test_an_anchor_with_a_base_tells_nothing_of_the_sizes_below_it() -> None:
    known = history(entry(P5, base=50))
    assert spans(known) == [(P5, 51, None)]
    with pytest.raises(KeyNotValidError) as caught:
        known.pair_for("gw1", 1, 50)
    assert (caught.value.gateway, caught.value.generation, caught.value.size) == ("gw1", 1, 50)


def test_an_anchor_of_a_higher_serial_ends_the_pair_before_it_at_its_base() -> None:
    known = history(entry(P1), entry(P5, base=50))
    assert spans(known) == [(P1, 0, 50), (P5, 51, None)]
    assert not known.is_current("gw1", 1, P1)
    assert known.is_current("gw1", 1, P5)


def test_an_anchor_renewed_with_the_current_pair_changes_nothing_about_it() -> None:
    known = history(entry(P1), entry(P2, base=50)).with_change("gw1", 1, 40, P2)
    assert spans(known) == [(P1, 0, 41), (P2, 42, None)]
    assert known.is_current("gw1", 1, P2)


def test_changes_below_and_above_a_base_belong_to_the_pairs_on_their_side() -> None:
    known = history(entry(P1), entry(P5, base=50)).with_change("gw1", 1, 20, P2).with_change("gw1", 1, 50, P3)
    assert spans(known) == [(P1, 0, 21), (P2, 22, 50), (P5, 51, 51), (P3, 52, None)]


def test_a_change_that_a_thief_made_beyond_the_base_is_void_once_the_anchor_is_known() -> None:
    before = history(entry(P1)).with_change("gw1", 1, 60, THIEF, old_pair=P1)
    assert before.pair_for("gw1", 1, 70) == THIEF
    after = history(entry(P1), entry(P5, base=50))
    with pytest.raises(KeyNotValidError):
        after.with_change("gw1", 1, 60, THIEF, old_pair=P1)
    assert after.pair_for("gw1", 1, 70) == P5


def test_a_revoked_gateway_says_nothing_beyond_its_base() -> None:
    known = history(entry(P1), entry(None, base=50)).with_change("gw1", 1, 20, P2)
    assert spans(known) == [(P1, 0, 21), (P2, 22, 50)]
    for generation, size in ((1, 51), (2, 0), (2, 1)):
        with pytest.raises(KeyNotValidError):
            known.pair_for("gw1", generation, size)
    assert not known.is_current("gw1", 1, P2)
    assert known.current_pair("gw1") is None
    assert known.knows_gateway("gw1")
    assert known.is_ended("gw1", 1)


def test_a_gateway_revoked_before_it_spoke_says_nothing_at_all() -> None:
    known = history(entry(None))
    assert known.knows_gateway("gw1")
    assert spans(known) == spans(known, 2) == []
    with pytest.raises(KeyNotValidError):
        known.with_change("gw1", 1, 3, P2)


def test_a_gateway_that_a_later_anchor_leaves_out_is_revoked_at_its_last_base() -> None:
    known = history(entry(P1), entry(P5, base=50), None, None)
    assert spans(known) == [(P1, 0, 50)]
    assert known.knows_gateway("gw1")
    assert known.is_ended("gw1", 1)
    base = known.base("gw1")
    assert base is not None
    assert (base.base_size, base.node) == (50, None)


def test_a_revoked_gateway_speaks_again_when_a_later_anchor_names_a_pair() -> None:
    known = history(entry(P1), entry(None, base=50), entry(P5, base=60))
    assert spans(known) == [(P1, 0, 50), (P5, 61, None)]
    with pytest.raises(KeyNotValidError):
        known.pair_for("gw1", 1, 55)


def test_a_higher_generation_is_opened_by_the_pair_current_before_and_is_unconfirmed() -> None:
    known = history(entry(P1)).with_change("gw1", 1, 40, P2)
    assert spans(known, 2) == spans(known, 900) == [(P2, 0, None)]
    assert known.is_confirmed("gw1", 1)
    assert not known.is_confirmed("gw1", 2)
    assert known.is_current("gw1", 2, P2)
    assert not known.is_current("gw1", 2, P1)


def test_an_anchor_that_names_the_higher_generation_confirms_it_and_ends_the_lower() -> None:
    known = history(entry(P1), entry(P5, generation=3, base=9))
    assert spans(known, 3) == [(P1, 0, 9), (P5, 10, None)]
    assert spans(known, 1) == spans(known, 2) == [(P1, 0, None)]
    assert [known.is_confirmed("gw1", generation) for generation in (1, 2, 3, 4)] == [True, True, True, False]
    assert [known.is_ended("gw1", generation) for generation in (1, 2, 3, 4)] == [True, True, False, False]
    assert not known.is_current("gw1", 1, P1)
    assert known.is_current("gw1", 3, P5)


def test_a_lower_generation_than_the_only_known_anchor_names_has_no_pairs() -> None:
    known = history(entry(P5, generation=2, base=7))
    assert spans(known, 1) == []
    assert spans(known, 2) == [(P5, 8, None)]


def test_a_change_in_a_higher_generation_replaces_the_pair_in_the_lower_too() -> None:
    known = history(entry(P1)).with_change("gw1", 2, 5, P2)
    assert spans(known, 1) == [(P1, 0, None)]
    assert spans(known, 2) == [(P1, 0, 6), (P2, 7, None)]
    assert spans(known, 3) == [(P2, 0, None)]
    assert not known.is_current("gw1", 1, P1)
    assert known.is_current("gw1", 2, P2)


def test_a_pair_that_an_anchor_keeps_is_current_in_the_generation_it_left_as_well() -> None:
    known = history(entry(P1), entry(P1, generation=2, base=3))
    assert known.is_current("gw1", 1, P1)
    assert known.is_current("gw1", 2, P1)


def test_a_thousand_generations_and_a_thousand_anchors_are_only_slow() -> None:
    entries = [entry(P1), *(entry(P1, base=number) for number in range(1, 30))]
    known = history(*entries)
    for number in range(30):
        known = known.with_change("gw1", 2 + 7 * number, 3, node_pair(f"generation {number}").public)
    assert known.pair_for("gw1", 2**62, 1) == node_pair("generation 29").public
    many = KeyHistory(tuple(replace(anchor_body(), serial=number) for number in range(1, 3000)), known._changes)
    assert many.pair_for("gw1", 2**62, 1) == node_pair("generation 29").public


def test_gateways_of_one_agency_have_their_own_pairs() -> None:
    both = [gateway_entry(node=P1), gateway_entry(name=GW2, node=P2)]
    known = KeyHistory.from_anchors([anchor(gateways=both)]).with_change("gw1", 1, 3, P3)
    assert known.pair_for("gw2", 1, 100) == P2
    assert known.is_current("gw2", 1, P2)
    assert known.candidates("gw1") == (P1, P3)
    assert known.candidates("gw2") == (P2,)


def test_nothing_is_known_of_a_gateway_that_no_anchor_names() -> None:
    known = history(entry(P1))
    assert not known.knows_gateway("gw9")
    assert known.pairs("gw9", 1) == ()
    assert known.candidates("gw9") == ()
    assert known.base("gw9") is None
    assert known.current_pair("gw9") is None
    assert not known.is_confirmed("gw9", 1)
    assert not known.is_ended("gw9", 1)
    assert not known.is_current("gw9", 1, P1)
    with pytest.raises(KeyNotValidError):
        known.pair_for("gw9", 1, 0)
    with pytest.raises(KeyNotValidError):
        known.with_change("gw9", 1, 0, P2)


def test_without_an_anchor_nothing_is_known() -> None:
    assert not KeyHistory.from_anchors([]).knows_gateway("gw1")


def test_candidates_are_all_pairs_ever_named_oldest_first() -> None:
    known = history(entry(P1), entry(P5, base=50)).with_change("gw1", 1, 60, P3).with_change("gw1", 1, 20, P2)
    assert known.candidates("gw1") == (P1, P2, P5, P3)


@pytest.mark.parametrize(("index", "order"), [(48, (P1, P2, P5)), (50, (P1, P5, P2))])
def test_a_change_next_to_a_base_comes_on_its_side_among_the_candidates(
    index: int, order: tuple[NodePublicPair, ...]
) -> None:
    assert history(entry(P1), entry(P5, base=50)).with_change("gw1", 1, index, P2).candidates("gw1") == order


def test_a_revoked_gateway_has_the_candidates_it_had() -> None:
    assert history(entry(P1), entry(None, base=50)).candidates("gw1") == (P1,)


def test_an_anchor_that_names_another_pair_from_the_empty_tree_on_leaves_the_first_nothing() -> None:
    assert spans(history(entry(P1), entry(P5))) == [(P5, 0, None)]


@pytest.mark.parametrize("named", [[P1], [P1, P2, P3]])
def test_a_gateway_left_out_is_revoked_at_the_last_of_its_bases_however_many(named: list[NodePublicPair]) -> None:
    known = history(*(entry(pair, base=10 * number) for number, pair in enumerate(named)), None)
    base = known.base("gw1")
    assert base is not None
    assert (base.base_size, base.node, base.witness) == (10 * (len(named) - 1), None, None)


def test_the_last_of_many_changes_in_a_generation_opens_the_next() -> None:
    known = history(entry(P1))
    for index, pair in enumerate((P2, P3, P5)):
        known = known.with_change("gw1", 2, index, pair)
    assert spans(known, 3) == [(P5, 0, None)]
    assert known.current_pair("gw1") == P5


def test_a_span_covers_its_first_and_its_last_size() -> None:
    span = PairSpan(P1, 3, 5)
    assert [size for size in range(8) if span.covers(size)] == [3, 4, 5]


@pytest.mark.parametrize("problem", OFFERS)
def test_a_history_is_made_of_anchors_that_follow_each_other(problem: AnchorProblem) -> None:
    with pytest.raises(AnchorError) as caught:
        KeyHistory.from_anchors([anchor(serial=5), OFFERS[problem]()])
    assert caught.value.reason is problem


def test_the_same_anchor_twice_is_one() -> None:
    assert KeyHistory.from_anchors([anchor(), anchor()]) == KeyHistory.from_anchors([anchor()])


# what contradicts


def test_the_same_change_learnt_twice_changes_nothing() -> None:
    known = history(entry(P1)).with_change("gw1", 1, 40, P2)
    assert known.with_change("gw1", 1, 40, P2) is known
    assert known.with_change("gw1", 1, 40, P2, old_pair=P1) is known


def test_two_different_changes_at_one_leaf_contradict_each_other() -> None:
    known = history(entry(P1)).with_change("gw1", 1, 40, P2)
    with pytest.raises(KeyConflictError) as caught:
        known.with_change("gw1", 1, 40, THIEF)
    assert (caught.value.gateway, caught.value.generation, caught.value.index) == ("gw1", 1, 40)


@pytest.mark.parametrize(("generation", "index"), [(1, 10), (1, 39), (1, 41), (1, 90), (2, 0)])
def test_a_second_change_of_a_pair_that_has_a_successor_contradicts_the_first(generation: int, index: int) -> None:
    known = history(entry(P1)).with_change("gw1", 1, 40, P2)
    with pytest.raises(KeyConflictError):
        known.with_change("gw1", generation, index, THIEF, old_pair=P1)


def test_a_pair_that_was_replaced_does_not_come_back() -> None:
    known = history(entry(P1)).with_change("gw1", 1, 40, P2)
    for pair in (P1, P2):
        with pytest.raises(KeyConflictError):
            known.with_change("gw1", 1, 60, pair)


def test_a_pair_is_not_changed_to_itself() -> None:
    with pytest.raises(KeyConflictError):
        history(entry(P1)).with_change("gw1", 1, 40, P1)


def test_a_change_under_a_pair_that_does_not_speak_there_is_not_valid() -> None:
    with pytest.raises(KeyNotValidError) as caught:
        history(entry(P1)).with_change("gw1", 1, 40, P2, old_pair=P3)
    assert (caught.value.gateway, caught.value.generation, caught.value.size) == ("gw1", 1, 41)


def test_a_change_in_the_leaf_after_another_is_learnt_twice_under_the_pair_between() -> None:
    known = history(entry(P1)).with_change("gw1", 1, 0, P2).with_change("gw1", 1, 1, P3)
    assert known.with_change("gw1", 1, 1, P3, old_pair=P2) is known
    with pytest.raises(KeyConflictError):
        known.with_change("gw1", 1, 1, P3, old_pair=P1)


def test_the_pair_that_an_anchor_names_at_a_base_is_not_changed_to_at_that_place() -> None:
    known = history(entry(P1), entry(P5, base=40))
    with pytest.raises(KeyConflictError):
        known.with_change("gw1", 1, 40, P5)


def test_a_change_known_under_one_pair_and_shown_under_another_is_a_contradiction() -> None:
    known = history(entry(P1)).with_change("gw1", 1, 40, P2)
    with pytest.raises(KeyConflictError):
        known.with_change("gw1", 1, 40, P2, old_pair=P3)


# against a gateway that lives


@dataclass
class Life:
    """A gateway that commits, changes pairs, reopens its log, is named anew, and remembers who signed what."""

    pairs: int = 0
    generation: int = 1
    size: int = 0
    anchors: list[Anchor] = field(default_factory=list)
    changes: list[tuple[int, int, NodePublicPair, NodePublicPair]] = field(default_factory=list)
    signed: dict[tuple[int, int], NodePublicPair] = field(default_factory=dict)
    ends: dict[int, NodePublicPair] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pair = self.fresh()
        self.ceremony(keep=True)
        self.signed[1, 0] = self.pair

    def fresh(self) -> NodePublicPair:
        self.pairs += 1
        return node_pair(f"life {self.pairs}").public

    def grow(self, leaves: int) -> None:
        for _ in range(leaves):
            self.size += 1
            self.signed[self.generation, self.size] = self.pair
        self.ends[self.generation] = self.pair

    def change(self) -> None:
        new = self.fresh()
        self.changes.append((self.generation, self.size, self.pair, new))
        self.grow(1)
        self.pair = self.ends[self.generation] = new

    def reopen(self, skipped: int) -> None:
        self.generation += 1 + skipped
        self.size = 0
        self.signed[self.generation, 0] = self.pair
        self.grow(1)

    def ceremony(self, *, keep: bool) -> None:
        if not keep:
            self.pair = self.fresh()
        named = gateway_entry(generation=self.generation, base_size=self.size, node=self.pair)
        body = replace(anchor_body(gateways=[named]), serial=len(self.anchors) + 1)
        self.anchors.append(make_anchor(body, root_pair()))
        self.ends[self.generation] = self.pair


@st.composite
def lives(draw: st.DrawFn) -> Life:
    life = Life()
    for _ in range(draw(st.integers(0, 8))):
        match draw(st.sampled_from(["grow", "grow", "change", "reopen", "ceremony"])):
            case "grow":
                life.grow(draw(st.integers(1, 4)))
            case "change":
                life.change()
            case "reopen":
                life.reopen(draw(st.integers(0, 2)))
            case _:
                if life.size > 0:
                    life.ceremony(keep=draw(st.booleans()))
    return life


@given(lives(), st.randoms(use_true_random=False))
def test_every_size_that_a_gateway_signed_has_its_pair_in_whatever_order_changes_are_learnt(
    life: Life, order: object
) -> None:
    shuffled = list(life.changes)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    known = KeyHistory.from_anchors(life.anchors)
    for generation, index, _, new in shuffled:
        known = known.with_change("gw1", generation, index, new)
    assert {place: known.pair_for("gw1", *place) for place in life.signed} == life.signed
    assert known.current_pair("gw1") == life.pair
    for generation, end in life.ends.items():
        for pair in known.candidates("gw1"):
            assert known.is_current("gw1", generation, pair) == (pair == end == life.pair)
    in_order = KeyHistory.from_anchors(life.anchors)
    for generation, index, old, new in life.changes:
        in_order = in_order.with_change("gw1", generation, index, new, old_pair=old)
    assert in_order == known


@given(lives(), st.data())
def test_a_second_change_of_any_pair_is_seen_at_any_place(life: Life, data: st.DataObject) -> None:
    known = KeyHistory.from_anchors(life.anchors)
    for generation, index, old, new in life.changes:
        known = known.with_change("gw1", generation, index, new, old_pair=old)
    for generation, index, old, _ in life.changes:
        elsewhere = data.draw(st.integers(0, 60))
        with pytest.raises(KeyConflictError):
            known.with_change("gw1", generation, index, THIEF)
        with pytest.raises(KeyConflictError):
            known.with_change("gw1", generation, elsewhere, THIEF, old_pair=old)


@given(lives())
def test_spans_of_a_log_follow_each_other_without_overlap(life: Life) -> None:
    known = KeyHistory.from_anchors(life.anchors)
    for generation, index, _, new in life.changes:
        known = known.with_change("gw1", generation, index, new)
    for generation in range(1, life.generation + 2):
        laid = known.pairs("gw1", generation)
        assert laid[0].first_size == 0
        assert laid[-1].last_size is None
        for before, after in pairwise(laid):
            assert before.last_size == after.first_size - 1
            assert before.pair != after.pair
