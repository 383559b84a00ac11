"""A store that cannot be used: the call goes on, the caller is told once, and nothing is lost."""

from __future__ import annotations

import pickle
import signal
import sqlite3
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from typing_extensions import override

from ctxguard.errors import StateStoreError
from ctxguard.routing.state import (
    Admission,
    Budgets,
    CoolDowns,
    Feedback,
    MemoryStore,
    RedisStore,
    Reservation,
    SharedState,
    SpendLimit,
    SqliteStore,
    StateStore,
    Stickiness,
    Window,
)
from tests.routing.state.redis_server import RedisServer

LIMITS = (SpendLimit(usd=1.0, per="day"),)


class Fragile(MemoryStore):
    """A store that can be cut off, before it does something or before it says so."""

    cut = False
    answers = True
    tried = 0

    @override
    def add(self, key: str, amount: int, *, ttl: float) -> int:
        self.check()
        return super().add(key, amount, ttl=ttl)

    @override
    def swap(self, key: str, old: str | None, new: str | None, *, ttl: float) -> bool:
        self.check()
        return super().swap(key, old, new, ttl=ttl)

    @override
    def get(self, key: str) -> str | None:
        self.check()
        return super().get(key)

    @override
    def totals(self, keys: Sequence[str]) -> tuple[int, ...]:
        self.check()
        return super().totals(keys)

    @override
    def reserve(self, hold: str, windows: Sequence[Window], amount: int) -> Admission:
        self.check()
        admission = super().reserve(hold, windows, amount)
        if not self.answers:
            raise StateStoreError("fragile: the answer was lost")
        return admission

    @override
    def settle(self, hold: str, windows: Sequence[Window], cost: int) -> int | None:
        self.check()
        held = super().settle(hold, windows, cost)
        if not self.answers:
            raise StateStoreError("fragile: the answer was lost")
        return held

    def check(self) -> None:
        self.tried += 1
        if self.cut:
            raise StateStoreError("fragile: gone")


class Outage:
    """A state over a fragile store, and its clock."""

    def __init__(self) -> None:
        self.ticks = 0.0
        self.store = Fragile()
        self.state = SharedState(self.store, ticks=lambda: self.ticks)
        self.budgets = Budgets(store=self.state, limits=LIMITS)

    def spent(self) -> float:
        """What the store itself knows of."""
        cut, self.store.cut = self.store.cut, False
        usd = Budgets(store=self.store, limits=LIMITS).standing("acme")[0].usd
        self.store.cut = cut
        return usd


@pytest.fixture
def outage() -> Outage:
    return Outage()


def test_the_caller_is_told_once_that_it_is_gone_and_once_that_it_is_back(outage: Outage) -> None:
    state, store = outage.state, outage.store
    assert state.notice() == ""
    store.cut = True
    for _ in range(3):
        outage.budgets.reserve("acme", 0.1)
    assert state.notice() == "fragile: gone; this process goes on by itself, and tries again"
    outage.ticks = 100.0
    outage.budgets.reserve("acme", 0.1)
    assert state.notice() == ""
    assert state.alone
    store.cut, outage.ticks = False, 200.0
    outage.budgets.reserve("acme", 0.1)
    assert state.notice() == "memory: used again, with what was counted meanwhile"
    assert state.notice() == ""
    assert not state.alone


def test_a_store_that_is_gone_is_tried_ever_more_seldom(outage: Outage) -> None:
    outage.store.cut = True
    tries: list[float] = []
    for tick in range(200):
        outage.ticks, before = float(tick), outage.store.tried
        outage.state.get("k")
        outage.state.get("k")
        if outage.store.tried > before:
            assert outage.store.tried == before + 1
            tries.append(outage.ticks)
    assert tries[:5] == [0, 1, 3, 7, 15]
    assert tries[-1] - tries[-2] == 30


def test_spend_goes_on_from_what_was_known_and_is_handed_over(outage: Outage) -> None:
    budgets = outage.budgets
    before = budgets.reserve("acme", 0.5)
    outage.store.cut = True
    alone = budgets.reserve("acme", 0.3)
    assert alone.admitted
    assert not budgets.reserve("acme", 0.3).admitted
    assert budgets.commit(alone, 0.25)
    assert not budgets.commit(alone, 0.25)
    assert not budgets.commit(before, 0.4), "it is not known here, and told later"
    outage.ticks = 50.0
    still = budgets.reserve("acme", 0.1)
    outage.store.cut, outage.ticks = False, 100.0
    assert budgets.reserve("acme", 0.2).admitted
    assert outage.spent() == pytest.approx(0.4 + 0.25 + 0.1 + 0.2)
    assert budgets.commit(still, 0.05)
    outage.state.totals(["any"])
    assert outage.spent() == pytest.approx(0.4 + 0.25 + 0.05 + 0.2)


