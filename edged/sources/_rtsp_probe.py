"""Why an RTSP stream could not be opened. OpenCV says only that; one DESCRIBE over a plain socket says more.

Asked after a failure only: a working camera never sees it. Knows as much of RTSP 1.0 (RFC 2326) and of Basic and
Digest (RFC 7617, RFC 2617) as telling a wrong password from a wrong path needs.
"""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import ssl
import time
from urllib.parse import SplitResult

from edged.sources._rtsp_options import PORTS

MOST = 16384  # bytes of an answer that are looked at

_UNKNOWN_USER = "the camera wants a user and a password (401)"
_REFUSALS = {  # status -> what is wrong, remedy
    403: ("the camera forbids it (403)", "give this user the right to view, or use another one"),
    404: (
        "the camera has no such stream (404)",
        "check the path in the address; the camera's manual names it",
    ),
    453: ("the camera has not enough bandwidth (453)", "end other viewers, or use its smaller stream"),
    454: ("the camera refuses the session (454)", "restart the camera"),
    461: ("the camera refuses the transport (461)", 'set transport = "tcp" or "udp", the other one'),
    503: ("the camera is busy (503)", "end other viewers of it"),
}


def explain(url: SplitResult, credentials: tuple[str, str] | None, timeout_s: float) -> tuple[str, str]:
    """(what is wrong, remedy), within `timeout_s`, or a moment more. Names no user and no password.

    A lookup of the host's name is the one thing here without a limit.
    """
    end = time.monotonic() + timeout_s
    try:
        with _connect(url, end) as s:
            return _ask(s, url, credentials, end)
    except socket.gaierror:
        return f"the host {url.hostname} is unknown", "check the name, or give the address as numbers"
    except ConnectionRefusedError:
        return "the connection is refused", "check host and port, and that RTSP is switched on in the camera"
    except TimeoutError:
        return "the host does not answer", "check the camera's power, cable and address"
    except ssl.SSLError:
        return "the server speaks no TLS that is known here", "use rtsp:// instead of rtsps://"
    except OSError as e:
        return f"no connection: {e.strerror or type(e).__name__}", "check the network"


def _connect(url: SplitResult, end: float) -> socket.socket:
    address = (url.hostname or "", url.port or PORTS[url.scheme])
    s = socket.create_connection(address, timeout=max(0.1, end - time.monotonic()))
    if url.scheme != "rtsps":
        return s
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # as FFmpeg does; and nothing is told to the server here but what it was told before
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        return context.wrap_socket(s)
    except BaseException:
        s.close()
        raise


def _ask(
    s: socket.socket, url: SplitResult, credentials: tuple[str, str] | None, end: float
) -> tuple[str, str]:
    target = url._replace(netloc=url.netloc.rpartition("@")[2]).geturl()
    answer = _describe(s, target, "", end)
    if (refusal := _no_rtsp(answer)) is not None:
        return refusal
    status = _status(answer)
    if status == 401 and credentials is None:
        return _UNKNOWN_USER, "set username and password_file, or write rtsp://USER:PASSWORD@HOST/..."
    if status == 401 and credentials is not None:
        answer = _describe(s, target, _authorization(answer, target, credentials), end)
        status = _status(answer)
        if status == 401:
            return "the camera refuses this user or password (401)", "check both"
    if status in _REFUSALS:
        return _REFUSALS[status]
    if status != 200:
        return f"the camera answers with status {status}", "check the path in the address"
    if b"\nm=video" not in answer:
        return "the stream has no video", "check the path in the address"
    codec = re.search(rb"\nm=video.*?\na=rtpmap:\d+ ([\w-]+)/", answer, re.S)
    named = f" ({codec[1].decode()})" if codec else ""
    return (
        f"the camera describes a stream{named}, but no picture of it comes",
        "try the other transport, a codec such as H.264 in the camera, or a larger open_timeout_s",
    )


def _no_rtsp(answer: bytes) -> tuple[str, str] | None:
    if not answer:
        return "the server takes the connection and says nothing", "restart the camera, or check the port"
    if not answer.startswith(b"RTSP/1"):
        word = re.match(rb"[A-Z]{3,8}[/-][0-9.]{1,4}", answer)
        what = f", it is {word[0].decode()}" if word else ""
        return f"what the server says is not RTSP{what}", "check the port in the address"
    return None


def _status(answer: bytes) -> int:
    found = re.match(rb"RTSP/1\.\d (\d{3})", answer)
    return int(found[1]) if found else 0


def _describe(s: socket.socket, target: str, authorization: str, end: float) -> bytes:
    """The answer with its body; what came of it until the end, the deadline or MOST."""
    request = f"DESCRIBE {target} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n{authorization}\r\n"
    s.sendall(request.encode())
    answer = b""
    while len(answer) < MOST and not _complete(answer) and (left := end - time.monotonic()) > 0:
        s.settimeout(left)
        try:
            part = s.recv(MOST)
        except (TimeoutError, ConnectionError):
            break
        if not part:
            break
        answer += part
    return answer


def _complete(answer: bytes) -> bool:
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not separator:
        return bool(answer) and not b"RTSP/1.0 ".startswith(answer[:9])
    length = re.search(rb"(?i)\ncontent-length: *(\d{1,6})", head)
    return len(body) >= (int(length[1]) if length else 0)


def _authorization(answer: bytes, target: str, credentials: tuple[str, str]) -> str:
    """The header that answers a 401's challenge; Digest goes before Basic, as in FFmpeg."""
    user, password = credentials
    digest = re.search(rb"(?i)\nwww-authenticate: *digest ([^\r\n]*)", answer)
    if digest is None:
        return f"Authorization: Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}\r\n"
    pairs = re.findall(r'(\w+) *= *(?:"([^"]*)"|([^", ]*))', digest[1].decode("latin-1"))
    said = {k.lower(): quoted or bare for k, quoted, bare in pairs}
    realm, nonce = said.get("realm", ""), said.get("nonce", "")

    def md5(*parts: str) -> str:
        return hashlib.md5(":".join(parts).encode(), usedforsecurity=False).hexdigest()

    ha1, ha2 = md5(user, realm, password), md5("DESCRIBE", target)
    fields = {"username": user, "realm": realm, "nonce": nonce, "uri": target}
    rest = ""
    if "auth" in re.split(" *, *", said.get("qop", "")):
        fields |= {"cnonce": "edged", "response": md5(ha1, nonce, "00000001", "edged", "auth", ha2)}
        rest = ", qop=auth, nc=00000001"
    else:
        fields["response"] = md5(ha1, nonce, ha2)
    if "opaque" in said:
        fields["opaque"] = said["opaque"]
    return "Authorization: Digest " + ", ".join(f'{k}="{v}"' for k, v in fields.items()) + rest + "\r\n"
