"""A real RTSP server (GStreamer's) on the loopback interface, for tests.

Run as a program it needs Debian's Python and `gi` (scripts/setup installs them), so it imports nothing of edged. It
prints its port, then obeys lines on its standard input: "size W H" changes the picture in mid-stream, "end" ends
the stream in good order.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

ABSENT = 77  # exit status where the packages are not installed
PIPELINE = "( videotestsrc is-live=true pattern=ball ! capsfilter name=size caps={caps} ! {codec} name=pay0 )"
CODECS = {
    "jpeg": "jpegenc quality=60 ! rtpjpegpay",
    "h264": "x264enc tune=zerolatency key-int-max=10 ! rtph264pay config-interval=-1",
}


def caps(width: int, height: int, rate: int) -> str:
    return f"video/x-raw,format=I420,width={width},height={height},framerate={rate}/1"


def libraries() -> tuple[Any, Any, Any, Any]:
    """Gst, GstRtsp, GstRtspServer, GLib. ImportError or ValueError when a package is absent."""
    import gi

    for name in ("Gst", "GstRtsp", "GstRtspServer"):
        gi.require_version(name, "1.0")
    from gi.repository import GLib, Gst, GstRtsp, GstRtspServer

    Gst.init(None)
    for element in ("videotestsrc", "jpegenc", "rtpjpegpay", "x264enc", "rtph264pay"):
        if Gst.ElementFactory.find(element) is None:
            raise ImportError(f"GStreamer has no element {element}")
    return Gst, GstRtsp, GstRtspServer, GLib


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", default="0")
    parser.add_argument("--size", type=int, nargs=2, default=(64, 48))
    parser.add_argument("--rate", type=int, default=50)
    parser.add_argument("--codec", choices=CODECS, default="jpeg")
    parser.add_argument("--user")
    parser.add_argument("--password")
    parser.add_argument("--basic", action="store_true", help="Basic instead of Digest")
    args = parser.parse_args()

    try:
        Gst, GstRtsp, GstRtspServer, GLib = libraries()
    except (ImportError, ValueError) as e:
        print(f"{e}: scripts/setup installs it", file=sys.stderr)
        sys.exit(ABSENT)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(args.port)
    factory = GstRtspServer.RTSPMediaFactory()
    codec = CODECS[args.codec]
    factory.set_launch(PIPELINE.format(caps=caps(args.size[0], args.size[1], args.rate), codec=codec))
    factory.set_shared(True)
    medias: list[Any] = []
    factory.connect("media-configure", lambda _, media: medias.append(media))
    if args.user:
        auth = GstRtspServer.RTSPAuth()
        auth.set_supported_methods(
            GstRtsp.RTSPAuthMethod.BASIC if args.basic else GstRtsp.RTSPAuthMethod.DIGEST
        )
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        if args.basic:
            auth.add_basic(GstRtspServer.RTSPAuth.make_basic(args.user, args.password), token)
        else:
            auth.add_digest(args.user, args.password, token)
        server.set_auth(auth)
        may = "user,media.factory.access=true,media.factory.construct=true"
        factory.add_role_from_structure(Gst.Structure.new_from_string(may))
    server.get_mount_points().add_factory("/cam", factory)
    server.attach(None)

    def obey(channel: Any, _: Any) -> bool:
        words = channel.readline().split()
        if not words:  # whoever started it is gone
            loop.quit()
        elif words[0] == "size":
            wanted = caps(int(words[1]), int(words[2]), args.rate)
            factory.set_launch(PIPELINE.format(caps=wanted, codec=codec))  # for those who come later
            for media in medias:
                media.get_element().get_by_name("size").set_property("caps", Gst.Caps.from_string(wanted))
        elif words[0] == "end":
            for media in medias:
                media.get_element().send_event(Gst.Event.new_eos())
        return True

    loop = GLib.MainLoop()
    GLib.io_add_watch(sys.stdin, GLib.IO_IN | GLib.IO_HUP, obey)
    print(server.get_bound_port(), flush=True)
    loop.run()


if __name__ == "__main__":
    main()
