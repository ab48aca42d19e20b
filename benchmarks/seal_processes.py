"""What sealing costs in the process that asks and in one or two others: hand-over, processor time, throughput. Owns
these figures; no node, no network, no disk.

    python -m benchmarks.seal_processes [COUNT]

Sealing is the product's own: deflating, padding, HPKE. The hand-over is lean: tuples, a batch in one write on a pipe,
and no event loop, which a node would pay for too.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TypeAlias

from exchange.envelope import Precedence, SealRequest, seal_message
from keys.ids import AgencyId, EnvelopeId, MessageId
from keys.randomness import random_bytes
from keys.sealing import EpochKeyPair, seal

BATCHES = (1, 16, 64)
RUNS = 5
# Batches that each process has before it, so that it never waits for the next one. What is in flight must fit a pipe's
# buffer both ways: nobody reads while writing.
BUSY_BATCH, IN_FLIGHT = 16, 3

Job: TypeAlias = tuple[bytes, bytes, str, str, int, int, int, int, int, bytes]
"""What fixes an envelope but for the key, in the order in which `seal_job` takes it apart."""

Sealed: TypeAlias = tuple[bytes, bytes, bytes, bytes, bytes]
"""Header, body, both hashes and the opening: what a sender needs to go on."""


def jobs(count: int, content: bytes) -> list[Job]:
    """So many distinct messages."""
    return [
        (random_bytes(16), random_bytes(16), "ponal.co", "bka.de", 1, 1, 2, 1, n, b"%08d" % n + content)
        for n in range(1, count + 1)
    ]


def seal_job(public: bytes, job: Job) -> Sealed:
    """One envelope, by the product's own functions."""
    envelope_id, message_id, sender, recipient, precedence, sent_at, deliver_by, generation, n, content = job
    request = SealRequest(
        envelope_id=EnvelopeId(envelope_id),
        sender=AgencyId(sender),
        recipient=AgencyId(recipient),
        epoch_number=1,
        precedence=Precedence(precedence),
        sent_at=sent_at,
        deliver_by=deliver_by,
        generation=generation,
        number=n,
        message_id=MessageId(message_id),
        content=content,
    )
    sealed = seal_message(request, lambda info, plaintext: seal(public, info, plaintext), random_bytes(32))
    return sealed.header_bytes, sealed.body, sealed.body_hash, sealed.envelope_hash, sealed.opening


def work(line: Connection) -> None:
    """A sealing process: seals batch by batch; an empty one asks what it has used. Ends with its line."""
    try:
        while True:
            public, batch = line.recv()
            if batch:
                line.send([seal_job(public, job) for job in batch])
            else:
                line.send((time.process_time(), _resident_mb()))
    except EOFError:
        return


@contextmanager
def processes(count: int) -> Iterator[list[Connection]]:
    """The lines to so many sealing processes, all of them up."""
    context = get_context("spawn")
    pairs = [context.Pipe() for _ in range(count)]
    running = [context.Process(target=work, args=(theirs,), daemon=True) for _, theirs in pairs]
    for process, (_, theirs) in zip(running, pairs, strict=True):
        process.start()
        theirs.close()
    lines = [ours for ours, _ in pairs]
    used(lines)
    try:
        yield lines
    finally:
        for process, line in zip(running, lines, strict=True):
            line.close()
            process.join()


def used(lines: Sequence[Connection]) -> tuple[float, float]:
    """Seconds of processor time of these processes so far, and the resident memory of the largest, in MB."""
    seconds, memory = 0.0, 0.0
    for line in lines:
        line.send((b"", []))
        spent, resident = line.recv()
        seconds, memory = seconds + spent, max(memory, resident)
    return seconds, memory


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1_048_576


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds for one message, but for the first: messages a second."""

    per_second: float
    asking: float  # processor time of the process that asks
    sealing: float  # and of those that seal for it


def here(public: bytes, messages: Sequence[Job], size: int) -> Cost:
    """Sealed where it is asked for, in batches of `size`."""
    began, before = time.perf_counter(), time.process_time()
    for first in range(0, len(messages), size):
        _ = [seal_job(public, job) for job in messages[first : first + size]]
    wall, cpu = time.perf_counter() - began, time.process_time() - before
    return Cost(len(messages) / wall, cpu / len(messages) * 1e6, 0.0)


def elsewhere(public: bytes, messages: Sequence[Job], size: int, lines: Sequence[Connection], ahead: int) -> Cost:
    """Handed over in batches of `size`, `ahead` of them to each process before its first answer is read."""
    spent, _ = used(lines)
    began, before = time.perf_counter(), time.process_time()
    batches = deque(messages[first : first + size] for first in range(0, len(messages), size))
    unanswered = 0
    for line in list(lines) * ahead:
        unanswered += _hand_over(public, batches, line)
    while unanswered:
        ready = lines if len(lines) == 1 else [line for line in wait(lines) if isinstance(line, Connection)]
        for line in ready:
            sealed: list[Sealed] = line.recv()
            if not sealed:
                raise RuntimeError("a batch came back empty: the run is void")
            unanswered += _hand_over(public, batches, line) - 1
    wall, cpu = time.perf_counter() - began, time.process_time() - before
    return Cost(len(messages) / wall, cpu / len(messages) * 1e6, (used(lines)[0] - spent) / len(messages) * 1e6)


def _hand_over(public: bytes, batches: deque[Sequence[Job]], line: Connection) -> int:
    """How many batches went out: one, or none when there is none left."""
    if not batches:
        return 0
    line.send((public, batches.popleft()))
    return 1


def main() -> int:
    """Measure in turns and print the medians."""
    # A sealing process reads this module too, and shall be as small as it can be.
    from benchmarks.load import alert

    count = int(sys.argv[1]) if len(sys.argv) > 1 else 4_096
    content, public = alert(0).encode(), EpochKeyPair.generate().public
    found: dict[str, list[Cost]] = {}
    with processes(2) as lines:
        memory = used(lines)[1]
        for _ in range(RUNS):
            messages = jobs(count, content)
            for size in BATCHES:
                found.setdefault(f"here, batches of {size}", []).append(here(public, messages, size))
                one = elsewhere(public, messages, size, lines[:1], 1)
                found.setdefault(f"one process, batches of {size}, one after the other", []).append(one)
            for number in (1, 2):
                busy = elsewhere(public, messages, BUSY_BATCH, lines[:number], IN_FLIGHT)
                found.setdefault(f"processes: {number}, batches of {BUSY_BATCH}, never idle", []).append(busy)
    print(
        f"{count} messages of {len(content)} bytes, {RUNS} runs in turns; {memory:.0f} MB resident for each process\n"
    )
    print("| sealed | messages/s | elapsed, us each | processor time, asking and sealing, us each |\n|---|---|---|---|")
    for name, costs in found.items():
        per_second, asking, sealing = (
            statistics.median(values)
            for values in (
                [cost.per_second for cost in costs],
                [cost.asking for cost in costs],
                [cost.sealing for cost in costs],
            )
        )
        print(f"| {name} | {per_second:,.0f} | {1e6 / per_second:.0f} | {asking:.0f}, {sealing:.0f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
