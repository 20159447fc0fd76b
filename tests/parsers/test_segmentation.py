from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import ModelError
from edged.frames import Geometry
from edged.messages import Mask
from tests.parsers.samples import Array, make_parser, specs

WHOLE = Geometry.fit((100, 100), (64, 64), "stretch")


def _cells(mask: Mask) -> Array:
    return np.frombuffer(zlib.decompress(mask.data), np.uint8).reshape(mask.size[1], mask.size[0])


def _mask(grid: Array, g: Geometry = WHOLE, **output: object) -> tuple[Array, int]:
    parser = make_parser("segmentation", **output)  # type: ignore[arg-type]
    parser.check(specs({"o": grid}))
    parsed = parser.finish(parser.decode({"o": grid}), g)
    return _cells(parsed.mask), parsed.rejected


@given(st.integers(0, 2**32 - 1), st.integers(2, 20))
def test_the_greatest_channel_wins_and_the_first_of_equals(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    planes = rng.integers(0, 5, (classes, 8, 8)).astype(np.float32)
    cells, rejected = _mask(planes)
    assert (cells == planes.argmax(axis=0)).all()
    assert rejected == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_indices(dtype: type) -> None:
    grid: Array = np.arange(64).reshape(8, 8).astype(dtype)
    assert (_mask(grid)[0] == grid).all()
    assert (_mask(grid[None])[0] == grid).all()


def test_indices_beyond_a_byte_are_rejected() -> None:
    grid = np.array([[1, -1], [256, 2**40]], np.int64)
    cells, rejected = _mask(grid)
    assert (cells.tolist(), rejected) == ([[1, 0], [0, 0]], 3)


def test_one_channel_is_the_foreground() -> None:
    grid: Array = np.array([[[0.4, 0.5], [0.6, np.nan]]], np.float32)
    cells, rejected = _mask(grid, score_threshold=0.5)
    assert (cells.tolist(), rejected) == ([[0, 1], [1, 0]], 1)


def test_bad_cells_are_class_0() -> None:
    planes = np.zeros((3, 2, 2), np.float16)
    planes[2] = 1
    planes[0, 0, 0], planes[1, 0, 1], planes[2, 1, 0] = np.nan, np.inf, -np.inf
    cells, rejected = _mask(planes)
    assert (cells.tolist(), rejected) == ([[0, 0], [0, 2]], 2)


def test_padding_is_cut_off() -> None:
    grid = np.arange(64, dtype=np.uint8).reshape(8, 8)
    cells, _ = _mask(grid, Geometry.fit((128, 64), (64, 64), "letterbox"))
    assert (cells == grid[2:6]).all()
    cells, _ = _mask(grid, Geometry.fit((32, 64), (64, 64), "letterbox-topleft"))
    assert (cells == grid[:, :4]).all()
    cells, _ = _mask(grid, Geometry.fit((1, 4000), (64, 64), "letterbox"))
    assert cells.shape == (8, 1)


def test_a_regions_mask_covers_the_region() -> None:
    grid = np.arange(64, dtype=np.uint8).reshape(8, 8)
    cells, _ = _mask(grid, Geometry.fit((1000, 500), (64, 64), "letterbox", (301, 77, 128, 64)))
    assert (cells == grid[2:6]).all()


def test_labels_come_along() -> None:
    parser = make_parser("segmentation", labels=("road", "sky"))
    mask = parser.finish(parser.decode({"o": np.zeros((2, 4, 4), np.float32)}), WHOLE).mask
    assert mask.labels == ["road", "sky"]


@pytest.mark.parametrize("grid", [np.zeros((8, 8), np.float32), np.zeros((2, 8, 8), np.int32), np.zeros(8)])
def test_other_layouts_are_refused_at_load(grid: Array) -> None:
    with pytest.raises(ModelError, match="integers"):
        make_parser("segmentation").check(specs({"o": grid}))
