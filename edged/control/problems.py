"""Errors as HTTP says them: a status and a problem document (RFC 9457), from one table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus

from edged.control.answers import ProblemDocument, ProblemPart
from edged.errors import ConfigError, EdgedError, ExitCode, MemoryRefused, MissingPackage
from edged.steering import Busy, NoSuchThing, RequestError, Stale

MEDIA_TYPE = "application/problem+json"


class HttpError(EdgedError):
    """A request that is refused before the daemon hears of it."""

    exit_code = ExitCode.REFUSED

    def __init__(
        self, status: int, message: str, *, hint: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = HTTPStatus(status)
        self.headers = dict(headers or {})


# the first that fits; ModelError, SourceError and so on: what was asked for does not work here
STATUS: tuple[tuple[type[EdgedError], HTTPStatus], ...] = (
    (NoSuchThing, HTTPStatus.NOT_FOUND),
    (Stale, HTTPStatus.PRECONDITION_FAILED),
    (Busy, HTTPStatus.CONFLICT),
    (RequestError, HTTPStatus.CONFLICT),
    (MemoryRefused, HTTPStatus.INSUFFICIENT_STORAGE),
    (MissingPackage, HTTPStatus.NOT_IMPLEMENTED),
    (EdgedError, HTTPStatus.UNPROCESSABLE_ENTITY),
)


def status_of(error: EdgedError) -> HTTPStatus:
    if isinstance(error, HttpError):
        return error.status
    if type(error) is EdgedError:  # of no kind: something in edged
        return HTTPStatus.INTERNAL_SERVER_ERROR
    return next(status for cls, status in STATUS if isinstance(error, cls))


def document(error: EdgedError) -> ProblemDocument:
    """What the client is told; `code` is the error's class, or the status of an HttpError, in kebab-case."""
    status = status_of(error)
    name = (
        status.name if isinstance(error, HttpError) else re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__)
    )
    found = error.problems if isinstance(error, ConfigError) else ()
    return ProblemDocument(
        title=status.phrase,
        status=status,
        detail=error.message,
        code=name.lower().replace("_", "-"),
        hint=error.hint,
        problems=tuple(ProblemPart(p.path, p.message, p.hint) for p in found),
    )
