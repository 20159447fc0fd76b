"""How the builder's process ends, and what is said of it: a stand-in takes its place and dies in every way."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from edged.build.cap import Watched
from edged.build.events import Done, Event, Stage
from edged.build.process import run_worker
from edged.build.request import BuildError, Request
from edged.errors import ExitCode, MissingPackage
from tests.build.made import directory, relu, request_for


class Instead(Watched):
    """Runs a script in the builder's place; its first argument is the folder."""

    def __init__(self, script: str, memory: int | None = None, killed: bool = False) -> None:
        super().__init__(memory)
        self._script, self._killed = textwrap.dedent(script), killed

    def command(self, argv: Sequence[str]) -> list[str]:
        return [sys.executable, "-c", self._script, *argv[4:]]

    def killed(self) -> bool:
        return self._killed


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    return request_for(directory(tmp_path / "tiny", relu()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "work"
    made.mkdir()
    return made


DONE = (
    '{"type":"done","version":"1","gpu":null,"capabilities":[],"activation_bytes":null,"weight_bytes":null,'
    '"layers":null,"layers_of":null,"notes":[]}'
)


def test_events_come_as_they_are_told(request_: Request, folder: Path) -> None:
    seen: list[Event] = []
    script = f"""print('{{"type":"stage","name":"parse"}}', flush=True); print('{DONE}')"""
    done = run_worker(request_, folder, seen.append, Instead(script))
    assert seen[0] == Stage("parse")
    assert isinstance(done, Done)
    assert seen[-1] == done


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            "import os, sys; print('the last', file=sys.stderr, flush=True); os.abort()",
            r"crashed \(SIGABRT\)",
        ),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"crashed \(SIGSEGV\)"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "was killed from outside"),
        ("raise SystemExit(3)", "ended with status 3"),
        ("raise MemoryError", "out of memory: the builder could not get more"),
        (f"print('{DONE}', flush=True); raise SystemExit(1)", "ended with status 1"),
        ("pass", "ended with status 0"),
        ("print('{\"type\":', end='')", "ended with status 0"),
    ],
)
def test_a_builder_that_dies_is_told_of_with_its_last_lines(
    request_: Request, folder: Path, script: str, reason: str
) -> None:
    with pytest.raises(BuildError, match=reason) as caught:
        run_worker(request_, folder, lambda _: None, Instead(script))
    assert caught.value.hint
    assert request_.model in caught.value.message
    if "the last" in script:
        assert "it said last:\n  the last" in caught.value.message


def test_only_the_end_of_a_long_log_is_shown(request_: Request, folder: Path) -> None:
    script = "import sys; [print('line', i, file=sys.stderr) for i in range(100)]; raise SystemExit(1)"
    with pytest.raises(BuildError) as caught:
        run_worker(request_, folder, lambda _: None, Instead(script))
    assert "line 99" in caught.value.message
    assert "line 84" not in caught.value.message


def test_a_builder_that_grows_too_far_is_killed_and_that_is_named(request_: Request, folder: Path) -> None:
    import msgspec

    asked = msgspec.structs.replace(request_, memory=100 << 20)
    script = "import time; held = bytes(range(256)) * (1 << 20); time.sleep(60)"
    started = time.monotonic()
    with pytest.raises(BuildError, match=r"out of memory: .* more than its cap of 100 MiB") as caught:
        run_worker(asked, folder, lambda _: None, Instead(script, memory=asked.memory))
    assert "--memory" in caught.value.hint
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    ("end", "told", "other"),
    [
        ("SIGKILL", "out of memory", "crashed"),
        ("SIGSEGV", "crashed", "out of memory"),
        ("SIGABRT", "crashed", "out of"),
    ],
)
def test_what_the_kernel_kills_for_memory_is_named_so_and_nothing_else(
    request_: Request, folder: Path, end: str, told: str, other: str
) -> None:
    """Most caps only know that something on the machine was killed for memory."""
    script = f"""
    import os, signal, sys
    print('the last', file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.{end})
    """
    with pytest.raises(BuildError, match=told) as caught:
        run_worker(request_, folder, lambda _: None, Instead(script, killed=True))
    assert other not in caught.value.message
    assert "it said last:\n  the last" in caught.value.message


def test_the_builders_own_error_comes_with_its_remedy_and_status(request_: Request, folder: Path) -> None:
    script = """print('{"type":"failed","message":"no","hint":"do","exit_code":3}')"""
    with pytest.raises(BuildError) as caught:
        run_worker(request_, folder, lambda _: None, Instead(script))
    assert (caught.value.message, caught.value.hint) == ("no", "do")
    assert caught.value.exit_code is MissingPackage.exit_code is ExitCode.CONFIG


def test_ctrl_c_ends_the_builder_at_once(request_: Request, folder: Path) -> None:
    script = """
    import os, sys, time
    open(sys.argv[1] + '/pid', 'w').write(str(os.getpid()))
    print('{"type":"stage","name":"build"}', flush=True)
    time.sleep(60)
    """

    def interrupt(_: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_worker(request_, folder, interrupt, Instead(script))
    with pytest.raises(ProcessLookupError):
        os.kill(int((folder / "pid").read_text()), 0)


def test_a_folder_that_cannot_be_written_is_told_with_what_to_do(request_: Request, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"the builder cannot start in .*absent: No such file") as caught:
        run_worker(request_, tmp_path / "absent", lambda _: None, Instead("pass"))
    assert "df -h" in caught.value.hint


def test_a_directory_whose_name_is_not_utf_8_is_refused(folder: Path, tmp_path: Path) -> None:
    made = request_for(directory(tmp_path / os.fsdecode(b"m\xff"), relu()))
    with pytest.raises(BuildError, match="is not UTF-8") as caught:
        run_worker(made, folder, lambda _: None, Instead("pass"))
    assert caught.value.hint == "rename it"


OWNER = """
import os, sys, time
from edged.build import worker
child = os.fork()
if child == 0:
    worker._die_with(os.getppid())
    print(os.getpid(), flush=True)
    time.sleep(60)
    os._exit(0)
time.sleep(60)
"""


def test_the_builder_dies_with_the_one_that_started_it() -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        child = int(owner.stdout.readline())
        owner.kill()
        owner.wait()
        end = time.monotonic() + 10
        while alive(child):
            assert time.monotonic() < end, "the builder outlives its owner"
            time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether the process runs: one that nobody waited for is dead, too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


WAY = """
import os, ctypes
from edged.build import worker
worker._give_way()
print(os.nice(0), os.sched_getscheduler(0) == os.SCHED_IDLE, open('/proc/self/oom_score_adj').read().strip(),
      ctypes.CDLL(None).syscall({"x86_64": 252, "aarch64": 31}[os.uname().machine], 1, 0) >> 13)
"""


def test_the_builder_gives_way_to_all_that_serves() -> None:
    said = subprocess.run([sys.executable, "-c", WAY], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["19", "True", "1000", "3"]


def test_events_go_to_the_pipe_and_what_libraries_print_to_the_log(tmp_path: Path) -> None:
    script = (
        "import os; from edged.build import worker; from edged.build.events import Stage; tell = worker._teller(); "
        "print('a library', flush=True); os.system('echo another'); tell(Stage('parse'))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == '{"type":"stage","name":"parse"}\n'
    assert done.stderr.split() == ["a", "library", "another"]
