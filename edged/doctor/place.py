"""What the checks look at: this machine, or a copied tree of one, with or without a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from edged.config.schema import Config
from edged.devices.cuda.probe import Finding, Gpu, describe_all, probe
from edged.engines.choose import PLAN_ENGINES
from edged.engines.tensorrt_library import library
from edged.errors import ConfigError, EdgedError, MissingPackage
from edged.models.plans import PlanStore
from edged.models.state import DEFAULT
from edged.sensors.sysfs import read
from edged.sources._v4l2_device import SYSTEM, Kernel


@dataclass
class Place:
    """Used by one thread. What several checks need is found out once, when the first of them asks.

    root: where /proc, /sys, /etc and /dev are found; tests have trees of their own.
    config: None without a configuration file, or with one that cannot be read; then `config_error` says why.
    quick: no camera streams, no model is loaded.
    """

    root: Path = Path("/")
    config: Config | None = None
    config_error: ConfigError | None = None
    state_dir: Path = Path(DEFAULT)
    quick: bool = False
    kernel: Kernel = field(default=SYSTEM)

    def at(self, path: str) -> Path:
        """An absolute path of the machine, below `root`."""
        return self.root / path.lstrip("/")

    def read(self, path: str) -> str | None:
        """A small text file, stripped; None where it is absent or cannot be read (sysfs nodes refuse so, too)."""
        return read(self.at(path))

    @property
    def is_this_machine(self) -> bool:
        """Whether programs that are run here see the same."""
        return self.root == Path("/")

    @cached_property
    def found(self) -> Finding:
        """The driver, GPUs and NVRTC."""
        return probe()

    @cached_property
    def gpus(self) -> tuple[Gpu, ...]:
        """Those that the driver describes; none without a driver."""
        try:
            return describe_all()
        except EdgedError:
            return ()

    @property
    def wants_gpu(self) -> bool:
        return self.config is not None and self.config.runtime.device == "cuda"

    @property
    def capabilities(self) -> tuple[str, ...]:
        """Of the GPUs, as ("8.7",)."""
        return tuple(".".join(map(str, g.capability)) for g in self.gpus)

    @property
    def store(self) -> PlanStore:
        return PlanStore(self.state_dir / "plans")

    @cached_property
    def runtimes(self) -> Mapping[str, Runtime]:
        """The TensorRTs that Python finds, by flavour."""
        found = {}
        for flavour in PLAN_ENGINES:
            runtime = _runtime(flavour)
            if runtime is not None:
                found[flavour] = runtime
        return found


@dataclass(frozen=True, slots=True)
class Runtime:
    """A TensorRT that may be imported. `lean`: it runs plans and builds none. `broken`: why it cannot be used."""

    flavour: str
    version: str
    lean: bool = False
    broken: str = ""


def _runtime(flavour: str) -> Runtime | None:
    try:
        lib = library(flavour)
    except MissingPackage:
        return None
    except EdgedError as e:
        return Runtime(flavour, "", broken=e.message)
    return Runtime(flavour, lib.version, lib.lean)
