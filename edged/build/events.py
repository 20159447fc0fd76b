"""What the builder's process tells the one that started it: one JSON object a line, on a pipe of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import msgspec


class Stage(msgspec.Struct, frozen=True, tag="stage"):
    """A part of the work begins: "simplify", "cast", "parse", "build" or "inspect"."""

    name: str


class Phase(msgspec.Struct, frozen=True, tag="phase"):
    """TensorRT begins a phase of so many steps, within a step of `parent` (or of none)."""

    name: str
    parent: str | None
    steps: int


class Step(msgspec.Struct, frozen=True, tag="step"):
    """Step number `step` (from 0) of a phase is done."""

    name: str
    step: int


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """A phase is over, whether or not all of its steps were taken."""

    name: str


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """Why there is no plan: an error of edged's, with its exit status."""

    message: str
    hint: str
    exit_code: int


class Done(msgspec.Struct, frozen=True, tag="done", kw_only=True):
    """The plan is written. The facts are those of the sidecar; None: cannot be known here."""

    version: str
    gpu: str | None
    capabilities: tuple[str, ...]
    activation_bytes: int | None
    weight_bytes: int | None
    layers: Mapping[str, int] | None
    layers_of: str | None
    notes: tuple[str, ...]


Event: TypeAlias = Stage | Phase | Step | Finished | Failed | Done
