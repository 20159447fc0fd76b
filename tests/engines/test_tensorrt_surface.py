"""Every name and argument of TensorRT that edged's code uses is there in every version it is meant for.

The names are read from the code (usage.py), the versions from the real bindings (bindings.py); only what is in the
table tensorrt_library.FEATURES may be absent from some. The fake is held against the same bindings.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from edged.engines.tensorrt_library import FEATURES
from tests.engines import bindings, fake_tensorrt
from tests.engines.bindings import FULL, NAMES, Surface, arguments, surface
from tests.engines.usage import ROOT, defined_here, files, of_python, usage

FILES = {str(f.relative_to(ROOT)): f for f in files()}
EXCUSED = {tuple(path.split(".")) for paths in FEATURES.values() for path in paths}
# what code can ask without having it
NAMES_EXCUSED = {path[-1] for path in EXCUSED}


def versions(file: str) -> list[str]:
    """A builder is wanted by edged/build alone: nothing else is without the lean runtime."""
    return list(FULL) if file.startswith("edged/build/") else list(NAMES)


def has(found: Surface, path: tuple[str, ...]) -> bool:
    """Whether a chain from the module is there; what follows an enumeration's member is not looked at."""
    for i in range(len(path)):
        owner = ".".join(path[:i])
        if owner not in found:
            return i > 1
        if path[i] not in found[owner]:
            return False
    return True


def members(found: Surface) -> set[str]:
    return {name for owner in found.values() for name in owner}


def everywhere() -> set[str]:
    """Members of any class of any version."""
    return {name for version in NAMES for name in members(surface(version))}


PAIRS = [(f, v) for f in FILES for v in versions(f)]


def test_the_code_is_read() -> None:
    found = usage(FILES["edged/engines/_tensorrt_context.py"])
    assert ("ExecutionContextAllocationStrategy", "USER_MANAGED") in found.chains
    assert {"set_tensor_address", "execute_async_v3", "infer_shapes"} <= found.names.keys()
    assert ("IProfiler", "report_layer_time") in usage(FILES["edged/engines/_tensorrt_layers.py"]).overrides


@pytest.mark.parametrize(("file", "version"), PAIRS)
def test_names_from_the_module_are_there(file: str, version: str) -> None:
    found = surface(version)
    for path, where in usage(FILES[file]).chains.items():
        excused = any(path[: len(e)] == e for e in EXCUSED) or path[:1] in {
            (e[0],) for e in EXCUSED if len(e) == 1
        }
        absent_class = path[0] not in found[""] and any(e[0] == path[0] for e in EXCUSED)
        assert has(found, path) or excused or absent_class, f"{where}: {version} has no {'.'.join(path)}"


@pytest.mark.parametrize(("file", "version"), PAIRS)
def test_attributes_are_there_and_none_is_a_mistake(file: str, version: str) -> None:
    found, others = members(surface(version)), everywhere()
    for name, where in usage(FILES[file]).names.items():
        ours = name in defined_here() or name in of_python(FILES[file])
        assert ours or name in others, f"{where}: nobody has an attribute {name}"
        assert ours or name in found or name in NAMES_EXCUSED, f"{where}: {version} has no {name}"


@pytest.mark.parametrize(("file", "version"), PAIRS)
def test_members_of_enumerations_that_are_named_in_texts_are_there(file: str, version: str) -> None:
    found, others = members(surface(version)), everywhere()
    for word, where in usage(FILES[file]).words.items():
        if word in others:
            assert word in found or word in NAMES_EXCUSED, f"{where}: {version} has no {word}"


@pytest.mark.parametrize(("file", "version"), PAIRS)
def test_keyword_arguments_are_there(file: str, version: str) -> None:
    found = surface(version)
    for (method, keyword), where in usage(FILES[file]).keywords.items():
        signatures = [s for owner in found.values() for s in owner.get(method, ())]
        if method in defined_here() or not signatures:
            continue
        assert any(keyword in arguments(s) for s in signatures), (
            f"{where}: {version}: {method}({keyword}=) is not there"
        )


@pytest.mark.parametrize(("file", "version"), PAIRS)
def test_methods_that_tensorrt_calls_take_what_it_gives(file: str, version: str) -> None:
    found = surface(version)
    for (owner, method), (count, where) in usage(FILES[file]).overrides.items():
        signatures = found.get(owner, {}).get(method, [])
        assert not signatures or count in {len(arguments(s)) for s in signatures}, (
            f"{where}: {version}: {signatures}"
        )


def test_the_table_of_differences_has_nothing_that_all_or_none_have() -> None:
    for feature, paths in FEATURES.items():
        have = {v: [has(surface(v), tuple(p.split("."))) for p in paths] for v in NAMES}
        assert any(all(x) for x in have.values()), f"nobody has '{feature}': {have}"
        assert not all(all(x) for x in have.values()), f"all have '{feature}'"


def test_a_mistake_would_be_found() -> None:
    for version in NAMES:
        found = surface(version)
        assert not has(found, ("ExecutionContextAllocationStrategy", "USER_MANGED"))
        assert "create_execution_contxt" not in members(found)
    assert "get_device_memory_size" not in everywhere() | defined_here()
    assert arguments("(self: a.B, name: str, shape: c.Sequence[t.SupportsInt], x: E = <E.A: 0>)") == [
        "name",
        "shape",
        "x",
    ]


# what the fake has beyond the real ones, for tests
_FAKES_OWN = {"facts", "runtime", "session", "declared", "contexts", "made", "strategy"}


def _fakes(version: str) -> Iterator[tuple[str, type]]:
    flavour = "tensorrt-rtx" if "rtx" in version else "tensorrt"
    yield from fake_tensorrt.classes(flavour, lean="lean" in version).items()


@pytest.mark.parametrize("version", NAMES)
def test_the_fake_has_nothing_that_the_real_one_lacks(version: str) -> None:
    found = surface(version)
    for name, kind in _fakes(version):
        assert name in found[""], f"{version} has no {name}"
        for member, value in vars(kind).items():
            if member.startswith("_") or member in _FAKES_OWN:
                continue
            assert member in found[name], f"{version}: {name} has no {member}"
            signatures = found[name][member]
            if inspect.isfunction(value) and signatures:
                own = list(inspect.signature(value).parameters)[1:]
                fits = [a for a in map(arguments, signatures) if len(a) >= len(own)]
                assert any(_same(own, a) for a in fits), (
                    f"{version}: {name}.{member}{tuple(own)}: {signatures}"
                )


def _same(own: list[str], real: list[str]) -> bool:
    """Names agree as far as the binding has any ("arg0" is none), and nothing is left out that it needs."""
    return all(a == b or b.startswith("arg") for a, b in zip(own, real, strict=False))


def test_every_fetched_binding_is_looked_at(tmp_path: Path) -> None:
    assert set(FULL) < set(NAMES)
    assert len(bindings.NAMES) == 4
