"""`edged bench` on the pattern and a tiny model: what it prints, and how it refuses."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edged.bench.results import Report
from edged.cli.main import main
from edged.errors import ExitCode
from tests.bench.make import config_file

SHORT = ["--pairs", "1", "--seconds", "0.1", "--live-seconds", "0.2"]


def test_a_report_has_every_figure_and_exact_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", str(config_file(tmp_path)), *SHORT, "--json"]) == ExitCode.OK
    out, err = capsys.readouterr()
    report = msgspec.json.decode(out, type=Report)
    assert "pair 1 of 1" in err
    assert (report.pipeline, report.source, report.model) == ("front", "moving", "tiny")
    assert report.frame == (64, 48)
    assert report.settings.threads == 1
    (pair,) = report.pairs
    assert report.ratio == pair.ratio == pytest.approx(pair.pipeline.fps / pair.alone.fps, abs=1e-4)
    assert pair.pipeline.counts.dropped <= 1, "at pace max only the end may drop, what the mailbox held"
    assert [(x.in_flight, x.load) for x in report.live] == [(1, 0.8), (1, 2.0), (2, 0.8), (2, 2.0)]
    for run in (pair.pipeline, *(x.run for x in report.live)):
        c = run.counts
        assert c.offered == c.inferred + c.dropped + c.failed
        assert 0 < run.frames <= c.inferred
        assert 0 < c.received <= c.inferred
        assert run.growth.region_bytes == 0
        assert run.stages["age"].max_ms >= run.stages["infer"].p50_ms >= run.stages["engine"].p50_ms > 0
    assert set(report.regions) == {"source moving", "pipeline front on model tiny", "model tiny"}


def test_tables_fit_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(config_file(tmp_path)), *SHORT]) == ExitCode.OK
    out, _ = capsys.readouterr()
    assert "…" not in out
    for words in ("pace max, frames/s", "preprocess", "offered/s", "growth in 5 runs", "robot-7"):
        assert (words in out) == (words != "robot-7")


def test_tuning_ends_with_lines_to_paste(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edged.bench.measure.cores", lambda: 1)
    file = config_file(tmp_path)
    assert main(["bench", str(file), "--tune", "--seconds", "0.1", "--rate", "50"]) == ExitCode.OK
    out, _ = capsys.readouterr()
    assert "ages in ms at 50 frames/s" in out
    head, pasted = out.rsplit("under [models.tiny]:", 1)
    assert "lowest age" in head
    assert "most frames a second" in head
    file.write_text(file.read_text().replace("options = { threads = 1 }", pasted))
    assert main(["check", str(file)]) == ExitCode.OK


SECOND = '[pipelines.rear]\nsource = "moving"\nmodel = "tiny"\n'


@pytest.mark.parametrize(
    ("arguments", "words"),
    [([], "choose with --pipeline NAME"), (["--pipeline", "raer"], "did you mean 'rear'?")],
)
def test_several_pipelines_need_a_choice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    file = config_file(tmp_path, SECOND)
    assert main(["bench", str(file), *arguments]) == ExitCode.CONFIG
    out, err = capsys.readouterr()
    assert not out
    assert words in err


def test_a_model_that_is_not_there_is_one_clear_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = config_file(tmp_path)
    (tmp_path / "tiny" / "model.onnx").unlink()
    assert main(["bench", str(file)]) != ExitCode.OK
    assert "model.onnx" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--pairs", "0"], ["--seconds", "-1"], ["--rate", "nan"]])
def test_numbers_that_mean_nothing_are_refused(tmp_path: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as e:
        main(["bench", str(tmp_path / "x.toml"), *arguments])
    assert e.value.code == ExitCode.USAGE
