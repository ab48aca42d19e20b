"""Disks of a test's own: whether and how this machine lets it mount what nobody else sees. Knows no disk."""

from __future__ import annotations

import shutil
import subprocess


def own_mounts() -> list[str]:
    """A prefix under which a command may mount what nobody else sees; empty where that cannot be had."""
    unshare = shutil.which("unshare")
    for options in (["-m"], ["-Urm"]):
        if unshare is None:
            break
        trial = [unshare, *options, "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
        if subprocess.run(trial, capture_output=True, check=False).returncode == 0:
            return [unshare, *options]
    return []
