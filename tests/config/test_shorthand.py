"""What pipelines.X.source may be, and which source it becomes."""

from __future__ import annotations

from pathlib import Path

import pytest

from edged.config.load import loads
from edged.config.schema import Config
from edged.errors import ConfigError

REST = "[models.faces]\npath = 'faces'\n[sources.yard]\nkind = 'pattern'\n"


def sources(base: Path, *values: str) -> Config:
    """Pipelines p0, p1, ... with these sources, as TOML values."""
    pipelines = "".join(f"[pipelines.p{i}]\nsource = {v}\nmodel = 'faces'\n" for i, v in enumerate(values))
    return loads(pipelines + REST, file="f.toml", base=base)


def refused(base: Path, value: str) -> str:
    with pytest.raises(ConfigError) as caught:
        sources(base, value)
    (problem,) = caught.value.problems
    assert problem.path.startswith("pipelines.p0.source")
    return str(problem)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "shots").mkdir()
    (tmp_path / "one.JPG").touch()
    (tmp_path / "clip.avi").touch()
    (tmp_path / "yard").touch()
    return tmp_path


def test_a_name(place: Path) -> None:
    config = sources(place, "'yard'")  # the table wins over the file of that name
    assert config.pipelines["p0"].source == "yard"
    assert set(config.sources) == {"yard"}


def test_a_camera(place: Path) -> None:
    source = sources(place, "'/dev/video12'").sources["p0"]
    assert (source.kind, source.options.device) == ("v4l2", "/dev/video12")


def test_a_camera_by_its_lasting_name(place: Path) -> None:
    source = sources(place, "'/dev/v4l/by-id/usb-046d_C920-video-index0'").sources["p0"]
    assert (source.kind, source.options.device) == ("v4l2", "/dev/v4l/by-id/usb-046d_C920-video-index0")


def test_a_folder(place: Path) -> None:
    source = sources(place, "'shots/'").sources["p0"]
    assert (source.kind, source.options.path) == ("images", str(place / "shots"))


def test_a_picture(place: Path) -> None:
    source = sources(place, "'one.JPG'").sources["p0"]
    assert (source.kind, source.options.paths) == ("images", (str(place / "one.JPG"),))


def test_a_clip(place: Path) -> None:
    source = sources(place, "'./clip.avi'").sources["p0"]
    assert (source.kind, source.options.path) == ("video", str(place / "clip.avi"))


def test_an_address(place: Path) -> None:
    config = sources(place, "'rtsp://bob:pw@h/a'", "'rtsp://bob:pw@h/a'", "'rtsps://h/a'")
    assert {n: (s.kind, s.options.url) for n, s in config.sources.items() if n != "yard"} == {
        "p0": ("rtsp", "rtsp://bob:pw@h/a"),
        "p2": ("rtsp", "rtsps://h/a"),
    }
    assert "pw" not in repr(config)


def test_a_table(place: Path) -> None:
    config = sources(place, "{kind = 'images', path = 'shots', rate = 5}")
    assert config.sources["p0"].options.rate == 5.0
    assert config.sources["p0"].options.path == str(place / "shots")
    assert config.origin == {"p0": "pipelines.p0.source"}


def test_one_file_is_one_source(place: Path) -> None:
    config = sources(place, "'clip.avi'", "'shots'", f"'{place}/shots/../clip.avi'")
    assert [p.source for p in config.pipelines.values()] == ["p0", "p1", "p0"]


def test_a_source_of_a_pipeline_s_name_stays_itself(place: Path) -> None:
    text = f"[pipelines.yard]\nsource = 'clip.avi'\nmodel = 'faces'\n{REST}"
    config = loads(text, base=place)
    assert config.pipelines["yard"].source == "yard-2"
    assert config.sources["yard"].kind == "pattern"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("'yrad'", "'yrad' is neither a declared source nor a file, folder or device; did you mean 'yard'?"),
        ("'zzz'", "'zzz' is neither a declared source nor a file, folder or device; declared sources: yard"),
        ("'clip.mp4'", "'clip.mp4': no such file or folder ("),
        ("'../x/y'", "'../x/y': no such file or folder ("),
        ("'/dev/null'", "'/dev/null': no such file or folder"),
        ("''", "'' is neither a declared source"),
        (
            "'http://bob:hunter2@10.0.0.1/stream'",
            "'http://***@10.0.0.1/stream' is no address that is understood; write rtsp://HOST/PATH",
        ),
        (
            "'rtsp://bob:hun/ter2@10.0.0.1/stream'",
            "source: 'rtsp://***@10.0.0.1/stream': is no address of an RTSP stream; write rtsp://HOST/PATH",
        ),
        ("5", "must name a source, got 5; write a name, device, file or folder"),
        ("{path = 'x'}", "pipelines.p0.source.kind: is missing; "),
        ("{kind = 'image'}", "pipelines.p0.source.kind: 'image' is unknown; did you mean 'images'?"),
        (
            "{kind = 'pattern', sized = [1, 1]}",
            "pipelines.p0.source.sized: unknown key; did you mean 'size'?",
        ),
    ],
)
def test_refusals(place: Path, value: str, said: str) -> None:
    assert said in refused(place, value)


def test_a_camera_belongs_to_one_source(place: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        sources(place, "'/dev/video0'", "{kind = 'video', path = '/dev/video0'}")
    assert [str(p) for p in caught.value.problems] == [
        "pipelines.p1.source: '/dev/video0' is taken by source 'p0'; "
        "declare one [sources.NAME] and name it in both pipelines"
    ]
