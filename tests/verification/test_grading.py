"""The outcome of a verification, as evaluators report it."""

from __future__ import annotations

import pytest

from ctxguard.verification import Verifier, grade

EVIDENCE = [
    "The fee is $500 per month.",
    "Notice is thirty days.",
    "The tenant shall pay the rent to the landlord, and it is not to be refunded by him.",
]


@pytest.mark.parametrize(
    ("answer", "outcome", "passing", "scored"),
    [
        ("The fee is $500 per month.", "grounded", True, True),
        ("The fee is $600 per month.", "contradicted", False, True),
        ("Notice is thirty days. The fee is $600 per month.", "contradicted", False, True),
        ("The landlord is Zebulon Quark Ltd.", "not_found", False, True),
        ("I don't know.", "abstained", True, False),
        ("What would you like to know?", "abstained", True, False),
        ("", "abstained", True, False),
        (
            "Le loyer est pour une année et le bail est dans les mains du locataire.",
            "not_judged",
            None,
            False,
        ),
        ("```\nfee = 600\n```", "not_judged", None, False),
    ],
)
def test_outcomes(answer: str, outcome: str, passing: bool | None, scored: bool) -> None:
    found = grade(Verifier()(answer, EVIDENCE))
    assert (found.outcome, found.passing) == (outcome, passing)
    assert (found.score is not None) == scored
    assert found.explanation


def test_what_failed_is_explained_with_a_quote() -> None:
    found = grade(Verifier()("Notice is thirty days. The fee is $600 per month.", EVIDENCE))
    assert found.explanation.startswith("“The fee is $600 per month.”: ")
    assert "“The fee is $500 per month.”" in found.explanation
    assert "Notice" not in found.explanation
    assert found.score is not None
    assert found.score < 0.5


def test_contradicted_weighs_more_than_not_found() -> None:
    answer = "The landlord is Zebulon Quark Ltd. The fee is $600 per month."
    found = grade(Verifier()(answer, EVIDENCE))
    assert found.outcome == "contradicted"
    assert len(found.explanation.splitlines()) == 2


def test_without_evidence_there_is_no_quote_and_long_claims_are_cut() -> None:
    found = grade(Verifier()(f"The fee is {'very ' * 100}high.", []))
    assert found.outcome == "not_found"
    assert "…”: " in found.explanation
    assert len(found.explanation) < 400


def test_what_passed_says_what_was_not_judged() -> None:
    found = grade(Verifier()("The fee is $500 per month.\n\n```\nx = 1\n```", EVIDENCE))
    assert found.outcome == "grounded"
    assert found.explanation.startswith("the evidence supports the claim\n")
    assert "not judged" in found.explanation
