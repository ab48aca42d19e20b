"""The worker process: completes, judges and seals what the node hands it, batch after batch, until the pipe ends. Owns
its own end; knows no store, no network, no log, no private key.

Run by `nodes.worker` alone. It writes nothing but its answers, and ignores what a terminal or a supervisor says to the
whole group: the node drains, and ends it.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from exchange.alerts import Completed, InvalidAlert
    from nodes.handover import Outcome, Task

LENGTH: Final = struct.Struct("!I")
UP: Final = b""
"""The first answer, before anything was asked: it has started."""

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(parent: int) -> None:
    """Serve the process that started this one: tasks on standard input, outcomes on standard output."""
    if not _end_with(parent):
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # content must not reach a disk
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # whatever the node was started with, and may pass on
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)  # whatever prints: it is no answer
    os.close(nothing)
    work = _loaded()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)  # as the node does, for the same trees
    _put(answers, UP)
    serve(sys.stdin.buffer, answers, work)


def serve(questions: BinaryIO, answers: BinaryIO, work: Callable[[bytes], bytes]) -> None:
    """Answer until the questions end."""
    while len(head := questions.read(LENGTH.size)) == LENGTH.size:
        (length,) = LENGTH.unpack(head)
        question = questions.read(length)
        if len(question) < length:
            return
        _put(answers, work(question))


def _put(answers: BinaryIO, answer: bytes) -> None:
    answers.write(LENGTH.pack(len(answer)))
    answers.write(answer)
    answers.flush()


def _end_with(parent: int) -> bool:
    """Die when the node does, however it dies. The end of the pipe says so too, but only between two batches."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return os.getppid() == parent  # it may have ended before the call


def _loaded() -> Callable[[bytes], bytes]:
    """What answers a batch. Loaded late: half a second in which signals and the parent's end already count."""
    from exchange.alerts import InvalidAlert, complete  # noqa: PLC0415
    from exchange.compose import compose  # noqa: PLC0415
    from exchange.errors import RefusalError  # noqa: PLC0415
    from keys.randomness import random_bytes  # noqa: PLC0415
    from keys.sealing import seal  # noqa: PLC0415
    from nodes.handover import TooLarge, read_tasks, write_outcomes  # noqa: PLC0415

    def completed(task: Task) -> Completed | InvalidAlert | None:
        try:
            return complete(task.tree, task.defaults)
        except InvalidAlert as error:
            return error
        except Exception:  # noqa: BLE001 # the node does it again and says what it meets
            return None

    def composed(task: Task, message: Completed | InvalidAlert | None) -> Outcome:
        if message is None or isinstance(message, InvalidAlert):
            return message
        try:
            return compose(
                message,
                task.given,
                number=lambda index: task.numbers[index] or 0,
                opening=lambda: random_bytes(32),
                seal=seal,
            )
        except RefusalError:
            return TooLarge(message.headline.precedence)
        except Exception:  # noqa: BLE001 # likewise
            return None

    def work(question: bytes) -> bytes:
        # Step by step, as in the node: a step that is repeated finds its code in the processor's cache.
        tasks = read_tasks(question)
        messages = [completed(task) for task in tasks]
        return write_outcomes([composed(task, message) for task, message in zip(tasks, messages, strict=True)])

    return work
