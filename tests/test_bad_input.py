"""Bad input, as a user meets it: each a clear error that names the thing, its place and a remedy, no traceback."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from edged.cli.main import main
from edged.errors import ExitCode
from tests import onnx_models
from tests.sources.make import write_clip

GOOD = """\
[pipelines.front]
source = {path}
model = "tiny"
sinks = ["log"]
[models.tiny]
path = "tiny"
[sinks.log]
kind = "jsonl"
path = "out.jsonl"
"""


class Site:
    """A folder in which everything is good, until a case damages it. `taken` is a port in use."""

    def __init__(self, folder: Path, taken: int) -> None:
        self.folder, self.taken = folder, taken
        self.file = folder / "edged.toml"
        self.onnx = folder / "tiny" / "model.onnx"
        self.pictures = folder / "pictures"
        self.pictures.mkdir()
        assert cv2.imwrite(str(self.pictures / "1.png"), np.zeros((4, 6, 3), np.uint8))
        (folder / "tiny").mkdir()
        self.model(onnx_models.relu)
        self.source("pictures")

    def source(self, path: str) -> None:
        self.file.write_text(GOOD.replace("{path}", f'"{path}"'))

    def model(self, make: onnx_models.Make, tensor: str = "x", name: str = "tiny") -> None:
        directory = self.folder / name
        directory.mkdir(exist_ok=True)
        onnx_models.model_toml(directory, make(directory / "model.onnx"), size=(6, 4), tensor=tensor)

    def replace(self, old: str, new: str) -> None:
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new))

    def add(self, text: str) -> None:
        self.file.write_text(self.file.read_text() + text)


@dataclass(frozen=True)
class Case:
    """What is damaged, and what must be said of it. `check`: whether `edged check` can know."""

    damage: Callable[[Site], object]
    says: tuple[str, ...]
    code: ExitCode = ExitCode.CONFIG
    check: bool = True
    remedy: str = ""


def _swap(site: Site) -> None:
    """The same number of bytes, another model."""
    data = bytearray(site.onnx.read_bytes())
    at = data.index(b"Relu")
    data[at : at + 4] = b"Sqrt"
    site.onnx.write_bytes(data)


def _directory(site: Site) -> None:
    site.file.unlink()
    site.file.mkdir()


def _twin(site: Site) -> None:
    """Another file that says it is the same model: results could not tell them apart."""
    site.model(lambda path: onnx_models.identity(path, "float32"), name="twin")
    site.add(
        '[models.twin]\npath = "twin"\n[pipelines.rear]\nsource = "pictures"\nmodel = "twin"\nsinks = ["log"]\n'
    )


def _no_pictures(site: Site) -> None:
    (site.pictures / "1.png").unlink()
    (site.pictures / "notes.txt").touch()


def _truncate_video(site: Site) -> None:
    clip = write_clip(site.folder / "clip.avi", frames=30)
    whole = clip.read_bytes()
    clip.write_bytes(whole[: len(whole) // 2])
    site.source("clip.avi")


def _truncate_onnx(site: Site) -> None:
    """As a broken copy leaves it: model.toml was made from the whole file."""
    site.onnx.write_bytes(site.onnx.read_bytes()[:-20])


def _truncate_onnx_before(site: Site) -> None:
    """The file was broken before it was described: its hash agrees."""

    def half(path: Path) -> Path:
        onnx_models.relu(path)
        path.write_bytes(path.read_bytes()[:-20])
        return path

    site.model(half)


CASES: dict[str, Case] = {
    "missing configuration": Case(lambda s: s.file.unlink(), ("no such file",), remedy="check the path"),
    "directory as configuration": Case(
        _directory, ("is a folder, not a file",), remedy="give the path"
    ),
    "binary configuration": Case(
        lambda s: s.file.write_bytes(bytes(range(256))), ("is not UTF-8 text", "offset"), remedy="check the path"
    ),
    "text with zeros": Case(lambda s: s.file.write_bytes(b"a = 1\0"), ("is a binary file",), remedy="TOML"),
    "empty configuration": Case(lambda s: s.file.write_text(""), ("is empty",), remedy="[pipelines.NAME]"),
    "not TOML": Case(
        lambda s: s.add("stall_s = two\n"), ("line 10, column 11", "not TOML"), remedy="texts need quotes"
    ),
    "a table twice": Case(
        lambda s: s.add('[models.tiny]\npath = "other"\n'), ("not TOML", "twice"), remedy="rename one"
    ),
    "unknown key": Case(
        lambda s: s.replace('model = "tiny"\n', 'model = "tiny"\nmin_scor = 0.5\n'),
        ("pipelines.front.min_scor", "unknown key"), remedy="did you mean 'min_score'?",
    ),
    "unknown kind": Case(
        lambda s: s.replace('"jsonl"', '"jsonlines"'),
        ("sinks.log.kind", "'jsonlines' is unknown"), remedy="did you mean 'jsonl'?",
    ),
    "wrong type": Case(
        lambda s: s.replace('path = "tiny"', 'path = "tiny"\ninstances = "two"'),
        ("models.tiny.instances", "'two'"), remedy="number",
    ),
    "out of range": Case(
        lambda s: s.replace('path = "tiny"', 'path = "tiny"\nin_flight = 3'),
        ("models.tiny.in_flight", "3"), remedy="2",
    ),
    "contradiction": Case(
        lambda s: s.replace(
            'kind = "jsonl"\npath = "out.jsonl"',
            'kind = "zmq"\nbind = "tcp://127.0.0.1:5556"\nconnect = "tcp://127.0.0.1:5557"',
        ),
        ("sinks.log", "'bind' and 'connect' exclude each other"), remedy="remove one",
    ),
    "undeclared model": Case(
        lambda s: s.replace('model = "tiny"', 'model = "tinny"'),
        ("pipelines.front.model", "'tinny' is not declared"), remedy="did you mean 'tiny'?",
    ),
    "two sinks want one file": Case(
        lambda s: s.add('[sinks.other]\nkind = "jsonl"\npath = "out.jsonl"\n'),
        ("sinks.other.path", "is taken by sink 'log'"), remedy="give each its own",
    ),
    "two models want one name": Case(
        _twin,
        ("models.twin", "is 'tiny' version '' as models.tiny is, but another file"), remedy="change the name",
    ),
    "missing model": Case(
        lambda s: shutil.rmtree(s.folder / "tiny"), ("models.tiny.path", "does not exist"), remedy="model.toml"
    ),
    "truncated ONNX": Case(
        _truncate_onnx, ("models.tiny.path", "is not the file that model.toml describes"), remedy="right file"
    ),
    "ONNX truncated before it was described": Case(
        _truncate_onnx_before, ("models.tiny.path", "model.onnx", "not a whole ONNX"), remedy="again"
    ),
    "model file swapped for another of the same size": Case(
        _swap, ("models.tiny.path", "model.onnx", "its sha256 is"), remedy="put the right file back"
    ),
    "wrong tensor name": Case(
        lambda s: s.model(onnx_models.relu, tensor="images"),
        ("models.tiny.path", "input.tensor", "'images' is no input"), remedy="known: x",
    ),
    "unsupported op": Case(
        lambda s: s.model(onnx_models.unknown_op), ("Frobnicate",), ExitCode.ENGINE, check=False, remedy="export"
    ),
    "missing source": Case(
        lambda s: s.source("nowhere.mp4"), ("pipelines.front.source", "nowhere.mp4"), remedy="check the path"
    ),
    "picture of 0 bytes": Case(
        lambda s: (s.pictures / "1.png").write_bytes(b""), ("source 'front'", "1.png", "0 bytes"), ExitCode.SOURCE,
        check=False, remedy="replace or remove it",
    ),
    "folder without pictures": Case(
        _no_pictures,
        ("source 'front'", "no pictures in"), ExitCode.SOURCE, check=False, remedy="put some there",
    ),
    "truncated video": Case(
        _truncate_video, ("source 'front'", "clip.avi", "truncated"), ExitCode.SOURCE,
        check=False, remedy="copy the file again",
    ),
    "port in use": Case(
        lambda s: s.replace('kind = "jsonl"\npath = "out.jsonl"', f'kind = "zmq"\nbind = "tcp://127.0.0.1:{s.taken}"'),
        ("sink 'log'", "in use"), ExitCode.SINK, check=False, remedy="stop the program that holds it",
    ),
}  # fmt: skip


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield Site(tmp_path, taken.getsockname()[1])


def run(site: Site, command: str, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    capsys.readouterr()
    code = main([command, str(site.file), *arguments])
    out, err = capsys.readouterr()
    return code, out + err


def test_the_good_one_is_good(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = run(site, "check", capsys)
    assert (code, "ok" in text) == (ExitCode.OK, True)
    assert run(site, "run", capsys, "--quiet", "--frames", "1") == (ExitCode.OK, "")


@pytest.mark.parametrize("name", CASES)
def test_run_says_what_is_wrong(name: str, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    case = CASES[name]
    case.damage(site)
    code, text = run(site, "run", capsys, "--quiet")
    assert code == case.code, text
    assert text.startswith("edged: ")
    for words in (*case.says, case.remedy):
        assert words in text
    assert "Traceback" not in text


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if c.check])
def test_check_says_it_without_running(name: str, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    case = CASES[name]
    case.damage(site)
    code, text = run(site, "check", capsys)
    assert code == ExitCode.CONFIG
    for words in (*case.says, case.remedy):
        assert words in text
    assert str(site.file) in text, "which file?"
    assert "Traceback" not in text


NOBODY = 65534


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read everything, so be somebody else for a while."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_configuration_that_this_user_may_not_read(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    run(site, "check", capsys)  # imports what it needs while it may
    site.file.chmod(0)
    with as_nobody():
        code, text = run(site, "check", capsys)
    assert (code, text) == (
        ExitCode.CONFIG,
        f"{site.file}: may not be read by this user; chmod or chown it, or use another user\n",
    )
