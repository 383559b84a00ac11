from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from ctxguard.demo.measures import copies, facts, retained, words


def test_layout_case_and_punctuation_are_no_words() -> None:
    assert words('  THE "Software"\n\n* is provided, as-is.') == "the software is provided as is"


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["a b c", "A  b, c!"], (1,)),  # identical but for layout: the first is the original
        (["b c", "a b c d"], (0,)),  # wholly inside a longer one, whatever its rank
        (["a b c", "b c d"], ()),  # an overlap is no copy
        (["ab", "a b"], ()),  # other words
        (["1. Retain", "2. Retain"], ()),  # a number is a word
        (["x", "x", "x"], (1, 2)),
        ([], ()),
    ],
)
def test_what_a_copy_is(texts: list[str], expected: tuple[int, ...]) -> None:
    assert copies(texts) == expected


@given(st.lists(st.sampled_from(["a", "a b", "b c", "a b c", "d"]), max_size=8))
def test_without_its_copies_a_list_has_none_and_loses_no_words(texts: list[str]) -> None:
    gone = copies(texts)
    left = [text for index, text in enumerate(texts) if index not in gone]
    assert not copies(left)
    assert retained(texts, left).wording == 1.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Copyright (c) 2005-2025, NumPy Developers.", ("notice", "2005 2025 numpy developers")),
        (
            "Copyright © Aymeric Augustin and contributors",
            ("notice", "aymeric augustin and contributors"),
        ),
        ("(c) 2019 by Jane Doe. All rights reserved.", ("notice", "2019 by jane doe")),
        ("Copyright 2007 Pallets", ("notice", "2007 pallets")),
        ("the Apache License, Version 2.0 (the", ("version", "apache 2.0")),
        ("the Mozilla Public License, v. 2.0.", ("version", "mozilla 2.0")),
        ("in 2014, perhaps", ("year", "2014")),
        ("see https://www.apache.org/licenses/.", ("address", "https://www.apache.org/licenses")),
        ("write to jane@example.org", ("address", "jane@example.org")),
    ],
)
def test_what_a_fact_is(text: str, expected: tuple[str, str]) -> None:
    assert expected in facts([text])


@pytest.mark.parametrize(
    "text",
    [
        "must retain the above copyright notice, this list of conditions",
        "the authors or copyright holders be liable",
        "article 12021 of section 3.2014",
    ],
)
def test_what_is_no_fact(text: str) -> None:
    assert not facts([text])


def test_two_years_of_one_holder_are_two_notices() -> None:
    old, new = "Copyright (c) 2020 Ann", "Copyright (c) 2021 Ann"
    assert retained([old, new], [old]).facts_lost == (("notice", "2021 ann"), ("year", "2021"))


def test_nothing_lost_when_everything_is_still_there() -> None:
    texts = ["Copyright (c) 2020 Ann. Permission is granted.", "No warranty of any kind at all."]
    result = retained([*texts, *texts], texts)
    assert (result.copies, result.copies_left) == (2, 0)
    assert (result.facts_lost, result.wording) == ((), 1.0)


def test_what_is_gone_is_counted() -> None:
    result = retained(
        ["one two three four five", "six seven eight nine ten"], ["one two three four five"]
    )
    assert result.wording == 0.5


def test_nothing_retrieved_loses_nothing() -> None:
    assert retained([], []).wording == 1.0
