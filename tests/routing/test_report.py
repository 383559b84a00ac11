"""Savings: net, of all that was called, and never without a word on quality."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import pytest

from ctxguard import Guard, Handle, InputError, Ledger, Message, Policy
from ctxguard.attempts import Attempt
from ctxguard.dispatching import dispatching
from ctxguard.ledger import Call
from ctxguard.reliability import share_interval
from ctxguard.request import Request
from ctxguard.routing import Load, Price, Route, Router, Routes, savings_of
from ctxguard.routing.explanation import explanation_of
from ctxguard.routing.report import Share, money
from ctxguard.routing.state.feedback import Counts
from ctxguard.types import Chunk, Decision
from ctxguard.verification import Verifier
from tests.routing.made import made

LIGHT = Route(name="light", model="l", price=Price(input=1, output=1))
HEAVY = Route(name="heavy", model="h", price=Price(input=10, output=10))
EVIDENCE = (Chunk(id="c", text="The fee is $500 per month."),)
HARD = "A customer bought " + ", ".join(f"{n} pens" for n in range(11, 30)) + ". What is the total?"


def guard_of(routes: Sequence[Route] = (LIGHT, HEAVY), **more: Any) -> Guard:
    return Guard(Policy(routing=Routes(routes=tuple(routes), state="memory", **more)))


def asked(guard: Guard, question: str = "What is the fee?", fails: str = "") -> Ledger:
    """A run with one call; a route of this name does not answer."""

    def ask(attempt: Attempt) -> None:
        if attempt.route.name == fails:
            raise TimeoutError
        attempt.used(Load(input=900, output=100))

    with guard.run(question) as run:
        routing = dispatching(guard.dispatcher)
        assert routing is not None
        routing.call(Request(messages=(Message(role="user", text=question),)), ask)
    return run.ledger()


def call(
    route: str = "light",
    reason: Literal["routed", "shadow", "fallback", "escalated", "repair"] = "routed",
    **more: Any,
) -> Call:
    more = {"input": 900, "output": 100} | more
    return Call(route=route, model="", reason=reason, **more)


def ledger(*calls: Call, run_id: str = "r", **more: Any) -> Ledger:
    return Ledger(run_id=run_id, calls=calls, **more)


def choice(route: str = "light", decided: str = "", code: str = "light-suffices") -> Decision:
    return Decision(
        stage="route",
        action="route",
        subject="question",
        code=code,
        reason="because",
        details={
            "route": route,
            "decided": decided or route,
            "costs": {"light": 1.0, "middle": 4.0, "heavy": 10.0},
            "light_fails": 0.5,
            "heavy_fails": 0.2,
        },
    )


# -- costs ----------------------------------------------------------------------------------------


def test_what_a_light_route_saves_is_the_difference_to_heavy() -> None:
    found = asked(guard_of()).savings
    assert (found.cost, found.heavy_cost) == pytest.approx((0.001, 0.01))
    assert found.share == pytest.approx(0.9)
    assert (found.runs, found.calls, found.measured, found.heavy_calls) == (1, 1, 1, 0)
    assert "90.0 % saved, net" in str(found)


def test_it_is_net_of_what_all_heavy_would_not_call() -> None:
    found = savings_of(
        [
            ledger(
                call(cost=0.001, error="TimeoutError", heavy_cost=0.0),
                call("light", "fallback", cost=0.001, heavy_cost=0.01),
                call("light", "repair", cost=0.002, heavy_cost=0.0),
                call("heavy", "escalated", cost=0.01, heavy_cost=0.0),
                decisions=(choice(),),
            )
        ]
    )
    assert found.cost == pytest.approx(0.014)
    assert found.saved == pytest.approx(-0.004)
    assert (found.beside, found.beside_calls) == (pytest.approx(0.013), 3)
    assert "40.0 % more, net" in found.line
    assert "net of 0.013000 for 3 calls" in str(found)
    assert found.heavy_calls == 1


def test_a_run_with_a_call_without_a_price_is_left_out_and_said() -> None:
    runs = [
        ledger(call(cost=0.001, heavy_cost=0.01), run_id="a"),
        ledger(call(cost=0.001, heavy_cost=0.01), call("mine", "repair"), run_id="b"),
        ledger(call(cost=0.001), run_id="c", decisions=(choice(),)),
    ]
    found = savings_of(runs)
    assert (found.cost, found.heavy_cost) == (0.001, 0.01)
    assert (found.runs, found.unpriced_runs) == (3, 2)
    assert found.unpriced == ("mine", "heavy")
    assert "left out: 2 runs, no price is known of mine, heavy" in str(found)
    assert found.calls == 4
    assert savings_of(runs[1:]).share is None
    assert "cost not known: no price of mine, heavy" in savings_of(runs[1:]).line
    assert {one.route: one.cost for one in found.routes} == {"light": 0.003, "mine": None}


def test_a_call_that_was_refused_at_once_needs_no_price() -> None:
    refused = call("mine", input=0, output=0, error="RateLimitError", heavy_cost=0.0)
    found = savings_of([ledger(refused, call(reason="fallback", cost=1.0, heavy_cost=2.0))])
    assert (found.unpriced_runs, found.share) == (0, 0.5)
    assert (found.measured, found.estimated, found.calls) == (0, 1, 2)


def test_a_run_counts_once_wherever_it_ran() -> None:
    inner = ledger(call(cost=1.0, heavy_cost=2.0), run_id="inner")
    outer = ledger(*inner.calls, run_id="outer", children=(inner,))
    once = savings_of([outer])
    assert savings_of([inner, outer, outer]) == once
    assert (once.cost, once.runs) == (1.0, 1)


def test_explored_runs_are_counted() -> None:
    runs = [asked(guard_of(explore=1.0), f"What is the fee of customer {n}?") for n in range(12)]
    found = savings_of(runs)
    assert found.explored == 12
    assert "explored: 12 runs" in str(found)


def test_nothing_routed_is_nothing_saved() -> None:
    assert str(savings_of([])) == "nothing was routed"
    assert savings_of([Ledger(run_id="r")]).share is None


def test_with_one_route_all_is_heavy_and_nothing_saved() -> None:
    found = asked(guard_of([LIGHT])).savings
    assert (found.share, found.heavy_calls) == (0.0, 1)
    assert "quality not known" in str(found)


# -- quality --------------------------------------------------------------------------------------


def test_no_saving_is_printed_without_a_word_on_quality() -> None:
    bare = savings_of([ledger(call(cost=1.0, heavy_cost=2.0))])
    known = savings_of([ledger(call(cost=1.0, heavy_cost=2.0), decisions=(choice(),))])
    unknown = "quality not known: nothing was estimated, promised, judged or verified"
    for shown in (str(bare), bare.line):
        assert unknown in shown
    for shown in (str(known), known.line):
        assert "quality expected, by a prior: 62.5 % of all heavy (1 run)" in shown
    assert known.quality.is_known
    assert not bare.quality.is_known


@pytest.mark.parametrize(
    ("answered", "expected"), [("light", 0.5 / 0.8), ("middle", 0.5 / 0.8), ("heavy", 1.0)]
)
def test_what_is_expected_is_of_the_route_that_answered(answered: str, expected: float) -> None:
    run = ledger(call(answered, cost=1.0, heavy_cost=2.0), decisions=(choice(),))
    assert run.savings.quality.expected == pytest.approx(expected)


def test_a_run_that_nobody_answered_is_expected_of_nothing() -> None:
    run = ledger(call(cost=1.0, heavy_cost=0.0, error="TimeoutError"), decisions=(choice(),))
    assert run.savings.quality.expected is None


def test_what_was_promised_is_said_and_of_how_many_it_is_not() -> None:
    traces = made(1200)
    router = Router().calibrate(traces, target=0.8)
    assert router.promise is not None
    guard = guard_of(router=router)
    found = savings_of([asked(guard), asked(guard, HARD), asked(guard, HARD, fails="heavy")])
    assert found.quality.promised == (router.promise.said,)
    assert found.quality.uncovered == 1
    assert "expected, by a prior" not in str(found)
    assert f"promised: {router.promise.said}, but not of 1 that took a lighter route" in str(found)


def test_what_was_judged_has_intervals_and_what_nobody_judged_is_left_out() -> None:
    run = ledger(call(cost=1.0, heavy_cost=2.0))
    found = savings_of(
        [run], judged={"light": Counts(ok=9, not_ok=1), "heavy": Counts(ok=0, not_ok=0)}
    )
    assert "judged ok: light 9 of 10 (90.0 %, 95 % interval 59.6 % to 98.2 %)" in str(found)
    assert "heavy 0 of 0" not in str(found)


def test_what_was_verified_counts_for_the_route_that_answered() -> None:
    def checked(run_id: str, route: str, answer: str) -> Ledger:
        found = Verifier()(answer or "The fee is due.", EVIDENCE)
        if not answer:
            open_ = replace(found.claims[0], label="not_judged", code="scorer-failed")
            found = replace(found, claims=(open_,))
        one = call(route, cost=1.0, heavy_cost=2.0)
        return ledger(one, run_id=run_id, verifications=(found,))

    runs = [
        checked("a", "light", "The fee is $500 per month."),
        checked("b", "light", "The fee is $600 per month."),
        checked("c", "light", ""),
        checked("d", "heavy", "The fee is $500 per month."),
    ]
    routes = {one.route: one for one in savings_of(runs).routes}
    assert routes["light"].grounded == Share(hits=1, count=2)
    assert routes["heavy"].grounded == Share(hits=1, count=1)
    assert "verified, grounded: light 1 of 2 (50.0 %" in str(savings_of(runs))


def test_a_handle_reports_what_feedback_said() -> None:
    guard = guard_of()
    handle = Handle(guard, guard)
    for number in range(3):
        with handle.run(f"What is the fee of {number}?") as run:
            routing = dispatching(guard.dispatcher)
            assert routing is not None
            routing.call(Request(), lambda attempt: attempt.used(Load(input=900, output=100)))
        handle.feedback(run.run_id, ok=number > 0)
    found = handle.savings()
    assert found.runs == 3
    assert found.routes[0].ok == Share(hits=2, count=3)
    assert found.quality.lines[1].startswith("judged ok: light 2 of 3 (66.7 %")
    plain = Guard(Policy())
    with pytest.raises(InputError, match=r"Handle\.savings: the policy routes nothing"):
        Handle(plain, plain).savings()


# -- shadow ---------------------------------------------------------------------------------------


def test_shadow_runs_say_what_routing_would_have_come_to() -> None:
    shadow = ledger(call("configured", "shadow", cost=10.0, heavy_cost=10.0), decisions=(choice(),))
    heavy = replace(shadow, run_id="h", decisions=(choice("heavy"),))
    unknown = replace(shadow, run_id="u", decisions=())
    found = savings_of([shadow, heavy, unknown])
    assert found.runs == 0
    assert found.shadow is not None
    assert (found.shadow.runs, found.shadow.heavy, found.shadow.unpriced) == (3, 1, 1)
    assert (found.shadow.cost, found.shadow.routed) == pytest.approx((20.0, 11.0))
    assert found.shadow.expected == pytest.approx((0.5 + 0.8) / 1.6)
    assert "routed it would have been about 11.00 (1 run without a price left out)" in str(found)
    alone = str(savings_of([unknown]))
    assert "cost not known" in alone
    assert "quality expected: not known" in alone


def test_shadow_mode_leaves_such_runs() -> None:
    found = asked(guard_of(mode="shadow")).savings
    assert found.runs == 0
    assert found.shadow is not None
    assert found.shadow.expected is not None


# -- as data --------------------------------------------------------------------------------------


def test_as_data_it_has_what_follows_from_it() -> None:
    found = asked(guard_of()).savings.to_dict()
    assert json.loads(json.dumps(found)) == found
    assert found["share"] == pytest.approx(0.9)
    judged = savings_of([], judged={"light": Counts(ok=9, not_ok=1)}).to_dict()
    assert '"interval": [0.59' in json.dumps(judged)


def test_a_saved_ledger_says_the_same() -> None:
    run = asked(guard_of(), fails="light")
    assert Ledger.from_json(run.to_json()).savings == run.savings
    assert Ledger.from_json(run.to_json(content=False)).savings == run.savings


@pytest.mark.parametrize(("amount", "said"), [(1234.5, "1,234.50"), (0.00123, "0.001230")])
def test_amounts_are_written_as_people_read_them(amount: float, said: str) -> None:
    assert money(amount) == said


# Newcombe 1998, table I, the score method without correction.
@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_intervals_of_shares_are_those_of_the_literature(
    hits: int, count: int, low: float, high: float
) -> None:
    assert share_interval(hits, count) == pytest.approx((low, high), abs=5e-5)


def test_intervals_stay_within_0_and_1() -> None:
    assert share_interval(0, 0) == (0.0, 1.0)
    assert share_interval(7, 7)[1] == 1.0


def test_what_all_heavy_would_not_cost_has_no_share() -> None:
    free = savings_of([ledger(call(cost=0.0, heavy_cost=0.0), decisions=(choice(),))])
    assert free.share is None
    assert free.line.startswith("cost 0.000000, all heavy 0.000000; quality expected")


def test_a_decision_that_is_read_back_knows_the_routes() -> None:
    found = explanation_of(choice("light", decided="middle"))
    assert found is not None
    assert (found.lightest, found.heaviest) == ("light", "heavy")
    assert [found.is_lighter(name) for name in ("light", "middle", "heavy", "gone")] == [
        True, False, False, False,
    ]  # fmt: skip
    assert found.ok("gone") is None
    assert explanation_of(replace(choice(), stage="select")) is None
