from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from ctxguard.errors import InputError
from ctxguard.reliability import reliability_of
from ctxguard.routing import Load, Price, Route, Router, Routing, evaluate, surroundings_of
from ctxguard.routing.features import SIGNALS, WORK
from ctxguard.routing.model import shipped_model
from ctxguard.text.analysis import default_analyzer
from ctxguard.types import Chunk, Message
from tests.routing.made import made
from tests.routing.problems import PROBLEMS

LIGHT = Route(name="light", price=Price(input=1, output=1), window=2000)
MIDDLE = Route(name="middle", price=Price(input=5, output=5), window=8000)
HEAVY = Route(name="heavy", price=Price(input=10, output=10), window=4000)
EASY = "What is the fee?"
HARD = (
    "If 3 shops sell 12 pens each at 4 per box of 6, and 2 of them give 10 percent back, but not "
    "on the first 5, how much is left of 100 after 7 boxes, given that 1 closes, and 20 is lost?"
)


def rank_correlation(one: Iterable[float], other: Iterable[float]) -> float:
    """Spearman's; equal values share the mean of their ranks."""
    first, second = (
        (values[:, None] > values).sum(axis=1) + (values[:, None] == values).sum(axis=1) / 2
        for values in (np.array(list(one)), np.array(list(other)))
    )
    return float(np.corrcoef(first, second)[0, 1])


@pytest.fixture(scope="module")
def fitted() -> Router:
    traces = made(400)
    return Router.fit(
        [one.prompt for one in traces],
        [one.light_ok for one in traces],
        [one.heavy_ok for one in traces],
        groups=[one.group for one in traces],
        about="made up",
    )


def test_what_ships_knows_work_when_it_sees_it() -> None:
    router = Router()
    easy, hard = router.score([EASY, HARD])
    assert easy < hard
    assert router.light_fails([EASY])[0] < router.light_fails([HARD])[0]
    assert router.decide(EASY, [HEAVY, LIGHT]).route is LIGHT
    assert router.decide(HARD, [HEAVY, LIGHT]).route is HEAVY
    work = [one for name, one in router.model.signals.items() if name in WORK]
    assert min(one.choices for one in work) >= 0
    assert min(one.open for one in work) >= 0


def test_a_fit_of_one_s_own_orders_and_is_calibrated(fitted: Router) -> None:
    test = made(2000, seed=5)
    prompts = [one.prompt for one in test]
    light, heavy = [bool(one.light_ok) for one in test], [bool(one.heavy_ok) for one in test]
    found = evaluate(fitted.score(prompts), light, heavy)
    assert found.apgr > 0.65
    fails = fitted.light_fails(prompts).tolist()
    assert reliability_of(fails, [not one for one in light]).ece < 0.05


def test_a_hundred_labels_and_no_prior_are_enough_to_learn(fitted: Router) -> None:
    traces, test = made(100, seed=3), made(2000, seed=5)
    router = Router.fit(
        [one.prompt for one in traces],
        [one.light_ok for one in traces],
        [one.heavy_ok for one in traces],
        prior=None,
    )
    scores = router.score([one.prompt for one in test])
    found = evaluate(
        scores, [bool(one.light_ok) for one in test], [bool(one.heavy_ok) for one in test]
    )
    assert found.apgr > 0.55
    assert router.model.questions == 100


@pytest.mark.parametrize("right", [True, False])
def test_labels_of_one_kind_teach_how_often_and_not_which(right: bool) -> None:
    prompts = [one.prompt for one in made(60)]
    router = Router.fit(prompts, [right] * 60, [right] * 60)
    fails = router.light_fails(prompts)
    assert ((fails < 0.1) if right else (fails > 0.9)).all()
    assert np.abs(router.score(prompts)).max() < 0.3


