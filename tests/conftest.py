"""What every test may ask for: the shared data, child processes that cannot outlive the run, Hypothesis settings."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.processes import Children

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("TOCSIN_SHARED", ROOT.parent / "shared"))

# A slow machine is no defect: no deadline, and the time that a strategy takes is not judged. CI draws the same examples
# every time; a person's run draws new ones and remembers what failed.
settings.register_profile("person", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("person"), derandomize=True, database=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "person")


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The directory of vectors and samples that lies beside the project (TOCSIN_SHARED names another place)."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared beside the project: its vectors and samples were not read")
    return SHARED


@pytest.fixture
def children() -> Iterator[Children]:
    """Starts programs that end with the test, and with the test run, however that ends."""
    children = Children()
    try:
        yield children
    finally:
        children.kill()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where everything must run (CI), a test that was skipped has failed."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and _nothing_may_be_skipped():
        report.outcome = "failed"
        report.longrepr = f"skipped, where nothing may be: {_reason(report.longrepr)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a module that skips itself while it is read."""
    report = yield
    if report.skipped and _nothing_may_be_skipped():
        report.outcome = "failed"
        report.longrepr = f"skipped, where nothing may be: {_reason(report.longrepr)}"
    return report


def _nothing_may_be_skipped() -> bool:
    return os.environ.get("TOCSIN_REQUIRE_ALL") == "1"


def _reason(longrepr: object) -> str:
    return str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)
