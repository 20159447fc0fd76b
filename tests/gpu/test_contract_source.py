"""The contract of every source, with slots in memory that a real GPU reads."""

from __future__ import annotations

import pytest

from tests.contract.test_source import *  # noqa: F403
from tests.devices.available import REAL_GPU

if not REAL_GPU:
    pytest.skip("no NVIDIA driver", allow_module_level=True)
