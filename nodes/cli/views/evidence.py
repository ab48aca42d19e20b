"""Evidence on the screen: what a file holds, and what it proves to whom."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from nodes.cli.page import ALARM, CAUTION, GOOD, QUIET, STRONG, Ours, Page, Piece, Styled, Whole
from nodes.cli.times import show_size, show_time
from nodes.cli.views.fields import Document, objects, short, text
from nodes.cli.words import LEVELS, word

_VERDICTS = {
    "proved": ("PROVED", GOOD),
    "not_proved": ("NOT PROVED", CAUTION),
    "contradicted": ("CONTRADICTED", ALARM),
}
_OTHER_ROOT = ("contradicted", "wrong_key")
_REASONS: Mapping[tuple[str, str], str] = {  # by result and reason; "" is any result
    _OTHER_ROOT: "the file was made with another root key than that of the agency you trust",
    ("contradicted", "key_not_valid"): "the agency's own keys or heads in the file contradict one another: ask it",
    ("", "wrong_key"): "not signed by a key that you trust: compare its safety code, then name it with --trust",
    ("", "key_not_valid"): "the key was no longer valid at that place of the log, as far as this file shows",
    ("", "bad_encoding"): "the bytes are damaged, or were changed: ask for the file again",
    ("", "bad_checkpoint_signature"): "it does not verify: the file was damaged, or changed",
    ("", "bad_inclusion_proof"): "it does not lead to the signed log: the file was damaged, or changed",
    ("", "card_invalid"): "the keys of an agency in the file do not verify",
    ("", "content_mismatch"): "the content is not what was committed to",
    ("", "recipient_mismatch"): "it was addressed to another agency",
    ("", "statement_missing"): "the file holds no signed statement of it",
    ("", "file_truncated"): "the end is missing: ask for the file again",
    ("", "not_evidence"): "this is no evidence file of Tocsin",
}


def view_exported(document: Document, page: Page) -> None:
    """What `evidence export` wrote."""
    file = text(document, "file")
    page.line("Written and read back: ", Whole(file), f", {show_size(document.get('size'))}", style=GOOD)
    page.field("message", text(document, "message_id"))
    page.field("sha256", text(document, "sha256"))
    page.line(Ours(f"Next: tocsin evidence verify {shlex.quote(file)}"))


def view_verified(document: Document, page: Page) -> None:
    """What a file proves: the verdict with its condition, then each claim, then what to do about the rest."""
    claims = list(objects(document, "claims"))
    _verdict(document, claims, page)
    page.field("file", Whole(text(document, "file")))
    page.field("message", text(document, "message_id"))
    page.field("case", text(document, "case_id"))
    page.table(["  claim", "of", "by", "at", "result"], [(_row(claim), "") for claim in claims])
    _explain(document, claims, page)
    page.line("Checked with the keys in the file itself, not with any server.", style=QUIET)


def _verdict(document: Document, claims: Sequence[Document], page: Page) -> None:
    """One word for the whole file. A condition makes something of a proof only, so it stands where there is one."""
    said = text(document, "verdict")
    verdict = Styled(*_VERDICTS.get(said, (said, "")))
    unnamed = [anchor for anchor in objects(document, "anchors") if anchor.get("trusted") is not True]
    if said == "proved" and unnamed:
        for number, anchor in enumerate(unnamed):
            begin = (verdict, ", if ") if number == 0 else ("        and ",)
            page.line(*begin, *_code_of(anchor))
        page.line(
            Ours("Compare with a card you trust, or by telephone; then: tocsin evidence verify FILE --trust CARD|CODE")
        )
        return
    reasons = [text(document, "reason"), *(text(claim, "reason") for claim in claims if claim.get("result") == said)]
    reason = next((reason for reason in reasons if reason), "")
    page.line(verdict, f": {reason.replace('_', ' ')}" if reason else "")
    if meaning := _meaning(said, reason):
        page.line("  ", meaning)
    other = {text(claim, "agency") for claim in claims if (claim.get("result"), claim.get("reason")) == _OTHER_ROOT}
    rows: list[tuple[list[Piece], str]] = []
    for anchor in unnamed:
        agency = text(anchor, "agency")
        whose = "not the one that you trust" if agency in other else "you named none"
        rows.append(([("  ", agency), Styled(text(anchor, "safety_code"), STRONG), whose], ""))
    page.table(["  agency", "its safety code in this file", ""], rows)


def _explain(document: Document, claims: Sequence[Document], page: Page) -> None:
    """Each reason once in a sentence, but for the first of the verdict, which stands with it."""
    pairs = dict.fromkeys((text(claim, "result"), text(claim, "reason")) for claim in claims)
    told = next((pair for pair in pairs if pair[0] == document.get("verdict") and pair[1]), None)
    for result, reason in pairs:
        if (result, reason) != told and (said := _meaning(result, reason)):
            page.line(reason.replace("_", " "), ": ", said)


def _code_of(anchor: Document) -> tuple[Piece, ...]:
    return ("the safety code of ", text(anchor, "agency"), " is ", Styled(text(anchor, "safety_code"), STRONG))


def _row(claim: Document) -> list[Piece]:
    result, style = _VERDICTS.get(text(claim, "result"), (text(claim, "result"), ""))
    reason = text(claim, "reason").replace("_", " ")
    return [
        ("  ", word(LEVELS, claim.get("claim"))),
        _about(claim),
        [text(claim, "agency"), f" {text(claim, 'officer')}" if claim.get("officer") else ""],
        show_time(claim.get("at")),
        [Styled(result.lower(), style), f" ({reason})" if reason else ""],
    ]


def _meaning(result: str, reason: str) -> str:
    """A reason as a sentence; "" where there is none, or for one that this version does not know."""
    return _REASONS.get((result, reason)) or _REASONS.get(("", reason), "")


def _about(claim: Document) -> str:
    """Which message a claim is about: `alert 567890ab`, or its envelope where the file shows no content."""
    if claim.get("message_id"):
        return f"{text(claim, 'kind') or 'message'} {short(text(claim, 'message_id'))}"
    return f"envelope {short(text(claim, 'envelope_id'))}" if claim.get("envelope_id") else ""
