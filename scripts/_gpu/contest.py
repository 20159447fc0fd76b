"""One contestant of scripts/bench/gpu.py, in a process of its own: `python contest.py WHO MODEL_DIRECTORY [OPTIONS]`.

On an H100, work that has gone through a second stream of a process makes every later graph of small kernels 6% slower
there, for good: contestants that share a process would not meet the same GPU. Prints what was measured as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from _gpu import rig  # noqa: E402


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("who", choices=("edged", "alone", "usual"))
    p.add_argument("model", type=Path)
    p.add_argument("--device", default="cuda")
    p.add_argument("--conv-search", default="heuristic")
    p.add_argument("--seconds", type=float, default=3.0)
    p.add_argument("--in-flight", type=int, default=2)
    p.add_argument("--streams", type=int, default=1)
    p.add_argument(
        "--rate", type=float, help="frames/s of each stream; without it, as fast as they are taken"
    )
    args = p.parse_args()
    print(json.dumps(measure(args)))
    return 0


def measure(args: argparse.Namespace) -> dict[str, Any]:
    if args.who == "usual":
        usual = rig.UsualLoop(args.model, args.device, args.conv_search)
        usual.run(0.5)
        return {"fps": round(usual.run(args.seconds), 1)}
    config = rig.configuration(
        args.model,
        args.device,
        streams=args.streams,
        in_flight=args.in_flight,
        options=f'conv_search = "{args.conv_search}"' if args.device != "cpu" else "",
    )
    if args.who == "alone":
        alone = rig.Alone(config)
        try:
            alone.run(0.5)
            return {"fps": round(alone.run(args.seconds), 1), "mode": alone.mode}
        finally:
            alone.close()
    warm = 30 * args.streams if args.rate else 200
    return rig.Run(config, rate=args.rate, seconds=args.seconds, warm=warm).go()


if __name__ == "__main__":
    sys.exit(main())
