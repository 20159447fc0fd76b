"""The one command: its subcommands, and errors without tracebacks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edged import __version__
from edged.cli import check
from edged.cli.main import COMMANDS, main
from edged.errors import DeviceError, ExitCode


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"edged {__version__}\n"


def test_help_lists_every_subcommand(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    for command in COMMANDS:
        assert f"    {command} " in out


@pytest.mark.parametrize("command", COMMANDS)
def test_each_subcommand_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"usage: edged {command}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["runn"], ["run"]])
def test_a_wrong_command_line_shows_the_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == ExitCode.USAGE
    assert capsys.readouterr().err.startswith("usage: edged")


def _raising(error: BaseException) -> Callable[[object], int]:
    def run(_: object) -> int:
        raise error

    return run


def test_ctrl_c_during_the_imports_shows_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edged.cli.main.build_parser", lambda: _raising(KeyboardInterrupt())(None))
    assert main(["check", "x.toml"]) == 130


def test_an_error_is_told_with_its_remedy_and_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check, "run", _raising(DeviceError("cpu: is on fire", hint="water")))
    assert main(["check", "x.toml"]) == ExitCode.DEVICE
    assert capsys.readouterr().err == "edged: cpu: is on fire\n  remedy: water\n"


def test_ctrl_c_outside_of_a_run_has_the_shells_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "run", _raising(KeyboardInterrupt()))
    assert main(["check", "x.toml"]) == 130


def test_a_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "run", _raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main(["check", "x.toml"])
