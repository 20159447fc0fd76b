"""What edged's code uses of TensorRT, read from its source: names, arguments, and methods that it overrides.

Chains from the module (`trt.BuilderFlag.TF32`, also through local names) are known exactly. Of other attributes only the
name is known; it is TensorRT's unless edged or Python defines that name, and one that nobody defines is a mistake.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
Path_ = tuple[str, ...]


@dataclass
class Usage:
    """Of one file. Values are where: "file:line"."""

    chains: dict[Path_, str] = field(default_factory=dict)  # ("BuilderFlag", "TF32")
    names: dict[str, str] = field(default_factory=dict)  # attributes of what is not known
    words: dict[str, str] = field(default_factory=dict)  # texts in capitals: names of enumerations' members
    keywords: dict[tuple[str, str], str] = field(default_factory=dict)  # (method, argument)
    overrides: dict[tuple[str, str], tuple[int, str]] = field(
        default_factory=dict
    )  # (class, method) -> arguments


def files() -> list[Path]:
    """Those that may touch TensorRT: the engine's, and what imports the library from elsewhere."""
    found = sorted((ROOT / "edged").rglob("*.py"))
    return [f for f in found if "tensorrt" in f.name or "tensorrt_library import" in f.read_text()]


@cache
def usage(file: Path) -> Usage:
    return _Reader(file).found


class _Reader(ast.NodeVisitor):
    def __init__(self, file: Path) -> None:
        self.found = Usage()
        self._file = file.relative_to(ROOT)
        tree = ast.parse(file.read_text())
        # names that stand for the module (an empty path) or for something in it
        self._aliases: dict[str, Path_] = {"trt": (), "module": (), "self._trt": ()}
        for _ in range(2):  # an alias of an alias
            for node in ast.walk(tree):
                if isinstance(node, ast.Assign):
                    self._alias(node.targets[0], node.value)
        self.visit(tree)

    def _alias(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            for t, v in zip(target.elts, value.elts, strict=True):
                self._alias(t, v)
            return
        path = self._path(value)
        if path is not None:
            self._aliases[ast.unparse(target)] = path

    def _path(self, node: ast.expr) -> Path_ | None:
        """Of an expression that leads into the module."""
        text = ast.unparse(node)
        if text in self._aliases:
            return self._aliases[text]
        if isinstance(node, ast.Attribute):
            if node.attr == "module":
                return ()
            inner = self._path(node.value)
            return None if inner is None else (*inner, node.attr)
        return None

    def _where(self, node: ast.AST) -> str:
        return f"{self._file}:{getattr(node, 'lineno', '?')}"

    def visit_Attribute(self, node: ast.Attribute) -> None:
        path = self._path(node)
        if path:
            self.found.chains[path] = self._where(node)
        elif path is None and not node.attr.startswith("_"):
            self.found.names[node.attr] = self._where(node)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute):
            for keyword in node.keywords:
                if keyword.arg is not None:
                    self.found.keywords[node.func.attr, keyword.arg] = self._where(node)
        if isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr"):
            path, name = self._path(node.args[0]), node.args[1]
            if path is not None and isinstance(name, ast.Constant):
                self.found.chains[(*path, str(name.value))] = self._where(node)
        self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for base in node.bases:
            path = self._path(base)
            for method in node.body if path else ():
                if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
                    assert path is not None
                    key = (".".join(path), method.name)
                    self.found.overrides[key] = (len(method.args.args) - 1, self._where(method))
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if (
            isinstance(node.value, str)
            and node.value.isidentifier()
            and node.value.isupper()
            and len(node.value) > 2
        ):
            self.found.words[node.value] = self._where(node)


@cache
def defined_here() -> frozenset[str]:
    """Attributes that edged's own code defines: methods, functions, fields."""
    return frozenset(
        name for f in (ROOT / "edged").rglob("*.py") for name in _definitions(ast.parse(f.read_text()))
    )


def _definitions(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                for part in target.elts if isinstance(target, ast.Tuple) else [target]:
                    if isinstance(part, ast.Name):
                        yield part.id
                    elif isinstance(part, ast.Attribute) and ast.unparse(part.value) == "self":
                        yield part.attr


@cache
def of_python(file: Path) -> frozenset[str]:
    """Attributes of built-in types and of whatever the file imports but edged and TensorRT."""
    found = {
        name
        for kind in (str, bytes, int, float, list, dict, set, tuple, memoryview, OSError)
        for name in dir(kind)
    }
    found |= set(dir(ModuleNotFoundError))
    for node in ast.walk(ast.parse(file.read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith("edged"):
            names = [node.module]
        for name in names:
            if name.split(".")[0] in sys.stdlib_module_names:
                module = importlib.import_module(name)
                found |= set(dir(module))
                for _, kind in inspect.getmembers(module, inspect.isclass):
                    found |= set(dir(kind))
            elif not name.startswith("edged"):
                found |= {
                    n
                    for _, kind in inspect.getmembers(importlib.import_module(name), inspect.isclass)
                    for n in dir(kind)
                }
                found |= set(dir(importlib.import_module(name)))
    return frozenset(found)
