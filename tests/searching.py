"""How many examples Hypothesis takes of what is slow: few by default, the many with HYPOTHESIS_PROFILE=search."""

from __future__ import annotations

import os

from hypothesis import settings

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "edged")


def examples(count: int) -> settings:
    """So many by default, ten times as many when searching; all else as the profile has it."""
    return settings(max_examples=count * (10 if PROFILE == "search" else 1))
