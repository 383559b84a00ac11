"""What is written around words: links, addresses, the question in quotation marks."""

from __future__ import annotations

import pytest

from ctxguard.verification import Verifier

EVIDENCE = ["The terms of Zope are at https://www.zope.com/x in full."]


@pytest.mark.parametrize(
    "written",
    ["[https://www.zope.com/x](https://www.zope.com/x)", "<https://www.zope.com/x>"],
)
def test_an_address_is_read_in_markdown(written: str) -> None:
    right = f"The terms of Zope are at {written}."
    assert Verifier()(right, EVIDENCE).grounded
    wrong = right.replace("zope.com", "zopes.com")
    assert [one.code for one in Verifier()(wrong, EVIDENCE).findings][:1] == ["identifier-differs"]


def test_the_question_may_be_quoted() -> None:
    question = "What must redistributions of source code retain?"
    evidence = ["Redistributions of source code must retain the notice."]
    answer = f'The answer to the question "{question}" is: the notice.'
    assert Verifier()(answer, evidence, question).grounded
