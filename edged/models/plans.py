"""The plan store: plans with what is known of them, whole or not there, whenever the power fails.

    state_dir/plan.key                                 32 random bytes of this device, mode 0600, made at first use
    state_dir/plans/<onnx sha256>/<fingerprint>/       model.plan, sidecar.json, seal (HMAC-SHA256 of the sidecar)
    state_dir/plans/<onnx sha256>/<fingerprint>~/      the one that is being replaced: still whole, still listed
    state_dir/plans/<onnx sha256>/.new-…, .dead-…      never listed; of a dead builder: swept at the next install
    state_dir/plans/.work-…                            a builder's own files, as long as it lives

A plan is executable GPU code. It is trusted because the sidecar names its hash and the seal fits the device's key.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edged.models.durable import (
    copy_new,
    exclusive,
    is_held,
    look_at,
    make_folder,
    remove_folder,
    replace_file,
    sync_folder,
    write_new,
)
from edged.models.sidecar import FORMAT, NAMES, PlanError, Sidecar, fingerprint, header, same_version

__all__ = ["Broken", "Plan", "PlanError", "PlanStore", "Sidecar", "fingerprint", "header"]

PLAN, SIDECAR, SEAL = "model.plan", "sidecar.json", "seal"
KEY_BYTES = 32
_FOLDER = re.compile(r"[0-9a-f]{32}~?")


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan in the store. `path`: the plan file; its folder holds the sidecar and the seal."""

    path: Path
    sidecar: Sidecar


@dataclass(frozen=True, slots=True)
class Broken:
    """A folder of the store that is no whole plan, and why."""

    path: Path
    reason: str


