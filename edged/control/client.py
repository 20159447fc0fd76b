"""A client of the control API: the Unix socket of a daemon on this machine, answers as types, errors as errors.

    with Client(find_socket(None)) as daemon:
        print(daemon.status().snapshot.pipelines)

Each call is a connection of its own; a client is for any thread.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from edged.control.answers import Check, EventLine, History, PipelineAnswer, ProblemDocument, Status
from edged.errors import ConfigError, EdgedError, ExitCode, Problem
from edged.messages import Event
from edged.steering import ConfigState, RequestError, RevisionInfo, Verb

DEFAULT_SOCKET = "/run/edged/control.sock"
ANSWER_S = 60.0
CHANGE_S = 610.0  # a model may load for minutes; the daemon itself says when it takes too long
QUIET_S = 30.0  # without a heartbeat a stream of events is dead
CONNECT_S = 5
_TIMEVAL = struct.Struct("ll")  # struct timeval
_T = TypeVar("_T")


class Unreachable(EdgedError):
    """No daemon answers on the control socket."""

    exit_code = ExitCode.UNREACHABLE


class Refused(RequestError):
    """The daemon did not do it; `document` is what it said."""

    def __init__(self, document: ProblemDocument) -> None:
        super().__init__(document.detail, hint=document.hint)
        self.document = document


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A picture as GET /v1/pipelines/NAME/snapshot.jpg gives it."""

    jpeg: bytes
    captured_at: int
    age_ms: float


def find_socket(given: str | None) -> Path:
    """`given` (--socket), else $EDGED_SOCKET, else the service's."""
    return Path(given or os.environ.get("EDGED_SOCKET") or DEFAULT_SOCKET)


class Client:
    """Methods raise Unreachable, Refused, and ConfigError for a configuration with problems."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def status(self) -> Status:
        return self._get("/v1/status", Status)

    def ready(self) -> Check:
        return self._get("/v1/health/ready", Check, 503)

    def config(self) -> ConfigState:
        return self._get("/v1/config", ConfigState)

    def history(self) -> tuple[RevisionInfo, ...]:
        return self._get("/v1/config/history", History).revisions

    def put_config(self, data: Mapping[str, Any], etag: str) -> ConfigState:
        """`etag`: of the configuration that `data` was made from, "*": whichever it is."""
        headers = {"Content-Type": "application/json", "If-Match": etag if etag == "*" else f'"{etag}"'}
        return self._send("PUT", "/v1/config", ConfigState, json.dumps(data).encode(), headers)

    def revert(self, revision: int | None) -> ConfigState:
        body, headers = json.dumps({"revision": revision}).encode(), {"Content-Type": "application/json"}
        return self._send("POST", "/v1/config/revert", ConfigState, body, headers)

    def pipeline(self, name: str, verb: Verb) -> str:
        """The pipeline's health afterwards, in words."""
        path = f"/v1/pipelines/{quote(name, safe='')}/{verb}"
        return self._send("POST", path, PipelineAnswer).health

    def snapshot(self, name: str, *, boxes: bool = True) -> Snapshot:
        path = f"/v1/pipelines/{quote(name, safe='')}/snapshot.jpg?{urlencode({'boxes': boxes}).lower()}"
        with _Exchange(self.path, "GET", path, ANSWER_S) as answer:
            jpeg = answer.read()
            captured_at, age_ms = (answer.headers[f"Edged-{n}"] for n in ("Captured-At", "Age-Ms"))
            return Snapshot(jpeg, int(captured_at), float(age_ms))

    def events(self, since: int = 0, session: str = "", *, follow: bool = True) -> Iterator[EventLine]:
        """Ends with the backlog unless `follow`, or with the daemon: then the last line is an End."""
        asked = urlencode({"since": since, "session": session, "follow": str(follow).lower()})
        with _Exchange(self.path, "GET", f"/v1/events?{asked}", QUIET_S) as answer:
            for line in iter(answer.readline, b""):
                yield self._decoded(line, EventLine)

    def backlog(self) -> list[Event]:
        """The events kept, oldest first."""
        return [line for line in self.events(follow=False) if isinstance(line, Event)]

    def text(self, path: str) -> str:
        """The body of a GET, as it is."""
        with _Exchange(self.path, "GET", path, ANSWER_S) as answer:
            return str(answer.read().decode())

    def _get(self, path: str, kind: type[_T], also: int = 200) -> _T:
        with _Exchange(self.path, "GET", path, ANSWER_S, also=also) as answer:
            value: _T = self._decoded(answer.read(), kind)
            return value

    def _send(
        self,
        method: str,
        path: str,
        kind: type[_T],
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> _T:
        with _Exchange(self.path, method, path, CHANGE_S, body=body, headers=headers) as answer:
            value: _T = self._decoded(answer.read(), kind)
            return value

    def _decoded(self, body: bytes, kind: Any) -> Any:
        """Unreachable when it is not of that type."""
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.MsgspecError as e:
            raise Unreachable(
                f"what listens at {self.path} answers what this edged does not understand: {e}",
                hint="is it another version? use the edged that runs there",
            ) from e


class _Connection(http.client.HTTPConnection):
    """http.client over a Unix socket."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # a socket with Python's timeout does not wait for room in the backlog
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TIMEVAL.pack(CONNECT_S, 0))
        self.sock.connect(os.fspath(self._path))
        self.sock.settimeout(self.timeout)


class _Exchange:
    """One request and its answer, which is read within the `with`. A status that is no success is raised."""

    def __init__(
        self,
        path: Path,
        method: str,
        target: str,
        timeout_s: float,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        also: int = 200,
    ) -> None:
        self._path, self._also = path, also
        self._connection = _Connection(path, timeout_s)
        self._request = (method, target, body, dict(headers or {}))

    def __enter__(self) -> http.client.HTTPResponse:
        try:
            self._connection.request(*self._request)
            answer = self._connection.getresponse()
        except (OSError, http.client.HTTPException) as e:
            self._connection.close()
            raise self._unreachable(e) from e
        if answer.status not in (200, self._also):
            with closing(self._connection):
                raise _refusal(answer)
        return answer

    def __exit__(self, kind: object, e: BaseException | None, tb: object) -> None:
        self._connection.close()
        if isinstance(e, (OSError, http.client.HTTPException)):
            raise self._unreachable(e) from e

    def _unreachable(self, e: Exception) -> Unreachable:
        match e:
            case PermissionError():
                return Unreachable(
                    f"this user may not open {self._path}",
                    hint="become a member of the group that it belongs to (control.group), or use sudo",
                )
            case FileNotFoundError() | ConnectionRefusedError():
                return Unreachable(
                    f"no daemon listens at {self._path}",
                    hint="start it (systemctl start edged, or edged run FILE), or say where it listens: "
                    "--socket PATH or EDGED_SOCKET",
                )
        return Unreachable(
            f"the daemon at {self._path} does not answer: {e or type(e).__name__}",
            hint="journalctl -u edged says how it is",
        )


def _refusal(answer: http.client.HTTPResponse) -> EdgedError:
    body = answer.read()
    try:
        told = msgspec.json.decode(body, type=ProblemDocument)
    except msgspec.MsgspecError:
        detail = f"{answer.status} {answer.reason}: {body[:200].decode(errors='replace')}"
        told = ProblemDocument(title=answer.reason, status=answer.status, detail=detail, code="no-document")
    if told.problems:
        return ConfigError(
            "the new configuration", [Problem(p.path, p.message, p.hint) for p in told.problems]
        )
    return Refused(told)
