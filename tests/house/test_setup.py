"""scripts/setup does nothing when nothing is to be done, and says in one line what hinders it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.processes import Children

ROOT = Path(__file__).resolve().parents[2]


def copy_of_the_project(place: Path) -> Path:
    """What a set-up reads, in a directory with a space in its name."""
    project = place / "a project"
    (project / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "setup", project / "scripts")
    shutil.copy(ROOT / "pyproject.toml", project)
    shutil.copytree(ROOT / "requirements", project / "requirements")
    return project


def lines(text: bytes) -> list[str]:
    """The lines of an output."""
    return text.decode().splitlines()


def test_a_second_call_does_nothing(children: Children) -> None:
    where = ROOT / ".venv" / "installed" / "where"
    if not where.is_file() or not Path(sys.executable).is_relative_to(ROOT / ".venv"):
        pytest.skip("the tests do not run in this project's own .venv")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHON"}
    assert children.run(["scripts/setup", "run"], cwd=ROOT, env=environment).returncode == 0
    before = (where.stat().st_ino, where.stat().st_mtime_ns)
    result = children.run(["scripts/setup", "run"], cwd=ROOT, env=environment)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    assert (where.stat().st_ino, where.stat().st_mtime_ns) == before


def test_a_set_of_another_name_is_a_usage_error(children: Children, tmp_path: Path) -> None:
    assert children.run(["scripts/setup", "all"], cwd=copy_of_the_project(tmp_path)).returncode == 2


def test_an_interpreter_that_is_none_is_named_in_one_line(children: Children, tmp_path: Path) -> None:
    project = copy_of_the_project(tmp_path)
    result = children.run(["scripts/setup"], cwd=project, env={**os.environ, "PYTHON": "/usr/bin/false"})
    assert result.returncode == 69
    assert len(lines(result.stderr)) == 1
    assert not (project / ".venv").exists()


def test_where_no_python_is_found_one_line_says_so(children: Children, tmp_path: Path) -> None:
    project = copy_of_the_project(tmp_path)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "dirname", "cat", "cmp"):
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    result = children.run(["scripts/setup"], cwd=project, env={"PATH": str(tools)})
    assert result.returncode == 69
    assert len(lines(result.stderr)) == 1


@pytest.mark.parametrize("level", ["run", "campaign"])
def test_a_set_up_that_fails_leaves_nothing_that_is_trusted(children: Children, tmp_path: Path, level: str) -> None:
    project = copy_of_the_project(tmp_path)
    empty = tmp_path / "wheels"
    empty.mkdir()
    environment = {**os.environ, "PYTHON": sys.executable, "WHEELS": str(empty)}
    result = children.run(["scripts/setup", level], cwd=project, env=environment)
    assert result.returncode == 69
    assert not (project / ".venv").exists()


@pytest.mark.parametrize("level", sorted(path.stem for path in (ROOT / "requirements").glob("*.txt")))
def test_every_lock_is_a_level_that_can_be_set_up(children: Children, tmp_path: Path, level: str) -> None:
    project = copy_of_the_project(tmp_path)
    result = children.run(["scripts/setup", level], cwd=project, env={**os.environ, "PYTHON": "/usr/bin/false"})
    assert result.returncode == 69  # it got as far as looking for the interpreter
