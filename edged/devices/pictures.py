"""What every device's preprocessing asks of a model's input."""

from __future__ import annotations

import numpy as np

from edged.errors import ModelError
from edged.tensors import ImageInput, TensorSpec

DTYPES = tuple(np.dtype(t) for t in (np.float32, np.float16, np.uint8, np.int8))


def check_pictures(dst: TensorSpec, image: ImageInput) -> None:
    """ModelError unless `dst` can hold pictures as `image` says."""
    expected = image.shape(dst.shape[0] if dst.shape else 1)
    if dst.shape != expected or dst.dtype not in DTYPES:
        raise ModelError(
            f"input {dst} cannot hold pictures of model.toml's [input] "
            f"(float32, float16, uint8 or int8 {list(expected)})",
            hint="make size, layout and color of [input] those of the ONNX file (edged model show)",
        )
    if min(len(image.mean), len(image.std)) < image.channels or 0 in image.std:
        raise ModelError(
            f"input {dst.name}: mean {image.mean} and std {image.std} are not {image.channels} usable values",
            hint="give mean and std one value a channel, std not zero, in [input] of model.toml",
        )
