"""Every store does the same: counters, compare and set, reservations, times to live."""

from __future__ import annotations

import copy
import pickle
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from ctxguard.errors import InputError, MissingDependencyError, StateStoreError
from ctxguard.routing.state import (
    MemoryStore,
    RedisStore,
    SqliteStore,
    StateStore,
    SteadyClock,
    Window,
)
from ctxguard.routing.state.sqlite import default_path
from ctxguard.routing.state.store import LARGEST, key_of
from tests.routing.state.redis_server import RedisServer


def window(key: str = "w", limit: int = 100, ttl: float = 60.0) -> Window:
    return Window(key=key, limit=limit, ttl=ttl)


def test_a_store_is_one_by_the_protocol(store: StateStore) -> None:
    assert isinstance(store, StateStore)
    assert store.name.startswith(("memory", "sqlite ", "redis 127.0.0.1:"))
    assert abs(store.now() - time.time()) < 5


# -- counters and values ------------------------------------------------------------------------


def test_counters_add_up_and_end(store: StateStore) -> None:
    assert store.add("n", 2, ttl=0.25) == 2
    assert store.add("n", -5, ttl=60) == -3
    assert store.totals(["n", "none"]) == (-3, 0)
    assert store.totals([]) == ()
    time.sleep(0.3)
    assert store.totals(["n"]) == (0,), "the time to live counts from the first addition"
    assert store.add("n", 1, ttl=60) == 1


def test_the_largest_amounts_are_exact(store: StateStore) -> None:
    assert store.reserve("h", [window(limit=LARGEST)], LARGEST - 1).used == (LARGEST - 1,)
    assert not store.reserve("i", [window(limit=LARGEST)], 2).admitted
    assert store.settle("h", [window(limit=LARGEST)], 3) == LARGEST - 1
    assert store.totals(["w"]) == (3,)


@pytest.mark.parametrize("value", ["x", "", "007", "1e5", "ü \n\x00", "a" * 10_000])
def test_values_come_back_as_they_were(store: StateStore, value: str) -> None:
    assert store.swap("k", None, value, ttl=60)
    assert store.get("k") == value


def test_a_swap_needs_what_is_there(store: StateStore) -> None:
    assert not store.swap("k", "", "a", ttl=60), "nothing is not the empty string"
    assert store.swap("k", None, "a", ttl=60)
    assert not store.swap("k", None, "b", ttl=60)
    assert not store.swap("k", "b", "c", ttl=60)
    assert store.swap("k", "a", "c", ttl=60)
    assert store.swap("k", "c", None, ttl=60)
    assert store.get("k") is None
    assert store.swap("k", None, None, ttl=60)


def test_a_swap_begins_the_time_to_live_anew(store: StateStore) -> None:
    assert store.swap("k", None, "a", ttl=0.2)
    assert store.swap("k", "a", "a", ttl=60)
    assert store.swap("gone", None, "a", ttl=0.2)
    time.sleep(0.25)
    assert store.get("k") == "a"
    assert store.get("gone") is None
    assert store.swap("gone", None, "b", ttl=60)


# -- reservations -------------------------------------------------------------------------------


def test_a_reservation_is_in_all_windows_or_in_none(store: StateStore) -> None:
    hour, day = window("hour", 10), window("day", 15)
    assert store.reserve("a", [hour, day], 10).used == (10, 10)
    assert not store.reserve("b", [hour, day], 1).admitted
    assert store.reserve("b", [window("next hour", 10), day], 6).used == (0, 10)
    assert store.totals(["hour", "day", "next hour"]) == (10, 10, 0)
    assert store.reserve("b", [window("next hour", 10), day], 5).admitted


def test_a_reservation_is_settled_once(store: StateStore) -> None:
    windows = [window("hour"), window("day")]
    store.reserve("a", windows, 40)
    assert store.settle("a", windows, 55) == 40, "the real cost may be more"
    assert store.totals(["hour", "day"]) == (55, 55)
    assert store.settle("a", windows, 55) is None
    assert store.settle("never", windows, 7) is None
    assert store.totals(["hour", "day"]) == (55, 55)


def test_asking_twice_for_a_hold_counts_once(store: StateStore) -> None:
    first = store.reserve("a", [window()], 100)
    assert store.reserve("a", [window()], 100) == first
    assert store.totals(["w"]) == (100,)


