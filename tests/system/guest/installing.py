"""scripts/install and uninstall in a container without network or Python packages; leaves edged installed."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from tests.system.guest import unit
from tests.system.guest.report import run_cases
from tests.system.guest.unit import CARRIED, CONFIG, EDGED, run, show, status

HOUSE = CARRIED / "wheelhouse"
INSTALL, UNINSTALL = HOUSE / "scripts/install", HOUSE / "scripts/uninstall"
VENV = Path("/opt/edged/venv")
PLACED = [
    Path("/usr/local/lib") / p
    for p in (
        "systemd/system/edged.service",
        "systemd/system/edged.socket",
        "sysusers.d/edged.conf",
        "tmpfiles.d/edged.conf",
    )
]


def state() -> dict[str, object]:
    """What an installation that changes nothing leaves as it is."""
    return {"venv": VENV.resolve(), **{str(p): p.stat().st_mtime_ns for p in PLACED}}


def first() -> str:
    said = run(INSTALL)
    assert "edged.service is inactive" in said, said
    assert f"cp {VENV}/share/edged/configs/least.toml {CONFIG}" in said, said
    assert not CONFIG.exists()
    assert run("systemctl", "is-enabled", "edged.service", "edged.socket").split() == ["enabled"] * 2
    assert {"edged", "video", "render"} <= set(run("id", "-nG", "edged").split())
    assert EDGED.exists()
    return run("edged", "--version")


def without_a_configuration_nothing_starts() -> str:
    run("systemctl", "start", "edged.service", "edged.socket")
    assert show("ActiveState") == show("ActiveState", "edged.socket") == "inactive"
    return show("ConditionResult")


def a_second_time_changes_nothing() -> str:
    before = state()
    said = run(INSTALL)
    assert "up to date" in said, said
    assert state() == before
    return said.splitlines()[-1]


def configured_it_starts() -> str:
    unit.place_model()
    unit.configure()
    run("edged", "check", CONFIG)
    run("systemctl", "start", "edged")
    assert show("ActiveState") == show("ActiveState", "edged.socket") == "active"
    return show("StatusText")


def an_update_restarts_it_and_keeps_the_configuration() -> str:
    text, pid, was = CONFIG.read_text(), unit.main_pid(), VENV.resolve()
    run(INSTALL, "--force")
    assert CONFIG.read_text() == text
    assert VENV.resolve() != was
    assert was.is_dir()  # the one before stays
    assert show("ActiveState") == "active"
    assert unit.main_pid() != pid
    return str(VENV.resolve())


def copy_of_house(name: str) -> Path:
    """To be spoiled."""
    copy = Path("/tmp") / name
    shutil.copytree(HOUSE, copy)
    return copy


def refused(house: Path) -> str:
    """An installation that fails leaves the one before as it was, and running."""
    before = state()
    assert status(house / "scripts/install") == 1
    assert state() == before
    assert sorted(p.name for p in (VENV.parent / "venvs").iterdir()) == ["1", "2"]
    assert show("ActiveState") == "active"
    return show("StatusText")


def one_that_lacks_a_wheel_is_refused() -> str:
    house, pid = copy_of_house("lacking"), unit.main_pid()
    next((house / "wheels").glob("msgspec-*")).unlink()
    refused(house)
    assert unit.main_pid() == pid
    return f"process {pid} went on"


def one_that_does_not_start_is_undone() -> str:
    house = copy_of_house("broken")
    (wheel,) = (house / "wheels").glob("edged-*.whl")
    with zipfile.ZipFile(wheel) as z:
        content = {name: z.read(name) for name in z.namelist()}
    content["edged/cli/run.py"] += b"\n\ndef run(args):\n    raise SystemExit(1)\n"
    with zipfile.ZipFile(wheel, "w") as z:
        for name, data in content.items():
            z.writestr(name, data)
    return refused(house)


def uninstalled_twice() -> str:
    text = CONFIG.read_text()
    for _ in range(2):
        said = run(UNINSTALL)
    assert CONFIG.read_text() == text
    assert unit.STATE.is_dir()
    assert not any(p.exists() for p in (VENV.parent, *PLACED))
    assert not Path("/usr/local/bin/edged").is_symlink()
    assert show("LoadState") == "not-found"
    assert status("id", "edged") == 0
    return said


def purged() -> str:
    run(UNINSTALL, "--purge")
    assert not CONFIG.parent.exists()
    assert not unit.STATE.exists()
    assert status("id", "edged") != 0
    return run(UNINSTALL, "--purge")


def again_with_a_configuration_it_starts_at_once() -> str:
    CONFIG.parent.mkdir()
    unit.place_model()
    unit.configure()
    said = run(INSTALL)
    assert show("ActiveState") == "active"
    assert "edged.service is active" in said
    return run("systemd-analyze", "verify", *PLACED[:2])


def ready_for_the_next_job() -> str:
    """What the container keeps: installed, enabled, with a configuration and no results."""
    run("systemctl", "stop", "edged.socket", "edged.service")
    unit.configure()
    return "kept"


CASES = (
    first,
    without_a_configuration_nothing_starts,
    a_second_time_changes_nothing,
    configured_it_starts,
    an_update_restarts_it_and_keeps_the_configuration,
    one_that_lacks_a_wheel_is_refused,
    one_that_does_not_start_is_undone,
    uninstalled_twice,
    purged,
    again_with_a_configuration_it_starts_at_once,
    ready_for_the_next_job,
)  # in this order: each goes on from where the one before left it

if __name__ == "__main__":
    run_cases({case.__name__: case for case in CASES})
