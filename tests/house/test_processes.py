"""The children of tests end: with their test, and with a test run that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import Children, spawn_options

ROOT = Path(__file__).resolve().parents[2]

# Holds the pipe it is given open and waits for ever: reading the other end ends when the process is gone.
WAITING = [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"]

# Starts a WAITING child in a session of its own, as a test would, and waits.
PARENT = """
import signal, sys
from tests.processes import Children
Children().start([sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"])
signal.pause()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_child_ends_when_its_test_run_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, **spawn_options()
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        parent.send_signal(signal.SIGKILL)
        assert parent.stdout.read() == b""  # the grandchild held this pipe; its end is the grandchild's end


def test_a_test_s_children_and_their_children_are_gone_when_it_ends() -> None:
    reading, writing = os.pipe()
    children = Children()
    children.start(["sh", "-c", '"$@" & wait', "sh", *WAITING], stdout=writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.readline() == b"up\n"
        children.kill()
        assert pipe.read() == b""


def test_a_program_that_does_not_end_in_time_is_killed(children: Children) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        children.run(WAITING, timeout=0.2)


def test_what_a_program_said_and_its_exit_code_come_back(children: Children) -> None:
    result = children.run(["sh", "-c", "cat; echo grief >&2; exit 7"], given=b"word")
    assert (result.stdout, result.stderr, result.returncode) == (b"word", b"grief\n", 7)
