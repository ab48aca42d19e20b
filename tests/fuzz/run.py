"""Fuzzes by coverage: `make fuzz`, `ARGS='--seconds 60 --only round'`. One line a target; exit 1 if anything was found.

Each target runs in a child process of its own: a crash, a hang or memory without end is a finding of that target alone.
What is found lies in tests/fuzz/found, with the line that runs it again. `--keep` adds to the corpus what reaches code
that nothing in it reaches yet.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fuzz.target import Target
from tests.fuzz.targets import CORPUS, FOUND, TARGETS
from tests.processes import spawn_options

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60
SLOWEST_S = 20  # one input; the machine may be busy
MEMORY_MB = 2_048
KEPT_BYTES = 2_048
GRACE_S = 120  # to import, instrument and read the corpus

_STATUS = re.compile(rb"^#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+)", re.MULTILINE)
_FOUND = re.compile(rb"Test unit written to (\S+)")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one target. `findings` are inputs; a child that ended badly without one counts as one."""

    executions: int
    seconds: float
    edges: int
    features: int
    findings: tuple[Path, ...]
    ending: str

    @property
    def is_clean(self) -> bool:
        """Nothing was found."""
        return not self.findings and not self.ending


def main() -> int:
    """Run the targets one after another."""
    asked = _arguments()
    if asked.again is not None:
        return _again(TARGETS[asked.only[0]], asked.again)
    if find_spec("atheris") is None:
        version = ".".join(map(str, sys.version_info[:2]))
        wanted = f"it has no wheel for Python {version} here (requirements/campaign.in says for which it has)"
        sys.stderr.write(f"fuzz: atheris is missing: {wanted}\n")
        return 69
    clean = True
    _say(f"{'target':<18}{'executions':>12}{'per second':>12}{'edges':>8}{'features':>10}  findings")
    for name in asked.only or TARGETS:
        outcome = _fuzz(TARGETS[name], asked.seconds, asked.keep)
        clean = clean and outcome.is_clean
        _report(name, outcome)
    return 0 if clean else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=SECONDS, help=f"for each target, {SECONDS} unless given")
    parser.add_argument(
        "--only", action="append", choices=sorted(TARGETS), metavar="TARGET", help="several are allowed"
    )
    parser.add_argument("--keep", action="store_true", help="add to the corpus what raises coverage")
    parser.add_argument("--again", type=Path, metavar="FILE", help="with --only: run one finding, with its trace")
    asked = parser.parse_args()
    if asked.again is not None and len(asked.only or ()) != 1:
        parser.error("--again needs one --only")
    return asked


def _report(name: str, outcome: Outcome) -> None:
    rate = outcome.executions / max(outcome.seconds, 1)
    said = f"{len(outcome.findings) or 'none'}" if outcome.is_clean or outcome.findings else outcome.ending
    _say(f"{name:<18}{outcome.executions:>12,}{rate:>12,.0f}{outcome.edges:>8,}{outcome.features:>10,}  {said}")
    for path in outcome.findings:
        place = path.relative_to(ROOT)
        _say(f"  {place}\n  make fuzz ARGS='--only {name} --again {place}'")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _again(target: Target, file: Path) -> int:
    """One input, without instruments: its trace is what a person wants to see."""
    _say("taken" if target.check(file.read_bytes()) else "refused")
    return 0


def _fuzz(target: Target, seconds: int, keep: bool) -> Outcome:
    found = FOUND / target.name
    found.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="tocsin-fuzz-") as directory:
        grown = Path(directory)
        started = time.monotonic()
        log, status = _child(
            target, [f"-max_total_time={seconds}", f"-artifact_prefix={found}/"], [grown, CORPUS / target.name], seconds
        )
        took = time.monotonic() - started
        findings = tuple(Path(os.fsdecode(path)) for path in dict.fromkeys(_FOUND.findall(log)))
        for path in findings:
            path.with_name(path.name + ".log").write_bytes(log[-65_536:])
        if keep and not findings and status == 0:
            _merge(target, grown)
    statuses = _STATUS.findall(log)
    executions, edges, features = map(int, statuses[-1]) if statuses else (0, 0, 0)
    ending = "" if status == 0 or findings else f"the child ended with {status}: {_last_line(log)}"
    return Outcome(executions, min(took, seconds), edges, features, findings, ending)


def _merge(target: Target, grown: Path) -> None:
    """Add to the committed inputs a few of `grown` that reach code which the committed ones do not. Small ones only."""
    with TemporaryDirectory(prefix="tocsin-fuzz-") as directory:
        merged = Path(directory)
        for path in (CORPUS / target.name).iterdir():
            shutil.copy(path, merged)
        before = {path.name for path in merged.iterdir()}
        # Without counters: how often code is reached makes ten times as many inputs worth keeping.
        _child(target, ["-merge=1", "-use_counters=0"], [merged, grown], SECONDS)
        for path in merged.iterdir():
            if path.name not in before and path.stat().st_size <= KEPT_BYTES:
                shutil.copy(path, CORPUS / target.name)


def _child(target: Target, options: list[str], directories: list[Path], seconds: int) -> tuple[bytes, int]:
    """Run the engine on a target; what it said, and how it ended."""
    limits = [
        f"-max_len={target.longest}",
        f"-timeout={SLOWEST_S}",
        f"-rss_limit_mb={MEMORY_MB}",
        "-print_final_stats=0",
    ]
    argv = [sys.executable, "-m", "tests.fuzz.engine", target.name, *limits, *options, *map(str, directories)]
    with subprocess.Popen(
        argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **spawn_options()
    ) as child:
        try:
            log, _ = child.communicate(timeout=seconds + GRACE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            log, _ = child.communicate()
        return log, child.returncode


def _last_line(log: bytes) -> str:
    lines = log.decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:120] if lines else "it said nothing"


if __name__ == "__main__":
    sys.exit(main())
