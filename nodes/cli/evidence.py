"""The verbs about evidence. Owns the file on its way out: whole, private, read back before it is told."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from hashlib import sha256
from pathlib import Path

import click

from nodes.cli.client import Answer
from nodes.cli.invocation import Invocation
from nodes.cli.views.evidence import view_exported
from nodes.directory import write_whole
from nodes.errors import OperationError


@click.command
@click.argument("id_", metavar="ID|CASE")
@click.option("-o", "output", required=True, metavar="F", type=click.Path(path_type=Path), help="The file to write.")
@click.option("--with-content", is_flag=True, help="Also what was said. A disclosure, and logged as one.")
@click.pass_obj
def export(invocation: Invocation, id_: str, output: Path, with_content: bool) -> int:
    """Write the proofs of a message or case to a file that a stranger can check, without a node, years later."""
    answer = invocation.ask("evidence_export", {"id": id_, "with_content": with_content}, wait_s=300)
    data = _bytes(answer)
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
        invocation.say(f"{left_out} acks carry text and were left out; --with-content takes them in")
    return invocation.show(Answer(document, answer.exit), view_exported)


def _bytes(answer: Answer) -> bytes:
    try:
        return b64decode(answer.extra["file_base64"], validate=True)
    except (KeyError, TypeError, Base64Error, ValueError) as problem:
        raise OperationError(
            "internal", "the node answered without a file", "compare `tocsin version` with what `tocsin status` shows"
        ) from problem
