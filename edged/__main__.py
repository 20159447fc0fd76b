"""`python -m edged`: the one command."""

from __future__ import annotations

import sys

from edged.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
