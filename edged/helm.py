"""What a running daemon is told to do, in its main thread: a change of what runs, and a pipeline's pause or restart.

An order is taken, built (standing.py) and given to the core as a Swap; from there on the core's actions lead through it
(changing.py), and `done` answers whoever waits. One at a time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from edged.changes import Difference, difference
from edged.config.schema import Config
from edged.errors import EdgedError, ExitCode
from edged.happenings import Action, Done, Swap
from edged.models.model import Model
from edged.parts import Parts
from edged.process import collect_garbage, give_back_memory
from edged.standing import Standing
from edged.steering import Busy, Verb, no_such_pipeline
from edged.supervisor import Core
from edged.transition import Transition, restoration
from edged.units import defect

PAUSED = "paused by request"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Who waits for the change on its way. `answer`: what it is told; `restores`: the refusal that it undoes."""

    future: Future[Any]
    answer: Callable[[Transition], Any]
    restores: EdgedError | None = None


class Helm:
    """`step(now, swap)` and `act(now, actions)` are the daemon's; both may come to the end of it, with its exit code.

    `health(name)`: of a pipeline, in words, as it is now.
    """

    def __init__(
        self,
        standing: Standing,
        core: Core,
        step: Callable[[float, Swap], ExitCode | None],
        act: Callable[[float, Sequence[Action]], ExitCode | None],
        health: Callable[[float, str], str],
    ) -> None:
        self._standing, self._core = standing, core
        self._step, self._act, self._health = step, act, health
        self._waiting: Waiting | None = None
        self._paused: set[str] = set()  # names, also of pipelines that an undone change may bring back

    def change(
        self, now: float, config: Config, models: Mapping[str, Model], future: Future[tuple[str, ...]]
    ) -> ExitCode | None:
        """Run this configuration instead of what runs."""
        self._check_free()
        parts = self._standing.parts
        what = difference(parts.config, config, parts.models, models, over=self._over(parts))
        return self._begin(now, parts, config, models, what, Waiting(future, lambda t: t.touched))

    def pipeline(self, now: float, name: str, verb: Verb, future: Future[str]) -> ExitCode | None:
        """Pause, resume or restart it."""
        parts = self._standing.parts
        if self._core.phase in ("draining", "over"):
            raise Busy("edged is stopping", hint="start it again")
        pipeline = parts.pipelines.get(name)
        if pipeline is None:
            raise no_such_pipeline(name, parts.pipelines)
        if verb == "restart":
            return self._restart(now, parts, name, future)
        (self._paused.add if verb == "pause" else self._paused.discard)(name)
        pipeline.lineage.paused = PAUSED if verb == "pause" else ""
        future.set_result(self._health(now, name))
        return None

    def _restart(self, now: float, parts: Parts, name: str, future: Future[str]) -> ExitCode | None:
        """Its source is opened anew, with new memory, and all that look through it begin anew."""
        self._check_free()
        c, source = parts.config, parts.config.pipelines[name].source
        what = difference(c, c, parts.models, parts.models, restart={source})
        waiting = Waiting(future, lambda _: self._health(time.monotonic(), name))
        return self._begin(now, parts, c, parts.models, what, waiting)

    def done(self, now: float, done: Done) -> ExitCode | None:
        """The change on its way is over. What it had stopped before it was refused is brought back."""
        transition, waiting = self._standing.done(self._core.roster.kinds), self._waiting
        assert waiting is not None
        self._waiting = None
        old, new = transition.old, transition.new
        collect_garbage()
        if (old.sources, old.runners) != (new.sources, new.runners):
            give_back_memory()
        for key in done.hanging:
            log.error("%s did not stop in time, and is left behind; see the lines about it, if any", key)
        if done.error is None and waiting.restores is None:
            waiting.future.set_result(waiting.answer(transition))
            return None
        if not done.stopped or waiting.restores is not None or self._core.phase != "running":
            waiting.future.set_exception(waiting.restores or done.error or Busy("edged is stopping"))
            if waiting.restores is not None and done.error is not None:
                return self._act(now, self._core.fail(now, done.error))
            return None
        what = restoration(old, done.stopped)
        restoring = Waiting(waiting.future, waiting.answer, done.error)
        try:
            return self._begin(now, old, old.config, old.models, what, restoring)
        except EdgedError as e:
            waiting.future.set_exception(done.error or e)
            return self._act(now, self._core.fail(now, e))

    def _begin(
        self,
        now: float,
        old: Parts,
        config: Config,
        models: Mapping[str, Model],
        what: Difference,
        waiting: Waiting,
    ) -> ExitCode | None:
        try:
            swap = self._standing.build(old, config, models, what)
        except EdgedError:
            raise
        except Exception as e:  # of a part that cannot be built: what runs is to run on
            log.exception("a defect in edged")
            raise defect("the change", e) from e
        assert self._standing.transition is not None
        for name, pipeline in self._standing.transition.new.pipelines.items():
            if name in self._paused:
                pipeline.lineage.paused = PAUSED
        self._waiting = waiting
        return self._step(now, swap)

    def _check_free(self) -> None:
        if self._core.phase in ("booting", "admitting"):
            raise Busy("edged is still starting", hint="try again when it is ready")
        if self._core.phase != "running":
            raise Busy("edged is stopping", hint="start it again")
        if self._waiting is not None:
            raise Busy("another change is on its way", hint="try again when it is done")

    def _over(self, parts: Parts) -> set[str]:
        """Sources whose last frame has come."""
        roster = self._core.roster
        return {n.removeprefix("source ") for n in parts.sources if n in roster.stopped}
