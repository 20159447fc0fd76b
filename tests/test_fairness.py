"""N pipelines over M instances of a model: who is served, on a virtual clock with the real choice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from edged.config.schema import PipelineConfig
from edged.devices.cpu import CpuDevice
from edged.engines.fake import FakeEngine
from edged.mailbox import Bell
from edged.messages import Identity, ModelId
from edged.parsers.base import Parsed
from edged.pipeline import Job, Pipeline
from edged.runner import Runner
from edged.tensors import ImageInput
from tests.rig import Post, make_frame, make_slots


class World:
    """`periods`: ms between two frames of each pipeline's source. `services`: ms of an inference of each instance."""

    def __init__(self, periods: Sequence[int], services: Sequence[int]) -> None:
        bell, post = Bell(), Post()
        self.periods, self.services = periods, services
        self.pipelines = [
            Pipeline(
                str(i),
                PipelineConfig(source=str(i), model="m"),
                Identity("d", "s"),
                ModelId("m"),
                (),
                [],
                bell,
                post,
                live=True,
            )
            for i in range(len(periods))
        ]
        self.slots = make_slots(2 * len(periods) + len(services))
        self.runners = [
            Runner(
                f"model m#{i}",
                "m",
                CpuDevice(),
                lambda device, stream: FakeEngine([], []),
                lambda: None,  # type: ignore[arg-type,return-value]
                ImageInput("x", (6, 4)),
                self.pipelines,
                bell,
                post,
            )
            for i in range(len(services))
        ]
        self.served: list[int] = []  # the pipelines in the order of service
        self.waits: list[list[int]] = []  # meanwhile, with a frame in the mailbox

    def run(self, ms: int) -> Counter[int]:
        busy: dict[int, tuple[int, Job]] = {}  # runner -> until when, with what
        for now in range(ms):
            for i, pipeline in enumerate(self.pipelines):
                if now % self.periods[i] == 0:
                    assert pipeline.offer(make_frame(self.slots, now // self.periods[i]), 0)
            for i, runner in enumerate(self.runners):
                if i in busy and busy[i][0] <= now:
                    job = busy.pop(i)[1]
                    job.pipeline.complete(job, Parsed())
                if i not in busy:
                    self._serve(i, runner, now, busy)
        for pipeline in self.pipelines:
            pipeline.drop()
        return Counter(self.served)

    def _serve(self, i: int, runner: Runner, now: int, busy: dict[int, tuple[int, Job]]) -> None:
        with self.pipelines[0].mailbox.bell.condition:
            ready = [k for k, p in enumerate(self.pipelines) if p.ready_locked()]
        job = runner._take()
        if job is None:
            assert not ready, "idle beside a frame that waits"
            return
        job.frame.release()
        busy[i] = (now + self.services[i], job)
        self.served.append(int(job.pipeline.name))
        self.waits.append([k for k in ready if k != self.served[-1]])


def longest_wait(world: World) -> int:
    """How often another pipeline was served while one had a frame: the worst of all pairs."""
    worst, since = 0, dict[int, Counter[int]]()
    for who, waiting in zip(world.served, world.waits, strict=True):
        since.pop(who, None)
        for k in waiting:
            since.setdefault(k, Counter())[who] += 1
            worst = max(worst, *since[k].values())
        for k in set(since) - set(waiting):
            del since[k]
    return worst


@settings(deadline=None)  # on a machine that others use, too
@given(
    st.lists(st.integers(1, 60), min_size=2, max_size=6),
    st.lists(st.integers(1, 90), min_size=1, max_size=4),
)
def test_while_one_waits_no_other_is_served_twice(periods: list[int], services: list[int]) -> None:
    world = World(periods, services)
    world.run(400)
    assert longest_wait(world) <= 1


def test_equal_shares_however_unequal_the_offers() -> None:
    """1000, 250, 60 and 40 frames a second for 100 inferences a second of three unequal instances."""
    world = World([1, 4, 16, 25], [20, 30, 60])
    got = world.run(6000)
    assert sum(got.values()) >= 590
    assert max(got.values()) - min(got.values()) <= 2


def test_what_a_slow_source_does_not_use_is_shared_by_the_others() -> None:
    world = World([10, 10, 200], [25, 25])
    got = world.run(4000)
    assert got[2] == 20, "every frame of a source below its share"
    assert abs(got[0] - got[1]) <= 1
    assert got[0] + got[1] + got[2] >= 318, "no instance was idle"
