"""The units as shipped: only what systemd 249 knows, a small exposure, and each exception explained."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICE, SOCKET = (ROOT / "systemd" / name for name in ("edged.service", "edged.socket"))
EXPOSURE = 4.0
# What of systemd's directives the units use; the newest are ProtectProc (247), ProtectClock (245), ProtectKernelLogs
# (244), TimeoutAbortSec (243), ProtectHostname and RestrictSUIDSGID (242).
KNOWN = set(
    re.findall(
        r"\w+",
        """
    Description Documentation ConditionPathExists Wants After StartLimitIntervalSec
    Type NotifyAccess ExecStart ExecReload Restart RestartSec TimeoutStartSec TimeoutStopSec TimeoutAbortSec KillMode
    WatchdogSec Environment User Group SupplementaryGroups UMask StateDirectory StateDirectoryMode CacheDirectory
    CacheDirectoryMode ConfigurationDirectory ConfigurationDirectoryMode RuntimeDirectory RuntimeDirectoryMode
    RuntimeDirectoryPreserve LimitMEMLOCK LimitCORE LimitNOFILE TasksMax OOMScoreAdjust Nice CPUWeight IOWeight
    NoNewPrivileges CapabilityBoundingSet AmbientCapabilities ProtectSystem ProtectHome ProtectProc ProtectClock
    ProtectControlGroups ProtectHostname ProtectKernelLogs ProtectKernelModules ProtectKernelTunables PrivateMounts
    RestrictNamespaces RestrictRealtime RestrictSUIDSGID LockPersonality RemoveIPC SystemCallArchitectures
    SystemCallFilter SystemCallErrorNumber RestrictAddressFamilies DevicePolicy DeviceAllow WantedBy Also
    ListenStream SocketUser SocketGroup SocketMode DirectoryMode RemoveOnStop
    """,
    )
)


def directives(file: Path) -> list[tuple[str, str]]:
    return re.findall(r"^(\w+)=(.*)$", file.read_text(), re.MULTILINE)


@pytest.mark.parametrize("file", [SERVICE, SOCKET], ids=lambda f: f.name)
def test_systemd_249_knows_every_directive(file: Path) -> None:
    assert {name for name, _ in directives(file)} - KNOWN == set()


def test_nothing_newer_hides_in_a_value() -> None:
    assert dict(directives(SERVICE))["Type"] == "notify"  # notify-reload is of 253


def test_it_never_gives_up_and_dies_in_time() -> None:
    found = dict(directives(SERVICE))
    assert (found["Restart"], found["RestartSec"], found["StartLimitIntervalSec"]) == ("always", "2", "0")
    assert found["TimeoutStopSec"] == "5"


def test_the_socket_is_where_the_service_leaves_its_folder() -> None:
    assert dict(directives(SOCKET))["ListenStream"] == "/run/edged/control.sock"
    assert dict(directives(SERVICE))["RuntimeDirectoryPreserve"] == "yes"


def exposure() -> list[str]:
    """What systemd-analyze says; its offline mode is of 250."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd-analyze here")
    command = [program, "security", "--offline=true", f"--threshold={EXPOSURE * 10:.0f}", str(SERVICE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze knows no offline mode")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_little_is_exposed_and_each_exception_is_explained() -> None:
    text = SERVICE.read_text()
    for line in exposure():
        if line.startswith("✗"):
            name = line.split()[1]  # "RestrictAddressFamilies=~AF_NETLINK", "RootDirectory=/RootImage="
            directive, _, part = name.partition("=")
            words = re.findall(r"\w+", part) if part.startswith("~") else [directive]
            assert all(word in text for word in words), f"{line}: say in {SERVICE.name} why"
