from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged import registry
from edged.parsers.layout import Shapes, guesses, metadata_labels

IMAGE = {"images": (1, 3, 416, 416)}
OPEN = {"images": (None, 3, None, None)}
TWO = {"names": "{0: 'cat', 1: 'dog'}", "task": "detect"}
PERSON = {"names": "{0: 'person'}", "task": "pose", "kpt_shape": "[17, 3]"}
FACES = {"537": (10, 1, 8, 8), "538": (10, 2, 8, 8), "539": (10, 2, 8, 8), "540": (10, 10, 8, 8)}
CAT_DOG = {"labels": ["cat", "dog"]}

# inputs, outputs, metadata, what is suggested (None: nothing)
CASES: list[tuple[Shapes, Shapes, dict[str, str], dict[str, Any] | None]] = [
    (IMAGE, {"o": (1, 3549, 85)}, {}, {"parser": "yolox", "decoded": False}),
    (IMAGE, {"o": (1, 3549, 6)}, {}, {"parser": "yolox", "decoded": False}),
    (
        {"i": (1, 3, 640, 640)},
        {"o": (1, 8500, 85)},
        {},
        {"parser": "yolox", "decoded": False, "strides": [8, 16, 32, 64]},
    ),
    (IMAGE, {"o": (1, 3549, 84)}, TWO, None),  # the labels contradict it
    (IMAGE, {"o": (1, 10647, 85)}, {}, {"parser": "yolov5"}),
    (IMAGE, {"o": (1, 10647, 6)}, {}, {"parser": "yolov5"}),
    (
        IMAGE,
        {"o": (1, 10647, 7), "x": (1, 3, 52, 52, 7)},
        TWO,
        {"parser": "yolov5", "tensor": "o", **CAT_DOG},
    ),
    (OPEN, {"o": (None, None, 7)}, TWO, {"parser": "yolov5", **CAT_DOG}),
    (OPEN, {"o": (None, None, 85)}, {}, None),
    (IMAGE, {"o": (1, 84, 3549)}, {}, {"parser": "yolov8"}),
    (IMAGE, {"o": (1, 6, 3549)}, TWO, {"parser": "yolov8", **CAT_DOG}),
    (OPEN, {"o": (None, 6, None)}, TWO, {"parser": "yolov8", **CAT_DOG}),
    (IMAGE, {"o": (1, 56, 3549)}, PERSON, {"parser": "yolov8", "keypoints": 17, "labels": ["person"]}),
    (IMAGE, {"o": (1, 56, 3549)}, {}, None),
    (IMAGE, {"o": (1, 38, 3549), "p": (1, 32, 104, 104)}, {**TWO, "task": "segment"}, None),
    (IMAGE, {"o": (1, 7, 3549)}, {**TWO, "task": "obb"}, None),
    (IMAGE, {"o": (1, 300, 6)}, {}, {"parser": "end2end"}),
    (OPEN, {"o": (None, 300, 6)}, TWO, {"parser": "end2end", **CAT_DOG}),
    (OPEN, {"o": (None, None, 6)}, {}, None),
    (
        {"input.1": (10, 3, 32, 32)},
        FACES,
        {},
        {
            "parser": "centerface",
            "heatmap": "537",
            "scale": "538",
            "offset": "539",
            "landmarks": "540",
            "labels": ["face"],
        },
    ),
    (IMAGE, FACES, {}, None),  # the grid is no quarter of the input
    (IMAGE, {"o": (1, 21, 416, 416)}, {}, {"parser": "segmentation"}),
    (IMAGE, {"o": (1, 19, 52, 52)}, {}, {"parser": "segmentation"}),
    (IMAGE, {"o": (1, 416, 416)}, {}, {"parser": "segmentation"}),
    (IMAGE, {"o": (1, 1, 416, 416)}, {}, None),  # depth?
    (IMAGE, {"o": (1, 3, 416, 416)}, {}, None),  # a picture?
    (IMAGE, {"o": (1, 255, 13, 13)}, {}, None),  # a raw detector head
    (IMAGE, {"o": (1, 1000)}, {}, {"parser": "classification"}),
    (IMAGE, {"o": (None, 2)}, TWO, {"parser": "classification", **CAT_DOG}),
    (OPEN, {"o": (None, 1001, 1, 1)}, {}, {"parser": "classification"}),
    (IMAGE, {"o": (1, 512)}, {}, None),  # an embedding?
    ({"tokens": (1, 128)}, {"o": (1, 10)}, {}, None),
    (IMAGE, {}, {}, None),
    (IMAGE, {"o": ()}, {}, None),
    (IMAGE, {"a": (1, 10), "b": (1, 10)}, {}, None),
]


@pytest.mark.parametrize(("inputs", "outputs", "metadata", "wanted"), CASES)
def test_one_parser_knows_the_layout_or_none(
    inputs: Shapes, outputs: Shapes, metadata: dict[str, str], wanted: dict[str, Any] | None
) -> None:
    assert guesses(inputs, outputs, metadata) == ([] if wanted is None else [wanted])


@pytest.mark.parametrize("wanted", [w for _, _, _, w in CASES if w])
def test_suggested_options_exist(wanted: dict[str, Any]) -> None:
    options = registry.load("parsers", wanted["parser"]).Options
    for key in wanted.keys() - {"parser", "labels"}:
        assert key in options.__struct_fields__


dims = st.one_of(st.none(), st.integers(0, 9000), st.sampled_from([1, 3, 6, 84, 85, 416, 3549]))
shapes = st.dictionaries(st.text(max_size=3), st.lists(dims, max_size=5).map(tuple), max_size=4)


@given(shapes, shapes, st.dictionaries(st.sampled_from(["names", "task", "kpt_shape", "end2end"]), st.text()))
def test_no_graph_makes_them_raise(inputs: Shapes, outputs: Shapes, metadata: dict[str, str]) -> None:
    assert len(guesses(inputs, outputs, metadata)) <= 1


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        ("{0: 'cat', 1: 'dog'}", ["cat", "dog"]),
        ("{'1': 'dog', '0': 'cat'}", ["cat", "dog"]),
        ("['cat', 'dog']", ["cat", "dog"]),
        ("{0: 'cat', 7: 'dog'}", []),
        ("{[]: 1}", []),
        ("cat, dog", []),
        ("__import__('os')", []),
        ("3", []),
    ],
)
def test_embedded_labels(names: str, labels: list[str]) -> None:
    assert metadata_labels({"names": names}) == labels
