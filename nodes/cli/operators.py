"""The verbs about operators. Knows which roles there are by their names only; what each may do is the node's."""

from __future__ import annotations

import click

from nodes.cli.invocation import Invocation
from nodes.cli.views.peers import view_operators

ROLES = ("analyst", "releaser", "auditor", "admin")


@click.command
@click.argument("ref")
@click.option("--uid", type=click.IntRange(0), required=True, metavar="N", help="The user id that it works under.")
@click.option(
    "--role", "roles", multiple=True, required=True, metavar="R[,R]", help=f"One or more of {', '.join(ROLES)}."
)
@click.option(
    "--program", is_flag=True, help="It is no person: it never opens, accepts or rejects without naming an officer."
)
@click.pass_obj
def add(invocation: Invocation, ref: str, uid: int, roles: tuple[str, ...], program: bool) -> int:
    """Enrol REF, a name or number that means something to your agency only."""
    named = [role.strip().lower() for listed in roles for role in listed.split(",") if role.strip()]
    for role in named:
        if role not in ROLES:
            raise click.BadParameter(f"{role!r} is none of {', '.join(ROLES)}", param_hint="'--role'")
    arguments = {"ref": ref, "uid": uid, "roles": list(dict.fromkeys(named)), "program": program}
    return invocation.show(invocation.ask("operator_add", arguments), view_operators)


@click.command
@click.pass_obj
def list_(invocation: Invocation) -> int:
    """List the operators."""
    return invocation.show(invocation.ask("operator_list"), view_operators)


@click.command
@click.argument("ref")
@click.pass_obj
def remove(invocation: Invocation, ref: str) -> int:
    """Remove REF. What it did stays recorded under that reference."""
    return invocation.show(invocation.ask("operator_remove", {"ref": ref}), view_operators)
