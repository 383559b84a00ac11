"""The stores that the tests of shared state run on: memory, a SQLite file, a real Redis server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ctxguard.routing.state import MemoryStore, RedisStore, SqliteStore, StateStore
from tests.routing.state.redis_server import RedisServer

KINDS = ["memory", "sqlite", pytest.param("redis", marks=pytest.mark.redis)]
SHARED = KINDS[1:]
"""The kinds that processes can share."""


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server for the tests that leave it running."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def open_store(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[[str], StateStore]]:
    """Makes an empty store of a kind, and closes it in the end."""
    made: list[StateStore] = []

    def opened(kind: str) -> StateStore:
        made.append(_store(kind, request, tmp_path))
        return made[-1]

    yield opened
    for store in made:
        store.close()


def _store(kind: str, request: pytest.FixtureRequest, folder: Path) -> StateStore:
    if kind == "memory":
        return MemoryStore()
    if kind == "sqlite":
        return SqliteStore(folder / "state.sqlite3", timeout=10)
    server: RedisServer = request.getfixturevalue("redis_server")
    server.command("FLUSHALL")
    return RedisStore(server.url, timeout=10)


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, open_store: Callable[[str], StateStore]) -> StateStore:
    return open_store(request.param)


@pytest.fixture(params=SHARED)
def shared_store(
    request: pytest.FixtureRequest, open_store: Callable[[str], StateStore]
) -> StateStore:
    return open_store(request.param)
