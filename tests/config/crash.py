"""What may be left of files when the power fails: every state that a journaling file system may show afterwards.

Recorded are the calls that change files (`record`), then `states` gives, for every moment between two of them, each
folder tree that may be found: a name that was not synced may be there or not, in any combination, and contents that
were not synced may be empty, half or whole. This is the model of ALICE (Pillai et al., OSDI 2014), for the few calls
that edged makes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, combinations, product
from pathlib import Path
from typing import Any

import pytest

Tree = dict[str, bytes | None]  # relative path -> contents; None: a folder


@dataclass(frozen=True)
class Op:
    """One call. `during`: what the recorder was told that goes on."""

    kind: str  # mkdir, create, sync, rename, unlink, syncdir
    path: str
    other: str = ""
    inode: int = 0
    contents: bytes = b""
    during: Any = None


@dataclass
class Recorder:
    """`during` is set by who records, and kept with each call."""

    root: Path
    during: Any = None
    ops: list[Op] = field(default_factory=list)

    def add(self, kind: str, path: Any, other: Any = "", **more: Any) -> None:
        if self.root in (Path(path), *Path(path).parents):
            inner, moved = (os.path.relpath(p, self.root) if p else "" for p in (path, other))
            self.ops.append(Op(kind, inner, moved, during=self.during, **more))


@contextmanager
def record(root: Path) -> Iterator[Recorder]:
    """Calls below `root`, made in this block."""
    seen = Recorder(root)
    real = {name: getattr(os, name) for name in ("open", "mkdir", "rename", "unlink", "fsync")}

    def opened(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        fd: int = real["open"](path, flags, *rest, **more)
        if flags & os.O_CREAT:
            seen.add("create", path, inode=os.fstat(fd).st_ino)
        return fd

    def synced(fd: int) -> None:
        path = os.readlink(f"/proc/self/fd/{fd}")
        if os.path.isdir(path):
            seen.add("syncdir", path)
        else:
            seen.add("sync", path, inode=os.fstat(fd).st_ino, contents=Path(path).read_bytes())
        real["fsync"](fd)

    def plain(name: str) -> Callable[..., None]:
        def call(path: Any, *rest: Any, **more: Any) -> None:
            real[name](path, *rest, **more)
            seen.add(name, path, rest[0] if name == "rename" else "")

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", opened)
        patch.setattr(os, "fsync", synced)
        for name in ("mkdir", "rename", "unlink"):
            patch.setattr(os, name, plain(name))
        yield seen


@dataclass
class _Disk:
    """names: relative path -> inode, 0 for a folder. `waiting`: calls that change names and are not synced yet."""

    names: dict[str, int] = field(default_factory=dict)
    whole: dict[int, bytes] = field(default_factory=dict)  # contents that are synced
    later: dict[int, bytes] = field(default_factory=dict)  # contents that will be
    waiting: list[Op] = field(default_factory=list)

    def do(self, op: Op) -> None:
        if op.kind == "sync":
            self.whole[op.inode] = op.contents
        elif op.kind == "syncdir":
            inside = [
                o for o in self.waiting if os.path.dirname(o.path) == ("" if op.path == "." else op.path)
            ]
            self.names = _named(self.names, inside)
            self.waiting = [o for o in self.waiting if o not in inside]
        else:
            self.waiting.append(op)

    def trees(self) -> Iterator[Tree]:
        subsets = chain.from_iterable(combinations(self.waiting, n) for n in range(len(self.waiting) + 1))
        for names in (_named(self.names, applied) for applied in subsets):
            reachable = {p: i for p, i in names.items() if all(q in names for q in _parents(p))}
            files = {i for i in reachable.values() if i}
            for contents in product(*(self._contents(i) for i in sorted(files))):
                found = dict(zip(sorted(files), contents, strict=True))
                yield {p: found[i] if i else None for p, i in reachable.items()}

    def _contents(self, inode: int) -> tuple[bytes, ...]:
        if inode in self.whole:
            return (self.whole[inode],)
        text = self.later[inode]
        return b"", text[: len(text) // 2], text


def _parents(path: str) -> list[str]:
    parts = path.split(os.sep)
    return [os.sep.join(parts[:n]) for n in range(1, len(parts))]


def _named(names: dict[str, int], ops: Any) -> dict[str, int]:
    names = dict(names)
    for op in ops:
        if op.kind == "rename":
            names.pop(op.path, None)
            names[op.other] = op.inode
        elif op.kind == "unlink":
            names.pop(op.path, None)
        else:
            names[op.path] = op.inode
    return names


def states(ops: list[Op], during_after: Any, start: Tree | None = None) -> Iterator[tuple[Any, Tree]]:
    """(what goes on then, what may be found) for every moment; `start` is what was there, synced, before."""
    disk = _Disk()
    for n, (path, contents) in enumerate((start or {}).items(), 1):
        disk.names[path] = 0 if contents is None else -n
        if contents is not None:
            disk.whole[-n] = contents
    inodes = dict(disk.names)  # as the process sees them
    ops = list(ops)
    for i, op in enumerate(ops):  # which file a rename moves, and what a created one will hold
        if op.kind == "create":
            # a number of its own for each file: the file system uses inodes again
            inodes[op.path] = fresh = i + 1
            ops[i] = _numbered(op, fresh)
        elif op.kind == "sync":
            ops[i] = _numbered(op, inodes[op.path])
            disk.later[inodes[op.path]] = op.contents
        elif op.kind == "rename":
            inodes[op.other] = inodes.pop(op.path)
            ops[i] = _numbered(op, inodes[op.other])
        elif op.kind == "mkdir":
            ops[i] = _numbered(op, 0)
    seen: set[str] = set()
    for i in range(len(ops) + 1):
        during = ops[i].during if i < len(ops) else during_after
        for tree in disk.trees():
            key = repr((during, sorted(tree.items())))
            if key not in seen:
                seen.add(key)
                yield during, tree
        if i < len(ops):
            disk.do(ops[i])


def _numbered(op: Op, inode: int) -> Op:
    return Op(op.kind, op.path, op.other, inode, op.contents, op.during)


def build(tree: Tree, root: Path) -> None:
    """Make `root` hold just this."""
    shutil.rmtree(root, ignore_errors=True)
    for path in sorted(tree):
        contents = tree[path]
        if contents is None:
            (root / path).mkdir(parents=True, exist_ok=True)
        else:
            (root / path).write_bytes(contents)


def tree_of(root: Path, inside: str) -> Tree:
    """What `inside` holds, which is a folder below `root`."""
    found = [root / inside, *(root / inside).rglob("*")]
    return {str(p.relative_to(root)): None if p.is_dir() else p.read_bytes() for p in found}
