"""Seams: scorers and checks of a caller's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pytest
from hypothesis import given, strategies as st

from ctxguard.types import Finding, Verdict
from ctxguard.verification import Answer, Evidence, Support, Verifier, Weighing

EVIDENCE = ["The fee is $500 per month. Cats sleep all day long."]


class Fixed:
    """A scorer that always says the same, and notes what it was asked."""

    def __init__(self, probability: float) -> None:
        self.probability = probability
        self.asked: list[tuple[list[str], list[str]]] = []

    def score(self, claims: Sequence[str], passages: Sequence[str]) -> list[Support]:
        self.asked.append((list(claims), list(passages)))
        return [Support(probability=self.probability, passage=1) for _ in claims]


def test_a_scorer_is_asked_once_with_all_claims_and_passages() -> None:
    scorer = Fixed(0.9)
    answer = "A cat sleeps the whole day. Is it so? The monthly fee is $500."
    verification = Verifier(scorer=scorer)(answer, EVIDENCE)
    assert scorer.asked == [
        (
            ["A cat sleeps the whole day.", "The monthly fee is $500."],
            ["The fee is $500 per month.", "Cats sleep all day long."],
        )
    ]
    assert verification.score == 0.9
    assert verification.claims[0].evidence[0].text == "Cats sleep all day long."


def test_what_a_scorer_doubts_is_not_found_and_what_facts_contradict_stays_so() -> None:
    doubted, wrong = Verifier(scorer=Fixed(0.2))("A cat dreams. The fee is $600.", EVIDENCE).claims
    assert (doubted.label, doubted.code) == ("not_found", "not-stated")
    assert wrong.code == "amount-differs"
    (trusted,) = Verifier(scorer=Fixed(1.0))("The fee is $600.", EVIDENCE).claims
    assert (trusted.label, trusted.code) == ("contradicted", "amount-differs")


def test_what_is_stated_word_for_word_needs_no_scorer() -> None:
    (verdict,) = Verifier(scorer=Fixed(0.0))("Cats sleep all day.", EVIDENCE).claims
    assert (verdict.label, verdict.code, verdict.score) == ("supported", "stated", 1.0)


def test_a_scorer_is_not_asked_when_nothing_is_claimed() -> None:
    scorer = Fixed(0.5)
    Verifier(scorer=scorer)("I don't know.", EVIDENCE)
    assert scorer.asked == []


def test_checks_of_a_caller_add_verdicts() -> None:
    def no_cats(answer: Answer, evidence: Evidence) -> Iterator[Verdict]:
        for claim in answer.claims:
            if "cat" in claim.text.lower():
                finding = Finding(
                    code="cats", reason="no cats", span=claim.span, text=claim.text,
                    label="contradicted", evidence=(evidence.quote(0, (0, 7)),),
                )  # fmt: skip
                yield Verdict(
                    claim=claim, label="contradicted", score=0.1, code="cats", reason="no cats",
                    findings=(finding,),
                )  # fmt: skip

    verification = Verifier(checks=[no_cats])("Cats sleep. The fee is $500.", EVIDENCE, "Why?")
    assert verification.grounded is False
    assert [verdict.code for verdict in verification.failed] == ["cats"]
    assert verification.findings[0].evidence[0].text == "The fee"
    assert verification.question == "Why?"


def test_a_check_that_fails_says_so_and_hides_nothing() -> None:
    def broken(answer: Answer, evidence: Evidence) -> Iterable[Verdict]:
        raise KeyError(answer.question)

    verification = Verifier(checks=[broken])("The fee is $500 per month.", EVIDENCE, "Why?")
    *_, failed = verification.claims
    assert (failed.label, failed.code) == ("not_judged", "check-failed")
    assert "'broken' failed: KeyError" in failed.reason
    assert verification.grounded


def test_what_is_stated_is_not_asked() -> None:
    scorer = Fixed(0.9)
    Verifier(scorer=scorer)("Cats sleep all day. A cat sleeps at night.", EVIDENCE)
    assert [claims for claims, _ in scorer.asked] == [["A cat sleeps at night."]]


@given(
    probability=st.floats(0, 1), share=st.floats(0, 1), against=st.floats(0, 20),
    weights=st.tuples(st.floats(0, 5), st.floats(0, 5)),
)  # fmt: skip
def test_findings_only_lower_a_probability_and_the_more_the_nearer_the_passage(
    probability: float, share: float, against: float, weights: tuple[float, float]
) -> None:
    weighing = Weighing(anywhere=weights[0], aligned=weights[1])
    weighed = weighing.weigh(probability, against, share)
    assert 0 <= weighed <= probability + 1e-9
    assert weighing.weigh(probability, against + 1, share) <= weighed + 1e-9
    assert weighing.weigh(probability, against, 1.0) <= weighed + 1e-9
    assert weighing.weigh(probability, 0.0, share) == pytest.approx(probability)
