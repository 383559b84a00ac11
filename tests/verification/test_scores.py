"""Scores do not change unnoticed: a calibration is of one way of scoring."""

from __future__ import annotations

import pytest

from ctxguard.verification import GroundednessScorer, Verifier, groundedness_scorer
from ctxguard.verification._network import load_weights, weights_digest

EVIDENCE = (
    "The fee is $500 per month. Notice is thirty (30) days. Acme Inc. shall not assign it. "
    "It begins on May 8, 2014. The law of Delaware governs. Sales rose by 12.5 %."
)
RULES = {
    "The fee is $500 a month.": 0.97,
    "The fee is $600 per month.": 0.0288,
    "The period of notice is 31 days.": 0.028,
    "Acme Inc. may assign it.": 0.5044,
    "It begins on June 8, 2014.": 0.029,
    "The law of Nevada governs.": 0.0959,
    "Sales fell by 12.5 %.": 0.4315,
    "Beta LLC pays quickly.": 0.45,
}
"""What the rules say of each claim. Whoever changes a number raises `_SCORES` in verifier.py."""
SCORES = "2"
"""Of the numbers above."""


def test_rules_score_as_their_version_says() -> None:
    verifier = Verifier()
    assert verifier.settings["scores"] == SCORES
    found = {claim: round(verifier(claim, [EVIDENCE]).score, 4) for claim in RULES}
    assert found == pytest.approx(RULES, abs=1e-3)


def test_the_scorers_name_tells_its_weights() -> None:
    shipped = Verifier(scorer=groundedness_scorer()).settings
    assert shipped["scorer"] == f"groundedness {weights_digest()}"
    own = GroundednessScorer(*load_weights())
    assert Verifier(scorer=own).settings["scorer"] == "GroundednessScorer"
    assert Verifier().settings == {**shipped, "scorer": ""}
