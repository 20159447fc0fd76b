"""Two pipelines at ten frames a second that nobody touches, while others come, go and grow a hundred times over HTTP.

One has a camera and a model of its own; the other shares both with pipelines that come and go. Afterwards the daemon
holds what it held before.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from edged.config.patch import merge
from tests.system.daemon import Running, change, config_file, running

TIMES, RATE = 100, 10.0
LOST = 0.01  # less than that
WARM_UP = (
    10  # changes until a camera has the slots for all who ever share it, and allocators have their pools
)
QUARTER = TIMES // 4  # the first fills pools; within each there is a moment after garbage was collected
GROWTH_KIB = 30.0  # of memory for each change, at most

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

CONFIG = """
[pipelines]
alone = {source = "own", model = "own", sinks = ["log"]}
beside = {source = "shared", model = "shared", sinks = ["log"]}
[sources]
own = {kind = "pattern", size = [320, 240], rate = 10}
shared = {kind = "pattern", size = [320, 240], rate = 10}
[models]
own = {path = "tiny", options = {threads = 1}}
shared = {path = "tiny", options = {threads = 1}}
[sinks.log]
kind = "jsonl"
path = "results.jsonl"
"""
UNTOUCHED = ("alone", "beside")
GUEST = {"source": "shared", "model": "shared", "sinks": ["log"]}


def patch(number: int) -> dict[str, Any]:
    """One guest comes, the other goes; a third pipeline gets pictures and a model's input of another size."""
    comes, goes = ("even", "odd") if number % 2 == 0 else ("odd", "even")
    size = [640, 480] if number % 2 == 0 else [160, 120]
    return {
        "pipelines": {comes: GUEST, goes: None, "sized": {**GUEST, "source": "sized"}},
        "sources": {"sized": {"kind": "pattern", "size": size, "rate": 20}},
    }


def held(daemon: Running) -> dict[str, int]:
    """By kind: threads, files, bytes admitted."""
    admitted = sum(r.nbytes for r in daemon.client.status().snapshot.regions.values())
    time.sleep(0.2)  # the connection of that question goes
    process = Path(f"/proc/{daemon.pid}")
    files = Counter(os.readlink(fd).partition(":[")[0] for fd in (process / "fd").iterdir())
    return {"threads": len(os.listdir(process / "task")), "bytes admitted": admitted, **files}


def rss_kib(daemon: Running) -> float:
    pages = Path(f"/proc/{daemon.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGESIZE") / 1024


def settled(daemon: Running, expected: Mapping[str, int], patience_s: float = 5.0) -> dict[str, int]:
    """What is held, once that is what is expected, or in the end."""
    end = time.monotonic() + patience_s
    while (now := held(daemon)) != expected and time.monotonic() < end:
        pass
    return now


def test_they_lose_nothing_and_nothing_stays_behind(tmp_path: Path) -> None:
    with running(config_file(tmp_path, CONFIG)) as daemon:
        client = daemon.client
        bare = client.config().data
        for n in range(WARM_UP):
            change(client, merge(bare, patch(n)))
        change(client, bare)
        with ThreadPoolExecutor(8) as pool:  # the server's own few threads are begun when two ask at once
            list(pool.map(lambda _: client.status(), range(100)))
        before = client.status().snapshot
        holds = held(daemon)
        memory_kib = []
        for n in range(TIMES):
            change(client, merge(client.config().data, patch(n)))
            memory_kib.append(rss_kib(daemon))
        change(client, bare)
        after = client.status().snapshot
        assert settled(daemon, holds) == holds
    seconds = (after.at - before.at) / 1e9
    growth = (min(memory_kib[-QUARTER:]) - min(memory_kib[QUARTER : 2 * QUARTER])) / (2 * QUARTER)
    words = [f"{TIMES} changes in {seconds:.0f} s; memory grows {growth:.1f} KiB a change"]
    for name in UNTOUCHED:
        a, b = before.pipelines[name], after.pipelines[name]
        lost = sum(getattr(b, what) - getattr(a, what) for what in ("dropped", "failed", "lost"))
        got, due = b.inferred - a.inferred, seconds * RATE
        words.append(f"{name}: {got} results of {due:.0f}, {lost} lost; p99 age {b.stages['age'].p99_ms} ms")
        assert lost < LOST * due, words
        assert got > (1 - LOST) * due - 2, words  # the clocks of the two ends
    print("\n".join(words))
    assert growth < GROWTH_KIB, words
