"""Calibration: probabilities, thresholds that keep their promise, files."""

from __future__ import annotations

import bisect
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from ctxguard.errors import InputError
from ctxguard.reliability import ece_interval
from ctxguard.types import Verdict
from ctxguard.verification import (
    Answer,
    Calibration,
    Evidence,
    Labelled,
    Support,
    Verifier,
    calibration,
)
from ctxguard.verification.calibration import Curve, calibrate_scores, needed_for

SETTINGS = {"scorer": "a"}
EVIDENCE = ["The fee is $500 per month. Cats sleep all day long."]


def drawn(
    seed: int, count: int, *, wrong: int | None = None, digits: int = 9
) -> list[tuple[float, bool]]:
    """Scores that overlap: right ones higher, as often as not."""
    draw = np.random.default_rng(seed)
    right = draw.beta(4, 2, size=count).round(digits).tolist()
    others = draw.beta(2, 4, size=count if wrong is None else wrong).round(digits).tolist()
    return [(score, True) for score in right] + [(score, False) for score in others]


# -- what is promised -----------------------------------------------------------------------------


@pytest.mark.parametrize(("target", "count"), [(0.05, 60), (0.05, 200), (0.2, 40)])
@pytest.mark.parametrize("digits", [9, 1])
def test_the_false_alarm_rate_is_missed_in_at_most_the_promised_share(
    target: float, count: int, digits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "ece_interval", lambda *_: (0.0, 1.0))  # slow, and not asked
    later = [score for score, right in drawn(10_000, 20_000, digits=digits) if right]
    runs, missed = 80, 0
    for seed in range(runs):
        made = calibrate_scores(
            drawn(seed, count, wrong=20, digits=digits), settings=SETTINGS, target=target,
            confidence=0.9,
        )  # fmt: skip
        assert made.threshold is not None
        missed += flagged(later, made.curve, made.threshold) > target
    # A tenth may be missed; and 3 standard deviations of so many runs.
    assert missed / runs <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / runs)


def flagged(scores: list[float], curve: Curve, threshold: float) -> float:
    """The share of scores under the threshold; the curve rises, so that a few looks tell."""
    known = sorted(scores)
    place = bisect.bisect_left(known, threshold, key=curve)
    return place / len(known)


def test_the_threshold_is_not_more_careful_than_it_has_to_be() -> None:
    made = calibrate_scores(drawn(1, 2_000), settings=SETTINGS, target=0.05)
    assert made.threshold is not None
    later = [score for score, right in drawn(2, 20_000) if right]
    assert sum(made.curve(score) < made.threshold for score in later) / len(later) > 0.03
    assert made.found is not None
    assert made.found > 0.3
    assert "at most 5.0% of right answers (confidence 95%)" in str(made)


def test_how_many_answers_a_target_takes() -> None:
    assert [needed_for(0.05), needed_for(0.02), needed_for(0.5, 0.5)] == [59, 149, 1]
    assert calibrate_scores(drawn(1, 59), settings=SETTINGS, target=0.05).threshold is not None
    with pytest.raises(InputError, match=r"needs 59 right answers, and there are 58") as caught:
        calibrate_scores(drawn(1, 58), settings=SETTINGS, target=0.05)
    least = float(str(caught.value).split("target of ")[-1].split()[0])
    assert calibrate_scores(drawn(1, 58), settings=SETTINGS, target=least).threshold is not None


@pytest.mark.parametrize(
    ("target", "confidence", "named"),
    [(0.0, 0.9, "target"), (1.0, 0.9, "target"), (True, 0.9, "target"), (0.1, 1.0, "confidence"),
     (math.nan, 0.9, "target")],
)  # fmt: skip
def test_shares_that_mean_nothing(target: float, confidence: float, named: str) -> None:
    with pytest.raises(InputError, match=f"{named}: expected a number between 0 and 1"):
        calibrate_scores(
            drawn(1, 100), settings=SETTINGS, target=target, confidence=confidence
        )  # fmt: skip


def test_a_confidence_of_next_to_nothing_flags_what_is_under_the_best() -> None:
    made = calibrate_scores(drawn(1, 9), settings=SETTINGS, target=0.999, confidence=1e-15)
    assert made.threshold == made.curve(max(score for score, right in drawn(1, 9) if right))


# -- probabilities --------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 50),
    count=st.integers(20, 80),  # a handful may be drawn the wrong way round
    pair=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
@settings(max_examples=60, deadline=None)
def test_probabilities_rise_with_scores(seed: int, count: int, pair: tuple[float, float]) -> None:
    curve = calibrate_scores(drawn(seed, count), settings=SETTINGS, target=None).curve
    low, high = sorted(pair)
    assert 0 <= curve(low) <= curve(high) <= 1


def test_probabilities_come_true() -> None:
    draw = np.random.default_rng(3)
    p = draw.random(3_000)
    labels = draw.random(3_000) < p
    made = calibrate_scores(
        zip((p**3).tolist(), labels.tolist(), strict=True), settings=SETTINGS, target=None
    )
    assert made.reliability.count == 3_000
    assert made.reliability.ece < 0.03
    assert made.ece_interval[0] == 0.0
    assert made.ece_interval[1] < 0.06
    assert made.threshold is None
    assert "ECE" in str(made)
    assert "flagged" not in str(made)


def test_few_answers_leave_scores_about_as_they_are() -> None:
    made = calibrate_scores([(0.9, True), (0.2, False)], settings=SETTINGS, target=None)
    assert abs(made.curve(0.8) - 0.8) < 0.15
    assert abs(made.curve(0.3) - 0.3) < 0.15


