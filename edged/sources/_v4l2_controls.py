"""Controls by name: checked against what the driver lists, then set one by one."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

from edged.config.words import suggest
from edged.errors import SourceError
from edged.sources import _v4l2_query as query
from edged.sources import _videodev2 as v
from edged.sources._v4l2_device import CallError, Device

Value = bool | int | str
Setting = tuple[query.Control, int]


def configured(device: Device, values: Mapping[str, Value]) -> tuple[list[Setting], list[Setting]]:
    """The configured controls as numbers: those that change the picture's layout, and the others."""
    if not values:
        return [], []
    known = {c.name: c for c in query.controls(device)}
    early: list[Setting] = []
    late: list[Setting] = []
    for name, value in values.items():
        control = known.get(name)
        if control is None:
            raise device.fail(
                f"finds no control '{name}' at {device.path}", suggest(name, sorted(known), "its controls")
            )
        if not control.settable:
            raise device.fail(f"cannot set control '{name}' at {device.path}: it is read-only", "remove it")
        setting = (control, _number(device, control, value))
        (early if "layout" in control.flags else late).append(setting)
    return early, late


def _number(device: Device, control: query.Control, value: Value) -> int:
    """A configured value as the driver's number. Raises SourceError that says what it takes."""
    if isinstance(value, str):
        by_text = {text: n for n, text in control.menu.items()}
        if value in by_text:
            return by_text[value]
        takes = suggest(value, by_text, "its items") if by_text else f"give {range_of(control)}"
        raise _refused(device, control, value, takes)
    switch = control.type in (v.CTRL_BOOLEAN, v.CTRL_BUTTON)
    # 0 and 1 are fine for a switch; true for a number is a mistake
    if value not in (0, 1) if switch else isinstance(value, bool):
        raise _refused(device, control, value, f"give {range_of(control)}")
    number = int(value)
    if control.menu and number not in control.menu:
        raise _refused(device, control, value, f"give {range_of(control)}")
    if control.kind in ("int", "int64") and not control.least <= number <= control.most:
        raise _refused(device, control, value, f"give {range_of(control)}")
    if control.type == v.CTRL_BITMASK and number & ~control.most:
        raise _refused(device, control, value, f"give {range_of(control)}")
    return number


def range_of(control: query.Control) -> str:
    """What a control takes, in words."""
    if control.menu:
        return ", ".join(f"{n} ({text})" for n, text in control.menu.items())
    if control.type == v.CTRL_BOOLEAN:
        return "true or false"
    if control.type == v.CTRL_BUTTON:
        return "true, which presses it"
    if control.type == v.CTRL_BITMASK:
        return f"bits of 0x{control.most:x}, added up"
    steps = f" in steps of {control.step}" if control.step > 1 else ""
    return f"{control.least} to {control.most}{steps}"


def _refused(device: Device, control: query.Control, value: Value, hint: str) -> SourceError:
    return device.fail(f"cannot set control '{control.name}' at {device.path} to {value!r}", hint)


def set_controls(device: Device, settings: list[Setting]) -> None:
    for control, number in settings:
        one = v.ExtControl(id=control.id)
        if control.type == v.CTRL_INTEGER64:
            one.v.value64 = number
        else:
            one.v.value = number
        try:
            device.ioctl(v.Ioctl.S_EXT_CTRLS, v.ExtControls(count=1, controls=ctypes.pointer(one)))
        except CallError as e:
            raise device.fail(
                f"cannot set control '{control.name}' at {device.path} to {number}: {e.reason}", e.hint
            ) from e
        got = one.v.value64 if control.type == v.CTRL_INTEGER64 else one.v.value
        # the kernel rounds to the control's steps without a word; what is left of a button is of no interest
        if control.type != v.CTRL_BUTTON and (got ^ number) & 0xFFFFFFFF:
            raise device.fail(
                f"asks {device.path} for {control.name} = {number} and gets {got}",
                f"give {range_of(control)}",
            )
