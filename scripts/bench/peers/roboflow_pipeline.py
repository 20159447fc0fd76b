"""Peer: Roboflow's InferencePipeline with custom logic around the same session and decode as the plain loop.

It decodes in a thread of its own, infers in a second and hands results over in a third. Runs in the
virtual environment .venv-inference (scripts/bench/README.md).
"""

from __future__ import annotations

import os
import threading
import warnings
from importlib.metadata import version
from typing import Any

# Read when the package is imported: nothing but the video runs, and nothing calls home.
os.environ.update(
    DISABLE_VERSION_CHECK="True",
    METRICS_ENABLED="False",
    METRICS_COLLECTOR_BASE_URL="http://127.0.0.1:9",
    TELEMETRY_USE_PERSISTENT_QUEUE="False",
    LOG_LEVEL="ERROR",
)
warnings.simplefilter("ignore")

import cv2  # noqa: E402
import onnxruntime  # noqa: E402
import work  # noqa: E402
from inference import InferencePipeline  # type: ignore[import-not-found]  # noqa: E402


def main() -> None:
    args = work.parser(__doc__ or "").parse_args()
    session, tally, full = work.open_session(args.model), work.Tally(), threading.Event()
    name = session.get_inputs()[0].name

    def infer(frames: list[Any]) -> list[Any]:
        """Thread: the pipeline's inference thread. One source, so one frame a call."""
        found = []
        for video_frame in frames:
            tally.decoded()
            frame = video_frame.image
            tensor, scale = work.letterbox(frame)
            (rows,) = session.run(None, {name: tensor})
            found.append(work.detections(rows[0], scale, frame, args.score, args.iou))
        return found

    def take(found: Any, _frame: Any) -> None:
        """Thread: the pipeline's dispatch thread."""
        if tally.frames < args.frames:
            tally.result(found[2])
        if tally.frames >= args.frames:
            full.set()

    pipeline = InferencePipeline.init_with_custom_logic(
        video_reference=args.clip,
        on_video_frame=infer,
        on_prediction=take,
        on_pipeline_end=full.set,
        max_fps=None,
    )
    pipeline.start(use_main_thread=False)
    full.wait()
    pipeline.terminate()
    pipeline.join()
    work.report(
        tally,
        opencv=cv2.__version__,
        onnxruntime=onnxruntime.__version__,
        inference=version("inference-cpu"),
    )


if __name__ == "__main__":
    main()
