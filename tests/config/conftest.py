"""A configuration to change, and the toy backends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.config import toys


@pytest.fixture
def toy_kinds(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The toys in the registry."""
    yield from toys.register(monkeypatch)
