"""TensorRT's messages, as errors that say what to do. Its calls give None or False; the reason is in the logger."""

from __future__ import annotations

import re
import traceback
from collections.abc import Sequence

from edged.engines.tensorrt_library import Library
from edged.errors import EngineError
from edged.models.sidecar import NAMES

_LENGTH = 400  # of its own words in an error
_BUILD = "edged model build {model} --engine {flavour}"

# pattern -> what it means, and the remedy. Groups are {0}, {1}. "expecting X got Y": X is this runtime or GPU, Y the
# plan's (issues 564 and 3130 of NVIDIA/TensorRT).
_MEANINGS: tuple[tuple[str, str, str], ...] = (
    (
        r"expecting library version ([\d.]*\d) got ([\d.]*\d)",
        "the plan was built by {name} {1}, this is {0}",
        _BUILD,
    ),
    (
        r"expecting compute ([\d.]*\d) got compute ([\d.]*\d)",
        "the plan was built for GPUs of capability {1}, this one has {0}",
        _BUILD,
    ),
    (
        r"[Mm]agic ?[Tt]ag|MAGIC_TAG",
        "the file is no plan of {name} {version}",
        f"{_BUILD} (an ONNX file is not a plan, and neither is one of another flavour)",
    ),
    (
        r"[Vv]ersion tag does not match.*?Current Version: (\d+), Serialized Engine Version: (\d+)",
        "the plan has format {1}, {name} {version} reads format {0}: another version built it",
        _BUILD,
    ),
    (
        r"[Vv]ersion tag does not match",
        "the plan was built by another version than {name} {version}",
        _BUILD,
    ),
    (
        r"[Pp]latform specific tag mismatch",
        "the plan was built for another platform (operating system or processor), or is damaged",
        "build it on this device: " + _BUILD,
    ),
    (
        r"[Hh]ost ?[Cc]ode",
        "the plan carries code for the host, which is not allowed",
        "build it on this device: " + _BUILD + " --version-compatible",
    ),
    (
        r"(?i)out ?of ?memory|bad_alloc|failed to allocate|could not be allocated|"
        r"(?:out of|insufficient) resources",
        "there is not enough memory",
        "free memory, raise runtime.memory_budget, or build the plan for smaller shapes",
    ),
    (
        r"(?i)driver version is insufficient|no CUDA-capable device|CUDA initialization failure",
        "CUDA cannot be used",
        "edged doctor looks at the driver and the GPU",
    ),
    (
        r"(?i)unsupported.*(SM|compute capability)|SM .*not supported|no kernel image",
        "{name} {version} has nothing that runs on this GPU",
        "use a version of TensorRT that knows this GPU, or engine = 'onnxruntime'",
    ),
    (
        r"(?i)truncat|unexpected end|size mismatch|serialization assertion [^)]*size|read past|buffer.*too small|"
        r"checksum|\bcrc\b",
        "the plan is cut short or damaged",
        _BUILD,
    ),
)


def failed(
    library: Library, who: str, what: str, model: str = "DIR", also: Sequence[str] = ()
) -> EngineError:
    """The error of a call that failed: what, what it means, TensorRT's own words, and the remedy.

    Takes what the logger has. `also`: reasons of ours that it cannot know. `model` is named in the remedy.
    """
    said = list(dict.fromkeys(_plain(line) for line in library.logger.take()))
    names = {"name": NAMES[library.flavour], "version": library.version}
    names |= {"flavour": library.flavour, "model": model}
    for pattern, meaning, remedy in _MEANINGS:
        found = next((m for line in said if (m := re.search(pattern, line))), None)
        if found:
            reasons = [meaning.format(*found.groups(), **names), *also]
            hint = remedy.format(**names)
            break
    else:
        reasons, hint = (
            list(also),
            f"{_BUILD.format(**names)} builds the plan again; edged doctor looks at the rest",
        )
    words = " / ".join(said)[:_LENGTH]
    reasons.append(f'{library} says: "{words}"' if words else f"{library} does not say why")
    return EngineError(f"{who}: {what}: {'; '.join(reasons)}", hint=hint)


def let_go(error: BaseException | None) -> None:
    """Empty the frames that an error has come through, and those of what led to it: they hold TensorRT's objects, which
    must be gone before the memory that they use.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _plain(line: str) -> str:
    """One line, without where it is in NVIDIA's source."""
    return re.sub(r"\[\w[\w./:<>, ]*\.(?:cpp|h|cu)::[^\]]*\]\s*", "", " ".join(line.split()))
