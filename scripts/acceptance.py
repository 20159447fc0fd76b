"""Prove edged on this machine, step by step, and make a table to paste into an issue: see scripts/jetson-acceptance.

Exit status: 0, or 1 when a row failed. Skipped rows say what is not here.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from _acceptance.bench import Bench
from _acceptance.rows import Row, as_json, markdown, walk
from _acceptance.steps import STEPS

ROOT = Path(__file__).resolve().parents[1]
SHOWN = (
    "edged",
    "jetson",
    "driver",
    "gpu",
    "tensorrt",
    "onnxruntime",
    "power mode",
    "clocks",
)  # checks of the doctor


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/jetson-acceptance", description=__doc__)
    add = parser.add_argument
    add("--seconds", type=float, default=600.0, help="how long to run all of it (600)")
    add("--model", type=Path, metavar="DIR", help="a model directory; default: CenterFace is fetched")
    add(
        "--engine", choices=["tensorrt", "tensorrt-rtx"], default="", help="default: the one that builds here"
    )
    add("--precision", choices=["fp32", "fp16", "best"], default="fp16")
    add("--age-ms", type=float, default=100.0, metavar="MS", help="age at p99 that is good enough (100)")
    add(
        "--max-drops",
        type=float,
        default=0.01,
        metavar="X",
        help="share of the frames, once the model is warm, that may be dropped (0.01)",
    )
    add("--folder", type=Path, default=ROOT / ".acceptance", help="for all files (.acceptance)")
    args = parser.parse_args(argv)
    if args.seconds <= 0:
        parser.error("--seconds must be more than 0")
    if not 0 <= args.max_drops <= 1:
        parser.error("--max-drops must be from 0 to 1")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    args = arguments(argv)
    folder: Path = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    model = None if args.model is None else args.model.resolve()
    bench = Bench(folder, args.seconds, args.precision, args.engine, args.age_ms, args.max_drops, model=model)
    rows: list[Row] = []
    for row in walk(STEPS, bench):
        print(f"==> {row.state}: {row.what}: {row.text}", flush=True)
        rows.append(row)
    return report(bench, rows)


def report(bench: Bench, rows: Sequence[Row]) -> int:
    """Print the table, keep it with its JSON, and say how it ended."""
    date = time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime())
    checks = bench.doctor.get("checks", [])
    facts = [f"{r['check']}: {r['text']}" for r in checks if r["check"] in SHOWN and r["state"] != "not here"]
    text = markdown(f"edged acceptance, {date}", facts, rows)
    told = {"date": date, "seconds": bench.seconds, "engine": bench.engine, "precision": bench.precision}
    more = {"rows": as_json(rows), "doctor": bench.doctor, "snapshot": bench.snapshot}
    file = bench.folder / f"acceptance-{date}.md"
    file.write_text(text)
    file.with_suffix(".json").write_text(json.dumps({**told, **more}, indent=1) + "\n")
    counts = Counter(r.state for r in rows)
    ended = f"{counts['pass']} pass, {counts['fail']} fail, {counts['skip']} skipped"
    print(f"\n{text}\n==> {ended}; {file}, and JSON beside it")
    return 1 if counts["fail"] else 0


if __name__ == "__main__":
    sys.exit(main())
