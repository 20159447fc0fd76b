"""What SOURCE of `edged capture` means, and who has a camera that is busy."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edged import registry
from edged.config.load import load
from edged.config.schema import Backend
from edged.config.shorthand import Sources
from edged.config.words import Problems, show, suggest
from edged.errors import ConfigError, Problem, SourceError
from edged.interfaces import Source
from edged.sources._v4l2_device import CallError

_DIRECT = "give a device, file or folder, or name a pipeline of --config FILE"


def find(wanted: str, config: str | None) -> tuple[str, Backend, Source]:
    """Its name, its table and the source made of it, not opened. ConfigError with every problem."""
    name, entry = _direct(wanted) if config is None else _named(wanted, config)
    source: Source = registry.load("sources", entry.kind)(name, entry.options)
    return name, entry, source


def _named(wanted: str, file: str) -> tuple[str, Backend]:
    config = load(file)
    if wanted in config.pipelines:
        name = config.pipelines[wanted].source
    elif wanted in config.sources:
        name = wanted
    elif os.sep in wanted or os.path.exists(wanted):
        return _direct(wanted)
    else:
        known = dict.fromkeys([*config.pipelines, *config.sources])
        hint = suggest(wanted, known, "pipelines and sources")
        raise ConfigError(file, [Problem("", f"there is no pipeline or source {show(wanted)}", hint)])
    return name, config.sources[name]


def _direct(wanted: str) -> tuple[str, Backend]:
    """As a pipeline's `source` would be read, relative to the working directory."""
    problems: Problems = []
    made: dict[str, Backend] = {}
    name = Sources({}, made, {}, Path.cwd()).resolve(wanted, "capture", problems)
    if name is None:
        hints = [p.hint if os.sep in wanted or "://" in wanted else _DIRECT for p in problems]
        said = [Problem("", p.message, hint) for p, hint in zip(problems, hints, strict=True)]
        raise ConfigError("edged capture", said)
    return name, made[name]


@contextmanager
def busy_told(entry: Backend) -> Iterator[None]:
    """Say who has the camera: mostly a daemon that runs."""
    try:
        yield
    except CallError as e:
        if e.errno != errno.EBUSY:
            raise
        device = entry.options.device
        who = holders(device)
        said = f"{', '.join(who)} has it" if who else "another program has it, perhaps a running edged"
        hint = f"{said}; stop that (a service: systemctl stop edged), or see all: fuser -v {device}"
        raise SourceError(e.message, hint=hint) from e


def holders(device: str, proc: str = "/proc") -> list[str]:
    """Other processes that have the device open, as "edged run x.toml (process 17)"; of those that may be seen."""
    real, found = os.path.realpath(device), []
    for pid in sorted((p for p in os.listdir(proc) if p.isdigit()), key=int):
        if int(pid) == os.getpid():
            continue
        folder = Path(proc, pid)
        try:
            if any(os.path.realpath(fd) == real for fd in (folder / "fd").iterdir()):
                words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
                found.append(f"{' '.join(words).strip() or 'a program'} (process {pid})")
        except OSError:  # another user's, or it has just ended
            continue
    return found
