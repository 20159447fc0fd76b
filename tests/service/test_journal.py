"""Lines and their fields, to a stand-in for systemd's journal."""

from __future__ import annotations

import logging
import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from edged.errors import SourceError
from edged.messages import Event
from edged.service.journal import (
    JournalHandler,
    fields_of,
    journal_handler,
    log_event,
    logged_to,
)


class Journal:
    """Stands for systemd.journal."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def send(self, message: str, **fields: Any) -> None:
        self.entries.append({"MESSAGE": message, **fields})


def record(
    message: str, *arguments: object, level: int = logging.ERROR, **extra: object
) -> logging.LogRecord:
    return logging.getLogger("edged.daemon").makeRecord(
        "edged.daemon", level, "daemon.py", 7, message, arguments, None, "f", extra
    )


@pytest.mark.parametrize(
    ("unit", "fields"),
    [
        ("source front", {"EDGED_UNIT": "source front", "EDGED_CAMERA": "front"}),
        ("pipeline left door", {"EDGED_UNIT": "pipeline left door", "EDGED_PIPELINE": "left door"}),
        ("model yolox", {"EDGED_UNIT": "model yolox", "EDGED_MODEL": "yolox"}),
        ("sink bus", {"EDGED_UNIT": "sink bus", "EDGED_SINK": "bus"}),
        ("edged", {"EDGED_UNIT": "edged"}),
        ("", {}),
    ],
)
def test_a_line_says_whom_it_is_about(unit: str, fields: dict[str, str]) -> None:
    found = fields_of(record("x", edged_unit=unit))
    assert {k: v for k, v in found.items() if k.startswith("EDGED_")} == fields


def test_an_error_among_the_arguments_gives_its_kind() -> None:
    assert fields_of(record("%s%s", SourceError("no camera"), ""))["EDGED_ERROR"] == "SOURCE"
    assert "EDGED_ERROR" not in fields_of(record("%s", "no camera"))
    assert fields_of(record("%(e)s", {"e": SourceError("x")}))["EDGED_ERROR"] == "SOURCE"


@pytest.mark.parametrize(
    ("level", "priority"),
    [(logging.DEBUG, "7"), (logging.INFO, "6"), (logging.WARNING, "4"), (logging.ERROR, "3"), (50, "2")],
)
def test_levels_become_priorities(level: int, priority: str) -> None:
    assert fields_of(record("x", level=level))["PRIORITY"] == priority


def test_a_pipelines_changes_are_lines_and_those_of_others_are_not() -> None:
    journal = Journal()
    with logged_to(JournalHandler(journal.send)):
        for unit, state in (("pipeline front", "running"), ("source front", "running")):
            log_event(Event(device="d", session_id="s", seq=0, at=0, unit=unit, state=state))
        log_event(
            Event(
                device="d",
                session_id="s",
                seq=1,
                at=0,
                unit="pipeline front",
                state="faulted",
                reason="no camera",
            )
        )
    assert [(e["MESSAGE"], e["PRIORITY"], e["EDGED_PIPELINE"]) for e in journal.entries] == [
        ("pipeline front: running", "6", "front"),
        ("pipeline front: faulted: no camera", "4", "front"),
    ]


def test_what_the_journal_does_not_take_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(message: str, **fields: object) -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    JournalHandler(refuse).emit(record("no %s", "camera"))
    assert capsys.readouterr().err == (
        "edged: no camera (the journal does not take it: [Errno 111] Connection refused)\n"
    )


def test_a_line_that_is_no_text_reaches_the_journal() -> None:
    journal = Journal()

    def send(message: str, **fields: Any) -> None:
        for text in (message, *fields.values()):
            str(text).encode()  # as systemd-python does
        journal.send(message, **fields)

    JournalHandler(send).emit(record("cannot read %s", "b\udcff.png", edged_unit="source \ud800"))
    assert journal.entries[0]["MESSAGE"] == r"cannot read b\udcff.png"
    assert journal.entries[0]["EDGED_CAMERA"] == r"\ud800"


@pytest.mark.parametrize("error", [ValueError("an embedded NUL"), None])
def test_a_line_that_cannot_be_written_is_told_and_never_fails_who_logs_it(
    capsys: pytest.CaptureFixture[str], error: Exception | None
) -> None:
    def refuse(message: str, **fields: object) -> None:
        assert error is not None
        raise error

    JournalHandler(refuse).emit(record("no %s", *(["camera"] if error else [])))
    assert "--- Logging error ---" in capsys.readouterr().err


def stream() -> str:
    """What systemd would set if it had made this process's stderr."""
    found = os.fstat(2)
    return f"{found.st_dev}:{found.st_ino}"


def test_only_a_stderr_that_is_the_journal_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal()
    monkeypatch.setitem(sys.modules, "systemd", SimpleNamespace(journal=journal))
    assert journal_handler({}) is None
    assert journal_handler({"JOURNAL_STREAM": "1:2"}) is None  # inherited; stderr goes elsewhere by now
    handler = journal_handler({"JOURNAL_STREAM": stream()})
    assert handler is not None
    handler.emit(record("hello"))
    assert journal.entries[0]["MESSAGE"] == "hello"


def test_without_the_package_lines_stay_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "systemd", None)
    assert journal_handler({"JOURNAL_STREAM": stream()}) is None
