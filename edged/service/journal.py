"""Log lines to systemd's journal, with fields to find them by.

    journalctl -u edged EDGED_PIPELINE=front        and EDGED_CAMERA, EDGED_MODEL, EDGED_SINK, EDGED_UNIT
    journalctl -u edged EDGED_ERROR=SOURCE          the exit status's name (README.md)

A line says whom it is about by `extra={"edged_unit": "source front"}`; an error among its arguments says its kind.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from edged.errors import EdgedError, encodable
from edged.messages import Event

# kinds of units, as their names begin, and the journal's field for the rest of the name
FIELDS = {
    "source": "EDGED_CAMERA",
    "pipeline": "EDGED_PIPELINE",
    "model": "EDGED_MODEL",
    "sink": "EDGED_SINK",
}
# Python's levels and syslog's priorities, the highest that a level reaches
PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (0, 7))
# states of a pipeline that a person should look into
LEVELS = {"faulted": logging.WARNING, "degraded": logging.WARNING}

log = logging.getLogger(__name__)

Send = Callable[..., object]


def fields_of(record: logging.LogRecord) -> dict[str, str | int]:
    """The journal's fields of a line, besides its text."""
    fields: dict[str, str | int] = {
        "PRIORITY": str(next(p for level, p in PRIORITIES if record.levelno >= level)),
        "SYSLOG_IDENTIFIER": "edged",
        "LOGGER": record.name,
        "THREAD_NAME": record.threadName or "",
        "CODE_FILE": record.pathname,
        "CODE_LINE": record.lineno,
    }
    unit = getattr(record, "edged_unit", "")
    if unit:
        kind, _, name = unit.partition(" ")
        fields["EDGED_UNIT"] = unit
        fields |= {FIELDS[kind]: name} if kind in FIELDS else {}
    arguments = record.args.values() if isinstance(record.args, Mapping) else record.args or ()
    error = next((a for a in arguments if isinstance(a, EdgedError)), None)
    return fields if error is None else {**fields, "EDGED_ERROR": error.exit_code.name}


class JournalHandler(logging.Handler):
    """Any thread. A line that the journal does not take goes to stderr, and what is wrong never to who logs it."""

    def __init__(self, send: Send) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = encodable(self.format(record))
            fields = {k: encodable(v) if isinstance(v, str) else v for k, v in fields_of(record).items()}
            try:
                self._send(text, **fields)
            except OSError as e:
                print(f"edged: {text} (the journal does not take it: {e})", file=sys.stderr, flush=True)
        except Exception:
            self.handleError(record)


def journal_handler(environment: Mapping[str, str] = os.environ) -> logging.Handler | None:
    """None where stderr is not the journal, or systemd-python is absent: then stderr is for plain lines."""
    if not _is_journal(environment.get("JOURNAL_STREAM", "")):
        return None
    try:
        from systemd import journal
    except ImportError:
        return None
    return JournalHandler(journal.send)


def _is_journal(stream: str) -> bool:
    """Whether stderr is the stream that systemd made (its device and inode, see systemd.exec(5))."""
    if not stream:
        return False
    found = os.fstat(2)
    return stream == f"{found.st_dev}:{found.st_ino}"


@contextmanager
def logged_to(handler: logging.Handler) -> Iterator[None]:
    """Log lines of edged go there, INFO and above; those of other packages from WARNING on."""
    root, edged = logging.getLogger(), logging.getLogger("edged")
    before = edged.level
    root.addHandler(handler)
    edged.setLevel(logging.INFO)
    try:
        yield
    finally:
        edged.setLevel(before)
        root.removeHandler(handler)


def log_event(event: Event) -> None:
    """A line for each change of a pipeline. What the other units have to say is logged where it happens."""
    if event.unit.startswith("pipeline "):
        because = f": {event.reason}" if event.reason else ""
        level = LEVELS.get(event.state, logging.INFO)
        log.log(level, "%s: %s%s", event.unit, event.state, because, extra={"edged_unit": event.unit})
