"""Tests that need a GPU: `python -m pytest tests/gpu` there; anywhere else they are skipped.

EDGED_TEST_GPU=1 makes the contracts of tests/contract run on the real driver instead of the stand-in.
"""

from __future__ import annotations

import ctypes
import os

try:
    ctypes.CDLL("libcuda.so.1")
    os.environ.setdefault("EDGED_TEST_GPU", "1")
except OSError:  # no driver: each module says so when it is skipped
    os.environ["EDGED_TEST_GPU"] = "0"
