"""Values that the evidence has, but not where the claim belongs; names that are no inventions."""

from __future__ import annotations

import pytest

from ctxguard.text.facts import extract_facts
from ctxguard.types import Chunk
from ctxguard.verification import Verifier
from ctxguard.verification.evidence import Evidence


@pytest.mark.parametrize(
    ("claimed", "said"),
    [
        ("14 days", "It lasts two weeks."),
        ("14 days", "It lasts 2 weeks."),
        ("one year", "It lasts 12 months."),
        ("24 months", "It lasts 2 years."),
        ("7200 seconds", "It lasts 2 hours."),
        ("$1,500,000", "They paid $1.5 million."),
        ("$1,500,000", "They paid USD 1,500,000."),
        ("$0.50", "They paid $0.5 each."),
        ("2.5%", "The share is 2½%."),
        ("2/3", "It is 2/3 of it."),
        ("thirty", "It has (30) parts."),
        ("8 May 2014", "It began on 8th day of May, 2014."),
        ("13 May 2014", "It began on 13.05.2014."),
        ("8 May 2014", "It began on 2014-05-08."),
        ("May 8", "It began on May 8, 2014."),
        ("2014", "It began on May 8, 2014."),
        ("5 km", "It is 5,000 m long."),
        ("14:30", "It opens at 2:30 p.m."),
    ],
)
def test_a_value_is_found_in_any_writing(claimed: str, said: str) -> None:
    evidence = Evidence([Chunk(id="a", text="Nothing of it: 7 of 9."), Chunk(id="b", text=said)])
    (value,) = extract_facts(claimed)
    assert [evidence.has_value(value) for _ in range(6)] == [True] * 6  # looked for, then read


@pytest.mark.parametrize(
    ("claimed", "said"),
    [
        ("15 days", "It lasts two weeks."),
        ("8 May 2015", "It began on May 8, 2014, and cost $2015."),
        ("$1,500,000", "They paid $15 million."),
        ("3 months", "They paid 3 fees."),
        ("6 km", "It is 5,000 m long."),
    ],
)
def test_another_value_is_not(claimed: str, said: str) -> None:
    (value,) = extract_facts(claimed)
    evidence = Evidence([Chunk(id="a", text=said)])
    assert [evidence.has_value(value) for _ in range(6)] == [False] * 6


@pytest.mark.parametrize(
    "notice", ["one month's", "a month's", "one month\u2019s", "a month\u2019s"]
)
def test_a_month_is_not_thirty_days(notice: str) -> None:
    evidence = ["One or more copies exist.", "The notice period of thirty days holds for a party."]
    verification = Verifier()(f"Either party may leave with {notice} notice.", evidence)
    assert [one.code for one in verification.findings] == ["duration-differs"]
    assert verification.grounded is False


def test_one_is_no_month() -> None:
    evidence = ["Either party may leave with notice in one or more letters."]
    assert Verifier()("Either party may leave with one month notice.", evidence).grounded is False


PASSAGE = "As of the census of 2010 the population was 8,930 people."


def test_a_name_in_the_title_of_a_chunk_or_in_the_question_is_no_invention() -> None:
    claim = "The population of Clearwater County was 8,930 people."
    assert Verifier()(claim, [PASSAGE]).grounded is False
    titled = Chunk(id="1", text=PASSAGE, metadata={"title": "Clearwater County, Idaho"})
    assert Verifier()(claim, [titled]).grounded is True
    question = "What is the population of Clearwater County?"
    assert Verifier()(claim, [PASSAGE], question).grounded is True
    wrong = "The population of Clearwater County was 9,930 people."
    assert Verifier()(wrong, [PASSAGE], question).grounded is False


@pytest.mark.parametrize(
    ("claim", "evidence", "grounded"),
    [
        ("Margins grew in Q2.", "Margins grew in the second quarter.", True),
        ("Margins grew in 4Q.", "Margins grew in Q4.", True),
        ("Margins grew in Q3.", "Margins grew in the second quarter.", False),
        ("They meet at 7 pm.", "We could meet at 7, she said.", True),
        ("They meet at 8 pm.", "We could meet at 7, she said.", False),
    ],
)
def test_quarters_and_full_hours_have_short_forms(
    claim: str, evidence: str, *, grounded: bool
) -> None:
    assert Verifier()(claim, [evidence]).grounded is grounded


@pytest.mark.parametrize(
    ("claim", "evidence"),
    [
        ("His sport is Football.", "He is a Welsh professional footballer."),
        ("The Simeon Smith House was built in 1790.", "Simeon Smith Mansion was built in 1790."),
    ],
)
def test_a_name_in_another_word_is_no_invention(claim: str, evidence: str) -> None:
    assert Verifier()(claim, [evidence]).grounded is True


def test_a_claim_is_aligned_by_words_of_one_family() -> None:
    evidence = ["Bread is baked here.", "The agent sells no competitive goods."]
    (verdict,) = Verifier()("A party is restricted from competing.", evidence).claims
    assert [quote.text for quote in verdict.evidence] == [evidence[1]]
    assert verdict.label == "supported"
