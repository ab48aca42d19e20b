"""Whether the word of a replaced key counts, one statement at a time; whole files are in test_evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from exchange.currency import Link, LogHead, counting, establish_currency, standing_heads
from exchange.errors import StatementError, StatementProblem
from exchange.log import LogProofError
from exchange.statement import Statement, verify_statement
from keys.ids import AgencyId
from tests.exchange.agencies import Agency, facts_of, filler, make_agency, make_envelope

PONAL, BKA, FBI = AgencyId("ponal.co"), AgencyId("bka.de"), AgencyId("fbi.us")


class Case:
    """ponal.co issued an envelope to bka.de and changed its pair since."""

    def __init__(self, rotations: int = 1) -> None:
        self.ponal, self.witness = make_agency(PONAL), make_agency(FBI)
        filler(self.ponal, 3)
        sealed = make_envelope(PONAL, BKA)
        self.facts = facts_of(sealed)
        self.proof = self.ponal.issue(sealed)
        for _ in range(rotations):
            filler(self.ponal, 1)
            self.ponal.rotate()
        self.later = self.ponal.publish_profile()

    @property
    def statement(self) -> Statement:
        return verify_statement(self.proof, self.ponal.keys, self.facts)

    def seen_by(self, agency: Agency, size: int | None = None) -> Statement:
        """A receipt of `agency` for another envelope, naming the head of that size."""
        sealed = make_envelope(PONAL, agency.agency, number=9)
        head = self.ponal.log.head(self.proof.checkpoint.size if size is None else size)
        return verify_statement(agency.receipt(sealed, head), agency.keys, facts_of(sealed))

    def establish(self, links: Sequence[Link] = (), others: Sequence[Statement] = ()) -> None:
        keys = {one.agency: one.keys for one in (self.ponal, self.witness)}
        establish_currency(self.statement, keys, links, others, BKA)

    def fails(self, links: Sequence[Link] = (), others: Sequence[Statement] = ()) -> None:
        with pytest.raises(StatementError) as caught:
            self.establish(links, others)
        assert (caught.value.reason, caught.value.step) == (StatementProblem.KEY_NOT_VALID, 6)


def test_a_current_pair_needs_nothing() -> None:
    Case(rotations=0).establish()


def test_a_replaced_pair_alone_is_not_enough() -> None:
    Case().fails()


def test_a_chain_to_a_statement_of_the_pair_in_force_is() -> None:
    case = Case()
    later = verify_statement(case.later, case.ponal.keys)
    size, end = case.proof.checkpoint.size, case.later.checkpoint.size
    case.establish([case.ponal.log.link(size)], [later])
    case.establish([case.ponal.log.link(size, size + 1), case.ponal.log.link(size + 1, end)], [later])
    case.fails([case.ponal.log.link(size)])
    case.fails([], [later])


def test_a_chain_to_a_pair_that_was_replaced_in_turn_is_not() -> None:
    case = Case(rotations=2)
    between = case.ponal.changes[1].checkpoint.size
    middle = verify_statement(case.ponal.changes[1], case.ponal.keys)
    case.fails([case.ponal.log.link(case.proof.checkpoint.size, between)], [middle])


def test_a_chain_that_does_not_hold_is_refused() -> None:
    case = Case()
    link = case.ponal.log.link(case.proof.checkpoint.size)
    with pytest.raises(LogProofError):
        case.establish([replace(link, to_root=bytes(32))])


def test_a_receipt_of_a_third_agency_that_names_the_head_is_enough() -> None:
    case = Case()
    case.establish(others=[case.seen_by(case.witness)])


def test_a_receipt_of_another_head_or_of_those_concerned_is_not() -> None:
    case = Case()
    case.fails(others=[case.seen_by(case.witness, case.proof.checkpoint.size - 1)])
    case.fails(others=[case.seen_by(make_agency(BKA))])
    case.fails(others=[replace(case.seen_by(case.witness), agency=PONAL)])


def test_a_witness_whose_pair_was_replaced_does_not_count_by_itself() -> None:
    case = Case()
    seen = case.seen_by(case.witness)
    case.witness.rotate()
    stale = replace(seen, is_current=False)
    case.fails(others=[stale])


def test_heads_stand_by_the_bases_of_anchors_and_what_leads_there() -> None:
    agency = make_agency(BKA)
    filler(agency, 5)
    agency.next_anchor(new_pair=True)
    base = LogHead.of(agency.log.checkpoints[5])
    link = agency.log.link(2)
    assert standing_heads([agency.keys], [], []) == {base}
    assert standing_heads([agency.keys], [link], []) == {base, link.earlier}


def test_nothing_counts_where_nothing_is_current() -> None:
    case = Case()
    witnesses = [replace(case.seen_by(case.witness), is_current=False)]
    assert counting([case.statement, *witnesses], [BKA, PONAL], frozenset(), {BKA, PONAL}) == (False, False)
