"""How fast the fused preprocessing is, beside what the GPU's memory gives and beside other libraries. Needs a GPU.

    python scripts/bench/preprocess_gpu.py [--batch 16] [--size 640] [--json FILE]

Times are the GPU's, between events of one stream, medians over the rounds; the copy is measured in turn with the
rest, in the same rounds. Sources come from a pool several times the size of the L2 cache. Bandwidth is counted
twice: `whole` has each byte of a frame and of a tensor once; `touched` only the rows of a frame that are sampled.

`peers`: CV-CUDA and PyTorch, where they are installed, from the same frames in device memory to the same float32
tensor, in turn with ours; `worst_levels` is how far their tensor is from ours, in grey levels. `ms` has all launches
queued while the GPU is kept busy, so that no library waits for Python; `launched_ms` has them as a program makes them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from _gpu.preprocess import measure  # noqa: E402
from edged.devices.cuda.device import CudaDevice  # noqa: E402
from edged.errors import EdgedError  # noqa: E402


def main(arguments: Sequence[str] | None = None) -> int:
    p = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--size", type=int, default=640)
    p.add_argument("--gpu", type=int, default=0)
    p.add_argument("--json", type=Path, help="write the figures there, too")
    options = p.parse_args(arguments)
    try:
        found = measure(options.batch, options.size, lambda: CudaDevice(gpu=options.gpu))
    except EdgedError as e:
        print(e, file=sys.stderr)
        return int(e.exit_code)
    text = json.dumps(found, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
