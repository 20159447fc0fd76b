"""The plan store: what it lists verifies, and what was changed or cut short is refused, wherever the power failed."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.models import durable
from edged.models.durable import exclusive
from edged.models.plans import PlanError, PlanStore, Sidecar, fingerprint, header
from tests.models.plan_files import ONNX, install, plan_bytes, sidecar_of
from tests.searching import examples


@pytest.fixture
def store(tmp_path: Path) -> PlanStore:
    return PlanStore(tmp_path / "state" / "plans")


def test_a_plan_comes_back_as_it_was_installed(store: PlanStore, tmp_path: Path) -> None:
    plan = install(store, tmp_path)
    assert store.plans(ONNX) == [plan]
    assert store.models() == [ONNX]
    store.verify(plan)
    assert plan.path.read_bytes() == plan_bytes()
    assert plan.path.parent == store.root / ONNX / fingerprint(plan.sidecar)


def test_only_the_owner_reads_plans_and_the_key(store: PlanStore, tmp_path: Path) -> None:
    folder = install(store, tmp_path).path.parent
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (store.root, folder.parent, folder)}
    assert set(modes.values()) == {0o700}
    files = [*folder.iterdir(), store.key_file]
    assert {stat.S_IMODE(f.stat().st_mode) for f in files} == {0o600}


def test_a_store_that_was_never_written_is_empty_and_stays_absent(store: PlanStore) -> None:
    assert store.plans(ONNX) == []
    assert store.broken(ONNX) == []
    assert store.models() == []
    assert not store.root.exists()


def test_the_same_build_again_replaces_the_plan_and_another_stands_beside_it(
    store: PlanStore, tmp_path: Path
) -> None:
    install(store, tmp_path)
    second = install(store, tmp_path, plan_bytes(payload=b"better"), built_at=2_000_000_000_000_000_000)
    assert store.plans(ONNX) == [second]
    third = install(store, tmp_path, precision="fp32", built_at=2_100_000_000_000_000_000)
    assert store.plans(ONNX) == [third, second]
    for plan in store.plans(ONNX):
        store.verify(plan)


def test_a_plan_that_is_open_outlives_its_replacement(store: PlanStore, tmp_path: Path) -> None:
    with install(store, tmp_path).path.open("rb") as f:
        install(store, tmp_path, plan_bytes(payload=b"better"))
        assert f.read() == plan_bytes()


def test_what_the_sidecar_does_not_describe_is_not_installed(store: PlanStore, tmp_path: Path) -> None:
    source = tmp_path / "built.plan"
    source.write_bytes(plan_bytes(payload=b"other"))
    with pytest.raises(PlanError, match="is not the plan that its sidecar describes"):
        store.install(source, sidecar_of(plan_bytes()))
    with pytest.raises(PlanError, match=r"header says TensorRT 10\.4\.0\.1, its sidecar 10\.3\.0"):
        install(store, tmp_path, plan_bytes("10.4.0.1"))
    with pytest.raises(PlanError, match=r"a plan of TensorRT-RTX 1\.7\.1\.116, not of TensorRT"):
        install(store, tmp_path, plan_bytes("1.7.1.116", b"vtrt"))
    assert store.plans(ONNX) == []
    assert not list((store.root / ONNX).iterdir())


def test_a_store_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(PlanError, match="cannot be stored: Not a directory"):
        install(PlanStore(tmp_path / "state" / "plans"), tmp_path)
    with pytest.raises(PlanError, match="cannot be stored"), PlanStore(tmp_path / "state" / "plans").work():
        pass


@pytest.mark.parametrize(
    ("wanted", "changes"),
    [
        (("tensorrt", "10.3.0", "8.7"), {}),
        (("tensorrt", "10.3.0.26", "8.7"), {}),
        (("tensorrt", "10.7.0", "8.7"), {"compatible": "version"}),
        (("tensorrt", "10.3.0", "8.9"), {"compatible": "hardware"}),
        (("tensorrt", "10.16.1.11", "9.0"), {"compatible": "version+hardware"}),
        (("tensorrt", "10.3.0", "8.6"), {"capabilities": ("8.6", "8.9")}),
    ],
)
def test_a_plan_that_fits_is_found(
    store: PlanStore, tmp_path: Path, wanted: tuple[str, str, str], changes: dict[str, Any]
) -> None:
    plan = install(store, tmp_path, **changes)
    assert store.find(ONNX, *wanted) == plan
    assert store.find(ONNX, *wanted, precision="fp16") == plan


@pytest.mark.parametrize(
    ("wanted", "changes"),
    [
        (("tensorrt", "10.4.0", "8.7"), {}),
        (("tensorrt", "11.0.0", "8.7"), {"compatible": "version"}),
        (("tensorrt", "10.2.0", "8.7"), {"compatible": "version"}),
        (("tensorrt", "10.3.0", "7.5"), {"compatible": "hardware"}),
        (("tensorrt", "10.3.0", "8.6"), {}),
        (("tensorrt-rtx", "10.3.0", "8.7"), {}),
    ],
)
def test_of_one_that_does_not_fit_both_sides_and_the_remedy_are_named(
    store: PlanStore, tmp_path: Path, wanted: tuple[str, str, str], changes: dict[str, Any]
) -> None:
    install(store, tmp_path, **changes)
    with pytest.raises(PlanError) as caught:
        store.find(ONNX, *wanted, model="models/yolox")
    assert f"{wanted[1]}, capability {wanted[2]}" in caught.value.message
    assert "there: TensorRT 10.3.0, capability 8.7, fp16" in caught.value.message
    assert caught.value.hint == f"edged model build models/yolox --engine {wanted[0]}"


def test_find_takes_the_last_installed_whatever_the_clock_says(store: PlanStore, tmp_path: Path) -> None:
    """A board without a battery starts in 1970."""
    for number, built_at in enumerate((1_700_000_000_000_000_000, 5, 1_600_000_000_000_000_000, 4), 1):
        level = {"level": number}
        plan = install(store, tmp_path, options=level, built_at=built_at)
        assert (plan.sidecar.sequence, plan.sidecar.built_at) == (number, built_at)
        assert store.find(ONNX, "tensorrt", "10.3.0", "8.7") == plan
    again = install(store, tmp_path, options={"level": 2}, built_at=3)
    assert store.find(ONNX, "tensorrt", "10.3.0", "8.7") == again
    assert len(store.plans(ONNX)) == 4


def test_a_plan_for_a_dla_is_for_those_who_ask_for_one(store: PlanStore, tmp_path: Path) -> None:
    gpu = install(store, tmp_path)
    dla = install(store, tmp_path, options={"dla": 0})
    for wanted, plan in ((None, gpu), (0, dla), (1, dla)):
        assert store.find(ONNX, "tensorrt", "10.3.0", "8.7", dla=wanted) == plan
    shutil.rmtree(dla.path.parent)
    with pytest.raises(PlanError, match=r"capability 8\.7, DLA") as caught:
        store.find(ONNX, "tensorrt", "10.3.0", "8.7", dla=1)
    assert caught.value.hint.endswith("--engine tensorrt --dla 1")


DIMS = st.integers(1, 5)
PAIRS = st.tuples(DIMS, DIMS).map(sorted)


@given(
    ranges=st.lists(st.lists(st.tuples(PAIRS, PAIRS), min_size=1, max_size=3), min_size=1, max_size=4),
    shape=st.tuples(DIMS, DIMS),
)
@settings(max_examples=40)
def test_a_plan_whose_profiles_hold_the_shape_goes_first(ranges: Any, shape: tuple[int, int]) -> None:
    """Plan by plan its profiles, each a (low, high) for both dimensions; the last of those that hold it is taken."""
    with tempfile.TemporaryDirectory() as folder:
        store = PlanStore(Path(folder) / "plans")
        for number, profiles in enumerate(ranges):
            made = tuple({"x": ((a, c), (b, d), (b, d))} for (a, b), (c, d) in profiles)
            install(store, Path(folder), profiles=made, options={"level": number})
        holding = [
            n
            for n, profiles in enumerate(ranges)
            if any(a <= shape[0] <= b and c <= shape[1] <= d for (a, b), (c, d) in profiles)
        ]
        found = store.find(ONNX, "tensorrt", "10.3.0", "8.7", shapes={"x": shape, "other": (1,)})
        assert found.sidecar.options["level"] == (holding[-1] if holding else len(ranges) - 1)


def test_find_takes_the_newest_and_the_precision_that_is_asked_for(store: PlanStore, tmp_path: Path) -> None:
    old = install(store, tmp_path, precision="fp32")
    new = install(store, tmp_path, precision="fp16", built_at=1_800_000_000_000_000_000)
    assert store.find(ONNX, "tensorrt", "10.3.0", "8.7") == new
    assert store.find(ONNX, "tensorrt", "10.3.0", "8.7", precision="fp32") == old
    with pytest.raises(PlanError, match=r"capability 8\.7, best") as caught:
        store.find(ONNX, "tensorrt", "10.3.0", "8.7", precision="best")
    assert "--precision best" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "edit", "reason"),
    [
        ("model.plan", lambda b: b[:-1], "has 283 bytes, not 284"),
        ("model.plan", lambda b: b"", "has 0 bytes"),
        ("sidecar.json", lambda b: b[:-5], "sidecar.json is not one"),
        ("sidecar.json", lambda b: b"\xff", "sidecar.json is not one"),
        ("sidecar.json", lambda b: b.replace(b'"format":1', b'"format":2'), "has format 2"),
        ("sidecar.json", lambda b: b.replace(b"8.7", b"8.9"), "is of another folder"),
    ],
)
def test_what_is_not_whole_is_not_listed_and_find_says_why(
    store: PlanStore, tmp_path: Path, name: str, edit: Callable[[bytes], bytes], reason: str
) -> None:
    file = install(store, tmp_path).path.with_name(name)
    file.write_bytes(edit(file.read_bytes()))
    assert store.plans(ONNX) == []
    assert reason in store.broken(ONNX)[0].reason
    with pytest.raises(PlanError, match=reason):
        store.find(ONNX, "tensorrt", "10.3.0", "8.7")
    install(store, tmp_path)  # the remedy
    store.verify(store.plans(ONNX)[0])
    assert store.broken(ONNX) == []


@pytest.mark.parametrize("name", ["model.plan", "sidecar.json", "seal"])
def test_a_missing_file_is_named(store: PlanStore, tmp_path: Path, name: str) -> None:
    plan = install(store, tmp_path)
    plan.path.with_name(name).unlink()
    assert store.plans(ONNX) == []
    with pytest.raises(PlanError, match=name):
        store.verify(plan)


def test_another_devices_plan_is_refused(store: PlanStore, tmp_path: Path) -> None:
    plan = install(store, tmp_path)
    store.key_file.write_bytes(bytes(32))
    with pytest.raises(PlanError, match="its seal does not fit this device's key"):
        store.verify(plan)
    store.key_file.write_bytes(bytes(3))
    with pytest.raises(PlanError, match="has 3 bytes, not 32"):
        store.verify(plan)
    store.key_file.unlink()
    with pytest.raises(PlanError, match="cannot be read"):
        store.verify(plan)


@given(st.data())
@examples(60)
def test_any_change_of_any_byte_is_refused(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = PlanStore(Path(folder) / "plans")
        plan = install(store, Path(folder))
        file = plan.path.with_name(data.draw(st.sampled_from(["model.plan", "sidecar.json", "seal"])))
        was = file.read_bytes()
        at = data.draw(st.integers(0, len(was) - 1))
        flipped = bytes([was[at] ^ data.draw(st.integers(1, 255))])
        file.write_bytes(was[:at] + flipped + was[at + 1 :])
        with pytest.raises(PlanError):
            store.verify(plan)


SHAPES = st.tuples(*[st.lists(st.integers(1, 64), min_size=1, max_size=4).map(tuple)] * 3)


@given(
    profiles=st.lists(st.dictionaries(st.text(max_size=5), SHAPES, max_size=2), max_size=2).map(tuple),
    options=st.dictionaries(st.text(max_size=5), st.booleans() | st.integers(0, 99) | st.text(max_size=3)),
    layers=st.none() | st.dictionaries(st.text(max_size=5), st.integers(0, 99)),
    activation=st.none() | st.integers(0, 2**40),
    capabilities=st.lists(st.sampled_from(["8.6", "8.7", "8.9"]), unique=True).map(tuple),
)
def test_a_sidecar_is_read_as_it_was_written(
    profiles: Any, options: Any, layers: Any, activation: Any, capabilities: Any
) -> None:
    more = {
        "layers": layers,
        "activation_bytes": activation,
        "capabilities": capabilities,
        "options": options,
    }
    was = sidecar_of(plan_bytes(), profiles=profiles, **more)
    read = msgspec.json.decode(msgspec.json.encode(was), type=Sidecar)
    assert read == was
    assert fingerprint(read) == fingerprint(was)


def test_the_fingerprint_knows_what_makes_another_plan_and_nothing_else() -> None:
    own = sidecar_of(plan_bytes())
    same = {"build_s": 9.0, "built_at": 1, "plan_bytes": 1, "plan_sha256": "0", "layers": {"fp16": 1}}
    assert {fingerprint(msgspec.structs.replace(own, **{k: v})) for k, v in same.items()} == {
        fingerprint(own)
    }
    others: dict[str, Any] = {
        "engine": "tensorrt-rtx",
        "version": "10.3.1",
        "gpu": None,
        "capabilities": ("8.9",),
        "precision": "fp32",
        "profiles": (),
        "onnx_sha256": "cd" * 32,
        "options": {"sparse": True},
        "compatible": "version",
    }
    prints = {fingerprint(msgspec.structs.replace(own, **{k: v})) for k, v in others.items()}
    assert len(prints | {fingerprint(own)}) == len(others) + 1


def test_a_header_is_read_from_its_first_bytes() -> None:
    assert header(plan_bytes()[:28]) == "10.3.0.26"
    assert header(memoryview(plan_bytes("1.7.1.116", b"vtrt")), "tensorrt-rtx") == "1.7.1.116"


@given(st.binary(max_size=64))
def test_what_is_no_plan_has_no_header(data: bytes) -> None:
    with pytest.raises(PlanError, match="not a TensorRT plan"):
        header(data)


class PowerCut(BaseException):
    """Not an Exception: nothing may tidy up after it, as nothing can."""


NAMES = ("open", "fsync", "rename", "mkdir", "unlink", "rmdir")


class Power:
    """Lets `left` calls of the system pass; the next one and all after it fail as if there were nobody to ask."""

    def __init__(self, patch: pytest.MonkeyPatch, left: int) -> None:
        self.left, self.made = left, 0
        for name in NAMES:
            patch.setattr(os, name, self._guard(getattr(os, name)))
        patch.setattr(shutil, "rmtree", self._guard(shutil.rmtree))

    def _guard(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self.made >= self.left:
                raise PowerCut
            self.made += 1
            return real(*args, **kwargs)

        return call


def cut_after(calls: int, store: PlanStore, tmp_path: Path, **changes: Any) -> bool:
    """Install, and lose power after `calls` of the system; whether it came so far."""
    with pytest.MonkeyPatch.context() as patch:
        Power(patch, calls)
        try:
            install(store, tmp_path, **changes)
        except PowerCut:
            return True
    return False


@pytest.mark.parametrize("before", [False, True], ids=["first", "replacing"])
def test_wherever_the_power_fails_the_store_lists_only_what_verifies(tmp_path: Path, before: bool) -> None:
    moments = 0
    for calls in range(200):
        folder = tmp_path / str(calls)
        folder.mkdir()
        store = PlanStore(folder / "plans")
        if before:
            install(store, folder)
        cut = cut_after(calls, store, folder, plan=plan_bytes(payload=b"new"), built_at=2 * 10**18)
        listed = store.plans(ONNX)
        assert len(listed) >= before, f"cut after {calls} calls: the plan that was there is gone"
        for plan in listed:
            store.verify(plan)
        install(store, folder, plan_bytes(payload=b"last"))
        (only,) = store.plans(ONNX)
        assert only.path.read_bytes() == plan_bytes(payload=b"last")
        names = {p.name for p in (store.root / ONNX).iterdir()}
        assert names == {fingerprint(only.sidecar)}, "leftovers are swept"
        if not cut:
            break
        moments += 1
    else:
        pytest.fail("an install makes more calls of the system than were cut here")
    assert moments > 10


def test_a_name_is_given_only_after_the_contents_are_on_the_disk(
    store: PlanStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    fsync, rename = os.fsync, os.rename

    def synced(fd: int) -> None:
        order.append(Path(os.readlink(f"/proc/self/fd/{fd}")).name)
        fsync(fd)

    def renamed(a: Path, b: Path) -> None:
        order.append(f"-> {Path(b).name}")
        rename(a, b)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    plan = install(store, tmp_path)
    given_at = order.index(f"-> {plan.path.parent.name}")
    before = order[:given_at]
    assert before[-4:-1] == ["model.plan", "sidecar.json", "seal"]
    assert before[-1].startswith(".new-")
    assert before.index("plan.key") if "plan.key" in before else ".plan.key.part" in before
    assert order[given_at + 1] == ONNX


def test_the_folder_of_a_living_builder_stays_and_that_of_a_dead_one_goes(
    store: PlanStore, tmp_path: Path
) -> None:
    with store.work() as folder:
        (folder / "half.plan").write_bytes(b"x")
        dead = store.root / ".work-dead"
        dead.mkdir()
        (dead / "half.plan").write_bytes(b"x")
        with store.work():  # a build that fails later sweeps, too
            assert folder.is_dir()
            assert not dead.exists()
        dead.mkdir()
        install(store, tmp_path)
        assert folder.is_dir()
        assert not dead.exists()
    assert not folder.exists()


def test_a_builders_plan_goes_into_the_store_without_a_copy(store: PlanStore, tmp_path: Path) -> None:
    with store.work() as folder:
        built = folder / "model.plan"
        built.write_bytes(plan_bytes())
        plan = store.install(built, sidecar_of(plan_bytes()), link=True)
        assert built.samefile(plan.path)
    assert stat.S_IMODE(plan.path.stat().st_mode) == 0o600
    store.verify(plan)


def test_where_no_link_can_be_made_a_copy_is(
    store: PlanStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "built").write_bytes(plan_bytes())
    plan = store.install(tmp_path / "built", sidecar_of(plan_bytes()), link=True)
    assert not plan.path.samefile(tmp_path / "built")
    store.verify(plan)


@pytest.fixture
def held(store: PlanStore) -> Iterator[Path]:
    durable.make_folder(store.root)
    lock = store.root / ".lock"
    with exclusive(lock):
        yield lock


def test_a_lock_is_held_by_one(held: Path) -> None:
    assert durable.is_held(held)
    assert not durable.is_held(held.with_name("none"))
