"""Checks between tables, as one table of functions. walk.py checks single values, machine.py what they point at.

Names are compared as the file declares them, so that a table with a problem is not also "unknown".
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edged.config.schema import (
    Backend,
    ControlConfig,
    DeviceConfig,
    ModelConfig,
    PipelineConfig,
    PressureConfig,
    RuntimeConfig,
    SyncConfig,
)
from edged.config.words import join, show, suggest
from edged.errors import Problem

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.A)  # messages.Name: it becomes part of topics
_NAME_HINT = "use up to 64 letters, digits, '_', '.' and '-', a letter or digit first"


@dataclass
class Draft:
    """A configuration while it is read: `data` as the file has it, the rest what could be converted."""

    data: Mapping[str, Any]
    device: DeviceConfig = field(default_factory=DeviceConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    control: ControlConfig = field(default_factory=ControlConfig)
    pressure: PressureConfig = field(default_factory=PressureConfig)
    models: dict[str, ModelConfig] = field(default_factory=dict)
    sources: dict[str, Backend] = field(default_factory=dict)
    sinks: dict[str, Backend] = field(default_factory=dict)
    pipelines: dict[str, PipelineConfig] = field(default_factory=dict)
    sync_groups: dict[str, SyncConfig] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)  # source without a [sources.X] -> its key path

    def raw(self, group: str) -> Mapping[str, Any]:
        """The tables of a group as declared; empty when the group itself is no table."""
        tables = self.data.get(group, {})
        return tables if isinstance(tables, Mapping) else {}

    def raw_pipelines(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """(key path, table) of each."""
        for name, table in self.raw("pipelines").items():
            if isinstance(table, Mapping):
                yield join("pipelines", name), table


def names(d: Draft) -> Iterator[Problem]:
    for group in ("models", "sources", "sinks", "pipelines", "sync_groups"):
        for name in d.raw(group):
            if NAME.fullmatch(name) is None:
                yield Problem(join(group, name), f"{show(name)} cannot be a name", _NAME_HINT)
    if NAME.fullmatch(d.device.id) is None:
        yield Problem("device.id", f"{show(d.device.id)} cannot be a name", _NAME_HINT)


# of each group; what one change may ask for costs memory that stays with its cameras
_MOST = {"pipelines": 256, "models": 64, "sources": 64, "sinks": 64, "sync_groups": 64}


def too_many(d: Draft) -> Iterator[Problem]:
    for group, most in _MOST.items():
        count = max(len(d.raw(group)), len(d.sources) if group == "sources" else 0)
        if count > most:
            yield Problem(group, f"are {count}, more than {most}", "remove some, or run a second edged")


def some_pipeline(d: Draft) -> Iterator[Problem]:
    if "pipelines" not in d.data or d.data["pipelines"] == {}:
        yield Problem("pipelines", "there is none", "add [pipelines.NAME] with source, model and sinks")


def references(d: Draft) -> Iterator[Problem]:
    """Models, sinks and groups that pipelines name. Sources: shorthand.py, as they may be files too."""
    for path, table in d.raw_pipelines():
        for key, group in (("model", "models"), ("sync_group", "sync_groups")):
            name = table.get(key)
            if isinstance(name, str) and name not in d.raw(group):
                yield _undeclared(join(path, key), name, group, d)
        sinks = table.get("sinks")
        if not isinstance(sinks, list):
            continue
        for i, sink in enumerate(sinks):
            if isinstance(sink, str) and sink not in d.raw("sinks"):
                yield _undeclared(join(join(path, "sinks"), i), sink, "sinks", d)
            elif sink in sinks[:i]:
                yield Problem(join(join(path, "sinks"), i), f"{show(sink)} is listed twice", "remove one")


def _undeclared(path: str, name: str, group: str, d: Draft) -> Problem:
    hint = suggest(name, d.raw(group), f"declared {group}") or f"add {join(f'[{group}', name)}]"
    return Problem(path, f"{show(name)} is not declared in [{group}]", hint)


def batches(d: Draft) -> Iterator[Problem]:
    for name, model in d.models.items():
        path = join(join("models", name), "batch")
        if model.batch.max_size > 1:
            message = f"batches are not in this version of edged, got {model.batch.max_size}"
            yield Problem(join(path, "max_size"), message, "use 1")
        elif model.batch.max_wait_ms > 0:
            message = f"has no effect while max_size is 1, got {model.batch.max_wait_ms:g}"
            yield Problem(join(path, "max_wait_ms"), message, "remove it")


# kind -> (key, what only one may hold) of a sink's or source's options
_CLAIMS: dict[str, Callable[[Any], tuple[str, str] | None]] = {
    "sinks zmq": lambda o: None if o.connect else ("bind", o.endpoint),
    "sinks jsonl": lambda o: ("path", os.path.realpath(o.path) if o.path != "-" else "stdout"),
    "sinks mqtt": lambda o: ("client_id", f"{o.client_id} at {o.host}:{o.port}") if o.client_id else None,
    "sources v4l2": lambda o: ("device", os.path.realpath(o.device)),
    "sources video": lambda o: ("path", os.path.realpath(o.path)) if o.path.startswith("/dev/") else None,
}
_REMEDY = {
    "sinks": "let both pipelines name one sink, or give each its own",
    "sources": "declare one [sources.NAME] and name it in both pipelines",
}
_ANY_HOST = frozenset({"*", "0.0.0.0", "[::]"})


def exclusive(d: Draft) -> Iterator[Problem]:
    """Endpoints, files and cameras that two entries want."""
    for group, entries in (("sinks", d.sinks), ("sources", d.sources)):
        held: list[tuple[str, str]] = []  # (what, whose)
        for name, entry in entries.items():
            claim = _CLAIMS.get(f"{group} {entry.kind}", lambda o: None)(entry.options)
            if claim is None:
                continue
            key, what = claim
            path = (
                join(join(group, name), key) if name in d.raw(group) else f"{join('pipelines', name)}.source"
            )
            other = next((whose for held_what, whose in held if _clash(held_what, what)), None)
            if other is not None:
                yield Problem(path, f"{show(what)} is taken by {group[:-1]} '{other}'", _REMEDY[group])
            held.append((what, name))


def _clash(a: str, b: str) -> bool:
    if not (a.startswith("tcp://") and b.startswith("tcp://")):
        return a == b
    (host_a, _, port_a), (host_b, _, port_b) = a[6:].rpartition(":"), b[6:].rpartition(":")
    return port_a == port_b and (host_a == host_b or host_a in _ANY_HOST or host_b in _ANY_HOST)


CHECKS: Sequence[Callable[[Draft], Iterable[Problem]]] = (
    too_many,
    some_pipeline,
    names,
    references,
    batches,
    exclusive,
)


def unused(d: Draft) -> Iterator[str]:
    used = {
        "models": {p.model for p in d.pipelines.values()},
        "sources": {p.source for p in d.pipelines.values()},
        "sinks": {s for p in d.pipelines.values() for s in p.sinks},
        "sync_groups": {p.sync_group for p in d.pipelines.values() if p.sync_group is not None},
    }
    for group, wanted in used.items():
        for name in d.raw(group):
            if name not in wanted:
                yield f"{join(group, name)}: no pipeline uses it"


def nowhere(d: Draft) -> Iterator[str]:
    for name, pipeline in d.pipelines.items():
        if not pipeline.sinks:
            yield f"{join('pipelines', name)}.sinks: results go nowhere"


def no_effect(d: Draft) -> Iterator[str]:
    for name, model in d.models.items() if d.runtime.device == "cpu" else ():
        for key, idle in (("priority", 0), ("gpu", 0)):
            if getattr(model, key) != idle:
                yield f"{join('models', name)}.{key}: has no effect on a CPU"
    for name, sink in d.sinks.items():
        raw = d.raw("sinks")[name].get("deliver", {})
        if "queue_size" in raw and sink.deliver.result == "latest":
            yield f'{join("sinks", name)}.deliver.queue_size: has no effect with result = "latest"'
    for name, p in d.pipelines.items():
        if p.track is not None and p.track.low_score >= p.track.high_score:
            path = f"{join('pipelines', name)}.track.low_score"
            yield f"{path}: has no effect: it is not below high_score = {p.track.high_score:g}"


WARNINGS: Sequence[Callable[[Draft], Iterable[str]]] = (unused, nowhere, no_effect)
