"""What a sentence affirms and denies."""

from __future__ import annotations

import pytest

from ctxguard.text.words import words_of
from ctxguard.verification import Verifier
from ctxguard.verification._polarity import polarities


def signs(sentence: str) -> dict[str, int]:
    """The sign of each word; the last place counts."""
    words = words_of(sentence)
    return {words.keys[word.place]: word.sign for word in polarities(words, (0, len(words)))}


@pytest.mark.parametrize(
    ("sentence", "affirmed", "denied"),
    [
        ("The tenant shall insure the house.", "tenant insure house", ""),
        ("The tenant shall not sell the house.", "", "sell house"),
        ("No tenant may sell the house.", "", "tenant sell house"),
        ("They don't sell bread, but sell milk.", "milk", "bread"),
        ("It may not be sold without consent.", "consent", "sold"),
        ("Neither party may sell, nor may a party lease it.", "", "sell lease"),
        ("Consent is not required.", "", "consent required"),
        ("Any sale without consent is void.", "consent", "sale"),
        ("Except with consent, no tenant may sell.", "consent", "sell"),
        ("It may not be sold unless consent is given.", "consent", "sold"),
        ("A non-exclusive and untested right.", "right", "exclusive untested"),
        ("Tenants are barred from smoking.", "", "smoking"),
        ("For the avoidance of doubt, rent is due.", "rent due", "doubt"),
        ("Rent is due not later than May.", "rent due", ""),
        ("The fee must not exceed five and must not be less than two.", "fee two", ""),
        ("It shall not burn and shall keep dry.", "keep dry", "burn"),
        ("It does not burn. The roof is new.", "roof new", "burn"),
        ("It sells nothing that burns.", "", "burns"),
    ],
)
def test_words_are_affirmed_or_denied(sentence: str, affirmed: str, denied: str) -> None:
    found = signs(sentence)
    assert {word: found[word] for word in affirmed.split()} == dict.fromkeys(affirmed.split(), 1)
    assert {word: found[word] for word in denied.split()} == dict.fromkeys(denied.split(), -1)


@pytest.mark.parametrize(
    ("sentence", "word"),
    [
        ("The tenant shall not sell.", "tenant"),
        ("It may be ended with or without cause.", "cause"),
        ("It ends unless notice is given.", "notice"),
        ("No notice is required to end it.", "end"),
    ],
)
def test_what_is_neither_affirmed_nor_denied_stays_open(sentence: str, word: str) -> None:
    assert signs(sentence)[word] == 0


@pytest.mark.parametrize(
    ("claim", "evidence"),
    [
        ("A license cannot be sold.", "The license is non-transferable and must not be sold."),
        ("Consent is required to sell it.", "No tenant may sell it without consent."),
        ("The roof is not new.", "The roof, built in the old days, is not new."),
        ("It ends on May 5.", "It ends on May 5 unless extended."),
        ("The right is transferable.", "A right is transferable, a nontransferable one is not."),
        (
            "No consent is needed to sell it to a child.",
            "No tenant may sell it without consent, except that a tenant may sell it to a child "
            "without consent.",
        ),
    ],
)  # fmt: skip
def test_two_ways_to_say_the_same_do_not_differ(claim: str, evidence: str) -> None:
    assert Verifier()(claim, [evidence]).grounded


@pytest.mark.parametrize(
    ("claim", "evidence"),
    [
        ("The tenant must smoke in the hall.", "The tenant must not smoke in the hall."),
        ("The tenant may not sell it or let it.", "The tenant may sell it or let it."),
        ("No consent is needed to sell it.", "No tenant may sell it without consent."),
        ("There is no right to inspect the books.", "The owner may inspect the books at any time."),
        ("Consent may be unreasonably withheld.", "Consent may not be unreasonably withheld."),
        ("The right can be transferred.", "It grants a limited and nontransferable right."),
        (
            "No consent is needed to sell the house.",
            "No tenant may sell the house without consent, except that a tenant may sell the house "
            "to a child without consent.",
        ),
    ],
)
def test_a_negation_more_or_less_is_found(claim: str, evidence: str) -> None:
    verification = Verifier()(claim, [evidence])
    assert [verdict.code for verdict in verification.claims] == ["negation-differs"]
    assert verification.findings[0].evidence[0].text == evidence


@pytest.mark.parametrize(
    ("claim", "evidence"),
    [
        (
            "The police, who opened an inquiry, have found no evidence of poison there.",
            "The police, who opened an inquiry, have not found any evidence of poison there.",
        ),
        (
            "The report of the bank disclosed that it moved the funds in August.",
            "The report of the bank found that it moved the funds in August.",
        ),
    ],
)
def test_a_negation_in_another_place_is_the_same_one(claim: str, evidence: str) -> None:
    assert Verifier()(claim, [evidence]).findings == ()


@pytest.mark.parametrize(
    "claim",
    [
        "Sales grew due to a better second quarter.",
        "Various options exist once you sign.",
        "Sales grew. Eventually they stopped.",
    ],
)
def test_words_that_are_no_numbers_opposites_or_names(claim: str) -> None:
    evidence = (
        "Sales of two billion grew in the second quarter, which was better, and then they stopped. "
        "We have many options, like these, that exist when you sign."
    )
    assert Verifier()(claim, [evidence]).findings == ()


NAMES = (
    "Neither the name of the holder nor the names of its contributors may be used to endorse it."
)
LIABLE = "In no event shall the authors or copyright holders be liable for any claim or damages."
FRONT = "None of the fees are refundable. Under no circumstances may the Licensee sublicense it."


@pytest.mark.parametrize(
    ("claim", "evidence"),
    [
        ("The names of its contributors may be used to endorse it.", NAMES),
        ("Yes, the names of contributors can be used to endorse it.", NAMES),
        ("The authors or copyright holders shall be liable for any claim or damages.", LIABLE),
        ("The fees are refundable.", FRONT),
        ("Fees are refundable.", FRONT),
        ("The Licensee may sublicense it.", FRONT),
    ],
)
def test_what_a_sentence_begins_with_denies_the_rest(claim: str, evidence: str) -> None:
    verdict = Verifier()(claim, [evidence]).claims[0]
    assert (verdict.label, verdict.code) == ("contradicted", "negation-differs")


@pytest.mark.parametrize(
    ("claim", "evidence"),
    [
        ("The names of its contributors may not be used to endorse it.", NAMES),
        ("The authors are not liable for damages.", LIABLE),
        ("The copyright holders shall not be liable for any claim.", LIABLE),
        ("The fees are not refundable.", FRONT),
        ("The Licensee may not sublicense it.", FRONT),
        ("The fee is $5.", "No notice is needed; the fee is $5."),
        ("the fee is $5", "There is no refund, but the fee is $5."),
    ],
)
def test_and_who_denies_it_too_is_right(claim: str, evidence: str) -> None:
    assert Verifier()(claim, [evidence]).claims[0].label == "supported"
