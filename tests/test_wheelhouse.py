"""scripts/wheelhouse without a network: what pip is asked for, and that a folder is whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

import wheelhouse
from check_extras import target_options


class Pip:
    """Stands for pip: leaves a file for what it is asked to build or fetch, or fails."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.fails = False

    def __call__(self, *arguments: str) -> str:
        self.calls.append(arguments)
        if arguments[0] == "wheel":
            Path(arguments[arguments.index("-w") + 1], "edged-0.1.0-py3-none-any.whl").touch()
        elif self.fails:
            raise RuntimeError("No matching distribution found for numpy")
        else:
            Path(arguments[arguments.index("-d") + 1], "numpy.whl").touch()
        return ""


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> Pip:
    found = Pip()
    monkeypatch.setattr(wheelhouse, "run_pip", found)
    return found


def test_a_jetson_gets_wheels_of_its_python_and_all_that_installs_them(
    pip: Pip, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    house = tmp_path / "house"
    assert wheelhouse.main(["--jetpack", "6", str(house)]) == 0
    _, download = pip.calls
    assert set(target_options("3.10", 35)) <= set(download)
    assert "pip>=24" in download
    assert (house / "extras").read_text() == "ort\n"
    assert any(w.startswith("tomli>=") for w in download)  # of Python 3.10 only
    assert (house / "scripts/install").stat().st_mode & 0o100
    assert {p.name for p in (house / "systemd").iterdir()} >= {"edged.service", "edged.socket"}
    said = capsys.readouterr().out
    assert "2 wheels" in said
    assert "the device must have systemd-python: apt package python3-systemd" in said


def test_a_failure_leaves_the_one_before(
    pip: Pip, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    house = tmp_path / "house"
    assert wheelhouse.main(["--jetpack", "7", str(house)]) == 0
    pip.fails = True
    assert wheelhouse.main(["--jetpack", "7", str(house)]) == 1
    assert (house / "wheels/numpy.whl").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["house"]
    assert "no set of wheels for Python 3.12, aarch64, glibc 2.39\nNo matching" in capsys.readouterr().err


def test_what_is_no_wheelhouse_is_not_replaced(pip: Pip, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(SystemExit):
        wheelhouse.main(["--jetpack", "6", str(tmp_path / "photos")])
    assert not pip.calls
