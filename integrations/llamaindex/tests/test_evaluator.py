"""GroundednessEvaluator as LlamaIndex uses its evaluators."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest
from llama_index.core.base.response.schema import (
    AsyncStreamingResponse,
    PydanticResponse,
    Response,
    StreamingResponse,
)
from llama_index.core.evaluation import BaseEvaluator, BatchEvalRunner
from llama_index.core.schema import NodeWithScore, TextNode
from pydantic import BaseModel

from ctxguard import InputError
from ctxguard.verification import Verifier
from ctxguard_llamaindex import GroundednessEvaluator

pytestmark = pytest.mark.anyio

QUESTION = "What is the fee?"
RIGHT, WRONG, OPEN = "The fee is $500 per month.", "The fee is $600 per month.", "I don't know."
FOREIGN = "Le loyer est pour une année et le bail est dans les mains du locataire."
MORE = "The tenant shall pay the rent to the landlord, and it is not to be refunded by him."
SOURCES = [
    NodeWithScore(node=TextNode(text=text, id_=text[-9:]), score=1.0) for text in (RIGHT, MORE)
]


class Fee(BaseModel):
    statement: str


@pytest.mark.parametrize(
    ("answer", "passing", "scored", "feedback"),
    [
        (RIGHT, True, True, "the evidence supports the claim"),
        (WRONG, False, True, "“The fee is $500 per month.”"),
        (OPEN, True, False, "nothing is claimed"),
        (FOREIGN, None, False, "another language"),
    ],
)
async def test_every_way_gives_one_result(
    answer: str, passing: bool | None, scored: bool, feedback: str
) -> None:
    evaluator: BaseEvaluator = GroundednessEvaluator()
    found = evaluator.evaluate(QUESTION, answer, [RIGHT, MORE])
    assert (found.query, found.response, found.contexts) == (QUESTION, answer, [RIGHT, MORE])
    assert found.passing is passing
    assert (found.score is not None) == scored
    assert feedback in str(found.feedback)
    assert found.invalid_result == (passing is None)
    assert found.invalid_reason == (found.feedback if passing is None else None)
    assert await evaluator.aevaluate(QUESTION, answer, [RIGHT, MORE]) == found
    response = Response(response=answer, source_nodes=SOURCES)
    of_response = await evaluator.aevaluate_response(QUESTION, response)
    assert of_response == evaluator.evaluate_response(QUESTION, response)
    assert (of_response.passing, of_response.score) == (found.passing, found.score)
    assert of_response.contexts == [RIGHT, MORE]


async def test_streams_are_read_to_their_end() -> None:
    async def later() -> AsyncGenerator[str, None]:
        for part in (WRONG[:9], WRONG[9:]):
            yield part

    def now() -> Generator[str, None, None]:
        yield from (WRONG[:9], WRONG[9:])

    evaluator = GroundednessEvaluator()
    streamed = StreamingResponse(response_gen=now(), source_nodes=SOURCES)
    assert evaluator.evaluate_response(QUESTION, streamed).response == WRONG
    waiting = AsyncStreamingResponse(response_gen=later(), source_nodes=SOURCES)
    with pytest.raises(InputError, match="aevaluate_response"):
        evaluator.evaluate_response(QUESTION, waiting)
    found = await evaluator.aevaluate_response(QUESTION, waiting)
    assert (found.response, found.passing) == (WRONG, False)


def test_structured_and_empty_responses() -> None:
    evaluator = GroundednessEvaluator()
    structured = PydanticResponse(response=Fee(statement=WRONG), source_nodes=SOURCES)
    assert (
        evaluator.evaluate_response(QUESTION, structured).response
        == Fee(statement=WRONG).model_dump_json()
    )
    empty = evaluator.evaluate_response(QUESTION, Response(response=None, source_nodes=SOURCES))
    assert (empty.response, empty.passing, empty.score) == ("", True, None)


async def test_what_is_missing_is_named() -> None:
    evaluator = GroundednessEvaluator()
    with pytest.raises(InputError, match="contexts"):
        evaluator.evaluate(QUESTION, RIGHT)
    with pytest.raises(InputError, match="response"):
        await evaluator.aevaluate(QUESTION, None, [RIGHT])
    with pytest.raises(InputError, match="got NoneType"):
        evaluator.evaluate_response(QUESTION)


# LlamaIndex's runner calls a function that LlamaIndex has deprecated.
@pytest.mark.filterwarnings("ignore:asyncio_module:DeprecationWarning")
async def test_in_the_batch_runner_beside_others() -> None:
    runner = BatchEvalRunner(
        {
            "groundedness": GroundednessEvaluator(),
            "strict": GroundednessEvaluator(Verifier(threshold=1.0)),
        },
        workers=2,
    )
    responses: Any = [Response(response=one, source_nodes=SOURCES) for one in (RIGHT, WRONG, OPEN)]
    found = await runner.aevaluate_responses([QUESTION] * 3, responses)
    assert [one.passing for one in found["groundedness"]] == [True, False, True]
    texts = await runner.aevaluate_response_strs(
        [QUESTION] * 3, [RIGHT, WRONG, OPEN], [[RIGHT]] * 3
    )
    assert [one.passing for one in texts["strict"]] == [True, False, True]
    assert [one.score is None for one in texts["groundedness"]] == [False, False, True]


def test_there_are_no_prompts() -> None:
    evaluator = GroundednessEvaluator()
    assert evaluator.get_prompts() == {}
    evaluator.update_prompts({})
    assert evaluator.evaluate(QUESTION, RIGHT, [RIGHT]).passing
