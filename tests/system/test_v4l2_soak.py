"""Four cameras at once for ten minutes in the virtual machine. EDGED_SOAK_S shortens it for a trial."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.system.vm import run_in_vm

SOAK_S = float(os.environ.get("EDGED_SOAK_S", "600"))


@pytest.mark.soak
@pytest.mark.timeout(0)  # run_in_vm has a limit
def test_four_cameras(tmp_path: Path) -> None:
    found = run_in_vm("soak", tmp_path, round(1.2 * SOAK_S) + 120, EDGED_SOAK_S=f"{SOAK_S:g}")
    assert found["exit"] == 0
    assert found["errors"] == []
    for name, c in found["cameras"].items():
        assert c["offered"] == c["inferred"] + c["dropped"] + c["failed"], name
        assert c["failed"] == 0, name
        assert c["inferred"] > 5 * SOAK_S, f"{name} got too few pictures of 10 a second: {c}"
    held = found["held"]
    assert held["growth_mib_in_10_min"] < 1, held
    for what in ("threads", "descriptors", "bytes admitted"):
        assert len(held[what]) == 1, f"{what}: {held[what]}"
