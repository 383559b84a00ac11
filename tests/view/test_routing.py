"""The routes of a run, as both views and the command line show them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ctxguard.ledger import Call, Ledger
from ctxguard.types import Decision
from ctxguard.view import one_line, to_html, to_text
from ctxguard.view._routes import call_rows
from tests.view import samples

SAID = (
    "light (failed) → light → heavy",
    "a cascade begins on light",
    "middle rests after a rate limit (2 times)",
    "from light to heavy",
    "0.55, 95 % interval 0.31 to 0.76; P(heavy fails) 0.31",
    "numbers, in figures or in words +0.035, conditions (if, suppose, would) +0.030, "
    "of another release -0.010",
    "a threshold above 0.235, or an average question in: numbers, in figures or in words, "
    "conditions",
    "0.000186 per request",
    "price unknown, too small for the request",
    "quality at least 95.0% of all heavy (confidence 90%, 1,500 traces)",
    "APITimeoutError",
    "≈ 1,200 → 150",
    "1,000",
    "0.003250",
    "cost 0.003500, all heavy 0.003250: 7.7 % more, net",
    "quality expected: 100.0 % of all heavy (1 run)",
    "≈ estimated, in 1 call",
)


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("said", SAID)
def test_both_views_say_all_that_explains_a_route(said: str) -> None:
    ledger = samples.routed()
    assert said in words(to_text(ledger, width=160))
    assert said in words(to_html(ledger).replace("<bdi>", "").replace("</bdi>", ""))


def test_one_line_names_the_routes() -> None:
    assert one_line(samples.routed()) == "<Ledger route light (failed) → light → heavy>"
    long = replace(samples.routed(), calls=samples.routed().calls * 3)
    assert one_line(long) == "<Ledger route light (failed) → … → heavy>"


def test_what_puts_an_answer_right_comes_after_it_though_it_ends_before() -> None:
    failed, light, heavy = samples.routed().calls
    repair = replace(light, reason="repair")
    as_ended = replace(samples.routed(), calls=(failed, repair, heavy, light, light))
    assert one_line(as_ended) == "<Ledger route light (failed) → light → heavy → light>"
    why = [one.why for one in call_rows(as_ended)]
    assert why == ["routed, APITimeoutError", "fallback", "repair", "escalated", "fallback"]


def test_what_was_decided_of_routes_stands_once() -> None:
    shown = to_text(samples.routed(), width=160)
    assert shown.count("a cascade begins on light") == 1
    assert shown.count("from light to heavy") == 1


def test_a_run_with_many_calls_is_counted() -> None:
    calls = samples.routed().calls * 200
    flags = tuple(
        Decision(stage="route", action="flag", subject="call", code="over-limit", reason=f"no {n}")
        for n in range(30)
    )
    ledger = replace(samples.routed(), calls=calls, decisions=flags)
    text, html = to_text(ledger, width=80), to_html(ledger)
    assert "and 588 more calls: ledger.calls" in text
    assert "and 18 more decisions: ledger.decisions" in text
    assert "more calls: ledger.calls" in html
    assert len(html) < 60_000


def test_in_shadow_mode_both_routes_are_named() -> None:
    routed = samples.routed()
    call = Call(
        route="configured", model="m", reason="shadow", input=9, output=9, cost=0.1, heavy_cost=1.0
    )
    shadowed = replace(routed, calls=(call,))
    assert one_line(shadowed) == "<Ledger route configured (shadow: light)>"
    assert "shadow, 1 run as configured: cost 0.100000" in words(to_text(shadowed, width=200))
    assert one_line(replace(shadowed, decisions=())) == "<Ledger route configured>"


def test_what_nobody_routed_says_nothing_of_routes() -> None:
    for ledger in (samples.model_call(), samples.empty()):
        assert "Route" not in to_text(ledger, width=80)
        assert "Route" not in to_html(ledger)
        assert "route" not in one_line(ledger)


def test_a_price_that_nobody_knows_is_no_zero() -> None:
    call = Call(route="mine", model="", reason="routed", input=9, output=9)
    for shown in (to_text(Ledger(run_id="r", calls=(call,)), width=w) for w in (40, 100)):
        assert "?" in shown
        assert "cost not known: no price of mine" in words(shown)
        assert "0.000" not in shown


@pytest.mark.parametrize(
    "details",
    [
        {"route": 3},
        {"route": "x", "costs": "none"},
        {"route": "x", "costs": {}, "moved": [1]},
        {"route": "x", "costs": {"x": 1}, "interval": [1]},
    ],
)
def test_details_that_cannot_be_read_are_left_out(details: dict[str, object]) -> None:
    decision = Decision(
        stage="route",
        action="route",
        subject="q",
        code="heavier",
        reason="because",
        details=details,  # pyright: ignore[reportArgumentType] -- of a file that somebody changed
    )
    shown = to_text(Ledger(run_id="r", decisions=(decision,)), width=80)
    assert "because" in shown
    assert "per request" not in shown


def test_without_content_routes_and_costs_stay() -> None:
    routed = samples.routed()
    bare = Ledger.from_json(routed.to_json(content=False))
    assert bare.calls == routed.calls
    assert bare.savings == routed.savings
    shown = words(to_text(bare, width=160))
    assert "0.55, 95 % interval 0.31 to 0.76" in shown
    assert "a cascade begins" not in shown
    assert samples.QUESTION not in shown
