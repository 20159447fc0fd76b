"""Which device a configuration runs on: `runtime.device`, and what "auto" comes to on this machine."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from edged.config.schema import Config
from edged.config.words import join
from edged.devices.cpu import CpuDevice
from edged.devices.cuda.probe import Finding, probe
from edged.errors import Problem
from edged.interfaces import Device
from edged.memory import Budget

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Choice:
    """`numbers`: the GPUs that models name. `why`: one line; `problems` keep it from running."""

    kind: str
    why: str
    numbers: tuple[int, ...]
    ranges: bool = False
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()


def choose_device(config: Config, look: Callable[[], Finding] = probe) -> Choice:
    """What runtime.device comes to; looks at the machine where that matters. Raises nothing for what it lacks."""
    asked, ranges = config.runtime.device, config.runtime.gpu_ranges
    numbers = tuple(sorted({m.gpu for m in config.models.values()} or {0}))
    if asked == "cpu":
        return Choice("cpu", "as configured", numbers, ranges)
    found = look()
    warnings = tuple(f"runtime.device: {r.message}; {r.hint}" for r in found.remarks)
    problems = tuple(_problems(config, found))
    if asked == "auto" and problems:
        return Choice("cpu", f"no GPU is used: {problems[0].message}", numbers, ranges)
    return Choice("cuda", f"{asked}: {'; '.join(found.gpus)}", numbers, ranges, problems, warnings)


def _problems(config: Config, found: Finding) -> Iterator[Problem]:
    for lack in found.missing:
        yield Problem("runtime.device", lack.message, lack.hint)
    for name, model in config.models.items():
        if found.gpus and model.gpu >= len(found.gpus):
            listing = "; ".join(f"{i}: {gpu}" for i, gpu in enumerate(found.gpus))
            yield Problem(join(join("models", name), "gpu"), f"there is no GPU {model.gpu}", f"use {listing}")


def open_devices(choice: Choice, budget: Budget) -> Mapping[int, Device]:
    """A device for each number that models name; on the CPU one for all. Each holds nothing until it is used."""
    if choice.kind == "cpu":
        log.info("%s", choice.why)
        return dict.fromkeys(choice.numbers, CpuDevice(budget, choice.why))
    from edged.devices.cuda.device import CudaDevice

    return {gpu: CudaDevice(budget, gpu, ranges=choice.ranges) for gpu in choice.numbers}
