"""Scoring, against cases that were counted by hand."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from benchmarks.cases import Case, Item
from benchmarks.measures import (
    accuracy,
    best_precision,
    bootstrap,
    judge,
    kept_share,
    share,
    stands_in,
)

CLAUSE = "The tenant shall give notice of at least 30 days before the end of the month."
CASE = Case(
    items=(
        Item(text=CLAUSE, role="original", kind="original"),
        Item(text=CLAUSE.upper(), role="copy", kind="capitals", of=CLAUSE),
        Item(text=CLAUSE.replace("30", "60"), role="version", kind="days", of=CLAUSE),
        Item(text=f"Page 3. {CLAUSE}", role="copy", kind="page", of=CLAUSE),
    )
)
ALL = dict(enumerate(CASE.texts))


def without(*gone: int) -> dict[int, str]:
    return {index: text for index, text in ALL.items() if index not in gone}


def test_a_case_is_right_when_copies_are_gone_and_versions_stay() -> None:
    found = judge(CASE, without(1, 3))
    assert found.right
    assert found.gone == {"capitals": (1, 1), "page": (1, 1)}
    assert found.kept == {"days": (1, 1)}
    assert found.originals == (1, 1)


@pytest.mark.parametrize("gone", [(), (1,), (1, 2, 3), (0,), (0, 1, 3)])
def test_a_case_is_wrong_when_anything_is(gone: tuple[int, ...]) -> None:
    assert not judge(CASE, without(*gone)).right


def test_a_copy_may_stand_for_its_original_but_is_not_the_better_ranked() -> None:
    found = judge(CASE, without(0, 3))
    assert found.originals == (0, 1)
    assert found.said == (1, 1)
    assert found.gone == {"capitals": (1, 1), "page": (1, 1)}
    assert found.right
    assert judge(CASE, without(0)).gone == {"capitals": (1, 1), "page": (0, 1)}


def test_a_copy_of_a_version_may_stand_for_it() -> None:
    version = CASE.items[2]
    copy = Item(text=version.text.lower(), role="copy", kind="lower", of=version.text)
    case = Case(items=(CASE.items[0], copy, version))
    assert judge(case, {0: CLAUSE, 1: copy.text}).right
    assert judge(case, {0: CLAUSE, 2: version.text}).right
    assert not judge(case, {0: CLAUSE}).right
    assert not judge(case, dict(enumerate(case.texts))).right


def test_a_copy_cut_to_what_only_it_says_is_gone() -> None:
    assert judge(CASE, {**without(1), 3: "Page 3."}).right
    assert not judge(CASE, {**without(1), 3: CLAUSE[:60]}).right


def test_a_version_cut_to_what_differs_is_kept() -> None:
    kept = {**without(1, 3), 2: "notice of at least 60 days before the end"}
    assert judge(CASE, kept).kept == {"days": (1, 1)}
    lost = {**without(1, 3), 2: "before the end of the month."}
    assert judge(CASE, lost).kept == {"days": (0, 1)}


def test_answers_survive_in_any_text() -> None:
    case = Case(
        items=(
            Item(text="It has 3,559 people.", role="document", kind="correct"),
            Item(text="It has 10,000\npeople.", role="document", kind="misinfo"),
        ),
        answers=("3,559 people", "10,000 people"),
    )
    assert judge(case, dict(enumerate(case.texts))).answers == (2, 2)
    assert judge(case, {1: case.texts[1]}).answers == (1, 2)
    assert not judge(case, {1: case.texts[1]}).right


def test_shares_weigh_cases_by_their_size() -> None:
    found = share([(1, 1), (0, 3)])
    assert found is not None
    assert found["value"] == 0.25
    assert (found["low"], found["high"]) == (0.0, 1.0)  # both drawn twice, with a half chance


def test_no_case_has_no_share() -> None:
    assert share([]) is None
    assert share([(0, 0)]) is None


@given(st.lists(st.tuples(st.integers(0, 3), st.just(3)), min_size=1, max_size=30))
def test_an_interval_holds_its_value(counts: list[tuple[int, int]]) -> None:
    found = share([(float(hits), float(of)) for hits, of in counts])
    assert found is not None
    assert 0 <= found["low"] <= found["value"] + 0.001
    assert found["value"] <= found["high"] + 0.001 <= 1.001


def test_intervals_of_a_proportion_are_those_of_the_normal_approximation() -> None:
    found = share([(1.0, 1.0)] * 80 + [(0.0, 1.0)] * 20)
    assert found is not None
    assert found["low"] == pytest.approx(0.8 - 1.96 * 0.04, abs=0.02)
    assert found["high"] == pytest.approx(0.8 + 1.96 * 0.04, abs=0.02)


def test_the_bootstrap_repeats_itself() -> None:
    rows = [[float(number), 1.0] for number in range(10)]
    assert bootstrap(rows, lambda sums: sums[:, 0]) == bootstrap(rows, lambda sums: sums[:, 0])


def test_accuracy_by_hand() -> None:
    found = accuracy([True, True, False, False], [True, False, True, False])
    assert {name: figure and figure["value"] for name, figure in found.items()} == {
        "precision": 0.5,
        "recall": 0.5,
        "F1": 0.5,
    }
    assert accuracy([False], [True])["precision"] is None


def test_best_precision_at_a_recall() -> None:
    scores = [0.9, 0.8, 0.8, 0.7, 0.0]
    right = [True, True, False, True, True]
    found = best_precision(scores, right, recall=0.25)
    assert found is not None
    assert (found["value"], found["threshold"]) == (1.0, 0.9)
    found = best_precision(scores, right, recall=0.5)  # equal scores are taken together; then .7
    assert found is not None
    assert (found["value"], found["threshold"]) == (0.75, 0.7)
    assert best_precision(scores, right, recall=1.0) is None  # a score of 0 predicts nothing


def test_support_stands_where_its_words_do() -> None:
    support = "Either party may end this agreement with a notice of ninety days in writing."
    assert kept_share(support, f"1. EITHER   party\n{support[13:]} More.") == 1.0
    assert kept_share(support, "") == 0.0
    half = " ".join(support.split()[:7])
    assert kept_share(support, half) == 3 / 10
    assert not stands_in(support, half)


def test_support_of_few_words_must_stand_as_a_whole() -> None:
    assert stands_in("In Delaware.", "It was made in Delaware and signed.")
    assert not stands_in("In Delaware.", "Delaware, in short.")
    assert stands_in("…", "anything")
