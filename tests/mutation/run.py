"""`make mutation`: do the tests notice every small change of `keys/` and of what decides in `exchange/`?

    python -m tests.mutation.run [--only MODULE ...] [--own] [--workers N] [--survivors FILE]

Exit 1 if the score of a module falls below the floor, if a mutant survives that survivors.toml does not list, or if one
that it lists is killed or gone. Owns the share-out among workers, and the report.
"""

from __future__ import annotations

import argparse
import os
import pickle
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.mutation.campaign import (
    KILLED,
    ROOT,
    SURVIVED,
    TESTS,
    TIMED_OUT,
    Known,
    Verdict,
    judge_at_import,
    judge_in_functions,
    own_tests,
    preload,
    record,
)
from tests.mutation.operators import Mutant, find_mutants
from tests.mutation.survivors import read_survivors
from tests.processes import spawn_options

FLOOR = 0.95
DECIDING = ("admit", "policy", "delivery", "log", "statement", "evidence")  # modules of exchange/
NUMBER_BYTES = 4  # of a mutant, in the pipe that shares them out; all of them fit into its 64 KiB


def modules() -> list[str]:
    """What is mutated."""
    keys = sorted(f"keys/{path.name}" for path in (ROOT / "keys").glob("*.py"))
    return [*keys, *(f"exchange/{name}.py" for name in DECIDING)]


def mutants_of(chosen: Sequence[str]) -> list[Mutant]:
    """Every mutant of these modules."""
    return [mutant for module in chosen for mutant in find_mutants((ROOT / module).read_text(), module)]


# --- the share-out ----------------------------------------------------------------------------------------------------


def judge_all(
    mutants: Sequence[Mutant],
    known: Known,
    *,
    workers: int = 1,
    tests: Sequence[str] = TESTS,
    say: Callable[[Verdict], object] = bool,
) -> list[Verdict]:
    """Judge mutants with so many processes. One that survives where it was put in afterwards is imported as well, if
    tests run it while they are read.
    """
    inside = [mutant for mutant in mutants if mutant.where and known.tests_of(mutant)]
    put_in = {mutant.key for mutant in inside}

    def say_if_last(verdict: Verdict) -> None:
        if verdict.outcome != SURVIVED or not known.is_run_at_import(verdict.mutant):
            say(verdict)

    verdicts = _shared_out(
        inside, workers, lambda taken, tell: judge_in_functions(taken, known, tests, tell), say_if_last
    )
    again = {verdict.mutant.key for verdict in verdicts if verdict.outcome == SURVIVED}
    outside = [
        mutant
        for mutant in mutants
        if known.is_run_at_import(mutant) and (mutant.key not in put_in or mutant.key in again)
    ]

    def judge(taken: Iterator[Mutant], tell: Callable[[Verdict], None]) -> None:
        for mutant in taken:
            tell(judge_at_import(mutant, known))

    preload(known.libraries)
    verdicts += _shared_out(outside, workers, judge, say)
    last = {verdict.mutant.key: verdict for verdict in verdicts}
    # No test runs those that nobody judged.
    return [last.get(mutant.key) or Verdict(mutant, SURVIVED, "", 0.0) for mutant in mutants]


def _shared_out(
    mutants: Sequence[Mutant],
    workers: int,
    judge: Callable[[Iterator[Mutant], Callable[[Verdict], None]], None],
    say: Callable[[Verdict], object],
) -> list[Verdict]:
    """Fork workers, which take numbers of mutants from one pipe and answer through another."""
    if not mutants:
        return []
    work, numbers = os.pipe()
    answers, answering = os.pipe()
    os.write(numbers, b"".join(number.to_bytes(NUMBER_BYTES, "big") for number in range(len(mutants))))
    os.close(numbers)

    def taken() -> Iterator[Mutant]:
        while number := os.read(work, NUMBER_BYTES):
            yield mutants[int.from_bytes(number, "big")]

    number_of = {mutant.key: number for number, mutant in enumerate(mutants)}

    def tell(verdict: Verdict) -> None:
        data = pickle.dumps((number_of[verdict.mutant.key], verdict.outcome, verdict.by, verdict.seconds))
        os.write(answering, len(data).to_bytes(NUMBER_BYTES, "big") + data)  # below PIPE_BUF: written as one

    die_with_parent = spawn_options()["preexec_fn"]
    children = []
    for _ in range(workers):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                die_with_parent()
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                judge(taken(), tell)
                status = 0
            except Exception:  # noqa: BLE001 - a fork ends here, whatever it was
                traceback.print_exc()
            finally:
                os._exit(status)
        children.append(child)
    os.close(work)
    os.close(answering)
    verdicts = []
    with os.fdopen(answers, "rb") as pipe:
        while head := pipe.read(NUMBER_BYTES):
            number, outcome, by, seconds = pickle.loads(pipe.read(int.from_bytes(head, "big")))  # noqa: S301 - our own
            verdicts.append(Verdict(mutants[number], outcome, by, seconds))
            say(verdicts[-1])
    statuses = [os.waitpid(child, 0)[1] for child in children]  # all of them, that none is left a zombie
    if any(statuses) or len(verdicts) < len(mutants):
        raise RuntimeError(f"{len(mutants) - len(verdicts)} mutants were not judged: a worker failed")
    return verdicts


