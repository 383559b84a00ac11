"""Chat engines and workflows as routes: one conversation, whichever engine answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.chat_engine.types import BaseChatEngine, StreamingAgentChatResponse
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer, VectorMemory
from llama_index.core.tools import RetrieverTool
from llama_index.core.workflow import Context, StartEvent, StopEvent, Workflow, step

import ctxguard
from ctxguard import CoverageWarning, Policy, PolicyError
from ctxguard.routing import Price, Route, Router, Routes
from ctxguard.routing.caller import calling_for
from ctxguard_llamaindex.testing import HashEmbedding, ScriptedLLM, call_tool

guard: Any = ctxguard.guard  # its result has `.ctxguard`, which its type does not say

HARD = "Summarise the whole of it."


class RateLimitError(Exception):
    """As the SDKs raise it."""

    status_code = 429


def limited(_: Sequence[ChatMessage]) -> str:
    raise RateLimitError("too many requests")


def saying(text: str) -> ScriptedLLM:
    return ScriptedLLM(script=lambda _: text)


def to(name: str, heavy: Any, *, mode: Any = "act", **more: Any) -> Policy:
    routes = (
        Route(name="light", price=Price(input=1, output=2)),
        Route(name="heavy", model=heavy, price=Price(input=10, output=20)),
    )
    router = Router(thresholds=(-1.0 if name == "heavy" else 1.0,))
    routing = Routes(routes=routes, router=router, mode=mode, **{"state": "memory", **more})
    return Policy(routing=routing)


def chat_engine(kind: Any, llm: ScriptedLLM, index: VectorStoreIndex, memory: Any = None) -> Any:
    # The default memory keeps an SQLite connection that it never closes.
    memory = memory or ChatMemoryBuffer.from_defaults(token_limit=8000)
    if kind == "simple":
        return SimpleChatEngine.from_defaults(llm=llm, memory=memory)
    return index.as_chat_engine(chat_mode=kind, llm=llm, similarity_top_k=2, memory=memory)


def chat(engine: Any, text: str) -> str:
    return str(engine.chat(text))


def achat(engine: Any, text: str) -> str:
    return str(asyncio.run(engine.achat(text)))


def stream_chat(engine: Any, text: str) -> str:
    return "".join(engine.stream_chat(text).response_gen)


def astream_chat(engine: Any, text: str) -> str:
    async def ask() -> str:
        response = await engine.astream_chat(text)
        return "".join([word async for word in response.async_response_gen()])

    return asyncio.run(ask())


KINDS = ["simple", "context", "condense_plus_context", "condense_question"]
Way = Callable[[Any, str], str]


def said(engine: Any) -> list[str]:
    return [message.content or "" for message in engine.chat_history]


@pytest.mark.parametrize("way", [chat, achat, stream_chat, astream_chat])
@pytest.mark.parametrize("kind", KINDS)
class TestAConversation:
    def test_is_one_whoever_answers(self, kind: str, way: Way, index: VectorStoreIndex) -> None:
        light_llm, heavy_llm = saying("It is light."), saying("It is heavy.")
        light = chat_engine(kind, light_llm, index)
        heavy = chat_engine("simple", heavy_llm, index)
        by_light = guard(light, to("light", heavy))
        by_heavy = guard(light, to("heavy", heavy))

        assert way(by_light, "Hello?") == "It is light."
        assert way(by_heavy, HARD) == "It is heavy."
        whole = ["Hello?", "It is light.", HARD, "It is heavy."]
        assert said(by_light) == said(by_heavy) == said(light) == whole
        assert [message.content for message in heavy_llm.prompts[-1]] == whole[:3]
        assert said(heavy) == []
        assert [call.route for call in by_heavy.ctxguard.last.calls] == ["heavy"]

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_goes_on_with_another_engine(
        self, kind: str, way: Way, index: VectorStoreIndex
    ) -> None:
        light = chat_engine(kind, ScriptedLLM(script=limited), index)
        guarded = guard(light, to("light", chat_engine("context", saying("It is heavy."), index)))
        assert way(guarded, "Hello?") == "It is heavy."
        assert said(guarded) == ["Hello?", "It is heavy."]
        first, second = guarded.ctxguard.last.calls
        assert (first.error, second.reason) == ("RateLimitError", "fallback")

    def test_is_not_moved_in_shadow(self, kind: str, way: Way, index: VectorStoreIndex) -> None:
        light = chat_engine(kind, saying("It is light."), index)
        heavy = chat_engine(kind, saying("It is heavy."), index)
        guarded = guard(light, to("heavy", heavy, mode="shadow"))
        assert way(guarded, HARD) == "It is light."
        assert [call.reason for call in guarded.ctxguard.last.calls] == ["shadow"]


def test_a_history_that_is_handed_in_goes_along(index: VectorStoreIndex) -> None:
    llm = saying("It is heavy.")
    light = chat_engine("simple", saying("It is light."), index)
    guarded = guard(light, to("heavy", chat_engine("simple", llm, index)))
    before = [
        ChatMessage(role="user", content="Hello?"),
        ChatMessage(role="assistant", content="!"),
    ]
    guarded.chat(HARD, chat_history=before)
    assert said(guarded) == ["Hello?", "!", HARD, "It is heavy."]
    guarded.reset()
    guarded.chat(HARD)
    assert said(guarded) == [HARD, "It is heavy."]


def test_a_conversation_with_a_name_keeps_its_engine(index: VectorStoreIndex) -> None:
    light = chat_engine("simple", saying("It is light."), index)
    heavy = chat_engine("simple", saying("It is heavy."), index)
    policy = to("heavy", heavy)
    routing = policy.routing
    assert routing is not None
    guarded = guard(light, policy)
    with calling_for(conversation="c-1"):
        assert chat(guarded, HARD) == "It is heavy."
    held = guarded.ctxguard.guard.dispatcher.conversations.held(f"{routing.space}/c-1")
    assert held.route == "heavy"


@pytest.mark.parametrize("way", [chat, achat])
def test_a_memory_that_cannot_be_read_is_not_put_back(way: Way, index: VectorStoreIndex) -> None:
    """So the engine that failed has the last word: another one would find the question twice."""
    memory = VectorMemory.from_defaults(embed_model=HashEmbedding())
    light = chat_engine("simple", ScriptedLLM(script=limited), index, memory)
    with pytest.warns(CoverageWarning, match="VectorMemory"):
        guarded = guard(light, to("light", chat_engine("simple", saying("It is heavy."), index)))
    with pytest.raises(RateLimitError):
        way(guarded, "Hello?")
    assert [call.route for call in guarded.ctxguard.last.calls] == ["light"]


def test_an_engine_with_a_conversation_of_its_own_is_refused(
    index: VectorStoreIndex, llm: ScriptedLLM
) -> None:
    class Own(BaseChatEngine):
        def chat(self, message: str, chat_history: Any = None) -> Any: ...
        def stream_chat(self, message: str, chat_history: Any = None) -> Any: ...
        async def achat(self, message: str, chat_history: Any = None) -> Any: ...
        async def astream_chat(self, message: str, chat_history: Any = None) -> Any: ...
        def reset(self) -> None: ...
        @property
        def chat_history(self) -> list[ChatMessage]:
            return []

    with pytest.raises(PolicyError, match="'heavy': Own keeps its conversation where no other"):
        guard(chat_engine("simple", llm, index), to("heavy", Own()))
    with pytest.raises(PolicyError, match="'heavy': Own keeps its conversation where no other"):
        guard(Own(), to("heavy", chat_engine("simple", llm, index)))


# -- chat engines that do not write their memory themselves ---------------------------------------


class Unwritten(SimpleChatEngine):
    """Leaves it to its reader to read the stream."""

    def stream_chat(self, message: str, chat_history: Any = None) -> StreamingAgentChatResponse:
        return StreamingAgentChatResponse(
            chat_stream=self._llm.stream_chat([ChatMessage(content=message)]),
            is_writing_to_memory=False,
        )

    async def astream_chat(
        self, message: str, chat_history: Any = None
    ) -> StreamingAgentChatResponse:
        return StreamingAgentChatResponse(
            achat_stream=await self._llm.astream_chat([ChatMessage(content=message)]),
            is_writing_to_memory=False,
        )


@pytest.mark.parametrize("way", [stream_chat, astream_chat])
@pytest.mark.parametrize("fails", [False, True])
def test_a_stream_that_only_its_reader_reads(
    way: Way, fails: bool, index: VectorStoreIndex
) -> None:
    def unwritten(llm: ScriptedLLM) -> Any:
        return Unwritten.from_defaults(llm=llm, memory=ChatMemoryBuffer.from_defaults())

    light = unwritten(ScriptedLLM(script=limited) if fails else saying("It is light."))
    guarded = guard(light, to("light", unwritten(saying("It is heavy."))))
    assert way(guarded, HARD) == ("It is heavy." if fails else "It is light.")
    assert guarded.ctxguard.last.calls[-1].route == ("heavy" if fails else "light")


def test_a_stream_that_takes_its_time(index: VectorStoreIndex) -> None:
    def slow(_: Sequence[ChatMessage]) -> str:
        time.sleep(0.25)
        return "It is light."

    light = chat_engine("simple", ScriptedLLM(script=slow), index)
    guarded = guard(light, to("light", chat_engine("simple", saying("It is heavy."), index)))
    assert stream_chat(guarded, "Hello?") == "It is light."


@pytest.mark.anyio
async def test_a_call_that_is_cancelled_is_over(index: VectorStoreIndex) -> None:
    class Slow(ScriptedLLM):
        async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
            await asyncio.sleep(60)

    light = chat_engine("simple", Slow(), index)
    guarded = guard(light, to("light", chat_engine("simple", saying("It is heavy."), index)))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(guarded.achat("Hello?"), timeout=0.2)
    assert [call.error for call in guarded.ctxguard.last.calls] == ["CancelledError"]


def test_a_history_that_cannot_be_read_is_noted(index: VectorStoreIndex) -> None:
    light = chat_engine("condense_question", saying("It is light."), index)
    guarded = guard(light, to("heavy", chat_engine("simple", saying("It is heavy."), index)))
    with pytest.raises(AttributeError):
        guarded.chat("Hello?", chat_history=["no message"])
    assert "adapter-failed" in {d.code for d in guarded.ctxguard.last.decisions}


# -- workflows -----------------------------------------------------------------------------------


class Asks(Workflow):
    """Finds, and asks its model."""

    def __init__(self, retriever: BaseRetriever, llm: ScriptedLLM) -> None:
        super().__init__(timeout=10)
        self.retriever, self.llm = retriever, llm

    @step
    async def answer(self, ctx: Context, ev: StartEvent) -> StopEvent:
        turns = await ctx.store.get("turns", default=0)
        await ctx.store.set("turns", turns + 1)
        nodes = await self.retriever.aretrieve(ev.question)
        reply = await self.llm.acomplete(f"{ev.question} {len(nodes)}")
        return StopEvent(result=reply.text)


@pytest.fixture
def workflows(index: VectorStoreIndex) -> tuple[Workflow, Workflow]:
    find = index.as_retriever(similarity_top_k=2)
    return Asks(find, saying("It is light.")), Asks(find, saying("It is heavy."))


async def run(guarded: Any, **given: Any) -> Any:
    return await guarded.run(question=HARD, **given)


@pytest.mark.anyio
async def test_the_workflow_of_the_route_runs(workflows: tuple[Workflow, Workflow]) -> None:
    light, heavy = workflows
    assert await run(guard(light, to("light", heavy))) == "It is light."
    guarded = guard(light, to("heavy", heavy))
    assert await run(guarded) == "It is heavy."
    assert [call.route for call in guarded.ctxguard.last.calls] == ["heavy"]
    assert await run(guard(light, to("heavy", heavy, mode="shadow"))) == "It is light."


@pytest.mark.anyio
async def test_a_context_stays_with_its_workflow(workflows: tuple[Workflow, Workflow]) -> None:
    light, heavy = workflows
    guarded = guard(light, to("heavy", heavy))
    context = Context(guarded)
    assert await run(guarded, ctx=context) == "It is light."
    assert await run(guarded, ctx=context) == "It is light."
    assert await context.store.get("turns") == 2
    (decision,) = guarded.ctxguard.last.of("route")
    assert decision.code == "route-unsuitable"
    assert "the Context that is handed in" in decision.reason


@pytest.mark.anyio
async def test_a_workflow_that_fails_lets_its_route_rest(index: VectorStoreIndex) -> None:
    find = index.as_retriever(similarity_top_k=2)
    light = Asks(find, ScriptedLLM(script=limited))
    guarded = guard(light, to("light", Asks(find, saying("It is heavy."))))
    with pytest.raises(RateLimitError):
        await run(guarded)
    assert [call.error for call in guarded.ctxguard.last.calls] == ["RateLimitError"]
    assert await run(guarded) == "It is heavy."


@pytest.mark.anyio
@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")
@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211")
async def test_an_agent_of_the_route_calls_its_own_tools(index: VectorStoreIndex) -> None:
    def agent(answer: str) -> FunctionAgent:
        def script(messages: Sequence[ChatMessage]) -> Any:
            if messages[-1].role == "tool":
                return answer
            return call_tool("search", input="notice")

        tool = RetrieverTool.from_defaults(
            index.as_retriever(similarity_top_k=2), name="search", description="all"
        )
        return FunctionAgent(llm=ScriptedLLM(script=script), tools=[tool])

    guarded = guard(agent("It is light."), to("heavy", agent("It is heavy.")))
    memory = ChatMemoryBuffer.from_defaults(token_limit=8000)
    handler = guarded.run(user_msg=HARD, memory=memory)
    names = [type(event).__name__ async for event in handler.stream_events()]
    assert str(await handler) == "It is heavy."
    assert names.count("ToolCallResult") == 1
    assert [call.route for call in guarded.ctxguard.last.calls] == ["heavy"]
    assert memory.get_all()[0].content == HARD
