"""Whether the daemon may be relied on (ready), and whether it gets anywhere at all (alive).

Threads note when they begin what may never return: a runner when it loads its model and when a job is launched, a
source when it calls its camera. These notes are read here, and nobody is held up.
Each answer is "" for yes, else the reason. systemd's watchdog is fed by the main loop itself while `alive` says yes: a
main loop that hangs cannot feed it; a health check in another thread sees that as well.
What is known to be broken and is being mended (a camera that is away, a runner that is made anew) is alive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from edged.changing import LOAD_S
from edged.health import Health
from edged.parts import Parts
from edged.runner import Runner
from edged.supervisor import Core

LOOP_S = 2.0  # for one turn of the main loop, which takes 0.2 s when nothing happens
JOB_S, JOB_USUAL = 10.0, 20.0  # an inference may take so long, or so many times what is usual
# What a step of a unit may take. `read` returns within 0.2 s; to open, a camera may wait for its first picture, and a
# network for its timeouts; a model is loaded from a slow disk, and unloaded when its last job is done.
CALL_S: Mapping[str, float] = {
    "open": 60.0,
    "settle": 60.0,
    "start": 30.0,
    "read": 10.0,
    "close": 30.0,
    "load": LOAD_S,
    "unload": 60.0,
}


def not_ready(parts: Parts, core: Core, healths: Mapping[str, Health]) -> str:
    """Why it is not ready, or ""."""
    if core.phase != "running":
        waiting = ", ".join(core.waiting_for) if core.phase == "booting" else ""
        return f"{core.phase}: waiting for {waiting}" if waiting else core.phase
    for name in parts.runners:
        phase = core.phases.get(name, "starting")
        if phase != "running":
            return f"{name} is not loaded: {core.reasons.get(name, phase) if phase == 'faulted' else phase}"
    return next((f"pipeline {n}: {h}" for n, h in healths.items() if h.state == "starting"), "")


def not_alive(parts: Parts, core: Core, now_ns: int) -> str:
    """Which thread makes no progress, or "". Of the units, not of the main loop."""
    found: Iterator[str] = (
        said for looks in _LOOKS.get(core.phase, ()) for said in looks(parts, core, now_ns)
    )
    return next(found, "")


def stuck_loop(ticked_ns: int, now_ns: int) -> str:
    """Whether the main loop has made its last turn too long ago."""
    late_s = (now_ns - ticked_ns) / 1e9
    return f"the main loop has not turned for {late_s:.1f} s" if late_s > LOOP_S else ""


def job_limit_s(runner: Runner) -> float:
    """How long an inference may take."""
    return max(JOB_S, JOB_USUAL * runner.usual_ns / 1e9)


def _runners(parts: Parts, core: Core, now_ns: int) -> Iterator[str]:
    for name, runner in parts.runners.items():
        since_ns = runner.busy_ns
        if (
            since_ns
            and core.phases.get(name) == "running"
            and _took_s(since_ns, now_ns) > job_limit_s(runner)
        ):
            yield f"{name}: an inference has taken {_took_s(since_ns, now_ns):.0f} s"


def _calls(parts: Parts, core: Core, now_ns: int) -> Iterator[str]:
    for name, unit in parts.units.items():
        call, usual_s = unit.call, job_limit_s(unit) if isinstance(unit, Runner) else 0.0
        if call is not None and _took_s(call[1], now_ns) > max(CALL_S[call[0]], usual_s):
            yield f"{name}: its {call[0]} has taken {_took_s(call[1], now_ns):.0f} s"


def _pipelines(parts: Parts, core: Core, now_ns: int) -> Iterator[str]:
    """A frame that nobody takes, though the runners work."""
    for name, p in parts.pipelines.items():
        runners = [r for r in parts.runners.values() if r.model == p.config.model]
        if not all(core.phases.get(r.name) == "running" for r in runners):
            continue
        limit_s = max((job_limit_s(r) * len(r.pipelines) for r in runners), default=JOB_S)
        since_ns = p.waits_ns  # one that waits for the pipeline that it replaces is no sign of a fault
        if since_ns and _took_s(since_ns, now_ns) > limit_s:
            yield f"pipeline {name}: a frame has waited for {_took_s(since_ns, now_ns):.0f} s"


# Of each phase of the core; the end has limits of its own.
_LOOKS: Mapping[str, Sequence[Callable[[Parts, Core, int], Iterator[str]]]] = {
    "booting": (_calls,),
    "admitting": (_calls,),
    "running": (_runners, _calls, _pipelines),
}


def _took_s(since_ns: int, now_ns: int) -> float:
    return (now_ns - since_ns) / 1e9
