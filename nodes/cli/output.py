"""Where a command writes a file (`-o F`). Owns what may stand there already: a regular file, or nothing.

Files are written beside and renamed (nodes.directory.write_whole). Over a device, a pipe or a link that would put a
regular file in its place, and a program run as root would lose /dev/stdout.
"""

from __future__ import annotations

import stat
from pathlib import Path

import click


class OutputFile(click.Path):
    """A click type: the path of a file to make or to replace, refused as usage before anything is asked or written."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(str(value))
        try:
            mode = path.lstat().st_mode
        except (OSError, ValueError):  # not there, or not to be seen: writing will tell
            return path
        if not stat.S_ISREG(mode):
            self.fail(f"{path} is no regular file; name a new file", param, ctx)
        return path


OUTPUT = OutputFile()
