"""Ids on a real clip with a real detector: nine people who cross and hide each other on 100 frames."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import numpy as np

from edged.config.schema import TrackOptions
from edged.tracking.tracker import Tracker
from tests.reference import read_frames
from tests.test_accuracy import PERSON, Parts, model_directory
from tests.tracking.score import FIRST, FRAMES, Boxes, score

LEAD = 20  # frames before the truth begins
FRAME_NS = 100_000_000  # the clip has 10 frames a second


def test_people_keep_their_ids(yolox: Path, vtest: Path, tmp_path: Path) -> None:
    tracker = Tracker(TrackOptions())
    tracked: dict[int, tuple[Boxes, np.typing.NDArray[np.int32]]] = {}
    with ExitStack() as stack:
        parts = Parts(model_directory(tmp_path, yolox, score=0.1, iou=0.45), stack)
        clip = islice(enumerate(read_frames(vtest)), FIRST - LEAD, FIRST + FRAMES)
        for index, picture in clip:
            p = parts.detect(picture)
            assert p.boxes is not None
            assert p.scores is not None
            assert p.class_ids is not None
            ids = tracker.update(p.boxes, p.scores, p.class_ids, index * FRAME_NS)
            named = (ids > 0) & (p.class_ids == PERSON)
            tracked[index] = p.boxes[named].astype(np.float64), ids[named]
    result = score(tracked)
    print(f"{len(result.switches)} identity switches, IDF1 {result.idf1:.3f}, found {result.found:.3f}")
    for switch in result.switches:
        print(switch)
    # 3 switches, IDF1 0.875 and 0.855 found when this was written; without prediction 15 and 0.67
    assert len(result.switches) <= 8
    assert result.idf1 >= 0.8
    assert result.found >= 0.8
