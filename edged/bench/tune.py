"""Which settings suit this machine: threads × instances × spinning, for the lowest age and the most frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edged.bench.measure import Plan, Say, Subject
from edged.bench.pipeline import Bench
from edged.bench.prepare import can_tune, model_entry, with_settings
from edged.bench.results import Run, Settings, Trial
from edged.errors import EdgedError

ROUNDS = 2
SHARE = 0.8  # of what the present settings can do: the rate at which ages are compared


def candidates(cores: int) -> list[Settings]:
    """Threads and instances in powers of two (and all cores), no more threads in all than cores.

    One thread has no other to wait for, so spinning makes no difference to it.
    """
    steps = sorted({1 << i for i in range(cores.bit_length()) if 1 << i <= cores} | {cores})
    return [
        Settings(threads, instances, spinning)
        for threads in steps
        for instances in steps
        if threads * instances <= cores and instances <= 16
        for spinning in ((False, True) if threads > 1 else (False,))
    ]


@dataclass(slots=True)
class _Tries:
    """All rounds of one candidate."""

    settings: Settings
    fast: list[Run]
    live: list[Run]

    def best(self) -> Trial:
        """The best round of each: other work on the machine only ever makes a round worse."""
        live = min(self.live, key=lambda r: r.stages["age"].p99_ms)
        return Trial(
            settings=self.settings,
            fps=max(r.fps for r in self.fast),
            age=live.stages["age"],
            dropped=live.counts.dropped,
        )


def tune(
    subject: Subject, bench: Bench, plan: Plan, cores: int, rate: float | None, say: Say
) -> tuple[list[Trial], float]:
    """Every candidate in turn, ROUNDS times; the trials and the rate (frames a second) of their ages.

    Each round measures at pace max with the real source, then live at `rate`.
    """
    if not can_tune(subject.config):
        engine = model_entry(subject.config).engine
        raise EdgedError(
            f"engine '{engine}' has no options 'threads' and 'spinning' to tune",
            hint="leave --tune out, or use engine = 'onnxruntime'",
        )
    config, clip = subject.fastest
    rate = rate or round(bench.run(config, plan.seconds, clip).fps * SHARE, 1)
    tries = [_Tries(s, [], []) for s in candidates(cores)]
    for turn in range(ROUNDS):
        for i, t in enumerate(tries):
            fast = bench.run(with_settings(config, t.settings), plan.seconds, clip)
            live = bench.run(with_settings(subject.config, t.settings), plan.seconds, subject.clip, rate)
            t.fast.append(fast)
            t.live.append(live)
            say(
                f"round {turn + 1} of {ROUNDS}, {i + 1} of {len(tries)}: {words(t.settings)}: "
                f"{fast.fps:.1f} frames/s, age p99 {live.stages['age'].p99_ms:.1f} ms at {rate:g} frames/s"
            )
    return [t.best() for t in tries], rate


def lowest_age(trials: list[Trial]) -> Settings:
    """By p99: an age is a promise about the worst frames, not the usual ones."""
    return min(trials, key=lambda t: (t.age.p99_ms, t.age.p50_ms)).settings


def highest_fps(trials: list[Trial]) -> Settings:
    return max(trials, key=lambda t: t.fps).settings


def words(s: Settings) -> str:
    return f"threads {s.threads}, instances {s.instances}, spinning {'on' if s.spinning else 'off'}"


def toml_lines(s: Settings) -> Iterator[str]:
    """To paste under [models.X]."""
    yield f"instances = {s.instances}"
    yield f"options.threads = {s.threads}"
    yield f"options.spinning = {'true' if s.spinning else 'false'}"
