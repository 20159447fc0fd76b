"""edged.service as installed, with a camera: the sandbox as it is shipped lets it through, and nothing else."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

from tests.system.guest import unit, vivid
from tests.system.guest.report import run_cases
from tests.system.guest.unit import CARRIED, run, show, until

NODE = Path("/dev/video0")
CAMERA = f'{{kind = "v4l2", device = "{NODE}", size = [320, 180], max_size = [320, 180], format = "YUYV", rate = 5}}'


def is_installed() -> str:
    """As a container of the same image was left: pip takes a minute in an emulated machine."""
    vivid.load(vivid.Kind())
    run("tar", "-xpf", CARRIED / "installed.tar", "-C", "/")
    run("systemctl", "daemon-reload")
    unit.configure(source=CAMERA)
    return run("edged", "--version")


def a_camera_comes_through_the_sandbox() -> str:
    node = NODE.stat()
    assert (NODE.group(), stat.S_IMODE(node.st_mode)) == ("video", 0o660)
    began = time.monotonic()
    run("systemctl", "start", "edged")
    ready = time.monotonic() - began
    first = until("results", unit.results)[0]
    result_s = (first["captured_mono_ns"] / 1e6 + first["age_ms"]) / 1e3 - began
    until("a picture", lambda: len(unit.results()) >= 10)
    assert first["frame"] == [320, 180]
    assert show("StatusText") == "1 of 1 pipelines running"
    return f"READY {ready:.1f} s and the first result {result_s:.1f} s after systemctl start, in an emulated machine"


def one_that_is_unplugged_is_waited_for() -> str:
    pid = unit.main_pid()
    vivid.unbind()
    until("its absence", lambda: "front faulted" in show("StatusText"))
    status = show("StatusText")
    assert show("ActiveState") == "active"
    count = len(unit.results())
    vivid.bind()
    until("more results", lambda: len(unit.results()) > count + 5)
    assert unit.main_pid() == pid
    assert show("NRestarts") == "0"
    return status


def stops_within_its_time() -> str:
    began = time.monotonic()
    run("systemctl", "stop", "edged")
    assert show("Result") == "success"
    return f"{time.monotonic() - began:.1f} s"


def without_its_device_rule_there_is_no_camera() -> str:
    """The rule is what lets it through: everybody may open the node now, and the unit may not."""
    os.chmod(NODE, 0o666)
    unit.drop_in("DeviceAllow=")
    run("systemctl", "start", "edged")
    until("a refusal", lambda: "EPERM" in show("StatusText"))
    return show("StatusText")


CASES = (
    is_installed,
    a_camera_comes_through_the_sandbox,
    one_that_is_unplugged_is_waited_for,
    stops_within_its_time,
    without_its_device_rule_there_is_no_camera,
)

if __name__ == "__main__":
    run_cases({case.__name__: case for case in CASES})
