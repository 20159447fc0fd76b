"""A store of another user's, one that others may write, and a disk that is full: told, with what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edged import children
from edged.engines.choose import choose_engine
from edged.models import trust
from edged.models.plans import Plan, PlanError, PlanStore
from tests import onnx_models
from tests.models.plan_files import ONNX, install, plan_bytes
from tests.other_user import NOBODY, as_nobody, needs_root, reachable


@pytest.fixture
def store(tmp_path: Path) -> PlanStore:
    home = tmp_path / "state"
    home.mkdir(mode=0o700)
    reachable(home)
    return PlanStore(home / "plans")


def names(plan: Plan) -> dict[str, Path]:
    folder = plan.path.parent
    home = folder.parents[2]
    return {
        "home": home,
        "root": home / "plans",
        "model": folder.parent,
        "folder": folder,
        "plan": plan.path,
        "key": home / "plan.key",
    }


@pytest.mark.parametrize(
    ("name", "mode", "remedy"),
    [
        ("home", 0o777, "chmod go-w"),
        ("root", 0o720, "chmod go-w"),
        ("model", 0o702, "chmod go-w"),
        ("folder", 0o777, "chmod go-w"),
        ("plan", 0o622, "chmod go-w"),
        ("key", 0o644, "chmod go-rwx"),
        ("key", 0o640, "chmod go-rwx"),
    ],
)
def test_what_others_could_have_changed_is_not_believed(
    store: PlanStore, tmp_path: Path, name: str, mode: int, remedy: str
) -> None:
    plan = install(store, tmp_path)
    path = names(plan)[name]
    path.chmod(mode)
    with pytest.raises(PlanError) as caught:
        store.verify(plan)
    assert f"{path}: other users may" in caught.value.message
    assert caught.value.hint.startswith(f"{remedy} {path}")


def test_a_store_that_others_may_read_is_believed(store: PlanStore, tmp_path: Path) -> None:
    plan = install(store, tmp_path)
    for name, path in names(plan).items():
        if name != "key":
            path.chmod(0o755)
    store.verify(plan)


def test_nothing_is_built_for_a_store_that_others_may_write(store: PlanStore, tmp_path: Path) -> None:
    store.home.chmod(0o777)
    with pytest.raises(PlanError, match="other users may write"), store.work():
        pytest.fail("a build of minutes would begin")
    with pytest.raises(PlanError, match="other users may write"):
        install(store, tmp_path)


@needs_root
def test_a_store_of_another_user_is_told_with_its_owner(store: PlanStore, tmp_path: Path) -> None:
    plan = install(store, tmp_path)
    for look in (
        lambda: store.plans(ONNX),
        lambda: store.broken(ONNX),
        store.models,
        lambda: store.find(ONNX, "tensorrt", "10.3.0", "8.7"),
        lambda: store.work().__enter__(),
        lambda: store.install(plan.path, plan.sidecar),
    ):
        said = as_nobody(look)
        assert said.startswith("PlanError: "), said
        assert f"permission denied for nobody: {store.home} belongs to root" in said
        assert f"sudo chown -R nobody {store.home}" in said
    store.home.chmod(0o711)
    store.root.chmod(0o711)
    (store.root / ONNX).chmod(0o711)
    plan.path.parent.chmod(0o755)
    for file in plan.path.parent.iterdir():
        file.chmod(0o644)
    said = as_nobody(lambda: store.verify(plan))
    assert f"{store.key_file}: permission denied for nobody: {store.key_file} belongs to root" in said


@needs_root
def test_a_store_that_may_not_be_made_is_told_with_what_makes_it(tmp_path: Path) -> None:
    reachable(tmp_path)
    home = tmp_path / "absent"
    said = as_nobody(lambda: PlanStore(home / "plans").work().__enter__())
    assert f"permission denied for nobody: {tmp_path} belongs to root" in said
    assert f"sudo install -d -m 0700 -o nobody {home}" in said


@needs_root
def test_auto_runs_onnx_runtime_where_the_store_may_not_be_read(store: PlanStore, tmp_path: Path) -> None:
    install(store, tmp_path)
    model = onnx_models.model_of(onnx_models.relu(tmp_path / "m.onnx"))
    gpu: Any = SimpleNamespace(name="cuda", capability="8.7")
    said = as_nobody(lambda: choose_engine(model, "auto", gpu, store))
    assert "kind='onnxruntime'" in said
    assert "belongs to root" in said


@needs_root
def test_what_root_builds_is_the_service_s(store: PlanStore, tmp_path: Path) -> None:
    os.chown(store.home, NOBODY, NOBODY)
    with store.work() as folder:
        (folder / "model.plan").write_bytes(plan_bytes())
        install(store, tmp_path)
    assert {p.stat().st_uid for p in store.home.rglob("*")} == {NOBODY}
    (plan,) = store.plans(ONNX)
    store.verify(plan)  # root may, too
    assert as_nobody(lambda: store.verify(store.plans(ONNX)[0])) == "None"
    assert as_nobody(lambda: [store.work().__enter__(), "builds"][1]) == "builds"


@needs_root
def test_a_plan_of_a_third_user_is_not_believed(store: PlanStore, tmp_path: Path) -> None:
    plan = install(store, tmp_path)
    os.chown(plan.path, NOBODY, NOBODY)
    with pytest.raises(PlanError, match="belongs to nobody, and plans, which are code") as caught:
        store.verify(plan)
    assert f"sudo chown -R root {store.home}" in caught.value.hint


def test_a_user_without_a_name_is_a_number() -> None:
    assert trust._name(12345678) == "12345678"


FILL = """
import resource, sys
from pathlib import Path
from edged.models.plans import PlanStore, PlanError
from tests.models.plan_files import ONNX, install, plan_bytes, sidecar_of
home, source, limit = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
store, data = PlanStore(home / "plans"), plan_bytes(payload=b"x" * 100_000)
before = [install(store, source)]
(source / "large").write_bytes(data)
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    with store.work():
        store.install(source / "large", sidecar_of(data, precision="fp32"))
except PlanError as e:
    print(e)
assert store.plans(ONNX) == before
store.verify(before[0])
print([p.name for p in home.rglob(".*") if p.name != ".lock"])
"""


def filled(home: Path, source: Path, limit: int, inside: Sequence[str] = ()) -> list[str]:
    """What is said when a large plan goes into a store that has no room for it."""
    done = subprocess.run(
        [*inside, sys.executable, "-c", FILL, str(home), str(source), str(limit)],
        env=children.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_file_that_cannot_grow_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    """By the limit of a file's size, which every user may set: EFBIG instead of ENOSPC."""
    said, remedy, left = filled(tmp_path / "state", tmp_path, 50_000)
    assert "a plan cannot be stored: File too large" in said
    assert "make room there (df -h" in remedy
    assert left == "[]"


@needs_root
def test_a_full_disk_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    home = tmp_path / "state"
    home.mkdir()
    mount = f'mount -t tmpfs -o size=64k,mode=700 none {home} && exec "$@"'
    inside = ("unshare", "--mount", "sh", "-c", mount, "sh")
    if shutil.which("unshare") is None or subprocess.run([*inside, "true"], check=False).returncode:
        pytest.skip("no filesystem may be mounted here")
    said, remedy, left = filled(home, tmp_path, 0, inside)
    assert "a plan cannot be stored: No space left on device" in said
    assert "make room there (df -h" in remedy
    assert left == "[]"
