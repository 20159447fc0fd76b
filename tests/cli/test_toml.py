"""Plain values to TOML and back."""

from __future__ import annotations

import sys
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edged.cli._toml import document
from tests.searching import examples

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALARS = (
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)


@examples(40)
@given(st.dictionaries(TEXT, VALUES, max_size=4))
def test_everything_comes_back(data: dict[str, Any]) -> None:
    assert tomllib.loads(document(data)) == data


def test_it_is_written_as_people_write_it() -> None:
    data = {
        "schema": 1,
        "pipelines": {"front": {"source": "cam", "every": 2, "track": {}}},
        "sources": {"a b": {"kind": "rtsp", "list": [{"x": 1}]}},
    }
    assert document(data) == (
        "schema = 1\n"
        '\n[pipelines.front]\nsource = "cam"\nevery = 2\n'
        "\n[pipelines.front.track]\n"
        '\n[sources."a b"]\nkind = "rtsp"\nlist = [{x = 1}]\n'
    )
