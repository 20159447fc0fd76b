"""Cameras: their lasting names, their formats, and the rung that each would get, tried with one picture."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack

import msgspec

from edged.cli._capture_source import holders
from edged.cli.cameras import Json, survey
from edged.devices.choose import choose_device, open_devices
from edged.devices.cpu import CpuDevice
from edged.doctor.base import Outcome, failed, not_here, passed, refused, warned
from edged.doctor.place import Place
from edged.errors import EdgedError, SourceError
from edged.interfaces import Device
from edged.memory import Budget, Slots
from edged.sources._v4l2_device import CallError
from edged.sources._v4l2_options import V4l2Options
from edged.sources.v4l2 import V4l2Source

FRAMES = 4  # that exist at once in the trial
_PICTURE_S = 5.0
_COPIES = ("copy", "decode")
_MOST_SIZES = 3


def cameras(place: Place) -> Iterator[Outcome]:
    """Every node that captures, then those of the configuration that are not there."""
    dev = str(place.at("/dev"))
    wanted = {os.path.realpath(o.device): o for o in _configured(place)}
    found = survey(dev, place.kernel)
    for record in found:
        yield from _camera(place, record, wanted.pop(os.path.realpath(record["device"]), None))
    for options in wanted.values():
        yield failed(
            f"{options.device}: the configuration names it, and it is not there",
            "check the cable and its power; edged cameras lists what is there",
        )
    if not found and not wanted:
        yield not_here(
            "there is no /dev/video* that captures", "plug one in; dmesg says whether a driver took it"
        )


def _configured(place: Place) -> Iterator[V4l2Options]:
    if place.config is not None:
        yield from (s.options for s in place.config.sources.values() if s.kind == "v4l2")


def _camera(place: Place, record: Json, options: V4l2Options | None) -> Iterator[Outcome]:
    device = record["device"]
    if "error" in record:
        yield failed(record["error"], record["hint"])
        return
    names = sorted(record["names"], key=lambda n: "/by-id/" not in n)  # by-id first: it follows the camera
    about = f"{device}: {record['card']} ({record['driver']}), {_formats(record)}"
    if not any(f["format"] for f in record["formats"]):
        state = failed if options is not None else warned
        yield state(
            f"{about}: edged reads none of its formats", "edged cameras shows them; use another camera"
        )
        return
    if not names:
        text = f"{about}; it has no name below /dev/v4l, and cameras swap numbers at boot"
        yield warned(text, "sudo apt-get install udev, then plug it in again")
    elif options is not None and options.device not in names:
        text = f"{about}; the configuration names it {options.device}, which another camera may have tomorrow"
        yield warned(text, f'device = "{names[0]}"')
    elif "/by-id/" not in names[0]:
        text = f"{about}; {names[0]} names the plug that it is in, not the camera"
        yield warned(text, "leave it in that plug: it tells no serial number")
    else:
        yield passed(f"{about}; {options.device if options is not None else names[0]}")
    yield (
        not_here(f"{device}: its rung was not tried (--quick)")
        if place.quick
        else _rung(place, device, options)
    )


def _formats(record: Json) -> str:
    parts = []
    for f in record["formats"]:
        if not f["format"]:
            continue
        sizes = [f"{s['size'][0]}x{s['size'][1]}" + _rate(s) for s in f["sizes"][:_MOST_SIZES]]
        more = f" and {len(f['sizes']) - _MOST_SIZES} more" if len(f["sizes"]) > _MOST_SIZES else ""
        parts.append(f"{f['format']} {', '.join(sizes)}{more}".strip())
    return "; ".join(parts)


def _rate(size: Json) -> str:
    return f"@{max(size['rates']):g}" if size["rates"] else ""


def _rung(place: Place, device: str, options: V4l2Options | None) -> Outcome:
    """Open it as the daemon would, take one picture, and say where the ladder ended."""
    asked = options if options is not None else msgspec.convert({"device": device}, V4l2Options)
    try:
        facts = try_camera(place, asked)
    except CallError as e:
        who = holders(device) if e.errno == errno.EBUSY and place.is_this_machine else []
        if e.errno == errno.EBUSY:
            by = ", ".join(who) or "another program"
            return not_here(f"{device}: {by} has it, so its rung was not tried", f"fuser -v {device}")
        return refused(e)
    except EdgedError as e:
        return refused(e)
    rung, refusals = (
        facts["memory"],
        "; ".join(f"no {k[3:]}: {v}" for k, v in facts.items() if k.startswith("no ")),
    )
    text = f"{device}: rung {rung}"
    if not refusals:
        return passed(text)
    if rung.split(":")[0] in _COPIES:
        return warned(
            f"{text} ({refusals})",
            "it works, at one copy of each picture; the reasons say what the driver lacks",
        )
    return passed(f"{text} ({refusals})")


def try_camera(place: Place, options: V4l2Options) -> dict[str, str]:
    """The facts of a source after its first picture, canary and all. Raises SourceError; leaves nothing open."""
    with ExitStack() as stack:
        target = _device(place)
        stack.callback(target.close)
        stack.enter_context(target.current())
        source = V4l2Source("doctor", options, place.kernel)
        source.attach(target, FRAMES)
        region = None
        try:
            spec = source.open()
            memory = source.slot_memory
            wants = Slots.wants(FRAMES, spec.nbytes, memory) if memory is not None else []
            region = target.region("doctor", wants)
            source.start(Slots.of(region, len(wants)))
            frame = source.read(_PICTURE_S)
            if frame is None:
                raise SourceError(
                    f"{options.device} gave no picture within {_PICTURE_S:g} s",
                    hint="check the cable; a camera that waits for a trigger or for light needs other controls",
                )
            frame.release()
            return dict(source.facts)
        finally:
            source.close()
            source.close()  # once more after the last reader: it undoes what it kept for readers
            if region is not None:
                region.close()


def _device(place: Place) -> Device:
    """That of the configuration's first model; without one the CPU."""
    if place.config is None:
        return CpuDevice(Budget(), "for a trial")
    choice = choose_device(place.config, lambda: place.found)
    if choice.problems:
        return CpuDevice(Budget(), "for a trial")
    return next(iter(open_devices(choice, Budget()).values()))
