"""Runs tests against mutants, each in a fork. Owns processes, time limits, and which tests can notice what.

Tests are read once, by a process that forks for each mutant: the fork puts the mutated code into the functions that
were imported, and runs the tests that execute the changed statement, those of the module's own file first, then the
quickest, until one fails. What runs while a module is imported cannot be put in afterwards: for such a mutant the fork
is taken from a process that has the libraries but nothing of the project, and imports the module mutated.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pickle
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import _lru_cache_wrapper, partial
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any, TypeVar

import pytest
from _pytest.runner import runtestprotocol

from tests.mutation.operators import Mutant, mutated
from tests.processes import spawn_options

ROOT = Path(__file__).resolve().parents[2]
TESTS = ("tests/keys", "tests/exchange", "tests/vectors", "tests/attacks/test_hostile_peer.py")
OURS = frozenset({"keys", "exchange", "nodes", "tests", "conftest", "benchmarks", "scripts"})
TIMES_AS_LONG = 4  # than with the recording of lines, which is slow itself
FLOOR_S = 1.5  # of processor time, for one test
WALL_S = 300  # for one test, should it wait instead of work; far beyond what a busy machine needs
MEMORY = 2 << 30

KILLED, TIMED_OUT, SURVIVED = "killed", "timed out", "survived"

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one mutant. `by`: the test that failed first, if one did."""

    mutant: Mutant
    outcome: str
    by: str
    seconds: float


@dataclass(slots=True)
class Known:
    """What one run of the tests without any mutant showed."""

    seconds: dict[str, float] = field(default_factory=dict)  # of processor time, by test
    lines: dict[str, dict[str, frozenset[int]]] = field(default_factory=dict)  # by test and file
    at_import: dict[str, frozenset[int]] = field(default_factory=dict)  # by file: lines run while tests were read
    libraries: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()  # tests that fail without any mutant

    def tests_of(self, mutant: Mutant) -> list[str]:
        """Those that run the changed statement, in the order in which they are asked."""
        first, last = mutant.span
        touching = [
            test
            for test, files in self.lines.items()
            if any(first <= line <= last for line in files.get(mutant.module, ()))
        ]
        return self._ordered(touching, mutant.module)

    def tests_of_module(self, module: str) -> list[str]:
        """Its own (a test of a table runs nothing of it), and those that run anything of it."""
        own = own_tests(module)
        touching = [test for test, files in self.lines.items() if module in files or test.startswith(own)]
        return self._ordered(touching, module)

    def _ordered(self, tests: Iterable[str], module: str) -> list[str]:
        own = own_tests(module)
        return sorted(tests, key=lambda test: (not test.startswith(own), self.seconds[test], test))

    def is_run_at_import(self, mutant: Mutant) -> bool:
        """Whether the statement runs while modules or tests are read, so that putting it in afterwards is too late."""
        first, last = mutant.span
        return not mutant.where or any(first <= line <= last for line in self.at_import.get(mutant.module, ()))


def own_tests(module: str) -> str:
    """The test file that is about a module."""
    package, _, name = module.partition("/")
    return f"tests/{package}/test_{name}"


# --- forks ------------------------------------------------------------------------------------------------------------


def forked(work: Callable[[], _T]) -> tuple[int, _T | None]:
    """Run `work` in a fork: (wait status, what it returned, if it came to an end). The fork says nothing, and dies with
    this process.
    """
    die_with_parent = spawn_options()["preexec_fn"]
    reading, writing = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            die_with_parent()
            os.close(reading)
            quiet = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(quiet, descriptor)
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(work(), pipe)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(child, 0)
    return status, pickle.loads(data) if os.waitstatus_to_exitcode(status) == 0 else None  # noqa: S301 - our own fork


def run_pytest(tests: Sequence[str], plugin: object) -> int:
    """Run pytest over these files in this process, as CI draws its examples, and without shrinking what fails."""
    os.environ.update({"CI": "1", "TOCSIN_SHARED": os.environ.get("TOCSIN_SHARED", str(ROOT.parent / "shared"))})
    arguments = ["-q", "-s", "--tb=native", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]
    return int(pytest.main(arguments, plugins=[plugin]))


def _is_failed_by(item: pytest.Item, following: pytest.Item | None) -> bool:
    reports = runtestprotocol(item, log=False, nextitem=following)
    return any(report.failed for report in reports)


