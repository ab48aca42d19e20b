"""Owns the verdict on an evidence file (PROTOCOL §14), for a stranger, offline, years later. Opens no file itself.

It needs keys/ and exchange/ and nothing else of the project; whoever calls it reads the file and shows the report. It
proves what was said, by whom, under which root. Whether that root is the right one, its reader decides: by a safety
code or a card that is trusted already.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum, auto

from exchange.card import MAX_KEY_CHANGES, VerifiedCard
from exchange.checkpoint import Checkpoint
from exchange.currency import LogHead, counting, ended_heads, standing_heads
from exchange.envelope import OpenedContent, verify_commitment
from exchange.errors import EvidenceError, EvidenceProblem, RefusalError, StatementError, StatementProblem
from exchange.evidence_file import (
    ContentItem,
    EnvelopeItem,
    EvidenceFile,
    LinkItem,
    ParsedEnvelope,
    build_evidence,
    parse_evidence,
)
from exchange.log import LogProofError
from exchange.saying import Ack, read_saying
from exchange.statement import (
    AgencyKeys,
    AnyProof,
    Custody,
    Entry,
    EnvelopeFacts,
    ExportedProof,
    Issued,
    Receipt,
    Refused,
    Statement,
    add_key_change,
    build_agency_keys,
    decode_entry,
    signing_pair,
    verify_head,
    verify_statement,
)
from keys.anchor import Anchor
from keys.errors import AnchorError, EncodingError, KeyConflictError
from keys.ids import AgencyId, EnvelopeId, MessageId
from keys.safety_code import codes_equal, safety_code

__all__ = [
    "AnchorTrust",
    "Claim",
    "ClaimKind",
    "ContentItem",
    "EnvelopeItem",
    "EvidenceReport",
    "LinkItem",
    "Verdict",
    "build_evidence",
    "verify_evidence",
]


class Verdict(StrEnum):
    """What came out, of one claim or of the file."""

    PROVED = "proved"
    NOT_PROVED = "not_proved"
    CONTRADICTED = "contradicted"


class ClaimKind(StrEnum):
    """What is claimed. The first four are machine statements about an envelope, the others what people said."""

    ISSUED = "issued"
    CUSTODY = "custody"
    STORED = "stored"
    REFUSED = "refused"
    OPENED = "opened"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    ACTIONED = "actioned"


# Of one moment, what came first.
_ORDER: Mapping[ClaimKind, int] = {kind: place for place, kind in enumerate(ClaimKind)}


@dataclass(frozen=True, slots=True)
class Claim:
    """That `agency` made this claim at `at` (ms, by its own clock or its officer's), about an envelope.

    Of an ack, `envelope_id` is the envelope that carried it. `at` is None where only a statement would tell. Message,
    its kind and the officer of an ack are what content on show says; None where none is.
    """

    claim: ClaimKind
    agency: AgencyId
    at: int | None
    result: Verdict
    reason: EvidenceProblem | None
    envelope_id: EnvelopeId
    message_id: MessageId | None = None
    kind: str | None = None
    officer: str | None = None


@dataclass(frozen=True, slots=True)
class AnchorTrust:
    """An agency that speaks in the file; `trusted`: its safety code is one that the reader trusts."""

    agency: AgencyId
    safety_code: str
    trusted: bool


@dataclass(frozen=True, slots=True)
class EvidenceReport:
    """The verdict. It holds as far as the key changes in the file and in the cards given go.

    `message_id` is None where the file shows none, or several; `case_id` where no content is shown.
    """

    verdict: Verdict
    message_id: MessageId | None
    case_id: str | None
    anchors: tuple[AnchorTrust, ...]
    claims: tuple[Claim, ...]


def verify_evidence(
    data: bytes,
    *,
    trusted: Mapping[AgencyId, str] | None = None,
    trusted_codes: Iterable[str] = (),
    extra_cards: Sequence[VerifiedCard] = (),
    require_trust: bool = False,
) -> EvidenceReport:
    """What an evidence file proves.

    Args:
        data: the file's bytes.
        trusted: safety codes by agency. An agency of the file with another root is contradicted, `wrong_key`.
        trusted_codes: safety codes given without a name. If one is of no agency in the file, the file is not about whom
            the reader meant: every agency not trusted otherwise is contradicted, `wrong_key`.
        extra_cards: cards that are trusted; their anchors and key changes are known from then on.
        require_trust: what an agency says whose code is not trusted is `not_proved`.

    Raises:
        EvidenceError: the file as a whole is refused. Total: nothing else comes out of any bytes.
        EncodingError: a code given is none.
    """
    file = parse_evidence(data)
    codes = {**(trusted or {}), **{card.agency: card.safety_code for card in extra_cards}}
    parties = _parties(file, extra_cards)
    trust = _trust(parties, codes, list(trusted_codes))
    judge = _Judge(file, parties, extra_cards, frozenset(a for a, found in trust.items() if found is _Trust.TRUSTED))
    claims = sorted(
        (_with_trust(claim, trust.get(claim.agency, _Trust.UNKNOWN), require_trust) for claim in judge.claims()),
        key=lambda claim: (
            claim.at is None,
            claim.at or 0,
            _ORDER[claim.claim],
            claim.agency,
            claim.envelope_id,
        ),
    )
    return EvidenceReport(
        verdict=_verdict(claims),
        message_id=judge.message_id(),
        case_id=judge.case_id(),
        anchors=tuple(
            AnchorTrust(agency, parties[agency].safety_code, trust[agency] is _Trust.TRUSTED)
            for agency in sorted({anchor.body.agency for anchor in file.anchors})
        ),
        claims=tuple(claims),
    )


def _verdict(claims: Sequence[Claim]) -> Verdict:
    results = {claim.result for claim in claims}
    if Verdict.CONTRADICTED in results:
        return Verdict.CONTRADICTED
    return Verdict.PROVED if results == {Verdict.PROVED} else Verdict.NOT_PROVED


# --- whom the reader trusts -------------------------------------------------------------------------------------------


class _Trust(StrEnum):
    TRUSTED = auto()
    UNKNOWN = auto()
    OTHER_ROOT = auto()


def _trust(
    parties: Mapping[AgencyId, _Party], codes: Mapping[AgencyId, str], nameless: Sequence[str]
) -> dict[AgencyId, _Trust]:
    stray = any(not any(codes_equal(code, party.safety_code) for party in parties.values()) for code in nameless)
    found = {}
    for agency, party in parties.items():
        expected = codes.get(agency)
        if expected is not None:
            found[agency] = _Trust.TRUSTED if codes_equal(expected, party.safety_code) else _Trust.OTHER_ROOT
        elif any(codes_equal(code, party.safety_code) for code in nameless):
            found[agency] = _Trust.TRUSTED
        else:
            found[agency] = _Trust.OTHER_ROOT if stray else _Trust.UNKNOWN
    return found


def _with_trust(claim: Claim, trust: _Trust, require_trust: bool) -> Claim:
    if trust is _Trust.OTHER_ROOT:
        return _found(claim, Verdict.CONTRADICTED, EvidenceProblem.WRONG_KEY)
    if trust is _Trust.UNKNOWN and require_trust and claim.result is Verdict.PROVED:
        return _found(claim, Verdict.NOT_PROVED, EvidenceProblem.WRONG_KEY)
    return claim


def _found(claim: Claim, result: Verdict, reason: EvidenceProblem | None) -> Claim:
    return replace(claim, result=result, reason=reason)


# --- who speaks -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Party:
    """An agency of the file: its keys, and per gateway the place beyond which two changes of one pair contradict."""

    keys: AgencyKeys
    safety_code: str
    forks: Mapping[str, tuple[int, int]]

    def is_beyond_fork(self, checkpoint: Checkpoint) -> bool:
        fork = self.forks.get(checkpoint.origin.gateway)
        return fork is not None and (checkpoint.origin.generation, checkpoint.size) > fork


def _parties(file: EvidenceFile, cards: Sequence[VerifiedCard]) -> dict[AgencyId, _Party]:
    anchors: defaultdict[AgencyId, list[Anchor]] = defaultdict(list)
    changes: defaultdict[AgencyId, list[AnyProof]] = defaultdict(list)
    for anchor in file.anchors:
        anchors[anchor.body.agency].append(anchor)
    for agency, change in file.key_changes:
        if agency not in anchors:
            raise EvidenceError(EvidenceProblem.BAD_ENCODING)
        changes[agency].append(change)
    if any(len(found) > MAX_KEY_CHANGES for found in changes.values()):
        raise EvidenceError(EvidenceProblem.BAD_ENCODING)
    for card in cards:
        known = anchors.get(card.agency)
        # Another root is a matter of trust, below; nothing of it is mixed with this one's keys.
        if known and known[0].body.root == card.card.anchor.body.root:
            known.append(card.card.anchor)
            changes[card.agency].extend(card.card.key_changes)
    return {agency: _party(found, changes[agency]) for agency, found in anchors.items()}


def _party(anchors: list[Anchor], changes: list[AnyProof]) -> _Party:
    anchors.sort(key=lambda anchor: anchor.body.serial)
    forks: dict[str, tuple[int, int]] = {}
    try:
        try:
            keys = build_agency_keys(anchors, changes)
        except KeyConflictError:
            keys, forks = _forked_keys(anchors, changes)
    except AnchorError as error:  # two roots, or one serial over two bodies
        raise EvidenceError(EvidenceProblem.CARD_INVALID) from error
    except StatementError as error:
        raise EvidenceError(EvidenceProblem(error.reason)) from error
    return _Party(keys, safety_code(keys.agency, keys.anchors[0].body.root), forks)


def _forked_keys(
    anchors: Sequence[Anchor], changes: Sequence[AnyProof]
) -> tuple[AgencyKeys, dict[str, tuple[int, int]]]:
    """The keys with the first change of each pair, and where the first pair with two of them was changed."""
    keys = build_agency_keys(anchors, ())
    forks: dict[str, tuple[int, int]] = {}
    waiting, progress = list(changes), True
    while waiting and progress:  # given in any order; one round adds at least the next change of each gateway
        progress, left = False, []
        for change in waiting:
            try:
                keys, progress = add_key_change(keys, change), True
            except StatementError:
                left.append(change)
            except KeyConflictError as error:
                fork = _fork_place(keys, change, error)
                forks[error.gateway] = min(fork, forks.get(error.gateway, fork))
        waiting = left
    return keys, forks


def _fork_place(keys: AgencyKeys, change: AnyProof, error: KeyConflictError) -> tuple[int, int]:
    """(generation, size) of the last checkpoint before which nothing is in doubt."""
    pair = signing_pair(change, keys)
    places = [(error.generation, error.index + 1)]
    places.extend(
        (known.checkpoint.origin.generation, known.checkpoint.size)
        for known in keys.changes_of(error.gateway)
        if signing_pair(known, keys) == pair
    )
    return min(places)


# --- what they say ----------------------------------------------------------------------------------------------------

_Envelope = tuple[AgencyId, EnvelopeId]
"""An envelope's identity: who sent it, and its id."""


@dataclass(frozen=True, slots=True)
class _Said:
    """One entry of the file about an envelope: verified, or why not."""

    agency: AgencyId
    entry: Issued | Custody | Receipt | Refused
    envelope: _Envelope
    facts: EnvelopeFacts | None
    verified: Statement | StatementError


@dataclass(frozen=True, slots=True)
class _Shown:
    """Content that opened an envelope's commitment."""

    facts: EnvelopeFacts
    content: OpenedContent
    ack: Ack | None
    case_id: str | None
    kind: str | None


class _Judge:
    """One file under judgement."""

    def __init__(
        self,
        file: EvidenceFile,
        parties: Mapping[AgencyId, _Party],
        cards: Sequence[VerifiedCard],
        trusted: frozenset[AgencyId],
    ) -> None:
        self._parties = parties
        self._trusted = trusted
        self._envelopes: defaultdict[_Envelope, list[ParsedEnvelope]] = defaultdict(list)
        for envelope in file.envelopes:
            self._envelopes[envelope.facts.sender, envelope.facts.envelope_id].append(envelope)
        self._shown, self._mismatched = self._open_contents(file)
        self._said: list[_Said] = []
        self._statements: list[Statement] = []  # everything that verified, about envelopes or not
        for agency, proof in file.statements:
            self._take_statement(agency, proof)
        self._counting = self._judge_currency(file, cards)
        self._in_conflict = self._find_conflicts()

    # contents

    def _open_contents(self, file: EvidenceFile) -> tuple[dict[bytes, _Shown], set[_Envelope]]:
        """What is shown, by envelope hash; and the envelopes whose content on show is not what they commit to."""
        by_id: defaultdict[EnvelopeId, list[ParsedEnvelope]] = defaultdict(list)
        for envelope in file.envelopes:
            by_id[envelope.facts.envelope_id].append(envelope)
        shown: dict[bytes, _Shown] = {}
        mismatched: set[_Envelope] = set()
        for item in file.contents:
            named = by_id.get(item.envelope_id)
            if named is None:
                raise EvidenceError(EvidenceProblem.CONTENT_MISMATCH)
            opened = [found for envelope in named if (found := _open_content(envelope, item)) is not None]
            shown.update({found.facts.envelope_hash: found for found in opened})
            if not opened:
                mismatched.update((envelope.facts.sender, envelope.facts.envelope_id) for envelope in named)
        return shown, mismatched

    # statements

    def _take_statement(self, agency: AgencyId, proof: ExportedProof) -> None:
        party = self._parties.get(agency)
        if party is None:
            raise EvidenceError(EvidenceProblem.BAD_ENCODING)
        try:
            entry = decode_entry(proof.entry)
        except EncodingError as error:
            raise EvidenceError(EvidenceProblem.BAD_ENCODING) from error
        identity = _identity(agency, entry)
        facts = None if identity is None else self._facts(identity, entry)
        verified: Statement | StatementError
        try:
            verified = verify_statement(proof, party.keys, facts)
        except StatementError as error:
            verified = error
        else:
            self._statements.append(verified)
        if identity is not None and isinstance(entry, Issued | Custody | Receipt | Refused):
            self._said.append(_Said(agency, entry, identity, facts, verified))

    def _facts(self, identity: _Envelope, entry: Entry) -> EnvelopeFacts | None:
        """The envelope at hand that an entry names; if its hash is another one, whatever is at hand under its id."""
        named = self._envelopes.get(identity, [])
        if isinstance(entry, Issued | Custody | Receipt | Refused):
            for envelope in named:
                if envelope.facts.envelope_hash == entry.envelope_hash:
                    return envelope.facts
        return named[0].facts if named else None

    # currency and contradiction

    def _judge_currency(self, file: EvidenceFile, cards: Sequence[VerifiedCard]) -> frozenset[Statement]:
        """The verified statements whose key's word still counts."""
        for link in file.links:
            if link.agency not in self._parties:
                raise EvidenceError(EvidenceProblem.BAD_ENCODING)
            try:
                link.verify()
            except LogProofError as error:
                raise EvidenceError(EvidenceProblem.BAD_INCLUSION_PROOF) from error
        # What an agency's root stands for through a later anchor's base, no rival change of a pair takes back.
        self._based = standing_heads([party.keys for party in self._parties.values()], file.links, ())
        sound = [one for one in self._statements if not self._is_in_doubt(one.agency, one.checkpoint)]
        current = [one.checkpoint for one in sound if one.is_current]
        current.extend(self._current_heads(file))
        current.extend(card.head for card in cards if self._is_current_head(card))
        keys = [party.keys for party in self._parties.values()]
        beneficiaries = [self._beneficiary(one) for one in sound]
        ended: frozenset[LogHead] = frozenset()
        while True:  # ends: what counts only grows with the generations that are tied in
            self._standing = standing_heads(keys, file.links, current, ended)
            counts = counting(sound, beneficiaries, self._standing, self._trusted)
            counted = frozenset(one for one, counts_too in zip(sound, counts, strict=True) if counts_too)
            if (found := ended_heads(counted)) == ended:
                return counted
            ended = found

    def _is_in_doubt(self, agency: AgencyId, checkpoint: Checkpoint) -> bool:
        """Whether two changes of one pair leave it open whose head this is."""
        return self._parties[agency].is_beyond_fork(checkpoint) and LogHead.of(checkpoint) not in self._based

    def _current_heads(self, file: EvidenceFile) -> Iterator[Checkpoint]:
        """Heads that the file brings for links to lead to, of pairs still in force."""
        for agency, note in file.heads:
            party = self._parties.get(agency)
            if party is None:
                raise EvidenceError(EvidenceProblem.BAD_ENCODING)
            try:
                checkpoint, is_current = verify_head(note, party.keys)
            except StatementError as error:
                if error.reason is StatementProblem.KEY_NOT_VALID:
                    continue  # true when it was written; a card that is trusted knows of a change since
                raise EvidenceError(EvidenceProblem(error.reason)) from error
            if is_current and not party.is_beyond_fork(checkpoint):
                yield checkpoint

    def _is_current_head(self, card: VerifiedCard) -> bool:
        """Whether the pair that signed a card's head is still in force, with all that is known now."""
        party = self._parties.get(card.agency)
        if party is None or party.keys.anchors[0].body.root != card.card.anchor.body.root:
            return False
        try:
            statement = verify_statement(card.card.profile, party.keys)
        except StatementError:
            return False
        return statement.is_current and not party.is_beyond_fork(statement.checkpoint)

    def _beneficiary(self, statement: Statement) -> AgencyId | None:
        """Who gains by a statement: the other party of its envelope."""
        entry = statement.entry
        if isinstance(entry, Issued):
            facts = self._facts((statement.agency, entry.envelope_id), entry)
            return None if facts is None else facts.recipient
        return entry.sender if isinstance(entry, Custody | Receipt | Refused) else None

    def _find_conflicts(self) -> set[LogHead]:
        """Heads that contradict another of the same log and size: one who signed both has two histories.

        Where one of the two stands (the base of an anchor does), the other is the forgery; where none does, or both do,
        neither is believed.
        """
        of_size: defaultdict[tuple[AgencyId, str, int, int], set[LogHead]] = defaultdict(set)
        for head in [*self._standing, *(LogHead.of(statement.checkpoint) for statement in self._statements)]:
            of_size[head.agency, head.gateway, head.generation, head.size].add(head)
        conflicting: set[LogHead] = set()
        for heads in of_size.values():
            if len(heads) > 1:
                standing = heads & self._standing
                conflicting |= heads - standing if len(standing) == 1 else heads
        return conflicting

    # claims

    def claims(self) -> list[Claim]:
        """Every claim of the file."""
        found = [claim for said in self._said if (claim := self._claim(said)) is not None]
        issued = {said.envelope for said in self._said if isinstance(said.entry, Issued)}
        return found + [self._missing(identity) for identity in self._envelopes if identity not in issued]

    def _claim(self, said: _Said) -> Claim | None:
        result, reason = self._judge(said)
        shown = self._shown.get(said.facts.envelope_hash) if said.facts is not None else None
        kind, at = _KINDS[type(said.entry)], said.entry.time
        if shown is not None and shown.ack is not None:
            if not isinstance(said.entry, Issued):
                # That an ack arrived is no claim about the message. But a statement that was altered must show: whoever
                # changes a byte of the file is not to be told that all of it is proved.
                altered = isinstance(said.verified, StatementError) and reason is not EvidenceProblem.KEY_NOT_VALID
                return Claim(kind, said.agency, at, result, reason, said.entry.envelope_id) if altered else None
            kind, at = ClaimKind(shown.ack.level), at if shown.ack.at is None else shown.ack.at
            if result is Verdict.PROVED:
                result, reason = self._judge_ack(shown, shown.ack)
        return self._about(Claim(kind, said.agency, at, result, reason, said.entry.envelope_id), shown)

    def _missing(self, identity: _Envelope) -> Claim:
        """An envelope that nobody is shown to have issued."""
        sender, envelope_id = identity
        facts = self._envelopes[identity][0].facts
        shown = self._shown.get(facts.envelope_hash)
        kind = ClaimKind.ISSUED if shown is None or shown.ack is None else ClaimKind(shown.ack.level)
        missing = EvidenceProblem.STATEMENT_MISSING
        return self._about(Claim(kind, sender, None, Verdict.NOT_PROVED, missing, envelope_id), shown)

    def _about(self, claim: Claim, shown: _Shown | None) -> Claim:
        """The claim with the message that it is about, as far as content on show tells."""
        if shown is None:
            return claim
        if shown.ack is None:
            return replace(claim, message_id=shown.content.message_id, kind=shown.kind)
        named = shown.ack.message_id
        kinds = (one.kind for one in self._shown.values() if one.ack is None and one.content.message_id == named)
        return replace(claim, message_id=named, kind=next(kinds, None), officer=shown.ack.officer)

    def _judge(self, said: _Said) -> tuple[Verdict, EvidenceProblem | None]:
        verified = said.verified
        if isinstance(verified, StatementError):
            return Verdict.NOT_PROVED, EvidenceProblem(verified.reason)
        if self._is_in_doubt(said.agency, verified.checkpoint):
            return Verdict.CONTRADICTED, EvidenceProblem.KEY_NOT_VALID
        if LogHead.of(verified.checkpoint) in self._in_conflict:
            return Verdict.CONTRADICTED, EvidenceProblem.KEY_NOT_VALID
        if verified not in self._counting:
            return Verdict.NOT_PROVED, EvidenceProblem.KEY_NOT_VALID
        if isinstance(said.entry, Issued) and said.envelope in self._mismatched:
            return Verdict.NOT_PROVED, EvidenceProblem.CONTENT_MISMATCH
        return Verdict.PROVED, None

    def _judge_ack(self, shown: _Shown, ack: Ack) -> tuple[Verdict, EvidenceProblem | None]:
        """Whether an ack counts for the message that it names (PROTOCOL §11)."""
        answering, asked = shown.facts.sender, shown.facts.recipient
        sealed = [
            other
            for other in self._shown.values()
            if other.ack is None and other.facts.sender == asked and other.content.message_id == ack.message_id
        ]
        to_it = [other for other in sealed if other.facts.recipient == answering]
        if to_it:
            if any(ack.names(other.content.content) for other in to_it):
                return Verdict.PROVED, None
            return Verdict.NOT_PROVED, EvidenceProblem.CONTENT_MISMATCH
        if sealed or not self._was_sent(asked, answering):
            return Verdict.NOT_PROVED, EvidenceProblem.STATEMENT_MISSING
        # The message is not on show. The ack names it, and there is an envelope that can have carried it.
        return Verdict.PROVED, None

    def _was_sent(self, sender: AgencyId, recipient: AgencyId) -> bool:
        return any(
            said.agency == sender
            and isinstance(said.entry, Issued)
            and said.facts is not None
            and said.facts.recipient == recipient
            and said.facts.envelope_hash not in self._shown
            and self._judge(said)[0] is Verdict.PROVED
            for said in self._said
        )

    # what it is about

    def message_id(self) -> MessageId | None:
        """The one message that the file is about: the one on show, else the one that its acks name."""
        shown = {one.content.message_id for one in self._shown.values() if one.ack is None}
        if not shown:
            shown = {one.ack.message_id for one in self._shown.values() if one.ack is not None}
        return shown.pop() if len(shown) == 1 else None

    def case_id(self) -> str | None:
        """The one case that the content on show names."""
        cases = {one.case_id for one in self._shown.values() if one.case_id is not None}
        return cases.pop() if len(cases) == 1 else None


_KINDS: Mapping[type[Entry], ClaimKind] = {
    Issued: ClaimKind.ISSUED,
    Custody: ClaimKind.CUSTODY,
    Receipt: ClaimKind.STORED,
    Refused: ClaimKind.REFUSED,
}


def _identity(agency: AgencyId, entry: Entry) -> _Envelope | None:
    match entry:
        case Issued():
            return agency, entry.envelope_id
        case Custody() | Receipt() | Refused():
            return entry.sender, entry.envelope_id
        case _:
            return None


def _open_content(envelope: ParsedEnvelope, item: ContentItem) -> _Shown | None:
    try:
        content = verify_commitment(envelope.header, item.opening, item.rest)
    except RefusalError:
        return None
    saying = read_saying(content.content)
    return _Shown(envelope.facts, content, saying.ack, saying.case_id, saying.kind)
