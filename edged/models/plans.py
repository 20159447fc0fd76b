"""The plan store: plans with what is known of them, whole or not there, whenever the power fails.

    state_dir/plan.key                                 32 random bytes of this device, mode 0600, made at first use
    state_dir/plans/<onnx sha256>/<fingerprint>/       model.plan, sidecar.json, seal (HMAC-SHA256 of the sidecar)
    state_dir/plans/<onnx sha256>/<fingerprint>~/      the one that is being replaced: still whole, still listed
    state_dir/plans/<onnx sha256>/.new-…, .dead-…      never listed; of a dead builder: swept at the next build
    state_dir/plans/.work-…                            a builder's own files, as long as it lives

A plan is executable GPU code. It is trusted because the sidecar names its hash, the seal fits the device's key, and
nobody else can have written either (trust.py).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edged.models import trust
from edged.models.durable import (
    contents_of,
    copy_new,
    exclusive,
    is_held,
    link_new,
    look_at,
    make_folder,
    own_folder,
    remedy,
    remove_folder,
    replace_file,
    sync_folder,
    write_new,
)
from edged.models.sidecar import FORMAT, NAMES, PlanError, Shape, Sidecar, fingerprint, header, same_version

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
        self.home = root.parent
        self.key_file = self.home / "plan.key"

    fingerprint = staticmethod(fingerprint)

    def plans(self, onnx_sha256: str) -> list[Plan]:
        """All whole plans of this ONNX file, the last installed first. Cheap: only `verify` looks at contents."""
        found = [p for p in map(self._read, self._folders(onnx_sha256)) if isinstance(p, Plan)]
        return sorted(found, key=lambda p: (-p.sidecar.sequence, -p.sidecar.built_at, p.path))

    def broken(self, onnx_sha256: str) -> list[Broken]:
        """The folders that `plans` leaves out, and why: for people and for edged doctor."""
        return [b for b in map(self._read, self._folders(onnx_sha256)) if isinstance(b, Broken)]

    def models(self) -> list[str]:
        """The sha256 of each ONNX file that has a folder here."""
        return sorted(f.name for f in self._entries(self.root) if re.fullmatch(r"[0-9a-f]{64}", f.name))

    def find(
        self,
        onnx_sha256: str,
        engine: str,
        version: str,
        capability: str,
        *,
        precision: str | None = None,
        dla: int | None = None,
        shapes: Mapping[str, Shape] | None = None,
        model: str = "DIR",
    ) -> Plan:
        """The plan that this runtime may load on this GPU ("8.7"); of several the last that was installed.

        `dla`: a core that runs plans which were built for one, and no others. One with a profile for `shapes` (input
        -> shape) goes before those without. `model` is named in the remedy. PlanError says what was looked for, what
        is there, and how to build the one that is missing.
        """
        found = self.plans(onnx_sha256)
        fitting = [
            p
            for p in found
            if p.sidecar.engine == engine
            and p.sidecar.fits_version(version)
            and p.sidecar.fits_capability(capability)
            and precision in (None, p.sidecar.precision)
            and (p.sidecar.dla is None) == (dla is None)
        ]
        if fitting:
            return next((p for p in fitting if p.sidecar.holds(shapes or {})), fitting[0])
        options = {"precision": precision, "dla": dla}
        said = "".join(f" --{k} {v}" for k, v in options.items() if v is not None)
        wanted = f"{NAMES.get(engine, engine)} {version}, capability {capability}"
        wanted += "".join(f", {v}" for v in (precision, "DLA" if dla is not None else None) if v)
        there = "; ".join(str(p.sidecar) for p in found) or "none"
        more = "".join(f"; {b.path}: {b.reason}" for b in self.broken(onnx_sha256))
        raise PlanError(
            f"no plan fits {wanted} (ONNX file {onnx_sha256[:12]}…); there: {there}{more}",
            hint=f"edged model build {model} --engine {engine}{said}",
        )

    def verify(self, plan: Plan, pages: Any = None) -> None:
        """Read all of it and compare: seal, size, hash, header. PlanError unless the plan is what was installed.

        Nor is it where another user could have written it. `pages`: what is about to be loaded (a buffer), instead of
        the file, which could be another by then.
        """
        folder = plan.path.parent
        again = self._read(folder)
        if isinstance(again, Broken):
            raise self._refused(plan, again.reason)
        if again.sidecar != plan.sidecar:
            raise self._refused(plan, "its sidecar is not the one that was read before")
        try:
            for path in (self.home, self.root, folder.parent, folder, plan.path):
                trust.check(path, self.home)
            trust.check(self.key_file, self.home, secret=True)
            seal = (folder / SEAL).read_bytes()
            text = (folder / SIDECAR).read_bytes()
            if not hmac.compare_digest(seal, self._seal(text, self._key(make=False))):
                raise self._refused(plan, f"its seal does not fit this device's key ({self.key_file})")
            found = look_at(plan.path) if pages is None else contents_of(pages)
        except PermissionError as e:
            raise trust.denied(Path(str(e.filename)), self.home) from e
        except OSError as e:
            raise self._refused(plan, f"cannot be read: {e.strerror or e}") from e
        if found.sha256 != plan.sidecar.plan_sha256:
            raise self._refused(plan, f"its sha256 is {found.sha256}, not {plan.sidecar.plan_sha256}")
        _check_header(found.start, plan.sidecar)

    def install(self, source_file: Path, sidecar: Sidecar, *, link: bool = False) -> Plan:
        """Copy the plan `source_file` into the store, with its sidecar; one of the same fingerprint is replaced.

        At every moment the store lists the old one or the new one, whole. PlanError where the file is not the one
        that the sidecar describes, or cannot be written. What dead builders left is swept first. `link`: no copy where
        both are on one filesystem; nobody may write to the file any more. What is returned has its number in the store.
        """
        parent = self.root / sidecar.onnx_sha256
        target = parent / fingerprint(sidecar)
        old = parent / f"{target.name}~"
        try:
            make_folder(parent)
            with exclusive(self.root / ".lock"):
                self._check_home()
                self._sweep()
                key = self._key(make=True)
                # the clock cannot tell which is newer: a board without a battery starts in 1970
                last = max((p.sidecar.sequence for p in self.plans(sidecar.onnx_sha256)), default=0)
                sidecar = msgspec.structs.replace(sidecar, sequence=last + 1)
                new = own_folder(parent, ".new-")
                try:
                    _copy(source_file, new / PLAN, sidecar, link=link)
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
            raise self._unwritable(parent, e) from e
        return Plan(target / PLAN, sidecar)

    @contextmanager
    def work(self) -> Iterator[Path]:
        """A folder for a builder's own files, gone afterwards; after a sudden death swept at the next build."""
        with ExitStack() as stack:
            try:
                make_folder(self.root)
                with exclusive(self.root / ".lock"):
                    self._check_home()
                    self._sweep()
                    # root's own, also where it builds for another user
                    folder = Path(tempfile.mkdtemp(prefix=".work-", dir=self.root))
                    stack.callback(shutil.rmtree, folder, ignore_errors=True)
                    stack.enter_context(exclusive(folder / ".lock"))
            except OSError as e:
                raise self._unwritable(self.root, e) from e
            yield folder

    def _check_home(self) -> None:
        for folder in (self.home, self.root):
            trust.check(folder, self.home)

    def _folders(self, onnx_sha256: str) -> list[Path]:
        return [f for f in self._entries(self.root / onnx_sha256) if _FOLDER.fullmatch(f.name)]

    def _read(self, folder: Path) -> Plan | Broken:
        path = folder / PLAN
        try:
            sidecar = msgspec.json.decode((folder / SIDECAR).read_bytes(), type=Sidecar)
            size = path.stat().st_size
            sealed = (folder / SEAL).is_file()
        except OSError as e:
            return Broken(folder, f"{Path(str(e.filename or path)).name}: {e.strerror or e}")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
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

    def _entries(self, folder: Path) -> list[Path]:
        try:
            return sorted(folder.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []
        except PermissionError as e:
            raise trust.denied(folder, self.home) from e
        except OSError as e:
            raise PlanError(f"{folder}: plans cannot be read: {e.strerror or e}", hint=remedy(e)) from e

    def _unwritable(self, folder: Path, e: OSError) -> PlanError:
        if isinstance(e, PermissionError):
            return trust.denied(folder, self.home)
        return PlanError(f"{folder}: a plan cannot be stored: {e.strerror or e}", hint=remedy(e))

    @staticmethod
    def _seal(text: bytes, key: bytes) -> bytes:
        return hmac.new(key, text, hashlib.sha256).hexdigest().encode()

    def _refused(self, plan: Plan, reason: str) -> PlanError:
        return PlanError(
            f"{plan.path}: {reason}",
            hint=f"edged model build DIR --engine {plan.sidecar.engine} builds it again",
        )


def _copy(source: Path, target: Path, sidecar: Sidecar, *, link: bool) -> None:
    """The plan file, synced; PlanError unless it is what the sidecar says."""
    found = (link_new if link else copy_new)(source, target)
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
