"""Run in a process of its own (`python -m … FILE`): prepares every source and model of a configuration, and adds up.

Prints one JSON object: "failed" units with their errors, bytes "wanted", "refused" with the figures where they do
not fit. Nothing is allocated, no sink is opened.
"""

from __future__ import annotations

import json
import queue
import sys
import time
import uuid
from collections.abc import Sequence, Set
from typing import Any

from edged.admission import admit, total
from edged.assembly import Builder
from edged.config.load import load
from edged.config.machine import inspect_machine
from edged.config.schema import Config
from edged.devices.choose import choose_device, open_devices
from edged.errors import ConfigError, EdgedError
from edged.memory import Budget, available_bytes
from edged.messages import Identity
from edged.models.state import plan_store
from edged.parts import Parts
from edged.units import Report

PREPARE_S = 90.0  # for all units; one that takes longer is named
STOP_S = 5.0


def main(argv: Sequence[str]) -> None:
    try:
        answer = add_up(load(argv[0]))
    except EdgedError as e:
        answer = {"error": e.message, "hint": e.hint}
    print(json.dumps(answer))


def add_up(config: Config) -> dict[str, Any]:
    """See the module. Raises ConfigError for what the machine lacks."""
    found, choice = inspect_machine(config), choose_device(config)
    if found.problems or choice.problems:
        raise ConfigError(config.file, [*found.problems, *choice.problems])
    budget = Budget(config.runtime.memory_budget, available_bytes if choice.kind == "cpu" else lambda: None)
    devices = open_devices(choice, budget)
    reports: queue.SimpleQueue[Report] = queue.SimpleQueue()
    identity = Identity(config.device.id, uuid.uuid4().hex)
    plans = plan_store(config.runtime.state_dir)
    parts = Builder(identity, devices, reports.put, plans).all(config, found.models)
    units = parts.units
    for unit in units.values():
        unit.start()
    try:
        prepared, failed = await_units(units.keys(), reports, PREPARE_S)
        # a way from a source into a model is planned with both
        wanted = [units[n].demand() for n in prepared if _can_plan(parts, n, prepared)]
        totals = total(wanted)
        answer = {"failed": failed, "wanted": sum(totals.values()), "limit": config.runtime.memory_budget}
        answer |= {"available": available_bytes(), "refused": "", "hint": "", "regions": totals}
        try:
            admit(budget, wanted)
        except EdgedError as e:
            answer |= {"refused": e.message, "hint": e.hint}
        return answer
    finally:
        for unit in units.values():
            unit.stop()
        for unit in units.values():
            unit.join(STOP_S)


def await_units(
    units: Set[str], reports: queue.SimpleQueue[Report], prepare_s: float
) -> tuple[set[str], list[dict[str, str]]]:
    """The units that are prepared, and those that failed or took too long."""
    prepared: set[str] = set()
    failed: dict[str, dict[str, str]] = {}
    end = time.monotonic() + prepare_s
    while len(prepared) + len(failed) < len(units):
        try:
            report = reports.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            late = f"was not ready within {prepare_s:g} s"
            for name in units - prepared - failed.keys():
                failed[name] = {"unit": name, "error": late, "hint": "edged run FILE says what it waits for"}
            break
        if report.phase == "prepared":
            prepared.add(report.unit)
        elif report.error is not None:
            failed[report.unit] = {
                "unit": report.unit,
                "error": report.error.message,
                "hint": report.error.hint,
            }
    return prepared, list(failed.values())


def _can_plan(parts: Parts, unit: str, prepared: set[str]) -> bool:
    """Whether what the unit hands frames to is prepared, too."""
    if unit not in parts.sources:
        return True
    served = {p.name for p in parts.sources[unit].pipelines}
    return all(set(parts.needs[name]) <= prepared for name in served)


if __name__ == "__main__":
    main(sys.argv[1:])
