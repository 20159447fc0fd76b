"""CpuDevice: what is its own beyond the contract."""

from __future__ import annotations

import threading

import pytest

from edged.devices.cpu import CpuDevice
from edged.errors import DeviceError, MemoryRefused
from edged.frames import Memory
from edged.memory import PAGE, Budget, Want, wanted_bytes


def test_memory_of_a_gpu_is_refused_by_name() -> None:
    device = CpuDevice()
    with pytest.raises(DeviceError, match="workspace wants device memory"):
        device.region("runner", [Want("workspace", 1, Memory.DEVICE)])
    assert device.budget.held == 0


def test_streams_are_named_for_their_owner() -> None:
    stream = CpuDevice().stream(name="runner faces.0")
    try:
        assert "runner faces.0" in {t.name for t in threading.enumerate()}
    finally:
        stream.close()


@pytest.mark.parametrize("nbytes", [1 << 62, 1 << 70])
def test_more_than_any_machine_has_is_refused_and_holds_nothing(nbytes: int) -> None:
    device = CpuDevice()
    with pytest.raises(MemoryRefused, match="TiB"):
        device.region("source", [Want("slot0", nbytes)])
    assert device.budget.held == 0


def test_many_owners_are_planned_all_or_none() -> None:
    """The supervisor's way: admit the sum, give it back, then let each owner admit its own region."""
    budget = Budget(3 * PAGE)
    device = CpuDevice(budget)
    plan = {"source": [Want("slot0", 2 * PAGE)], "runner": [Want("images", 2 * PAGE)]}
    with pytest.raises(MemoryRefused, match="source"):
        budget.admit_all({owner: wanted_bytes(w) for owner, w in plan.items()})
    assert budget.held == 0
    region = device.region("source", plan["source"])
    assert budget.held == 2 * PAGE
    region.close()
