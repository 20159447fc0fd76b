"""What becomes of a build: the timing cache that is kept for the next, and what hinders that."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edged.build import plan
from edged.build.cap import Cap
from edged.build.events import Done
from edged.build.plan import build_plan
from edged.build.request import BuildError, Request
from edged.build.worker import CACHE, PLAN, cache_name
from edged.models.plans import PlanStore
from tests.build.made import directory, relu, request_for
from tests.models.plan_files import plan_bytes

OLD, NEW = cache_name("tensorrt", "10.3.0", "Orin (nvgpu)"), cache_name("tensorrt", "10.7.0", "Orin (nvgpu)")


def test_a_cache_is_of_one_version_and_one_kind_of_gpu() -> None:
    assert OLD == "tensorrt_10.3.0_Orin-nvgpu-.cache"
    assert (
        len({OLD, NEW, cache_name("tensorrt", "10.3.0", "Thor"), cache_name("tensorrt", "10.3.0", None)}) == 4
    )


def test_builds_at_the_same_time_keep_one_whole_cache(tmp_path: Path) -> None:
    made = [tmp_path / str(n) for n in range(3)]
    for n, file in enumerate(made):
        file.write_bytes(bytes([n]) * 100_000)
    kept = tmp_path / "timing" / NEW

    with ThreadPoolExecutor(3) as pool:
        notes = list(pool.map(lambda n: plan._keep_cache(made[n % 3], kept), range(90)))
    assert set(notes) == {""}
    assert kept.read_bytes() in [f.read_bytes() for f in made]
    assert {f.name for f in kept.parent.iterdir()} == {".lock", NEW}


def test_caches_of_another_version_go_and_those_of_other_gpus_stay(tmp_path: Path) -> None:
    (tmp_path / "made").write_bytes(b"times")
    thor = cache_name("tensorrt", "10.7.0", "Thor")
    for name in (OLD, thor, NEW):
        assert plan._keep_cache(tmp_path / "made", tmp_path / "timing" / name) == ""
    assert {f.name for f in (tmp_path / "timing").glob("*.cache")} == {NEW, thor}


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT 10.3.0 on an Orin, at once."""

    def run(
        request: Request, folder: Path, on_event: object, cap: Cap | None = None, timing: Path | None = None
    ) -> Done:
        (folder / PLAN).write_bytes(plan_bytes())
        (folder / CACHE).write_bytes(b"times")
        return Done(
            version="10.3.0",
            gpu="Orin",
            capabilities=("8.7",),
            activation_bytes=1,
            weight_bytes=1,
            layers=None,
            layers_of=None,
            notes=("cast",),
        )

    monkeypatch.setattr(plan, "run_worker", run)


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    return request_for(directory(tmp_path / "tiny", relu()), engine="tensorrt")


def test_a_cache_that_cannot_be_kept_is_a_note(builder: None, request_: Request, tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert build_plan(request_, state).sidecar.notes == ("cast",)
    (kept,) = (state / "timing").glob("*.cache")
    assert (kept.name, kept.read_bytes()) == (cache_name("tensorrt", "10.3.0", "Orin"), b"times")
    kept.unlink()
    kept.mkdir()
    made = build_plan(request_, state)
    PlanStore(state / "plans").verify(made)
    assert made.sidecar.notes[1].startswith("the timing cache is not kept (Is a directory): check")


def test_a_plan_that_is_gone_is_told(builder: None, request_: Request, tmp_path: Path) -> None:
    def swept(file: Path) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "look_at", swept)
        with pytest.raises(BuildError, match="the plan cannot be read: No such file"):
            build_plan(request_, tmp_path / "state")
