"""The verbs about evidence. Owns the file on its way out: whole, private, read back before it is told."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nodes.cli.client import Answer, Document
from nodes.cli.invocation import Invocation
from nodes.cli.output import OUTPUT
from nodes.cli.times import format_millis
from nodes.cli.views.evidence import view_exported, view_verified
from nodes.directory import check_replaceable, write_whole
from nodes.errors import OperationError

if TYPE_CHECKING:
    from exchange.card import VerifiedCard
    from exchange.evidence import EvidenceReport

EXIT_NOT_PROVED = 65
BEGINNING_BYTES = 16  # of an evidence file: these are the same in all


@click.command
@click.argument("id_", metavar="ID|CASE")
@click.option("-o", "output", required=True, metavar="F", type=OUTPUT, help="The file to write.")
@click.option("--with-content", is_flag=True, help="Also what was said. A disclosure, and logged as one.")
@click.pass_obj
def export(invocation: Invocation, id_: str, output: Path, with_content: bool) -> int:
    """Write the proofs of a message or case to a file that a stranger can check, without a node, years later."""
    answer = invocation.ask("evidence_export", {"id": id_, "with_content": with_content}, wait_s=300)
    data = _bytes(answer)
    check_replaceable(output, data[:BEGINNING_BYTES])
    write_whole(output, data, mode=0o600)
    digest = sha256(data).hexdigest()
    try:
        written = sha256(output.read_bytes()).hexdigest()
    except OSError as problem:
        raise OperationError(
            "io_error", f"cannot read {output} back: {problem.strerror}", "export it again"
        ) from problem
    if written != digest:
        raise OperationError(
            "io_error", f"{output} does not hold what was written", "the disk may be failing: another disk"
        )
    document = {**answer.document, "file": str(output), "sha256": digest, "size": len(data)}
    left_out = answer.extra.get("left_out")
    if left_out:
        invocation.say(f"left out, because they carry text: {left_out} of the acks; --with-content takes them in")
    other_root = answer.extra.get("other_root")
    if other_root:
        invocation.say(
            f"left out, because an agency has another root since: {other_root} statements; a file holds one root of"
            " each agency; give message ids one by one instead of the case"
        )
    return invocation.show(Answer(document, answer.exit), view_exported)


def _bytes(answer: Answer) -> bytes:
    try:
        return b64decode(answer.extra["file_base64"], validate=True)
    except (KeyError, TypeError, Base64Error, ValueError) as problem:
        raise OperationError(
            "internal", "the node answered without a file", "compare `tocsin version` with what `tocsin status` shows"
        ) from problem


@click.command
@click.argument("file")
@click.option("--trust", "trusted", multiple=True, metavar="CARD|CODE", help="A card or safety code that you trust.")
@click.option("--require-trust", is_flag=True, help="What an agency says that you did not name is not proved.")
@click.pass_obj
def verify(invocation: Invocation, file: str, trusted: tuple[str, ...], require_trust: bool) -> int:
    """Check an evidence FILE (`-` is standard input). Needs no node, no network and no key of yours."""
    from exchange.errors import EvidenceError
    from exchange.evidence import verify_evidence
    from exchange.evidence_file import MAX_EVIDENCE_BYTES

    data = invocation.read_input(file, MAX_EVIDENCE_BYTES)
    cards, codes = _trusted(invocation, trusted)
    try:
        report = verify_evidence(data, trusted_codes=codes, extra_cards=cards, require_trust=require_trust)
    except EvidenceError as error:
        document = _refused(file, error.reason.value)
    else:
        document = _document(file, report)
    return invocation.show(Answer(document, 0 if document["verdict"] == "proved" else EXIT_NOT_PROVED), view_verified)


def _trusted(invocation: Invocation, given: tuple[str, ...]) -> tuple[list[VerifiedCard], list[str]]:
    """Cards and codes that the reader trusts. What is the name of a file is a card, else it must be a code."""
    from exchange.card import CardError, parse_card
    from keys.errors import EncodingError
    from keys.safety_code import normalise_code

    cards, codes = [], []
    for text in given:
        if Path(text).exists():
            try:
                cards.append(parse_card(invocation.read_input(text)))
            except CardError as error:
                message = f"{text} is no usable card ({error.reason})"
                raise OperationError("invalid_card", message, "ask for the file again, or give the code") from error
            continue
        try:
            codes.append(normalise_code(text))
        except EncodingError as error:
            message = f"--trust {text!r} is neither a file nor a safety code"
            raise OperationError("usage", message, "for example --trust 7KQ2-M9XD-4T0A-VB3E-H6WZ") from error
    return cards, codes


def _document(file: str, report: EvidenceReport) -> Document:
    from keys.ids import format_uuid

    return {
        "v": 1,
        "file": file,
        "verdict": report.verdict.value,
        "message_id": None if report.message_id is None else format_uuid(report.message_id),
        "case_id": report.case_id,
        "anchors": [
            {"agency": anchor.agency, "safety_code": anchor.safety_code, "trusted": anchor.trusted}
            for anchor in report.anchors
        ],
        "claims": [
            {
                "claim": claim.claim.value,
                "agency": claim.agency,
                "at": None if claim.at is None else format_millis(claim.at),
                "result": claim.result.value,
                "reason": None if claim.reason is None else claim.reason.value,
                "envelope_id": format_uuid(claim.envelope_id),
                "message_id": None if claim.message_id is None else format_uuid(claim.message_id),
                "kind": claim.kind,
                "officer": claim.officer,
            }
            for claim in report.claims
        ],
        "reason": None,
    }


def _refused(file: str, reason: str) -> Document:
    """A file that proves nothing as a whole; `reason` is why."""
    return {
        "v": 1,
        "file": file,
        "verdict": "not_proved",
        "message_id": None,
        "case_id": None,
        "anchors": [],
        "claims": [],
        "reason": reason,
    }