def test_a_window_that_is_over_takes_no_late_cost(store: StateStore) -> None:
    windows = [window("short", ttl=0.2), window("long")]
    store.reserve("a", windows, 10)
    time.sleep(0.25)
    assert store.settle("a", windows, 4) == 10
    assert store.totals(["short", "long"]) == (0, 4)


# -- threads ------------------------------------------------------------------------------------


def test_threads_lose_no_addition_and_one_wins_a_swap(store: StateStore) -> None:
    together = threading.Barrier(8)

    def hammer(number: int) -> bool:
        together.wait()
        for _ in range(25):
            store.add("n", 1, ttl=60)
        return store.swap("k", None, str(number), ttl=60)

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(hammer, range(8)))
    assert store.totals(["n"]) == (200,)
    assert sum(won) == 1
    assert store.get("k") == str(won.index(True))


# -- clocks -------------------------------------------------------------------------------------


def test_a_steady_clock_does_not_follow_a_jump() -> None:
    wall, ticks = [1000.0], [5.0]
    clock = SteadyClock(lambda: wall[0], lambda: ticks[0])
    ticks[0] = 7.5
    for jump in (-1e9, 1e9):
        wall[0] = jump
        assert clock() == 1002.5


def test_a_steady_clock_goes_on_with_the_machine() -> None:
    clock = SteadyClock()
    first = clock()
    time.sleep(0.02)
    assert 0.01 < clock() - first < 5


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_what_is_over_is_removed(kind: str, tmp_path: Path) -> None:
    now = [0.0]
    file = tmp_path / "s.sqlite3"
    store: StateStore = (
        MemoryStore(clock=lambda: now[0])
        if kind == "memory"
        else SqliteStore(file, clock=lambda: now[0])
    )
    for number in range(600):
        store.swap(f"old {number}", None, "x", ttl=10)
    now[0] = 20.0
    for _ in range(1024):
        store.add("n", 1, ttl=1e6)
    assert store.totals(["n"]) == (1024,)
    if isinstance(store, MemoryStore):
        assert not store._values
    else:
        with sqlite3.connect(file) as db:
            assert db.execute("SELECT count(*) FROM state").fetchone() == (1,)
        db.close()
    store.close()


# -- keys, pickles, places ----------------------------------------------------------------------


PARTS = st.lists(st.text(max_size=90), min_size=1, max_size=3)


@given(PARTS, PARTS)
def test_other_parts_make_another_key(one: list[str], other: list[str]) -> None:
    assert (key_of("k", *one) == key_of("k", *other)) == (one == other)
    assert len(key_of("k", *one)) <= 200


def test_a_long_key_is_a_digest() -> None:
    assert key_of("spend", "a" * 300).startswith("spend:sha256:")
    assert key_of("spend", "a" * 300) != key_of("spend", "a" * 301)