def test_a_reservation_whose_answer_was_lost_counts_once(outage: Outage) -> None:
    outage.store.answers = False
    reservation = outage.budgets.reserve("acme", 0.3)
    assert reservation.admitted
    assert outage.spent() == pytest.approx(0.3)
    outage.store.answers, outage.ticks = True, 10.0
    outage.state.totals([])
    assert outage.spent() == pytest.approx(0.3), "released there, counted from here"
    outage.budgets.commit(reservation, 0.1)
    outage.state.close()
    assert outage.spent() == pytest.approx(0.1)


def test_an_outbox_is_as_large_as_what_is_in_flight(outage: Outage) -> None:
    outage.store.cut = True
    for _ in range(500):
        outage.budgets.commit(outage.budgets.reserve("acme", 0.002), 0.001)
    flying = [outage.budgets.reserve("acme", 0.001) for _ in range(3)]
    outbox = outage.state._outbox
    assert (len(outbox._held), len(outbox._sums), len(outbox._tasks)) == (3, 1, 1)
    outage.store.cut = False
    outage.state.close()
    assert outage.spent() == pytest.approx(0.503)
    assert outage.budgets.commit(flying[0], 0.0)
    outage.state.close()
    assert outage.spent() == pytest.approx(0.502)
    assert (len(outbox._held), len(outbox._sums), len(outbox._tasks)) == (0, 0, 0)


def test_what_cannot_be_handed_over_is_kept(outage: Outage) -> None:
    first = outage.budgets.reserve("acme", 0.1)
    outage.store.cut = True
    outage.budgets.commit(first, 0.2)
    outage.state.add("n", 5, ttl=600)
    outage.state.add("over", 5, ttl=-1)
    outage.state.close()
    assert outage.spent() == pytest.approx(0.1)
    outage.store.cut = False
    outage.state.close()
    assert outage.spent() == pytest.approx(0.2)
    assert outage.store.totals(["n", "over"]) == (5, 0)
    outage.state.close()
    assert outage.store.totals(["n"]) == (5,), "handed over once"


def test_counters_that_cannot_be_handed_over_are_kept(outage: Outage) -> None:
    outage.store.cut = True
    outage.state.add("n", 5, ttl=600)
    outage.state.close()
    outage.state.add("n", 2, ttl=600)
    outage.store.cut = False
    outage.state.close()
    assert outage.store.totals(["n"]) == (7,)


def test_a_window_that_is_over_is_not_handed_over(outage: Outage) -> None:
    outage.store.cut = True
    outage.state.reserve("hold", [Window(key="w", limit=9, ttl=0.02)], 3)
    time.sleep(0.03)
    outage.store.cut = False
    outage.state.close()
    assert outage.store.totals(["w"]) == (0,)


def test_a_call_that_is_refused_alone_holds_nothing_there(outage: Outage) -> None:
    outage.budgets.reserve("acme", 0.9)
    outage.store.put_total(next(iter(outage.store._counters)), 0, ttl=600)  # others gave it back
    outage.store.answers = False
    assert not outage.budgets.reserve("acme", 0.2).admitted, "of what is known here"
    assert outage.spent() == pytest.approx(0.2), "it was made there, only the answer was lost"
    outage.store.answers = True
    outage.state.close()
    assert outage.spent() == 0


def test_one_thread_hands_over_while_the_others_go_on(outage: Outage) -> None:
    outage.store.cut = True
    outage.budgets.reserve("acme", 0.1)
    outage.store.cut = False
    with outage.state._outbox._sending:
        outage.state.close()
        assert outage.spent() == 0
    outage.state.close()
    assert outage.spent() == pytest.approx(0.1)


def test_everything_goes_on_alone(outage: Outage) -> None:
    sticky, rests = Stickiness(store=outage.state), CoolDowns(store=outage.state)
    feedback = Feedback(store=outage.state)
    sticky.keep("conversation", "light")
    rests.rate_limited("light", retry_after=60)
    feedback.record("light", ok=True)
    outage.store.cut = True
    held = sticky.held("conversation")
    assert held is not None
    assert held.route == "light"
    assert list(rests.walk(["light", "heavy"])) == ["heavy"]
    assert sticky.keep("conversation", "heavy", over=held) == "heavy"
    feedback.record("light", ok=False)
    assert (feedback.counts("light").ok, feedback.counts("light").not_ok) == (1, 1)
    outage.store.cut, outage.ticks = False, 10.0
    assert (feedback.counts("light").ok, feedback.counts("light").not_ok) == (1, 1)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["reserve", "reserve", "commit"]),
            st.integers(0, 10),
            st.sampled_from(["there", "gone", "lost"]),
        ),
        max_size=30,
    )
)
def test_when_the_store_is_back_it_has_every_cost(steps: list[tuple[str, int, str]]) -> None:
    outage = Outage()
    spent, held = 0, list[Reservation]()
    for step, cents, store in steps:
        outage.ticks += 100
        outage.store.cut, outage.store.answers = store == "gone", store != "lost"
        if step == "reserve":
            held.append(outage.budgets.reserve("acme", cents / 1000))
            if not held[-1].admitted:
                held.pop()
        elif held:
            outage.budgets.commit(held.pop(0), cents / 1000)
            spent += cents
    outage.ticks += 100
    outage.store.cut, outage.store.answers = False, True
    for reservation in held:
        outage.budgets.release(reservation)
    outage.state.close()
    assert outage.spent() == pytest.approx(spent / 1000)


