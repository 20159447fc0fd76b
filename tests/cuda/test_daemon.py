"""A whole daemon on the stand-in driver: it runs as on a CPU, and a lost GPU ends it at once."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from edged.errors import ExitCode
from tests.cuda.standin import build

ROOT = Path(__file__).resolve().parents[2]


def run(folder: Path, fault: str) -> tuple[subprocess.CompletedProcess[str], float]:
    build()  # skips where nothing can be compiled
    done = subprocess.run(
        [sys.executable, "-m", "tests.cuda.doomed", str(folder), fault],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    return done, time.monotonic()


def test_it_runs_and_says_how(tmp_path: Path) -> None:
    done, _ = run(tmp_path, "ok")
    assert done.returncode == ExitCode.OK, done.stderr
    snapshot = json.loads(done.stdout)
    facts = snapshot["models"]["m"]["facts"]
    assert facts["work"] == "graph"
    assert facts["device"].startswith("cuda 0: Stand-in 0")
    pipeline = snapshot["pipelines"]["p"]
    assert pipeline["inferred"] == 50
    assert pipeline["copied"] == {"capture": 0, "preprocess": 0}
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) >= 50


def test_a_lost_gpu_ends_the_process_within_a_second_with_a_line(tmp_path: Path) -> None:
    done, ended = run(tmp_path, "5")
    assert done.returncode == ExitCode.DEVICE_LOST, done.stderr
    assert ended - float(done.stdout.split()[0]) < 1.0
    (line,) = (text for text in done.stderr.splitlines() if text.startswith("CRITICAL"))
    assert "ILLEGAL_ADDRESS (700)" in line
