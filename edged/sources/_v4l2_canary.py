"""Whether a GPU reads what a camera's driver wrote: a zero-copy rung is believed only after that.

Buffers are filled with a sentinel before the driver has them. Of the first pictures, every row must have been
written over, and what the GPU reads must be what the CPU reads. So a driver that says that it wrote, an address that
leads elsewhere, and a cache that nobody flushed are found out before a picture reaches a model.
"""

from __future__ import annotations

import numpy as np

from edged.errors import DeviceError, FatalDeviceError, MemoryRefused
from edged.frames import U8, FrameSpec
from edged.interfaces import Device
from edged.memory import Slots, Want
from edged.sources._v4l2_queue import Refused
from edged.tensors import TensorSpec, TensorView

PICTURES = 2  # to be compared once the source has started; before, one is
WAIT_S = 5.0  # for a copy that takes milliseconds
_PERIOD = 251  # prime: rows of no width look like their neighbours


def sentinel(nbytes: int) -> U8:
    """Bytes that no camera sends."""
    noise = np.random.default_rng(1).integers(0, 256, _PERIOD, np.uint8)
    return np.resize(noise, nbytes)


def peek(device: Device, owner: str, address: int, nbytes: int) -> U8:
    """What the device reads at `address`: a copy through its own memory. Admitted, and freed before it returns.

    By way of device memory, as a copy from host to host may be made by the CPU. Raises Refused when that fails.
    """
    there = TensorSpec("there", (nbytes,), np.dtype(np.uint8))
    back = TensorSpec("back", (nbytes,), np.dtype(np.uint8))
    wants = [
        Want.tensor(there, memory=device.tensor_memory),
        Want.tensor(back, memory=device.frame_memory),
    ]
    try:
        region = device.region(f"{owner}: canary", wants)
        try:
            stream = device.stream(name=f"{owner} canary")
            try:
                source = TensorView(there, address, device.frame_memory, None)
                stream.copy(region.tensor(there), source)
                stream.copy(region.tensor(back), region.tensor(there))
                if not stream.record().wait(WAIT_S):
                    raise Refused(f"the device does not copy a picture within {WAIT_S:g} s")
                return np.array(region.tensor(back).host())
            finally:
                stream.close()
        finally:
            region.close()
    except FatalDeviceError:
        raise
    except (DeviceError, MemoryRefused) as e:
        raise Refused(f"the device cannot read it: {e.message.splitlines()[0]}") from e


class Canary:
    """For the slots of one start. Used by the source's thread; holds one picture's worth of sentinel."""

    def __init__(self, device: Device, spec: FrameSpec, slots: Slots, pictures: int) -> None:
        self._device, self._spec, self._slots = device, spec, slots
        self.left = pictures
        last = spec.planes[-1]
        self._nbytes = last.offset + last.pitch * (last.rows - 1) + last.row_bytes
        self._sentinel = sentinel(spec.nbytes)

    def fill(self) -> None:
        """Before the driver has the buffers."""
        for b in self._slots.buffers:
            b[: self._nbytes] = self._sentinel[: self._nbytes]

    def check(self, slot: int) -> None:
        """A whole picture that the driver put into the slot, not torn. Raises Refused with what is wrong."""
        buffer = self._slots.buffers[slot]
        seen = np.array(buffer[: self._nbytes])
        for n, (plane, before) in enumerate(
            zip(self._spec.views(buffer), self._spec.views(self._sentinel), strict=True)
        ):
            rows = len(plane)
            same = (plane == before).reshape(rows, -1).all(axis=1)
            if same.any():
                raise Refused(f"the driver did not write {int(same.sum())} of {rows} rows of plane {n}")
        read = peek(self._device, self._slots.owner, self._slots.addresses[slot], self._nbytes)
        wrong = int(np.count_nonzero(read != seen))
        if wrong:
            raise Refused(f"the device reads other bytes than the CPU, {wrong} of {self._nbytes}")
        self.left -= 1