class PlanStore:
    """Plans below `root` (state_dir/plans). Any thread and process may read and install; installs take turns.

    Nothing is created before the first install. Errors are PlanErrors.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.key_file = root.parent / "plan.key"

    fingerprint = staticmethod(fingerprint)

    def plans(self, onnx_sha256: str) -> list[Plan]:
        """All whole plans of this ONNX file, newest first. Cheap: contents are looked at only by `verify`."""
        found = [p for p in map(self._read, self._folders(onnx_sha256)) if isinstance(p, Plan)]
        return sorted(found, key=lambda p: (-p.sidecar.built_at, p.path))

    def broken(self, onnx_sha256: str) -> list[Broken]:
        """The folders that `plans` leaves out, and why: for people and for edged doctor."""
        return [b for b in map(self._read, self._folders(onnx_sha256)) if isinstance(b, Broken)]

    def models(self) -> list[str]:
        """The sha256 of each ONNX file that has a folder here."""
        return sorted(f.name for f in _entries(self.root) if re.fullmatch(r"[0-9a-f]{64}", f.name))

    def find(
        self,
        onnx_sha256: str,
        engine: str,
        version: str,
        capability: str,
        *,
        precision: str | None = None,
        model: str = "DIR",
    ) -> Plan:
        """The newest plan that this runtime may load on this GPU ("8.7"). `model` is named in the remedy.

        PlanError says what was looked for, what is there, and how to build the one that is missing.
        """
        found = self.plans(onnx_sha256)
        for plan in found:
            s = plan.sidecar
            if s.engine != engine or not s.fits_version(version) or not s.fits_capability(capability):
                continue
            if precision in (None, s.precision):
                return plan
        wanted = f"{NAMES.get(engine, engine)} {version}, capability {capability}"
        there = "; ".join(str(p.sidecar) for p in found) or "none"
        more = "".join(f"; {b.path}: {b.reason}" for b in self.broken(onnx_sha256))
        raise PlanError(
            f"no plan fits {wanted}{f', {precision}' if precision else ''} "
            f"(ONNX file {onnx_sha256[:12]}…); there: {there}{more}",
            hint=f"edged model build {model} --engine {engine}{f' --precision {precision}' if precision else ''}",
        )

    def verify(self, plan: Plan) -> None:
        """Read all of it and compare: seal, size, hash, header. PlanError unless the plan is what was installed."""
        again = self._read(plan.path.parent)
        if isinstance(again, Broken):
            raise self._refused(plan, again.reason)
        if again.sidecar != plan.sidecar:
            raise self._refused(plan, "its sidecar is not the one that was read before")
        try:
            seal = (plan.path.parent / SEAL).read_bytes()
            text = (plan.path.parent / SIDECAR).read_bytes()
            if not hmac.compare_digest(seal, self._seal(text, self._key(make=False))):
                raise self._refused(plan, f"its seal does not fit this device's key ({self.key_file})")
            found = look_at(plan.path)
        except OSError as e:
            raise self._refused(plan, f"cannot be read: {e.strerror or e}") from e
        if found.sha256 != plan.sidecar.plan_sha256:
            raise self._refused(plan, f"its sha256 is {found.sha256}, not {plan.sidecar.plan_sha256}")
        _check_header(found.start, plan.sidecar)

    def install(self, source_file: Path, sidecar: Sidecar) -> Plan:
        """Copy the plan `source_file` into the store, with its sidecar; one of the same fingerprint is replaced.

        At every moment the store lists the old one or the new one, whole. PlanError where the file is not the one
        that the sidecar describes, or cannot be written. What dead builders left is swept first.
        """
        parent = self.root / sidecar.onnx_sha256
        target = parent / fingerprint(sidecar)
        old = parent / f"{target.name}~"
        try:
            make_folder(parent)
            with exclusive(self.root / ".lock"):
                self._sweep()
                key = self._key(make=True)
                new = Path(tempfile.mkdtemp(prefix=".new-", dir=parent))  # mode 0700
                try:
                    _copy(source_file, new / PLAN, sidecar)
                    text = msgspec.json.encode(sidecar)
                    write_new(new / SIDECAR, text)
                    write_new(new / SEAL, self._seal(text, key))
                    sync_folder(new)
                except BaseException:
                    shutil.rmtree(new, ignore_errors=True)
                    raise
                if isinstance(self._read(target), Plan):
                    os.rename(target, old)
                elif target.exists():
                    remove_folder(target)
                os.rename(new, target)
                sync_folder(parent)
                if old.exists():
                    remove_folder(old)
        except OSError as e:
            raise _unwritable(parent, e) from e
        return Plan(target / PLAN, sidecar)

    @contextmanager
    def work(self) -> Iterator[Path]:
        """A folder for a builder's own files, gone afterwards; after a sudden death swept at the next install."""
        with ExitStack() as stack:
            try:
                make_folder(self.root)
                with exclusive(self.root / ".lock"):
                    folder = Path(tempfile.mkdtemp(prefix=".work-", dir=self.root))
                    stack.enter_context(exclusive(folder / ".lock"))
            except OSError as e:
                raise _unwritable(self.root, e) from e
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            yield folder

    def _folders(self, onnx_sha256: str) -> list[Path]:
        return [f for f in _entries(self.root / onnx_sha256) if _FOLDER.fullmatch(f.name)]

    def _read(self, folder: Path) -> Plan | Broken:
        path = folder / PLAN
        try:
            sidecar = msgspec.json.decode((folder / SIDECAR).read_bytes(), type=Sidecar)
            size = path.stat().st_size
            sealed = (folder / SEAL).is_file()
        except OSError as e:
            return Broken(folder, f"{Path(str(e.filename or path)).name}: {e.strerror or e}")
        except (msgspec.MsgspecError, UnicodeDecodeError) as e:
            return Broken(folder, f"{SIDECAR} is not one: {e}")
        if sidecar.format != FORMAT:
            return Broken(folder, f"{SIDECAR} has format {sidecar.format}; this edged reads {FORMAT}")
        if sidecar.onnx_sha256 != folder.parent.name or fingerprint(sidecar) != folder.name.rstrip("~"):
            return Broken(folder, f"{SIDECAR} is of another folder")
        if size != sidecar.plan_bytes:
            return Broken(folder, f"{PLAN} has {size} bytes, not {sidecar.plan_bytes}")
        return Plan(path, sidecar) if sealed else Broken(folder, f"{SEAL} is missing")

    def _sweep(self) -> None:
        """Remove what dead builders left. The lock of the store is held: nobody else is installing."""
        for work in self.root.glob(".work-*"):
            if not is_held(work / ".lock"):
                shutil.rmtree(work, ignore_errors=True)  # its owner may be at it
        for left in (*self.root.glob("*/.new-*"), *self.root.glob("*/.dead-*")):
            shutil.rmtree(left)
        for old in self.root.glob("*/*~"):
            if isinstance(self._read(old.with_name(old.name.rstrip("~"))), Plan):
                remove_folder(old)

    def _key(self, *, make: bool) -> bytes:
        try:
            key = self.key_file.read_bytes()
        except FileNotFoundError:
            if not make:
                raise
            key = secrets.token_bytes(KEY_BYTES)
            replace_file(self.key_file, key)
        if len(key) != KEY_BYTES:
            raise PlanError(
                f"{self.key_file}: has {len(key)} bytes, not {KEY_BYTES}",
                hint="delete it; all plans must then be built again",
            )
        return key

    @staticmethod
    def _seal(text: bytes, key: bytes) -> bytes:
        return hmac.new(key, text, hashlib.sha256).hexdigest().encode()

    def _refused(self, plan: Plan, reason: str) -> PlanError:
        return PlanError(
            f"{plan.path}: {reason}",
            hint=f"edged model build DIR --engine {plan.sidecar.engine} builds it again",
        )


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _unwritable(folder: Path, e: OSError) -> PlanError:
    return PlanError(
        f"{folder}: a plan cannot be stored: {e.strerror or e}",
        hint="check the folder's permissions and the free space (df -h), or name another with --state-dir",
    )


def _copy(source: Path, target: Path, sidecar: Sidecar) -> None:
    """The plan file, synced; PlanError unless it is what the sidecar says."""
    found = copy_new(source, target)
    if (found.sha256, found.size) != (sidecar.plan_sha256, sidecar.plan_bytes):
        raise PlanError(
            f"{source}: is not the plan that its sidecar describes: {found.size} bytes, sha256 {found.sha256}",
            hint="build it again: edged model build DIR",
        )
    _check_header(found.start, sidecar)


def _check_header(start: bytes, sidecar: Sidecar) -> None:
    """PlanError unless the plan's own words are those of the sidecar."""
    version = header(start, sidecar.engine)
    if not same_version(version, sidecar.version):
        raise PlanError(
            f"the plan's header says {NAMES[sidecar.engine]} {version}, its sidecar {sidecar.version}",
            hint=f"edged model build DIR --engine {sidecar.engine} builds it again",
        )
