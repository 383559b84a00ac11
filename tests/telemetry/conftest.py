"""Stores that are closed after their test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ctxguard.telemetry import LedgerStore


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., LedgerStore]]:
    """Makes a store, by default in `tmp_path / "traces.sqlite3"`."""
    made: list[LedgerStore] = []

    def make(path: Path | None = None, **settings: Any) -> LedgerStore:
        made.append(LedgerStore(path or tmp_path / "traces.sqlite3", **settings))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def store(make: Callable[..., LedgerStore]) -> LedgerStore:
    """A store that keeps no content."""
    return make()
