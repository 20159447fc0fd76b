"""A frame as a picture file, through the conversions that the CPU's preprocessing uses."""

from __future__ import annotations

from typing import Any

import numpy as np

from edged.devices.cpu_convert import conversion, opencv
from edged.errors import DeviceError
from edged.frames import U8, Frame, FrameSpec

JPEG_QUALITY = 95


class Picture:
    """Frames of one FrameSpec to PNG or JPEG: BGR, or grey from a grey camera. Used by one thread."""

    def __init__(self, spec: FrameSpec) -> None:
        self._cv2 = opencv()
        self._conversion = conversion(spec, "BGR")
        scratch = {name: np.empty(shape, np.uint8) for name, shape in self._conversion.scratch.items()}
        self._step = self._conversion.build(scratch.__getitem__)

    def bgr(self, frame: Frame) -> U8:
        """[h, w, 3] or [h, w]; valid until the next call, and as long as the frame is leased."""
        picture = self._step(frame.planes)
        return np.ascontiguousarray(picture[..., ::-1] if self._conversion.swapped else picture)

    def encode(self, frame: Frame, suffix: str) -> bytes:
        """The file's bytes. `suffix`: ".png" (lossless) or ".jpg". DeviceError when OpenCV cannot."""
        cv2: Any = self._cv2
        options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if suffix == ".jpg" else []
        try:
            good, data = cv2.imencode(suffix, self.bgr(frame), options)
        except cv2.error as e:  # a JPEG has 65535 pixels a side at most
            good, data = False, e.err
        if not good:
            size = f"{frame.spec.width}x{frame.spec.height}"
            raise DeviceError(f"cannot make a {suffix} file of {size}: {data}", hint="use the other format")
        return bytes(data)
