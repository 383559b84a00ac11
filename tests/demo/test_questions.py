from __future__ import annotations

from ctxguard.demo.corpus import Corpus, Licence
from ctxguard.demo.questions import GENERAL, named_holders, questions


def corpus(**texts: str) -> Corpus:
    return Corpus(
        licences=tuple(
            Licence(distribution=name, version="1", path=f"{name}/LICENSE", text=text)
            for name, text in texts.items()
        )
    )


def test_the_holder_asked_for_is_named_by_its_own_notices() -> None:
    found = corpus(
        acorn="Copyright (c) 2019 Jane Doe",
        birch="Copyright (c) 2019 The Birch developers",
        cedar="Copyright (c) 2017 Cedar Inc.\n\nCopyright (c) 2021 Cedar Inc.",
    )
    assert named_holders(found) == ("cedar", "birch")
    asked = questions(found)
    assert len(asked) == len(GENERAL) + 1
    assert asked[3] == "Who holds the copyright of cedar, and since which year?"


def test_where_no_notice_names_its_distribution_that_question_is_left_out() -> None:
    assert questions(corpus(acorn="Copyright (c) 2019 Jane Doe")) == GENERAL


def test_a_name_is_a_whole_word() -> None:
    assert not named_holders(corpus(art="Copyright (c) 2019 Martha Smart"))
