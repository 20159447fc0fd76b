from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from edged.errors import SinkError
from edged.messages import decode
from edged.sinks.jsonl import JsonLinesOptions, JsonLinesSink
from tests.sinks.make import IDENTITY, event, result


def sink(path: object, **options: float) -> JsonLinesSink:
    return JsonLinesSink("log", JsonLinesOptions(path=str(path), **options), IDENTITY)


def test_appends_one_line_a_message(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text('{"old": true}\n')
    s = sink(path)
    s.open()
    for seq in range(3):
        s.publish(result(seq))
        assert len(path.read_text().splitlines()) == seq + 2  # each line is there at once
    s.close()
    lines = path.read_text().splitlines()
    assert json.loads(lines[0]) == {"old": True}
    assert [json.loads(line)["seq"] for line in lines[1:]] == [0, 1, 2]


def test_writes_to_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    m = event(3)
    s = sink("-")
    s.open()
    s.publish(m)
    s.close()
    assert decode(capfd.readouterr().out.encode()) == m.body
    os.fstat(1)  # still open


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_disk_full_is_named() -> None:
    s = sink("/dev/full")
    s.open()
    with pytest.raises(SinkError, match=r"log.*/dev/full.*No space left") as caught:
        s.publish(result())
    assert "free space" in caught.value.hint
    s.close()


@pytest.mark.parametrize("path", ["no/such/out", ".", "file/out"])
def test_a_path_that_cannot_be_opened(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    s = sink(tmp_path / path)
    with pytest.raises(SinkError, match="cannot write") as caught:
        s.open()
    assert caught.value.hint
    s.close()


def test_a_named_pipe_without_a_reader_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    s = sink(tmp_path / "pipe")
    with pytest.raises(SinkError) as caught:
        s.open()
    assert "start the program" in caught.value.hint


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A named pipe and a descriptor that reads it, without waiting."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    yield path, reader
    os.close(reader)


def test_a_reader_that_pauses_makes_the_sink_busy_and_tears_one_line(pipe: tuple[Path, int]) -> None:
    path, reader = pipe
    s = sink(path, stall_s=0.05)
    s.open()
    assert s.ready()
    sent = 0
    while s.ready():
        s.publish(event(sent))
        sent += 1
    with pytest.raises(SinkError, match="has not read"):
        s.publish(result(sent, invalid_reason="x" * 10_000))
    got = os.read(reader, 1 << 20)
    s.publish(torn := result(sent, invalid_reason="x" * 10_000))
    got += os.read(reader, 1 << 20)
    with pytest.raises(SinkError, match="has not read"):
        s.publish(result(sent, invalid_reason="x" * 100_000))
    s.close()
    got += os.read(reader, 1 << 20)
    s.open()
    last = event(7)
    s.publish(last)
    s.close()
    lines = [line for line in (got + os.read(reader, 1 << 20)).split(b"\n") if line]
    for line in lines[:sent]:
        decode(line)
    assert decode(lines[sent]) == torn.body
    with pytest.raises(msgspec.DecodeError):
        decode(lines[sent + 1])
    assert [decode(line) for line in lines[sent + 2 :]] == [last.body]


def test_a_reader_that_has_gone_is_a_fault(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    s = sink(tmp_path / "pipe")
    s.open()
    os.close(reader)
    with pytest.raises(SinkError, match="Broken pipe"):
        s.publish(result())
    s.close()


def test_a_line_larger_than_one_write_arrives_whole(pipe: tuple[Path, int]) -> None:
    path, reader = pipe
    s = sink(path)
    s.open()
    m = result(1, invalid_reason="x" * 40_000)
    s.publish(m)
    s.close()
    assert decode(os.read(reader, 1 << 20)) == m.body
