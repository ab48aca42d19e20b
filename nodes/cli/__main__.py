"""`python -m nodes.cli`: the same as `tocsin`, for where the script is not on the path."""

from __future__ import annotations

import sys

from nodes.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
