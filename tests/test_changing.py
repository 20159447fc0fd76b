"""A daemon that is changed while it runs: real threads, fakes at the edges. The phases alone: test_phases.py."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edged.config.machine import inspect_machine
from edged.daemon import Daemon
from edged.errors import ExitCode
from tests.test_daemon import World, check_accounts, running


class Moving(World):
    """A world that runs while its configuration is changed."""

    daemon_: Daemon

    def change(self) -> tuple[str, ...]:
        """Make the daemon run the configuration as it is now; the pipelines that this touched."""
        return self.ask().result(20)

    def ask(self) -> Future[tuple[str, ...]]:
        return self.daemon_.change(self.config, inspect_machine(self.config).models)

    def remove(self, group: str, name: str) -> None:
        import msgspec

        table = {k: v for k, v in getattr(self.config, group).items() if k != name}
        self.config = msgspec.structs.replace(self.config, **{group: table})

    @contextmanager
    def running(self) -> Iterator[list[ExitCode]]:
        booted = threading.Event()
        self.daemon_ = self.daemon(on_tick=lambda d: booted.set() if not d.ready() else None)
        with running(self.daemon_) as codes:
            assert booted.wait(10)
            yield codes
        check_accounts(self.daemon_)

    def more(self, pipeline: str, count: int = 3, sink: str = "bus") -> None:
        """Wait for so many further results of a pipeline."""
        bus = self.sinks[sink]
        target = len(self.results(pipeline, sink)) + count
        with bus._arrived:
            assert bus._arrived.wait_for(lambda: len(self.results(pipeline, sink)) >= target, 10)


@pytest.fixture
def world(tmp_path: Path) -> Moving:
    made = Moving(tmp_path)
    made.model()
    made.sink()
    made.pattern("a", rate=200.0)
    made.pipeline("front", "a")
    return made


def whole(seqs: list[int]) -> bool:
    """No number is missing or comes twice."""
    return seqs == list(range(seqs[0], seqs[0] + len(seqs)))


def numbers(world: World, pipeline: str) -> list[int]:
    return [r.seq for r in world.results(pipeline)]


class TestPipelines:
    def test_one_more_on_the_same_camera_and_model(self, world: Moving) -> None:
        with world.running():
            world.more("front")
            world.pipeline("rear", "a")
            assert world.change() == ("rear",)
            world.more("rear")
            world.more("front")
        assert whole(numbers(world, "front"))
        assert whole(numbers(world, "rear"))

    def test_one_is_replaced_and_its_numbers_and_counts_go_on(self, world: Moving) -> None:
        with world.running():
            world.more("front")
            world.pipeline("front", "a", min_score=0.5)
            assert world.change() == ("front",)
            world.more("front")
        assert whole(numbers(world, "front"))
        assert numbers(world, "front")[0] == 0
        assert world.daemon_.snapshot().pipelines["front"].inferred == len(numbers(world, "front"))

    def test_one_is_removed(self, world: Moving) -> None:
        world.pipeline("rear", "a")
        with world.running():
            world.more("rear")
            world.remove("pipelines", "rear")
            assert world.change() == ()
            last = len(world.results("rear"))
            world.more("front", 5)
            assert len(world.results("rear")) == last
            assert set(world.daemon_.snapshot().pipelines) == {"front"}
            assert not any("rear" in name for name in world.daemon_.snapshot().regions)

    def test_nothing_different_touches_nothing(self, world: Moving) -> None:
        with world.running():
            before = world.daemon_.pipelines["front"]
            assert world.change() == ()
            assert world.daemon_.pipelines["front"] is before


def wait(future: Future[Any]) -> Any:
    return future.result(20)
