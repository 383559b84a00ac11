"""What retrieval found and what the conversation is, and what a router makes of it."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, strategies as st

from ctxguard import Guard, Policy
from ctxguard.errors import InputError
from ctxguard.ledger import Ledger, Step
from ctxguard.routing import (
    Estimate,
    Moved,
    Price,
    Route,
    Router,
    Routing,
    Surrounding,
    Trace,
    evaluate,
    surroundings_in,
    surroundings_of,
)
from ctxguard.routing.choice import choose
from ctxguard.routing.route import Load
from ctxguard.routing.surroundings import CONVERSATION, FOUND, SURROUNDINGS, describe
from ctxguard.routing.weighing import assumed
from ctxguard.stages.compress import Compress
from ctxguard.stages.rank import Rank
from ctxguard.types import Chunk, Decision, Message, Piece
from tests.routing.made import made

LIGHT = Route(name="light", price=Price(input=1, output=1))
HEAVY = Route(name="heavy", price=Price(input=10, output=10))
ROUTES = (LIGHT, HEAVY)
EASY = "What is the fee?"
WORK = ("conflicts", "second_chunk", "left_out", "evidence_groups")
HARD_PLACE: dict[str, float] = dict.fromkeys(WORK, 9.0)
"""Surroundings far above what is usual."""
EASY_PLACE: dict[str, float] = dict.fromkeys(WORK, 0.0)


def chunk(name: str, **fields: Any) -> Chunk:
    return Chunk(id=name, text=fields.pop("text", f"Text of {name}."), **fields)


def scored(*scores: float | None) -> list[Chunk]:
    return [chunk(str(place), score=score) for place, score in enumerate(scores)]


def told(subject: str, code: str, **fields: Any) -> Decision:
    action = fields.pop("action", "flag")
    return Decision(stage="test", action=action, subject=subject, code=code, reason="", **fields)


# -- scores ---------------------------------------------------------------------------------------


def test_a_first_result_that_stands_out_and_one_that_does_not() -> None:
    clear = surroundings_of(scored(0.9, 0.2, 0.15, 0.1))
    close = surroundings_of(scored(0.9, 0.89, 0.88, 0.1))
    same = surroundings_of(scored(0.4, 0.4, 0.4))
    assert clear["no_lead"] < close["no_lead"] < same["no_lead"] == 1
    assert clear["flat_scores"] < close["flat_scores"] < same["flat_scores"] == 1


@given(st.lists(st.integers(-1000, 1000), min_size=3, max_size=9), st.sampled_from([-3.0, 0.01, 7]))
def test_scores_count_on_any_scale_and_as_distances(scores: list[int], scale: float) -> None:
    first = surroundings_of(scored(*map(float, scores)))
    again = surroundings_of(scored(*(scale * one + 5 for one in scores)))
    assert again == pytest.approx(first)


@given(st.lists(st.floats(allow_subnormal=True) | st.none(), max_size=9), st.randoms())
def test_any_scores_give_finite_shares_whatever_the_order_of_the_rest(
    scores: list[float | None], rng: random.Random
) -> None:
    chunks = scored(*scores)
    found = surroundings_of(chunks)
    assert all(math.isfinite(one) and one >= 0 for one in found.values())
    known = [one for one in scores if one is not None and abs(one) < 1e100]
    assert ("no_lead" in found) == (len(known) >= 3)
    rest = [one for one in chunks if one.score is not None and abs(one.score) < 1e100]
    others = rest[1:]
    rng.shuffle(others)
    assert surroundings_of([*rest[:1], *others], came=[*rest[:1], *others]) == surroundings_of(rest)


def test_chunks_of_callers_that_no_type_checker_saw() -> None:
    odd = cast(
        "list[Chunk]",
        [
            chunk("a", score="high", relevance="much", text="\ud800"),
            chunk("b", score=10**400, relevance=math.nan, text="", source="s" * 9999),
            chunk("c", score=np.float32(0.5), also_in=("c", "c"), conflicts=("gone",)),
            chunk("c", score=1j),
        ],
    )
    decisions = [
        told("gone", "conflict", twin="nobody", score=math.inf, tokens_before=-4, tokens_after=9),
        told("a", "kept", score=math.nan, details={"covers": {"fee": "x", "day": math.inf}}),
        told("b", "trim", details={"covers": ["fee"]}, tokens_before=0, tokens_after=0),
    ]
    found = surroundings_of(odd, decisions, messages=[Message(role="tool", text="\x00")])
    assert set(found) <= set(SURROUNDINGS)
    assert all(math.isfinite(one) for one in found.values())


# -- what was found -------------------------------------------------------------------------------


def test_nothing_was_found_is_not_nothing_was_asked_for() -> None:
    assert surroundings_of(None) == {}
    assert surroundings_of([])["nothing_found"] == 1
    assert surroundings_of([chunk("a")])["nothing_found"] == 0
    judged = told("a", "nothing-relevant", score=0.1)
    assert surroundings_of([chunk("a")], [judged])["nothing_found"] == 1


def test_relevance_is_doubt_of_the_best_and_the_mass_of_all() -> None:
    found = surroundings_of([chunk("a", relevance=0.75), chunk("b", relevance=0.25), chunk("c")])
    assert found["doubt"] == 0.25
    assert found["relevant_chunks"] == math.log1p(1.0)
    dropped = told("d", "over-budget", action="drop", score=0.5)
    more = surroundings_of([chunk("a", relevance=0.75)], [dropped])
    assert more["relevant_chunks"] == math.log1p(1.25)
    alike = told("a", "near-duplicate", action="drop", score=0.99)
    assert "doubt" not in surroundings_of([chunk("a")], [alike])


def test_a_pair_in_conflict_counts_once() -> None:
    chunks = [chunk("a", conflicts=("b",)), chunk("b", conflicts=("a",)), chunk("c")]
    told_too = [told("b", "conflict", twin="a"), told("c", "different-wording", twin="a")]
    found = surroundings_of(chunks, told_too)
    assert found["conflicts"] == math.log1p(1)
    more = surroundings_of(chunks, [*told_too, told("c", "conflict", twin="a")])
    assert more["conflicts"] == math.log1p(2)


def groups(chunks: Sequence[Chunk], *decisions: Decision, came: Sequence[Chunk] = ()) -> float:
    return math.expm1(surroundings_of(chunks, decisions, came=came)["evidence_groups"])


def test_copies_versions_and_one_source_are_one_piece_of_evidence() -> None:
    a, b, c = chunk("a", source="x"), chunk("b", source="y"), chunk("c")
    assert groups([a, b, c]) == pytest.approx(3)
    assert groups([a, replace(b, source="x"), c]) == pytest.approx(2)
    assert groups([a, b, c], told("b", "conflict", twin="a")) == pytest.approx(2)
    assert groups([replace(a, also_in=("y", "c")), b, c]) == pytest.approx(1)
    # What was dropped joins those that it is a copy of.
    gone = told("b", "exact-duplicate", action="drop", twin="a")
    assert groups([a, chunk("d", source="y")], gone, came=[a, b]) == pytest.approx(1)


def covering(name: str, **terms: float) -> Chunk:
    piece = Piece(span=(0, 4), tokens=1, covers=tuple(terms.items()))
    return chunk(name, pieces=(piece,))


def test_terms_that_only_a_second_chunk_has() -> None:
    whole, part = covering("a", fee=2.0, day=1.0), covering("b", day=1.0)
    assert surroundings_of([whole, part])["second_chunk"] == 0
    found = surroundings_of([part, covering("c", fee=3.0)])
    assert found["second_chunk"] == 0.25
    assert found == surroundings_of([covering("c", fee=3.0), part])
    assert "second_chunk" not in surroundings_of([chunk("a")])


def test_what_had_no_room_and_what_was_no_loss() -> None:
    came = [chunk(name, text="x" * 40) for name in "abcd"]
    copy = told("d", "near-duplicate", action="drop", twin="a", tokens_before=10, tokens_after=0)
    assert surroundings_of(came[:3], [copy], came=came)["left_out"] == 0
    lost = [
        told("b", "irrelevant", action="trim", tokens_before=10, tokens_after=8),
        told("b", "over-budget", action="trim", tokens_before=8, tokens_after=4),
        told("c", "over-budget", action="drop", tokens_before=10, tokens_after=0),
    ]
    found = surroundings_of(came[:2], [copy, *lost], came=came)
    assert found["left_out"] == pytest.approx(16 / 30)
    assert "left_out" not in surroundings_of([])


# -- the conversation -----------------------------------------------------------------------------


def user(text: str) -> Message:
    return Message(role="user", text=text)


def talk(*texts: str, results: int = 0) -> dict[str, float]:
    messages = [Message(role="system", text="Be brief. " * 99)]
    for text in texts[:-1]:
        messages += [user(text), Message(role="assistant", text="An answer.")]
    messages.append(user(texts[-1]))
    messages += [Message(role="tool", text="found it", tool_call_id="1")] * results
    return surroundings_of(None, messages=messages)


def test_turns_length_and_tool_results() -> None:
    first = talk("What is the notice period of the contract with Acme?")
    assert first == dict.fromkeys(CONVERSATION, 0.0)
    later = talk("What is the fee of the contract?", "When does the other contract end?", results=2)
    assert later["turns"] == math.log1p(1)
    assert later["tool_results"] == math.log1p(2)
    assert later["conversation_tokens"] == pytest.approx(math.log1p((32 + 10 + 2 * 8) / 4))
    assert surroundings_of(None, messages=[Message(role="assistant", text="Hi.")])["turns"] == 0


@pytest.mark.parametrize("text", ["And the fee?", "Why?", "", "It ends on which day of the month?"])
def test_a_question_that_leans_on_what_was_said(text: str) -> None:
    assert talk("What is the notice period?", text)["leans_back"] == 1
    assert talk(text)["leans_back"] == 0


def test_a_question_of_its_own_does_not_lean() -> None:
    assert (
        talk("Who signed?", "What is the notice period of the second contract?")["leans_back"] == 0
    )


# -- a run and its ledger -------------------------------------------------------------------------

NOTICE = (
    "Either party may end the agreement with {} days of notice. The notice is given in writing, to "
    "the address that the other party has named. It ends at midnight of the last of those days."
)
FEE = (
    "The fee of Acme is paid in advance, on the first working day of each quarter. Whoever pays "
    "late owes interest. Nothing that was paid is given back when a party leaves early."
)
POOL: list[dict[str, object]] = [
    {"text": text, "source": source, "score": score}
    for text, source, score in (
        (NOTICE.format(30), "new.pdf", 0.9),
        (NOTICE.format(60), "old.pdf", 0.85),
        (FEE, "fees.pdf", 0.6),
        (NOTICE.format(30).upper(), "copy.pdf", 0.55),
    )
]
ASKED = "With how many days of notice may a party end the agreement of Acme, and what is the fee?"


@pytest.mark.parametrize("budget", [None, 60, 40])
@pytest.mark.parametrize("ranked", [True, False])
def test_a_stored_ledger_says_what_the_live_call_said(budget: int | None, ranked: bool) -> None:
    policy = Policy(budget=budget) if ranked else Policy(budget=budget, rank=None, compress=None)
    prepared = Guard(policy).prepare(ASKED, POOL)
    ledger = prepared.ledger
    live = surroundings_of(prepared.chunks, prepared.decisions, came=ledger.chunks)
    assert surroundings_in(ledger) == live
    assert surroundings_in(Ledger.from_json(ledger.to_json())) == live
    assert live["conflicts"] == math.log1p(1)
    kept = {chunk.source for chunk in prepared.chunks}
    notices = kept & {"new.pdf", "old.pdf"}
    assert live["evidence_groups"] == pytest.approx(math.log1p(bool(notices) + len(kept - notices)))
    assert (live["left_out"] > 0.2) == (budget is not None)
    if budget is not None:
        assert ("doubt" in live, "second_chunk" in live) == (ranked, ranked)


def test_a_live_call_reads_the_chunks_where_no_decision_has_been_completed() -> None:
    policy = Policy(rank=Rank(reorder=False), compress=Compress(always=True), select=None)
    prepared = Guard(policy).prepare(ASKED, POOL)
    live = surroundings_of(prepared.chunks, came=prepared.ledger.chunks)
    assert {"doubt", "second_chunk"} <= set(live)
    assert surroundings_in(prepared.ledger) == live


def test_a_ledger_gives_what_its_router_saw() -> None:
    seen = {"turns": 1.5, "conflicts": 0.0}
    routing = Router().decide(EASY, ROUTES, around=seen)
    run = Ledger(run_id="1", question=EASY, decisions=(routing.decision(),), chunks=(chunk("a"),))
    assert surroundings_in(Ledger.from_json(run.to_json())) == seen
    later = replace(routing.decision(), details={"around": {"of another release": 1, "turns": "x"}})
    assert surroundings_in(replace(run, decisions=(later,))) == {}
    # Nothing was retrieved, and nothing was routed.
    assert surroundings_in(Ledger(run_id="1", question=EASY)) == {}
    searched = Step(kind="retrieval", name="r", tokens_before=0, tokens_after=0)
    assert surroundings_in(Ledger(run_id="1", steps=(searched,)))["nothing_found"] == 1


def test_a_trace_of_a_ledger() -> None:
    prepared = Guard(Policy(budget=60)).prepare(ASKED, POOL)
    trace = Trace.of(prepared.ledger, light_ok=False, heavy_ok=True, group="Acme")
    assert (trace.prompt, trace.light_ok, trace.heavy_ok, trace.group) == (
        ASKED,
        False,
        True,
        "Acme",
    )
    assert trace.around == surroundings_in(prepared.ledger)
    blank = Ledger.from_json(prepared.ledger.to_json(content=False))
    with pytest.raises(InputError, match="no question"):
        Trace.of(blank, light_ok=False, heavy_ok=True)


def test_every_signal_is_named_for_a_person_and_weighed() -> None:
    assert len({describe(name) for name in SURROUNDINGS}) == len(SURROUNDINGS)
    assert tuple(assumed()) == SURROUNDINGS == (*FOUND, *CONVERSATION)


# -- the router -----------------------------------------------------------------------------------

VALUES = st.floats(-50, 50) | st.sampled_from([math.nan, math.inf, -math.inf])


@given(st.sampled_from(SURROUNDINGS), st.floats(-50, 50), st.floats(0, 50))
def test_more_of_a_signal_never_lowers_the_gain(name: str, value: float, more: float) -> None:
    router = Router()
    less, most = (router.estimate(EASY, {name: one}) for one in (value, value + more))
    assert most.gain >= less.gain
    assert most.light_fails >= less.light_fails


@given(st.dictionaries(st.sampled_from(SURROUNDINGS), VALUES))
def test_an_estimate_is_finite_and_not_surer(around: dict[str, float]) -> None:
    plain, found = Router().estimate(EASY), Router().estimate(EASY, around)
    assert math.isfinite(found.gain)
    assert plain.gain + found.added == pytest.approx(found.gain)
    (low, high), (least, most) = plain.interval, found.interval
    assert 0 <= least <= low <= high <= most <= 1
    assert least <= found.light_fails <= most
    assert all(math.isfinite(one) for one in found.around.values())
    json.dumps(dict(found.around), allow_nan=False)


def test_what_is_missing_changes_nothing() -> None:
    router = Router()
    assert router.estimate(EASY, {}) == router.estimate(EASY)
    unknown = router.estimate(EASY, dict.fromkeys(SURROUNDINGS, math.nan))
    assert unknown == router.estimate(EASY)
    usual = {name: one.usual for name, one in router.surroundings.items()}
    assert router.estimate(EASY, usual).gain == router.estimate(EASY).gain
    left = replace(router, surroundings={})
    assert left.estimate(EASY, HARD_PLACE).gain == router.estimate(EASY).gain
    assert router.score([EASY], [HARD_PLACE]) == router.estimate(EASY, HARD_PLACE).gain
    fails = router.light_fails([EASY, EASY], [HARD_PLACE, {}])
    assert fails[0] == router.estimate(EASY, HARD_PLACE).light_fails > fails[1]


def test_a_signal_that_does_not_exist_is_refused_by_name() -> None:
    router = Router()
    for use in (
        lambda: router.decide(EASY, ROUTES, around={"conflict": 1}),
        lambda: router.score([EASY], [{"conflict": 1}]),
        lambda: Router.fit([EASY] * 50, [True] * 50, [True] * 50, around=[{"conflict": 1}] * 50),
        lambda: Router(surroundings={"conflict": Surrounding(usual=0, spread=1, gain=0)}),
    ):
        with pytest.raises(InputError, match="no such signal 'conflict'"):
            use()
    with pytest.raises(InputError, match="around: expected 1, one for each prompt, got 2"):
        router.score([EASY], [{}, {}])


def placed(cut: float, **fields: Any) -> Router:
    """A router whose threshold is a little above, or below, what an easy question gains."""
    gain = Router().estimate(EASY).gain
    return replace(Router(), thresholds=(gain + cut,), **fields)


def test_surroundings_decide_and_say_so() -> None:
    router = placed(0.02)
    assert router.decide(EASY, ROUTES).route is LIGHT
    found = router.decide(EASY, ROUTES, around=HARD_PLACE)
    assert (found.route, found.code) == (HEAVY, "heavier")
    assert "is what surrounds the question: that decided" in found.reason
    assert "outside" not in found.reason
    assert {one.signal for one in found.flips} <= set(HARD_PLACE)
    assert describe(found.flips[0].signal) in str(found)
    down = placed(-0.001).decide(EASY, ROUTES, around=EASY_PLACE)
    assert down.route is LIGHT
    decision = found.decision()
    assert found.estimate is not None
    assert decision.score == found.gain == found.estimate.gain
    assert decision.details["around"] == HARD_PLACE
    assert decision.details["counts"] == "all"
    assert "around" not in router.decide(EASY, ROUTES).decision().details


# -- promises -------------------------------------------------------------------------------------


def surrounded(traces: Sequence[Trace], *, seed: int = 0) -> list[Trace]:
    """Traces of which every second has conflicts, where light fails in nine of ten cases."""
    rng = np.random.default_rng(seed)
    found: list[Trace] = []
    for trace in traces:
        conflicts = int(rng.integers(2))
        fails = conflicts == 1 and rng.random() < 0.9
        around = {"conflicts": math.log1p(3 * conflicts), "turns": float(rng.random())}
        found.append(replace(trace, light_ok=trace.light_ok and not fails, around=around))
    return found


def fit(traces: Sequence[Trace], *, around: bool = True) -> Router:
    return Router.fit(
        [one.prompt for one in traces],
        [one.light_ok for one in traces],
        [one.heavy_ok for one in traces],
        around=[one.around for one in traces] if around else None,
    )


def test_a_promise_of_quality_without_surroundings_lets_them_only_move_up() -> None:
    router = fit(made(400)).calibrate(made(800, seed=8), target=0.9)
    promise = router.promise
    assert promise is not None
    assert not promise.around
    shifted = _at(router, promise.threshold - 0.02)
    assert shifted.decide(EASY, ROUTES).route is LIGHT
    up = shifted.decide(EASY, ROUTES, around=HARD_PLACE)
    assert up.route is HEAVY
    assert "that decided, and is outside the promise" in up.reason
    assert up.flips
    over = _at(router, promise.threshold + 0.005)
    down = over.decide(EASY, ROUTES, around=EASY_PLACE)
    assert down.route is HEAVY
    assert "only counts upwards" in down.reason
    assert down.estimate is not None
    assert down.gain is not None
    assert down.gain == pytest.approx(over.estimate(EASY).gain)
    assert down.gain > down.estimate.gain
    assert down.decision().score == down.gain
    assert down.decision().details["counts"] == "upwards"


def test_a_promise_of_cost_without_surroundings_does_not_count_them() -> None:
    router = fit(made(400)).calibrate(made(800, seed=8), budget=0.3)
    promise = router.promise
    assert promise is not None
    shifted = _at(router, promise.threshold - 0.02)
    found = shifted.decide(EASY, ROUTES, around=HARD_PLACE)
    assert found.route is LIGHT
    assert "does not count: the promise was made without" in found.reason
    assert found.estimate is not None
    assert found.estimate.gain > promise.threshold > (found.gain or 0)
    assert not any(one.signal in SURROUNDINGS for one in found.flips)
    heavy = _at(router, promise.threshold + 0.02).decide(EASY, ROUTES, around=EASY_PLACE)
    assert heavy.route is HEAVY


def _at(router: Router, gain: float) -> Router:
    """The router, so that an easy question gains this much."""
    off = gain - router.estimate(EASY).gain
    levels = router.model.levels
    return replace(
        router, model=replace(router.model, levels=replace(levels, open=levels.open + off))
    )


@pytest.mark.parametrize("kind", ["target", "budget"])
def test_a_promise_with_surroundings_covers_them(kind: str) -> None:
    router = fit(surrounded(made(600)))
    traces = surrounded(made(1500, seed=8), seed=8)
    promised = (
        router.calibrate(traces, target=0.9)
        if kind == "target"
        else router.calibrate(traces, budget=0.5)
    )
    promise = promised.promise
    assert promise is not None
    assert promise.around
    assert Router.from_json(promised.to_json()) == promised
    test = surrounded(made(3000, seed=5), seed=5)
    heavy = np.array(
        [
            promised.decide(one.prompt, ROUTES, around=one.around).route is HEAVY
            for one in test[:500]
        ]
    )
    scores = promised.score([one.prompt for one in test], [one.around for one in test])
    assert (heavy == (scores[:500] >= promise.threshold)).all()
    if kind == "budget":
        assert (scores >= promise.threshold).mean() <= 0.52
    else:
        right = [
            bool(one.heavy_ok if score >= promise.threshold else one.light_ok)
            for one, score in zip(test, scores, strict=True)
        ]
        assert np.mean(right) >= 0.89 * np.mean([bool(one.heavy_ok) for one in test])
    without = promised.decide(EASY, ROUTES)
    assert (
        "the promise is of questions with surroundings, and there are none here" in without.reason
    )
    assert "none here" not in promised.decide(EASY, ROUTES, around={"conflicts": 0.0}).reason
    assert "none here" not in promised.decide(EASY, [LIGHT]).reason


@pytest.mark.parametrize("around", [True, False])
def test_a_question_at_the_threshold_is_on_the_same_side_for_one_and_for_all(around: bool) -> None:
    """A budget's threshold is just above the gain of a question, and that one may come again."""
    traces = surrounded(made(300, seed=8), seed=8)
    known = traces if around else made(300, seed=8)
    router = fit(traces).calibrate(known, budget=0.4)
    assert router.promise is not None
    scores = router.score(
        [one.prompt for one in known], [one.around for one in known] if around else None
    )
    for trace, score in zip(traces, scores.tolist(), strict=True):
        found = router.decide(trace.prompt, ROUTES, around=trace.around)
        assert found.gain == score
        assert (found.route is HEAVY) == (score >= router.promise.threshold)


