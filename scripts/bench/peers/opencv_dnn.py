"""Peer: the same loop with OpenCV's own dnn module as the engine."""

from __future__ import annotations

import cv2
import numpy as np
import work


def main() -> None:
    args = work.parser(__doc__ or "").parse_args()
    net, tally = cv2.dnn.readNetFromONNX(args.model), work.Tally()
    for _ in range(work.WARM_UP):
        net.setInput(np.zeros((1, 3, work.SIZE, work.SIZE), np.float32))
        net.forward()
    capture = cv2.VideoCapture(args.clip)
    while tally.frames < args.frames:
        ok, frame = capture.read()
        if not ok:
            break
        tally.decoded()
        tensor, scale = work.letterbox(frame)
        net.setInput(tensor)
        rows = net.forward()
        _, _, class_ids = work.detections(rows[0], scale, frame, args.score, args.iou)
        tally.result(class_ids)
    capture.release()
    work.report(tally, opencv=cv2.__version__)


if __name__ == "__main__":
    main()
