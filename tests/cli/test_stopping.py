"""Signals that stop a command: what it has begun is tidied up."""

from __future__ import annotations

import os
import signal

import pytest

from edged.cli.stopping import unwinding

BOTH = (signal.SIGTERM, signal.SIGHUP)


@pytest.mark.usefixtures("hangs_up")
@pytest.mark.parametrize("number", BOTH)
def test_a_signal_unwinds_and_a_second_one_does_not_disturb(number: signal.Signals) -> None:
    before, tidied = [signal.getsignal(s) for s in BOTH], []

    def work() -> None:
        with unwinding():
            try:
                os.kill(os.getpid(), number)
            finally:
                for s in BOTH:
                    os.kill(os.getpid(), s)
                tidied.append(number)

    with pytest.raises(SystemExit) as caught:
        work()
    assert (caught.value.code, tidied) == (128 + number, [number])
    assert [signal.getsignal(s) for s in BOTH] == before


def test_what_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with unwinding():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
