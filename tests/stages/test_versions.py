"""Two texts that differ in one thing that matters both stay, whatever else they share."""

from __future__ import annotations

import pytest

from ctxguard.stages import Deduplicate
from ctxguard.types import StageResult
from tests.stages.helpers import by_action, context_of, ids
from tests.stages.pairs import AROUND, VERSIONS


def between(middle: str) -> str:
    """The middle inside a longer text."""
    glue = "\n\n" if "\n" in middle else " "
    return f"{AROUND[0]}{glue}{middle}{glue}{AROUND[1]}"


def assert_both_stay(result: StageResult) -> None:
    assert ids(result) == ["0", "1"]
    assert not by_action(result, "drop", "trim")


@pytest.mark.parametrize("source", [None, "", "same.pdf"])
@pytest.mark.parametrize("name", VERSIONS)
def test_versions_both_stay(name: str, source: str | None) -> None:
    left, right = VERSIONS[name]
    for pair in ((left, right), (right, left)):
        assert_both_stay(Deduplicate()(context_of(*pair, source=source)))


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("name", VERSIONS)
def test_versions_inside_a_longer_text_stay_and_are_flagged(name: str, share: bool) -> None:
    left, right = map(between, VERSIONS[name])
    for pair in ((left, right), (right, left)):
        result = Deduplicate(share_boilerplate=share)(context_of(*pair))
        assert ids(result) == ["0", "1"]
        [flag] = by_action(result, "flag")
        assert (flag.subject, flag.twin) == ("1", "0")
        assert flag.code in ("conflict", "different-wording")
        if not share:
            assert_both_stay(result)
        new = set(pair[1].split()) - set(pair[0].split())
        assert new <= set(result.context.chunks[1].text.split()), "what is new stays"


@pytest.mark.parametrize("name", VERSIONS)
def test_a_copy_of_a_version_goes_and_the_versions_stay(name: str) -> None:
    left, right = map(between, VERSIONS[name])
    copies = [text.replace(" ", "  ") for text in (right, left)]
    result = Deduplicate()(context_of(left, right, *copies))
    assert ids(result) == ["0", "1"]
    assert {d.subject: d.twin for d in by_action(result, "drop")} == {"2": "1", "3": "0"}


@pytest.mark.parametrize(
    ("left", "right", "quotes"),
    [
        ("It ends after 30 days.", "It ends after 60 days.", ["60 days", "30 days"]),
        ("He is liable for it.", "He is not liable for it.", ["not"]),
        (
            "Acme owes Beta the sum.",
            "Beta owes Acme the sum.",
            ["Beta owes Acme", "Acme owes Beta"],
        ),
        ("The sum of $450 remains.", "The sum of 450 remains.", ["450", "$450"]),
    ],
)
def test_a_conflict_quotes_the_facts_that_differ(left: str, right: str, quotes: list[str]) -> None:
    context = context_of(between(left), between(right))
    [flag] = Deduplicate()(context).decisions
    assert flag.code == "conflict"
    assert [quote.text for quote in flag.evidence] == quotes
    texts = {chunk.id: chunk.text for chunk in context.chunks}
    for quote in flag.evidence:
        assert texts[quote.chunk_id][slice(*quote.span)] == quote.text
    assert all(f'"{quote}"' in flag.reason for quote in quotes)


def test_the_reason_says_who_says_what() -> None:
    context = context_of(
        between("Each party may end it on 30 days' notice."),
        between("Each party may end it on 60 days' notice."),
    )
    [flag] = Deduplicate()(context).decisions
    assert flag.reason == (
        '"60 days" here, "30 days" in s0.pdf (0): two versions of one text, both stay'
    )
    assert flag.details == {"differs": [["60 days", "30 days"]]}


def test_other_words_are_flagged_as_such() -> None:
    context = context_of(
        between("He holds shares of the company."), between("He holds bonds of the company.")
    )
    [flag] = Deduplicate()(context).decisions
    assert flag.code == "different-wording"
    assert flag.details == {"differs": [["bonds", "shares"]]}
    assert flag.reason.startswith('"bonds" here, "shares" in s0.pdf (0)')


def test_sentences_in_another_order_are_flagged_as_such() -> None:
    sentences = between("Anna met Bo. She paid. Carl met Di.").split(". ")
    context = context_of(". ".join(sentences), ". ".join([*sentences[2:], *sentences[:2]]))
    [flag] = Deduplicate()(context).decisions
    assert "in another order" in flag.reason


@pytest.mark.parametrize("name", [name for name, (_, b) in VERSIONS.items() if "\n" not in b])
def test_with_shared_text_the_sentence_that_differs_stays_whole(name: str) -> None:
    left, right = VERSIONS[name]
    result = Deduplicate(share_boilerplate=True)(context_of(between(left), between(right)))
    assert right in result.context.chunks[1].text


def test_many_versions_make_one_flag_each() -> None:
    texts = [between(f"Each party may end it on {days} days' notice.") for days in range(30, 60)]
    result = Deduplicate()(context_of(*texts))
    flags = by_action(result, "flag")
    assert len(flags) == len(result.decisions) == len(texts) - 1
    assert {flag.twin for flag in flags} <= set(ids(result))


def test_unrelated_texts_with_common_words_are_not_flagged() -> None:
    result = Deduplicate()(context_of(AROUND[0], AROUND[1], VERSIONS["number"][0]))
    assert not result.decisions


def test_exchanged_roles_are_two_readings() -> None:
    context = context_of(
        between("Licensor shall pay Licensee the fee."),
        between("Licensee shall pay Licensor the fee."),
    )
    [flag] = Deduplicate()(context).decisions
    assert flag.code == "conflict"
    assert flag.details == {
        "differs": [["Licensee shall pay Licensor", "Licensor shall pay Licensee"]]
    }


def test_roles_and_a_number_are_two_differences() -> None:
    context = context_of(
        between("Acme Corp shall pay Beta within 30 days."),
        between("Beta shall pay Acme Corp within 60 days."),
    )
    [flag] = Deduplicate()(context).decisions
    assert flag.details == {
        "differs": [
            ["Beta shall pay Acme Corp", "Acme Corp shall pay Beta"],
            ["60 days", "30 days"],
        ]
    }


def test_sentences_in_the_same_place_conflict_whatever_they_share() -> None:
    context = context_of(
        between("Chief executive since 2019: Anna Berg, of Oslo."),
        between("Bo Lund of Turku has led the firm since 2021."),
    )
    [flag] = Deduplicate()(context).decisions
    assert flag.code == "conflict"
    assert flag.evidence


def test_a_text_that_holds_all_of_a_better_one_between_its_own_is_flagged() -> None:
    text = " ".join(f"Item {n} is described in the list of parts below." for n in range(4))
    result = Deduplicate()(context_of(AROUND[0], f"{text} {AROUND[0]} {text}"))
    assert ids(result) == ["0", "1"]
    [flag] = result.decisions
    assert (flag.code, flag.subject, flag.twin) == ("contains", "1", "0")
    assert not result.context.chunks[0].conflicts


def test_figures_in_another_spelling_are_no_difference() -> None:
    context = context_of(
        between("Notice is thirty (30) days. He holds shares."),
        between("Notice is 30 days. He holds bonds."),
    )
    [flag] = Deduplicate()(context).decisions
    assert flag.details == {"differs": [["bonds", "shares"]]}
