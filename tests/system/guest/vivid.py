"""The kernel's virtual cameras (vivid): made, told to misbehave, unplugged. Needs root; runs in the virtual machine.

Goes past edged's own V4L2 code, which is what is tested.
"""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

PLATFORM = Path("/sys/bus/platform/drivers/vivid")
BY_PATH = "/dev/v4l/by-path/platform-vivid.0-video-index0"
WEBCAM, HDMI = 0, 3  # input types: the first has discrete sizes and rates, the second can crop
_G_CTRL, _S_CTRL = 0xC008561B, 0xC008561C
# vivid's own numbers (drivers/media/test-drivers/vivid/vivid-ctrls.c), and a few standard ones
CONTROLS = {
    "brightness": 0x980900,
    "hue": 0x980903,
    "gain_automatic": 0x980912,
    "menu": 0x98F904,
    "bitmask": 0x98F906,
    "integer_menu": 0x98F907,
    "test_pattern": 0xF0F000,
    "osd_text_mode": 0xF0F001,
    "colorspace": 0xF0F019,
    "wrap_sequence_number": 0xF0F026,
    "percentage_of_dropped_buffers": 0xF0F040,
    "disconnect": 0xF0F041,
    "inject_v4l2_buf_flag_error": 0xF0F042,
    "inject_vidioc_reqbufs_error": 0xF0F043,
    "inject_vidioc_qbuf_error": 0xF0F044,
    "inject_vidioc_streamon_error": 0xF0F045,
    "inject_fatal_streaming_error": 0xF0F046,
}


@dataclass(frozen=True, slots=True)
class Kind:
    """What one camera is. `contiguous`: it takes memory of its own only, no USERPTR."""

    multiplanar: bool = False
    input: int = WEBCAM
    contiguous: bool = False


def load(*kinds: Kind) -> None:
    """/dev/video0 and so on, of these kinds."""

    def each(values: list[int]) -> str:
        return ",".join(map(str, values))

    n = len(kinds)
    arguments = {
        "n_devs": str(n),
        "node_types": each([1] * n),  # video capture only
        "num_inputs": each([1] * n),
        "input_types": each([k.input for k in kinds]),
        "vid_cap_nr": each(list(range(n))),
        "multiplanar": each([1 + k.multiplanar for k in kinds]),
        "allocators": each([int(k.contiguous) for k in kinds]),
    }
    subprocess.run(["modprobe", "vivid", *(f"{k}={v}" for k, v in arguments.items())], check=True)
    settle()


def settle() -> None:
    """Until udev has made or removed the names."""
    subprocess.run(["udevadm", "settle", "--timeout=20"], check=True)


def set_control(node: str, name: str, value: int = 1) -> None:
    """Raises OSError; a camera that was told to disconnect cannot be opened while anyone holds it."""
    _control(node, _S_CTRL, name, value)


def get_control(node: str, name: str) -> int:
    return _control(node, _G_CTRL, name, 0)


def _control(node: str, request: int, name: str, value: int) -> int:
    fd = os.open(node, os.O_RDWR | os.O_CLOEXEC)
    try:
        answer = fcntl.ioctl(fd, request, struct.pack("Ii", CONTROLS[name], value))
    finally:
        os.close(fd)
    got: int = struct.unpack("Ii", answer)[1]
    return got


def unbind() -> None:
    """Unplug all cameras: vivid is one platform device."""
    (PLATFORM / "unbind").write_text("vivid.0")
    settle()


def bind() -> None:
    (PLATFORM / "bind").write_text("vivid.0")
    settle()