def test_a_file_pickles_as_its_place_and_memory_as_none(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.sqlite3")
    store.add("n", 1, ttl=60)
    other: SqliteStore = pickle.loads(pickle.dumps(store))  # noqa: S301 -- made here
    assert other.add("n", 1, ttl=60) == 2
    store.close()
    other.close()
    memory = MemoryStore()
    memory.add("n", 1, ttl=60)
    assert copy.deepcopy(memory) is memory, "a copy of a router has the same budgets"
    empty = pickle.loads(pickle.dumps(memory))  # noqa: S301 -- made here
    assert empty.totals(["n"]) == (0,)


def test_the_default_file_is_in_the_users_state_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    store = SqliteStore()
    store.add("n", 1, ttl=60)
    store.close()
    assert (tmp_path / "ctxguard/routing.sqlite3").is_file()
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_path() == tmp_path / ".local/state/ctxguard/routing.sqlite3"


def test_a_store_that_was_closed_opens_again(store: StateStore) -> None:
    store.swap("k", None, "a", ttl=60)
    store.close()
    store.close()
    assert store.get("k") == "a"


# -- a file that cannot be used -----------------------------------------------------------------


def fails(store: StateStore, reason: str) -> None:
    """Everything that a store does fails with its name and this reason."""
    calls: list[Callable[[], object]] = [
        lambda: store.swap("k", None, "v", ttl=60),
        lambda: store.add("n", 1, ttl=60),
        lambda: store.reserve("h", [window()], 1),
    ]
    for call in calls:
        with pytest.raises(StateStoreError, match=reason) as caught:
            call()
        assert store.name in str(caught.value)


def test_no_database(tmp_path: Path) -> None:
    file = tmp_path / "s.sqlite3"
    file.write_bytes(b"this is no database, but a text that is long enough to be one" * 40)
    fails(SqliteStore(file), "not a database")


def test_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    fails(SqliteStore(tmp_path / "file/s.sqlite3"), "xists")


def test_a_file_of_a_later_version(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "s.sqlite3") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    fails(SqliteStore(tmp_path / "s.sqlite3"), "written by a later ctxguard")


def test_a_change_that_fails_half_way_is_taken_back(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.sqlite3")
    store.swap("w", None, "no number", ttl=60)
    windows = [window("first"), window("w")]
    with pytest.raises(StateStoreError, match="invalid literal"):
        store.reserve("h", windows, 5)
    store.reserve("h", [window("first")], 5)
    with pytest.raises(StateStoreError, match="too large"):
        store.settle("h", [window("first")], 2**70)
    assert store.totals(["first"]) == (5,)
    assert store.settle("h", [window("first")], 3) == 5
    store.close()


def test_a_file_that_others_have_locked(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.sqlite3", timeout=0.05)
    store.add("n", 1, ttl=60)
    other = sqlite3.connect(tmp_path / "s.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    start = time.monotonic()
    fails(store, "locked")
    assert time.monotonic() - start < 5
    assert store.totals(["n"]) == (1,), "readers do not wait"
    other.execute("ROLLBACK")
    other.close()
    assert store.add("n", 1, ttl=60) == 2
    store.close()


def test_a_thread_does_not_wait_for_ever_for_another(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.sqlite3", timeout=0.05)
    with store._opened().lock:
        fails(store, "other threads wait")
    store.close()


def test_a_file_that_was_removed_is_made_anew(tmp_path: Path) -> None:
    file = tmp_path / "folder/s.sqlite3"
    store = SqliteStore(file)
    store.add("n", 5, ttl=60)
    for one in file.parent.iterdir():
        one.unlink()
    file.parent.rmdir()
    assert store.add("n", 1, ttl=60) == 1
    other = SqliteStore(file)
    assert other.add("n", 1, ttl=60) == 2, "and every process has the same"
    store.close()
    other.close()


# -- a server that cannot be used ---------------------------------------------------------------


def test_the_extra_is_asked_for_by_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "ctxguard-core\[redis\]"'):
        RedisStore("redis://127.0.0.1:1")


def test_a_server_that_is_not_there_and_its_password() -> None:
    store = RedisStore("redis://user:s3cret@127.0.0.1:1/2")
    assert store.name == "redis 127.0.0.1:1/2"
    fails(store, "refused")
    with pytest.raises(StateStoreError) as caught:
        store.now()
    assert "s3cret" not in str(caught.value)
    other = pickle.loads(pickle.dumps(store))  # noqa: S301 -- made here
    assert other.name == store.name
    assert RedisStore("unix:///nowhere/redis.sock").name == "redis /nowhere/redis.sock/0"


def test_a_url_that_is_none() -> None:
    with pytest.raises(InputError, match=r"RedisStore.url"):
        RedisStore("http://127.0.0.1")


@pytest.mark.redis
def test_a_client_of_ones_own(redis_server: RedisServer) -> None:
    import redis

    with redis.Redis.from_url(redis_server.url, decode_responses=True) as client:
        store = RedisStore(client)
        assert store.swap("own", None, "ü", ttl=60)
        assert store.get("own") == "ü"
        assert store.reserve("own hold", [window("own window")], 5).used == (5,)
        assert store.settle("own hold", [window("own window")], 4) == 5
        assert client.get("{ctxguard}:own") == "ü"


@pytest.mark.redis
def test_the_servers_clock_outlives_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RedisServer(tmp_path) as server:
        store = RedisStore(server.url)
        now = store.now()
        monkeypatch.setattr(time, "time", lambda: 0.0)
        assert 0 <= store.now() - now < 5, "it is not this machine's clock"
    store._clock_until = 0.0
    assert 0 <= store.now() - now < 10
    store.close()


@pytest.mark.redis
def test_a_server_that_lost_its_scripts(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        store = RedisStore(server.url)
        assert store.add("n", 1, ttl=60) == 1
        server.command("SCRIPT", "FLUSH")
        assert store.add("n", 1, ttl=60) == 2
        store.close()
