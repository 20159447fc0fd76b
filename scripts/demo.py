"""Faces in a moving picture, end to end: model, clip, daemon, a client that receives, an annotated picture.

Called by scripts/demo, which sets up the environment. Everything it makes is in .demo/; repeating it fetches
nothing again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from _demo import clip, daemon, fetch, picture
from _demo.watch import Screen, Watch
from edged.client import Subscription, subscribe
from edged.errors import EdgedError
from edged.messages import Result, decode

ROOT = Path(__file__).resolve().parents[1]
SIZE = (384, 288)  # of the model's input: multiples of 32, and the shape of a 640x480 picture
START_S = 60.0  # for loading the model and the first result on a slow machine


def say(text: str) -> None:
    print(f"==> {text}", flush=True)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/demo", description="Faces in a moving picture, end to end."
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to run (10)")
    parser.add_argument("--camera", metavar="DEVICE", help="a camera such as /dev/video0 instead of the clip")
    parser.add_argument("--folder", type=Path, default=ROOT / ".demo", help="for all files (.demo)")
    args = parser.parse_args(argv)
    if args.seconds <= 0:
        parser.error("--seconds must be more than 0")
    return args


def prepare_model(folder: Path) -> str:
    """The model directory's name in `folder`."""
    w, h = SIZE
    name = f"centerface-{w}x{h}"
    (onnx,) = fetch.fetch((fetch.MODEL,), folder)
    if (folder / name / "model.toml").is_file():
        return name
    say(f"making the model directory {name}")
    known = ["--name", "centerface", "--parser", "centerface", "--color", "RGB", "--size", f"{w}x{h}"]
    known += [
        "--shape",
        f"input.1=1,3,{h},{w}",
        "--resize",
        "letterbox",
        "--pad",
        "0",
        "--mean",
        "0",
        "--std",
        "1",
    ]
    daemon.command("model", "new", onnx.name, name, *known, cwd=folder)
    return name


def prepare_clip(folder: Path) -> Path:
    photographs = fetch.fetch(fetch.PHOTOGRAPHS, folder)
    file = folder / "clip.avi"
    if not file.is_file() or file.stat().st_mtime < Path(clip.__file__).stat().st_mtime:
        say("moving a camera over the photographs")
        frames = clip.make(photographs, file, clip.views())
        print(f"    {file.name}: {frames} frames, {clip.SIZE[0]}x{clip.SIZE[1]}, {clip.FPS} a second")
    return file


def write_config(folder: Path, model: str, url: str, camera: str | None) -> Path:
    source = f'path = "{camera}"' if camera else 'path = "clip.avi"\npace = "realtime"\nloop = true'
    config = folder / "edged.toml"
    config.write_text(daemon.LIVE.format(source=source, model=model, url=url))
    say(f"the configuration, {shown(config)}")
    print("\n".join(f"    {line}".rstrip() for line in config.read_text().splitlines()))
    return config


def receive(
    results: Subscription[Result], child: subprocess.Popen[bytes], watch: Watch, screen: Screen
) -> None:
    """Until the daemon has ended: everything it sends. Raises EdgedError when nothing comes in START_S."""
    patience = time.monotonic() + START_S
    while True:
        running = child.poll() is None  # asked first: what a daemon sent before its end is received after it
        r = results.receive(0.1)
        if r is not None:
            watch.add(r, time.monotonic())
        elif not running:
            return
        elif not watch.count and time.monotonic() > patience:
            raise EdgedError(f"no result in {START_S:.0f} s", hint="see what the daemon said, below")
        screen.refresh()


def show(config: Path, url: str, seconds: float, log: Path) -> Watch:
    """Run the daemon, receive as any client would; what was received."""
    watch = Watch()
    with (
        subscribe(url) as results,
        Screen(watch, url) as screen,
        daemon.running(config, seconds, log) as child,
    ):
        receive(results, child, watch, screen)
    if child.returncode:
        raise EdgedError(f"the daemon ended with exit status {child.returncode}")
    if not watch.count:
        raise EdgedError("the daemon ended without sending a result")
    return watch


def still(folder: Path, model: str, camera: str) -> tuple[clip.Picture, Result]:
    """A picture of the camera and what edged says of exactly this picture."""
    image, results, config = folder / "still.png", folder / "still.jsonl", folder / "still.toml"
    seen = picture.from_camera(camera, image)
    results.unlink(missing_ok=True)
    config.write_text(daemon.STILL.format(picture=image.name, model=model, results=results.name))
    daemon.command("run", config.name, "--frames", "1", cwd=folder)
    lines = [decode(line, "json") for line in results.read_bytes().splitlines()]
    return seen, next(m for m in lines if isinstance(m, Result))


def shown(file: Path) -> str:
    """A path as a person would type it."""
    return str(file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file)


def run(args: argparse.Namespace) -> None:
    folder: Path = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "edged.log"
    model = prepare_model(folder)
    file = None if args.camera else prepare_clip(folder)
    url = daemon.free_url()
    config = write_config(folder, model, url, args.camera)
    say(f"edged run {shown(config)} --seconds {args.seconds:g}, and a client on {url}")
    try:
        watch = show(config, url, args.seconds, log)
    except EdgedError as e:
        said = log.read_text(errors="replace") if log.is_file() else ""
        raise EdgedError(f"{e}\n  the daemon said ({shown(log)}):\n{said.strip() or '(nothing)'}") from e
    say(watch.summary())
    if file is None:
        seen, result = still(folder, model, args.camera)
    else:
        assert watch.best is not None
        result = watch.best
        # a looped clip counts its frames on
        seen = clip.read_frame(file, result.frame_seq % len(clip.views()))
    annotated = folder / "annotated.png"
    picture.write(picture.annotate(seen, result), annotated)
    say(
        f"{len(result.detections or [])} faces in {shown(annotated)}; the daemon's own words are in {shown(log)}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """0, or the exit status of the error that is printed."""
    try:
        run(arguments(argv))
    except EdgedError as e:
        print(f"demo: {e}", file=sys.stderr)
        return int(e.exit_code)
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
