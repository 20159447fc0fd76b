"""What the fake TensorRT remembers of a test: which rules were broken, and what it is told to do."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass, field


class RuleBroken(AssertionError):
    """A call that TensorRT's documentation forbids, or whose effect it leaves open."""


@dataclass
class Rules:
    """One for the process, as TensorRT's libraries are. `broken`: what could not be raised where it happened."""

    flavour: str = "tensorrt"
    version: str = "10.3.0"
    lean: bool = False
    run: int = 0  # one more at each reset
    broken: list[str] = field(default_factory=list)
    engines: int = 0
    deserialized: int = 0  # attempts
    own_streams: int = 0  # that TensorRT made since it was given too few
    eager_runs: int = 0
    asks: int = 0  # bytes that the next inference asks the allocator for
    no_context: bool = False
    refuses: bool = False  # whether the next inference is refused

    def reset(self, flavour: str, version: str, lean: bool) -> None:
        self.__init__(flavour, version, lean, self.run + 1)  # type: ignore[misc]


RULES = Rules()


def known(address: int, nbytes: int) -> bool:
    """Whether the stand-in driver has this memory."""
    library = ctypes.CDLL(os.environ["EDGED_LIBCUDA"])
    library.standin_known.argtypes = (ctypes.c_uint64, ctypes.c_size_t)
    return bool(library.standin_known(address, nbytes))
