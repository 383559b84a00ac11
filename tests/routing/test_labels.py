from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest

from ctxguard.errors import InputError
from ctxguard.routing import Router, Trace, evaluate
from ctxguard.routing.labels import Labels, labels_in, labels_of
from ctxguard.routing.trace import Asked
from tests.routing.made import made

EXPLORED = 0.1


@functools.cache
def known(count: int, seed: int) -> list[Trace]:
    """Made questions with their signals, so that each is analysed once."""
    traces = made(count, seed=seed)
    return [replace(one, signals=Router().estimate(one.prompt).signals) for one in traces]


def questions(traces: list[Trace]) -> list[Asked]:
    return [one.signals or one.prompt for one in traces]


def logged(traces: list[Trace], *, seed: int = 0, explored: float = EXPLORED) -> list[Trace]:
    """What a log keeps of traces: long questions went heavy, but for a share that was turned."""
    rng = np.random.default_rng(seed)
    found: list[Trace] = []
    for one in traces:
        turned = bool(rng.random() < explored)
        heavy = (len(one.prompt) > 70) != turned
        found.append(
            replace(
                one,
                light_ok=None if heavy else one.light_ok,
                heavy_ok=one.heavy_ok if heavy else None,
                taken_with=explored if turned else 1 - explored,
            )
        )
    return found


def fit(traces: list[Trace], *, taken_with: bool = True) -> Router:
    return Router.fit(
        questions(traces),
        [one.light_ok for one in traces],
        [one.heavy_ok for one in traces],
        taken_with=[one.taken_with for one in traces] if taken_with else None,
    )


def apgr(router: Router, test: list[Trace]) -> float:
    light, heavy = [bool(one.light_ok) for one in test], [bool(one.heavy_ok) for one in test]
    return evaluate(router.score(questions(test)), light, heavy).apgr


# -- estimated outcomes ---------------------------------------------------------------------------


def test_what_is_known_of_both_is_not_estimated() -> None:
    labels = labels_in([True, False], [False, True], [0.5, None])
    light, heavy = labels.estimated(np.array([0.3, 0.3]), np.array([0.9, 0.9]))
    assert (light.tolist(), heavy.tolist()) == ([1, 0], [0, 1])
    assert labels.both.all()
    assert labels.worth == 1


def test_estimates_are_right_on_average_whatever_is_expected() -> None:
    rng = np.random.default_rng(0)
    count = 200_000
    # The harder, the rather heavy: an average of what is known is far off.
    hard = rng.random(count)
    light_ok, heavy_ok = rng.random(count) < 1 - hard, rng.random(count) < 0.9
    p_heavy = 0.1 + 0.8 * (hard > 0.5)
    heavy = rng.random(count) < p_heavy
    labels = Labels(
        light=np.where(heavy, np.nan, light_ok),
        heavy=np.where(heavy, heavy_ok, np.nan),
        taken_with=np.where(heavy, p_heavy, 1 - p_heavy),
    )
    assert np.nanmean(labels.light) > 0.65
    for expected in (0.0, 0.5, 1.0):
        light, strong = labels.estimated(np.full(count, expected), np.full(count, expected))
        assert light.mean() == pytest.approx(0.5, abs=0.02)
        assert strong.mean() == pytest.approx(0.9, abs=0.02)
    assert labels.worth == pytest.approx(2 / np.mean(labels.weights**2))


def test_without_a_probability_a_label_stands_for_itself() -> None:
    labels = labels_in([True, None], [None, False])
    light, heavy = labels.estimated(np.array([0.6, 0.6]), np.array([0.8, 0.8]))
    assert light.tolist() == [1, 0.6]
    assert heavy.tolist() == pytest.approx([0.8, 0])
    assert labels.worth == 1
    assert len(labels.at(np.array([True, False]))) == 1


def test_rows_that_say_nothing() -> None:
    with pytest.raises(InputError, match="row 2: neither route's label is known"):
        labels_in([True, None], [False, None])
    with pytest.raises(InputError, match=r"row 1, taken_with: expected a probability .* got 0"):
        labels_in([True], [None], [0.0])
    with pytest.raises(InputError, match="light_ok or heavy_ok has to be known"):
        Trace(prompt="a?", light_ok=None, heavy_ok=None)
    with pytest.raises(InputError, match=r"Trace\.taken_with: expected a probability"):
        Trace(prompt="a?", light_ok=True, heavy_ok=None, taken_with=1.5)


