"""The wire format of Protocol Buffers, read without a schema: just what an ONNX file needs.

Source: https://protobuf.dev/programming-guides/encoding/. Lengths are checked against the buffer; long
payloads are skipped, not copied, so that a file of hundreds of megabytes is walked in milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_FIXED = {FIXED64: 8, FIXED32: 4}
_MAX_VARINT_BYTES = 10

Value = int | memoryview


class WireError(ValueError):
    """The bytes are no such message: cut short, or something else."""


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """The unsigned varint at `at` and the position behind it."""
    value = 0
    for i in range(_MAX_VARINT_BYTES):
        if at + i >= len(data):
            raise WireError("the file ends inside a number")
        byte = data[at + i]
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, at + i + 1
    raise WireError("a number is longer than 10 bytes")


def fields(data: memoryview) -> Iterator[tuple[int, Value]]:
    """(field number, value) of one message, in order: an int for numbers, a view for everything else."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise WireError("field number 0")
        if wire == VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == BYTES:
            size, at = _varint(data, at)
        elif wire in _FIXED:
            size = _FIXED[wire]
        else:
            raise WireError(f"wire type {wire}")
        if size > len(data) - at:
            raise WireError(f"a field of {size} bytes, {len(data) - at} are left")
        yield number, data[at : at + size]
        at += size


def text(value: Value) -> str:
    """A string field."""
    return message(value).tobytes().decode("utf-8", "replace")


def message(value: Value) -> memoryview:
    """An embedded message, string or bytes field."""
    if isinstance(value, int):
        raise WireError("a number where a message belongs")
    return value


def number(value: Value) -> int:
    """An int64 field."""
    if not isinstance(value, int):
        raise WireError("a message where a number belongs")
    return value - (1 << 64) if value >> 63 else value
