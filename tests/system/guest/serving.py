"""edged.service as installed, in a container: start, watchdog, crash, stop, reload, sockets, journal, sandbox."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import time
from functools import partial
from pathlib import Path

from tests.system.guest import unit
from tests.system.guest.report import Json, run_cases
from tests.system.guest.unit import CONFIG, EDGED, STATE, asked, journal, run, show, until

HANG = STATE / "hang"
SOCKET = Path("/run/edged/control.sock")
SHIPPED = Path("/usr/local/lib/systemd/system/edged.service")
TRIES = {  # what a shell in the sandbox may do
    "touch /etc/x": False,
    "touch /usr/x": False,
    "touch /tmp/x": False,
    "touch /var/lib/edged/x": True,
    "touch /var/cache/edged/x": True,
    "cat /etc/edged/edged.toml": True,
    "touch /etc/edged/x": False,
    "ls /root": False,
    "cat /proc/meminfo": True,
    "cat /proc/1/status": False,
    "dmesg": False,
    "head -c 1 /dev/urandom": True,
    "head -c 1 /dev/kmsg": False,
    "unshare -U true": False,
    "chown root /var/lib/edged/x": False,
    "python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'": False,
    "python3 -c 'import socket; socket.create_server((\"127.0.0.1\", 0))'": True,
}
EXPOSURE = 4.0  # at most, of systemd-analyze security
STOP_S = 5.0
REFUSED = 13  # the exit status


def restarts() -> int:
    return int(show("NRestarts"))


def start() -> int:
    """Ready, with results; the main process."""
    unit.RESULTS.unlink(missing_ok=True)
    run("systemctl", "restart", "edged")
    until("results", unit.results)
    return unit.main_pid()


def boots_to_a_first_result() -> str:
    """It was enabled when the container started, and nothing else started it."""
    first = until("results", unit.results)[0]
    assert show("ActiveState") == "active"
    assert "1 of 1 pipelines running" in until("a status", lambda: show("StatusText"))
    begin = int(
        run("systemctl", "show", "--property=UserspaceTimestampMonotonic", "--value")
    )  # of PID 1 itself
    exec_at, ready_at = (
        int(show(f"{what}Monotonic")) for what in ("ExecMainStartTimestamp", "ActiveEnterTimestamp")
    )
    result_at = first["captured_mono_ns"] / 1e3 + first["age_ms"] * 1e3
    assert result_at < ready_at + 5e6
    return (
        f"after systemd began: process {(exec_at - begin) / 1e6:.2f} s, READY {(ready_at - begin) / 1e6:.2f} s, "
        f"first result {(result_at - begin) / 1e6:.2f} s"
    )


def runs_as_its_user_without_rights() -> str:
    pid = unit.main_pid()
    status = dict(re.findall(r"(\w+):\t(.*)", Path(f"/proc/{pid}/status").read_text()))
    assert status["CapEff"] == status["CapBnd"] == "0" * 16
    assert status["NoNewPrivs"] == "1"
    assert run("ps", "-o", "user=", "-p", str(pid)) == "edged"
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert re.search(r"Max core file size +0 ", limits), limits
    assert unit.RESULTS.owner() == "edged"
    return f"uid {status['Uid'].split()[0]}, groups {status['Groups']}"


def its_sandbox_holds() -> str:
    """The shipped unit around a shell instead of edged: what may be written, seen and called."""
    script, out = STATE / "tries.sh", STATE / "tries.txt"
    script.write_text("".join(f"{command} >/dev/null 2>&1 && echo yes || echo no\n" for command in TRIES))
    name = "sandbox.service"
    Path("/run/systemd/system", name).write_text(
        SHIPPED.read_text().replace("Type=notify", "Type=oneshot").replace("Restart=always", "Restart=no")
        + f"[Service]\nExecStart=\nExecStart=/bin/sh -c 'sh {script} >{out}'\n"
    )
    run("systemctl", "daemon-reload")
    run("systemctl", "start", name)
    found = dict(zip(TRIES, (line == "yes" for line in out.read_text().splitlines()), strict=True))
    assert found == TRIES, {c: found[c] for c in TRIES if found[c] != TRIES[c]}
    return f"{len(TRIES)} tries, {sum(TRIES.values())} of them allowed"


def exposure_is_low() -> str:
    said = run(
        "systemd-analyze", "security", "--no-pager", f"--threshold={EXPOSURE * 10:.0f}", "edged.service"
    )
    return said.splitlines()[-1]


def units_are_valid() -> str:
    said = run("systemd-analyze", "verify", "edged.service", "edged.socket")
    assert "edged" not in said, said
    return said


def comes_back_after_a_crash() -> str:
    pid, count = start(), restarts()
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    until("another process", lambda: unit.main_pid() not in (0, pid) and show("ActiveState") == "active")
    assert restarts() == count + 1
    return f"ready again {time.monotonic() - began:.1f} s after kill -9 (RestartSec is 2)"


def never_gives_up() -> str:
    """Ten crashes at once, which systemd's own limit (5 in 10 s) would end."""
    unit.drop_in("RestartSec=50ms")
    run("systemctl", "daemon-reload")
    begin = restarts()
    for n in range(1, 11):
        os.kill(until("a process", unit.main_pid), signal.SIGKILL)
        until("its end", partial(lambda least: restarts() >= least, begin + n))
    unit.drop_in("")
    until("ready", lambda: show("ActiveState") == "active")
    return f"{restarts() - begin} restarts"