# -- fitting --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_one_label_of_each_teaches_nearly_as_much_as_both() -> None:
    traces, test = known(2000, 3), known(3000, 5)
    both, one, prior = fit(traces), fit(logged(traces)), Router()
    assert apgr(one, test) > apgr(both, test) - 0.03
    assert apgr(one, test) > apgr(prior, test) - 0.01
    truth = np.mean([bool(t.heavy_ok) - bool(t.light_ok) for t in test])
    assert one.model.gain == pytest.approx(truth, abs=0.06)
    fails = one.light_fails(questions(test)).mean()
    assert fails == pytest.approx(np.mean([not t.light_ok for t in test]), abs=0.06)


def test_without_probabilities_it_learns_from_questions_that_are_alike() -> None:
    traces, test = known(2000, 3), known(3000, 5)
    one = fit(logged(traces, explored=0.3), taken_with=False)
    assert apgr(one, test) > apgr(fit(traces), test) - 0.03


def test_without_a_prior_one_label_of_each_is_enough_as_well() -> None:
    traces = logged(made(1000, seed=3))
    router = Router.fit(
        questions(traces),
        [one.light_ok for one in traces],
        [one.heavy_ok for one in traces],
        taken_with=[one.taken_with for one in traces],
        groups=[one.group for one in traces],
        prior=None,
    )
    assert apgr(router, made(2000, seed=5)) > 0.6


def test_a_route_that_was_never_taken_teaches_nothing() -> None:
    traces = [replace(one, heavy_ok=None) for one in made(60)]
    with pytest.raises(InputError, match="strong_ok: a fit takes 20 labels of each route, got 0"):
        fit(traces)
    with pytest.raises(InputError, match="taken_with: expected 60"):
        Router.fit(["a"] * 60, [True] * 60, [True] * 60, taken_with=[0.5])


# -- promises -------------------------------------------------------------------------------------


def test_a_promise_takes_both_labels_and_says_how_many() -> None:
    traces = [*made(100), *logged(made(20, seed=1))]
    with pytest.raises(InputError, match=r"100 of 120 have both labels; .* \(at least 32\)"):
        Router().calibrate(traces, target=0.9)
    with pytest.raises(InputError, match=r"100 of 120 have both labels; .* all have both, or"):
        Router().calibrate(traces, budget=0.3)


def test_a_promise_of_one_label_each_is_kept() -> None:
    """As often as it says, of logs with a tenth explored; and it does save."""
    router, pool = fit(made(400, seed=3)), made(1500, seed=5)
    scores = router.score(questions(pool))
    light = np.array([one.light_ok for one in pool])
    heavy = np.array([one.heavy_ok for one in pool])
    missed, shares = 0, list[float]()
    for seed in range(25):
        rng = np.random.default_rng(seed)
        sample = logged([pool[place] for place in rng.integers(1500, size=700)], seed=seed)
        found = router.calibrate(sample, target=0.85, confidence=0.8, exploration=EXPLORED)
        assert found.promise is not None
        is_heavy = scores >= found.promise.threshold
        missed += np.where(is_heavy, heavy, light).mean() < 0.85 * heavy.mean()
        shares.append(float(is_heavy.mean()))
        assert found.promise.heavy == pytest.approx(heavy.mean(), abs=0.15)
    assert missed <= 25 * 0.2
    assert np.mean(shares) < 0.7


def test_exploration_that_contradicts_the_traces() -> None:
    router, traces = Router(), logged(made(400))
    with pytest.raises(InputError, match=r"row 1 was taken with 0\.9, and .* from 0\.2 to 0\.8"):
        router.calibrate(traces, target=0.8, exploration=0.2)
    unknown = [*traces[:5], replace(traces[5], taken_with=None)]
    with pytest.raises(InputError, match="row 6 was taken with nan"):
        router.calibrate(unknown, target=0.8, exploration=0.1)
    with pytest.raises(InputError, match=r"exploration: expected a share above 0, up to 0\.5"):
        router.calibrate(traces, target=0.8, exploration=0.7)


def test_exploration_says_nothing_where_both_labels_are_known() -> None:
    traces = made(800, seed=8)
    plain = Router().calibrate(traces, target=0.9)
    assert Router().calibrate(traces, target=0.9, exploration=0.1) == plain
    assert labels_of(traces).both.all()
