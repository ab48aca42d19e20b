"""One target under atheris, for tests.fuzz.run: `python -m tests.fuzz.engine TARGET [libFuzzer's options] [DIRECTORY]…`

The product is instrumented as it is imported, so nothing of it may be imported before; and all of it is, before the
first input, so that no import counts as coverage of one.
"""

from __future__ import annotations

import shlex
import sys

import atheris


def main() -> None:
    """Hand the named target to libFuzzer, which does not come back."""
    atheris.enabled_hooks.add("str")  # what a text is compared with is tried
    with atheris.instrument_imports(include=["keys", "exchange", "nodes"]):
        from tests.fuzz.targets import TARGETS
    name = sys.argv[1]
    target = TARGETS[name]
    # To merge, libFuzzer starts itself again by what stands first.
    itself = shlex.join([sys.executable, "-m", "tests.fuzz.engine", name])
    atheris.Setup([itself, *sys.argv[2:]], lambda data: target.check(data) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