def test_threads_through_an_outage_lose_nothing(outage: Outage) -> None:
    def call(number: int) -> float:
        if number % 50 == 0:
            outage.store.cut = not outage.store.cut
            outage.ticks += 100
        reservation = outage.budgets.reserve("acme", 0.002)
        return 0.001 if outage.budgets.commit(reservation, 0.001) or reservation.admitted else 0.0

    with ThreadPoolExecutor(16) as pool:
        spent = sum(pool.map(call, range(400)))
    outage.store.cut, outage.ticks = False, outage.ticks + 100
    outage.state.close()
    assert outage.spent() == pytest.approx(spent)


def test_a_state_pickles_as_its_store() -> None:
    state = SharedState(RedisStore("redis://127.0.0.1:1"))
    other: SharedState = pickle.loads(pickle.dumps(state))  # noqa: S301 -- made here
    assert other.name == state.name


# -- the real ones ------------------------------------------------------------------------------


def goes_on(store: StateStore, reason: str) -> SharedState:
    """A call with a store that cannot be used: admitted, and told once."""
    state = SharedState(store, pause=0.05)
    budgets = Budgets(store=state, limits=LIMITS)
    reservation = budgets.reserve("acme", 0.5)
    assert reservation.admitted
    assert budgets.commit(reservation, 0.4)
    notice = state.notice()
    assert reason in notice
    assert store.name in notice
    assert state.notice() == ""
    return state


def comes_back(state: SharedState) -> None:
    """The store can be used again: what was spent meanwhile is there."""
    deadline = time.monotonic() + 20
    while state.alone:
        assert time.monotonic() < deadline
        time.sleep(0.02)
        state.totals([])
    assert "used again" in state.notice()
    standing = Budgets(store=state._store, limits=LIMITS).standing("acme")
    assert standing[0].usd == pytest.approx(0.4)
    state.close()


def test_a_locked_file(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "s.sqlite3", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    state = goes_on(SqliteStore(tmp_path / "s.sqlite3", timeout=0.05), "locked")
    other.execute("ROLLBACK")
    other.close()
    comes_back(state)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "folder").touch()
    state = goes_on(SqliteStore(tmp_path / "folder/s.sqlite3"), "xists")
    (tmp_path / "folder").unlink()
    comes_back(state)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


@pytest.mark.redis
@pytest.mark.parametrize("connected", [False, True])
def test_a_killed_server(own_server: RedisServer, connected: bool) -> None:
    store = RedisStore(own_server.url)
    if connected:
        store.add("n", 1, ttl=60)
        store.now()
    own_server.kill()
    state = goes_on(store, "127.0.0.1")
    own_server.start()
    comes_back(state)


@pytest.mark.redis
def test_a_server_that_does_not_answer(own_server: RedisServer) -> None:
    store = RedisStore(own_server.url, timeout=0.2)
    own_server.signal(signal.SIGSTOP)
    start = time.monotonic()
    state = goes_on(store, "Timeout")
    others = SharedState(RedisStore(own_server.url, timeout=0.2))
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda n: others.add(f"n {n}", 1, ttl=60), range(64)))
    assert time.monotonic() - start < 5, "threads do not wait one after the other"
    own_server.signal(signal.SIGCONT)
    comes_back(state)
    others.close()
    assert RedisStore(own_server.url).totals([f"n {n}" for n in range(64)]) >= (1,) * 64


@pytest.mark.redis
def test_a_full_server(own_server: RedisServer) -> None:
    own_server.command("CONFIG", "SET", "maxmemory", "1")
    state = goes_on(RedisStore(own_server.url), "maxmemory")
    own_server.command("CONFIG", "SET", "maxmemory", "0")
    comes_back(state)


@pytest.mark.redis
def test_a_server_that_is_read_only(own_server: RedisServer, redis_server: RedisServer) -> None:
    own_server.command("REPLICAOF", "127.0.0.1", str(redis_server.port))
    state = goes_on(RedisStore(own_server.url), "read only replica")
    own_server.command("REPLICAOF", "NO", "ONE")
    comes_back(state)
