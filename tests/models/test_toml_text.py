from __future__ import annotations

import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.messages import Name
from edged.models import toml_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

scalars = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
)


@given(st.one_of(scalars, st.lists(scalars, max_size=4)))
def test_what_is_written_is_read_again(value: Any) -> None:
    assert tomllib.loads(f"x = {toml_text.value(value)}") == {"x": value}


def test_other_values_are_a_programming_error() -> None:
    with pytest.raises(TypeError):
        toml_text.value(None)


@given(st.text())
def test_any_text_becomes_a_name(text: str) -> None:
    msgspec.convert(toml_text.as_name(text), Name)


def test_remarks_stand_above_their_key_and_stay_on_one_line() -> None:
    w = toml_text.Writer("a\nb")
    w.put("x", 1)
    w.table("t")
    w.check("is it\nso?")
    w.put("y", [1.5, "z"])
    assert w.text() == '# a b\nx = 1\n\n[t]\n# check: is it so?\ny = [1.5, "z"]\n'
    assert w.checks == ["is it so?"]
