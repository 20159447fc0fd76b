"""The process's signals: flags, set and put back."""

from __future__ import annotations

import ctypes
import gc
import os
import pty
import signal
import sys
import threading
import weakref
from pathlib import Path

import pytest

from edged.process import ask_on_signals, collect_garbage, give_back_memory, has_terminal


def test_sighup_sets_its_flag_as_often_as_it_comes() -> None:
    asked, reload = threading.Event(), threading.Event()
    before = signal.getsignal(signal.SIGHUP)
    with ask_on_signals(asked, reload):
        for _ in range(2):
            signal.raise_signal(signal.SIGHUP)
            assert reload.is_set()
            reload.clear()
        assert not asked.is_set()
    assert signal.getsignal(signal.SIGHUP) == before


def test_what_was_freed_goes_back_to_the_kernel() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    malloc = ctypes.CDLL(None).malloc
    free = ctypes.CDLL(None).free
    malloc.restype, free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    blocks = [malloc(100_000) for _ in range(640)]  # below what would be mapped for itself
    for block in blocks:
        ctypes.memset(block, 1, 100_000)
    for block in blocks[:-1]:  # what stays keeps the heap from shrinking at its end
        free(block)
    before = resident()
    give_back_memory()
    assert before - resident() > 40 << 20
    free(blocks[-1])


def test_parts_that_refer_to_each_other_go_at_once() -> None:
    class Part:
        other: object

    one, two = Part(), Part()
    one.other, two.other = two, one
    gone = weakref.ref(one)
    gc.disable()  # it might come first
    try:
        del one, two
        collect_garbage()
        assert gone() is None
    finally:
        gc.enable()


def test_without_its_flag_sighup_is_left_as_it_is() -> None:
    before = signal.getsignal(signal.SIGHUP)
    with ask_on_signals(threading.Event()):
        assert signal.getsignal(signal.SIGHUP) == before


def test_at_a_terminal_sighup_means_that_it_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    try:
        with os.fdopen(theirs) as terminal:
            monkeypatch.setattr(sys, "stdin", terminal)
            assert has_terminal()
    finally:
        os.close(ours)
    monkeypatch.setattr(sys, "stdin", None)  # as where descriptor 0 is closed
    assert not has_terminal()
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert not has_terminal()
