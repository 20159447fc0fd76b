"""The commands that steer a running daemon, against a served fake."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edged.cli import report
from edged.cli._rates import rates
from edged.cli._scrub import Scrubber
from edged.cli.main import main
from edged.cli.status import duration
from edged.config.boot import boot
from edged.config.ledger import Entry
from edged.config.patch import etag, merge
from edged.control.answers import End
from edged.control.client import Client
from edged.errors import ExitCode
from tests.config.site import Site
from tests.control.fake import DATA, SECRET, Served, counts, event, served

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.chdir(tmp_path)
    with served(tmp_path) as made:
        monkeypatch.setenv("EDGED_SOCKET", str(made.path))
        yield made


@pytest.fixture
def edged(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> tuple[int, str, str]:
        code = main([str(a) for a in arguments])
        return (code, *capsys.readouterr())

    return run


ALL = (
    ("status",),
    ("top",),
    ("events",),
    ("pipeline", "pause", "front"),
    ("config", "show"),
    ("config", "diff", "x.toml"),
    ("config", "apply", "x.toml"),
    ("config", "revert"),
    ("config", "history"),
    ("snapshot", "front"),
)


@pytest.mark.parametrize("command", ALL, ids=" ".join)
def test_without_a_daemon_each_says_where_it_looked(
    command: tuple[str, ...], edged: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGED_SOCKET", str(tmp_path / "nowhere.sock"))
    code, _, err = edged(*command)
    assert code == ExitCode.UNREACHABLE
    assert f"no daemon listens at {tmp_path}/nowhere.sock" in err
    assert "systemctl start edged" in err


@pytest.mark.parametrize(
    "command", [c for c in ALL if c[:2] not in (("config", "diff"), ("config", "apply"))], ids=" ".join
)
def test_each_prints_json(command: tuple[str, ...], api: Served, edged: Run) -> None:
    api.log.add(event(1))
    more = {"top": ["--interval", "0.01"], "events": ["--no-follow"]}.get(command[0], [])
    code, out, _ = edged(*command, *more, "--json")
    assert code == ExitCode.OK
    json.loads(out)


def test_status_for_people(api: Served, edged: Run) -> None:
    api.steering.states["rear"] = ("faulted", "source 'rear' fails: no such device")
    api.steering.not_ready = "model faces loads"
    code, out, _ = edged("status")
    assert code == ExitCode.OK
    assert out.startswith("robot-7: edged ")
    assert "model faces loads" in out
    rows = {line.split()[0]: line for line in out.splitlines() if line}
    assert "faulted" in rows["rear"]
    assert "19.0" in rows["front"]
    assert "onnxruntime" in rows["model"]


def test_top_is_one_table_where_there_is_no_terminal(api: Served, edged: Run) -> None:
    code, out, _ = edged("top", "--interval", "0.01")
    assert code == ExitCode.OK
    assert out.count("pipeline") == 1
    code, out, _ = edged("top", "--interval", "0.01", "--count", "3", "--json")
    assert len(out.splitlines()) == 3


def test_rates_are_of_the_time_between_two_looks(api: Served) -> None:
    before = api.steering.snapshot()
    api.steering.inferred = 160
    now = msgspec.structs.replace(api.steering.snapshot(), at=before.at + 2_000_000_000)
    found = rates(before, now)["front"]
    assert (found.fps, found.dropped) == (30.0, 0.0)
    assert found.stages == {"wait": 20.0, "infer": 20.0, "parse": 20.0, "age": 20.0}
    assert rates(now, msgspec.structs.replace(now, at=now.at + 1))["front"].stages["age"] is None


def test_a_pipeline_that_began_anew_is_as_from_its_start(api: Served) -> None:
    before = msgspec.structs.replace(api.steering.snapshot(), pipelines={"front": counts(inferred=5000)})
    now = msgspec.structs.replace(before, at=before.at + 10**9, pipelines={"front": counts(inferred=30)})
    assert rates(before, now)["front"].fps == 30.0
    assert rates(msgspec.structs.replace(before, pipelines={}), now)["front"].fps == 30.0


def test_durations_are_two_units() -> None:
    said = [duration(s) for s in (0, 59.9, 61, 3600, 90_000, 86400 * 12 + 3)]
    assert said == ["0 s", "59 s", "1 min 1 s", "1 h", "1 d 1 h", "12 d 3 s"]


def test_events_are_told_as_changes(api: Served, edged: Run) -> None:
    api.log.add(msgspec.structs.replace(event(1, state="faulted"), was="running", reason="no camera"))
    api.log.add(event(2))
    code, out, _ = edged("events", "--no-follow", "--since", "0")
    assert code == ExitCode.OK
    first, second = out.splitlines()
    assert first.endswith("1  pipeline front  running → faulted: no camera")
    assert second.endswith("2  pipeline front  running")
    assert edged("events", "--no-follow", "--since", 7)[1].startswith(
        "(events missing: the daemon was started anew"
    )


@pytest.mark.parametrize(
    ("last", "code"), [([End(reason="the daemon stops")], ExitCode.OK), ([], ExitCode.UNREACHABLE)]
)
def test_following_ends_with_the_daemon(
    api: Served, edged: Run, monkeypatch: pytest.MonkeyPatch, last: list[End], code: ExitCode
) -> None:
    monkeypatch.setattr(Client, "events", lambda *a, **k: iter([event(1), *last]))
    ended, out, err = edged("events")
    assert ended == code
    assert "pipeline front" in out
    assert ("the daemon stops" in out) != ("went away" in err)


def test_a_pipeline_is_paused(api: Served, edged: Run) -> None:
    assert edged("pipeline", "pause", "front") == (0, "pipeline front: paused\n", "")
    code, _, err = edged("pipeline", "pause", "frnt")
    assert code == ExitCode.REFUSED
    assert "there is: front" in err


def test_the_configuration_is_shown_without_secrets_and_applied_as_shown(
    api: Served, edged: Run, tmp_path: Path
) -> None:
    code, out, _ = edged("config", "show")
    assert code == ExitCode.OK
    assert SECRET not in out + edged("config", "show", "--json")[1]
    file = tmp_path / "changed.toml"
    file.write_text(out.replace('id = "robot-7"', 'id = "robot-8"').replace("models/", "/etc/edged/models/"))
    code, out, _ = edged("config", "diff", file)
    assert "device.id: 'robot-7' → 'robot-8'" in out
    assert SECRET not in out
    code, out, _ = edged("config", "apply", file)
    assert code == ExitCode.OK
    assert "revision 2 by uid" in out
    assert "trial" in out
    assert api.steering.config().data["sources"] == DATA["sources"]
    assert "2  " in edged("config", "history")[1]


def test_paths_of_a_file_elsewhere_are_those_of_its_folder(api: Served, edged: Run, tmp_path: Path) -> None:
    file = tmp_path / "new.toml"
    file.write_text(
        '[pipelines.front]\nsource = "rtsp://host/x"\nmodel = "m"\n[models.m]\npath = "models/m"\n'
    )
    assert edged("config", "apply", file)[0] == ExitCode.OK
    assert api.steering.config().data["models"]["m"]["path"] == f"{tmp_path}/models/m"


def test_a_file_with_problems_is_refused_with_all_of_them(api: Served, edged: Run, tmp_path: Path) -> None:
    file = tmp_path / "new.toml"
    file.write_text('[pipelines.front]\nsource = "rtsp://host/x"\nmodel = "m"\nevry = 2\n')
    code, _, err = edged("config", "apply", file)
    assert code == ExitCode.CONFIG
    assert "pipelines.front.evry: unknown key" in err
    assert "'m' is not declared" in err
    assert edged("config", "apply", tmp_path / "none.toml")[0] == ExitCode.CONFIG


def test_waiting_ends_when_the_change_is_confirmed_or_undone(
    api: Served, edged: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Callable[[], Any]] = [lambda: None, api.steering.confirm]
    monkeypatch.setattr("edged.cli.config.time.sleep", lambda s: looks.pop(0)())
    code, out, err = edged("config", "revert", "--wait")
    assert code == ExitCode.OK
    assert "confirmed" in out
    assert "waiting" in err

    looks.append(api.steering.undo)
    code, _, err = edged("config", "revert", "1", "--wait")
    assert code == ExitCode.REFUSED
    assert "revision 3 was undone: pipeline front: faulted" in err


def test_a_snapshot_is_written(api: Served, edged: Run, tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="OpenCV is absent: edged[ort]")
    code, out, _ = edged("snapshot", "front", "-o", tmp_path / "a.jpg")
    assert code == ExitCode.OK
    assert (tmp_path / "a.jpg").read_bytes().startswith(b"\xff\xd8")
    assert "ms before it was made" in out
    code, _, err = edged("snapshot", "front", "-o", tmp_path / "no" / "a.jpg")
    assert code == ExitCode.USAGE
    assert "No such file" in err


PLANTED = (SECRET, "in-a-file-17", "in-the-environment", "escaped quote", "p%40ss", "p@ss")


@pytest.fixture
def planted(api: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Secrets wherever they may be, and the configuration's file."""
    (tmp_path / "password.txt").write_text("in-a-file-17\n")
    monkeypatch.setenv("CAM_PASSWORD", "in-the-environment")
    file = tmp_path / "edged.toml"
    file.write_text(
        f"""
        [pipelines.front]
        source = {{kind = "rtsp", url = "rtsp://admin:{SECRET}@10.0.0.5/x"}}
        model = "m"
        [pipelines.side]
        source = "rtsp://u:p%40ss@10.0.0.6/x"
        model = "m"
        [sources.gst]
        kind = "rtsp"
        url = "rtsp://10.0.0.7/x"
        username = "u"
        password_file = "password.txt"
        pipeline = 'rtspsrc location={{url}} user-id=u user-pw="escaped quote" ! appsink'
        [sources.env]
        kind = "rtsp"
        url = "rtsp://10.0.0.7/x"
        username = "u"
        password_env = "CAM_PASSWORD"
        [models.m]
        path = "m"
        """
    )
    said = f'401 for admin:{SECRET}, in-a-file-17, in-the-environment, user-pw="escaped quote", p@ss'
    api.log.add(msgspec.structs.replace(event(1), reason=said))
    api.steering.states["front"] = ("faulted", f"rtsp://admin:{SECRET}@10.0.0.5/x fails: {said}")
    monkeypatch.setitem(report.PIECES, "journal.txt", lambda c: f"edged[1]: {said}\n")
    return file


