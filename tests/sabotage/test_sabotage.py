"""Every sabotage still applies to the present code, every kept promise has one, and the quick ones are caught."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sabotage.run import CAUGHT, Verdict, copy_tree, judge, line
from tests.sabotage.table import DoesNotApplyError, Edit, Sabotage, promises, read_table

ROOT = Path(__file__).resolve().parents[2]
TABLE = read_table()
PROMISES = promises((ROOT / "README.md").read_text())
QUICK = [sabotage for sabotage in TABLE if sabotage.quick]


def test_the_promises_of_the_readme_are_found() -> None:
    assert list(PROMISES) == [f"P{number}" for number in range(1, 11)]


@pytest.mark.parametrize("promise", [promise for promise, (kept, _) in PROMISES.items() if kept])
def test_every_promise_that_is_kept_can_be_broken(promise: str) -> None:
    assert any(sabotage.promise == promise for sabotage in TABLE)


@pytest.mark.parametrize("sabotage", TABLE, ids=lambda sabotage: sabotage.name)
def test_a_sabotage_applies_to_the_present_code_and_is_caught_by_a_test_of_its_promise(sabotage: Sabotage) -> None:
    edited = sabotage.edited(ROOT)
    assert edited
    for path, text in edited.items():
        assert text != path.read_text()
        compile(text, str(path), "exec")
    file, _, test = sabotage.test.partition("::")
    assert file in PROMISES[sabotage.promise][1]
    assert f"def {test}" in (ROOT / file).read_text()


def test_names_are_unique() -> None:
    assert len({sabotage.name for sabotage in TABLE}) == len(TABLE)


def test_an_edit_whose_code_has_moved_says_so_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "code.py"
    path.write_text("a = 1\nb = 1\n")
    for find in ("c = 1", "\n"):
        moved = Sabotage("P1", "x", "t", False, (Edit("code.py", "a = 1", "a = 2"), Edit("code.py", find, "")))
        with pytest.raises(DoesNotApplyError), moved.applied(tmp_path):
            pass
    gone = Sabotage("P1", "x", "t", False, (Edit("gone.py", "a", "b"),))
    with pytest.raises(DoesNotApplyError):
        gone.edited(tmp_path)
    assert path.read_text() == "a = 1\nb = 1\n"


def test_a_sabotage_is_taken_away_again(tmp_path: Path) -> None:
    path = tmp_path / "code.py"
    path.write_text("a = 1\n")
    with Sabotage("P1", "x", "t", False, (Edit("code.py", "a = 1", "a = 2"),)).applied(tmp_path):
        assert path.read_text() == "a = 2\n"
    assert path.read_text() == "a = 1\n"


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project."""
    return copy_tree(tmp_path_factory.mktemp("copy"))


@pytest.mark.parametrize("sabotage", QUICK, ids=lambda sabotage: sabotage.name)
def test_a_quick_sabotage_is_caught(sabotage: Sabotage, copied: Path) -> None:
    assert judge(sabotage, copied).caught == CAUGHT


def test_a_sabotage_that_breaks_nothing_is_not_caught(copied: Path) -> None:
    harmless = Edit("exchange/delivery.py", "_RANK = {state: rank", "_RANK = {state: 2 * rank")
    verdict = judge(Sabotage("P5", "x", "tests/exchange/test_delivery.py", False, (harmless,)), copied)
    assert verdict.caught == "NO"
    assert "NO" in line(verdict)


def test_a_test_that_is_not_there_judges_nothing(copied: Path) -> None:
    harmless = Edit("exchange/delivery.py", "_RANK = {state: rank", "_RANK = {state: 2 * rank")
    verdict: Verdict = judge(Sabotage("P5", "x", "tests/exchange/test_gone.py", False, (harmless,)), copied)
    assert verdict.caught not in (CAUGHT, "NO")
