"""Answers of guarded objects: held against the evidence of their run, put right, reported once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex, get_response_synthesizer
from llama_index.core.indices.prompt_helper import PromptHelper
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.postprocessor import LLMRerank
from llama_index.core.response_synthesizers import ResponseMode
from llama_index.core.schema import NodeWithScore, TextNode
from pydantic import BaseModel

import ctxguard
from ctxguard import CoverageWarning, Policy, UngroundedAnswerError
from ctxguard.verification import Ask, Reply, Verify
from ctxguard_llamaindex import CtxGuardPostprocessor
from ctxguard_llamaindex.testing import ScriptedLLM, call_tool

guard: Any = ctxguard.guard  # its result has `.ctxguard`, which its type does not say

NOTICE = "The notice period is thirty days."
FEE = "The fee is $500 per month."
WRONG = "The fee is $600 per month."
DRAFT = f"{NOTICE} {WRONG}"
RIGHT = f"{NOTICE} {FEE}"
QUESTION = "What is the fee, and the notice period?"


def is_repair(messages: Sequence[ChatMessage]) -> bool:
    return any("BEGIN" in (message.content or "") for message in messages)


def model(repaired: str = FEE, draft: str = DRAFT) -> ScriptedLLM:
    """Answers with a draft; when it is asked to correct its answer, with something else."""
    return ScriptedLLM(script=lambda messages: repaired if is_repair(messages) else draft)


@pytest.fixture
def index() -> VectorStoreIndex:
    return VectorStoreIndex([TextNode(id_="n", text=NOTICE), TextNode(id_="f", text=FEE)])


def policy(mode: Any = "after", on_fail: Any = "flag", **more: Any) -> Policy:
    return Policy(verification=Verify(mode=mode, on_fail=on_fail, **more))


def codes(guarded: Any) -> list[tuple[str, str]]:
    (ledger,) = guarded.ctxguard.ledgers
    return [(one.action, one.code) for one in ledger.decisions if one.stage == "verify"]


# -- query engines and chat engines ----------------------------------------------------------------


def query(engine: Any) -> str:
    return str(engine.query(QUESTION))


def aquery(engine: Any) -> str:
    async def ask() -> str:
        return str(await engine.aquery(QUESTION))

    return asyncio.run(ask())


def query_stream(engine: Any) -> str:
    return "".join(engine.query(QUESTION).response_gen)


def aquery_stream(engine: Any) -> str:
    async def ask() -> str:
        response = await engine.aquery(QUESTION)
        return "".join([token async for token in response.async_response_gen()])

    return asyncio.run(ask())


def chat(engine: Any) -> str:
    return str(engine.chat(QUESTION))


def achat(engine: Any) -> str:
    async def ask() -> str:
        return str(await engine.achat(QUESTION))

    return asyncio.run(ask())


def stream_chat(engine: Any) -> str:
    return "".join(engine.stream_chat(QUESTION).response_gen)


def astream_chat(engine: Any) -> str:
    async def ask() -> str:
        response = await engine.astream_chat(QUESTION)
        return "".join([token async for token in response.async_response_gen()])

    return asyncio.run(ask())


def engine_of(index: VectorStoreIndex, llm: ScriptedLLM, way: Any, **options: Any) -> Any:
    if way in CHATS:
        memory = ChatMemoryBuffer.from_defaults(token_limit=8000)
        options |= {"chat_mode": "context", "memory": memory}
        return index.as_chat_engine(llm=llm, **options)
    return index.as_query_engine(llm=llm, streaming=way in STREAMS, **options)


CHATS = (chat, achat, stream_chat, astream_chat)
STREAMS = (query_stream, aquery_stream, stream_chat, astream_chat)
WAYS = (query, aquery, query_stream, aquery_stream, *CHATS)


@pytest.mark.parametrize("way", WAYS)
def test_a_wrong_answer_is_flagged_and_stays(way: Any, index: Any) -> None:
    guarded = guard(engine_of(index, model(), way), policy())
    assert way(guarded) == DRAFT
    assert codes(guarded) == [("flag", "amount-differs")]
    (verification,) = guarded.ctxguard.last.verifications
    assert [claim.label for claim in verification.claims] == ["supported", "contradicted"]


@pytest.mark.parametrize("way", WAYS)
def test_a_gate_lets_a_repaired_answer_through(way: Any, index: Any) -> None:
    guarded = guard(engine_of(index, model(), way), policy("gate", "repair"))
    assert way(guarded) == RIGHT
    assert ("rewrite", "grounded") in codes(guarded)
    assert guarded.ctxguard.last.verification.grounded


@pytest.mark.parametrize("way", WAYS)
def test_a_gate_that_flags_withholds_what_failed(way: Any, index: Any) -> None:
    guarded = guard(engine_of(index, model(draft=f"{WRONG} {NOTICE}"), way), policy("gate"))
    assert way(guarded).strip() == NOTICE
    assert ("drop", "withheld") in codes(guarded)


@pytest.mark.parametrize("way", [way for way in WAYS if way not in STREAMS])
@pytest.mark.parametrize("mode", ["after", "annotate"])
def test_whole_answers_are_repaired_in_every_mode(mode: str, way: Any, index: Any) -> None:
    guarded = guard(engine_of(index, model(), way), policy(mode, "repair"))
    assert way(guarded) == RIGHT
    assert len(guarded.ctxguard.last.verifications) == 2  # the draft's, and the answer's


@pytest.mark.parametrize("way", STREAMS)
@pytest.mark.parametrize("mode", ["after", "annotate"])
def test_who_has_a_wrong_answer_is_told_of_a_better_one(mode: str, way: Any, index: Any) -> None:
    guarded = guard(engine_of(index, model(), way), policy(mode, "repair"))
    assert way(guarded) == DRAFT
    assert ("flag", "shown-already") in codes(guarded)
    assert not guarded.ctxguard.last.verification.grounded


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("mode", ["after", "gate", "annotate"])
@pytest.mark.parametrize("way", WAYS)
def test_who_asks_is_told_of_an_answer_that_stays_wrong(mode: str, way: Any, index: Any) -> None:
    guarded = guard(engine_of(index, model(WRONG), way), policy(mode, "raise"))
    with pytest.raises(UngroundedAnswerError, match="The fee is"):
        way(guarded)


@pytest.mark.parametrize("way", [query, aquery, chat, achat])
def test_an_answer_abstains_from_what_nobody_knows(way: Any, index: Any) -> None:
    guarded = guard(engine_of(index, model(WRONG), way), policy("gate", "abstain"))
    answer = way(guarded)
    assert answer.startswith(NOTICE)
    assert "600" not in answer
    assert answer.endswith(Verify().abstention)


@pytest.mark.parametrize("way", [chat, achat, stream_chat, astream_chat])
def test_the_history_has_what_was_shown(way: Any, index: Any) -> None:
    guarded = guard(engine_of(index, model(), way), policy("gate", "repair"))
    way(guarded)
    assert [message.content for message in guarded.chat_history] == [QUESTION, RIGHT]


def test_without_verification_nothing_is_judged(index: Any) -> None:
    guarded = guard(engine_of(index, model(), query))
    assert query(guarded) == DRAFT
    assert codes(guarded) == []
    assert guarded.ctxguard.last.verifications == ()


# -- synthesizers ----------------------------------------------------------------------------------


def refining(messages: Sequence[ChatMessage]) -> str:
    """A first answer that is wrong, and a last one that is right."""
    return RIGHT if WRONG in (messages[-1].content or "") else WRONG


@pytest.mark.parametrize("way", [query, aquery, query_stream, aquery_stream])
@pytest.mark.parametrize("mode", [ResponseMode.REFINE, ResponseMode.COMPACT])
def test_only_the_answer_of_a_synthesizer_is_verified(mode: Any, way: Any, index: Any) -> None:
    llm = ScriptedLLM(script=refining if mode == ResponseMode.REFINE else lambda _: RIGHT)
    engine = engine_of(index, llm, way, response_mode=mode)
    guarded = guard(engine, policy("gate", "raise"))
    assert way(guarded) == RIGHT  # though a first answer, that nobody is shown, was wrong
    assert len(guarded.ctxguard.last.verifications) == 1
    assert len(llm.prompts) == (2 if mode == ResponseMode.REFINE else 1)


@pytest.mark.parametrize("way", [query, aquery])
def test_a_summary_is_verified_as_a_whole(way: Any) -> None:
    parts = [
        " ".join(
            f"Clause {100 * number + at} is about subject {7 * at + number}." for at in range(80)
        )
        for number in range(6)
    ]
    nodes = [TextNode(text=part) for part in parts]
    index = VectorStoreIndex([*nodes, TextNode(text=NOTICE), TextNode(text=FEE)])
    llm = ScriptedLLM(context_window=2000, script=lambda _: RIGHT)
    # Its own, because Settings keeps the prompt helper of whatever ran before.
    helper = PromptHelper(context_window=2000, num_output=256)
    synthesizer = get_response_synthesizer(
        llm=llm, response_mode=ResponseMode.TREE_SUMMARIZE, prompt_helper=helper
    )
    options: dict[str, Any] = {"similarity_top_k": 8, "response_synthesizer": synthesizer}
    guarded = guard(engine_of(index, llm, way, **options), policy())
    assert way(guarded) == RIGHT
    assert len(llm.prompts) > 2
    assert len(guarded.ctxguard.last.verifications) == 1


def test_a_synthesizer_of_ones_own_is_verified_by_the_nodes_that_it_is_given() -> None:
    guarded = guard(get_response_synthesizer(llm=model()), policy("gate", "repair"))
    nodes = [NodeWithScore(node=TextNode(text=text)) for text in (NOTICE, FEE)]
    assert str(guarded.synthesize(QUESTION, nodes)) == RIGHT


@pytest.mark.parametrize("mode", ["no_text", "context_only"])
def test_what_no_model_said_is_no_answer(mode: str, index: Any) -> None:
    guarded = guard(engine_of(index, model(), query, response_mode=mode), policy())
    query(guarded)
    assert guarded.ctxguard.last.verifications == ()


@pytest.mark.parametrize("way", [query, aquery])
def test_what_a_reranker_is_told_is_no_answer(way: Any, index: Any) -> None:
    guarded = guard(reranked(index, way), policy("after", "raise"))
    assert way(guarded) == RIGHT
    assert len(guarded.ctxguard.last.verifications) == 1


@pytest.mark.parametrize("way", [query, aquery])
def test_nor_is_it_in_a_block(way: Any, index: Any) -> None:
    engine = reranked(index, way)
    with ctxguard.guarded(policy("after", "raise")) as block:
        assert way(engine) == RIGHT
    (ledger,) = block.ledgers
    assert len(ledger.verifications) == 1
    with ctxguard.guarded() as block:
        assert way(engine) == RIGHT
    (ledger,) = block.ledgers
    assert ledger.verifications == ()


@pytest.mark.parametrize("way", [chat, achat, stream_chat, astream_chat])
@pytest.mark.parametrize("mode", ["condense_question", "condense_plus_context"])
def test_a_question_that_is_put_anew_is_no_answer(mode: str, way: Any, index: Any) -> None:
    llm = ScriptedLLM(script=lambda _: RIGHT)
    history = [ChatMessage(content="Hello"), ChatMessage(role="assistant", content=WRONG)]
    memory = ChatMemoryBuffer.from_defaults(history, token_limit=8000)
    guarded = guard(
        index.as_chat_engine(chat_mode=mode, llm=llm, memory=memory), policy("after", "raise")
    )
    assert way(guarded) == RIGHT
    assert len(llm.prompts) == 2
    assert codes(guarded) == []
    assert len(guarded.ctxguard.last.verifications) == 1


def reranked(index: Any, way: Any) -> Any:
    """An engine whose reranker asks a model, while there is evidence already."""

    def script(messages: Sequence[ChatMessage]) -> str:
        ranks = "Doc: 1, Relevance: 9\nDoc: 2, Relevance: 8"
        return ranks if "Relevance" in (messages[-1].content or "") else RIGHT

    llm = ScriptedLLM(script=script)
    return engine_of(index, llm, way, node_postprocessors=[LLMRerank(llm=llm, top_n=2)])


# -- each answer once ------------------------------------------------------------------------------


def test_a_block_verifies_each_answer_once(index: Any) -> None:
    engine = engine_of(index, model(), query)
    with ctxguard.guarded(policy("gate", "repair")) as block:
        assert query(engine) == RIGHT
    (ledger,) = block.ledgers
    assert [one.answer for one in ledger.verifications] == [DRAFT, RIGHT]
    assert query(engine) == DRAFT


def test_a_guard_in_place_verifies_each_answer_once(index: Any) -> None:
    engine = engine_of(index, model(), query)
    guarded = guard(engine, policy("gate", "repair"), scope="process")
    assert query(engine) == RIGHT
    assert len(guarded.ctxguard.last.verifications) == 2
    guarded.ctxguard.unguard()
    assert query(engine) == DRAFT


def test_a_guarded_engine_in_a_block_is_verified_once(index: Any) -> None:
    guarded = guard(engine_of(index, model(), query), policy("gate", "repair"))
    with ctxguard.guarded(policy()) as block:
        assert query(guarded) == RIGHT
    assert len(guarded.ctxguard.last.verifications) == 2
    (around,) = block.ledgers  # which has every record of the runs inside
    assert around.verifications == guarded.ctxguard.last.verifications


def test_a_postprocessor_says_that_it_sees_no_answers() -> None:
    with pytest.warns(CoverageWarning, match="sees no answers") as caught:
        CtxGuardPostprocessor(policy=policy())
    assert len(caught) == 1
    assert caught[0].filename == __file__


# -- what a repair asks ----------------------------------------------------------------------------


@pytest.mark.parametrize("way", [query, aquery, query_stream, aquery_stream])
def test_the_heavy_model_is_asked_when_nothing_helped(way: Any, index: Any) -> None:
    heavy = ScriptedLLM(script=lambda _: FEE)
    guarded = guard(engine_of(index, model(WRONG), way), policy("gate", "escalate", heavy=heavy))
    assert way(guarded) == RIGHT
    assert ("escalate", "grounded") in codes(guarded)
    assert len(heavy.prompts) == 1


@pytest.mark.parametrize("way", [query, aquery])
def test_a_function_may_be_the_heavy_model(way: Any, index: Any) -> None:
    asked: list[Ask] = []

    def heavy(ask: Ask) -> Reply:
        asked.append(ask)
        return Reply(text=FEE, tokens=7)

    guarded = guard(engine_of(index, model(WRONG), way), policy("gate", "escalate", heavy=heavy))
    assert way(guarded) == RIGHT
    assert [ask.route for ask in asked] == ["heavy"]


def test_an_async_function_answers_only_async_calls(index: Any) -> None:
    async def heavy(ask: Ask) -> str:
        await asyncio.sleep(0)
        return FEE

    chosen = policy("gate", "escalate", heavy=heavy)
    assert aquery(guard(engine_of(index, model(WRONG), aquery), chosen)) == RIGHT
    guarded = guard(engine_of(index, model(WRONG), query), chosen)
    assert query(guarded).strip() == NOTICE
    assert ("error", "failed") in codes(guarded)


def test_something_else_as_the_heavy_model_is_an_error_in_the_ledger(index: Any) -> None:
    guarded = guard(engine_of(index, model(WRONG), query), policy("gate", "escalate", heavy=5))
    assert query(guarded).strip() == NOTICE
    errors = [one.reason for one in guarded.ctxguard.last.decisions if one.action == "error"]
    assert any("Verify.heavy: expected a model of LlamaIndex" in reason for reason in errors)


@pytest.mark.parametrize("way", [query, aquery])
def test_a_repair_looks_for_more_evidence(way: Any) -> None:
    """The question finds one node; the claim that failed finds the other."""
    notice = "The notice period for ending the agreement is thirty days."
    index = VectorStoreIndex([TextNode(id_="n", text=notice), TextNode(id_="f", text=FEE)])
    llm = model(repaired=FEE, draft=FEE)
    engine = index.as_query_engine(llm=llm, similarity_top_k=1)
    question = "What is the notice period for ending the agreement?"
    guarded = guard(engine, policy("after", "repair"))
    if way is query:
        answer = str(guarded.query(question))
    else:

        async def ask() -> str:
            return str(await guarded.aquery(question))

        answer = asyncio.run(ask())
    assert answer == FEE
    assert guarded.ctxguard.last.verification.grounded
    assert len(guarded.ctxguard.ledgers) == 1


# -- structured output -----------------------------------------------------------------------------


class Terms(BaseModel):
    """What was agreed."""

    fee: str


def test_structured_output_is_checked_and_stays(index: Any) -> None:
    llm = ScriptedLLM(script=lambda _: call_tool("Terms", fee="The fee is $600 per month."))
    engine = index.as_query_engine(llm=llm, output_cls=Terms)
    guarded = guard(engine, policy("after", "repair"))
    response = guarded.query(QUESTION)
    assert response.response == Terms(fee="The fee is $600 per month.")
    assert not guarded.ctxguard.last.verification.grounded
    assert len(guarded.ctxguard.last.verifications) == 1


@pytest.mark.parametrize("way", [query, aquery])
def test_a_structured_model_is_checked_where_its_object_is_made(way: Any, index: Any) -> None:
    llm = ScriptedLLM(script=lambda _: call_tool("Terms", fee="$600 per month"))
    engine = index.as_query_engine(llm=llm.as_structured_llm(Terms))
    with pytest.raises(UngroundedAnswerError):
        way(guard(engine, policy("after", "raise")))