def test_from_questions_with_choices_alone_it_learns_of_open_ones_that_work_is_work() -> None:
    rng = np.random.default_rng(0)
    prompts, light = list[str](), list[bool]()
    for number in range(300):
        figures = int(rng.integers(1, 9))
        sums = " + ".join(str(int(one)) for one in rng.integers(2, 99, figures))
        options = "\n".join(f"{letter}. {int(rng.integers(9, 99))}" for letter in "ABCD")
        prompts.append(f"Question {number % 9}: what is {sums}?\n{options}\nAnswer:")
        light.append(bool(rng.random() < 1 - 0.1 * figures))
    groups = [str(number % 6) for number in range(300)]
    router = Router.fit(prompts, light, [True] * 300, groups=groups, prior=None)
    few, many = "What is 3 + 4?", "What is 3 + 4 + 22 + 17 + 5 + 90 + 12?"
    easy, hard = router.score([few, many])
    assert hard > easy + 0.05
    options = "\nA. 12\nB. 14\nC. 16\nD. 19\nAnswer:"
    easy, hard = router.score([few + options, many + options])
    assert hard > easy + 0.05
    assert all(one.open == 0 for name, one in router.model.signals.items() if name not in WORK)


def test_a_sum_in_words_is_ordered_by_its_steps_whatever_its_style() -> None:
    gains = Router().score([one.text for one in PROBLEMS])
    steps = [one.steps for one in PROBLEMS]
    length = [len(one.text) for one in PROBLEMS]
    assert rank_correlation(gains, steps) > 0.7
    assert rank_correlation(gains, steps) > rank_correlation(length, steps) + 0.2
    for style in {one.style for one in PROBLEMS}:
        told = [gain for gain, one in zip(gains, PROBLEMS, strict=True) if one.style == style]
        assert told == sorted(told), style  # they are told by steps


def test_the_style_of_an_open_question_moves_nothing() -> None:
    weights = Router().model.signals
    assert all(one.open > 0 for name, one in weights.items() if name in WORK)
    assert all(one.open == 0 for name, one in weights.items() if name not in WORK)


def test_options_with_figures_have_weights_of_their_own() -> None:
    router = Router()
    asked = "How many are left of 12?\nA. {}\nB. {}\nAnswer:"
    words, mixed, figures = (
        asked.format(*pair) for pair in (("some", "none"), ("some", "5"), ("7", "5"))
    )
    for text in (words, mixed, figures):
        found = router.estimate(text)
        parts = sum(one.gain for one in found.moved)
        assert router.model.levels.choices + parts == pytest.approx(found.gain)
        assert router.score([text])[0] == pytest.approx(found.gain)

    def of_how(text: str) -> float:
        return next(one.gain for one in router.estimate(text).moved if one.signal == "asks_how")

    weight = router.model.signals["asks_how"]
    ratio = weight.figures / weight.choices
    assert of_how(figures) / of_how(words) == pytest.approx(ratio, rel=1e-3)
    assert of_how(mixed) == pytest.approx((of_how(words) + of_how(figures)) / 2)
    work = [one for name, one in router.model.signals.items() if name in WORK]
    assert min(one.figures for one in work) >= 0


def test_an_estimate_adds_up(fitted: Router) -> None:
    found = fitted.estimate(HARD)
    assert fitted.model.levels.open + sum(one.gain for one in found.moved) == pytest.approx(
        found.gain
    )
    assert found.gain == pytest.approx(fitted.score([HARD])[0])
    assert found.light_fails == pytest.approx(fitted.light_fails([HARD])[0])
    low, high = found.interval
    assert 0 < low < found.light_fails < high < 1
    assert found == fitted.estimate(default_analyzer().analyse(HARD))
    sizes = [abs(one.gain) for one in found.moved]
    assert sizes == sorted(sizes, reverse=True)


def test_what_would_flip_it_flips_it() -> None:
    router = Router()
    found = router.decide(HARD, [LIGHT, HEAVY])
    assert found.estimate is not None
    gain = found.estimate.gain
    raised = replace(router, thresholds=(gain + 1e-6,))
    assert raised.decide(HARD, [LIGHT, HEAVY]).route is LIGHT
    assert replace(router, thresholds=(gain,)).decide(HARD, [LIGHT, HEAVY]).route is HEAVY
    near = replace(router, thresholds=(gain - 0.01,)).decide(HARD, [LIGHT, HEAVY])
    assert near.flips
    assert gain - sum(one.gain for one in near.flips) < gain - 0.01
    below = raised.decide(HARD, [LIGHT, HEAVY])
    assert all(one.gain < 0 for one in below.flips)
    assert f"a threshold at or under {gain:.3f}" in str(below)


