from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import edged
from edged import health
from edged.cli import schema
from edged.cli.schema import MEND, message_schema, message_schemas
from edged.errors import EdgedError, ExitCode
from edged.messages import (
    Body,
    Classification,
    Detection,
    Encoding,
    Event,
    Mask,
    ModelId,
    PipelineState,
    Result,
    State,
    Tensor,
    decode,
    encode,
    topic,
)

SCHEMAS = Path(edged.__file__).parent / "schemas"

# What msgspec raises for bytes that are no message: malformed, text that is not UTF-8, nested too deeply.
REFUSALS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

# MessagePack has 64 bits; text without surrogates, which are no Unicode scalar values; JSON has no NaN
ints = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = texts


def optional(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.none() | strategy


detections = st.builds(
    Detection,
    label=texts,
    class_id=ints,
    score=floats,
    box=st.tuples(floats, floats, floats, floats),
    track_id=optional(ints),
    keypoints=optional(st.lists(st.tuples(floats, floats), max_size=3)),
)
results = st.builds(
    Result,
    device=names,
    pipeline=names,
    source=names,
    session_id=names,
    seq=ints,
    frame_seq=ints,
    captured_at=ints,
    published_at=ints,
    captured_mono_ns=ints,
    clock_synced=optional(st.booleans()),
    timestamp_source=texts,
    age_ms=floats,
    deadline_ms=optional(floats),
    valid=st.booleans(),
    invalid_reason=optional(texts),
    dropped=ints,
    rejected=ints,
    model=st.builds(ModelId, texts, texts, texts),
    frame=st.tuples(ints, ints),
    roi=optional(st.tuples(ints, ints, ints, ints)),
    dewarped=st.booleans(),
    detections=optional(st.lists(detections, max_size=3)),
    classes=optional(st.lists(st.builds(Classification, texts, ints, floats), max_size=3)),
    mask=optional(
        st.builds(Mask, st.tuples(ints, ints), st.binary(max_size=20), st.lists(texts, max_size=2))
    ),
    tensors=optional(
        st.dictionaries(
            texts, st.builds(Tensor, texts, st.lists(ints, max_size=4), st.binary(max_size=20)), max_size=2
        )
    ),
)
states = st.builds(
    State,
    device=names,
    session_id=names,
    state=st.sampled_from(["online", "offline"]),
    at=ints,
    pipelines=st.dictionaries(
        texts, st.builds(PipelineState, st.sampled_from(get_args(health.State)), texts), max_size=3
    ),
)
events = st.builds(
    Event,
    device=names,
    session_id=names,
    seq=ints,
    at=ints,
    unit=texts,
    state=texts,
    was=optional(texts),
    reason=texts,
)


@settings(deadline=None)
@given(results | states | events, st.sampled_from(["json", "msgpack"]))
def test_round_trip(body: Body, encoding: Encoding) -> None:
    data = encode(body, encoding)
    assert decode(data) == body
    assert decode(data, encoding) == body


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from([None, "json", "msgpack"]))
def test_arbitrary_bytes_are_refused_or_read(data: bytes, encoding: Encoding | None) -> None:
    try:
        decode(data, encoding)
    except REFUSALS:
        return


@settings(deadline=None)
@given(results, st.sampled_from(["json", "msgpack"]), st.data())
def test_damaged_messages_are_refused_or_read(body: Body, encoding: Encoding, data: st.DataObject) -> None:
    wire = bytearray(encode(body, encoding))
    for at in data.draw(st.lists(st.integers(0, len(wire) - 1), min_size=1, max_size=4)):
        wire[at] = data.draw(st.integers(0, 255))
    try:
        decode(bytes(wire[: data.draw(st.integers(0, len(wire)))]))
    except REFUSALS:
        return


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"{",
        b'{"type":"event","x":' + b"[" * 100_000,
        b"\x82\xa4type\xa5event\xa1x" + b"\x91" * 100_000,
        b'{"type":"event","device":"\xff"}',
        b'{"type":"other"}',
    ],
)
def test_hostile_messages_are_refused(wire: bytes) -> None:
    with pytest.raises(REFUSALS):
        decode(wire)


def test_a_newer_sender_may_add_fields() -> None:
    wire = {
        "type": "event",
        "device": "d",
        "session_id": "s",
        "seq": 1,
        "at": 2,
        "unit": "u",
        "state": "x",
        "new": 1,
    }
    assert decode(json.dumps(wire).encode()) == Event(
        device="d", session_id="s", seq=1, at=2, unit="u", state="x"
    )


def test_another_schema_version_is_refused() -> None:
    wire = {
        "type": "event",
        "schema": 2,
        "device": "d",
        "session_id": "s",
        "seq": 1,
        "at": 2,
        "unit": "u",
        "state": "",
    }
    with pytest.raises(msgspec.ValidationError, match="schema"):
        decode(json.dumps(wire).encode())


def test_saw_nothing_differs_from_no_detections() -> None:
    wire = json.loads(encode(_least(detections=[]), "json"))
    assert wire["detections"] == []
    assert "detections" not in json.loads(encode(_least(), "json"))


def test_topics() -> None:
    assert topic("d", "result", "front") == "edged/d/front/result"
    assert topic("d", "state") == "edged/d/state"
    assert topic("d", "event", "front", prefix="plant") == "plant/d/event"


@pytest.mark.parametrize("name", message_schemas())
def test_schemas_are_in_step(name: str) -> None:
    file = SCHEMAS / f"{name}.json"
    assert json.loads(file.read_text()) == message_schemas()[name], f"mend it with: {MEND}"


def test_schemas_are_those_and_no_others() -> None:
    assert {p.stem for p in SCHEMAS.iterdir()} == set(message_schemas())


def test_the_command_prints_and_writes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    schema.arguments(parser)
    assert schema.run(parser.parse_args(["messages"])) == ExitCode.OK
    assert json.loads(capsys.readouterr().out) == message_schema()
    assert schema.run(parser.parse_args(["messages", "--write", str(tmp_path / "new")])) == ExitCode.OK
    for file in SCHEMAS.iterdir():
        assert (tmp_path / "new" / file.name).read_bytes() == file.read_bytes()
    (tmp_path / "file").touch()
    with pytest.raises(EdgedError, match="cannot write"):
        schema.run(parser.parse_args(["messages", "--write", str(tmp_path / "file")]))


def _least(detections: list[Detection] | None = None) -> Result:
    return Result(
        device="d",
        pipeline="p",
        source="s",
        session_id="i",
        seq=1,
        frame_seq=1,
        captured_at=1,
        captured_mono_ns=1,
        timestamp_source="read",
        model=ModelId("m"),
        frame=(1, 1),
        detections=detections,
    )
