"""What SmolLM2 answers in the demo, held against its evidence and against a naive reading."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from ctxguard.demo.chains import Framework, Passage, Setup, builder_for
from ctxguard.demo.corpus import read_licences
from ctxguard.demo.questions import questions
from ctxguard.demo.run import Answer, Comparison, compare, open_model, policy_for, summarise
from ctxguard.verification import Verifier

_CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
"""Not judged: the verdict of such an answer says so."""
_MARKER = re.compile(r"^[ \t]*\d{1,2}\.(?=\s|\Z)", re.MULTILINE)
_NUMBER = re.compile(r"\d[\d.,/:-]*\d|\d")
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][A-Za-z]{2,}")
"""A word with a capital within a sentence, where its first word has none for being a name."""


def novel(answer: str, evidence: str) -> list[str]:
    """Numbers, dates and capitalized names of an answer that stand nowhere in the evidence."""
    prose = _MARKER.sub(" ", _CODE.sub(" ", answer))
    said = [*_NUMBER.findall(prose), *_NAME.findall(" ".join(prose.split()))]
    known = evidence.casefold()
    return [word for word in said if word.casefold() not in known]


def missed(question: str, answer: Answer) -> list[str]:
    """What is new in an answer that was not flagged."""
    assert answer.verification is not None
    if answer.verification.failed:
        return []
    texts = [f"{passage.source}\n{passage.text}" for passage in answer.passages]
    return novel(answer.text, "\n".join([question, *texts]))


def test_the_naive_reading_finds_what_is_new() -> None:
    evidence = "Copyright 2014 the Pallets team"
    assert novel("Held by the Pallets team since 2014.", evidence) == []
    assert novel("1. Held by Noah since 2015-01-02.", evidence) == ["2015-01-02", "Noah"]
    assert novel("Held.\n```\nx = 7\n```", evidence) == []


def test_an_answer_that_is_not_flagged_is_missed() -> None:
    passages = (Passage(text="Copyright 2014 the Pallets team", source="flask"),)
    answer = Answer(
        text="Copyright 2015 the Pallets team",
        passages=passages,
        prompt_tokens=1,
        first_token=1.0,
        seconds=1.0,
        sources=("flask",),
        in_prompt=True,
        verification=Verifier()("Copyright 2014 the Pallets team", [passages[0].text]),
    )
    assert missed("Who?", answer) == ["2015"]
    judged = replace(answer, verification=Verifier()(answer.text, [passages[0].text]))
    assert missed("Who?", judged) == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.langchain-community. is being sunset:DeprecationWarning")
@pytest.mark.parametrize("framework", ["langchain", "llama-index"])
def test_every_new_number_date_and_name_of_the_model_is_flagged(framework: Framework) -> None:
    corpus = read_licences()
    with open_model(llm="smollm2") as model:
        policy = policy_for("lean", model)
        setup = Setup(corpus=corpus, encoder="lsa", endpoint=model.endpoint, policy=policy, top_k=8)
        pair = builder_for(framework)(setup)
        results: list[Comparison] = [
            compare(pair, question, model, number=number)
            for number, question in enumerate(questions(corpus), start=1)
        ]
    answers = [(one.question, side) for one in results for side in (one.plain, one.guarded)]
    answers = [(question, answer) for question, answer in answers if answer.text]
    assert len(answers) >= len(results)
    assert {
        answer.text: found for asked, answer in answers if (found := missed(asked, answer))
    } == {}
    summary = summarise(results)
    assert sum(summary.claims) > 0
    assert summary.flagged == tuple(
        sum(len(answer.verification.failed) for answer in side if answer.verification)
        for side in ([one.plain for one in results], [one.guarded for one in results])
    )
