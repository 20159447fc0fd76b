"""How a job in the virtual machine tells what it found: result.json in the folder that comes back."""

from __future__ import annotations

import faulthandler
import json
import os
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Json = dict[str, Any]
HANGS_S = 60.0  # a case that takes longer leaves all stacks on stderr, again and again


def write(result: Json) -> None:
    """Whole or not at all."""
    path = Path(os.environ["OUT"]) / "result.json"
    part = path.with_suffix(".part")
    part.write_text(json.dumps(result, indent=1))
    part.rename(path)


def run_cases(cases: Mapping[str, Callable[[], str]]) -> None:
    """Each case on its own; what it returns is what it says for the log. A failure is kept with its traceback."""
    result: Json = {}
    for name, case in cases.items():
        faulthandler.dump_traceback_later(HANGS_S, repeat=True)
        begin, said, error = time.monotonic(), "", ""
        try:
            said = case()
        except Exception:
            error = traceback.format_exc()
        faulthandler.cancel_dump_traceback_later()
        result[name] = {"error": error, "said": said}
        print(f"{'FAIL' if error else 'ok  '} {name} ({time.monotonic() - begin:.1f} s) {said}", flush=True)
        write(result)
