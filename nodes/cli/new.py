"""`tocsin new` and `tocsin drafts`: a message written in the operator's editor, its drafts sealed in the node."""

from __future__ import annotations

import click

from nodes.cli.client import Document
from nodes.cli.editor import PrivateFile, edit
from nodes.cli.invocation import AnsweredError, Invocation, view_error
from nodes.cli.page import Ours
from nodes.cli.post import confirm, content_of, flat, recipients, send
from nodes.cli.views.drafts import view_draft, view_drafts
from nodes.errors import NodeError, OperationError

FOLLOWING = ("update", "cancel", "resolve", "renew", "note")
FORMAT_SUFFIX = ".yaml"  # templates are YAML, so that they can explain themselves; an editor colours them by this


@click.command
@click.argument("kind", required=False, metavar="[KIND]")
@click.argument("case", required=False, metavar="[CASE]")
@recipients
@click.option("--draft", "draft_id", metavar="ID", help="Go on with a draft instead of an empty template.")
@click.pass_obj
def new(
    invocation: Invocation, kind: str | None, case: str | None, to: tuple[list[str], ...], draft_id: str | None
) -> int:
    """Write a message of KIND (an alert, unless named) in your editor, look at what it will be, post it.

    With CASE, an update begins with the newest state of that case, and a note, cancel, resolve or renew names it.

    The file lies in memory, readable by you alone, and is removed at the end. What was typed is kept as a sealed draft
    in the node from the moment the editor closes until the message is posted.
    """
    if not invocation.can_ask:
        raise OperationError("usage", "`new` needs a person at a terminal", "tocsin post F --to AGENCY")
    if draft_id is not None:
        draft = invocation.ask("draft_show", {"draft_id": draft_id}).document
        draft_id, kind, text = str(draft["draft_id"]), str(draft["kind"]), str(draft["text"])
    else:
        kind = kind or "alert"
        text = str(invocation.ask("new_template", {"kind": kind, "case": case}).document["text"])
    with PrivateFile(text, FORMAT_SUFFIX) as file:
        writing = _Writing(invocation, kind, flat(to), draft_id, file)
        try:
            return writing.until_posted(template=text if draft_id is None else None)
        except NodeError:
            if writing.unsaved:
                file.keep()
                invocation.say(
                    "what you wrote could not be saved; it is in ", str(file.path), " until this machine restarts"
                )
            raise


class _Writing:
    """One message from the first line to the post."""

    def __init__(
        self, invocation: Invocation, kind: str, to: list[str], draft_id: str | None, file: PrivateFile
    ) -> None:
        self._invocation = invocation
        self._kind = kind
        self._to = to
        self._draft_id = draft_id
        self._file = file
        self.unsaved = False

    def until_posted(self, *, template: str | None) -> int:
        """Edit, save, look, post; back to the editor as often as the person likes."""
        while True:
            text = self._edited()
            if not text.strip() or text == template:
                self._invocation.say("nothing was written, nothing was posted")
                raise click.Abort
            if self._kind not in FOLLOWING:  # those go to everyone the case went to
                self._ask_to_whom()
            try:
                confirm(self._invocation, "post", {**content_of(text.encode()), "to": self._to})
                return self._post(text)
            except AnsweredError as error:
                self._explain(error)
            except click.Abort:
                pass
            if self._invocation.question("Edit again? [Y/n] ").lower() in ("n", "no"):
                self._invocation.say("kept as a draft; go on with: ", Ours(self._resume()))
                raise click.Abort

    def _edited(self) -> str:
        try:
            edit(self._file.path)
        finally:
            # Also when the terminal is closed under the editor: what was saved there is worth keeping.
            before = self._file.text
            self._file.read_back()
            if self._file.text != before:
                self._save(self._file.text)
        return self._file.text

    def _save(self, text: str) -> None:
        self.unsaved = True
        answer = self._invocation.ask("draft_save", {"draft_id": self._draft_id, "kind": self._kind, "text": text})
        self._draft_id = str(answer.document["draft_id"])
        self.unsaved = False

    def _ask_to_whom(self) -> None:
        while not self._to:
            typed = self._invocation.question("To (agencies, separated by commas; Enter: keep as draft): ")
            if not typed:
                self._invocation.say("kept as a draft; go on with: ", Ours(self._resume()))
                raise click.Abort
            self._to = [name.strip().lower() for name in typed.split(",") if name.strip()]

    def _post(self, text: str) -> int:
        # A draft is posted under its own id: gone on with after a lost answer, it finds itself and is not posted twice.
        arguments: Document = {**content_of(text.encode()), "to": self._to, "id": self._draft_id}
        retry = f"run this again, it cannot post twice: {self._resume()}"
        status = send(self._invocation, "post", {**arguments, "explain": False, "wait_s": 0}, retry=retry)
        self._invocation.ask("draft_delete", {"draft_id": self._draft_id})
        return status

    def _explain(self, error: NodeError) -> None:
        page = self._invocation.page()
        view_error(error.document(), page)
        self._invocation.print_page(page)

    def _resume(self) -> str:
        to = f" --to {','.join(self._to)}" if self._to else ""
        return f"tocsin new --draft {self._draft_id}{to}"


@click.group(invoke_without_command=True)
@click.pass_context
def drafts(context: click.Context) -> int:
    """List the drafts that lie sealed in the node."""
    if context.invoked_subcommand is not None:
        return 0
    invocation = context.find_object(Invocation)
    assert invocation is not None  # noqa: S101 # set by main for every call
    return invocation.show(invocation.ask("drafts"), view_drafts)


@drafts.command("show")
@click.argument("draft_id", metavar="ID")
@click.pass_obj
def drafts_show(invocation: Invocation, draft_id: str) -> int:
    """Print a draft."""
    return invocation.show(invocation.ask("draft_show", {"draft_id": draft_id}), view_draft)


@drafts.command("delete")
@click.argument("draft_id", metavar="ID")
@click.pass_obj
def drafts_delete(invocation: Invocation, draft_id: str) -> int:
    """Delete a draft."""
    draft_id = str(invocation.ask("draft_show", {"draft_id": draft_id}).document["draft_id"])
    return invocation.show(invocation.ask("draft_delete", {"draft_id": draft_id}), view_drafts)
