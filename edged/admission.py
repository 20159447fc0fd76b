"""Whether all that is wanted at once fits, before any of it is allocated: the budget first, then each device."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edged.interfaces import Device
from edged.memory import Budget, Want, wanted_bytes
from edged.units import Demand


def total(demands: Iterable[Demand]) -> dict[str, int]:
    """Bytes by owner."""
    return {owner: wanted_bytes(wants) for d in demands for owner, (_, wants) in d.items()}


def admit(budget: Budget, demands: Sequence[Demand]) -> None:
    """MemoryRefused with figures unless everything fits together, besides what is held already. Holds nothing."""
    budget.try_all(total(demands))
    plans: dict[int, tuple[Device, dict[str, Sequence[Want]]]] = {}
    for demand in demands:
        for owner, (device, wants) in demand.items():
            plans.setdefault(id(device), (device, {}))[1][owner] = wants
    for device, plan in plans.values():
        device.admit(plan)
