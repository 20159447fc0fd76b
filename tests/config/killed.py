"""Kill a process that changes the configuration, at random moments, and start after each: killed.py FILE TIMES.

One process forks all others, so that each begins at once.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time

from edged.config.boot import Boot, boot
from edged.config.ledger import Entry
from edged.config.patch import etag, merge


def change_for_ever(booted: Boot, tell: int) -> None:
    """Confirm one revision after the other; `tell` gets a line before and after each."""
    revisions, data = booted.revisions, booted.data
    os.write(tell, b"started\n")
    while True:
        now = revisions.ledger
        assert now is not None
        data = merge(data, {"pipelines": {"front": {"every": now.next}}})
        entry = Entry(number=now.next, at=1, by="a test", etag=etag(data), grew_from=now.now.grew_from)
        revisions.stage(entry, data)
        if now.next % 3 == 0:
            revisions.discard("a test")
            continue
        os.write(tell, b"about %d\n" % now.next)
        revisions.confirm()
        os.write(tell, b"done %d\n" % now.next)


def main(file: str, times: int) -> None:
    chance = random.Random(7)
    both, trials = 0, 0
    booted = boot(file)
    confirmed = booted.data["pipelines"]["front"].get("every", 0)
    for _ in range(times):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            change_for_ever(booted, write)
        os.close(write)
        booted.revisions.close()  # the child has the folder
        told = os.read(read, 100)  # it has started, or has died of a defect
        time.sleep(chance.random() * 0.01)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while more := os.read(read, 1 << 16):
            told += more
        os.close(read)
        lines = told.decode().splitlines()
        assert lines[:1] == ["started"], "it did not start"
        done = [int(line.split()[1]) for line in lines if line.startswith("done")]
        confirmed = max([confirmed, *done])
        last = lines[-1].split()
        allowed = {confirmed, int(last[1])} if last[0] == "about" else {confirmed}
        booted = boot(file)
        runs = booted.data["pipelines"]["front"].get("every", 0)
        assert runs in allowed, (runs, allowed)
        both += len(allowed) == 2
        trials += any(n.state == "undone" for n in booted.notes)
        confirmed = runs
    print(f"{times} kills, {both} of them in a confirmation, {trials} trials undone, {confirmed} revisions")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