def _settle() -> None:
    """Let Hypothesis try examples and not make a failing one smaller."""
    from hypothesis import Phase, settings

    settings.register_profile("mutation", settings.get_profile("ci"), phases=[Phase.explicit, Phase.generate])
    settings.load_profile("mutation")


# --- what tests execute -----------------------------------------------------------------------------------------------


class _Tracer:
    """Which lines of the given files are executed between start and stop."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files  # file name -> module
        self._hit: dict[str, set[int]] = {}

    def __enter__(self) -> None:
        self._hit.clear()
        sys.settrace(self._call)

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def found(self) -> dict[str, frozenset[int]]:
        """The lines, by module."""
        return {self._files[name]: frozenset(lines) for name, lines in self._hit.items()}

    def _call(self, frame: FrameType, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        if name not in self._files:
            return None
        lines = self._hit.setdefault(name, set())
        if frame.f_code.co_name != "<module>":
            lines.add(frame.f_lineno)

        def line(frame: FrameType, event: str, argument: Any) -> Any:
            lines.add(frame.f_lineno)
            return line

        return line


class _Recorder:
    """The plugin that runs each test in a fork, as each mutant will be, and notes what it executes."""

    def __init__(self, modules: Iterable[str]) -> None:
        self.known = Known()
        self._tracer = _Tracer({str(ROOT / module): module for module in modules})

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self) -> Iterator[None]:
        _settle()
        with self._tracer:
            yield
        self.known.at_import = self._tracer.found()

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.known.libraries = tuple(sorted(name for name in sys.modules if name.partition(".")[0] not in OURS))
        _clear_caches()
        gc.freeze()
        broken = []
        for item in session.items:
            _, found = forked(partial(self._record, item))
            if found is None or found[0]:
                broken.append(item.nodeid)
                continue
            _, self.known.seconds[item.nodeid], self.known.lines[item.nodeid] = found
        self.known.broken = tuple(broken)
        return True

    def _record(self, item: pytest.Item) -> tuple[bool, float, dict[str, frozenset[int]]]:
        _prepare()
        started = time.process_time()
        with self._tracer:
            failed = _is_failed_by(item, None)
        return failed, time.process_time() - started, self._tracer.found()


def record(modules: Iterable[str], tests: Sequence[str] = TESTS) -> Known:
    """Run the tests once. Raises RuntimeError if they do not pass as they are."""

    def work() -> Known:
        recorder = _Recorder(modules)
        run_pytest(tests, recorder)
        return recorder.known

    _, known = forked(work)
    if known is None or not known.lines or known.broken:
        raise RuntimeError(f"the tests do not pass without any mutant: {known and known.broken}")
    return known


# --- judging ----------------------------------------------------------------------------------------------------------


class _Jury:
    """The plugin that hands the tests over, once read, to whoever judges."""

    def __init__(self, judge: Callable[[Mapping[str, pytest.Item]], None]) -> None:
        self._judge = judge

    def pytest_collection(self) -> None:
        _settle()

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if not session.testsfailed:  # else modules could not be read, and pytest says so in its exit
            self._judge({item.nodeid: item for item in session.items})
        return True


def judge_in_functions(
    mutants: Iterable[Mutant], known: Known, tests: Sequence[str], say: Callable[[Verdict], None]
) -> None:
    """Judge mutants of functions, in this process's forks; it reads the tests for that, and ends with them read."""

    def judge(items: Mapping[str, pytest.Item]) -> None:
        live = _live_functions()
        _clear_caches()
        gc.freeze()
        for mutant in mutants:
            functions = live[str(ROOT / mutant.module), mutant.where, mutant.first_line]
            code = _function_code(_compiled(mutant), mutant)
            asked = [items[test] for test in known.tests_of(mutant)]
            say(_verdict(mutant, partial(_put_in_and_run, functions, code, asked, known)))

    status = run_pytest(tests, _Jury(judge))
    if status != pytest.ExitCode.OK:
        raise RuntimeError(f"pytest ended with {status}")


def _put_in_and_run(
    functions: Sequence[FunctionType], code: CodeType, asked: Sequence[pytest.Item], known: Known
) -> str:
    for function in functions:
        function.__code__ = code
    return _first_failure(asked, known)


def judge_at_import(mutant: Mutant, known: Known) -> Verdict:
    """Judge one mutant by importing its module anew. This process must have imported nothing of the project."""
    code = _compiled(mutant)
    asked = known.tests_of_module(mutant.module)
    own = [test for test in asked if test.startswith(own_tests(mutant.module))]
    verdict = Verdict(mutant, SURVIVED, "", 0.0)
    for tests in (own, asked[len(own) :]):
        if tests and verdict.outcome == SURVIVED:
            verdict = _verdict(mutant, partial(_import_and_run, mutant, code, tests, known))
    return verdict


