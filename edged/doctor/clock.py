"""Whether the clock is kept by something: results of several machines are compared by their UTC times."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator
from ctypes import c_int, c_long
from dataclasses import dataclass

from edged.doctor.base import Outcome, failed, not_here, passed, warned
from edged.doctor.place import Place

_STA_UNSYNC, _TIME_ERROR = 0x0040, 5  # linux/timex.h
_LATE_US = 100_000  # a frame's time is then off by more than three frames
_RELEASED = 1_735_689_600  # 2025-01-01: no clock that is set is before that
_REMEDY = "sudo timedatectl set-ntp true (systemd-timesyncd), or install chrony"


class _Timex(ctypes.Structure):
    """The head of struct timex (adjtimex(2)); what follows is not read."""

    _fields_ = (
        ("modes", c_int),
        ("offset", c_long),
        ("freq", c_long),
        ("maxerror", c_long),
        ("esterror", c_long),
        ("status", c_int),
        ("rest", ctypes.c_byte * 512),  # larger than any system's
    )


@dataclass(frozen=True, slots=True)
class Kept:
    """What the kernel knows of its clock. `maxerror_us`: it is off by no more than that."""

    synchronized: bool
    maxerror_us: int


def ask_kernel() -> Kept:
    """adjtimex(2), which changes nothing with modes = 0. OSError where a sandbox forbids it."""
    timex = _Timex()
    libc = ctypes.CDLL(None, use_errno=True)
    state = libc.adjtimex(ctypes.byref(timex))
    if state < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return Kept(state != _TIME_ERROR and not timex.status & _STA_UNSYNC, timex.maxerror)


def clock(place: Place) -> Iterator[Outcome]:
    try:
        kept = ask_kernel()
    except OSError as e:
        yield not_here(f"the kernel does not tell of its clock: {e.strerror}", "timedatectl")
        return
    yield judge(kept, time.time())


def judge(kept: Kept, now: float) -> Outcome:
    """`now`: seconds since 1970."""
    if now < _RELEASED:
        year = time.gmtime(now).tm_year
        return failed(
            f"the clock says {year}: it was never set since power came",
            f"{_REMEDY}; and a battery for the RTC",
        )
    if not kept.synchronized:
        return warned("the kernel's clock is not synchronized: nothing keeps it", _REMEDY)
    text = f"synchronized, off by {kept.maxerror_us / 1000:.1f} ms at most"
    if kept.maxerror_us > _LATE_US:
        return warned(text, "chronyc tracking (or timedatectl timesync-status) tells what its server is")
    return passed(text)
