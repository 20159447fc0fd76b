"""Sockets from systemd, through a stand-in for systemd-python."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

import pytest

from edged.errors import MissingPackage
from edged.service.sockets import WrongSocket, listen_fds

OURS = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}


def stand_in(monkeypatch: pytest.MonkeyPatch, *, right: bool) -> None:
    daemon = SimpleNamespace(listen_fds=lambda unset: [3], is_socket=lambda *a: right)
    monkeypatch.setitem(sys.modules, "systemd", SimpleNamespace(daemon=daemon))


@pytest.mark.parametrize("environment", [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}])
def test_those_of_another_process_are_left_alone(environment: dict[str, str]) -> None:
    assert listen_fds(environment) == ()


def test_ours_are_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, right=True)
    assert listen_fds(OURS) == (3,)


def test_a_socket_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, right=False)
    with pytest.raises(WrongSocket, match="file descriptor 3"):
        listen_fds(OURS)


def test_the_package_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "systemd", None)
    with pytest.raises(MissingPackage, match="socket unit"):
        listen_fds(OURS)
