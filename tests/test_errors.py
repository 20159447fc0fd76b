"""Errors say what to do next, and their exit codes are the documented ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged import errors
from edged.errors import ConfigError, EdgedError, ExitCode, MissingPackage, Problem

README = Path(__file__).resolve().parents[1] / "README.md"
TREE = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, EdgedError)]


def test_the_readme_lists_exactly_the_exit_codes() -> None:
    rows = re.findall(r"^\| (\d+) \| ([A-Z_]+) \| (.+) \|$", README.read_text(), re.MULTILINE)
    assert [(int(number), name) for number, name, _ in rows] == [(c.value, c.name) for c in ExitCode]
    assert all(meaning.strip() for _, _, meaning in rows)


def test_the_tree_is_drawn_as_it_is() -> None:
    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")
    assert drawn == [e.__name__ for e in TREE if e is not EdgedError]


def test_each_error_has_its_own_exit_code_but_a_missing_package_is_of_the_configuration() -> None:
    codes = {e: e.exit_code for e in TREE}
    assert codes.pop(MissingPackage) is ExitCode.CONFIG
    assert codes.pop(EdgedError) is ExitCode.INTERNAL
    assert len(set(codes.values())) == len(codes)
    assert ExitCode.OK not in codes.values()


@given(st.text("aü\n\\😀\ud800\udcff\udfff"))
def test_errors_are_texts_that_every_encoder_takes(text: str) -> None:
    problem = Problem(text, text, text)
    error = EdgedError(text, hint=text)
    for made in (problem.path, str(problem), error.message, str(error), str(ConfigError(text, [problem]))):
        made.encode()
    if not any("\ud800" <= c <= "\udfff" for c in text):
        assert (error.message, error.hint, problem.path) == (text, text, text)


def test_an_error_tells_its_remedy() -> None:
    assert str(EdgedError("it broke", hint="mend it")) == "it broke\n  remedy: mend it"
    assert str(EdgedError("it broke")) == "it broke"


def test_a_configuration_error_lists_every_problem_with_its_place() -> None:
    error = ConfigError(
        "a.toml", [Problem("sinks.bus.kind", "is unknown", "did you mean 'zmq'?"), Problem("", "no")]
    )
    assert str(error) == "a.toml: sinks.bus.kind: is unknown; did you mean 'zmq'?\na.toml: no"


def test_a_missing_package_says_how_to_get_it() -> None:
    error = MissingPackage("cv2", needed_by="source 'front'", extra="ort")
    assert "source 'front' needs the Python package 'cv2'" in str(error)
    assert "pip install 'edged[ort]'" in str(error)


@pytest.mark.parametrize("error", TREE)
def test_every_error_is_explained_or_named_in_the_tree(error: type[EdgedError]) -> None:
    assert error.__name__ in (errors.__doc__ or "")
