"""Every parser, on outputs of any numbers: nothing raises or warns, and results keep their promises."""

from __future__ import annotations

import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edged import registry
from edged.config.schema import Table
from edged.frames import Geometry
from edged.parsers.base import Candidates, Parsed
from edged.parsers.fake import FakeParser
from tests.parsers.samples import Array, make_model, make_parser, specs
from tests.searching import examples

SIZE = (64, 32)
GRID = 4 * 8 + 2 * 4 + 1 * 2  # cells of strides 8, 16, 32
MOST = 7  # max_detections
# as float32 has them: numpy 1 compares a float32 with a float by value
ODD = np.array(
    [np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 1e30, 100.0, 0.0, -0.0, 1e-40, 1.0, 1.04, 0.5], np.float32
).tolist()

numbers = st.one_of(st.sampled_from(ODD), st.floats(0, 1, width=32), st.floats(-40, 80, width=32))
n_rows = st.integers(0, 12)


def floats(*shape: int | st.SearchStrategy[int]) -> st.SearchStrategy[Array]:
    """Read-only arrays of float32 or float16 with any numbers."""
    sizes = st.tuples(*(s if isinstance(s, st.SearchStrategy) else st.just(s) for s in shape))
    return st.builds(
        _cast, hnp.arrays(np.float32, sizes, elements=numbers), st.sampled_from([np.float32, np.float16])
    )


def _cast(a: Array, dtype: Any) -> Array:
    with np.errstate(all="ignore"):
        a = a.astype(dtype)
    a.flags.writeable = False
    return a


ints = hnp.arrays(np.int64, (4, 8), elements=st.one_of(st.integers(0, 3), st.integers(-(2**63), 2**63 - 1)))
face_maps = {
    "537": floats(1, 8, 16),
    "538": floats(2, 8, 16),
    "539": floats(2, 8, 16),
    "540": floats(10, 8, 16),
}

# parser, its options, outputs
CASES: dict[str, tuple[str, dict[str, Any], st.SearchStrategy[dict[str, Array]]]] = {
    "yolox": ("yolox", {"max_candidates": 9}, st.fixed_dictionaries({"o": floats(GRID, 7)})),
    "yolox-decoded": ("yolox", {"decoded": True}, st.fixed_dictionaries({"o": floats(GRID, 6)})),
    "yolov5": ("yolov5", {}, st.fixed_dictionaries({"o": floats(n_rows, 7)})),
    "yolov8": ("yolov8", {"max_candidates": 3}, st.fixed_dictionaries({"o": floats(6, n_rows)})),
    "yolov8-pose": ("yolov8", {"keypoints": 2}, st.fixed_dictionaries({"o": floats(11, n_rows)})),
    "end2end": ("end2end", {}, st.fixed_dictionaries({"o": floats(n_rows, 6)})),
    "end2end-normalized": (
        "end2end",
        {"normalized": True, "suppress": True},
        st.fixed_dictionaries({"o": floats(n_rows, 6)}),
    ),
    "centerface": ("centerface", {}, st.fixed_dictionaries(face_maps)),
    "classification": ("classification", {}, st.fixed_dictionaries({"o": floats(st.integers(0, 9))})),
    "classification-softmax": (
        "classification",
        {"softmax": "always", "top": 2},
        st.fixed_dictionaries({"o": floats(4, 1, 1)}),
    ),
    "segmentation": ("segmentation", {}, st.fixed_dictionaries({"o": floats(3, 4, 8)})),
    "segmentation-foreground": ("segmentation", {}, st.fixed_dictionaries({"o": floats(1, 4, 8)})),
    "segmentation-indices": ("segmentation", {}, st.fixed_dictionaries({"o": ints})),
    "raw": ("raw", {}, st.fixed_dictionaries({"a": floats(n_rows), "b": ints})),
}
fits = st.sampled_from(["letterbox", "letterbox-topleft", "stretch"])


def _fit(w: int, h: int, fit: Any, part: tuple[float, float, float, float] | None) -> Geometry:
    """Of a picture, or of a part of it given in shares."""
    if part is None:
        return Geometry.fit((w, h), SIZE, fit)
    x, y = int(part[0] * (w - 1)), int(part[1] * (h - 1))
    roi = x, y, max(1, int(part[2] * (w - x))), max(1, int(part[3] * (h - y)))
    return Geometry.fit((w, h), SIZE, fit, roi)


share = st.floats(0, 1)
parts = st.none() | st.tuples(share, share, share, share)
geometries = st.builds(_fit, st.integers(1, 5000), st.integers(1, 5000), fits, parts)


def check_dtypes(boxes: Array, scores: Array, class_ids: Array) -> None:
    assert boxes.dtype == scores.dtype == np.float32
    assert class_ids.dtype == np.int32