# --- the report -------------------------------------------------------------------------------------------------------


def table(verdicts: Sequence[Verdict]) -> list[str]:
    """Module, mutants, killed, timed out, survived, score."""
    counts: dict[str, Counter[str]] = {}
    for verdict in verdicts:
        counts.setdefault(verdict.mutant.module, Counter())[verdict.outcome] += 1
    rows = [*counts.items(), ("all", sum(counts.values(), Counter()))]
    return [f"{'module':26} {'mutants':>7} {'killed':>7} {'timed out':>9} {'survived':>8}  score"] + [
        f"{name:26} {found.total():7} {found[KILLED]:7} {found[TIMED_OUT]:9} {found[SURVIVED]:8} {_score(found):6.1%}"
        for name, found in rows
    ]


def complaints(verdicts: Sequence[Verdict], listed: Sequence[tuple[str, str, str, str]]) -> list[str]:
    """What is wrong with the outcome. `listed`: keys of the mutants of these modules that may survive."""
    survived = {verdict.mutant.key: verdict for verdict in verdicts if verdict.outcome == SURVIVED}
    counts: dict[str, Counter[str]] = {}
    for verdict in verdicts:
        counts.setdefault(verdict.mutant.module, Counter())[verdict.outcome] += 1
    found = [_line(verdict.mutant) for key, verdict in survived.items() if key not in listed]
    found += [f"{key[0]}: listed, but killed or gone: {key[3]}: {key[2]}" for key in listed if key not in survived]
    return found + [
        f"{name}: {_score(count):.1%} is below {FLOOR:.0%}" for name, count in counts.items() if _score(count) < FLOOR
    ]


def _line(mutant: Mutant) -> str:
    return f"{mutant.module}:{mutant.line}: survived: {mutant.change}: {mutant.text}"


def _score(count: Counter[str]) -> float:
    return 1 - count[SURVIVED] / count.total()


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="make mutation")
    parser.add_argument("--only", nargs="+", default=[""], help="modules whose path holds one of these words")
    parser.add_argument("--own", action="store_true", help="ask a module's own tests only")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--survivors", type=Path, help="write those that are not listed here, as survivors.toml has them"
    )
    given = parser.parse_args(arguments)
    chosen = [module for module in modules() if any(word in module for word in given.only)]
    mutants = mutants_of(chosen)
    if not mutants:
        parser.error(f"no module with {given.only} in its path")
    listed = [survivor.key for survivor in read_survivors() if survivor.module in chosen]
    started = time.monotonic()
    tests = [test for test in map(own_tests, chosen) if (ROOT / test).exists()] if given.own else TESTS
    known = record(chosen, tests)
    _say(f"{len(mutants)} mutants, {len(known.lines)} tests, recorded in {time.monotonic() - started:.0f} s")
    done = Counter[str]()

    def say(verdict: Verdict) -> None:
        done[verdict.outcome] += 1
        if verdict.outcome == SURVIVED and verdict.mutant.key not in listed:
            _say(_line(verdict.mutant))
        if done.total() % 200 == 0:
            _say(f"{time.monotonic() - started:6.0f} s  {dict(done)}")

    verdicts = judge_all(mutants, known, workers=given.workers, tests=tests, say=say)
    wrong = complaints(verdicts, listed)
    for text in (*table(verdicts), *wrong, f"{time.monotonic() - started:.0f} s"):
        _say(text)
    if given.survivors is not None:
        given.survivors.write_text("".join(_entry(one.mutant) for one in verdicts if _is_new(one, listed)))
    return 1 if wrong else 0


def _is_new(verdict: Verdict, listed: Sequence[tuple[str, str, str, str]]) -> bool:
    return verdict.outcome == SURVIVED and verdict.mutant.key not in listed


def _entry(mutant: Mutant) -> str:
    rows = zip(("module", "where", "line", "change"), mutant.key, strict=True)
    return "[[survivor]]\n" + "".join(f"{name} = {_quoted(text)}\n" for name, text in rows) + 'why = ""\n\n'


def _quoted(text: str) -> str:
    return f"'{text}'" if "'" not in text else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - what `make mutation` is for


if __name__ == "__main__":
    sys.exit(main())
