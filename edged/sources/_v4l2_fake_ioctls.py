"""How a driver answers ioctls: a function a request, each as vivid and videobuf2 do. See v4l2_fake.py."""

from __future__ import annotations

import ctypes
import errno
import os
import time
from collections.abc import Callable

from edged.memory import round_up
from edged.sources import _videodev2 as v
from edged.sources._v4l2_fake_camera import FakeCamera, FakeControl, level


def fault(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def free(c: FakeCamera) -> None:
    c.streaming, c.fatal, c.owner, c.memory = False, False, -1, 0
    c.room.clear()
    for memory in c.pages.values():
        os.close(memory)  # what is mapped or exported stays until that goes, as in the kernel
    c.pages.clear()
    c.queued.clear()
    c.done.clear()
    c.inside.clear()


def produce(c: FakeCamera) -> None:
    """Take the pictures that are due."""
    if c.silent:
        return
    now = time.monotonic_ns()
    if c.rate_hz is None:
        while not c.done and c.queued:
            _take(c, now)
        return
    while now >= (due := c.began_ns + round((c.next + 1) * 1e9 / c.rate_hz)):
        _take(c, due)


def _take(c: FakeCamera, at_ns: int) -> None:
    n, c.next = c.next, c.next + 1
    if n in c.drop or not c.queued:
        return
    index, places = c.queued.popleft()
    for plane, (place, (nbytes, _)) in enumerate(zip(places, c.planes, strict=True)):
        data = bytes([level(n)]) * (nbytes - c.short) if c.picture is None else c.picture(n, plane)
        assert len(data) <= nbytes
        if c.unwritten:
            continue
        if c.memory == v.MEMORY_USERPTR:
            ctypes.memmove(place, data, len(data))
        else:
            os.pwrite(c.pages[place], data, 0)
    c.unwritten = max(0, c.unwritten - 1)
    c.done.append((index, n, at_ns))


def _querycap(c: FakeCamera, fd: int, a: v.Capability) -> None:
    mine = v.CAP_VIDEO_CAPTURE_MPLANE if c.multiplanar else v.CAP_VIDEO_CAPTURE
    a.driver, a.card, a.bus_info = b"fake", c.card.encode(), b"platform:fake-000"
    a.device_caps = mine | v.CAP_STREAMING if c.capabilities is None else c.capabilities
    a.capabilities = a.device_caps | v.CAP_DEVICE_CAPS


def _same_type(c: FakeCamera, kind: int) -> None:
    if kind != c.type:
        raise fault(errno.EINVAL)


def _enum_fmt(c: FakeCamera, fd: int, a: v.FmtDesc) -> None:
    _same_type(c, a.type)
    if not c.lists or a.index >= len(c.formats):
        raise fault(errno.EINVAL)
    name = list(c.formats)[a.index]
    a.pixelformat, a.description = v.fourcc(name), f"the format {name}".encode()


def _enum_framesizes(c: FakeCamera, fd: int, a: v.FrmSizeEnum) -> None:
    if not c.lists:
        raise fault(errno.ENOTTY)
    name = v.fourcc_text(a.pixel_format)
    if name not in c.formats:
        raise fault(errno.EINVAL)
    if c.stepwise is not None:
        if a.index:
            raise fault(errno.EINVAL)
        (w0, w1, ws), (h0, h1, hs) = c.stepwise
        a.type = v.FRMSIZE_CONTINUOUS if (ws, hs) == (1, 1) else v.FRMSIZE_STEPWISE
        a.stepwise = v.SizeStepwise(w0, w1, ws, h0, h1, hs)
        return
    if a.index >= len(c.formats[name]):
        raise fault(errno.EINVAL)
    a.type = v.FRMSIZE_DISCRETE
    a.stepwise.min_width, a.stepwise.max_width = c.formats[name][a.index]  # the union's width and height


def _enum_frameintervals(c: FakeCamera, fd: int, a: v.FrmIvalEnum) -> None:
    if not c.lists or not c.rates:
        raise fault(errno.ENOTTY)
    if c.rate_range:
        if a.index:
            raise fault(errno.EINVAL)
        a.type, a.min, a.max = v.FRMSIZE_STEPWISE, v.Fract(*c.rates[0]), v.Fract(*c.rates[-1])
        return
    if a.index >= len(c.rates):
        raise fault(errno.EINVAL)
    a.type, a.min = v.FRMSIZE_DISCRETE, v.Fract(*c.rates[a.index])


def _g_fmt(c: FakeCamera, fd: int, a: v.Format) -> None:
    _same_type(c, a.type)
    p = a.fmt.pix
    p.width, p.height = c.size
    p.pixelformat, p.field = v.fourcc(c.code), c.fields
    if c.multiplanar:
        m = a.fmt.pix_mp
        m.num_planes = len(c.planes)
        m.colorspace, m.ycbcr_enc, m.quantization = c.color
        for n, (nbytes, pitch) in enumerate(c.planes):
            m.plane_fmt[n].sizeimage, m.plane_fmt[n].bytesperline = nbytes, pitch
    else:
        ((p.sizeimage, p.bytesperline),) = c.planes
        p.colorspace, p.ycbcr_enc, p.quantization = c.color
        p.priv = v.PIX_FMT_PRIV_MAGIC


def _s_fmt(c: FakeCamera, fd: int, a: v.Format) -> None:
    """The nearest size that there is; an unknown format becomes the first."""
    _same_type(c, a.type)
    if c.busy or c.owner >= 0:
        raise fault(errno.EBUSY)
    wanted, p = v.fourcc_text(a.fmt.pix.pixelformat), a.fmt.pix
    c.code = wanted if wanted in c.formats else next(iter(c.formats))
    w, h = p.width, p.height
    if c.stepwise is not None:
        fitted = [
            low + (min(max(n, low), high) - low) // step * step
            for n, (low, high, step) in zip((w, h), c.stepwise, strict=True)
        ]
        c.size = (fitted[0], fitted[1])
    else:
        c.size = min(c.formats[c.code], key=lambda s: abs(s[0] - w) + abs(s[1] - h), default=(w, h))
    _g_fmt(c, fd, a)


def _reqbufs(c: FakeCamera, fd: int, a: v.RequestBuffers) -> None:
    _same_type(c, a.type)
    if a.memory == v.MEMORY_USERPTR and c.refuse_userptr == errno.EINVAL:
        raise fault(errno.EINVAL)
    if c.busy or c.owner not in (-1, fd):
        raise fault(errno.EBUSY)
    if a.count == 0:
        free(c)
        return
    if c.reqbufs_errors:
        c.reqbufs_errors -= 1
        raise fault(errno.EINVAL)
    a.count = max(a.count, c.least_buffers)
    c.owner, c.memory = fd, a.memory
    if a.memory == v.MEMORY_MMAP:
        at = 0
        for _ in range(a.count):
            c.room.append([])
            for nbytes, _pitch in c.planes:
                c.room[-1].append((nbytes, at))
                c.pages[at] = os.memfd_create("fake-camera-buffer", os.MFD_CLOEXEC)
                os.ftruncate(c.pages[at], round_up(nbytes))
                at += round_up(nbytes)
    else:
        c.room.extend([] for _ in range(a.count))


def _querybuf(c: FakeCamera, fd: int, a: v.Buffer) -> None:
    if a.index >= len(c.room):
        raise fault(errno.EINVAL)
    for n, (length, offset) in enumerate(c.room[a.index]):
        if c.multiplanar:
            a.m.planes[n].length, a.m.planes[n].m.mem_offset = length, offset
        else:
            a.length, a.m.offset = length, offset


def _expbuf(c: FakeCamera, fd: int, a: v.ExportBuffer) -> None:
    """Shared memory in place of a dmabuf: it can be mapped, but no GPU imports it."""
    _same_type(c, a.type)
    if not c.exports or c.memory != v.MEMORY_MMAP:
        raise fault(errno.ENOTTY)
    _, offset = c.room[a.index][a.plane]
    a.fd = os.dup(c.pages[offset])


def _places(c: FakeCamera, a: v.Buffer) -> list[int]:
    """Where the driver writes each plane: an address of the caller's, or an offset in its own memory."""
    if c.memory == v.MEMORY_MMAP:
        return [offset for _, offset in c.room[a.index]]
    planes = a.m.planes[: a.length] if c.multiplanar else ()
    given = [(p.m.userptr, p.length) for p in planes] if c.multiplanar else [(a.m.userptr, a.length)]
    for (_, length), (needed, _pitch) in zip(given, c.planes, strict=True):
        if length < needed:
            raise fault(errno.EINVAL)
    return [address for address, _ in given]


def _qbuf(c: FakeCamera, fd: int, a: v.Buffer) -> None:
    _same_type(c, a.type)
    if c.fatal:
        raise fault(errno.EIO)
    if a.memory != c.memory or a.index >= len(c.room) or a.index in c.inside:
        raise fault(errno.EINVAL)
    if c.qbuf_errors:
        c.qbuf_errors -= 1
        raise fault(errno.EINVAL)
    if a.memory == v.MEMORY_USERPTR and c.refuse_userptr:
        raise fault(c.refuse_userptr)
    if c.streaming:
        produce(c)  # pictures that came before this buffer are not in it
    c.queued.append((a.index, _places(c, a)))
    c.inside.add(a.index)
    a.flags |= v.BUF_FLAG_QUEUED


def _dqbuf(c: FakeCamera, fd: int, a: v.Buffer) -> None:
    if c.fatal:
        raise fault(errno.EIO)
    if not c.streaming:
        raise fault(errno.EINVAL)
    if not c.done:
        raise fault(errno.EAGAIN)
    index, n, at_ns = c.done.popleft()
    c.inside.remove(index)
    a.index, a.sequence, a.flags = index, c.numbers(n) & 0xFFFFFFFF, c.stamp_flags | v.BUF_FLAG_DONE
    if c.flag_errors:
        c.flag_errors -= 1
        a.flags |= v.BUF_FLAG_ERROR
    at_ns = c.stamp(at_ns)
    a.timestamp.tv_sec, a.timestamp.tv_usec = at_ns // 10**9, at_ns % 10**9 // 1000
    for plane, (nbytes, _) in enumerate(c.planes):
        used = nbytes - c.short if c.picture is None else len(c.picture(n, plane))
        if c.multiplanar:
            a.m.planes[plane].bytesused, a.m.planes[plane].data_offset = used, c.data_offset
        else:
            a.bytesused = used


def _streamon(c: FakeCamera, fd: int, a: ctypes.c_int32) -> None:
    _same_type(c, a.value)
    if c.streamon_errors:
        c.streamon_errors -= 1
        raise fault(c.streamon_errno)
    c.streaming, c.next, c.began_ns = True, 0, time.monotonic_ns()


def _streamoff(c: FakeCamera, fd: int, a: ctypes.c_int32) -> None:
    c.streaming = c.fatal = False
    c.queued.clear()
    c.done.clear()
    c.inside.clear()


def _g_parm(c: FakeCamera, fd: int, a: v.StreamParm) -> None:
    _same_type(c, a.type)
    if not c.rates:
        raise fault(errno.ENOTTY)
    a.parm.capture.capability = v.CAP_TIMEPERFRAME if c.sets_rate else 0
    a.parm.capture.timeperframe = v.Fract(*c.interval)


def _s_parm(c: FakeCamera, fd: int, a: v.StreamParm) -> None:
    asked = a.parm.capture.timeperframe
    c.interval = min(c.rates, key=lambda r: abs(r[0] / r[1] - asked.numerator / asked.denominator))
    _g_parm(c, fd, a)


def _crop(c: FakeCamera, fd: int, a: v.Selection) -> None:
    if c.sensor is None:
        raise fault(errno.ENOTTY)
    a.r = v.Rect(*(c.crop if a.target == v.SEL_TGT_CROP else (0, 0, *c.sensor)))


def _set_crop(c: FakeCamera, fd: int, a: v.Selection) -> None:
    """Cut to the sensor."""
    if c.sensor is None:
        raise fault(errno.ENOTTY)
    w, h = min(a.r.width, c.sensor[0]), min(a.r.height, c.sensor[1])
    c.crop = (min(a.r.left, c.sensor[0] - w), min(a.r.top, c.sensor[1] - h), w, h)
    _crop(c, fd, a)


def _query_ext_ctrl(c: FakeCamera, fd: int, a: v.QueryExtCtrl) -> None:
    after = a.id & ~v.CTRL_FLAG_NEXT_CTRL
    rest = sorted((x for x in c.controls if x.id > after), key=lambda x: x.id)
    if not rest:
        raise fault(errno.EINVAL)
    x = rest[0]
    a.id, a.type, a.name, a.flags = x.id, x.type, x.name.encode(), x.flags
    a.minimum, a.maximum, a.step, a.default_value = x.least, x.most, x.step, x.default


def _control(c: FakeCamera, number: int) -> FakeControl:
    found = next((x for x in c.controls if x.id == number), None)
    if found is None:
        raise fault(errno.EINVAL)
    return found


def _querymenu(c: FakeCamera, fd: int, a: v.QueryMenu) -> None:
    item = _control(c, a.id).menu.get(a.index)
    if item is None:
        raise fault(errno.EINVAL)
    if isinstance(item, int):
        a.item.value = item
    else:
        a.item.name = item.encode()


def _g_ext_ctrls(c: FakeCamera, fd: int, a: v.ExtControls) -> None:
    one = a.controls[0]
    x = _control(c, one.id)
    if x.type == v.CTRL_INTEGER64:
        one.v.value64 = x.value
    else:
        one.v.value = x.value  # ctypes keeps 32 bits: a bitmask may come back negative


def _s_ext_ctrls(c: FakeCamera, fd: int, a: v.ExtControls) -> None:
    one = a.controls[0]
    x = _control(c, one.id)
    if x.needs is not None and not _control(c, x.needs).value:
        raise fault(errno.EACCES)
    wanted = one.v.value64 if x.type == v.CTRL_INTEGER64 else one.v.value
    if x.type == v.CTRL_BITMASK:
        x.value = one.v.value = wanted & x.most
    elif x.type == v.CTRL_INTEGER:  # to the nearest step within the range, as the kernel's own framework does
        x.value = one.v.value = (
            x.least + round((min(max(wanted, x.least), x.most) - x.least) / x.step) * x.step
        )
    else:
        x.value = wanted


ANSWERS: dict[str, Callable[..., None]] = {
    "QUERYCAP": _querycap,
    "ENUM_FMT": _enum_fmt,
    "ENUM_FRAMESIZES": _enum_framesizes,
    "ENUM_FRAMEINTERVALS": _enum_frameintervals,
    "G_FMT": _g_fmt,
    "S_FMT": _s_fmt,
    "REQBUFS": _reqbufs,
    "QUERYBUF": _querybuf,
    "EXPBUF": _expbuf,
    "QBUF": _qbuf,
    "DQBUF": _dqbuf,
    "STREAMON": _streamon,
    "STREAMOFF": _streamoff,
    "G_PARM": _g_parm,
    "S_PARM": _s_parm,
    "G_SELECTION": _crop,
    "S_SELECTION": _set_crop,
    "QUERY_EXT_CTRL": _query_ext_ctrl,
    "QUERYMENU": _querymenu,
    "G_EXT_CTRLS": _g_ext_ctrls,
    "S_EXT_CTRLS": _s_ext_ctrls,
}
