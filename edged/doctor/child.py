"""A trial in a process of its own: native libraries that crash or hang there are a finding, not the doctor's end."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import Any

from edged import children
from edged.errors import EdgedError, EngineError

_LINES = 3  # of its last words


def ask(module: str, *words: str, timeout_s: float) -> dict[str, Any]:
    """The JSON object that the module prints last. EdgedError where it prints none, and why."""
    by_hand = f"run it by hand: python -m {' '.join((module, *words))}"
    try:
        done = subprocess.run(
            children.command(module, *words),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            env=children.environment(),
        )
    except subprocess.TimeoutExpired as e:
        raise EngineError(
            f"{module} did not come to an end within {timeout_s:g} s",
            hint=by_hand,
        ) from e
    try:
        answer = json.loads(done.stdout.strip().splitlines()[-1])
        if not isinstance(answer, dict):
            raise ValueError("no object")
    except (ValueError, IndexError) as e:
        said = "; ".join(done.stderr.strip().splitlines()[-_LINES:]) or "it said nothing"
        raise EngineError(f"{module} {_end(done.returncode)}: {said}", hint=by_hand) from e
    if "error" in answer:
        raise EdgedError(str(answer["error"]), hint=str(answer.get("hint", "")))
    return answer


def _end(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"
