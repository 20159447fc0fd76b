"""All rounds of all faults: a table on stdout, and what a test needs to know of each fault and memory."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict
from statistics import median

from tests.system.guest.held import Held, settled
from tests.system.guest.report import Json, write
from tests.system.guest.rounds import FAULTS, SHOWS_S, Times, Watch, play, rounds_of

FIRST_PICTURES = 5
Says = list[str]


def play_all(
    watches: dict[str, Watch],
    held: Callable[[], Held],
    others_lost: Callable[[], Says],
    defects: Callable[[str], Says],
) -> Json:
    """`watches` by memory, and "bystander". `others_lost`: what the bystander suffered since it was loaded last;
    `defects`: what may never be, of one camera. Both grow; what is new after a fault's rounds is that fault's.

    EDGED_ROUNDS: the share of the rounds that are promised.
    """
    share = float(os.environ.get("EDGED_ROUNDS", "1"))
    for w in watches.values():
        enough = w.wait(lambda w=w: len(w.good_s) >= FIRST_PICTURES, 2 * SHOWS_S)  # type: ignore[misc]
        assert enough, (w.device, w.faults, len(w.good_s), len(w.bad_s))
    before = held()
    result: Json = {"faults": {}, "others lost": {}, "before": before, "end": {}}
    seen = {m: len(defects(m)) for m in watches}
    lost = others_lost()
    for name, fault in FAULTS.items():
        # vivid is one device: to unplug one camera is to unplug all
        times = {m: Times() for m in (*fault.memories, *(["bystander"] if fault.all else []))}
        begin = time.monotonic()
        for _ in range(rounds_of(name, share)):
            play(fault, [watches[m] for m in times], times)
        result["after"], more = settled(before, held)
        shared = [f"held: {text}" for text in more]
        now, seen_now = others_lost(), {m: defects(m) for m in watches}
        if not fault.all:
            result["others lost"][name] = [] if now == lost else [f"{lost} before, {now} after"]
        lost = now
        for m, t in times.items():
            t.failures += shared + seen_now[m][seen[m] :]
            _tell(name, m, t, time.monotonic() - begin, result["others lost"].get(name))
        seen = {m: len(texts) for m, texts in seen_now.items()}
        result["faults"][name] = {m: asdict(t) for m, t in times.items()}
        write(result)
    return result


def _tell(fault: str, memory: str, t: Times, took_s: float, others: Says | None) -> None:
    s = t.recovery_s or [float("nan")]
    verdict = "ok" if not t.failures else f"FAILED {t.failures[:3]}"
    verdict += f"; the other camera lost {others}" if others else ""
    print(
        f"{fault:22} {memory:9} {len(t.recovery_s):3} rounds  back in {median(s):.2f} s, at most {max(s):.2f} s  "
        f"{t.missing:3} missing  {took_s:4.0f} s  {verdict}",
        flush=True,
    )
