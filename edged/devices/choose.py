"""Which device a configuration runs on: `runtime.device`, and what "auto" comes to on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edged.config.schema import Config
from edged.config.words import join
from edged.devices.cpu import CpuDevice
from edged.devices.cuda.probe import Finding, probe
from edged.errors import Problem
from edged.interfaces import Device
from edged.memory import Budget


@dataclass(frozen=True, slots=True)
class Choice:
    """`gpus`: those that models name; empty on the CPU, which then answers to `names`. `why`: one line."""

    kind: str
    why: str
    numbers: tuple[int, ...]
    ranges: bool = False


def choose_device(config: Config, found: Finding | None = None) -> Choice:
    """What runtime.device comes to. Looks at the machine only where that matters; never raises for what it lacks."""
    asked, gpus = config.runtime.device, tuple(sorted({m.gpu for m in config.models.values()} or {0}))
    ranges = config.runtime.gpu_ranges
    if asked == "cpu":
        return Choice("cpu", "as configured", gpus, ranges)
    found = found or probe()
    if asked == "cuda":
        return Choice("cuda", "as configured", gpus, ranges)
    for missing in found.missing:
        return Choice("cpu", f"no GPU is used: {missing.message}", gpus, ranges)
    absent = [g for g in gpus if g >= len(found.gpus)]
    if absent:
        return Choice("cpu", f"no GPU is used: models name GPU {absent[0]}, there are {len(found.gpus)}", gpus, ranges)
    return Choice("cuda", found.gpus[gpus[0]], gpus, ranges)


def device_problems(config: Config, found: Finding) -> Iterator[Problem]:
    """What `runtime.device = "cuda"` asks for and the machine lacks."""
    for missing in found.missing:
        yield Problem("runtime.device", f'"cuda" needs more: {missing.message}', missing.hint)
    if found.gpus:
        for name, model in config.models.items():
            if model.gpu >= len(found.gpus):
                listing = "; ".join(f"{i}: {gpu}" for i, gpu in enumerate(found.gpus))
                yield Problem(join(join("models", name), "gpu"), f"there is no GPU {model.gpu}", f"there is {listing}")


def open_devices(choice: Choice, budget: Budget) -> Mapping[int, Device]:
    """A device for each number that models name; on the CPU one for all. Each holds nothing until it is used."""
    if choice.kind == "cpu":
        return dict.fromkeys(choice.numbers, CpuDevice(budget))
    from edged.devices.cuda.device import CudaDevice

    return {gpu: CudaDevice(budget, gpu, ranges=choice.ranges) for gpu in choice.numbers}
