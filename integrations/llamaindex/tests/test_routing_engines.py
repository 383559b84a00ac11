"""Query engines as routes: a question goes to the engine of its route, streams and failures too."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.base.response.schema import StreamingResponse
from llama_index.core.indices.query.query_transform.base import IdentityQueryTransform
from llama_index.core.llms import ChatMessage
from llama_index.core.query_engine import CustomQueryEngine, RouterQueryEngine, TransformQueryEngine
from llama_index.core.schema import QueryBundle
from llama_index.core.selectors import LLMSingleSelector
from llama_index.core.tools import QueryEngineTool

import ctxguard
from ctxguard import Policy, SpendLimitError
from ctxguard.routing import Route, Router, Routes
from ctxguard.routing.state import SpendLimit
from ctxguard_llamaindex.testing import ScriptedLLM
from integrations.llamaindex.tests.routed import (
    QUESTION,
    WAYS,
    RateLimitError,
    Way,
    aquery,
    broken,
    clauses,
    engine,
    limited,
    query,
    saying,
    to,
)

WORD_BY_WORD = "simple_summarize"
"""The default mode hands the whole answer on at once in older releases."""
guard: Any = ctxguard.guard  # its result has `.ctxguard`, which its type does not say


@pytest.fixture
def index() -> VectorStoreIndex:
    return clauses()


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("way", WAYS)
class TestTheEngineOfTheRoute:
    def test_answers(self, way: Way, streaming: bool, index: VectorStoreIndex) -> None:
        light = engine(index, saying("It is light."), streaming=streaming)
        heavy = engine(index, saying("It is heavy."), streaming=streaming)
        assert way(guard(light, to("light", heavy))) == ("It is light.", 2)
        guarded = guard(light, to("heavy", heavy))
        assert way(guarded) == ("It is heavy.", 12)
        (call,) = guarded.ctxguard.last.calls
        assert (call.route, call.reason, call.error) == ("heavy", "routed", "")
        assert [d.code for d in guarded.ctxguard.last.of("route")] == ["heavier"]

    def test_is_only_told_in_shadow(
        self, way: Way, streaming: bool, index: VectorStoreIndex
    ) -> None:
        light = engine(index, saying("It is light."), streaming=streaming)
        heavy = engine(index, saying("It is heavy."), streaming=streaming)
        guarded = guard(light, to("heavy", heavy, mode="shadow"))
        assert way(guarded) == ("It is light.", 2)
        (call,) = guarded.ctxguard.last.calls
        assert (call.route, call.reason) == ("configured", "shadow")
        assert [d.code for d in guarded.ctxguard.last.of("route")] == ["shadow"]

    def test_gives_way_where_it_fails(
        self, way: Way, streaming: bool, index: VectorStoreIndex
    ) -> None:
        light = engine(index, limited, streaming=streaming)
        heavy = engine(index, saying("It is heavy."), streaming=streaming)
        guarded = guard(light, to("light", heavy))
        assert way(guarded) == ("It is heavy.", 12)
        first, second = guarded.ctxguard.last.calls
        assert (first.route, first.error, first.cost) == ("light", "RateLimitError", 0)
        assert (second.route, second.reason, second.error) == ("heavy", "fallback", "")
        way(guarded)
        assert [call.route for call in guarded.ctxguard.last.calls] == ["heavy"]  # the light rests

    def test_fails_alone_where_no_other_may_do_better(
        self, way: Way, streaming: bool, index: VectorStoreIndex
    ) -> None:
        light = engine(index, broken, streaming=streaming)
        guarded = guard(light, to("light", engine(index, saying("It is heavy."))))
        with pytest.raises(RuntimeError, match="not on any engine"):
            way(guarded)
        assert [call.error for call in guarded.ctxguard.last.calls] == ["RuntimeError"]
        assert guarded.ctxguard.last.error

    def test_is_the_same_for_everybody(
        self, way: Way, streaming: bool, index: VectorStoreIndex
    ) -> None:
        light = engine(index, saying("It is light."), streaming=streaming)
        heavy = engine(index, saying("It is heavy."), streaming=streaming)
        handle = guard(light, to("heavy", heavy), scope="process").ctxguard
        assert way(light) == ("It is heavy.", 12)
        assert way(heavy) == ("It is heavy.", 2)  # by itself it is nobody's route
        handle.unguard()
        assert way(light) == ("It is light.", 2)
        assert not [name for name in vars(light) if "ctxguard" in name]


def test_a_stream_that_breaks_after_its_first_words_is_not_begun_anew(
    index: VectorStoreIndex,
) -> None:
    class Breaking(ScriptedLLM):
        def stream_complete(self, prompt: str, *args: Any, **kwargs: Any) -> Any:
            yield from self._half(super().stream_complete(prompt, *args, **kwargs))

        def stream_chat(self, messages: Any, **kwargs: Any) -> Any:
            yield from self._half(super().stream_chat(messages, **kwargs))

        def _half(self, parts: Iterator[Any]) -> Iterator[Any]:
            yield next(parts)
            raise RateLimitError("gone")

    light = index.as_query_engine(
        llm=Breaking(script=saying("It is light.")), streaming=True, response_mode=WORD_BY_WORD
    )
    guarded = guard(light, to("light", engine(index, saying("It is heavy."))))
    words = iter(guarded.query(QUESTION).response_gen)
    assert next(words) == "It "
    with pytest.raises(RateLimitError):
        list(words)
    assert [call.error for call in guarded.ctxguard.last.calls] == ["RateLimitError"]


def test_a_stream_that_is_left_early_is_counted(index: VectorStoreIndex) -> None:
    heavy = engine(index, saying("It is heavy."), streaming=True, response_mode=WORD_BY_WORD)
    guarded = guard(engine(index, saying("It is light.")), to("heavy", heavy))
    words = guarded.query(QUESTION).response_gen
    assert next(words) == "It "
    words.close()
    assert [call.route for call in guarded.ctxguard.last.calls] == ["heavy"]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_answer_from_given_nodes(asynchronous: bool, index: VectorStoreIndex) -> None:
    heavy = engine(index, saying("It is heavy."))
    guarded = guard(engine(index, saying("It is light.")), to("heavy", heavy))
    nodes = guarded.retrieve(QUESTION)
    assert len(nodes) == 12  # of its own index, as deep as the route says
    if asynchronous:
        answer = asyncio.run(guarded.asynthesize(QueryBundle(QUESTION), nodes))
    else:
        answer = guarded.synthesize(QueryBundle(QUESTION), nodes)
    assert str(answer) == "It is heavy."


# -- engines inside of engines -------------------------------------------------------------------


def test_engines_inside_of_the_chosen_one_are_not_routed(index: VectorStoreIndex) -> None:
    def choosing(messages: Sequence[ChatMessage]) -> str:
        if "choices are given below" in (messages[-1].content or ""):
            return '[{"choice": 1, "reason": "it fits"}]'
        return "It is the router's."

    llm = ScriptedLLM(script=choosing)
    tool = QueryEngineTool.from_defaults(index.as_query_engine(llm=llm), description="clauses")
    router = RouterQueryEngine.from_defaults(
        [tool], llm=llm, selector=LLMSingleSelector.from_defaults(llm=llm)
    )
    heavy = engine(index, saying("It is heavy."))
    guarded = guard(router, to("light", heavy))
    assert str(guarded.query(QUESTION)) == "It is the router's."
    assert [call.route for call in guarded.ctxguard.last.calls] == ["light"]
    assert query(guard(router, to("heavy", heavy))) == ("It is heavy.", 12)
    assert str(
        guard(engine(index, saying("It is light.")), to("heavy", router)).query(QUESTION)
    ) == ("It is the router's.")


def test_an_engine_that_is_taken_out_is_not_routed(index: VectorStoreIndex) -> None:
    """The heavy engine stands in for the whole, not for a part of it."""
    inner = engine(index, saying("It is light."))
    outer = TransformQueryEngine(inner, IdentityQueryTransform())
    guarded = guard(outer, to("heavy", engine(index, saying("It is heavy."))))
    assert str(guarded.query(QUESTION)) == "It is heavy."
    assert str(guarded._query_engine.query(QUESTION)) == "It is light."
    assert guarded.ctxguard.last.calls == ()


def test_a_guard_in_place_gives_the_routes_back(index: VectorStoreIndex) -> None:
    light = engine(index, saying("It is light."))
    first = guard(light, to("heavy", engine(index, saying("It is heavy."))))
    second = guard(
        first, to("heavy", engine(index, saying("It is another's."))), scope="process"
    ).ctxguard
    assert query(first)[0] == "It is another's."
    second.unguard()
    assert query(first)[0] == "It is heavy."


# -- verification --------------------------------------------------------------------------------


def verifying(level: Any, heavy: Any) -> Policy:
    """The heavy route verifies, the light one does not."""
    routes = (Route(name="light"), Route(name="heavy", model=heavy, verification=level))
    return Policy(routing=Routes(routes=routes, router=Router(thresholds=(-1.0,)), state="memory"))


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("level", ["flag", "repair"])
def test_the_answer_of_an_engine_is_verified_as_its_route_says(
    level: Any, asynchronous: bool, index: VectorStoreIndex
) -> None:
    way = aquery if asynchronous else query
    heavy = engine(index, saying("The fee is 99 euros."), similarity_top_k=12)
    guarded = guard(engine(index, saying("It is light.")), verifying(level, heavy))
    way(guarded)
    ledger = guarded.ctxguard.last
    assert ledger.verifications
    assert not ledger.verifications[0].grounded
    reasons = [call.reason for call in ledger.calls]
    assert reasons.count("routed") == 1
    assert set(reasons) == ({"routed"} if level == "flag" else {"routed", "repair"})
    assert {call.route for call in ledger.calls} == {"heavy"}


# -- budgets -------------------------------------------------------------------------------------


def test_what_all_models_of_an_engine_used_adds_up(index: VectorStoreIndex) -> None:
    """Of each as its provider says; where one does not, by characters."""
    asked: list[int] = []

    class Telling(ScriptedLLM):
        def chat(self, messages: Any, **kwargs: Any) -> Any:
            asked.append(1)
            reply = super().chat(messages, **kwargs)
            reply.raw = {"usage": {"prompt_tokens": 100, "completion_tokens": 10}}
            return reply

    light = engine(index, saying("It is light."))
    guarded = guard(light, to("light", engine(index, saying("It is heavy."))))
    guarded.query(QUESTION)
    (call,) = guarded.ctxguard.last.calls
    assert call.input > 50
    assert (call.output, call.measured) == (len("It is light.") // 4, False)

    heavy = index.as_query_engine(llm=Telling(model="gpt-4o"), response_mode="accumulate")
    guarded = guard(light, to("heavy", heavy))
    guarded.query(QUESTION)
    (call,) = guarded.ctxguard.last.calls
    assert len(asked) == 12  # one for each node
    assert (call.input, call.output, call.measured) == (1200, 120, True)
    assert call.cost == pytest.approx((1200 * 10 + 120 * 20) / 1e6)
    assert call.model == "gpt-4o"


def test_an_engine_that_asks_no_model_costs_nothing(index: VectorStoreIndex) -> None:
    guarded = guard(
        engine(index, saying(""), response_mode="no_text"), to("light", engine(index, saying("")))
    )
    guarded.query(QUESTION)
    assert [(call.input, call.output, call.cost) for call in guarded.ctxguard.last.calls] == [
        (0, 0, 0)
    ]


def test_a_spend_limit_holds(index: VectorStoreIndex) -> None:
    """What a call may cost at most, a whole window, is set aside; what it did cost is counted."""
    light, heavy = engine(index, saying("It is light.")), engine(index, saying("It is heavy."))
    limit = SpendLimit(usd=0.02, per="day")
    guarded = guard(light, to("heavy", heavy, limits=(limit,)))

    def spend() -> float:
        guarded.query(QUESTION)
        ledger = guarded.ctxguard.last
        assert "over-limit" in {d.code for d in ledger.decisions}  # the heavy one may cost more
        assert [call.route for call in ledger.calls] == ["light"]
        return ledger.calls[0].cost

    spent = [spend() for _ in range(5)]
    with pytest.raises(SpendLimitError):
        spent.extend(spend() for _ in range(100))
    assert len(spent) >= 5
    assert 0 < sum(spent) <= limit.usd


# -- streams of other kinds ----------------------------------------------------------------------


class Streaming(CustomQueryEngine):
    """Gives a stream whichever way it is asked, with one word or none."""

    words: list[str]

    def custom_query(self, query_str: str) -> Any:
        return StreamingResponse(iter_of(self.words))


def iter_of(words: list[str]) -> Generator[str, None, None]:
    yield from words


@pytest.mark.parametrize("words", [[], ["It "], ["It ", "is ", "heavy."]])
def test_a_synchronous_stream_of_an_asynchronous_method(
    words: list[str], index: VectorStoreIndex
) -> None:
    guarded = guard(engine(index, saying("It is light.")), to("heavy", Streaming(words=words)))
    assert list(asyncio.run(guarded.aquery(QUESTION)).response_gen) == words
    assert list(guarded.query(QUESTION).response_gen) == words
    assert [call.route for call in guarded.ctxguard.last.calls] == ["heavy"]
