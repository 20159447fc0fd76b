"""One tree of errors. Every error says what is wrong, where, and what to do next.

    EdgedError
    ├── ConfigError       a configuration or a value in it
    ├── ModelError        a model directory, its model.toml or its ONNX file
    ├── MemoryRefused     admission: the wants do not fit the budget
    ├── SourceError       a camera, file or pattern
    ├── EngineError       an engine refused a model or failed while running
    ├── SinkError         a broker, socket or file that takes results
    ├── DeviceError       a CPU or GPU device
    │   └── FatalDeviceError  the GPU is lost for this process, which ends at once
    ├── MissingPackage    an optional package that a chosen backend needs
    └── RequestError      a running daemon does not do what it was asked for

Errors of third-party libraries are translated once, where the library is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """What the process returns. Documented in README.md; a test keeps the two in step."""

    OK = 0
    INTERNAL = 1  # a defect in edged: please report it
    USAGE = 2  # wrong command line
    CONFIG = 3
    MODEL = 4
    MEMORY = 5
    SOURCE = 6
    ENGINE = 7
    SINK = 8
    DEVICE = 9
    DRAIN_TIMEOUT = 10  # a unit did not stop within 5 s of the request
    DEVICE_LOST = 11  # a GPU fault that only a new process gets over
    UNFIT = 12  # edged doctor: something failed
    REFUSED = 13  # a running daemon did not carry out a request
    UNREACHABLE = 14  # no daemon answers on the control socket


def encodable(text: str) -> str:
    r"""`text` as every encoder takes it: half a character, as in a file's name that is no UTF-8, becomes "\udcff"."""
    return text.encode("utf-8", "backslashreplace").decode()


class EdgedError(Exception):
    """Base of all errors that edged raises on purpose.

    `message` says what is wrong and where; `hint` says what to do about it. Both are `encodable`: errors go wherever
    texts go. `wait_s`: what is tried again by itself is not tried sooner.
    """

    exit_code: ExitCode = ExitCode.INTERNAL
    wait_s: float = 0.0

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message, self.hint = encodable(message), encodable(hint)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}\n  remedy: {self.hint}" if self.hint else self.message


def defect(error: BaseException) -> EdgedError:
    """One that edged did not raise on purpose."""
    return EdgedError(
        f"unexpected {type(error).__name__}: {error}",
        hint="this is a defect in edged; please report it with the lines of the journal (journalctl -u edged)",
    )


def forget_frames(error: BaseException) -> None:
    """Drop the tracebacks of an error that is to be kept, and of all that led to it.

    They keep what the failing code had in hand: slots of a closed region, a driver's mapped memory.
    """
    todo: list[BaseException | None] = [error]
    seen: set[int] = set()
    while todo:
        e = todo.pop()
        if e is not None and id(e) not in seen:
            seen.add(id(e))
            e.__traceback__ = None
            todo += [e.__cause__, e.__context__]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a configuration: `path` is the key path ("pipelines.front.source.kind")."""

    path: str
    message: str
    hint: str = ""

    def __post_init__(self) -> None:
        for name in ("path", "message", "hint"):
            object.__setattr__(self, name, encodable(getattr(self, name)))

    @property
    def text(self) -> str:
        """What is wrong, and where; a problem of the whole file has no path."""
        return f"{self.path}: {self.message}" if self.path else self.message

    def __str__(self) -> str:
        return f"{self.text}; {self.hint}" if self.hint else self.text


MOST_PROBLEMS = 100  # that are told at once: nobody reads more, and a log or an answer need not hold them


class ConfigError(EdgedError):
    """A configuration that cannot be used; carries every problem found, up to MOST_PROBLEMS, not only the first."""

    exit_code = ExitCode.CONFIG

    def __init__(self, file: str, problems: Sequence[Problem]) -> None:
        self.file = file
        more = len(problems) - MOST_PROBLEMS
        rest = [Problem("", f"and {more} more", "correct these first")] if more > 0 else []
        self.problems = (*problems[:MOST_PROBLEMS], *rest)
        super().__init__("\n".join(f"{file}: {p}" for p in self.problems))


class ModelError(EdgedError):
    exit_code = ExitCode.MODEL


class MemoryRefused(EdgedError):
    exit_code = ExitCode.MEMORY


class SourceError(EdgedError):
    exit_code = ExitCode.SOURCE


class EngineError(EdgedError):
    exit_code = ExitCode.ENGINE


class SinkError(EdgedError):
    exit_code = ExitCode.SINK


class DeviceError(EdgedError):
    exit_code = ExitCode.DEVICE


class FatalDeviceError(DeviceError):
    """The device is lost for this process: every later call fails, too, and closing things may hang."""

    exit_code = ExitCode.DEVICE_LOST


class MissingPackage(EdgedError):
    """An optional package is absent. `extra` is the extra of edged that brings it."""

    exit_code = ExitCode.CONFIG

    def __init__(self, package: str, *, needed_by: str, extra: str) -> None:
        super().__init__(
            f"{needed_by} needs the Python package '{package}', which is not installed",
            hint=f"pip install 'edged[{extra}]' (on a Jetson see README.md, 'Installing')",
        )


class RequestError(EdgedError):
    """A request that a running daemon does not carry out; nothing has changed."""

    exit_code = ExitCode.REFUSED