def test_the_archive_has_everything_but_secrets(
    api: Served, edged: Run, tmp_path: Path, planted: Path
) -> None:
    code, out, _ = edged("report", "--json", "-o", tmp_path / "r.tar.gz", "--config", planted)
    assert code == ExitCode.OK
    told = json.loads(out)
    assert set(told["pieces"]) == set(report.PIECES)
    assert told["missing"] == {}
    with tarfile.open(tmp_path / "r.tar.gz") as tar:
        texts = {Path(m.name).name: tar.extractfile(m).read().decode() for m in tar}  # type: ignore[union-attr]
    assert set(texts) == set(report.PIECES)
    for name, text in texts.items():
        for secret in PLANTED:
            assert secret not in text, name
    assert "401 for admin" in texts["events.ndjson"]
    assert json.loads(texts["versions.json"])["packages"]["msgspec"]
    assert json.loads(texts["status.json"])["device"] == "robot-7"
    assert "edged_frames_total" in texts["metrics.txt"]
    assert "checks" in json.loads(texts["doctor.json"])


def test_secrets_of_a_revision_are_taken_out_too(
    api: Served, edged: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path)
    booted = boot(site.file)
    now = booted.revisions.ledger
    assert now is not None
    data = merge(site.data, {"sinks": {"cloud": {"password_env": "OTHER_PASSWORD"}}})
    entry = Entry(number=2, at=1, by="a test", etag=etag(data), grew_from=now.now.grew_from)
    booted.revisions.stage(entry, data)  # and its process has the folder
    monkeypatch.setenv("OTHER_PASSWORD", "of-the-revision")
    for name in ("doctor.json", "journal.txt"):
        monkeypatch.setitem(report.PIECES, name, lambda c: "refused: of-the-revision\n")
    code, _, err = edged("report", "-o", tmp_path / "r.tar.gz", "--config", site.file)
    assert (code, err) == (ExitCode.OK, "")
    assert (tmp_path / "r.tar.gz").stat().st_mode & 0o777 == 0o600
    with tarfile.open(tmp_path / "r.tar.gz") as tar:
        texts = {Path(m.name).name: tar.extractfile(m).read().decode() for m in tar}  # type: ignore[union-attr]
    assert texts["journal.txt"] == "refused: ***\n"
    (booted.revisions.folder / "000002.json").write_text("{")  # its secrets cannot be known
    _, _, err = edged("report", "-o", tmp_path / "r.tar.gz", "--config", site.file)
    assert "missing: secrets: those of revisions alone are not known" in err
    booted.revisions.close()


