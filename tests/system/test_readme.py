"""The README's commands are run as they stand: what a newcomer types works."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from tests.processes import Children

ROOT = Path(__file__).resolve().parents[2]


def test_two_agencies_by_hand_work_as_the_readme_says(children: Children, tmp_path: Path) -> None:
    block = re.search(r"<!-- by hand.*?```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block is not None
    script = block[1]
    commands = [line for line in script.splitlines() if "tocsin " in line]
    assert len(commands) <= 12
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TOCSIN_EXAMPLES": str(ROOT / "docs" / "examples"),
    }

    done = children.run(["bash", "-ec", f"set -o pipefail\n{script}"], cwd=tmp_path, env=environment, timeout=110)

    assert done.returncode == 0, (done.stdout.decode(), done.stderr.decode(), (tmp_path / "co.log").read_text())
    assert (tmp_path / "evidence.tocsin").is_file()
