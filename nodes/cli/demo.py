"""`tocsin demo`: tells the story of one kidnapping with three real nodes. Owns the clock at the left and the ticks at
the end; with --json they are the one document, and the story is told on standard error.
"""

from __future__ import annotations

import shlex
import signal
import tempfile
import time
from pathlib import Path
from types import FrameType

import click

from nodes.cli.invocation import Invocation


@click.command()
@click.option("--keep", is_flag=True, help="Leave the three nodes running to play with, until Ctrl-C.")
@click.pass_obj
def command(invocation: Invocation, keep: bool) -> int:  # a flag of click
    """Three agencies on this machine exchange one alert; every claim is checked. Exit 1 if one fails."""
    from nodes.cli.demonstration.agencies import Agency, DemoError, remove
    from nodes.cli.demonstration.story import CLAIMS, Story

    began = time.monotonic()

    def tell(line: str) -> None:
        click.echo(line, err=invocation.as_json)

    def say(line: str) -> None:
        tell(f"{time.monotonic() - began:5.1f} s  {line}")

    def detail(line: str) -> None:
        if invocation.verbosity:
            tell(f"{'':9}{line}")

    class KeptStory(Story):
        def keep(self, agencies: list[Agency]) -> None:
            if not keep:
                return
            tell("\nThe nodes go on running. In another terminal, for example:")
            for agency in agencies:
                tell(f"  tocsin -D {shlex.quote(str(agency.directory))} inbox")
            tell("Ctrl-C ends them and removes everything.")
            signal.pause()

    signal.signal(signal.SIGTERM, _interrupt)
    home = Path(tempfile.mkdtemp(prefix="tocsin-demo-"))
    story = KeptStory(home, say, detail)
    try:
        held = story.tell()
    except DemoError as error:
        say(f"FAILED: {error}")
        held = False
    except KeyboardInterrupt:
        click.echo("\ninterrupted", err=True)
        return 130
    finally:
        remove(home)
    kept = sum(claim.held for claim in story.claims)
    tell("")
    for claim in story.claims:
        tell(f"  {'✓' if claim.held else '✗'} {claim.text}")
    tell(f"\n{kept} of {CLAIMS} claims held in {time.monotonic() - began:.1f} s")
    if invocation.as_json:
        claims = [{"text": claim.text, "held": claim.held} for claim in story.claims]
        invocation.print_document({"v": 1, "claims": claims, "held": kept, "of": CLAIMS})
    return 0 if held and kept == CLAIMS else 1


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
