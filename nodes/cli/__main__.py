"""`python -m nodes.cli` is `tocsin`. Owns nothing."""

import sys

from nodes.cli.main import main

sys.exit(main())
