"""List the V4L2 cameras of this machine: names, formats, sizes, rates and controls, in the words of a configuration.

Opens each device and asks; nothing is set, and a camera that is in use may be asked too. Exit status: 0, also
without a camera.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Iterator
from typing import Any

from edged.errors import ExitCode, SourceError
from edged.sources import _v4l2_query as query
from edged.sources._v4l2_controls import range_of
from edged.sources._v4l2_device import SYSTEM, CallError, Device, Kernel
from edged.sources._v4l2_options import LAYOUTS

HELP = "list cameras and what they can do"

_NODE = re.compile(r"video([0-9]+)", re.A)
_READABLE = {x.code: x.name for x in LAYOUTS}
Json = dict[str, Any]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON list")


def run(args: argparse.Namespace) -> int:
    found = survey()
    if args.json:
        print(json.dumps(found))
    else:
        print("\n\n".join(describe(c) for c in found) or _NONE)
    return int(ExitCode.OK)


_NONE = "no camera: there is no /dev/video* that captures\n  remedy: plug one in; dmesg says whether a driver took it"


def survey(dev: str = "/dev", kernel: Kernel = SYSTEM) -> list[Json]:
    """One record for each node that captures video, and for each that cannot be asked ("error", "hint")."""
    nodes = sorted((int(m[1]), n) for n in _entries(dev) if (m := _NODE.fullmatch(n)))
    names = _names(dev)
    found = []
    for _, node in nodes:
        path = os.path.join(dev, node)
        try:
            record = _ask(path, kernel)
        except SourceError as e:
            record = {"device": path, "error": e.message, "hint": e.hint}
        if record is not None:
            found.append({**record, "names": names.get(os.path.realpath(path), [])})
    return found


def _entries(folder: str) -> list[str]:
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def _names(dev: str) -> dict[str, list[str]]:
    """The lasting names of each node: links that udev makes."""
    out: dict[str, list[str]] = {}
    for kind in ("by-id", "by-path"):
        folder = os.path.join(dev, "v4l", kind)
        for name in _entries(folder):
            link = os.path.join(folder, name)
            out.setdefault(os.path.realpath(link), []).append(link)
    return out


def _ask(path: str, kernel: Kernel) -> Json | None:
    """What one node offers; None: it captures no video (metadata, output, codec)."""
    device = Device(path, "edged cameras", kernel)
    device.open()
    try:
        who = query.identify(device)
        if who.multiplanar is None or not who.streaming:
            return None
        return {
            "device": path,
            "card": who.card,
            "driver": who.driver,
            "bus": who.bus,
            "formats": [_format(device, f) for f in query.formats(device, who.buffer_type)],
            "controls": [_control(device, c) for c in query.controls(device)],
        }
    finally:
        device.close()


def _format(device: Device, f: query.Format) -> Json:
    """`format`: the word for a configuration, null where edged does not read it."""
    sizes = query.sizes(device, f.code)
    record: Json = {
        "format": _READABLE.get(f.code),
        "fourcc": f.name,
        "description": f.description,
        "sizes": [_rates(device, f.code, s) for s in sizes.discrete],
    }
    if sizes.stepwise is not None:
        (w0, w1, ws), (h0, h1, hs) = sizes.stepwise
        record["between"] = {"least": [w0, h0], "most": [w1, h1], "step": [ws, hs]}
        record["sizes"] = [_rates(device, f.code, (w1, h1))]
    return record


def _rates(device: Device, code: int, size: tuple[int, int]) -> Json:
    rates = query.rates(device, code, size)
    return {"size": list(size), "rates": list(rates.between or rates.discrete), "range": bool(rates.between)}


def _control(device: Device, c: query.Control) -> Json:
    try:
        value, error = query.value(device, c), None
    except CallError as e:  # one that the camera does not answer for says nothing about the others
        value, error = None, e.reason
    record: Json = {
        "name": c.name,
        "kind": c.kind,
        "takes": range_of(c) if c.settable else "",
        "default": c.default,
        "value": value,
        "flags": [x for x in c.flags if x != "layout"],
    }
    if c.kind in ("int", "int64"):
        record.update(least=c.least, most=c.most, step=c.step)
    if c.menu:
        record["menu"] = {str(n): text for n, text in c.menu.items()}
    return record if error is None else {**record, "error": error}


def describe(c: Json) -> str:
    """A record in lines for people."""
    return "\n".join(_lines(c))


def _lines(c: Json) -> Iterator[str]:
    if "error" in c:
        yield f"{c['device']}: {c['error']}"
        yield f"  remedy: {c['hint']}"
        return
    yield f"{c['device']}: {c['card']} ({c['driver']}, {c['bus']})"
    yield from (f"  also {name}" for name in c["names"])
    for f in c["formats"]:
        word = f["format"] or f"{f['fourcc']}, which edged does not read"
        yield f"  format {word} ({f['description']})"
        if "between" in f:
            low, high, step = ("x".join(map(str, f["between"][k])) for k in ("least", "most", "step"))
            yield f"    {low} to {high} in steps of {step}"
        for s in f["sizes"]:
            yield f"    {s['size'][0]}x{s['size'][1]}{_at(s)}"
    for x in c["controls"]:
        yield f"  control {x['name']}: {_setting(x)}"


def _at(s: Json) -> str:
    rates = [f"{r:g}" for r in s["rates"]]
    if not rates:
        return ""
    return " at " + (" to " if s["range"] else ", ").join(rates)


def _setting(x: Json) -> str:
    parts = [x["takes"] or x["kind"]]
    if x["kind"] not in ("button", "text", "compound"):
        parts.append(f"default {x['default']}")
    if x["value"] is not None:
        parts.append(f"now {x['value']}")
    if "error" in x:
        parts.append(x["error"])
    return "; ".join([*parts, *x["flags"]])