def _import_and_run(mutant: Mutant, code: CodeType, asked: Sequence[str], known: Known) -> str:
    name = mutant.module.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    sys.meta_path.insert(0, _MutatedImport(name, str(ROOT / mutant.module), code))
    failed: list[str] = []

    def judge(items: Mapping[str, pytest.Item]) -> None:
        same = [items[test] for test in asked if test in items]
        renamed = [item for test, item in items.items() if test not in known.seconds]  # its parameters hold the mutant
        failed.append(_first_failure(same + renamed, known))

    signal.setitimer(signal.ITIMER_PROF, 60)  # an import that does not end
    status = run_pytest(sorted({test.partition("::")[0] for test in asked}), _Jury(judge))
    if not failed and status != pytest.ExitCode.TESTS_FAILED:
        raise RuntimeError(f"pytest ended with {status}")
    return failed[0] if failed else "the import"


def _first_failure(items: Sequence[pytest.Item], known: Known) -> str:
    """Run these tests up to the first that fails, and return its id; "" if none does. A timer ends what loops."""
    _prepare()
    for item, following in zip(items, [*items[1:], None], strict=True):
        signal.setitimer(signal.ITIMER_PROF, TIMES_AS_LONG * known.seconds.get(item.nodeid, 1.0) + FLOOR_S)
        signal.alarm(WALL_S)
        try:
            if _is_failed_by(item, following):
                return item.nodeid
        except MemoryError:
            return item.nodeid
    return ""


def _verdict(mutant: Mutant, work: Callable[[], str]) -> Verdict:
    started = time.monotonic()
    status, by = forked(work)
    seconds = time.monotonic() - started
    if by is not None:
        return Verdict(mutant, KILLED if by else SURVIVED, by, seconds)
    if not os.WIFSIGNALED(status):
        raise RuntimeError(f"{mutant.key}: could not be judged")
    ended_by = os.WTERMSIG(status)
    return Verdict(mutant, TIMED_OUT if ended_by in (signal.SIGPROF, signal.SIGALRM) else KILLED, "", seconds)


def _prepare() -> None:
    """In a fork, before tests run."""
    warnings.simplefilter("error")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)  # kills, whatever the code under test catches


def preload(libraries: Iterable[str]) -> None:
    """Import what the project imports from elsewhere, so that forks need not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in libraries:
            with contextlib.suppress(Exception):
                importlib.import_module(name)


# --- code -------------------------------------------------------------------------------------------------------------


class _MutatedImport:
    """Finds one module, and gives other code for it."""

    def __init__(self, name: str, path: str, code: CodeType) -> None:
        self._name = name
        self._path = path
        self._code = code

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != self._name:
            return None
        loader = _MutatedLoader(self._name, self._path)
        loader.code = self._code
        return spec_from_file_location(name, self._path, loader=loader)


class _MutatedLoader(SourceFileLoader):
    code: CodeType

    def get_code(self, fullname: str) -> CodeType:
        return self.code


def _compiled(mutant: Mutant) -> CodeType:
    path = ROOT / mutant.module
    return compile(mutated(path.read_text(), mutant), str(path), "exec")


def _live_functions() -> dict[tuple[str, str, int], list[FunctionType]]:
    """Every function of the project's product that was imported: by file, name and first line."""
    found: dict[tuple[str, str, int], list[FunctionType]] = {}
    for thing in gc.get_objects():
        if isinstance(thing, FunctionType):
            code = thing.__code__
            found.setdefault((code.co_filename, code.co_qualname, code.co_firstlineno), []).append(thing)
    return found


def _function_code(module: CodeType, mutant: Mutant) -> CodeType:
    waiting = [module]
    while waiting:
        code = waiting.pop()
        if (code.co_qualname, code.co_firstlineno) == (mutant.where, mutant.first_line):
            return code
        waiting.extend(part for part in code.co_consts if isinstance(part, CodeType))
    raise LookupError(mutant)


def _clear_caches() -> None:
    """Forget what the product's cached functions answered before they were mutated."""
    for thing in gc.get_objects():
        if isinstance(thing, _lru_cache_wrapper) and thing.__module__.partition(".")[0] in ("keys", "exchange"):
            thing.cache_clear()
