"""Which folder is what, and what its labels say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import ModelError
from edged.evaluation import coco, yolo
from edged.evaluation.boxes import Truth
from edged.evaluation.datasets import Dataset, read_dataset
from edged.evaluation.files import DatasetError
from edged.evaluation.labels import class_map
from edged.models.load import load_model
from tests.evaluation.made import coco_file, color_classifier, picture


def truth_of(dataset: Dataset, at: int = 0) -> Truth:
    truth = dataset.items[at].truth
    assert isinstance(truth, Truth)
    return truth


@pytest.mark.parametrize(
    ("labels", "pictures", "named"),
    [
        ("annotations/instances_val.json", "val", "."),
        ("annotations/instances_val.json", "images/val", "."),
        ("_annotations.coco.json", ".", "."),
        ("labels.json", "images", "."),
        ("annotations/any.json", "images", "annotations/any.json"),
    ],
)
def test_coco_is_found_where_people_keep_it(labels: str, pictures: str, named: str, tmp_path: Path) -> None:
    picture(tmp_path / pictures / "a.png")
    coco_file(tmp_path / labels, ["cat", "dog"], {"a.png": [(2, [1, 2, 3, 4])]})
    (tmp_path / "settings.json").write_text("{}")
    dataset = read_dataset(tmp_path / named)
    assert (dataset.kind, dataset.categories) == ("coco", {1: "cat", 2: "dog"})
    truth = truth_of(dataset)
    assert (truth.class_ids.tolist(), truth.boxes.tolist()) == ([2], [[1, 2, 3, 4]])
    assert truth.in_pixels(40, 30) is truth


def test_several_label_files_must_be_told_apart(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    for name in ("one", "two"):
        coco_file(tmp_path / f"{name}.json", ["cat"], {"a.png": []})
    with pytest.raises(DatasetError, match=r"one\.json, two\.json\n.*name one of them"):
        read_dataset(tmp_path)
    coco_file(tmp_path / "instances_x.json", ["cat"], {"a.png": []})
    assert read_dataset(tmp_path).kind == "coco", "COCO's own name decides"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"annotations": [{"image_id": 7, "category_id": 1, "bbox": [0, 0, 1, 1]}]}, "there is no image 7"),
        (
            {"annotations": [{"image_id": 0, "category_id": 9, "bbox": [0, 0, 1, 1]}]},
            "there is no category 9",
        ),
        (
            {"annotations": [{"image_id": 0, "category_id": 1, "bbox": [0, 0, -1, 1]}]},
            r"annotations\[0\]: bbox",
        ),
        ({"annotations": [{"image_id": 0, "category_id": 1}]}, r"bbox.*\$\.annotations\[0\]"),
        ({"images": []}, "there is no image 0"),
        ({"images": [], "annotations": []}, "has no images"),
        ({"images": [{"id": 0, "file_name": "b.png"}]}, r"picture 'b\.png' is in none of"),
    ],
)
def test_what_coco_labels_lack_is_named(change: dict[str, object], said: str, tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    file = coco_file(tmp_path / "l.json", ["cat"], {"a.png": [(1, [0, 0, 1, 1])]})
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(DatasetError, match=said):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("images", "labels", "named"),
    [
        ("images", "labels", "."),
        ("images/val", "labels/val", "."),
        ("images/val", "labels/val", "images/val"),
        (".", ".", "."),
    ],
)
def test_yolo_is_found_where_people_keep_it(images: str, labels: str, named: str, tmp_path: Path) -> None:
    picture(tmp_path / images / "a.png")
    picture(tmp_path / images / "b.png")
    (tmp_path / labels).mkdir(parents=True, exist_ok=True)
    (tmp_path / labels / "a.txt").write_text("1 0.5 0.5 0.2 0.4\n\n")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    dataset = read_dataset(tmp_path / named)
    assert (dataset.kind, dataset.categories) == ("yolo", {0: "cat", 1: "dog"})
    np.testing.assert_allclose(truth_of(dataset).in_pixels(40, 30).boxes, [[16, 9, 8, 12]])
    assert len(truth_of(dataset, 1).boxes) == 0, "a picture without a file shows nothing"


def test_class_folders_pictures_and_nothing(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"is no set of pictures; looked for:\n  COCO: .*\n  YOLO: "):
        read_dataset(tmp_path)
    with pytest.raises(DatasetError, match="is a file; looked for"):
        read_dataset(Path(__file__))
    for name in ("red", "blue"):
        picture(tmp_path / "classes" / name / "1.png")
    picture(tmp_path / "classes" / "red" / "more" / "2.jpg")
    (tmp_path / "classes" / "empty").mkdir()
    dataset = read_dataset(tmp_path / "classes")
    assert (dataset.kind, sorted(dataset.categories.values())) == ("classes", ["blue", "red"])
    assert [dataset.name_of(i) for i in dataset.items] == ["blue/1.png", "red/1.png", "red/more/2.jpg"]
    assert read_dataset(tmp_path / "classes" / "blue").kind == "pictures"
    picture(tmp_path / "plain" / "images" / "1.png")
    plain = read_dataset(tmp_path / "plain")
    assert (plain.kind, plain.whole) == ("pictures", 1)


def test_a_limit_takes_evenly(tmp_path: Path) -> None:
    for i in range(10):
        picture(tmp_path / f"{i}.png")
    dataset = read_dataset(tmp_path).limited(4)
    assert [i.file.stem for i in dataset.items] == ["0", "2", "5", "7"]
    assert dataset.whole == 10
    assert len(dataset.limited(40).items) == 4


numbers = st.floats(0, 1)


@given(st.lists(st.tuples(st.integers(0, 999), numbers, numbers, numbers, numbers)))
def test_yolo_lines_come_back(rows: list[tuple[int, float, float, float, float]]) -> None:
    text = "".join(" ".join(map(repr, row)) + "\r\n" for row in rows)
    truth = yolo.parse(text, "a.txt").in_pixels(100, 200)
    assert truth.class_ids.tolist() == [r[0] for r in rows]
    for (_, cx, cy, w, h), box in zip(rows, truth.boxes.tolist(), strict=True):
        assert box == pytest.approx([(cx - w / 2) * 100, (cy - h / 2) * 200, w * 100, h * 200])


@given(
    st.text()
    | st.lists(st.sampled_from(["0", "1", "-1", "0.5", "nan", "inf", "1e9", "\n", "x"])).map(" ".join)
)
def test_any_text_is_labels_or_an_error_that_names_the_line(text: str) -> None:
    said = ""
    try:
        truth = yolo.parse(text, "a.txt")
    except DatasetError as e:
        said = e.message
    if said:
        assert said.startswith("a.txt, line ")
    else:
        assert np.isfinite(truth.boxes).all()
        assert (truth.boxes[:, 2:] >= 0).all()


@given(
    st.binary()
    | st.recursive(st.none() | st.text() | st.floats(), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_any_bytes_are_coco_labels_or_an_error(data: bytes) -> None:
    with pytest.raises(DatasetError, match=r"^l\.json: is no file of COCO's labels"):
        coco.parse(data, "l.json")


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, 2), st.tuples(*[st.floats(0, 1e4)] * 4), st.booleans())
    )
)
def test_coco_boxes_come_back(rows: list[tuple[int, int, tuple[float, ...], bool]]) -> None:
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg"} for i in range(4)],
        "annotations": [
            {"image_id": i, "category_id": c, "bbox": b, "iscrowd": int(k)} for i, c, b, k in rows
        ],
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
    }
    _, truths = coco.parse(json.dumps(content).encode(), "l.json")
    for image, truth in truths.items():
        own = [r for r in rows if r[0] == image]
        assert truth.boxes.tolist() == [list(b) for _, _, b, _ in own]
        assert truth.class_ids.tolist() == [c for _, c, _, _ in own]
        assert truth.crowd.tolist() == [k for *_, k in own]


def test_polygons_become_the_box_around_them() -> None:
    truth = yolo.parse("0 0.1 0.2 0.5 0.3 0.2 0.8", "a.txt")
    np.testing.assert_allclose(truth.boxes, [[0.1, 0.2, 0.4, 0.6]])


def test_classes_are_found_by_name_then_by_number(tmp_path: Path) -> None:
    labels = ("tench, Tinca tinca", "crane", "Egyptian cat, crane", "dark_red")
    model = load_model(color_classifier(tmp_path / "m", labels))

    def ids(*names: str) -> list[int]:
        dataset = Dataset(tmp_path, "classes", (), dict(enumerate(names)), 0)
        found, _ = class_map(dataset, model)
        assert found is not None
        return list(found.values())

    assert ids("Tinca_Tinca", "tench", "egyptian cat", "Dark red", "3") == [0, 0, 2, 3, 3]
    assert ids("crane") == [1], "a whole label comes before a part of one"
    with pytest.raises(ModelError, match="'purple' is none of the labels of model tiny"):
        ids("tench", "purple")
    with pytest.raises(ModelError, match="did you mean 'crane'"):
        ids("crame")
    some = Dataset(tmp_path, "coco", (), {1: "crane", 2: "cow"}, 0)
    assert class_map(some, model) == (
        {1: 1},
        ("left out, since the model does not know them: 1 classes: cow",),
    )