def test_some_traces_without_surroundings_leave_them_aside() -> None:
    traces = [*made(400, seed=8), *surrounded(made(400, seed=9))]
    promise = fit(made(400)).calibrate(traces, budget=0.5).promise
    assert promise is not None
    assert not promise.around


# -- learning -------------------------------------------------------------------------------------


def test_weights_are_learned_and_order_better_than_the_assumed_ones() -> None:
    traces, test = surrounded(made(400)), surrounded(made(2000, seed=5), seed=5)
    learned, before = fit(traces), fit(traces, around=False)
    assert before.surroundings == assumed()
    assert learned.model == before.model
    weights = learned.surroundings
    assert weights["conflicts"].gain > 3 * assumed()["conflicts"].gain
    assert weights["turns"].gain < 0.03
    assert weights["left_out"] == assumed()["left_out"]
    seen = [one.around["conflicts"] for one in traces]
    assert weights["conflicts"].usual == pytest.approx(np.mean(seen), abs=0.05)

    def apgr(router: Router, around: Sequence[Mapping[str, float]] | None) -> float:
        scores = router.score([one.prompt for one in test], around)
        light, heavy = [bool(one.light_ok) for one in test], [bool(one.heavy_ok) for one in test]
        return evaluate(scores, light, heavy).apgr

    around = [one.around for one in test]
    assert apgr(learned, around) > apgr(before, around) > apgr(before, None)