def stops_within_its_time() -> str:
    pid = start()
    began = time.monotonic()
    run("systemctl", "stop", "edged")
    took = time.monotonic() - began
    assert not unit.alive(pid)
    assert show("Result") == "success"
    assert took < STOP_S
    return f"{took:.2f} s"


def edit(old: str, new: str) -> None:
    text = CONFIG.read_text()
    assert old in text
    CONFIG.write_text(text.replace(old, new))


def revision() -> Json:
    """As the API says it, once it is no trial."""
    found: Json = until("no trial", lambda: (c := asked("config", "show"))["state"] == "confirmed" and c)
    return found


def gives(width: int, height: int) -> None:
    """New results are of pictures of that size."""
    count = len(unit.results())
    until("more results", lambda: len(unit.results()) > count + 2)
    assert unit.results()[-1]["frame"] == [width, height]


def told(state: str) -> str:
    """The last event of the configuration, which is in the journal, too."""
    lines = run(EDGED, "events", "--no-follow", "--json").splitlines()
    last = [e for e in map(json.loads, lines) if e.get("unit") == "configuration"][-1]
    assert last["state"] == state, last
    assert [line for line in lines_of_run() if last["reason"] in line]
    return str(last["reason"])


def reloads_on_sighup() -> str:
    pid, before = start(), revision()
    edit("[320, 240]", "[160, 120]")
    run("systemctl", "reload", "edged")
    after = until("another revision", lambda: (r := revision())["revision"] > before["revision"] and r)
    gives(160, 120)
    assert after["by"].startswith("file")
    assert not after["file_changed"]
    assert (unit.main_pid(), show("ActiveState")) == (pid, "active")
    return told("confirmed")


def a_reload_of_nonsense_is_refused() -> str:
    pid, before, good = unit.main_pid(), revision(), CONFIG.read_text()
    CONFIG.write_text(good + "nonsense = \n")
    run("systemctl", "reload", "edged")
    until("a refusal", lambda: [line for line in lines_of_run() if "configuration: refused" in line])
    said = told("refused")
    assert revision()["revision"] == before["revision"]
    gives(160, 120)
    assert (unit.main_pid(), show("ActiveState")) == (pid, "active")
    CONFIG.write_text(good)
    return said


def a_bad_reload_is_undone_and_stays_so() -> str:
    """Also at the next start, though the file still is the bad one."""
    pid, before = unit.main_pid(), revision()
    CONFIG.write_text(unit.text(source='"/dev/video7"'))
    run("systemctl", "reload", "edged")
    until("its end", lambda: [line for line in lines_of_run() if "configuration: undone" in line])
    said = told("undone")
    assert revision()["revision"] == before["revision"]
    gives(160, 120)
    assert unit.main_pid() == pid
    start()
    gives(160, 120)
    assert revision()["revision"] == before["revision"]
    unit.configure()
    return said


def a_change_is_kept_in_the_sandbox() -> str:
    """By `edged config apply`: its revision runs after a restart, though the file is another one."""
    start()
    file = Path("/etc/edged/changed.toml")
    file.write_text(unit.text(source=unit.PATTERN.replace("320, 240", "96, 64")))
    said = run(EDGED, "config", "apply", "--wait", file)
    gives(96, 64)
    folder = STATE / "config"
    assert {p.owner() for p in (folder, *folder.rglob("*"))} == {"edged"}
    start()
    gives(96, 64)
    assert revision()["by"].startswith("uid 0")
    return said


def a_bad_change_is_undone() -> str:
    before = revision()
    file = Path("/etc/edged/changed.toml")
    file.write_text(unit.text(source='"/dev/video7"'))
    began = time.monotonic()
    code = unit.status(EDGED, "config", "apply", "--wait", file)
    took = time.monotonic() - began
    assert code == REFUSED
    assert took < unit.CONFIRM_S + 2
    assert revision()["revision"] == before["revision"]
    gives(96, 64)
    run(EDGED, "config", "revert", "--wait")
    gives(320, 240)
    file.unlink()
    return f"after {took:.1f} s"


