"""`make sabotage`: does each promise's test notice when it is broken? Owns the copies of the tree, the verdict.

    python -m tests.sabotage.run [--only WORD] [--workers N]

Every test named in the table is first run on the untouched copy and must pass. Then each sabotage is applied, its test
must fail, and the sabotage is taken away again. Exit 1 if one is not caught or does not apply any more.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from scripts.check_docs import committed_files
from tests.processes import Children
from tests.sabotage.table import DoesNotApplyError, Sabotage, read_table

ROOT = Path(__file__).resolve().parents[2]
ONE_TEST_S = 300
ALL_TESTS_S = 1800
PASSED, FAILED = 0, 1  # pytest's exits; all others mean that nothing was judged
PATIENCE = "0.25"  # a test that waits for what cannot happen any more need not wait long
CAUGHT = "yes"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one sabotage: `CAUGHT`, or what is wrong."""

    sabotage: Sabotage
    caught: str
    seconds: float


def copy_tree(into: Path) -> Path:
    """The project's files as they lie here, without what was built."""
    for name in committed_files(ROOT):
        if (ROOT / name).is_file():
            target = into / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)
            target.chmod((ROOT / name).stat().st_mode & 0o777)
    return into


def run_tests(tree: Path, tests: Sequence[str], limit_s: float, patience: str = "1") -> tuple[int, str]:
    """Run tests of a copy, with the copy's code, and return pytest's exit and what it said. -1: no end in time."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(tree),  # before the editable install of the real tree, for every child too
        "TOCSIN_SHARED": os.environ.get("TOCSIN_SHARED", str(ROOT.parent / "shared")),
        "TOCSIN_PATIENCE": patience,
    }
    children = Children()
    try:
        done = children.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests],
            cwd=tree,
            env=environment,
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired:
        return -1, ""
    finally:
        children.kill()
    return done.returncode, done.stdout.decode() + done.stderr.decode()


def judge(sabotage: Sabotage, tree: Path) -> Verdict:
    """Apply it to the copy, run its test, take it away."""
    started = time.monotonic()
    try:
        with sabotage.applied(tree):
            status, _ = run_tests(tree, [sabotage.test], ONE_TEST_S, PATIENCE)
    except DoesNotApplyError as problem:
        return Verdict(sabotage, f"DOES NOT APPLY: {problem}", time.monotonic() - started)
    caught = {FAILED: CAUGHT, PASSED: "NO"}.get(status, f"NOT JUDGED: pytest ended with {status}")
    return Verdict(sabotage, caught, time.monotonic() - started)


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="make sabotage")
    parser.add_argument("--only", default="", help="sabotages whose promise or name holds this word")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args(arguments)
    chosen = [one for one in read_table() if given.only in one.promise or given.only in one.name]
    if not chosen:
        parser.error(f"no sabotage with {given.only!r} in its promise or name")
    with tempfile.TemporaryDirectory(prefix="sabotage-") as place, ThreadPoolExecutor(given.workers) as pool:
        trees: SimpleQueue[Path] = SimpleQueue()
        for number in range(given.workers):
            trees.put(copy_tree(Path(place) / str(number)))
        first = trees.get()
        status, said = run_tests(first, sorted({one.test for one in chosen}), ALL_TESTS_S)
        trees.put(first)
        if status != PASSED:
            _say(said)
            _say("sabotage: the tests do not pass without any sabotage")
            return 1

        def take(sabotage: Sabotage) -> Verdict:
            tree = trees.get()
            try:
                verdict = judge(sabotage, tree)
            finally:
                trees.put(tree)
            _say(line(verdict))
            return verdict

        _say(f"{'':8} {'sabotage':60} {'caught':7} {'seconds':>7}  test")
        verdicts = list(pool.map(take, chosen))
    missed = [verdict for verdict in verdicts if verdict.caught != CAUGHT]
    _say(f"{len(verdicts) - len(missed)} of {len(verdicts)} sabotages caught")
    return 1 if missed else 0


def line(verdict: Verdict) -> str:
    """One line of the table."""
    one = verdict.sabotage
    return f"{one.promise:8} {one.name:60} {verdict.caught:7} {verdict.seconds:7.1f}  {one.test}"


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - what `make sabotage` is for


if __name__ == "__main__":
    sys.exit(main())
