"""Agree with a driver on format, size, crop, rate and controls. What it makes of them is checked, not assumed."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from edged.frames import FrameSpec, PixelFormat
from edged.sources import _v4l2_query as query
from edged.sources import _videodev2 as v
from edged.sources._v4l2_color import color
from edged.sources._v4l2_controls import configured, set_controls
from edged.sources._v4l2_device import Device
from edged.sources._v4l2_options import Layout, V4l2Options, layouts

ENOUGH_RATE = 15.0  # pictures a second that a format must reach to be chosen where no rate is configured
_YUV = (PixelFormat.YUYV, PixelFormat.UYVY, PixelFormat.NV12)
_WHOLE_PICTURES = (  # interlaced ones are whole too; other fields are half a picture, or two
    v.FIELD_ANY,
    v.FIELD_NONE,
    v.FIELD_INTERLACED,
    v.FIELD_INTERLACED_TB,
    v.FIELD_INTERLACED_BT,
)


@dataclass(frozen=True, slots=True)
class Agreed:
    """What the driver will deliver.

    `image_bytes`, `pitches`: of each memory plane of a driver's buffer. `rate`: pictures a second, None where the
    driver does not say. `facts`: the choices in words.
    """

    identity: query.Identity
    layout: Layout
    spec: FrameSpec
    image_bytes: tuple[int, ...]
    pitches: tuple[int, ...]
    rate: float | None
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Picture:
    """v4l2_format of either API in one form."""

    width: int
    height: int
    code: int
    field: int
    colorspace: int
    encoding: int
    quantization: int
    planes: tuple[tuple[int, int], ...]  # (sizeimage, bytesperline)


def negotiate(device: Device, options: V4l2Options) -> Agreed:
    """Set up an open device as `options` say. Raises SourceError that names what the camera offers."""
    identity = query.identify(device)
    if identity.multiplanar is None or not identity.streaming:
        what = "captures no video" if identity.multiplanar is None else "cannot stream"
        raise device.fail(
            f"cannot use {device.path}: {identity.card} {what}", "edged cameras lists those that do"
        )
    early, late = configured(device, options.controls)
    set_controls(device, early)
    layout, size = _choose(device, identity, options)
    if options.crop is not None:
        _set_crop(device, options.crop)
    picture = _set_format(device, identity, layout, size)
    if options.crop is not None and _crop(device, v.SEL_TGT_CROP) != options.crop:
        _set_crop(device, options.crop)  # the format moved it; in this order both may hold
        picture = _get_format(device, identity)
    _check(device, options, layout, picture)
    rate, rate_fact = _set_rate(device, identity, options.rate)
    set_controls(device, late)
    spec, color = _spec(device, layout, picture)
    facts = {
        "camera": f"{identity.card} ({identity.driver}, {identity.bus})",
        "device": device.real,
        "format": v.fourcc_text(layout.code) + (" decoded to BGR" if layout.jpeg else ""),
        "rate": rate_fact,
    }
    if color:
        facts["color"] = color
    if options.crop is not None:
        facts["crop"] = "{2}x{3} at {0},{1}".format(*options.crop)
    if options.controls:
        facts["controls"] = ", ".join(f"{k} = {x}" for k, x in options.controls.items())
    sizes, pitches = zip(*picture.planes, strict=True)
    return Agreed(identity, layout, spec, sizes, pitches, rate, facts)


def _choose(
    device: Device, identity: query.Identity, options: V4l2Options
) -> tuple[Layout, tuple[int, int] | None]:
    """The layout and the size to ask for."""
    offered = {f.code for f in query.formats(device, identity.buffer_type)}
    now = _get_format(device, identity)
    if not offered:  # a driver that lists nothing: what it is set to
        offered = {now.code}
    candidates = [x for x in layouts(options.format) if x.code in offered]
    if not candidates:
        has = ", ".join(sorted(map(v.fourcc_text, offered)))
        wanted = f"format '{options.format}'" if options.format else "format that edged reads"
        raise device.fail(f"finds no {wanted} at {device.path}: it has {has}", "choose another format")
    size = options.size or (options.crop[2:] if options.crop else None)
    enough = options.rate * 0.99 if options.rate else ENOUGH_RATE

    def shortcomings(x: Layout) -> tuple[bool, bool]:
        fits = size is None or query.sizes(device, x.code).has(size)
        fastest = query.rates(device, x.code, size or (now.width, now.height)).fastest
        return not fits, fastest is not None and fastest < enough

    chosen = candidates[0] if len(candidates) == 1 else min(candidates, key=shortcomings)
    return chosen, size or (now.width, now.height)


def _get_format(device: Device, identity: query.Identity) -> _Picture:
    f = v.Format(type=identity.buffer_type)
    f.fmt.pix.priv = 0 if identity.multiplanar else v.PIX_FMT_PRIV_MAGIC
    device.ioctl(v.Ioctl.G_FMT, f)
    return _read(f, identity)


def _set_format(
    device: Device, identity: query.Identity, layout: Layout, size: tuple[int, int] | None
) -> _Picture:
    f = v.Format(type=identity.buffer_type)
    # the two APIs have width, height, code and field in the same places
    f.fmt.pix.width, f.fmt.pix.height = size or (0, 0)
    f.fmt.pix.pixelformat, f.fmt.pix.field = layout.code, v.FIELD_NONE
    if identity.multiplanar:
        f.fmt.pix_mp.num_planes = layout.buffers
    else:
        f.fmt.pix.priv = v.PIX_FMT_PRIV_MAGIC
    device.ioctl(v.Ioctl.S_FMT, f)
    return _read(f, identity)


def _read(f: v.Format, identity: query.Identity) -> _Picture:
    p = f.fmt.pix
    if not identity.multiplanar:
        known = p.priv == v.PIX_FMT_PRIV_MAGIC  # else the driver knows no fields behind it
        enc, quant = (p.ycbcr_enc, p.quantization) if known else (v.ENC_DEFAULT, v.QUANTIZATION_DEFAULT)
        planes = ((p.sizeimage, p.bytesperline),)
        return _Picture(p.width, p.height, p.pixelformat, p.field, p.colorspace, enc, quant, planes)
    m = f.fmt.pix_mp
    several = tuple((x.sizeimage, x.bytesperline) for x in m.plane_fmt[: min(8, max(1, m.num_planes))])
    return _Picture(
        m.width, m.height, m.pixelformat, m.field, m.colorspace, m.ycbcr_enc, m.quantization, several
    )


def _check(device: Device, options: V4l2Options, layout: Layout, got: _Picture) -> None:
    """Refuse what is not as configured."""
    name = v.fourcc_text(layout.code)
    if got.code != layout.code:
        raise device.fail(
            f"asks {device.path} for {name} and gets {v.fourcc_text(got.code)}", "set another format or size"
        )
    size = (got.width, got.height)
    if options.size is not None and size != options.size:
        raise device.fail(
            f"asks {device.path} for {options.size[0]}x{options.size[1]} as {name} and gets {size[0]}x{size[1]}: "
            f"it offers {query.sizes(device, layout.code)}",
            "set size to one of these, or leave it out",
        )
    most = options.max_size
    if most is not None and (size[0] > most[0] or size[1] > most[1]):
        raise device.fail(
            f"gets pictures of {size[0]}x{size[1]} from {device.path}, larger than max_size = [{most[0]}, {most[1]}]",
            "raise max_size, or set a smaller size",
        )
    if got.field not in _WHOLE_PICTURES:
        raise device.fail(
            f"gets half pictures (fields) from {device.path} at {size[0]}x{size[1]}",
            "set another size, or a progressive mode of the camera",
        )
    if len(got.planes) != layout.buffers:
        raise device.fail(
            f"gets {len(got.planes)} memory planes for {name} from {device.path}, not {layout.buffers}",
            "set another format; the driver has a defect",
        )


def _spec(device: Device, layout: Layout, got: _Picture) -> tuple[FrameSpec, str]:
    """The frames, and what is to be said about their colours."""
    matrix, full, note = color(got.colorspace, got.encoding, got.quantization, yuv=layout.pixel in _YUV)
    pitch = got.planes[0][1]
    try:
        if layout.jpeg:
            return FrameSpec(got.width, got.height, layout.pixel, full_range=True), ""
        row = FrameSpec(got.width, got.height, layout.pixel).row_bytes
        # FrameSpec says 0 where rows are contiguous, so that equal pictures have equal specs
        spec = FrameSpec(
            got.width, got.height, layout.pixel, pitch if pitch not in (0, row) else 0, matrix, full
        )
    except ValueError as e:
        raise device.fail(f"cannot use what {device.path} gives: {e}", "set another size") from e
    return spec, note


def _set_rate(device: Device, identity: query.Identity, wanted: float | None) -> tuple[float | None, str]:
    """The rate that the driver has then, and how that came to be."""
    p = v.StreamParm(type=identity.buffer_type)
    if not device.ask(v.Ioctl.G_PARM, p):
        return None, "the driver does not say" + ("; it cannot be set" if wanted else "")
    settable = bool(p.parm.capture.capability & v.CAP_TIMEPERFRAME)
    if wanted is not None and settable:
        ask = Fraction(wanted).limit_denominator(1001)
        p = v.StreamParm(type=identity.buffer_type)
        p.parm.capture.timeperframe = v.Fract(ask.denominator, ask.numerator)
        device.ioctl(v.Ioctl.S_PARM, p)
    interval = p.parm.capture.timeperframe
    if not interval.numerator or not interval.denominator:
        return None, "the driver does not say"
    rate = interval.denominator / interval.numerator
    if wanted is None or abs(rate - wanted) < 0.01 * wanted:
        return rate, f"{rate:g}"
    return rate, f"{rate:g}; {wanted:g} was asked for" + ("" if settable else ", but it cannot be set")


def _selection(target: int) -> v.Selection:
    # the single-planar type for both APIs: the only one that all drivers take (V4L2 documentation, VIDIOC_G_SELECTION)
    return v.Selection(type=v.BUF_TYPE_CAPTURE, target=target)


def _crop(device: Device, target: int) -> tuple[int, int, int, int]:
    s = _selection(target)
    device.ioctl(v.Ioctl.G_SELECTION, s)
    return s.r.left, s.r.top, s.r.width, s.r.height


def _set_crop(device: Device, wanted: tuple[int, int, int, int]) -> None:
    s = _selection(v.SEL_TGT_CROP)
    s.r = v.Rect(*wanted)
    device.ioctl(v.Ioctl.S_SELECTION, s)
    got = (s.r.left, s.r.top, s.r.width, s.r.height)
    if got != wanted:
        bounds = _crop(device, v.SEL_TGT_CROP_BOUNDS)
        raise device.fail(
            f"asks {device.path} for crop = {list(wanted)} and gets {list(got)}; the sensor is {list(bounds)}",
            f"set crop = {list(got)}, or another within the sensor, or remove it",
        )
