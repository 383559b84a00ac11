from __future__ import annotations

import numpy as np
import pytest

from ctxguard.errors import InputError
from ctxguard.routing.calibration import (
    needed_for_budget,
    needed_for_quality,
    promise_budget,
    promise_quality,
)


def world(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gains that mean what they say, and how both routes did."""
    rng = np.random.default_rng(seed)
    gains = rng.uniform(-0.05, 0.6, count)
    heavy = rng.random(count) < 0.9
    light = rng.random(count) < np.clip(0.9 - gains, 0, 1)
    return gains, light, heavy


TRUTH = world(100_000, seed=99)


def quality_at(threshold: float) -> float:
    """Of the routed, as a share of all heavy, in truth."""
    gains, light, heavy = TRUTH
    return float(np.where(gains >= threshold, heavy, light).mean() / heavy.mean())


@pytest.mark.parametrize(("target", "confidence", "count"), [(0.9, 0.9, 300), (0.8, 0.8, 150)])
def test_quality_is_missed_in_no_more_cases_than_promised(
    target: float, confidence: float, count: int
) -> None:
    missed, shares = 0, list[float]()
    for seed in range(200):
        try:
            found = promise_quality(*world(count, seed), target=target, confidence=confidence)
        except InputError:
            continue  # it promised nothing
        missed += quality_at(found.threshold) < target
        shares.append(float((TRUTH[0] >= found.threshold).mean()))
    assert missed <= 200 * (1 - confidence)
    assert len(shares) > 190
    assert np.mean(shares) < 0.9  # and it does save


def test_cost_is_missed_in_no_more_cases_than_promised() -> None:
    over = 0
    for seed in range(200):
        found = promise_budget(*world(100, seed), budget=0.3, confidence=0.9)
        over += float((TRUTH[0] >= found.threshold).mean()) > 0.3
    # At the edge of what is allowed: a binomial of 200 and .1 is above 32 in .3 % of the cases.
    assert 5 < over <= 32


def test_more_data_saves_more() -> None:
    few = promise_quality(*world(300), target=0.9)
    many = promise_quality(*world(10_000), target=0.9)
    assert many.heavy_share < few.heavy_share
    assert many.routed >= 0.9 * many.heavy
    assert "at least 90.0% of all heavy" in str(many)


def test_a_budget_in_money() -> None:
    share = promise_budget(*world(500), budget=0.3)
    money = promise_budget(*world(500), budget=3.7, costs=(1.0, 10.0))
    assert money.threshold == share.threshold
    assert "mean cost at most 3.7" in str(money)
    assert promise_budget(*world(5), budget=10, costs=(1.0, 10.0)).heavy_share == 1.0


def test_too_little_data_says_how_much_it_takes() -> None:
    least = needed_for_quality(0.95)
    with pytest.raises(InputError, match=f"takes at least {least} traces, and there are 20"):
        promise_quality(*world(20), target=0.95)
    with pytest.raises(InputError, match=r"about [\d,]+ would do"):
        promise_quality(*world(70), target=0.95)
    with pytest.raises(InputError, match=f"takes {needed_for_budget(0.3)} traces"):
        promise_budget(*world(5), budget=0.3)
    assert needed_for_budget(0.3) == 9
    _, _, heavy = world(400)
    alike = np.full(400, 0.1)  # all go light, or none
    with pytest.raises(InputError, match="would not do either"):
        promise_quality(alike, np.zeros(400, dtype=bool), heavy, target=0.99)


def test_the_least_number_is_enough_where_light_never_fails() -> None:
    count = needed_for_quality(0.9) + 20
    gains = np.linspace(-0.3, 0.3, count)
    right = np.ones(count, dtype=bool)
    assert promise_quality(gains, right, right, target=0.9).heavy_share == 0


@pytest.mark.parametrize(("target", "confidence"), [(1.0, 0.9), (0.9, 0.0), (0.0, 0.9)])
def test_what_is_no_target(target: float, confidence: float) -> None:
    with pytest.raises(InputError, match="expected a number between 0 and 1"):
        promise_quality(*world(99), target=target, confidence=confidence)


@pytest.mark.parametrize("costs", [(2.0, 1.0), (1.0, 2.0)])
def test_what_is_no_budget(costs: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="a light"):
        promise_budget(*world(99), budget=1, costs=costs)
