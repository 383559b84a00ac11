"""Budgets of tenants: never exceeded but by what a call costs beyond its reservation."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from ctxguard.errors import InputError
from ctxguard.routing.state import (
    Budgets,
    MemoryStore,
    SpendLimit,
    SqliteStore,
    StateStore,
)

NOON = 86400.0 * 20_000 + 43_200.0
"""Some day at 12:00 UTC."""


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at = NOON

    def __call__(self) -> float:
        return self.at


def budgets(store: StateStore, hour: float | None = None, day: float | None = 1.0) -> Budgets:
    limits = [SpendLimit(usd=hour, per="hour")] if hour is not None else []
    limits += [SpendLimit(usd=day, per="day")] if day is not None else []
    return Budgets(store=store, limits=limits)


def test_a_thousand_calls_at_once_spend_the_budget_and_no_more(store: StateStore) -> None:
    spending = budgets(store, hour=1.0, day=5.0)
    costs: list[float] = np.random.default_rng(7).choice([0.0, 0.004, 0.01], 1000).tolist()

    def call(cost: float) -> float:
        reservation = spending.reserve("acme", 0.01)
        if not reservation.admitted:
            return 0.0
        spending.commit(reservation, cost)
        return cost

    with ThreadPoolExecutor(64) as pool:
        spent = sum(pool.map(call, costs))
    assert sum(costs) > 4, "they would have spent more"
    assert spent <= 1.0 + 1e-9
    while call(0.01):  # what was reserved when others were refused, and cost less
        spent += 0.01
    standing = spending.standing("acme")
    assert standing[0].usd == pytest.approx(spent)
    assert 1.0 - 0.01 < standing[0].usd <= 1.0
    assert standing[1].usd == standing[0].usd


def test_calls_that_cost_more_than_reserved_exceed_it_by_those_in_flight(
    store: StateStore,
) -> None:
    spending, workers, dear = budgets(store), 8, 0.03

    def call(_: int) -> bool:
        reservation = spending.reserve("acme", 0.01)
        return reservation.admitted and spending.commit(reservation, dear)

    with ThreadPoolExecutor(workers) as pool:
        admitted = sum(pool.map(call, range(200)))
    usd = spending.standing("acme")[0].usd
    assert usd == pytest.approx(admitted * dear)
    assert usd <= 1.0 + workers * dear + 1e-9
    assert not spending.reserve("acme", 0.0001).admitted


def test_a_refusal_shows_amounts_that_are_less_than_a_hundredth_of_a_cent() -> None:
    spending = budgets(MemoryStore(clock=Clock()), hour=0.00009)
    assert spending.reserve("acme", 0.00005).admitted
    assert spending.reserve("acme", 0.00005).reason == (
        "$0.000050 of $0.000090 spent or reserved this hour; a call of up to $0.000050 exceeds it"
    )


def test_a_refusal_says_which_limit_and_for_how_long() -> None:
    clock = Clock()
    spending = budgets(MemoryStore(clock=clock), hour=0.5, day=0.8)
    clock.at += 600
    assert spending.reserve("acme", 0.4).reason == (
        "$0.4000 of $0.5000 spent or reserved this hour with this call"
    )
    refused = spending.reserve("acme", 0.2)
    assert not refused.admitted
    assert refused.reason == (
        "$0.4000 of $0.5000 spent or reserved this hour; a call of up to $0.2000 exceeds it"
    )
    assert refused.retry_after == 3000
    both = spending.reserve("acme", 0.5)
    assert "this day" in both.reason
    assert both.retry_after == 43_200 - 600
    assert not spending.commit(refused, 1.0), "nothing was reserved"
    assert [one.usd for one in spending.standing("acme")] == [0.4, 0.4]


def test_hours_and_days_begin_anew() -> None:
    clock = Clock()
    spending = budgets(MemoryStore(clock=clock), hour=0.5, day=0.8)
    assert spending.reserve("acme", 0.5).admitted
    clock.at += 3600
    assert not spending.reserve("acme", 0.5).admitted, "the day's limit"
    assert spending.reserve("acme", 0.3).admitted
    clock.at += 86400
    assert spending.reserve("acme", 0.5).admitted
    assert [one.ends - NOON for one in spending.standing("acme")] == [86400 + 7200, 86400 + 43_200]


def test_a_cost_counts_where_it_was_reserved() -> None:
    clock = Clock()
    spending = budgets(MemoryStore(clock=clock), hour=0.5, day=None)
    reservation = spending.reserve("acme", 0.4)
    clock.at += 3600
    assert spending.commit(reservation, 0.3)
    assert spending.standing("acme")[0].usd == 0
    clock.at -= 3600
    assert spending.standing("acme")[0].usd == 0.3


def test_tenants_have_budgets_of_their_own(store: StateStore) -> None:
    spending = Budgets(
        store=store,
        limits=[SpendLimit(usd=1, per="day")],
        tenants={"free": [SpendLimit(usd=0, per="hour")], "internal": []},
    )
    assert spending.reserve("acme", 1.0).admitted
    assert spending.reserve("other", 1.0).admitted
    assert not spending.reserve("acme", 0.001).admitted
    assert spending.reserve("free", 0.0).admitted
    assert not spending.reserve("free", 1e-9).admitted
    unlimited = spending.reserve("internal", 1000.0)
    assert (unlimited.admitted, unlimited.reason) == (True, "no limit is set")
    assert not spending.commit(unlimited, 1000.0)
    assert spending.standing("internal") == ()


def test_what_is_released_can_be_spent(store: StateStore) -> None:
    spending = budgets(store)
    reservation = spending.reserve("acme", 1.0)
    assert not spending.reserve("acme", 1.0).admitted
    assert spending.release(reservation)
    assert not spending.release(reservation)
    assert spending.reserve("acme", 1.0).admitted


def test_a_limit_that_is_changed_holds_at_once(store: StateStore) -> None:
    assert budgets(store).reserve("acme", 0.9).admitted
    assert not budgets(store, day=0.5).reserve("acme", 0.0001).admitted
    assert budgets(store, day=2.0).reserve("acme", 1.1).admitted


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("jump", [-3600.0, 3600.0, 1800.0, -60.0])
def test_a_jump_of_the_clock_and_back_gives_no_money(
    kind: str, jump: float, tmp_path: Path
) -> None:
    clock, file = Clock(), tmp_path / "s.sqlite3"
    store: StateStore = (
        MemoryStore(clock=clock) if kind == "memory" else SqliteStore(file, clock=clock)
    )
    spending = budgets(store, hour=0.5, day=1.0)
    assert spending.reserve("acme", 0.5).admitted
    clock.at += jump
    spending.reserve("acme", 0.2)
    clock.at = NOON
    assert not spending.reserve("acme", 0.1).admitted
    assert spending.standing("acme")[1].usd <= 1.0
    store.close()


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), max_size=30))
def test_sums_are_exact(calls: list[tuple[int, int]]) -> None:
    spending = budgets(MemoryStore(clock=lambda: NOON), day=1.0)
    spent = 0
    for asked, cost in calls:
        reservation = spending.reserve("acme", asked / 1e9)
        assert reservation.admitted == (spent + asked <= 10**9)
        if reservation.admitted:
            spending.commit(reservation, min(asked, cost) / 1e9)
            spent += min(asked, cost)
    assert spending.standing("acme")[0].usd == spent / 1e9


@pytest.mark.parametrize("usd", [-0.01, float("nan"), float("inf"), 1e7])
def test_what_is_no_money(usd: float) -> None:
    spending = budgets(MemoryStore())
    with pytest.raises(InputError, match="at_most: expected dollars"):
        spending.reserve("acme", usd)
    with pytest.raises(InputError, match="cost: expected dollars"):
        spending.commit(spending.reserve("acme", 0.1), usd)
    with pytest.raises(InputError, match=r"SpendLimit\.usd"):
        SpendLimit(usd=usd, per="day")


def test_limits_that_cannot_be_used() -> None:
    with pytest.raises(InputError, match=r"SpendLimit\.per: expected 'hour' or 'day'"):
        SpendLimit(usd=1, per="year")  # pyright: ignore[reportArgumentType] -- what a file may say
    twice = [SpendLimit(usd=1, per="day"), SpendLimit(usd=2, per="day")]
    with pytest.raises(InputError, match="two limits of one period for acme"):
        Budgets(store=MemoryStore(), tenants={"acme": twice})
