from __future__ import annotations

import numpy as np
import pytest

from ctxguard.errors import InputError
from ctxguard.routing import evaluate

LIGHT = [True] * 50 + [False] * 50
HEAVY = [True] * 100
COUNT = np.arange(100.0)


def test_an_oracle_closes_the_gap_with_the_calls_that_are_needed() -> None:
    found = evaluate(COUNT, LIGHT, HEAVY)
    assert (found.light, found.heavy) == (0.5, 1.0)
    assert found.apgr == pytest.approx(0.75)  # a triangle to half of the calls, then all
    assert found.cpt50 == pytest.approx(0.25)
    assert found.cpt80 == pytest.approx(0.4)


def test_the_wrong_way_round_is_as_bad_as_the_right_one_is_good() -> None:
    found = evaluate(-COUNT, LIGHT, HEAVY)
    assert found.apgr == pytest.approx(0.25)
    assert found.cpt50 == pytest.approx(0.75)


def test_one_score_for_all_is_a_coin() -> None:
    found = evaluate([0.3] * 100, LIGHT, HEAVY)
    assert found.apgr == pytest.approx(0.5)
    assert [point.heavy for point in found.points] == [0.0, 1.0]


def test_a_point_that_is_worse_does_not_take_back_what_was_closed() -> None:
    heavy = [True] * 50 + [False] * 50
    light = [False] * 50 + [False] * 40 + [True] * 10
    found = evaluate(-COUNT, light, heavy)
    assert found.points[-1].quality < found.points[-2].quality
    assert found.cpt80 == pytest.approx(0.32)


def test_it_prints_its_figures() -> None:
    text = str(evaluate(COUNT, LIGHT, HEAVY))
    assert "APGR 0.750" in text
    assert "100.0% heavy  100.0% right" in text


@pytest.mark.parametrize(
    ("scores", "light", "heavy"),
    [([], [], []), ([0.1], [True, False], [True]), ([0.1, 0.2], [True, False], [False, True])],
)
def test_what_cannot_be_judged(scores: list[float], light: list[bool], heavy: list[bool]) -> None:
    with pytest.raises(InputError):
        evaluate(scores, light, heavy)
