"""The tree of commands: names, one line about each, where each lives. A command's module is loaded when it is used.

Loading all of them would cost every call what only `run` needs; `--help` prints this table and loads none.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import NamedTuple, TypeAlias

import click

from nodes.cli.invocation import Invocation


class Entry(NamedTuple):
    """One command: `module:attribute` of its click.Command, and its line in the list."""

    place: str
    help: str


class Branch(NamedTuple):
    """A group of commands."""

    help: str
    entries: Mapping[str, Entry]


Tree: TypeAlias = "Mapping[str, Entry | Branch]"

COMMANDS: Tree = {
    "init": Entry("nodes.cli.init:command", "Make a node: its directory, keys, card."),
    "run": Entry("nodes.cli.run:command", "Run the node until it is told to stop."),
    "demo": Entry("nodes.cli.demo:command", "Three agencies on this machine exchange an alert."),
    "card": Entry("nodes.cli.card:command", "Print this agency's card, to be handed to others."),
    "peer": Branch(
        "The agencies this one exchanges with.",
        {
            "add": Entry("nodes.cli.peer:add", "Add a peer by its card; its typed safety code confirms it."),
            "list": Entry("nodes.cli.peer:list_", "List the peers."),
            "show": Entry("nodes.cli.peer:show", "Show one peer."),
            "suspend": Entry("nodes.cli.peer:suspend", "Stop exchanging with a peer, at once."),
            "resume": Entry("nodes.cli.peer:resume", "Exchange with a suspended peer again."),
            "remove": Entry("nodes.cli.peer:remove", "Forget a peer."),
            "replace": Entry("nodes.cli.peer:replace", "Take a peer's new root in place of the old one."),
        },
    ),
    "operator": Branch(
        "The persons and programs that may use this node.",
        {
            "add": Entry("nodes.cli.operators:add", "Enrol an operator by its uid, or change its roles."),
            "list": Entry("nodes.cli.operators:list_", "List the operators."),
            "remove": Entry("nodes.cli.operators:remove", "Remove an operator."),
        },
    ),
    "post": Entry("nodes.cli.post:post", "Post an alert, or another message, to the agencies named."),
    "new": Entry("nodes.cli.new:new", "Write a message in your editor and post it."),
    "drafts": Entry("nodes.cli.new:drafts", "List, show or delete drafts."),
    "inbox": Entry("nodes.cli.read:inbox", "List what was received."),
    "sent": Entry("nodes.cli.follow:sent", "List what was posted, and who has it."),
    "show": Entry("nodes.cli.read:show", "Show a message or a case."),
    "watch": Entry("nodes.cli.read:watch", "Print what arrives, as it arrives."),
    "ack": Entry("nodes.cli.read:ack", "Accept, reject or report on a message received."),
    "track": Entry("nodes.cli.follow:track", "Show what became of a message or case, per recipient."),
    "why": Entry("nodes.cli.follow:why", "Say in a sentence where each recipient stands, and what to do."),
    "resend": Entry("nodes.cli.follow:resend", "Send a message to a recipient once more, in a new envelope."),
    "update": Entry("nodes.cli.post:update", "Post the new full state of a case."),
    "cancel": Entry("nodes.cli.post:cancel", "Call an alert off."),
    "resolve": Entry("nodes.cli.post:resolve", "Close a case with its outcome."),
    "renew": Entry("nodes.cli.post:renew", "Let an alert run longer."),
    "note": Entry("nodes.cli.post:note", "Add a note to a case."),
    "evidence": Branch(
        "Proof for strangers, in one file.",
        {
            "export": Entry("nodes.cli.evidence:export", "Write the proofs of a message or case to a file."),
            "verify": Entry("nodes.cli.evidence:verify", "Check an evidence file; needs no node."),
        },
    ),
    "log": Branch(
        "This node's own log.",
        {
            "verify": Entry("nodes.cli.service:log_verify", "Check the whole log against its signed heads."),
            "reopen": Entry("nodes.cli.service:log_reopen", "Open a new generation of the log."),
        },
    ),
    "status": Entry("nodes.cli.service:status", "Show how the node is."),
    "doctor": Entry("nodes.cli.service:doctor", "Check this node, or the line to a peer, step by step."),
    "notice": Branch(
        "The notice that wakes a person.",
        {"test": Entry("nodes.cli.service:notice_test", "Run the notice command once.")},
    ),
    "keys": Branch(
        "This agency's keys.",
        {
            "status": Entry("nodes.cli.service:keys_status", "Show the keys and how long they last."),
            "rotate": Entry("nodes.cli.service:keys_rotate", "Change the node key pair now."),
            "export-root": Entry("nodes.cli.ceremony:export_root", "Move the agency root out of the directory."),
            "anchor": Entry("nodes.cli.ceremony:anchor", "Sign the next anchor with the root, off line."),
        },
    ),
    "schema": Entry("nodes.cli.about:schema", "Print the JSON Schema of a kind of message."),
    "codes": Entry("nodes.cli.about:codes", "Name the lists of codes; or print one, for example L38."),
    "version": Entry("nodes.cli.about:version", "Print the version."),
    "help": Entry("nodes.cli.about:help_", "Explain a command."),
}

CODE_OPTIONS: Mapping[tuple[str, str], str] = {
    ("update", "--why"): "L55",
    ("cancel", "--reason"): "L34c",
    ("resolve", "--outcome"): "L34r",
    ("ack", "--reject"): "L38",
}
"""Which list the code of an option is from. What asks for a code names the command that shows the list."""


class LazyGroup(click.Group):
    """A group whose commands are loaded when they are used."""

    def __init__(self, name: str, help_: str, tree: Tree) -> None:
        super().__init__(name, help=help_)
        self.tree = tree

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 # click's signature
        """In the table's order, which is that of a day's work."""
        return list(self.tree)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        entry = self.tree.get(cmd_name)
        if entry is None:
            return None
        if isinstance(entry, Branch):
            return with_global_options(LazyGroup(cmd_name, entry.help, entry.entries))
        module, _, attribute = entry.place.partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)  # noqa: S101 # the table is ours; tests load every entry
        command.name = cmd_name
        return with_global_options(command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.tree and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], self.tree, n=1)
            ask = f", did you mean {near[0]!r}?" if near else f"; `{ctx.command_path} --help` lists them"
            raise click.UsageError(f"there is no command {args[0]!r}{ask}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The list, from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self.tree.items()])


def with_global_options(command: click.Command) -> click.Command:
    """The same command, taking the global options too: `tocsin -D x status` and `tocsin status -D x` are one."""
    if not any(option.name == "global_directory" for option in command.params):
        command.params.extend(_global_options())
    if isinstance(command, click.Group):
        for inner in command.commands.values():  # those of a group that is no branch of the table
            with_global_options(inner)
    return command


def _global_options() -> list[click.Option]:
    return [
        _option(("-D", "global_directory"), "directory_option", "The node's directory [TOCSIN_DIR].", metavar="DIR"),
        click.Option(
            ("--json", "global_json"), is_flag=True, expose_value=False, help="Answer with one JSON object."
        ),  # nodes.cli.invocation.wants_json looks for it before options are parsed
        _option(("--lang", "global_language"), "language", "Language wanted first, a BCP 47 tag.", metavar="TAG"),
        click.Option(
            ("-v", "global_verbosity"),
            count=True,
            expose_value=False,
            callback=_count,
            help="Say more on standard error.",
        ),
        _option(
            ("--passphrase-file", "global_passphrase_file"),
            "passphrase_file",
            "File that holds the passphrase [TOCSIN_PASSPHRASE_FILE].",
            metavar="F",
        ),
    ]


def _option(declaration: tuple[str, str], attribute: str, help_: str, *, metavar: str) -> click.Option:
    def remember(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
        del parameter
        if value is not None:
            setattr(ctx.find_object(Invocation), attribute, value)

    return click.Option(declaration, metavar=metavar, expose_value=False, callback=remember, help=help_)


def _count(ctx: click.Context, parameter: click.Parameter, value: int) -> None:
    del parameter
    invocation = ctx.find_object(Invocation)
    if invocation is not None:
        invocation.verbosity += value


def root() -> click.Command:
    """`tocsin` itself."""
    group = with_global_options(
        LazyGroup(
            "tocsin",
            "Exchange of kidnapping alerts between agencies: signed, sealed, receipted.\n\n"
            "An alert: tocsin post F --to AGENCY. What came: tocsin inbox. What became of it: tocsin track ID.",
            COMMANDS,
        )
    )
    group.context_settings = {"help_option_names": ["-h", "--help"], "max_content_width": 120}
    return group
