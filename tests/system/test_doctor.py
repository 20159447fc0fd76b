"""edged doctor on the kernel's own cameras, its own groups and device nodes, and its clock."""

from __future__ import annotations

from typing import Any

import pytest

from tests.system.vm import BOOT_S, run_in_vm

LIMIT_S = 180

pytestmark = [pytest.mark.system, pytest.mark.timeout(LIMIT_S + BOOT_S + 120)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    result: dict[str, Any] = run_in_vm("doctor", tmp_path_factory.mktemp("doctor"), LIMIT_S)
    return result


def test_rungs_of_real_drivers(found: dict[str, Any]) -> None:
    rungs = [r for r in found["root"]["rows"]["cameras"] if ": rung " in r["text"]]
    said = [(r["state"], r["text"].partition(": rung ")[2].split(":")[0]) for r in rungs]
    assert said == [("pass", "userptr"), ("pass", "userptr"), ("warn", "copy")]
    assert "no userptr" in rungs[2]["text"]  # its driver takes memory of its own only


def test_nobody_may_open_cameras(found: dict[str, Any]) -> None:
    rows = found["nobody"]["rows"]
    assert rows["nodes"][0]["state"] == "fail"
    assert rows["nodes"][0]["remedy"] == "sudo usermod -aG video nobody, then log in again"
    assert rows["groups"][0]["state"] == "warn"
    assert {r["state"] for r in rows["cameras"]} == {"fail"}
    assert all("EACCES" in r["text"] for r in rows["cameras"])
    assert found["nobody"]["status"] == 12


def test_a_clock_that_nothing_keeps(found: dict[str, Any]) -> None:
    assert [r["state"] for r in found["root"]["rows"]["clock"]] == ["warn"]