def check_detections(c: Candidates, p: Parsed, g: Geometry, rows: int) -> None:
    n = len(c.boxes)
    assert c.boxes.shape == (n, 4)
    check_dtypes(c.boxes, c.scores, c.class_ids)
    assert np.isfinite(c.boxes).all()
    assert c.scores.shape == c.class_ids.shape == (n,)
    assert n + c.rejected <= rows
    assert p.boxes is not None
    assert p.scores is not None
    assert p.class_ids is not None
    found = len(p.boxes)
    assert found <= min(n, MOST)
    check_dtypes(p.boxes, p.scores, p.class_ids)
    assert p.scores.shape == p.class_ids.shape == (found,)
    assert (p.scores >= 0.3 - 1e-6).all()
    assert (p.scores <= 1).all()
    assert (np.diff(p.scores) <= 0).all()
    assert (p.class_ids >= 0).all()
    x, y, w, h = p.boxes.astype(np.float64).T
    left, top, width, height = g.shown
    assert (x >= left).all()
    assert (y >= top).all()
    assert (w > 0).all()
    assert (h > 0).all()
    assert (x + w <= (left + width) * (1 + 1e-6)).all()
    assert (y + h <= (top + height) * (1 + 1e-6)).all()
    assert (p.keypoints is None) == (c.keypoints is None)
    if p.keypoints is not None:
        assert p.keypoints.shape[0::2] == (found, 2)
        assert p.keypoints.dtype == np.float32
        assert np.isfinite(p.keypoints).all()


def check_classes(c: Candidates, p: Parsed, g: Geometry, rows: int) -> None:
    assert p.classes is not None
    ids, scores = p.classes
    check_dtypes(scores, scores, ids)
    assert ids.shape == scores.shape
    assert np.isfinite(scores).all()
    assert (np.diff(scores) <= 0).all()
    assert len(set(ids.tolist())) == len(ids) <= 5
    assert ((ids >= 0) & (ids < rows)).all()


def check_mask(c: Candidates, p: Parsed, g: Geometry, rows: int) -> None:
    assert p.mask is not None
    w, h = p.mask.size
    assert 1 <= w <= 8
    assert 1 <= h <= 4
    assert len(zlib.decompress(p.mask.data)) == w * h


def check_tensors(c: Candidates, p: Parsed, g: Geometry, rows: int) -> None:
    assert p.tensors is not None
    for t in p.tensors.values():
        assert len(t.data) == np.dtype(t.dtype).itemsize * int(np.prod(t.shape))


CHECKS = {"detect": check_detections, "classify": check_classes, "segment": check_mask, "raw": check_tensors}
GROUPS = {"detect": "boxes", "classify": "classes", "segment": "mask", "raw": "tensors"}


@pytest.mark.parametrize("case", CASES)
@examples(25)
@given(data=st.data())
def test_no_numbers_make_a_parser_raise(case: str, data: st.DataObject) -> None:
    kind, options, strategy = CASES[case]
    outputs, g = data.draw(strategy), data.draw(geometries)
    parser = make_parser(kind, SIZE, options, max_detections=MOST)
    before = {n: a.copy() for n, a in outputs.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        c = parser.decode(outputs)
        for name, array in outputs.items():
            np.testing.assert_array_equal(array, before[name])
            array.flags.writeable = True
            array[...] = 1  # the engine's next run: what was decoded must not change
        parsed = parser.finish(c, g)
    rows = max(a.size for a in outputs.values())
    CHECKS[parser.task](c, parsed, g, rows)
    assert 0 <= parsed.rejected == c.rejected <= rows
    groups = [name for name in GROUPS.values() if getattr(parsed, name) is not None]
    assert groups == [GROUPS[parser.task]]


@examples(25)
@given(floats(n_rows, 6), geometries)
def test_the_fake_keeps_the_same_promises(rows: Array, g: Geometry) -> None:
    parser = FakeParser(make_model("fake", SIZE, max_detections=MOST), rows.astype(np.float32).tolist())
    c = parser.decode({})
    check_detections(c, parser.finish(c, g), g, len(rows))
    assert parser.decoded == 1


@pytest.mark.parametrize("kind", sorted(registry.BUILT_IN["parsers"]))
def test_every_parser_is_covered_and_shaped_alike(kind: str) -> None:
    assert kind in {parser for parser, _, _ in CASES.values()}
    cls = registry.load("parsers", kind)
    assert issubclass(cls.Options, Table)
    assert cls.Options.__struct_config__.forbid_unknown_fields
    assert cls.Options.__struct_config__.frozen
    parser = make_parser(kind)
    assert isinstance(parser.labels, tuple)
    assert cls.__doc__


@pytest.mark.parametrize("kind", sorted(registry.BUILT_IN["parsers"]))
def test_the_same_outputs_twice_give_the_same(kind: str) -> None:
    """No state between frames."""
    _, options, _ = next(c for c in CASES.values() if c[0] == kind)
    shapes = {"yolox": (GRID, 7), "yolov5": (GRID * 3, 7), "yolov8": (6, GRID), "end2end": (12, 6)}
    more = {"classification": (9,), "segmentation": (3, 4, 8), "raw": (5,)}
    rng = np.random.default_rng(5)
    faces = {"537": (1, 8, 16), "538": (2, 8, 16), "539": (2, 8, 16), "540": (10, 8, 16)}
    wanted = faces if kind == "centerface" else {"o": (shapes | more)[kind]}
    outputs = {n: rng.random(s, np.float32) for n, s in wanted.items()}
    parser = make_parser(kind, SIZE, options)
    parser.check(specs(outputs))
    g = Geometry.fit((100, 70), SIZE, "letterbox")
    first, second = (parser.finish(parser.decode(outputs), g) for _ in range(2))
    for field in ("boxes", "scores", "class_ids", "keypoints", "rejected", "mask", "tensors"):
        np.testing.assert_equal(getattr(second, field), getattr(first, field))