def test_one_route_is_taken_without_a_look() -> None:
    found = Router().decide(HARD, [HEAVY])
    assert (found.route, found.code, found.estimate) == (HEAVY, "one-route", None)
    assert "would flip" not in str(found)
    assert found.decision().threshold is None


def test_three_routes_take_two_thresholds() -> None:
    router = Router(thresholds=(0.1, 0.3))
    gains = {"light": 0.0, "middle": 0.1, "heavy": 0.31}
    for name, gain in gains.items():
        moved = replace(
            router.model,
            levels=replace(router.model.levels, open=gain),
            signals={
                signal: replace(one, open=0.0) for signal, one in router.model.signals.items()
            },
        )
        found = replace(router, model=moved).decide(EASY, [HEAVY, MIDDLE, LIGHT])
        assert found.route.name == name
        assert found.flips == ()
    with pytest.raises(InputError, match="2 routes take 1, and there are 2"):
        router.decide(EASY, [LIGHT, HEAVY])
    with pytest.raises(InputError, match="3 routes take 2, and there are 1"):
        Router().decide(EASY, [LIGHT, MIDDLE, HEAVY])


def decided(load: Load, *routes: Route) -> Routing:
    return Router(thresholds=(0.5,)).decide(EASY, routes, load)


def test_a_window_that_is_too_small_moves_up_and_says_so() -> None:
    found = decided(Load(input=3000), LIGHT, HEAVY)
    assert (found.route, found.code) == (HEAVY, "window-too-small")
    assert "light has a window of 2,000 tokens, too small for 3,300" in found.reason
    assert "too small for the request" in str(found)
    none = decided(Load(input=50_000), LIGHT, HEAVY)
    assert (none.route, none.code) == (HEAVY, "window-too-small")
    assert "heavy has most" in none.reason
    down = Router(thresholds=(-1.0,)).decide(EASY, [MIDDLE, HEAVY], Load(input=6000))
    assert (down.route, down.code) == (MIDDLE, "window-too-small")


def test_an_unknown_price_is_said() -> None:
    found = decided(Load(), LIGHT, Route(name="mine"))
    assert found.route is LIGHT
    assert "no price is known of mine" in found.reason
    assert "mine: price unknown" in str(found)


def test_a_decision_carries_what_explains_it() -> None:
    found = Router().decide(HARD, [LIGHT, HEAVY])
    decision = found.decision("m1")
    assert (decision.stage, decision.action, decision.subject) == ("route", "route", "m1")
    assert decision.score == found.estimate.gain if found.estimate else False
    assert decision.threshold == Router().model.gain
    assert {"light_fails", "interval", "heavy_fails", "moved", "costs", "flips"} <= set(
        decision.details
    )
    json.dumps(dict(decision.details))


# -- promises -------------------------------------------------------------------------------------


def test_a_promise_is_kept_in_the_file_and_counts(fitted: Router, tmp_path: Path) -> None:
    router = fitted.calibrate(made(800, seed=8), target=0.9)
    assert router.promise is not None
    path = tmp_path / "router.json"
    router.save(path)
    again = Router.load(path)
    assert again == router
    found = again.decide(EASY, [LIGHT, HEAVY])
    assert found.thresholds == (router.promise.threshold,)
    assert all(name in path.read_text("utf-8") for name in SIGNALS)


@pytest.mark.parametrize(
    "target", ["quality ≥ 0.9 of heavy", "quality >= 90% of heavy", ">= .9 of all heavy"]
)
def test_a_target_in_words(fitted: Router, target: str) -> None:
    traces = made(800, seed=8)
    assert fitted.calibrate(traces, target=target) == fitted.calibrate(traces, target=0.9)


