"""Memory admission of the configuration: what every source and model would want, added up as at boot."""

from __future__ import annotations

from collections.abc import Iterator

from edged.doctor.base import Outcome, failed, not_here, passed, warned
from edged.doctor.child import ask
from edged.doctor.place import Place
from edged.memory import available_bytes, format_bytes

_OPEN_S = 120.0  # a plan of a large model is read from a slow card
_LITTLE = 0.8  # of what there is: from here on little is left for the system


def admission(place: Place) -> Iterator[Outcome]:
    """Opens sources and loads models in a process of its own; nothing runs."""
    if place.config is None:
        yield not_here(_free("no configuration was given"), "edged doctor FILE adds up what it wants")
        return
    if place.quick:
        yield not_here("not added up (--quick)")
        return
    answer = ask("edged.doctor.try_memory", place.config.file, timeout_s=_OPEN_S)
    yield from (failed(f"{u['unit']}: {u['error']}", u["hint"]) for u in answer["failed"])
    left_out = f", without {', '.join(u['unit'] for u in answer['failed'])}" if answer["failed"] else ""
    if answer["refused"]:
        yield failed(answer["refused"], answer["hint"])
        return
    yield judge(answer["wanted"], answer["limit"], answer["available"], left_out)


def judge(wanted: int, limit: int | None, available: int | None, left_out: str = "") -> Outcome:
    """All in bytes. `limit`: runtime.memory_budget; `available`: what the machine has free; None: not known."""
    parts = [f"{format_bytes(wanted)} wanted{left_out}"]
    if limit is not None:
        parts.append(f"runtime.memory_budget is {format_bytes(limit)}")
    if available is not None:
        parts.append(f"{format_bytes(available)} free")
    text = "; ".join(parts)
    most = min(n for n in (limit, available, 1 << 62) if n is not None)
    if wanted > _LITTLE * most:
        remedy = "raise runtime.memory_budget, or lower frame sizes (max_size), instances or in_flight"
        return warned(f"{text}: {wanted / most:.0%} of it", remedy)
    return passed(text)


def _free(text: str) -> str:
    free = available_bytes()
    return text if free is None else f"{text}; {format_bytes(free)} free"
