from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.config.quantities import SIZE_PATTERN, format_size, parse_size


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("1 GiB", 1 << 30),
        ("512 MiB", 512 << 20),
        ("64MB", 64_000_000),
        (" 1.5 kib ", 1536),
        ("4G", 4 * 10**9),
        ("4gi", 4 << 30),
        ("10", 10),
        ("10 B", 10),
        ("0.1 KiB", 102),  # whole bytes, downwards
        (4096, 4096),
    ],
)
def test_sizes(text: object, n: int) -> None:
    assert parse_size(text) == n


@pytest.mark.parametrize(
    "text", ["", "GiB", "-1 GiB", "1 XB", "1e9", "1,5 GiB", "٣ GiB", "iB", "1 iB", True, 1.5, None]
)
def test_what_is_no_size(text: object) -> None:
    with pytest.raises(ValueError, match="is "):
        parse_size(text)


@given(st.integers(0, 1 << 62))
def test_shown_sizes_are_read_back_within_rounding(n: int) -> None:
    assert abs(parse_size(format_size(n)) - n) <= max(1, n // 20)


@given(st.text(max_size=12) | st.from_regex(SIZE_PATTERN))
def test_the_pattern_for_editors_takes_what_parse_size_takes(text: str) -> None:
    """Editors search with $ where a trailing newline is the only difference."""
    try:
        parse_size(text)
        taken = True
    except ValueError:
        taken = False
    assert taken == (re.search(SIZE_PATTERN, text, re.A) is not None)
