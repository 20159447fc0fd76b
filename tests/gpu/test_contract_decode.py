"""The contract of decoding, with CUDA on the machine's GPU."""

from __future__ import annotations

import pytest

from tests.contract.test_decode import *  # noqa: F403
from tests.devices.available import REAL_GPU

if not REAL_GPU:
    pytest.skip("no NVIDIA driver", allow_module_level=True)
