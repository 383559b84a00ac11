"""Antonyms, found for many words at once as `relate` finds them one by one."""

from __future__ import annotations

import pytest

from ctxguard.text.thesaurus import default_thesaurus


@pytest.mark.parametrize(
    ("one", "other"), [("increased", "decreasing"), ("huge", "small"), ("opened", "closed")]
)
def test_antonyms_in_any_form_are_opposite(one: str, other: str) -> None:
    thesaurus = default_thesaurus()
    assert thesaurus.are_opposite(one, other)
    assert thesaurus.are_opposite(other, one)


@pytest.mark.parametrize(
    ("one", "other"), [("dog", "cat"), ("large", "huge"), ("increase", "rise"), ("qzx", "small")]
)
def test_others_are_not(one: str, other: str) -> None:
    assert not default_thesaurus().are_opposite(one, other)
