from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import ModelError
from edged.frames import Geometry
from tests.parsers.samples import Array, make_parser, plain_suppress, plain_yolox, specs
from tests.searching import examples

SQUARE = Geometry.fit((416, 416), (416, 416), "stretch")


@examples(20)
@given(st.integers(0, 2**32 - 1))
def test_decode_is_the_plain_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.random((84, 8), np.float32)
    rows[:, :4] = rng.normal(0, 1, (84, 4))
    boxes, scores, class_ids = plain_yolox(rows, (64, 64), 0.4)
    c = make_parser("yolox", score_threshold=0.4).decode({"output": rows})
    np.testing.assert_allclose(c.boxes, boxes, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(c.scores, scores, rtol=1e-5)
    assert c.class_ids.tolist() == class_ids.tolist()
    assert c.rejected == 0


def test_decoded_rows_are_taken_as_they_are() -> None:
    rows = np.zeros((84, 7), np.float32)
    rows[3] = (20, 30, 8, 4, 0.9, 0.1, 1)
    c = make_parser("yolox", options={"decoded": True}).decode({"output": rows})
    assert c.boxes.tolist() == [[16, 28, 24, 32]]
    assert c.class_ids.tolist() == [1]


def test_sizes_that_overflow_are_rejected() -> None:
    rows = np.zeros((84, 6), np.float32)
    rows[:4, 4:] = 1
    rows[0, 2] = 1000  # exp is inf
    rows[1, 3] = 30  # exp is finite and absurd
    rows[2, 5] = np.nan
    c = make_parser("yolox").decode({"output": rows})
    assert (len(c.boxes), c.rejected) == (1, 3)


@pytest.mark.parametrize(
    ("shape", "labels", "says"),
    [
        ((84, 5), (), "84, 5 + classes"),
        ((252, 8), (), "yolov5"),
        ((8, 84), (), "yolov8"),
        ((84, 8), ("a", "b"), "3 classes"),
    ],
)
def test_other_layouts_are_refused_at_load(
    shape: tuple[int, ...], labels: tuple[str, ...], says: str
) -> None:
    with pytest.raises(ModelError) as e:
        make_parser("yolox", labels=labels).check(specs({"out": np.zeros(shape, np.float32)}))
    assert says in str(e.value)
    assert "out: float32" in e.value.message
    assert e.value.hint


def test_several_outputs_need_a_name() -> None:
    outputs = {"a": np.zeros((84, 8), np.float32), "b": np.zeros((84, 8), np.float32)}
    with pytest.raises(ModelError, match="one of: a, b"):
        make_parser("yolox").check(specs(outputs))
    with pytest.raises(ModelError, match="one of: a, b"):
        make_parser("yolox", options={"tensor": "c"}).check(specs(outputs))
    make_parser("yolox", options={"tensor": "b"}).check(specs(outputs))


@pytest.fixture(scope="module")
def street(yolox: Path, shared: Path) -> Array:
    """YOLOX-nano's output [3549, 85] for the picture with the most objects among a few."""
    cv2 = pytest.importorskip("cv2")
    ort = pytest.importorskip("onnxruntime")
    pictures = sorted((shared / "coco").rglob("*.jpg"))[:6]
    if not pictures or not yolox.is_file():
        pytest.skip("the pictures or the detector are absent from ../shared")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(yolox), options, providers=["CPUExecutionProvider"])
    outputs: list[Array] = []
    for p in pictures:
        picture = cv2.resize(cv2.imread(str(p)), (416, 416)).astype(np.float32)
        outputs.append(session.run(None, {"images": picture.transpose(2, 0, 1)[None]})[0][0])
    return max(outputs, key=lambda rows: int((rows[:, 4] > 0.3).sum()))


@pytest.mark.parametrize("score", [0.01, 0.3])
def test_real_output_gives_what_the_plain_loop_gives(street: Array, score: float) -> None:
    parser = make_parser("yolox", (416, 416), score_threshold=score, labels=tuple(map(str, range(80))))
    parser.check(specs({"output": street}))
    parsed = parser.finish(parser.decode({"output": street}), SQUARE)
    boxes, scores, class_ids = plain_yolox(street, (416, 416), score)
    kept = plain_suppress(boxes, scores, class_ids, 0.45)[:300]
    assert len(kept) > 3
    assert parsed.class_ids.tolist() == class_ids[kept].tolist()
    np.testing.assert_allclose(parsed.scores, scores[kept], rtol=1e-5)
    low, high = boxes[kept, :2].clip(0, 416), boxes[kept, 2:].clip(0, 416)
    np.testing.assert_allclose(parsed.boxes, np.concatenate((low, high - low), axis=1), atol=0.01)


def test_half_precision_gives_the_same_objects(street: Array) -> None:
    parser = make_parser("yolox", (416, 416))
    full = parser.finish(parser.decode({"output": street}), SQUARE)
    half = parser.finish(parser.decode({"output": street.astype(np.float16)}), SQUARE)
    assert half.boxes.dtype == np.float32
    assert abs(len(half.boxes) - len(full.boxes)) <= 1  # one may sit on the threshold
    assert half.boxes[0].tolist() == pytest.approx(full.boxes[0].tolist(), abs=1)
