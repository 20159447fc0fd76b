"""What the steps share: where they work, what was asked for, and what earlier ones found. And how edged is called."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edged.errors import EdgedError, MissingPackage

# `edged`, of the interpreter that runs this, whether or not it was installed as a command
EDGED = (sys.executable, "-c", "import sys; from edged.cli.main import main; sys.exit(main())")
_LINES = 4  # of what a command said last


@dataclass
class Bench:
    """`root`: where /proc and /sys are. The second half is filled in by the steps, each before it is needed."""

    folder: Path
    seconds: float
    precision: str = "fp16"
    engine: str = ""  # "": the first that has a builder here
    age_ms: float = 100.0
    max_drops: float = 0.01
    root: Path = Path("/")

    model: Path | None = None
    plan: Path | None = None
    config: Path | None = None
    cameras: list[str] = field(default_factory=list)
    doctor: dict[str, Any] = field(default_factory=dict)
    snapshot: dict[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def dla_state(self) -> Path:
        """Of its own: the daemon is to run the plan that was compared, and no other that fits."""
        return self.folder / "state-dla"

    @property
    def gpu(self) -> str:
        """What the doctor says of GPU 0; "" without one."""
        found = (
            r["text"] for r in self.doctor.get("checks", ()) if r["check"] == "gpu" and r["state"] == "pass"
        )
        return next(found, "")


def edged(
    *words: str, timeout_s: float = 3600.0, good: tuple[int, ...] = (0,)
) -> subprocess.CompletedProcess[str]:
    """Run `edged words…` to its end. EdgedError with its last words when it fails."""
    print(f"    edged {' '.join(words)}", flush=True)
    done = subprocess.run(
        [*EDGED, *words], capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False
    )
    if done.returncode not in good:
        raise EdgedError(f"edged {words[0]} failed with exit status {done.returncode}: {last_words(done)}")
    return done


def edged_json(*words: str, **how: Any) -> dict[str, Any]:
    """The same with --json: the object that it printed."""
    done = edged(*words, "--json", **how)
    try:
        found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError) as e:
        raise EdgedError(f"edged {words[0]} printed no JSON: {last_words(done)}") from e
    return found


def last_words(done: subprocess.CompletedProcess[str]) -> str:
    """A command's own error: of --json the object, else what it said last."""
    said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-_LINES:]
    try:
        answer = json.loads(done.stdout.strip().splitlines()[-1])
        said = [answer["error"], answer["hint"]]
    except (ValueError, IndexError, KeyError, TypeError):
        pass
    return "; ".join(line.strip() for line in said) or "it said nothing"


def find_builder(wanted: str) -> tuple[str, str]:
    """(flavour, version) of the TensorRT that builds here; ("", why) where there is none."""
    from edged.engines.tensorrt_library import library

    whys = []
    for flavour in (wanted,) if wanted else ("tensorrt", "tensorrt-rtx"):
        try:
            return flavour, library(flavour, build=True).version
        except (MissingPackage, EdgedError) as e:
            whys.append(f"{e.message} ({e.hint})")
    return "", "; ".join(whys)