@pytest.mark.parametrize("command", [("snapshot", "front"), ("report",)], ids=" ".join)
def test_what_somebody_else_put_there_is_not_written_to(
    command: tuple[str, ...], api: Served, edged: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "PIECES", {"versions.json": lambda c: "said\n"})
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "out").symlink_to("precious")
    code, _, err = edged(*command, "-o", tmp_path / "out")
    assert code == ExitCode.USAGE
    assert f"cannot write {tmp_path}/out: File exists" in err
    assert (tmp_path / "precious").read_text() == "precious"
    for _ in range(2):  # what one has written oneself may be written again
        assert edged(*command, "-o", tmp_path / "mine")[0] == ExitCode.OK
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o600


def test_without_a_daemon_the_archive_says_what_is_missing(
    edged: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGED_SOCKET", str(tmp_path / "nowhere.sock"))
    for name in ("doctor.json", "journal.txt"):
        monkeypatch.setitem(report.PIECES, name, lambda c: "said\n")
    code, _, err = edged("report", "-o", tmp_path / "r.tar.gz", "--config", tmp_path / "none.toml")
    assert code == ExitCode.OK
    assert "missing: status.json: no daemon listens" in err
    with tarfile.open(tmp_path / "r.tar.gz") as tar:
        texts = {Path(m.name).name: tar.extractfile(m).read().decode() for m in tar}  # type: ignore[union-attr]
    assert set(texts) == {"versions.json", "doctor.json", "journal.txt", "missing.txt"}
    assert "file.toml: " in texts["missing.txt"]


def test_scrubbing_takes_short_words_for_words() -> None:
    scrub = Scrubber({"sources": {"a": {"url": "rtsp://u:abc@host"}}}, Path("/"))
    assert scrub.text("abcdef rtsp://u:abc@host") == "abcdef rtsp://***@host"
