"""What a camera offers: who it is, formats, sizes, rates, controls. Reads only; nothing is set here."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from edged.sources import _videodev2 as v
from edged.sources._v4l2_device import Device

MAX_LISTED = 4096  # a driver that never ends a list is broken


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a device is. `multiplanar`: it speaks the API of several planes; None: it captures no video."""

    driver: str
    card: str
    bus: str
    multiplanar: bool | None
    streaming: bool

    @property
    def buffer_type(self) -> int:
        return v.BUF_TYPE_CAPTURE_MPLANE if self.multiplanar else v.BUF_TYPE_CAPTURE


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes a format has: a list, or a range with steps. A driver that lists none has neither: any may do."""

    discrete: tuple[tuple[int, int], ...] = ()
    # (least, most, step) of widths and of heights
    stepwise: tuple[tuple[int, int, int], tuple[int, int, int]] | None = None

    def has(self, size: tuple[int, int]) -> bool:
        if self.stepwise is not None:
            return all(
                low <= n <= high and (n - low) % max(1, step) == 0
                for n, (low, high, step) in zip(size, self.stepwise, strict=True)
            )
        return size in self.discrete or not self.discrete

    def __str__(self) -> str:
        if self.stepwise is not None:
            (w0, w1, ws), (h0, h1, hs) = self.stepwise
            steps = f" in steps of {ws}x{hs}" if (ws, hs) != (1, 1) else ""
            return f"{w0}x{h0} to {w1}x{h1}{steps}"
        return ", ".join(f"{w}x{h}" for w, h in self.discrete) or "sizes it does not list"


@dataclass(frozen=True, slots=True)
class Rates:
    """Pictures a second at one size: a list, fastest first, or a range. A driver that lists none has neither."""

    discrete: tuple[float, ...] = ()
    between: tuple[float, float] | None = None

    @property
    def fastest(self) -> float | None:
        if self.between is not None:
            return self.between[1]
        return self.discrete[0] if self.discrete else None

    def __str__(self) -> str:
        if self.between is not None:
            return f"{self.between[0]:g} to {self.between[1]:g}"
        return ", ".join(f"{r:g}" for r in self.discrete)


@dataclass(frozen=True, slots=True)
class Format:
    code: int
    description: str

    @property
    def name(self) -> str:
        return v.fourcc_text(self.code)


KINDS: dict[int, str] = {
    v.CTRL_INTEGER: "int",
    v.CTRL_BOOLEAN: "bool",
    v.CTRL_MENU: "menu",
    v.CTRL_BUTTON: "button",
    v.CTRL_INTEGER64: "int64",
    v.CTRL_STRING: "text",
    v.CTRL_BITMASK: "bitmask",
    v.CTRL_INTEGER_MENU: "intmenu",
}
_FLAGS: tuple[tuple[int, str], ...] = (
    (v.CTRL_FLAG_READ_ONLY, "read-only"),
    (v.CTRL_FLAG_WRITE_ONLY, "write-only"),
    (v.CTRL_FLAG_GRABBED, "grabbed"),
    (v.CTRL_FLAG_INACTIVE, "inactive"),
    (v.CTRL_FLAG_MODIFY_LAYOUT, "layout"),
)


@dataclass(frozen=True, slots=True)
class Control:
    """One control. `name` is what v4l2-ctl calls it; `menu` has the numbers of items with their texts."""

    id: int
    name: str
    type: int
    least: int
    most: int
    step: int
    default: int
    flags: tuple[str, ...]
    menu: dict[int, str]

    @property
    def kind(self) -> str:
        return KINDS.get(self.type, "compound")

    @property
    def settable(self) -> bool:
        return self.kind not in ("compound", "text") and "read-only" not in self.flags


def identify(device: Device) -> Identity:
    """Raises CallError for what is no V4L2 device."""
    c = v.Capability()
    device.ioctl(v.Ioctl.QUERYCAP, c)
    can = c.device_caps if c.capabilities & v.CAP_DEVICE_CAPS else c.capabilities
    multiplanar = None
    if can & (v.CAP_VIDEO_CAPTURE | v.CAP_VIDEO_CAPTURE_MPLANE):
        multiplanar = not can & v.CAP_VIDEO_CAPTURE
    driver, card, bus = (b.decode("utf-8", "replace") for b in (c.driver, c.card, c.bus_info))
    return Identity(driver, card, bus, multiplanar, bool(can & v.CAP_STREAMING))


def formats(device: Device, buffer_type: int) -> Iterator[Format]:
    for n in range(MAX_LISTED):
        f = v.FmtDesc(index=n, type=buffer_type)
        if not device.ask(v.Ioctl.ENUM_FMT, f):
            return
        yield Format(f.pixelformat, f.description.decode("utf-8", "replace"))


def sizes(device: Device, code: int) -> Sizes:
    found: list[tuple[int, int]] = []
    for n in range(MAX_LISTED):
        e = v.FrmSizeEnum(index=n, pixel_format=code)
        if not device.ask(v.Ioctl.ENUM_FRAMESIZES, e):
            break
        s = e.stepwise
        if e.type != v.FRMSIZE_DISCRETE:
            one = e.type == v.FRMSIZE_CONTINUOUS  # its steps are 1 by definition
            return Sizes(
                stepwise=(
                    (s.min_width, s.max_width, 1 if one else s.step_width),
                    (s.min_height, s.max_height, 1 if one else s.step_height),
                )
            )
        found.append((s.min_width, s.max_width))  # the union's (width, height)
    return Sizes(tuple(dict.fromkeys(found)))


def rates(device: Device, code: int, size: tuple[int, int]) -> Rates:
    found: set[float] = set()
    for n in range(MAX_LISTED):
        e = v.FrmIvalEnum(index=n, pixel_format=code, width=size[0], height=size[1])
        if not device.ask(v.Ioctl.ENUM_FRAMEINTERVALS, e):
            break
        shortest, longest = _rate(e.min), _rate(e.max)
        if e.type != v.FRMSIZE_DISCRETE:
            return Rates(between=(longest, shortest)) if shortest and longest else Rates()
        if shortest:
            found.add(shortest)
    return Rates(tuple(sorted(found, reverse=True)))


def _rate(interval: v.Fract) -> float:
    """Pictures a second, with the digits that mean something; 0: the driver says nothing useful."""
    if not interval.numerator or not interval.denominator:
        return 0.0
    return round(float(Fraction(interval.denominator, interval.numerator)), 3)


def control_name(text: str) -> str:
    """The name that v4l2-ctl gives: "Exposure, Auto" is exposure_auto."""
    return "_".join(re.findall(r"[a-z0-9]+", text.lower()))


def controls(device: Device) -> Iterator[Control]:
    """All but disabled ones and the headings between them."""
    q = v.QueryExtCtrl()
    for _ in range(MAX_LISTED):
        q = v.QueryExtCtrl(id=q.id | v.CTRL_FLAG_NEXT_CTRL)
        if not device.ask(v.Ioctl.QUERY_EXT_CTRL, q):
            return
        if q.type == v.CTRL_CLASS or q.flags & v.CTRL_FLAG_DISABLED:
            continue
        yield Control(
            q.id,
            control_name(q.name.decode("utf-8", "replace")),
            q.type,
            q.minimum,
            q.maximum,
            q.step,
            q.default_value,
            tuple(word for bit, word in _FLAGS if q.flags & bit),
            dict(_menu(device, q)),
        )


def _menu(device: Device, q: v.QueryExtCtrl) -> Iterator[tuple[int, str]]:
    """Items may be missing in between."""
    if q.type not in (v.CTRL_MENU, v.CTRL_INTEGER_MENU):
        return
    for n in range(q.minimum, min(q.maximum, q.minimum + MAX_LISTED) + 1):
        m = v.QueryMenu(id=q.id, index=n)
        if device.ask(v.Ioctl.QUERYMENU, m):
            text = m.item.name.decode("utf-8", "replace") if q.type == v.CTRL_MENU else str(m.item.value)
            yield n, text


def value(device: Device, control: Control) -> int | None:
    """What a control is set to; None where it has no number to read."""
    if control.kind in ("compound", "text", "button") or "write-only" in control.flags:
        return None
    one = v.ExtControl(id=control.id)
    many = v.ExtControls(count=1, controls=ctypes.pointer(one))
    if not device.ask(v.Ioctl.G_EXT_CTRLS, many):
        return None
    if control.type == v.CTRL_INTEGER64:
        return one.v.value64
    return one.v.value & 0xFFFFFFFF if control.type == v.CTRL_BITMASK else one.v.value
