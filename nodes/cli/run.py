"""`tocsin run`: the daemon in the foreground. Owns the ready line and the exits; the node is `nodes.daemon`."""

from __future__ import annotations

import json
import os
import sys

import click

from nodes.cli.invocation import Invocation


@click.command()
@click.option("--ready-fd", type=int, metavar="N", help="Write the ready line to this descriptor too, then close it.")
@click.pass_obj
def command(invocation: Invocation, ready_fd: int | None) -> int:
    """Run the node until SIGTERM; a second one ends it at once."""
    from nodes.config import load_config
    from nodes.daemon import Ready, run_daemon
    from nodes.logging import configure

    passphrase = invocation.passphrase()
    configure("debug" if invocation.verbosity else load_config(invocation.directory).log_level.value)

    def on_ready(ready: Ready) -> None:
        line = json.dumps(ready.document(), ensure_ascii=False)
        if invocation.as_json:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
        else:
            where = ready.listen or "no address: it only calls out"
            invocation.say(f"{ready.agency} is ready, listening on {where} (pid {os.getpid()})")
        if ready_fd is not None:
            with os.fdopen(ready_fd, "w", encoding="utf-8") as pipe:
                pipe.write(line + "\n")

    run_daemon(str(invocation.directory), passphrase, on_ready=on_ready)
    return 0