def test_work_that_seems_to_help_the_light_route_is_not_learned() -> None:
    rng = np.random.default_rng(0)
    traces = [
        replace(one, light_ok=bool(rng.random() < 0.2 + 0.7 * turned), around={"turns": turned})
        for one in made(600)
        for turned in (float(rng.integers(2)),)
    ]
    assert fit(traces).surroundings["turns"].gain == 0


def test_an_older_file_has_what_is_assumed() -> None:
    data = json.loads(Router().to_json())
    assert set(data["surroundings"]) == set(SURROUNDINGS)
    del data["surroundings"]
    assert Router.from_json(json.dumps(data)) == Router()
    for weight, said in (({"gain": -1}, "greater than or equal to 0"), ({"spread": 0}, "spread")):
        broken = {"turns": {"usual": 0, "spread": 1, "gain": 0, **weight}}
        with pytest.raises(InputError, match=said):
            Router.from_json(json.dumps({**data, "surroundings": broken}))


def test_a_flip_is_one_where_surroundings_count_upwards() -> None:
    """Without what raises it, the rest of the surroundings would lower it, and does not count."""
    moved = (
        Moved(signal="conflicts", gain=0.06),
        Moved(signal="left_out", gain=-0.05),
        Moved(signal="words", gain=0.02),
    )
    known = Estimate(
        light_fails=0.5, interval=(0.4, 0.6), heavy_fails=0.4, gain=0.13, moved=moved
    )  # 0.12 of its own

    def chosen(cut: float) -> Routing:
        return choose(lambda: known, (cut,), ROUTES, Load(), "upwards")

    assert chosen(0.125).flips == moved[:1]
    assert chosen(0.11).flips == (moved[0], moved[2])
    assert chosen(0.125).route is HEAVY
