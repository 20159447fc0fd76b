"""What a configuration says of a network camera, and its addresses, with and without credentials."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal
from urllib.parse import SplitResult, unquote, urlsplit

from msgspec import Meta

from edged.config.schema import Size, Table
from edged.config.words import hide_credentials

PORTS = {"rtsp": 554, "rtsps": 322}

Seconds = Annotated[float, Meta(ge=0.1, le=60)]


class RtspOptions(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys of a source of kind "rtsp": a network camera.

    url: rtsp://HOST/PATH; it may hold USER:PASSWORD@, which is never shown. rtsps:// is encrypted, but FFmpeg does not
        check whose certificate it is.
    username, password_file, password_env: the same, kept out of the configuration.
    transport: "udp" has less delay where nothing is lost.
    pipeline: a GStreamer pipeline that ends in appsink and gives BGR, used instead of FFmpeg; {url} stands for the
        address with user and password. Needs an OpenCV with GStreamer (a Jetson's).
    open_timeout_s: how long the camera may take until its first picture.
    read_timeout_s: without a picture for so long the camera has failed.
    max_size: [width, height] that the picture may have at most; a larger one is refused.
    threads: of the decoder; each beyond 1 delays pictures by one, for streams that one core cannot decode.
    """

    PATHS: ClassVar[tuple[str, ...]] = ("password_file",)

    url: str | None = None
    username: str | None = None
    password_file: str | None = None
    password_env: str | None = None
    transport: Literal["tcp", "udp"] = "tcp"
    pipeline: str | None = None
    open_timeout_s: Seconds = 5.0
    read_timeout_s: Seconds = 3.0
    max_size: Size | None = None
    threads: Annotated[int, Meta(ge=1, le=16)] = 1

    def __repr__(self) -> str:
        return f"RtspOptions({hide_credentials(self.url or self.pipeline or '')})"

    def problems(self) -> Iterator[tuple[str, str]]:
        """Contradictions: (key, "what is wrong; remedy")."""
        if self.url is None and (self.pipeline is None or "{url}" in self.pipeline):
            yield "url", "is missing; write url = 'rtsp://HOST/PATH'"
        if self.url is not None and (wrong := _wrong(self.url)):
            yield (
                "url",
                f"{wrong}; write rtsp://HOST/PATH, and signs of a password such as @ and / as %40 and %2F",
            )
        if self.url is not None and self.pipeline is not None and "{url}" not in self.pipeline:
            yield "url", "has no effect: pipeline does not use it; write location={url} there, or remove one"
        if self.pipeline is not None and "appsink" not in self.pipeline:
            yield "pipeline", "has no appsink; end it with ! videoconvert ! video/x-raw,format=BGR ! appsink"
        secrets = [k for k in ("password_file", "password_env") if getattr(self, k) is not None]
        if len(secrets) == 2:
            yield "password_env", "and password_file exclude each other; remove one"
        if secrets and self.username is None:
            yield secrets[0], "needs a username; add one"
        if self.username is not None and not secrets:
            yield "username", "needs a password; add password_file or password_env"
        if self.username is not None and "@" in parts_of(self.url).netloc:
            yield "username", "is in url as well; remove one"


def parts_of(url: str | None) -> SplitResult:
    """The parts of an address; empty ones of one that has none."""
    try:
        return urlsplit(url or "")
    except ValueError:  # brackets of an IPv6 address that do not match
        return urlsplit("")


def _wrong(url: str) -> str | None:
    parts = parts_of(url)
    try:
        known = parts.scheme in PORTS and parts.hostname and (parts.port or 1)
    except ValueError:  # a port that is no number, as after a password with a / in it
        known = False
    if not known:
        return "is no address of an RTSP stream"
    return "holds a blank or control character" if any(c <= " " or c == "\x7f" for c in url) else None


def credentials_of(url: SplitResult) -> tuple[str, str] | None:
    """User and password in an address, decoded."""
    if url.username is None:
        return None
    return unquote(url.username), unquote(url.password or "")
