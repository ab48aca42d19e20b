"""One message that an operator hands in, on its way to being durable, and what is wrong with it in an operator's words.

Owns these values; the steps are `submitting` and `preparing`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from exchange.alerts import Completed, Defaults, InvalidAlert, MarkingContradiction, complete
from keys.ids import AgencyId, MessageId
from nodes.errors import NodeError, OperationError, Problem
from nodes.posting import Prepared
from nodes.reading import Document
from nodes.store.contract import MessageRow, OperatorRow


@dataclass(slots=True)
class Submission:
    """One message on its way: what was asked, and what it came to so far, which is one of the last three."""

    caller: OperatorRow
    args: Document
    recipients: list[AgencyId]
    message_id: MessageId
    digest: str  # of the input and the recipients: a repeat with the same id must bring the same
    text: bytes = b""
    tree: Document = field(default_factory=dict)
    case_id: str = ""  # that it opens, named or drawn
    year: int | None = None  # in which the node drew its case number, if it did
    completed: Completed | None = None
    prepared: Prepared | None = None
    leave_out: str = "--to"  # the option by which the caller goes on without a recipient; see Posting.prepare
    earlier: MessageRow | None = None
    error: NodeError | None = None


def completed(tree: Document, defaults: Defaults) -> Completed:
    """The message a tree means. Raises OperationError with all its problems."""
    try:
        return complete(tree, defaults)
    except InvalidAlert as error:
        raise invalid(error) from error


def invalid(error: InvalidAlert) -> OperationError:
    """A document's problems as the operator's error."""
    problems = tuple(Problem(p.path, p.rule, p.message, p.example) for p in error.problems)
    if isinstance(error, MarkingContradiction):
        return OperationError(
            "marking_contradiction",
            "the handling markings contradict each other; nothing was posted",
            "put right what is named, then the same again",
            problems,
        )
    code = "too_large" if any(problem.rule == "too_large" for problem in problems) else "invalid_alert"
    number = len(problems)
    return OperationError(
        code,
        f"the message has {number} problem{'s' if number != 1 else ''}; nothing was posted",
        "put right what is named, then the same again",
        problems,
    )
