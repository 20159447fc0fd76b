"""Replaces one file again and again on a disk whose power fails, as everything durable is replaced."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

from edged.models.durable import replace_file

FILE = "state.json"
DATA = Path("/data")


def content(number: int) -> bytes:
    """Of a length that differs from the one before, and sealed."""
    body = json.dumps({"number": number, "filler": "x" * (number * 7919 % 65536)})
    return f"{hashlib.sha256(body.encode()).hexdigest()}\n{body}".encode()


def number_of(data: bytes) -> int:
    """Which content it is; AssertionError when it is none."""
    seal, _, body = data.partition(b"\n")
    assert hashlib.sha256(body).hexdigest().encode() == seal, f"{len(data)} bytes that are no whole content"
    return int(json.loads(body)["number"])


if __name__ == "__main__":
    DATA.mkdir()
    subprocess.run(["mount", "/dev/vdb", str(DATA)], check=True)
    number = 0
    while True:
        number += 1
        replace_file(DATA / FILE, content(number))