def test_scores_that_say_the_opposite_are_refused() -> None:
    upside = [(1 - score, right) for score, right in drawn(1, 100)]
    with pytest.raises(InputError, match="no higher than of wrong ones"):
        calibrate_scores(upside, settings=SETTINGS)


def test_both_kinds_are_needed() -> None:
    with pytest.raises(InputError, match="0 right and 1 wrong"):
        calibrate_scores([(0.5, False)], settings=SETTINGS)
    with pytest.raises(InputError, match="1 right and 0 wrong"):
        calibrate_scores([(0.5, True)], settings=SETTINGS)


def test_a_chance_fold_without_an_order_says_how_many_are_right() -> None:
    scores = [(0.9, True), (0.1, False), (0.2, True), (0.8, False), (0.95, True)]
    assert calibrate_scores(scores, settings=SETTINGS, target=None).reliability.count == 5


def test_the_interval_holds_the_error() -> None:
    draw = np.random.default_rng(4)
    p = draw.random(400)
    labels = (draw.random(400) < np.clip(p - 0.1, 0, 1)).tolist()
    low, high = ece_interval(p.tolist(), labels)
    assert 0 < low < 0.095 < high < 0.2
    assert ece_interval(p.tolist(), labels) == (low, high)
    assert ece_interval([], []) == (0.0, 0.0)


# -- the verifier ---------------------------------------------------------------------------------


class Words:
    """A scorer for which a claim is as likely as its number says: "word 37" is .37."""

    name = "words"

    def score(self, claims: Sequence[str], passages: Sequence[str]) -> list[Support]:
        return [Support(probability=int(one.split()[-1].strip(".")) / 100) for one in claims]


class Birds(Words):
    name = "birds"


def test_a_verifier_is_calibrated_and_applies_it() -> None:
    verifier = Verifier()
    examples = [
        *[Labelled(answer="The fee is $500 per month.", evidence=EVIDENCE, grounded=True)] * 60,
        *[Labelled(answer="The fee is $600 per month.", evidence=EVIDENCE, grounded=False)] * 20,
    ]
    made = verifier.calibrate(examples, target=0.05)
    assert (made.right, made.wrong, made.found) == (60, 20, 1.0)
    calibrated = replace(verifier, calibration=made)
    assert calibrated.cut == made.threshold
    right = calibrated("The fee is $500 per month.", EVIDENCE)
    wrong = calibrated("The fee is $600 per month.", EVIDENCE)
    assert (right.grounded, wrong.grounded) == (True, False)
    assert right.score == made.curve(1.0)
    assert wrong.failed[0].code == "amount-differs"
    assert replace(calibrated, threshold=0.0).cut == 0.0
    again = calibrated.calibrate(examples, target=0.05)
    assert again == made  # of the scores themselves, whatever was applied


def test_a_calibration_belongs_to_its_verifier() -> None:
    made = Verifier(scorer=Words()).calibrate(labelled_words(), target=0.05)
    assert made.settings["scorer"] == "words"
    with pytest.raises(InputError, match=r"settings\.scorer: it was made with 'words', .* 'birds'"):
        Verifier(scorer=Birds(), calibration=made)

    def sober(answer: Answer, evidence: Evidence) -> list[Verdict]:
        return []

    with pytest.raises(InputError, match=r"settings\.checks: .* has 'sober'"):
        Verifier(scorer=Words(), checks=[sober], calibration=made)


def labelled_words() -> Iterator[Labelled]:
    """Claims on which facts have nothing to say."""
    for score, right in drawn(5, 100, digits=2):
        answer = f"Many birds resemble {round(score * 99)}"
        yield Labelled(answer=answer, evidence=[f"{answer}. Other things too."], grounded=right)


# -- files ----------------------------------------------------------------------------------------


def test_a_file_gives_the_same_calibration(tmp_path: Path) -> None:
    made = calibrate_scores(drawn(1, 100), settings=SETTINGS)
    made.save(tmp_path / "c.json")
    assert Calibration.load(tmp_path / "c.json") == made
    plain = calibrate_scores(drawn(1, 10), settings=SETTINGS, target=None)
    assert Calibration.from_json(plain.to_json()) == plain


MADE: dict[str, Any] = json.loads(
    calibrate_scores(drawn(1, 100), settings=SETTINGS).to_json()
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "calibration: not JSON"),
        ("[" * 100_000, "calibration: not JSON"),
        ("[]", "calibration.format: expected 1, got None"),
        (json.dumps({**MADE, "format": 2}), "calibration.format: expected 1, got 2"),
        (json.dumps({**MADE, "format": True}), "calibration.format: expected 1, got True"),
        (json.dumps({**MADE, "threshold": 1.5}), "calibration.threshold: "),
        (json.dumps({**MADE, "threshold": "a"}), "calibration.threshold: "),
        (json.dumps({**MADE, "right": -1}), "calibration.right: "),
        (json.dumps({**MADE, "extra": 1}), "calibration.extra: "),
        (json.dumps({**MADE, "curve": {**MADE["curve"], "low": -1}}), "calibration.curve.low: "),
        (json.dumps({**MADE, "curve": {**MADE["curve"], "high": math.nan}}), "calibration.curve"),
        (json.dumps({**MADE, "curve": None}), "calibration.curve: "),
        (json.dumps({k: v for k, v in MADE.items() if k != "settings"}), "calibration.settings: "),
        (json.dumps({**MADE, "reliability": {}}), "calibration.reliability.count: "),
    ],
)
def test_what_is_no_calibration_names_the_field(text: str, named: str) -> None:
    with pytest.raises(InputError) as caught:
        Calibration.from_json(text)
    assert str(caught.value).startswith(named)
    assert len(str(caught.value)) < 300


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        Calibration.load(tmp_path / "none.json")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not a text file"):
        Calibration.load(tmp_path / "binary")
