"""Cases are what their names say, and the same every time."""

from __future__ import annotations

import pytest

from benchmarks.cases import (
    contract_cases,
    fingerprint,
    ramdocs_cases,
    shape,
    swapped_cases,
)

CLAUSES = [
    f"The Licensee shall pay {number} percent of net sales to the Licensor within thirty (30) days "
    f"after March {number}, 2014, and shall not assign this agreement to more than {number} "
    "affiliates without the written consent of the Licensor, as the laws of Texas require."
    for number in range(3, 9)
]
CONTRACTS = [{"clauses": {"Payment": CLAUSES[:3]}}, {"clauses": {"Payment": CLAUSES[3:]}}]


def town(name: str, people: str) -> dict[str, object]:
    text = (
        f"{name} is a town on the river. According to the last census there were {people} residing "
        "in the town, and the area of it is mostly land. It is known for its market."
    )
    other = f"Most of the land around {name} belongs to farms that have been there for long."
    return {
        "question": f"What is the population of {name}?",
        "documents": [
            {"text": text, "type": "correct", "answer": people},
            {"text": other, "type": "noise", "answer": "unknown"},
        ],
        "gold_answers": [people],
        "wrong_answers": ["12 people"],
    }


TOWNS = [town("Broken Bow", "3,559 people"), town("Ashton", "211 people")]


def test_a_contract_case_has_its_clause_first_and_at_most_five_copies_and_eight_edits() -> None:
    for case in contract_cases(CONTRACTS, 6):
        roles = [item.role for item in case.items]
        assert roles[0] == "original"
        assert roles.count("original") == 1
        assert 1 <= roles.count("copy") <= 5
        assert 1 < roles.count("version") <= 9
        assert [item.kind for item in case.items].count("unrelated") == 1
        assert len(set(case.texts)) == len(case.texts)


def test_cases_are_the_same_every_time() -> None:
    assert contract_cases(CONTRACTS, 4) == contract_cases(CONTRACTS, 4)
    assert fingerprint(ramdocs_cases(TOWNS, 2)) == fingerprint(ramdocs_cases(TOWNS, 2))
    assert fingerprint(contract_cases(CONTRACTS, 4)) != fingerprint(contract_cases(CONTRACTS, 3))


def test_copies_stand_behind_their_documents() -> None:
    for case in ramdocs_cases(TOWNS, 2):
        copies = [(place, item) for place, item in enumerate(case.items) if item.role == "copy"]
        assert copies
        for place, item in copies:
            assert case.texts.index(item.of) < place


def test_only_answers_that_stand_in_a_document_are_asked_for() -> None:
    assert [case.answers for case in ramdocs_cases(TOWNS, 2)] == [
        ("3,559 people",),
        ("211 people",),
    ]


def test_a_swapped_case_has_the_other_answer_in_the_same_document() -> None:
    towns = [*TOWNS, town("Calder", "4,020 people")]
    for case in swapped_cases(towns, 3):
        passage, (swapped,) = (
            case.texts[0],
            [item.text for item in case.items if item.kind == "swapped"],
        )
        assert passage != swapped
        before, after = set(passage.split()), set(swapped.split())
        assert len(before ^ after) == 2  # one number for another
        assert {item.of for item in case.items if item.role == "copy"} == {passage, swapped}


@pytest.mark.parametrize(
    ("answer", "other"),
    [("3,559 people", "10,200 acres"), ("Anne Lee", "Bob Ross"), ("May 8, 2014", "July 12, 1999")],
)
def test_answers_of_a_kind_have_one_shape(answer: str, other: str) -> None:
    assert shape(answer) == shape(other)


@pytest.mark.parametrize(
    ("answer", "other"), [("3,559 people", "3559 people"), ("Anne Lee", "Anne"), ("2014", "May")]
)
def test_answers_of_different_kinds_have_two(answer: str, other: str) -> None:
    assert shape(answer) != shape(other)
