"""Routing at work: which route a call takes, what it falls back on, what it may cost."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID

import numpy as np
import pytest

from ctxguard import (
    Guard,
    Handle,
    InputError,
    Ledger,
    Message,
    Policy,
    PolicyError,
    SpendLimitError,
)
from ctxguard.answering import answering
from ctxguard.attempts import Attempt, current_attempt, verification_of
from ctxguard.dispatching import Dispatching, dispatching
from ctxguard.models import ModelCard
from ctxguard.request import Request
from ctxguard.routing import Cascade, Load, Price, Route, Router, Routes, SpendLimit, calling_for
from ctxguard.routing.failures import failure_of
from ctxguard.routing.state import MemoryStore, SharedState
from ctxguard.routing.state.store import Admission, Window
from ctxguard.run import Run
from ctxguard.verification import Ask, Verify, drive

EASY = "What is the fee?"
HARD = (
    "If 17 workers, each paid $23.50 per hour, work 8 hours a day for 12 days, and 3 of them are "
    "paid twice as much unless it is a Sunday, how much more than 9,000 is paid in total?"
)
CHEAP, DEAR = Price(input=1, output=2), Price(input=10, output=20)
LIGHT = Route(name="light", price=CHEAP, max_output=100)
HEAVY = Route(name="heavy", price=DEAR, max_output=100)
THIRD = Route(name="third", price=Price(input=100, output=200), max_output=100)
ROUTER = Router(thresholds=(0.1,))


class RateLimitError(Exception):
    """As the SDKs have it."""

    status_code = 429


class ServerError(Exception):
    """A provider that is down."""

    status_code = 503


class RefusedError(Exception):
    """A request that no provider takes."""

    status_code = 400


def guard_of(*routes: Route, verification: Verify | None = None, **settings: Any) -> Guard:
    settings = {"state": "memory", "router": ROUTER, **settings}
    if len(routes) > 2:
        settings["router"] = Router(thresholds=(0.1, 0.5))
    routing = Routes(routes=routes or (LIGHT, HEAVY), **settings)
    return Guard(Policy(routing=routing, verification=verification))


def asking(text: str, **more: Any) -> Request:
    return Request(messages=(Message(role="user", text=text),), **more)


@contextmanager
def running(guard: Guard, question: str = EASY) -> Iterator[tuple[Dispatching, Run]]:
    with guard.run(question) as run:
        found = dispatching(guard.dispatcher)
        assert found is not None
        yield found, run


def codes(run: Run | Ledger) -> list[str]:
    ledger = run.ledger() if isinstance(run, Run) else run
    return [decision.code for decision in ledger.decisions if decision.stage == "route"]


def named(attempt: Attempt) -> str:
    return attempt.route.name


def failing(errors: dict[str, Exception]) -> Callable[[Attempt], str]:
    def ask(attempt: Attempt) -> str:
        if attempt.route.name in errors:
            raise errors[attempt.route.name]
        return attempt.route.name

    return ask


# -- the choice ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("question", "route"), [(EASY, "light"), (HARD, "heavy")])
def test_a_question_takes_the_route_that_it_deserves(question: str, route: str) -> None:
    guard = guard_of()
    with running(guard, question) as (routed, run):
        assert routed.call(asking(question), named) == route
    decision = run.ledger().decisions[0]
    assert decision.stage == "route"
    assert decision.details["route"] == route
    assert set(decision.details["costs"]) == {"light", "heavy"}  # type: ignore[arg-type]
    assert {"light_fails", "interval", "moved", "thresholds", "flips"} <= set(decision.details)
    call = run.ledger().calls[0]
    assert (call.route, call.reason, call.error) == (route, "routed", "")
    assert run.ledger().route == route


def test_a_run_is_decided_on_once_and_told_once() -> None:
    guard = guard_of()
    with running(guard) as (routed, run):
        for _ in range(3):
            assert routed.call(asking(EASY), named) == "light"
        assert dispatching(guard.dispatcher) is routed
    assert codes(run) == ["light-suffices"]
    assert len(run.ledger().calls) == 3


def test_a_run_goes_up_and_never_down() -> None:
    guard = guard_of()
    with running(guard, "") as (routed, run):
        assert [routed.call(asking(text), named) for text in (EASY, HARD, EASY)] == [
            "light",
            "heavy",
            "heavy",
        ]
    assert codes(run) == ["light-suffices", "raised"]


def test_a_run_that_goes_on_elsewhere_keeps_its_route() -> None:
    for before, route, found in (
        ("heavy", "heavy", ["kept-in-run"]),
        ("light", "light", ["light-suffices"]),
        ("gone", "light", ["light-suffices"]),
    ):
        with running(guard_of()) as (routed, run):
            routed.resume(before)
            assert routed.call(asking(EASY), named) == route
            assert routed.route == route
            routed.resume("heavy")  # too late
            assert routed.route == route
        assert codes(run) == found


def test_a_model_that_is_put_in_the_place_of_the_routes_is_told_and_not_acted_on() -> None:
    other = ModelCard(name="other", window=500, max_output=50)

    def ask(attempt: Attempt) -> str:
        attempt.instead(other)
        assert not attempt.heavier
        raise RateLimitError("slow")

    guard = guard_of()
    with running(guard) as (routed, run), pytest.raises(RateLimitError):
        routed.call(asking(EASY), ask)
    assert codes(run) == ["light-suffices", "route-overridden", "rate-limited"]
    with running(guard) as (routed, run):  # its own model does not rest
        assert routed.call(asking(EASY), named) == "light"

    def back(attempt: Attempt) -> str:
        attempt.instead(other)
        attempt.instead(None)
        return "own"

    with running(guard) as (routed, run):
        assert routed.call(asking(EASY), back) == "own"
    (call,) = run.ledger().calls
    assert call.cost is not None
    assert call.heavy_cost == pytest.approx(10 * call.cost)


def test_there_is_nothing_to_route_without_routes_or_a_run_or_inside_a_routed_call() -> None:
    assert dispatching(Guard().dispatcher) is None
    guard = guard_of()
    assert dispatching(guard.dispatcher) is None
    with running(guard) as (routed, _):
        assert routed.call(asking(EASY), lambda _: dispatching(guard.dispatcher)) is None
        assert current_attempt() is None


def test_one_route_is_taken_without_an_estimate_or_a_word() -> None:
    guard = guard_of(Route(name="only"))
    with running(guard, HARD) as (routed, run):
        assert routed.call(asking(HARD), named) == "only"
        assert routed.depth(Request()) is None
    assert codes(run) == []
    with running(guard) as (routed, run), pytest.raises(ServerError):
        routed.call(asking(EASY), failing({"only": ServerError("down")}))


def test_the_depth_of_a_search_is_that_of_the_route_and_the_call_stays_on_it() -> None:
    light, heavy = (
        Route(name="light", top_k=2, price=CHEAP),
        Route(name="heavy", top_k=9, price=DEAR),
    )
    for question, depth, route in ((EASY, 2, "light"), (HARD, 9, "heavy")):
        with running(guard_of(light, heavy), question) as (routed, run):
            assert routed.depth(Request()) == depth
            assert routed.call(asking(question), named) == route
        assert len(codes(run)) == 1
    with running(guard_of(light, heavy, mode="shadow"), EASY) as (routed, _):
        assert routed.depth(Request()) is None


def test_shadow_mode_decides_and_calls_what_is_configured() -> None:
    with running(guard_of(mode="shadow"), HARD) as (routed, run):
        attempt = routed.call(asking(HARD), lambda attempt: attempt)
        assert not attempt.acts
        assert attempt.route.model == ""
        with pytest.raises(ServerError):
            routed.call(asking(HARD), failing({"configured": ServerError("down")}))
    decision = run.ledger().decisions[0]
    assert decision.code == "shadow"
    assert decision.reason.startswith("would take heavy, and calls what is configured")
    assert run.ledger().calls[0].reason == "shadow"


def test_exploration_draws_the_stated_share_and_says_with_which_probability(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A run's id decides what it draws: the same ids, the same draws at every test.
    ids = np.random.default_rng(0)
    monkeypatch.setattr("ctxguard.run.uuid.uuid4", lambda: UUID(bytes=ids.bytes(16), version=4))
    guard = guard_of(explore=0.5)
    drawn: list[str] = []
    for _ in range(300):
        with running(guard) as (routed, run):
            route = routed.call(asking(EASY), named)
        decision = run.ledger().decisions[0]
        drawn.append(decision.code)
        assert decision.details["propensity"] == (0.75 if route == "light" else 0.25)
    assert 0.38 < drawn.count("explored") / 300 < 0.62  # five standard deviations
    with running(guard_of(explore=1.0)) as (routed, run):
        routed.call(asking(EASY), named)
    assert codes(run) == ["explored"]


def test_a_route_whose_window_is_too_small_moves_up_and_says_so() -> None:
    small = Route(name="light", price=CHEAP, window=200, max_output=50)
    with running(guard_of(small, HEAVY)) as (routed, run):
        assert routed.call(asking(EASY * 100), named) == "heavy"
    assert codes(run) == ["window-too-small"]
    assert "too small" in run.ledger().decisions[0].reason


def test_a_route_that_does_not_take_the_call_is_passed_over() -> None:
    def refuses(route: Route) -> str:
        return "it binds no tools" if route.name == "light" else ""

    with running(guard_of()) as (routed, run):
        assert routed.call(asking(EASY, refuses=refuses), named) == "heavy"
    assert codes(run) == ["route-unsuitable"]
    assert "it binds no tools" in run.ledger().decisions[0].reason


def test_the_card_of_a_model_fills_in_what_the_route_does_not_say() -> None:
    routes = (Route(name="light", model=object()), Route(name="heavy", model="gpt-4o"))
    cards = {"light": ModelCard(name="gpt-4o-mini", window=100, max_output=7)}
    request = asking(EASY, card=lambda route: cards.get(route.name, ModelCard()))
    resolved = request.resolved(routes[0])
    assert (resolved.model, resolved.window, resolved.max_output) == ("gpt-4o-mini", 100, 7)
    with running(guard_of(*routes)) as (routed, run):
        routed.call(request, named)
    assert all(run.ledger().decisions[0].details["costs"].values())  # type: ignore[union-attr]


def test_what_was_found_for_a_question_may_raise_it() -> None:
    conflicting = [f"The fee of plan {n} is ${n}00 per month, says page {n}." for n in range(40)]
    guard = guard_of(router=Router(thresholds=(-0.06,)))
    with running(guard) as (routed, run):
        assert routed.call(asking(EASY), named) == "light"
    with running(guard) as (routed, run):
        guard.prepare(EASY, conflicting)
        routed.call(asking(EASY), named)
    decision = next(one for one in run.ledger().decisions if one.stage == "route")
    around = decision.details["around"]
    assert isinstance(around, dict)
    assert around["conflicts"] == pytest.approx(math.log1p(39))
    assert decision.details["route"] == "heavy"


# -- failing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [(RateLimitError("slow"), "rate-limited"), (ServerError("down"), "unreachable")],
)
def test_another_route_answers_where_one_cannot(error: Exception, code: str) -> None:
    guard = guard_of()
    with running(guard) as (routed, run):
        assert routed.call(asking(EASY), failing({"light": error})) == "heavy"
    assert codes(run) == ["light-suffices", code, "fallback"]
    failed, made = run.ledger().calls
    assert (failed.route, failed.error, failed.heavy_cost) == ("light", type(error).__name__, 0.0)
    assert (made.route, made.reason) == ("heavy", "fallback")


def test_where_no_heavy_route_answers_the_light_one_does() -> None:
    with running(guard_of(), HARD) as (routed, _):
        assert routed.call(asking(HARD), failing({"heavy": ServerError("down")})) == "light"


def test_a_fallback_ends_after_each_route_was_asked_once() -> None:
    asked: list[str] = []

    def ask(attempt: Attempt) -> str:
        asked.append(attempt.route.name)
        raise RateLimitError(attempt.route.name)

    guard = guard_of(LIGHT, HEAVY, THIRD)
    with running(guard) as (routed, _), pytest.raises(RateLimitError, match="third"):
        routed.call(asking(EASY), ask)
    assert asked == ["light", "heavy", "third"]
    asked.clear()
    with running(guard) as (routed, _), pytest.raises(RateLimitError):
        routed.call(asking(EASY), ask)  # all of them rest: the one that is free first is asked
    assert len(asked) == 1


def test_a_route_that_rests_is_left_out_by_the_next_call() -> None:
    guard = guard_of()
    with running(guard) as (routed, _):
        routed.call(asking(EASY), failing({"light": RateLimitError("slow")}))
    with running(guard) as (routed, run):
        assert routed.call(asking(EASY), named) == "heavy"
    assert codes(run) == ["light-suffices", "route-rests"]


@pytest.mark.parametrize("error", [RefusedError("bad request"), ValueError("a bug")])
def test_what_would_fail_on_any_route_is_raised_at_once(error: Exception) -> None:
    asked: list[str] = []

    def ask(attempt: Attempt) -> str:
        asked.append(attempt.route.name)
        raise error

    with running(guard_of()) as (routed, run), pytest.raises(type(error)):
        routed.call(asking(EASY), ask)
    assert asked == ["light"]
    assert codes(run)[-1] == "route-failed"


def test_without_fallback_the_error_is_the_callers() -> None:
    with running(guard_of(fallback=False)) as (routed, _), pytest.raises(RateLimitError):
        routed.call(asking(EASY), failing({"light": RateLimitError("slow")}))


def test_control_flow_passes() -> None:
    with running(guard_of()) as (routed, run), pytest.raises(ServerError):
        routed.call(asking(EASY), failing({"light": ServerError("wait")}), lambda _: True)
    assert "fallback" not in codes(run)
    assert "unreachable" not in codes(run)  # nor is it an error of the route
    assert [call.error for call in run.ledger().calls] == [""]


def test_a_prompt_that_is_too_long_goes_to_a_larger_window_only() -> None:
    class TooLongError(Exception):
        code = "context_length_exceeded"

    routes = (
        Route(name="light", price=CHEAP),
        Route(name="heavy", price=DEAR, window=30, max_output=1),
        Route(name="third", price=Price(input=100, output=200), window=100_000),
    )
    with running(guard_of(*routes)) as (routed, _):
        assert routed.call(asking("word " * 200), failing({"light": TooLongError("no")})) == "third"


# -- streams and async --------------------------------------------------------------------------


def streaming(errors: dict[str, tuple[int, Exception]]) -> Callable[[Attempt], Iterator[str]]:
    """Streams three items; a route in `errors` raises before the item of this number."""

    def ask(attempt: Attempt) -> Iterator[str]:
        at, error = errors.get(attempt.route.name, (9, None))
        for number in range(3):
            assert current_attempt() is attempt
            if number == at and error:
                raise error
            yield f"{attempt.route.name} {number}"

    return ask


def test_a_stream_falls_back_only_while_nothing_was_shown() -> None:
    with running(guard_of()) as (routed, _):
        ask = streaming({"light": (0, ServerError("down"))})
        assert list(routed.stream(asking(EASY), ask)) == ["heavy 0", "heavy 1", "heavy 2"]
    with running(guard_of()) as (routed, run):
        items = routed.stream(asking(EASY), streaming({"light": (2, ServerError("down"))}))
        assert [next(items), next(items)] == ["light 0", "light 1"]
        with pytest.raises(ServerError):
            next(items)
    assert codes(run) == ["light-suffices", "unreachable"]
    assert [call.error for call in run.ledger().calls] == ["ServerError"]


def test_what_a_reader_has_of_a_call_keeps_it_from_another_route() -> None:
    def ask(attempt: Attempt) -> str:
        attempt.shown = True
        raise ServerError("gone")

    with running(guard_of()) as (routed, run), pytest.raises(ServerError):
        routed.call(asking(EASY), ask)
    assert [call.route for call in run.ledger().calls] == ["light"]
    assert "fallback" not in codes(run)


def test_a_stream_that_is_closed_is_counted() -> None:
    closed: list[str] = []

    def ask(attempt: Attempt) -> Iterator[str]:
        try:
            while True:
                yield attempt.route.name
        finally:
            closed.append(attempt.route.name)

    with running(guard_of()) as (routed, run):
        items = routed.stream(asking(EASY), ask)
        assert next(items) == "light"
        items.close()  # type: ignore[attr-defined]
        assert current_attempt() is None
    assert closed == ["light"]
    assert [call.error for call in run.ledger().calls] == ["GeneratorExit"]


def test_async_calls_and_streams_do_the_same(tmp_path: Path) -> None:
    async def ask(attempt: Attempt) -> str:
        await asyncio.sleep(0)
        return failing({"light": RateLimitError("slow")})(attempt)

    async def stream(attempt: Attempt) -> AsyncIterator[str]:
        for item in streaming({"heavy": (1, ServerError("down"))})(attempt):
            await asyncio.sleep(0)
            yield item

    async def work(guard: Guard) -> None:
        with running(guard) as (routed, run):
            assert await routed.acall(asking(EASY), ask) == "heavy"
            items = routed.astream(asking(EASY), stream)
            assert await anext(items) == "heavy 0"
            with pytest.raises(ServerError):
                await anext(items)
        assert codes(run)[:3] == ["light-suffices", "rate-limited", "fallback"]

    asyncio.run(work(guard_of()))
    asyncio.run(work(guard_of(state=tmp_path / "state.sqlite3")))


def test_a_cancelled_call_is_counted_and_a_stream_falls_back_asynchronously() -> None:
    async def never(_: Attempt) -> str:
        await asyncio.sleep(60)
        return ""

    async def stream(attempt: Attempt) -> AsyncIterator[str]:
        if attempt.route.name == "light":
            raise RateLimitError("slow")
        yield attempt.route.name

    async def work() -> None:
        with running(guard_of()) as (routed, run):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(routed.acall(asking(EASY), never), 0.01)
            assert [call.error for call in run.ledger().calls] == ["CancelledError"]
            assert [item async for item in routed.astream(asking(EASY), stream)] == ["heavy"]
            half = routed.astream(asking(EASY), stream)
            assert await anext(half) == "heavy"
            await half.aclose()  # type: ignore[attr-defined]

    asyncio.run(work())


# -- what it may cost ---------------------------------------------------------------------------

LIMIT = SpendLimit(usd=0.01, per="day")


def test_what_was_used_is_what_it_costs_beside_all_heavy() -> None:
    def ask(attempt: Attempt) -> str:
        attempt.used(Load(input=1000, output=50, cache_read=200))
        return attempt.route.name

    with running(guard_of()) as (routed, run):
        routed.call(asking(EASY), ask)
    call = run.ledger().calls[0]
    assert call.measured
    assert call.cost == pytest.approx((1000 * 1 + 50 * 2) / 1e6)
    assert call.heavy_cost == pytest.approx(10 * (1000 * 1 + 50 * 2) / 1e6)
    assert Ledger.from_json(run.ledger().to_json()).calls == run.ledger().calls


def test_a_limit_sends_calls_to_a_lighter_route_and_then_ends_them() -> None:
    guard = guard_of(limits=(LIMIT,))
    taken: list[str] = []
    runs: list[Run] = []

    def ask(attempt: Attempt) -> str:
        attempt.used(Load(input=200, output=100))
        return attempt.route.name

    def spend() -> None:
        for _ in range(60):
            with running(guard, HARD) as (routed, run):
                runs.append(run)
                taken.append(routed.call(asking(HARD), ask))

    with pytest.raises(SpendLimitError) as caught:
        spend()
    assert taken[:2] == ["heavy", "heavy"]
    assert taken[-1] == "light"
    assert caught.value.retry_after > 0
    assert "over-limit" in codes(runs[-1])
    spent = guard.dispatcher.standing("")[0].usd  # type: ignore[union-attr]
    assert spent <= LIMIT.usd


def test_applications_in_one_store_have_budgets_of_their_own(tmp_path: Path) -> None:
    ours, theirs = (
        guard_of(limits=(LIMIT,), state=tmp_path / "state.sqlite3", name=name)
        for name in ("ours", "theirs")
    )
    with running(ours) as (routed, _):
        routed.call(asking(EASY), named)
    spent = [guard.dispatcher.standing()[0].usd for guard in (ours, theirs)]  # type: ignore[union-attr]
    assert spent[0] > 0
    assert spent[1] == 0


def test_tenants_have_limits_of_their_own() -> None:
    guard = guard_of(tenants={"poor": (SpendLimit(usd=1e-5, per="hour"),)})
    refused = pytest.raises(SpendLimitError, match="poor")
    with calling_for(tenant="poor"), running(guard) as (routed, _), refused:
        routed.call(asking(EASY), named)
    with calling_for(tenant="rich"), running(guard) as (routed, _):
        assert routed.call(asking(EASY), named) == "light"


@pytest.mark.parametrize(
    ("route", "field"),
    [
        (Route(name="light", model="nobody-knows-it", max_output=9), "Route.price"),
        (Route(name="light", price=CHEAP), "Route.max_output"),
    ],
)
def test_a_limit_takes_a_bound_on_what_a_call_costs(route: Route, field: str) -> None:
    guard, refused = guard_of(route, limits=(LIMIT,)), pytest.raises(InputError, match=field)
    with running(guard) as (routed, _), refused:
        routed.call(asking(EASY), named)


def test_a_call_that_broke_off_counts_in_full_and_one_that_was_refused_not_at_all() -> None:
    guard = guard_of(limits=(LIMIT,), fallback=False)
    shared = guard.dispatcher
    assert shared is not None
    with running(guard) as (routed, _), pytest.raises(RateLimitError):
        routed.call(asking(EASY), failing({"light": RateLimitError("slow")}))
    assert shared.standing("")[0].usd == 0
    with running(guard) as (routed, _), pytest.raises(ServerError):
        routed.call(asking(EASY), failing({"light": ServerError("down")}))
    assert shared.standing("")[0].usd == pytest.approx(100 * 2 / 1e6, rel=0.2)


def test_a_thousand_calls_at_once_stay_within_the_limit(tmp_path: Path) -> None:
    guard = guard_of(LIGHT, limits=(SpendLimit(usd=0.02, per="day"),), state=tmp_path / "s.sqlite3")
    counted, lock = [0], threading.Lock()

    def ask(attempt: Attempt) -> bool:
        attempt.used(Load(input=20, output=100))
        with lock:
            counted[0] += 1
        return True

    def once(_: int) -> bool:
        with running(guard) as (routed, _run):
            try:
                return routed.call(asking(EASY), ask)
            except SpendLimitError:
                return False

    with ThreadPoolExecutor(16) as pool:
        admitted = sum(pool.map(once, range(1000)))
    each = (20 * 1 + 100 * 2) / 1e6
    assert admitted == counted[0]
    assert 0.85 * 0.02 <= admitted * each <= 0.02


def test_a_call_goes_on_where_the_state_is_gone_and_the_ledger_says_so(tmp_path: Path) -> None:
    (tmp_path / "occupied").touch()
    guard = guard_of(state=tmp_path / "occupied" / "state.sqlite3")
    with running(guard) as (routed, run):
        assert routed.call(asking(EASY), failing({"light": RateLimitError("slow")})) == "heavy"
    assert "state" in codes(run)


# -- conversations ------------------------------------------------------------------------------

TALK = (
    Message(role="user", text="word " * 4000),
    Message(role="assistant", text="so " * 200),
    Message(role="user", text=EASY),
)


def talking(
    guard: Guard, question: str, messages: tuple[Message, ...] = TALK
) -> tuple[str, Ledger]:
    with calling_for(conversation="c"), running(guard, question) as (routed, run):
        return routed.call(Request(messages=messages), named), run.ledger()


def test_a_conversation_keeps_the_route_whose_cache_is_worth_more() -> None:
    heavy = Route(name="heavy", price=Price(input=2, output=2, cache_read=0.01))
    guard = guard_of(Route(name="light", price=CHEAP), heavy)
    assert talking(guard, HARD)[0] == "heavy"
    route, ledger = talking(guard, EASY)
    assert route == "heavy"
    assert codes(ledger) == ["kept-for-cache"]
    assert "cached" in ledger.decisions[0].reason
    assert (
        talking(guard_of(Route(name="light", price=CHEAP), heavy, sticky=False), EASY)[0] == "light"
    )


def test_a_conversation_leaves_a_route_where_that_saves_more_than_its_cache() -> None:
    heavy = Route(name="heavy", price=Price(input=20, output=20, cache_read=10))
    guard = guard_of(Route(name="light", price=CHEAP), heavy)
    assert talking(guard, HARD)[0] == "heavy"
    route, ledger = talking(guard, EASY)
    assert route == "light"
    assert "leaves the cache of heavy" in ledger.decisions[0].reason
    assert talking(guard, HARD)[0] == "heavy"  # quality is not traded for a cache


def test_without_prices_a_conversation_keeps_its_route() -> None:
    guard = guard_of(Route(name="light"), Route(name="heavy"))
    assert talking(guard, HARD)[0] == "heavy"
    assert talking(guard, EASY)[0] == "heavy"


def test_of_two_calls_of_a_conversation_at_once_the_heavier_route_counts() -> None:
    guard = guard_of(Route(name="light"), Route(name="heavy"))
    shared = guard.dispatcher
    assert shared is not None

    class Racing(SharedState):
        def get(self, key: str) -> str | None:
            found = super().get(key)
            if "sticky" in key and found is None:
                self.swap(key, None, f"{self.now():.3f} heavy", ttl=60)
                return None
            return found

    shared.state = Racing(MemoryStore())
    route, ledger = talking(guard, EASY)
    assert route == "heavy"
    assert "another call" in ledger.decisions[0].reason


# -- cascade ------------------------------------------------------------------------------------


def test_a_cascade_begins_light_and_says_what_its_answer_is_held_to() -> None:
    guard = guard_of(LIGHT, HEAVY, THIRD, cascade=Cascade(attempts=2))
    with running(guard, HARD) as (routed, run):
        attempt = routed.call(
            asking(HARD), lambda attempt: (attempt, verification_of(guard.policy))
        )
    assert attempt[0].route.name == "light"
    settings = attempt[1]
    assert settings is not None
    assert (settings.on_fail, settings.tries, settings.attempts) == ("escalate", ("escalate",), 1)
    assert codes(run) == ["cascade"]


def test_a_cascade_stays_light_in_every_call_of_a_run() -> None:
    with running(guard_of(cascade=Cascade()), HARD) as (routed, run):
        assert [routed.call(asking(HARD), named) for _ in range(3)] == ["light"] * 3
        assert routed.call(asking(HARD, refuses=refusing_light), named) == "heavy"
    assert codes(run) == ["cascade", "route-unsuitable"]


def refusing_light(route: Route) -> str:
    return "no" if route is LIGHT else ""


def test_an_attempt_escalates_within_attempts_cost_windows_rests_and_limits() -> None:
    def follow(
        guard: Guard, request: Request | None = None
    ) -> tuple[Attempt | None, list[str], str]:
        with running(guard) as (routed, run):
            first = routed.begin(asking(EASY))
            first.succeeded()
            found = first.follow("heavy", request or asking(EASY))
            last = run.ledger().decisions[-1].reason
            return found, codes(run), last

    made, said, _ = follow(guard_of(cascade=Cascade()))
    assert made is not None
    assert (made.route.name, made.reason, made.number) == ("heavy", "escalated", 2)
    assert said == ["cascade", "escalated"]
    small = Route(name="heavy", price=DEAR, window=120, max_output=100)
    for guard, request, why in (
        (guard_of(cascade=Cascade(attempts=1)), None, "which is the limit"),
        (guard_of(cascade=Cascade(max_cost=1e-9)), None, "may cost"),
        (guard_of(LIGHT, Route(name="heavy"), cascade=Cascade(max_cost=1)), None, "not known"),
        (guard_of(LIGHT, small, cascade=Cascade()), asking(EASY * 60), "too small"),
        (guard_of(cascade=Cascade(), limits=(SpendLimit(usd=5e-4, per="day"),)), None, "exceeds"),
    ):
        made, said, reason = follow(guard, request)
        assert made is None, why
        assert said[-1] == "not-escalated"
        assert why in reason
    resting = guard_of(cascade=Cascade())
    shared = resting.dispatcher
    assert shared is not None
    shared.rests.rate_limited(shared.label("heavy"))
    made, said, reason = follow(resting)
    assert made is None
    assert "no heavier route" in reason
    made, said, _ = follow(guard_of(mode="shadow"))
    assert made is None


def test_an_answer_goes_up_route_by_route_and_is_that_of_the_last() -> None:
    guard = guard_of(LIGHT, HEAVY, THIRD, cascade=Cascade(attempts=3))

    def ask(attempt: Attempt) -> list[str]:
        asked: list[str] = []
        while (above := attempt.follow("heavy", asking(EASY))) is not None:
            asked.append(above.route.name)
            above.succeeded()
        return asked

    with running(guard) as (routed, run):
        assert routed.call(asking(EASY), ask) == ["heavy", "third"]
    ledger = run.ledger()
    assert ledger.route == "third"
    assert [call.reason for call in ledger.calls] == ["escalated", "escalated", "routed"]
    shared = guard.dispatcher
    assert shared is not None
    answered_by = shared.answered(run.run_id)
    assert answered_by is not None
    assert (answered_by.route, answered_by.fails) == ("third", None)


def test_a_repair_asks_the_same_route_and_counts() -> None:
    guard = guard_of(limits=(SpendLimit(usd=1, per="day"),))
    with running(guard) as (routed, run):
        first = routed.begin(asking(EASY))
        first.succeeded()
        again = first.follow("light", asking(EASY))
        assert again is not None
        again.used(Load(input=10, output=5))
        again.succeeded()
        again.succeeded()  # once
    calls = run.ledger().calls
    assert [(call.route, call.reason) for call in calls] == [
        ("light", "routed"),
        ("light", "repair"),
    ]
    assert calls[1].heavy_cost == 0.0


@pytest.mark.parametrize(
    ("level", "own", "expected"),
    [
        ("off", Verify(), None),
        ("flag", None, "flag"),
        ("flag", Verify(on_fail="raise"), "flag"),
        ("repair", None, "repair"),
        ("repair", Verify(), "repair"),
        ("repair", Verify(on_fail="abstain"), "abstain"),
        (None, Verify(on_fail="raise"), "raise"),
        (None, None, None),
    ],
)
def test_a_route_says_how_strictly_its_answers_are_verified(
    level: Any, own: Verify | None, expected: str | None
) -> None:
    light = Route(name="light", price=CHEAP, verification=level)
    guard = guard_of(light, HEAVY, verification=own)
    with running(guard) as (routed, _):
        settings = routed.call(asking(EASY), lambda _: verification_of(guard.policy))
    assert (settings.on_fail if settings else None) == expected
    assert verification_of(guard.policy) is own
    assert guard.policy.verifies == (own is not None or level in ("flag", "repair"))
    if expected not in (None, "flag"):
        assert guard.policy.repairs


def test_an_answer_that_nobody_is_sure_of_goes_up() -> None:
    cascade = Cascade(below=0.6, confidence=0.5)
    with running(guard_of(cascade=cascade)) as (routed, _):
        attempt = routed.begin(asking(EASY))
        assert attempt.doubt(0.9) == ""
        assert "score 0.50" in attempt.doubt(0.5)
        attempt.told([])
        assert attempt.confidence is None
        attempt.told([-0.01, -9.0])
        assert "mean probability" in attempt.doubt(0.9)
        heavy = attempt.follow("heavy", asking(EASY))
        assert heavy is not None
        assert heavy.doubt(0.1) == ""


def test_draft_and_verify_hands_over_what_was_accepted_and_what_was_rejected() -> None:
    evidence = ["The fee is $500 per month.", "The notice period is thirty days."]
    draft = "The notice period is thirty days. The fee is $600 per month."
    guard = guard_of(cascade=Cascade())
    asked: list[Ask] = []

    def work(attempt: Attempt) -> str:
        begun = answering(guard)
        assert begun is not None
        begun.push(draft)

        def ask(request: Ask) -> str | None:
            asked.append(request)
            following = attempt.follow(request.route, Request(messages=request.messages))
            assert following is not None
            following.succeeded()
            return "The fee is $500 per month."

        return drive(begun.settle(), ask=ask).answer

    with running(guard) as (routed, run):
        guard.prepare(EASY, evidence)
        answer = routed.call(asking(EASY), work)
    assert answer == "The notice period is thirty days. The fee is $500 per month."
    assert [request.route for request in asked] == ["heavy"]
    told = asked[0].messages[-1].text
    assert "The fee is $600 per month." in told
    assert "$500 per month" in told
    assert [call.reason for call in run.ledger().calls] == ["escalated", "routed"]


def test_a_doubted_answer_is_asked_for_anew_and_a_stream_only_says_so() -> None:
    guard = guard_of(cascade=Cascade(confidence=0.9), verification=Verify(mode="gate"))
    text = "The notice period is thirty days."

    def work(streamed: bool) -> Callable[[Attempt], str]:
        def ask(attempt: Attempt) -> str:
            attempt.told([-2.0, -2.0])
            begun = answering(guard, streamed=streamed)
            assert begun is not None
            shown = begun.push(text).text
            settled = drive(begun.settle(), ask=lambda _: "The notice period is 30 days.")
            return shown + settled.rest if streamed else settled.answer

        return ask

    for streamed, answer in ((False, "The notice period is 30 days."), (True, text)):
        with running(guard) as (routed, run):
            guard.prepare(EASY, [text])
            assert routed.call(asking(EASY), work(streamed)) == answer
        assert "low-confidence" in [decision.code for decision in run.ledger().decisions]


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        ({"routing": Routes(routes=(LIGHT,), cascade=Cascade())}, "two routes or more"),
        (
            {
                "routing": Routes(routes=(LIGHT, HEAVY), cascade=Cascade()),
                "verification": Verify(on_fail="escalate", heavy=object()),
            },
            "leave one of them out",
        ),
        ({"routing": "light"}, "Policy.routing"),
    ],
)
def test_a_policy_that_contradicts_itself_is_refused(policy: Any, field: str) -> None:
    with pytest.raises(PolicyError, match=field):
        Policy(**policy)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"routes": ()}, "Routes.routes"),
        ({"routes": (LIGHT, LIGHT)}, "Routes.routes"),
        ({"routes": ("light",)}, "Routes.routes"),
        ({"routes": (LIGHT, HEAVY, THIRD)}, "thresholds"),
        ({"routes": (LIGHT, HEAVY), "router": Router(thresholds=(0.1, 0.2))}, "thresholds"),
        ({"routes": (LIGHT, HEAVY), "mode": "maybe"}, "Routes.mode"),
        ({"routes": (LIGHT, HEAVY), "explore": 1.5}, "Routes.explore"),
        ({"routes": (LIGHT, HEAVY), "cache_seconds": float("nan")}, "Routes.cache_seconds"),
        ({"routes": LIGHT}, "Routes.routes: expected several"),
        ({"routes": (LIGHT, HEAVY), "cascade": True}, "Routes.cascade"),
        ({"routes": (LIGHT, HEAVY), "limits": LIMIT}, "Routes.limits"),
        ({"routes": (LIGHT, HEAVY), "tenants": {"free": LIMIT}}, r"Routes.tenants\['free'\]"),
        ({"routes": (LIGHT, HEAVY), "state": "mongodb://x"}, "state: expected a file"),
    ],
)
def test_bad_routes_are_refused_by_the_name_of_the_field(settings: Any, field: str) -> None:
    with pytest.raises(InputError, match=field):
        Routes(**settings)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"attempts": 0}, "Cascade.attempts"),
        ({"attempts": 1.5}, "Cascade.attempts"),
        ({"max_cost": 0}, "Cascade.max_cost"),
        ({"below": 2}, "Cascade.below"),
        ({"confidence": -1}, "Cascade.confidence"),
    ],
)
def test_a_bad_cascade_is_refused_by_the_name_of_the_field(settings: Any, field: str) -> None:
    with pytest.raises(InputError, match=field):
        Cascade(**settings)


# -- feedback -----------------------------------------------------------------------------------


def answered(guard: Guard, question: str = EASY) -> str:
    with running(guard, question) as (routed, run):
        routed.call(asking(question), named)
    return run.run_id


def test_feedback_finds_the_route_from_another_process_and_tells_drift(tmp_path: Path) -> None:
    state = tmp_path / "state.sqlite3"
    ours, theirs = guard_of(state=state), guard_of(state=state)
    drift = None
    for _ in range(60):
        drift = Handle(theirs, theirs).feedback(answered(ours), ok=False)
    assert drift is not None
    assert drift.drifted
    assert drift.counts.not_ok == 60
    assert drift.promised < 0.6
    third = guard_of(state=state)
    with running(third) as (routed, run):
        routed.call(asking(EASY), named)
    assert codes(run) == ["drifted", "light-suffices"]


@pytest.mark.parametrize("ends_first", [True, False])
def test_feedback_on_an_escalated_answer_is_of_the_route_that_gave_it(ends_first: bool) -> None:
    guard = guard_of(cascade=Cascade())
    with running(guard) as (routed, run):
        first = routed.begin(asking(EASY))
        if ends_first:
            first.succeeded()
        above = first.follow("heavy", asking(EASY))
        assert above is not None
        above.succeeded()
        first.succeeded()
    handle = Handle(guard, guard)
    assert handle.feedback(run.run_id, ok=True) is None, "nothing was expected of an escalation"
    assert guard.dispatcher is not None
    assert guard.dispatcher.counts()["heavy"].ok == 1


def test_an_escalation_that_failed_leaves_feedback_to_the_route_that_answered() -> None:
    guard = guard_of(cascade=Cascade())
    with running(guard) as (routed, run):
        first = routed.begin(asking(EASY))
        above = first.follow("heavy", asking(EASY))
        assert above is not None
        error = RateLimitError("slow down")
        above.failed(error, failure_of(error))
        first.succeeded()
    drift = Handle(guard, guard).feedback(run.run_id, ok=True)
    assert drift is not None
    assert drift.route == "light"
    assert "answers of light were not ok" in drift.reason


def test_feedback_that_agrees_with_the_forecast_is_no_drift() -> None:
    guard = guard_of()
    handle = Handle(guard, guard)
    found = [handle.feedback(answered(guard), ok=number % 4 > 0) for number in range(40)]
    assert found[-1] is not None
    assert not found[-1].drifted


def test_feedback_on_a_run_that_nobody_knows_says_so() -> None:
    guard = guard_of()
    with pytest.raises(InputError, match="run_id"):
        Handle(guard, guard).feedback("nobody", ok=True)
    plain = Guard()
    with pytest.raises(InputError, match="routes nothing"):
        Handle(plain, plain).feedback("nobody", ok=True)
    cheap = guard_of(Route(name="only"))
    with pytest.raises(InputError, match="run_id"):
        Handle(cheap, cheap).feedback(answered(cheap), ok=True)


# -- what must not be lost ------------------------------------------------------------------------


def test_a_run_within_another_has_its_own_route_and_its_own_calls() -> None:
    around, inner = Guard(Policy()), guard_of()
    with around.run("a task of two questions") as outer:
        with inner.run(HARD) as first:
            routed = dispatching(inner.dispatcher)
            assert routed is not None
            assert routed.call(asking(HARD), named) == "heavy"
        with inner.run(EASY) as second:
            routed = dispatching(inner.dispatcher)
            assert routed is not None
            assert routed.call(asking(EASY), named) == "light"
            with inner.run("a part of it"):
                assert dispatching(inner.dispatcher) is routed
    routes = [[call.route for call in run.ledger().calls] for run in (first, second, outer)]
    assert routes == [["heavy"], ["light"], ["heavy", "light"]]
    assert inner.dispatcher is not None
    inner.dispatcher.feedback(second.run_id, ok=True)


def test_a_call_beside_another_does_not_take_the_run_down_again() -> None:
    """One is decided on first and asks last; its own window keeps the other one off its route."""
    small = Route(name="light", price=CHEAP, max_output=100, window=400)
    with running(guard_of(small, HEAVY)) as (routed, _):
        walk = routed._walk

        def walking(names: Sequence[str]) -> Iterator[str]:
            if names[0] == "light":  # what another thread does between the choice and the call
                routed.call(asking("long " * 200, count=len), named)
            return walk(names)

        routed._walk = walking
        assert routed.call(asking(EASY), named) == "light"
        assert routed.route == "heavy"


def test_all_that_was_used_is_counted_also_beyond_what_a_route_allows() -> None:
    guard = guard_of(LIGHT, HEAVY, limits=(SpendLimit(usd=1, per="day"),))

    def ask(attempt: Attempt) -> str:
        attempt.used(Load(input=1000, output=5000))
        return attempt.route.name

    with running(guard) as (routed, run):
        routed.call(asking(EASY), ask)
    call = run.ledger().calls[0]
    assert call.cost == pytest.approx((1000 * 1 + 5000 * 2) / 1e6)
    assert call.heavy_cost == pytest.approx((1000 * 10 + 5000 * 20) / 1e6)
    assert guard.dispatcher is not None
    assert guard.dispatcher.standing("")[0].usd == pytest.approx(0.011)


def test_several_answers_are_set_aside_for() -> None:
    one, three = asking(EASY), asking(EASY, answers=3)
    assert three.most(LIGHT).output == 3 * one.most(LIGHT).output == 300
    windowed = Route(name="light", window=1000)
    assert three.most(windowed).output == 3000 - three.load(most=True).input
    with running(guard_of(LIGHT, limits=(SpendLimit(usd=0.0005, per="day"),))) as (routed, _):
        assert routed.call(one, named) == "light"
        with pytest.raises(SpendLimitError):
            routed.call(three, named)


def test_a_route_that_rests_is_told_also_where_no_other_is_left() -> None:
    guard = guard_of()
    assert guard.dispatcher is not None
    guard.dispatcher.rests.rate_limited(guard.dispatcher.label("heavy"), retry_after=60)
    with running(guard) as (routed, run), pytest.raises(ServerError):
        routed.call(asking(EASY), failing({"light": ServerError("down")}))
    assert codes(run) == ["light-suffices", "unreachable", "route-rests"]


def test_a_price_that_nobody_knows_does_not_hide_why_a_fallback_was_tried() -> None:
    unpriced = Route(name="heavy", model="of nobody", max_output=100)
    guard = guard_of(LIGHT, unpriced, limits=(SpendLimit(usd=1, per="day"),))
    with running(guard) as (routed, _), pytest.raises(InputError, match="price") as caught:
        asyncio.run(routed.acall(asking(EASY), _down))
    assert isinstance(caught.value.__cause__, ServerError)


async def _down(_: Attempt) -> str:
    raise ServerError("down")


def _busy() -> NoReturn:
    raise RateLimitError("slow down")


def test_an_error_that_disowns_another_is_judged_by_itself() -> None:
    def ask(_: Attempt) -> str:
        try:
            _busy()
        except RateLimitError:
            raise ValueError("no answer in what came") from None

    with running(guard_of()) as (routed, run), pytest.raises(ValueError, match="no answer"):
        routed.call(asking(EASY), ask)
    assert codes(run) == ["light-suffices", "route-failed"]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_the_caller_was_handling_is_no_cause(*, asynchronous: bool) -> None:
    async def aask(_: Attempt) -> str:
        raise ValueError("no answer in what came")

    def ask(_: Attempt) -> str:
        raise ValueError("no answer in what came")

    async def acall(routed: Dispatching) -> None:
        try:
            _busy()
        except RateLimitError:
            await routed.acall(asking(EASY), aask)

    def call(routed: Dispatching) -> None:
        try:
            _busy()
        except RateLimitError:
            routed.call(asking(EASY), ask)

    with running(guard_of()) as (routed, run), pytest.raises(ValueError, match="no answer"):
        asyncio.run(acall(routed)) if asynchronous else call(routed)
    assert codes(run) == ["light-suffices", "route-failed"]


def test_a_search_before_the_call_does_not_leave_the_cache_of_a_conversation() -> None:
    light = Route(name="light", price=Price(input=1, output=2), top_k=2, max_output=100)
    heavy = Route(
        name="heavy", price=Price(input=1.5, output=2, cache_read=0.1), top_k=8, max_output=100
    )
    guard = guard_of(light, heavy)
    history = (Message(role="user", text="long " * 4000), Message(role="user", text=EASY))
    with calling_for(conversation="one"):
        with running(guard, HARD) as (routed, _):
            assert routed.call(asking(HARD), named) == "heavy"
        with running(guard) as (routed, run):
            assert routed.depth(asking(EASY)) == 2
            assert routed.call(Request(messages=history), named) == "heavy"
    assert codes(run) == ["light-suffices", "kept-for-cache"]


def test_in_a_cascade_exploration_says_with_which_probability() -> None:
    guard = guard_of(explore=0.5, cascade=Cascade())
    for _ in range(40):
        with running(guard, HARD) as (routed, run):
            route = routed.call(asking(HARD), named)
        told = run.ledger().decisions[0].details["propensity"]
        assert told == (0.75 if route == "light" else 0.25)  # not by what the router decided


class _Slow(MemoryStore):
    """A store that is waited for."""

    name = "slow"

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go, self.settled = (threading.Event() for _ in range(3))

    def settle(self, hold: str, windows: Sequence[Window], cost: int) -> int | None:
        found = super().settle(hold, windows, cost)
        self.settled.set()
        return found

    def reserve(self, hold: str, windows: Sequence[Window], amount: int) -> Admission:
        self.asked.set()
        assert self.go.wait(10)
        return super().reserve(hold, windows, amount)


@pytest.mark.parametrize("streams", [False, True])
def test_what_a_cancelled_call_has_set_aside_is_given_back(*, streams: bool) -> None:
    store = _Slow()
    guard = guard_of(LIGHT, state=store, limits=(SpendLimit(usd=1, per="day"),))

    async def ask(attempt: Attempt) -> str:
        return attempt.route.name

    async def stream(attempt: Attempt) -> AsyncIterator[str]:
        yield attempt.route.name

    async def call(routed: Dispatching) -> None:
        if streams:
            await anext(routed.astream(asking(EASY), stream))
        else:
            await routed.acall(asking(EASY), ask)

    async def main() -> None:
        with running(guard) as (routed, _):
            task = asyncio.create_task(call(routed))
            await asyncio.to_thread(store.asked.wait, 10)
            task.cancel()
            await asyncio.wait([task])
            store.go.set()
            await asyncio.to_thread(store.settled.wait, 10)

    asyncio.run(asyncio.wait_for(main(), 20))  # ends when the thread has
    assert guard.dispatcher is not None
    assert guard.dispatcher.standing("")[0].usd == 0


def test_the_state_is_opened_once_however_many_ask_for_it_first() -> None:
    guard = guard_of()
    assert guard.dispatcher is not None
    with ThreadPoolExecutor(8) as pool:
        states = list(pool.map(lambda _: guard.dispatcher.state, range(32)))  # type: ignore[union-attr]
    assert len({id(state) for state in states}) == 1


# -- the guard ----------------------------------------------------------------------------------


def test_a_guard_tells_a_route_without_a_call() -> None:
    guard = guard_of()
    assert guard.route(EASY).route.name == "light"
    assert guard.route(HARD).route.name == "heavy"
    with pytest.raises(InputError, match="question"):
        guard.route(3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"Policy\.routing"):
        Guard().route(EASY)
    assert guard.with_card(ModelCard(name="gpt-4o")).dispatcher is guard.dispatcher
    assert guard.with_verification(None) is guard
    assert guard.with_verification(Verify()).dispatcher is guard.dispatcher


def test_who_calls_must_be_a_text() -> None:
    with pytest.raises(InputError, match="tenant"), calling_for(tenant=3):  # type: ignore[arg-type]
        pass
