"""The mutants are those that operators.py promises, the table of survivors fits the present code, and a small module's
mutants are killed.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from tests.mutation.campaign import KILLED, SURVIVED, TIMED_OUT, Verdict, forked
from tests.mutation.operators import find_mutants, mutated
from tests.mutation.run import complaints, modules, mutants_of, table
from tests.mutation.survivors import read_survivors
from tests.processes import Children

ROOT = Path(__file__).resolve().parents[2]
SURVIVORS = read_survivors()
SMALL = "exchange/delivery.py"


def changes(source: str) -> list[str]:
    """Each mutant of a piece of code, as code."""
    return [ast.unparse(mutated(source, mutant)) for mutant in find_mutants(source, "m.py")]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b", ["a <= b"]),
        ("a in b", ["a not in b"]),
        ("a is b", ["a is not b"]),
        ("a < b == c", ["a <= b == c", "a < b != c"]),
        ("a and b", ["a or b"]),
        ("not a", ["a"]),
        ("a + b", ["a - b"]),
        ("a >> b", ["a << b"]),
        ("a += b", ["a -= b"]),
        ("-a", ["a"]),
        ("b = any(a)", ["b = all(a)"]),
        ("a = 7", ["a = 8", "a = 6"]),
        ("a = 0", ["a = 1"]),
        ("a = True", ["a = False"]),
        ("a = b'x'", ["a = b'XXx'"]),
        ("a = 'x'", ["a = 'XXx'"]),
        ("f(a)", ["pass"]),
        ("raise a", ["pass"]),
        ("while a:\n    break", ["while False:\n    break", "while a:\n    continue"]),
        ("if a:\n    b", ["if True:\n    b", "if False:\n    b"]),
        ("a if b else c", ["a if True else c", "a if False else c"]),
        ("a[b:c]", ["a[:c]", "a[b:]"]),
        (
            "def f(a=1):\n    return a",
            ["def f(a=2):\n    return a", "def f(a=0):\n    return a", "def f(a=1):\n    return None"],
        ),
    ],
)
def test_every_operator_makes_its_changes_one_at_a_time(source: str, expected: list[str]) -> None:
    assert changes(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "'text that stands alone'",
        "import a",
        "a: b[1]",
        "A: TypeAlias = 1",
        "T = TypeVar('T')",
        "__all__ = ['a']",
        "a = int | None",
        "@b(1)\nclass A(c(2)):\n    pass",
        "class A:\n    def __repr__(self):\n        return 'a'",
        "def f(a: b[1]) -> c[2]:\n    return None",
    ],
)
def test_what_decides_nothing_is_left_alone(source: str) -> None:
    assert changes(source) == []


def test_prose_of_an_error_is_left_alone_and_a_code_is_not() -> None:
    assert changes("raise A('a log is long')") == ["pass"]
    assert changes("raise A('wrong_length')") == ["pass", "raise A('XXwrong_length')"]


def test_a_mutant_is_named_by_what_does_not_move() -> None:
    before = "class A:\n    def f(self):\n        return a + b + c\n"
    found = find_mutants(before, "m.py")
    assert [mutant.key for mutant in found] == [mutant.key for mutant in find_mutants(f"x\n\n{before}", "m.py")]
    assert {mutant.where for mutant in found} == {"A.f"}
    assert len({mutant.key for mutant in found}) == len(found) == 3


def test_every_mutant_of_the_project_compiles_and_has_a_name_of_its_own() -> None:
    found = mutants_of([SMALL, "keys/ids.py"])
    assert len({mutant.key for mutant in found}) == len(found) > 100
    for mutant in found:
        compile(mutated((ROOT / mutant.module).read_text(), mutant), mutant.module, "exec")


def test_every_survivor_of_the_table_is_a_mutant_of_the_present_code_and_says_why() -> None:
    present = {mutant.key for mutant in mutants_of(modules())}
    assert [survivor for survivor in SURVIVORS if survivor.key not in present or not survivor.why] == []
    assert len({survivor.key for survivor in SURVIVORS}) == len(SURVIVORS)


def test_a_survivor_that_is_not_listed_and_a_listed_one_that_is_killed_are_complaints() -> None:
    first, second, *others = mutants_of(["keys/ids.py"])
    verdicts = [Verdict(first, SURVIVED, "", 0), *(Verdict(one, KILLED, "t", 0) for one in (second, *others))]
    assert complaints(verdicts, [first.key]) == []
    assert len(complaints(verdicts, [])) == 1
    assert len(complaints(verdicts, [first.key, second.key])) == 1


def test_a_module_below_the_floor_is_a_complaint_even_if_its_survivors_are_listed() -> None:
    mutants = mutants_of(["keys/ids.py"])
    verdicts = [Verdict(one, SURVIVED if number % 10 == 0 else TIMED_OUT, "", 0) for number, one in enumerate(mutants)]
    assert len(complaints(verdicts, [one.key for one in mutants[::10]])) == 1
    assert len(table(verdicts)) == 3


def test_a_fork_hands_back_what_it_found_and_how_it_ended() -> None:
    assert forked(lambda: [1, 2]) == (0, [1, 2])
    status, found = forked(lambda: 1 // 0)
    assert status != 0
    assert found is None


def test_the_mutants_of_a_small_module_are_killed_by_its_own_tests(children: Children) -> None:
    run = [sys.executable, "-m", "tests.mutation.run", "--only", SMALL, "--own", "--workers", "1"]
    done = children.run(run, cwd=ROOT)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