def test_a_target_in_other_words_is_refused(fitted: Router) -> None:
    with pytest.raises(InputError, match=r"expected a share, or 'quality >= 0\.95 of heavy'"):
        fitted.calibrate(made(100), target="cheap and good")


def test_the_prior_is_as_the_script_writes_it() -> None:
    stored = resources.files("ctxguard.routing") / "prior.json"
    assert stored.read_text("utf-8") == shipped_model().to_json()


def test_a_promise_does_not_depend_on_a_sorted_file(fitted: Router) -> None:
    traces = sorted(made(800, seed=8), key=lambda trace: bool(trace.light_ok))
    assert fitted.calibrate(traces, target=0.9).promise is not None
    budget = fitted.calibrate(traces, budget=0.2).promise
    assert budget is not None
    assert budget.heavy_share <= 0.2


@pytest.mark.parametrize(("target", "budget"), [(None, None), (0.9, 0.2)])
def test_one_promise_at_a_time(fitted: Router, target: float | None, budget: float | None) -> None:
    with pytest.raises(InputError, match="a target, or a budget"):
        fitted.calibrate(made(100), target=target, budget=budget)


# -- bad input ------------------------------------------------------------------------------------


def test_contradictory_thresholds(fitted: Router) -> None:
    with pytest.raises(InputError, match="a heavier route takes a higher gain"):
        Router(thresholds=(0.3, 0.1))
    with pytest.raises(InputError, match="higher gain"):
        Router(thresholds=())
    promised = fitted.calibrate(made(800, seed=8), budget=0.5)
    with pytest.raises(InputError, match="is not what was promised for"):
        replace(promised, thresholds=(0.9,))


def test_what_no_router_learns_from() -> None:
    with pytest.raises(InputError, match="takes 50 labelled questions, got 2"):
        Router.fit(["a", "b"], [True, False], [True, True])
    with pytest.raises(InputError, match="strong_ok: expected 2, one for each prompt, got 1"):
        Router.fit(["a", "b"], [True, False], [True])
    with pytest.raises(InputError, match="got one text"):
        Router().score("a question")
    assert Router().score([]).shape == (0,)


def broken(text: str, **changed: object) -> str:
    return json.dumps({**json.loads(text), **changed})


def test_a_corrupted_file_is_refused_by_name(tmp_path: Path) -> None:
    text = Router().to_json()
    model = json.loads(text)["model"]
    cases = {
        "router: not JSON": text[:-20],
        r"router.format: expected 1, got 9": broken(text, format=9),
        r"router.format: expected 1, got None": "[]",
        "router.format: expected 1, got True": broken(text, format=True),
        "router.model.format: expected 1": broken(text, model={}),
        r"router.model.questions": broken(text, model={**model, "questions": -1}),
        r"\['words'\] missing": broken(
            text,
            model={**model, "signals": {k: v for k, v in model["signals"].items() if k != "words"}},
        ),
        "router.extra": broken(text, extra=1),
        "router.thresholds": broken(text, thresholds=["a"]),
        "a heavier route": broken(text, thresholds=[2, 1]),
        "router.model.levels.open": broken(
            text, model={**model, "levels": {**model["levels"], "open": "NaN"}}
        ),
    }
    for match, data in cases.items():
        with pytest.raises(InputError, match=match):
            Router.from_json(data)
    with pytest.raises(InputError, match="No such file"):
        Router.load(tmp_path / "none.json")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not a text file"):
        Router.load(tmp_path / "bytes")


@pytest.mark.slow
def test_a_decision_takes_less_than_a_millisecond(fitted: Router) -> None:
    import time

    analysis = default_analyzer().analyse(HARD)
    chunks = [Chunk(id=str(place), text=HARD, score=1 / (1 + place)) for place in range(50)]
    seen = surroundings_of(chunks, messages=[Message(role="user", text=HARD)] * 9)
    fitted.decide(analysis, [LIGHT, HEAVY], around=seen)
    taken: list[float] = []
    for _ in range(200):
        began = time.process_time()
        fitted.decide(analysis, [LIGHT, HEAVY], around=seen)
        taken.append(time.process_time() - began)
    assert sorted(taken)[100] < 1e-3