def lines_of_run() -> list[str]:
    return [str(e["MESSAGE"]) for e in journal(since=show("InvocationID"))]


def journal_has_fields() -> str:
    start()
    pipeline = until("a line", lambda: journal("EDGED_PIPELINE=front"))[-1]
    assert pipeline["EDGED_UNIT"] == "pipeline front"
    unit.configure(source='"/dev/video7"')
    run("systemctl", "restart", "edged")
    until("an error", lambda: journal("EDGED_ERROR=SOURCE", "EDGED_CAMERA=front"))
    until("a status", lambda: "front faulted" in show("StatusText"))
    status = show("StatusText")
    assert show("ActiveState") == "active"  # a camera that is absent is declared recovery, not a failed start
    run("systemctl", "stop", "edged")
    shutil.rmtree(STATE / "config")  # a revision would run instead
    CONFIG.write_text("[pipelines.front]\nsource = 5\n")
    run("systemctl", "start", "edged", check=False)
    until("an error", lambda: journal("EDGED_ERROR=CONFIG"))
    unit.configure()
    return status


def a_first_request_starts_it() -> str:
    run("systemctl", "stop", "edged")
    assert show("ActiveState", "edged.socket") == "active"
    mode = SOCKET.stat().st_mode & 0o777
    assert (SOCKET.owner(), SOCKET.group(), mode) == ("edged", "edged", 0o660)
    began = time.monotonic()
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(unit.LIMIT_S)
        client.connect(str(SOCKET))
        client.sendall(b"GET /v1/status HTTP/1.1\r\nHost: edged\r\nConnection: close\r\n\r\n")
        head, _, body = b"".join(iter(lambda: client.recv(65536), b"")).partition(b"\r\n\r\n")
    took = time.monotonic() - began
    assert head.startswith(b"HTTP/1.1 200 "), head
    assert json.loads(body)["pid"] == unit.main_pid()
    return f"answered after {took:.1f} s"


def install_hanging_engine() -> None:
    """What `pip install` of another package leaves: a module, and an entry point."""
    (packages,) = EDGED.parents[1].glob("lib/python3.*/site-packages")
    shutil.copy(Path(__file__).with_name("hanging.py"), packages)
    info = packages / "hanging-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hanging\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[edged.engines]\nhanging = hanging:HangingEngine\n")


def killed_by_the_watchdog(how: str) -> str:
    """Hangs, is killed with its stacks in the journal, and comes back."""
    pid, count, run_id = start(), restarts(), show("InvocationID")
    began = time.monotonic()
    HANG.write_text(how)
    until("a restart", lambda: restarts() > count)
    took = time.monotonic() - began
    HANG.unlink()
    until("ready", lambda: show("ActiveState") == "active" and unit.main_pid() != pid)
    stacks = [e["MESSAGE"] for e in journal(since=run_id) if "hanging.py" in str(e["MESSAGE"])]
    assert stacks, "no stack of the thread that hung"
    assert "Watchdog timeout" in unit.of_systemd()
    limit = show("WatchdogUSec")
    return (
        f"another process {took:.1f} s after it hung, limit {limit}; in the journal: {str(stacks[0]).strip()}"
    )


def a_hung_engine_is_restarted() -> str:
    install_hanging_engine()
    unit.configure(engine="hanging")
    return killed_by_the_watchdog("engine")


def a_hung_interpreter_is_restarted() -> str:
    unit.drop_in("WatchdogSec=3")
    said = killed_by_the_watchdog("interpreter")
    unit.drop_in("")
    return said


def no_more_results() -> bool:
    before = len(unit.results())
    time.sleep(0.5)  # ten frames
    return len(unit.results()) == before


def what_does_not_stop_is_killed() -> str:
    pid = start()
    HANG.write_text("interpreter")
    until("a hang", no_more_results)
    began = time.monotonic()
    run("systemctl", "stop", "edged")
    took = time.monotonic() - began
    HANG.unlink()
    assert not unit.alive(pid)
    assert show("Result") == "timeout"
    assert STOP_S <= took < STOP_S + 2
    return f"killed after {took:.2f} s"


CASES = (
    boots_to_a_first_result,
    runs_as_its_user_without_rights,
    its_sandbox_holds,
    exposure_is_low,
    units_are_valid,
    comes_back_after_a_crash,
    never_gives_up,
    stops_within_its_time,
    reloads_on_sighup,
    a_reload_of_nonsense_is_refused,
    a_bad_reload_is_undone_and_stays_so,
    a_change_is_kept_in_the_sandbox,
    a_bad_change_is_undone,
    journal_has_fields,
    a_first_request_starts_it,
    a_hung_engine_is_restarted,
    a_hung_interpreter_is_restarted,
    what_does_not_stop_is_killed,
)

if __name__ == "__main__":
    run_cases({case.__name__: case for case in CASES})
