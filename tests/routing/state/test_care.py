"""Stickiness, feedback and rests, on every store."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, strategies as st
from typing_extensions import override

from ctxguard.errors import InputError
from ctxguard.routing.state import CoolDowns, Feedback, MemoryStore, StateStore, Stickiness
from ctxguard.routing.state.feedback import log_evidence
from ctxguard.routing.state.store import key_of


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at = 1e9

    def __call__(self) -> float:
        return self.at


# -- stickiness ---------------------------------------------------------------------------------


def test_a_conversation_keeps_its_route(store: StateStore) -> None:
    sticky = Stickiness(store=store)
    assert sticky.held("c") is None
    assert sticky.keep("c", "a route: with spaces") == "a route: with spaces"
    held = sticky.held("c")
    assert held is not None
    assert held.route == "a route: with spaces"
    assert 0 <= held.age < 5
    assert sticky.keep("c", "heavy") == "a route: with spaces", "it has one by now"
    assert sticky.keep("c", "heavy", over=held) == "heavy"
    assert sticky.keep("c", "light", over=held) == "heavy", "another call switched it"
    assert sticky.held("d") is None
    sticky.forget("c")
    sticky.forget("c")
    assert sticky.held("c") is None


def test_calls_at_the_same_time_agree(store: StateStore) -> None:
    sticky = Stickiness(store=store)
    with ThreadPoolExecutor(16) as pool:
        routes = set(pool.map(lambda n: sticky.keep("c", f"route {n}"), range(16)))
    assert len(routes) == 1


def test_a_route_is_kept_from_the_last_call_on() -> None:
    clock = Clock()
    sticky = Stickiness(store=MemoryStore(clock=clock), ttl=100)
    sticky.keep("c", "light")
    clock.at += 90
    held = sticky.held("c")
    assert held is not None
    assert held.age == 90
    sticky.keep("c", "light", over=held)
    clock.at += 90
    assert sticky.held("c") is not None
    clock.at += 100
    assert sticky.held("c") is None


def test_a_route_of_a_time_to_come_is_none() -> None:
    clock = Clock()
    sticky = Stickiness(store=MemoryStore(clock=clock), ttl=100)
    sticky.keep("c", "light")
    clock.at -= 1e6
    assert sticky.held("c") is None
    assert sticky.keep("c", "heavy") == "heavy"
    held = sticky.held("c")
    assert held is not None
    assert held.route == "heavy"


@pytest.mark.parametrize("raw", ["", "nonsense", "x light"])
def test_a_value_that_is_none_of_ours_is_written_over(store: StateStore, raw: str) -> None:
    store.swap(key_of("sticky", "c"), None, raw, ttl=60)
    sticky = Stickiness(store=store)
    assert sticky.held("c") is None
    assert sticky.keep("c", "light") == "light"
    assert sticky.held("c") is not None


# -- feedback -----------------------------------------------------------------------------------


def test_feedback_is_counted_by_route_and_window() -> None:
    clock = Clock()
    feedback = Feedback(store=MemoryStore(clock=clock), window=1000)
    for ok in (True, True, False):
        feedback.record("light", ok=ok)
    feedback.record("heavy", ok=True)
    assert (feedback.counts("light").ok, feedback.counts("light").not_ok) == (2, 1)
    assert feedback.counts("light").rate == pytest.approx(1 / 3)
    clock.at += 1000
    assert feedback.counts("light").ok == 0
    assert math.isnan(feedback.counts("light").rate)
    assert feedback.counts("light", back=1).ok == 2


def test_threads_lose_no_feedback(store: StateStore) -> None:
    feedback = Feedback(store=store)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: feedback.record("light", ok=n % 4 > 0), range(200)))
    assert (feedback.counts("light").ok, feedback.counts("light").not_ok) == (150, 50)


@given(st.integers(0, 60), st.integers(0, 60), st.floats(0.001, 0.999))
def test_evidence_is_the_average_likelihood_ratio(ok: int, not_ok: int, promised: float) -> None:
    rates = promised + (1 - promised) * (np.arange(200_000) + 0.5) / 200_000
    logs = not_ok * np.log(rates / promised) + ok * (np.log1p(-rates) - math.log1p(-promised))
    peak = logs.max()
    expected = peak + math.log(np.exp(logs - peak).mean())
    assert log_evidence(ok=ok, not_ok=not_ok, promised=promised) == pytest.approx(
        expected, rel=1e-3, abs=1e-3
    )


@pytest.mark.parametrize("promised", [1e-6, 0.05, 0.5, 0.999999])
@pytest.mark.parametrize("counts", [(0, 0), (10**7, 0), (0, 10**7), (9 * 10**6, 10**6)])
def test_evidence_of_many_answers_is_a_number(promised: float, counts: tuple[int, int]) -> None:
    start = time.process_time()
    assert math.isfinite(log_evidence(ok=counts[0], not_ok=counts[1], promised=promised))
    assert time.process_time() - start < 0.5


@pytest.mark.parametrize("rate", [0.05, 0.1])
def test_false_alarms_are_bounded_however_often_one_asks(rate: float) -> None:
    """A route that keeps its promise, looked at after each of 250 answers, 250 times over."""
    draw = np.random.default_rng(11)
    alarms = 0
    for not_ok in draw.random((250, 250)) < rate:
        bad = np.cumsum(not_ok)
        alarms += any(
            log_evidence(ok=n + 1 - int(bad[n]), not_ok=int(bad[n]), promised=rate)
            >= -math.log(0.1)
            for n in range(250)
            if not_ok[n]  # an answer that is ok raises no alarm
        )
    assert alarms / 250 <= 0.1


def test_a_route_that_got_worse_is_noticed(store: StateStore) -> None:
    feedback = Feedback(store=store)
    for n in range(200):
        feedback.record("light", ok=n % 5 > 0)
        feedback.record("heavy", ok=n % 25 > 0)
    light = feedback.drift("light", promised=0.05)
    assert light.drifted
    assert light.reason == (
        "40 of 200 answers of light were not ok, promised was a share of 0.05: it got worse "
        "(false alarms in 0.01 of windows at most)"
    )
    heavy = feedback.drift("heavy", promised=0.05)
    assert not heavy.drifted
    assert "no evidence that it got worse" in heavy.reason
    assert not feedback.drift("never used", promised=0.05).drifted


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0, math.nan])
def test_what_is_no_share(share: float) -> None:
    feedback = Feedback(store=MemoryStore())
    with pytest.raises(InputError, match="promised"):
        feedback.drift("light", promised=share)
    with pytest.raises(InputError, match="alpha"):
        feedback.drift("light", promised=0.05, alpha=share)
    with pytest.raises(InputError, match="window"):
        Feedback(store=MemoryStore(), window=-1.0)


# -- rests --------------------------------------------------------------------------------------


def test_rests_double_and_end() -> None:
    clock = Clock()
    rests = CoolDowns(store=MemoryStore(clock=clock), first=2, longest=10)
    lengths: list[float] = []
    for _ in range(5):
        lengths.append(rests.rate_limited("light").left)
        clock.at += lengths[-1]
        assert rests.of("light").left == 0
    assert lengths == [2, 4, 8, 10, 10]
    rests.succeeded("light")
    assert rests.rate_limited("light").left == 2
    rests.succeeded("light")
    assert rests.of("light").left == 2, "a late answer ends no rest"
    clock.at += 60
    assert rests.rate_limited("light").left == 2, "long ago"


@pytest.mark.parametrize(
    ("retry_after", "left"),
    [(7.5, 7.5), (0.0, 2.0), (1e9, 300.0), (-5.0, 2.0), (math.nan, 2.0), (math.inf, 2.0)],
)
def test_what_a_provider_asks_for(retry_after: float, left: float) -> None:
    rests = CoolDowns(store=MemoryStore(clock=Clock()), first=2)
    assert rests.rate_limited("light", retry_after=retry_after).left == left


def test_calls_that_are_refused_at_once_are_one_strike(store: StateStore) -> None:
    rests = CoolDowns(store=store, first=30, longest=300)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: rests.rate_limited("light"), range(32)))
    found = rests.of("light")
    assert found.strikes == 1
    assert 20 < found.left <= 30
    assert rests.rate_limited("light", retry_after=200).left == 200
    assert rests.of("light").strikes == 1
    assert rests.of("heavy").left == 0


def test_a_rest_that_others_keep_changing_is_theirs() -> None:
    class Contended(MemoryStore):
        tries = 0

        @override
        def swap(self, key: str, old: str | None, new: str | None, *, ttl: float) -> bool:
            self.tries += 1
            return False

    store = Contended()
    assert CoolDowns(store=store).rate_limited("light").left == 1.0
    assert store.tries == 8


def test_a_walk_leaves_out_what_rests() -> None:
    clock = Clock()
    rests = CoolDowns(store=MemoryStore(clock=clock))
    rests.rate_limited("light", retry_after=50)
    assert list(rests.walk(["light", "middle", "heavy"])) == ["middle", "heavy"]
    rests.rate_limited("middle", retry_after=20)
    rests.rate_limited("heavy", retry_after=30)
    assert list(rests.walk(["light", "middle", "heavy"])) == ["middle"], "it is free first"
    assert list(rests.walk([])) == []
    clock.at += 100
    assert list(rests.walk(["light", "light"])) == ["light"]


@given(st.lists(st.sampled_from("abcd"), max_size=8), st.sets(st.sampled_from("abcd")))
def test_a_walk_never_loops(routes: list[str], refused_before: set[str]) -> None:
    rests = CoolDowns(store=MemoryStore(clock=Clock()))
    for route in refused_before:
        rests.rate_limited(route)
    tried: list[str] = []
    for route in rests.walk(routes):
        tried.append(route)
        for other in routes:  # whatever is asked, everything is refused
            rests.rate_limited(other)
    assert len(tried) == len(set(tried)) <= 4
    assert bool(tried) == bool(routes), "and something is tried"


def test_a_rest_from_a_time_to_come_has_no_effect() -> None:
    clock = Clock()
    rests = CoolDowns(store=MemoryStore(clock=clock))
    rests.rate_limited("light", retry_after=100)
    clock.at -= 1e6
    assert rests.of("light").left == 0
    assert list(rests.walk(["light"])) == ["light"]


@pytest.mark.parametrize("raw", ["", "nonsense", "1 2 x", "9 1 1"])
def test_a_rest_that_is_none_of_ours_has_no_effect(store: StateStore, raw: str) -> None:
    store.swap(key_of("cooldown", "light"), None, raw, ttl=60)
    rests = CoolDowns(store=store, first=50)
    assert rests.of("light").left == 0
    assert 40 < rests.rate_limited("light").left <= 50
