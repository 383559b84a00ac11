"""Runs that somebody judged become traces, and routers learn from them, with or without content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from ctxguard.errors import InputError
from ctxguard.routing import Router, Trace, evaluate
from ctxguard.routing.features import SIGNALS, named_signals, signals_of, signals_row
from ctxguard.telemetry import Judged, LedgerStore, traces_of
from ctxguard.text.analysis import default_analyzer
from ctxguard.types import Decision
from tests.routing.made import made
from tests.telemetry.made import ledger, routed

Make = Callable[..., LedgerStore]


def judged(run_id: str, question: str | None, route: str, *, ok: bool) -> Judged:
    return Judged(
        run_id=run_id, at=0.0, question=question, signals={"words": 1.0}, route=route, ok=ok
    )


def test_a_question_on_both_routes_is_one_trace() -> None:
    runs = [
        judged("1", "a?", "light", ok=False),
        judged("2", "b?", "heavy", ok=True),
        judged("3", "a?", "heavy", ok=True),
        judged("4", "a?", "light", ok=True),
        judged("5", "c?", "middle", ok=True),
    ]
    found = traces_of(runs, light="light", heavy="heavy")
    assert [(one.prompt, one.light_ok, one.heavy_ok) for one in found] == [
        ("a?", False, True),
        ("a?", True, None),
        ("b?", None, True),
    ]


def test_runs_without_a_text_are_never_joined() -> None:
    runs = [judged(str(n), None, route, ok=True) for n, route in enumerate(("light", "heavy"))]
    assert [
        (one.light_ok, one.heavy_ok) for one in traces_of(runs, light="light", heavy="heavy")
    ] == [
        (True, None),
        (None, True),
    ]
    bare = Judged(run_id="x", at=0.0, question=None, route="light", ok=True)
    assert traces_of([bare], light="light", heavy="heavy") == []


def test_two_routes_of_one_name() -> None:
    with pytest.raises(InputError, match="both 'a'"):
        traces_of([], light="a", heavy="a")


@pytest.mark.parametrize("content", [True, False])
def test_what_a_store_knows_of_a_judged_run(make: Make, content: bool) -> None:
    store, question = make(content=content), "Which of the 3 fees is due, if any?"
    store.append(routed("a", question, "heavy"))
    store.append(routed("b", question, "light"))
    store.append(ledger("c"))
    store.feedback("a", ok=True)
    store.feedback("c", ok=False)
    first, third = store.judged()
    row = signals_of(default_analyzer().analyse(question))
    assert (first.run_id, first.route, first.ok) == ("a", "heavy", True)
    assert first.question == (question if content else None)
    np.testing.assert_allclose(signals_row(first.signals), row, rtol=1e-8)
    assert (third.route, third.signals, third.propensity) == ("", {}, None)
    (trace,) = store.traces()
    assert (trace.light_ok, trace.heavy_ok) == (None, True)
    assert trace.asked == (question if content else first.signals)


def test_chance_is_known_of_one_choice_only(store: LedgerStore) -> None:
    one = Decision(
        stage="route",
        action="route",
        subject="question",
        code="heavier",
        reason="",
        details={"route": "heavy", "costs": {"heavy": None}, "propensity": 0.1},
    )
    for run_id, decisions in (("a", (one,)), ("b", (one, one))):
        store.append(replace(ledger(run_id), decisions=decisions))
        store.feedback(run_id, ok=True)
    assert [(run.route, run.propensity) for run in store.judged()] == [
        ("heavy", 0.1),
        ("heavy", None),
    ]


def test_a_router_learns_as_much_from_signals_as_from_texts() -> None:
    rows = made(400)
    light, heavy = [bool(one.light_ok) for one in rows], [bool(one.heavy_ok) for one in rows]
    texts = [one.prompt for one in rows]
    named = [named_signals(signals_of(default_analyzer().analyse(text))) for text in texts]
    by_text, by_signals = Router.fit(texts, light, heavy), Router.fit(named, light, heavy)
    np.testing.assert_allclose(by_signals.score(named), by_text.score(texts), atol=1e-4)
    np.testing.assert_allclose(by_signals.light_fails(named), by_text.light_fails(texts), atol=1e-4)
    traces = [
        Trace(prompt="", light_ok=a, heavy_ok=b, signals=signals)
        for a, b, signals in zip(light, heavy, named, strict=True)
    ]
    assert by_signals.calibrate(traces, budget=0.5).promise is not None


def test_a_promise_takes_traces_of_both_routes() -> None:
    traces = [Trace(prompt="a?", light_ok=True, heavy_ok=None)] * 3
    traces.append(Trace(prompt="a?", light_ok=True, heavy_ok=True))
    with pytest.raises(InputError, match="1 of 4 have both labels"):
        Router().calibrate(traces, target=0.9)


def test_a_judgement_takes_no_label_for_one_that_is_not_known() -> None:
    with pytest.raises(InputError, match="of 1 of 2 questions one is not known"):
        evaluate([0.1, 0.2], [True, None], [True, True])


def test_signals_by_name_leave_out_what_is_missing() -> None:
    row = signals_of(default_analyzer().analyse("What is the fee?"))
    named = named_signals(row)
    assert "option_words" not in named
    assert np.isnan(signals_row(named)[SIGNALS.index("option_words")])
    np.testing.assert_allclose(signals_row({**named, "of_another_release": 1.0}), row, rtol=1e-8)


def test_an_estimate_says_all_of_its_signals() -> None:
    estimate = Router().estimate("What is the fee?")
    row = signals_of(default_analyzer().analyse("What is the fee?"))
    np.testing.assert_allclose(signals_row(estimate.signals), row, rtol=1e-8)
