"""Peer: the plain loop that most people write. One thread: read, letterbox, run, decode, and again."""

from __future__ import annotations

import cv2
import onnxruntime
import work


def main() -> None:
    args = work.parser(__doc__ or "").parse_args()
    session, tally = work.open_session(args.model), work.Tally()
    name = session.get_inputs()[0].name
    capture = cv2.VideoCapture(args.clip)
    while tally.frames < args.frames:
        ok, frame = capture.read()
        if not ok:
            break
        tally.decoded()
        tensor, scale = work.letterbox(frame)
        (rows,) = session.run(None, {name: tensor})
        _, _, class_ids = work.detections(rows[0], scale, frame, args.score, args.iou)
        tally.result(class_ids)
    capture.release()
    work.report(tally, opencv=cv2.__version__, onnxruntime=onnxruntime.__version__)


if __name__ == "__main__":
    main()
