"""A look at a real daemon, whose other frames do not notice."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from edged.control.pictures import take
from edged.steering import NoSuchThing
from tests.test_daemon import World


def test_a_picture_of_a_running_pipeline(tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="OpenCV is absent: edged[ort]")
    world = World(tmp_path)
    world.model()
    world.pattern("cam", rate=100.0)
    world.sink()
    world.pipeline("front", "cam")
    daemon = world.daemon()
    main = threading.Thread(target=daemon.run, kwargs={"signals": False})
    main.start()
    try:
        with pytest.raises(NoSuchThing, match="no pipeline 'frnt'") as missing:
            daemon.look("frnt")
        assert missing.value.hint == "did you mean 'front'?"
        for _ in range(3):
            look = daemon.look("front")
            picture = take(look, boxes=True, patience_s=20)
            look.close()
            assert picture.jpeg.startswith(b"\xff\xd8")
    finally:
        daemon.stop()
        main.join()
    counts = daemon.snapshot().pipelines["front"]
    assert counts.offered == counts.inferred + counts.dropped
    assert counts.lost == 0
