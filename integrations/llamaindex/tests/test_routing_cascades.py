"""Answers on routes: verified as the route says, put right by its model, taken to a heavier one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import LogProb
from llama_index.core.chat_engine import CondensePlusContextChatEngine
from llama_index.core.chat_engine.types import ChatMode
from llama_index.core.indices.prompt_helper import PromptHelper
from llama_index.core.llms import ChatMessage, ChatResponse
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.response_synthesizers import ResponseMode
from llama_index.core.schema import TextNode
from llama_index.core.tools import QueryEngineTool

import ctxguard
from ctxguard import Ledger, Policy
from ctxguard.routing import Cascade, Price, Route, Router, Routes, SpendLimit
from ctxguard.verification import Verify
from ctxguard_llamaindex.testing import ScriptedLLM, call_tool
from tests.openai_server import ScriptedServer

guard: Any = ctxguard.guard  # its result has `.ctxguard`, which its type does not say

NOTICE = "The notice period is thirty days."
FEE = "The fee is $500 per month."
WRONG = "The fee is $600 per month."
DRAFT, RIGHT = f"{NOTICE} {WRONG}", f"{NOTICE} {FEE}"
QUESTION = "What is the fee, and the notice period?"
CHEAP, MEDIUM, DEAR = Price(input=1, output=2), Price(input=5, output=9), Price(input=10, output=20)


class Limited(ScriptedLLM):
    """Has a field for the length of its answers, as real models do."""

    max_tokens: int | None = None


def model(draft: str = DRAFT, repaired: str = FEE) -> ScriptedLLM:
    """Answers with a draft; when it is asked to correct an answer, with something else."""

    def script(messages: Sequence[ChatMessage]) -> str:
        corrects = any("BEGIN" in (message.content or "") for message in messages)
        return repaired if corrects else draft

    return Limited(script=script)


@pytest.fixture
def index() -> VectorStoreIndex:
    return VectorStoreIndex([TextNode(id_="n", text=NOTICE), TextNode(id_="f", text=FEE)])


def policy(
    *more: Route, light: Any = "", verification: Verify | None = None, **given: Any
) -> Policy:
    first = Route(name="light", model=light, price=CHEAP, max_output=100)
    settings = {"state": "memory", "router": Router(thresholds=(0.9,) * max(1, len(more))), **given}
    return Policy(routing=Routes(routes=(first, *more), **settings), verification=verification)


def heavy(llm: Any, name: str = "heavy", **given: Any) -> Route:
    return Route(name=name, model=llm, max_output=100, **{"price": DEAR, **given})


def codes(ledger: Ledger, stage: str = "route") -> list[str]:
    return [decision.code for decision in ledger.decisions if decision.stage == stage]


def calls(ledger: Ledger) -> list[tuple[str, str]]:
    return [(call.route, call.reason) for call in ledger.calls]


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


def astream_chat(engine: Any) -> str:
    async def ask() -> str:
        response = await engine.astream_chat(QUESTION)
        return "".join([token async for token in response.async_response_gen()])

    return asyncio.run(ask())


Way = Callable[[Any], str]
STREAMS: tuple[Way, ...] = (query_stream, aquery_stream)
CHATS: tuple[Way, ...] = (chat, astream_chat)
WAYS: tuple[Way, ...] = (query, aquery, *STREAMS, *CHATS)
every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


def engine_of(index: VectorStoreIndex, llm: Any, way: Way, **options: Any) -> Any:
    if way in CHATS:
        memory = ChatMemoryBuffer.from_defaults(token_limit=8000)
        return index.as_chat_engine(llm=llm, chat_mode=ChatMode.CONTEXT, memory=memory, **options)
    return index.as_query_engine(llm=llm, streaming=way in STREAMS, **options)


WHOLE = [way for way in WAYS if "stream" not in way.__name__]
"""Of the others a reader has the answer already, unless a gate is before it."""


@pytest.mark.parametrize(
    ("mode", "way"), [*(("after", way) for way in WHOLE), *(("gate", way) for way in WAYS)]
)
def test_what_failed_is_taken_to_the_heavier_model(index: Any, way: Way, mode: Any) -> None:
    light, above = model(), model(repaired=FEE)
    made = policy(heavy(above), cascade=Cascade(), verification=Verify(mode=mode))
    engine = guard(engine_of(index, light, way), made)
    assert way(engine) == RIGHT
    (ledger,) = engine.ctxguard.ledgers
    assert calls(ledger) == [("light", "routed"), ("heavy", "escalated")]
    assert codes(ledger) == ["cascade", "escalated"]
    assert (len(light.prompts), len(above.prompts)) == (1, 1)
    told = above.prompts[0][-1].content or ""
    assert WRONG in told, "what failed goes along"
    assert ledger.verifications[-1].grounded


@every_way
def test_what_is_right_stays_with_the_light_model(index: Any, way: Way) -> None:
    above = model()
    engine = guard(engine_of(index, model(RIGHT), way), policy(heavy(above), cascade=Cascade()))
    assert way(engine) == RIGHT
    (ledger,) = engine.ctxguard.ledgers
    assert calls(ledger) == [("light", "routed")]
    assert (codes(ledger), above.prompts) == (["cascade"], [])
    assert ledger.verifications[-1].grounded


@every_way
def test_a_repair_asks_the_model_of_the_route_and_counts(index: Any, way: Way) -> None:
    light = model()
    verification = Verify(mode="gate", on_fail="repair")
    engine = guard(engine_of(index, light, way), policy(verification=verification))
    assert way(engine) == RIGHT
    (ledger,) = engine.ctxguard.ledgers
    assert calls(ledger) == [("light", "routed"), ("light", "repair")]
    assert len(light.prompts) == 2


@every_way
@pytest.mark.parametrize(
    ("level", "verification", "answer", "said"),
    [
        ("off", Verify(mode="gate", on_fail="repair"), DRAFT, set[str]()),
        ("flag", None, DRAFT, {"flag"}),
        ("repair", Verify(mode="gate"), RIGHT, {"rewrite"}),
    ],
)
def test_a_route_says_whether_its_answers_are_verified(
    index: Any, way: Way, level: Any, verification: Any, answer: str, said: set[str]
) -> None:
    routes = Routes(routes=(Route(name="only", verification=level),), state="memory")
    made = Policy(routing=routes, verification=verification)
    engine = guard(engine_of(index, model(), way), made)
    assert way(engine) == answer
    (ledger,) = engine.ctxguard.ledgers
    assert bool(ledger.verifications) == (level != "off")
    actions = {decision.action for decision in ledger.decisions if decision.stage == "verify"}
    assert said <= actions
    assert bool(actions) == bool(said)


def test_shadow_verifies_as_the_policy_says(index: Any) -> None:
    above = model()
    made = policy(heavy(above, verification="repair"), cascade=Cascade(), mode="shadow")
    engine = guard(index.as_query_engine(llm=model()), made)
    assert query(engine) == DRAFT
    (ledger,) = engine.ctxguard.ledgers
    assert (codes(ledger), ledger.verifications, above.prompts) == (["shadow"], (), [])


@pytest.mark.parametrize("way", [query, aquery])
def test_a_summary_of_several_calls_is_taken_up_as_one_answer(index: Any, way: Way) -> None:
    light, above = model(), model()
    made = policy(heavy(above), cascade=Cascade(max_cost=1.0))
    engine = index.as_query_engine(llm=light, response_mode=ResponseMode.REFINE)
    engine._response_synthesizer._prompt_helper = PromptHelper(chunk_size_limit=20)
    guarded = guard(engine, made)
    assert way(guarded) == RIGHT
    (ledger,) = guarded.ctxguard.ledgers
    assert calls(ledger)[-1] == ("heavy", "escalated")
    assert calls(ledger)[:-1] == [("light", "routed")] * 2


@pytest.mark.parametrize("way", [query, aquery, query_stream])
def test_two_heavier_models_are_asked_one_after_the_other(index: Any, way: Way) -> None:
    middle, above = model(repaired=WRONG), model(repaired=FEE)
    routes = (heavy(middle, "middle", price=MEDIUM), heavy(above))
    made = policy(*routes, cascade=Cascade(attempts=3), verification=Verify(mode="gate"))
    engine = guard(engine_of(index, model(), way), made)
    assert way(engine) == RIGHT
    (ledger,) = engine.ctxguard.ledgers
    assert calls(ledger) == [("light", "routed"), ("middle", "escalated"), ("heavy", "escalated")]


@pytest.mark.parametrize("way", [query, aquery])
def test_an_answer_that_may_not_go_up_stays(index: Any, way: Way) -> None:
    above = model()
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"cascade": Cascade(max_cost=1e-9)}, "may cost"),
        ({"cascade": Cascade(), "limits": (SpendLimit(usd=1e-3, per="day"),)}, "exceeds"),
    )
    for given, why in cases:
        engine = guard(index.as_query_engine(llm=model()), policy(heavy(above), **given))
        assert way(engine) == DRAFT
        (ledger,) = engine.ctxguard.ledgers
        last = [decision for decision in ledger.decisions if decision.stage == "route"][-1]
        assert last.code == "not-escalated"
        assert why in last.reason
    assert above.prompts == []


@pytest.mark.parametrize("way", [query, aquery])
def test_a_heavier_model_that_fails_is_in_the_ledger(index: Any, way: Way) -> None:
    class RateLimitError(Exception):
        status_code = 429

    def fails(_: Any) -> str:
        raise RateLimitError("not now")

    engine = guard(
        index.as_query_engine(llm=model()),
        policy(heavy(Limited(script=fails)), cascade=Cascade()),
    )
    assert way(engine) == DRAFT
    (ledger,) = engine.ctxguard.ledgers
    assert [call.error for call in ledger.calls] == ["", "RateLimitError"]
    assert "rate-limited" in codes(ledger)


def test_a_repair_that_is_cancelled_is_counted(index: Any) -> None:
    class Slow(Limited):
        async def achat(self, messages: Any, **kwargs: Any) -> ChatResponse:
            asked.set()
            await asyncio.sleep(60)
            return self.chat(messages, **kwargs)

    asked = asyncio.Event()
    guarded = guard(index.as_query_engine(llm=model()), policy(heavy(Slow()), cascade=Cascade()))

    async def ask() -> None:
        task = asyncio.ensure_future(guarded.aquery(QUESTION))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(ask())
    (ledger,) = guarded.ctxguard.ledgers
    assert [(call.reason, call.error) for call in ledger.calls] == [
        ("routed", ""),
        ("escalated", "CancelledError"),
    ]


# -- models and agents -----------------------------------------------------------------------------


@pytest.mark.filterwarnings(
    "ignore::pydantic.warnings.PydanticDeprecatedSince20",
    "ignore::pydantic.warnings.PydanticDeprecatedSince211",
)
def test_an_agents_answer_is_taken_up(index: Any) -> None:
    def script(messages: Sequence[ChatMessage]) -> Any:
        if any(message.role.value == "tool" for message in messages):
            return DRAFT
        return call_tool("clauses", input="fee")

    tool = QueryEngineTool.from_defaults(
        index.as_query_engine(llm=model(RIGHT)), name="clauses", description="Finds clauses."
    )
    above = model()
    agent = FunctionAgent(tools=[tool], llm=Limited(script=script))
    guarded = guard(
        agent, policy(heavy(above), cascade=Cascade(), verification=Verify(mode="gate"))
    )

    async def ask() -> str:
        return str(await guarded.run(user_msg=QUESTION))

    assert asyncio.run(ask()) == RIGHT
    (ledger,) = guarded.ctxguard.ledgers
    assert sorted(calls(ledger)) == [("heavy", "escalated"), *[("light", "routed")] * 3]
    assert len(above.prompts) == 1


def test_a_question_that_is_put_anew_takes_the_route_of_the_run(index: Any) -> None:
    light, above = model(RIGHT), model(RIGHT)
    engine = CondensePlusContextChatEngine.from_defaults(
        index.as_retriever(),
        llm=light,
        chat_history=[ChatMessage(content="Hello."), ChatMessage(role="assistant", content="Hi.")],
    )
    made = policy(heavy(above), router=Router(thresholds=(-1.0,)))
    guarded = guard(engine, made)
    assert str(guarded.chat(QUESTION)) == RIGHT
    (ledger,) = guarded.ctxguard.ledgers
    assert calls(ledger) == [("heavy", "routed")] * 2, "to condense, and to answer"
    assert len(codes(ledger)) == 1


class Unsure(Limited):
    """Tells how probable its words are."""

    logprobs: bool | None = None

    def chat(self, messages: Any, **kwargs: Any) -> ChatResponse:
        reply = super().chat(messages, **kwargs)
        told = [[LogProb(token="x", logprob=-2.0, bytes=[])]]  # noqa: S106 -- a word
        return ChatResponse(message=reply.message, logprobs=told if self.logprobs else None)


def test_what_a_model_is_not_sure_of_is_asked_for_anew(index: Any) -> None:
    light, above = Unsure(script=lambda _: RIGHT), model(RIGHT, repaired=RIGHT)
    guarded = guard(
        index.as_query_engine(llm=light), policy(heavy(above), cascade=Cascade(confidence=0.5))
    )
    assert query(guarded) == RIGHT
    (ledger,) = guarded.ctxguard.ledgers
    assert "low-confidence" in codes(ledger, "verify")
    assert calls(ledger) == [("light", "routed"), ("heavy", "escalated")]
    assert light.logprobs is None, "it is asked for in a copy"


# -- in place, and in a block ----------------------------------------------------------------------


def test_models_are_routed_in_a_block_and_in_place(index: Any) -> None:
    above = model()
    made = policy(heavy(above), cascade=Cascade())
    engine = index.as_query_engine(llm=model())
    with ctxguard.guarded(made) as block:
        assert query(engine) == RIGHT
    (ledger,) = block.ledgers
    assert calls(ledger) == [("light", "routed"), ("heavy", "escalated")]
    assert query(engine) == DRAFT
    in_place = guard(engine, made, scope="process")
    assert in_place is engine
    assert query(engine) == RIGHT
    assert calls(engine.ctxguard.ledgers[-1]) == [("light", "routed"), ("heavy", "escalated")]
    engine.ctxguard.unguard()
    assert query(engine) == DRAFT
    assert type(above) is Limited, "the route's model is guarded in a copy"


def test_log_probabilities_are_asked_for_in_the_request(openai_server: ScriptedServer) -> None:
    from llama_index.llms.openai import OpenAI

    llm = OpenAI(model="gpt-4o-mini", api_base=openai_server.url, api_key="none", max_retries=0)
    made = policy(Route(name="heavy", model="gpt-4o"), cascade=Cascade(confidence=0.5))
    guard(llm, made).chat([ChatMessage(content="Hello?")])
    (request,) = openai_server.requests
    assert (request.body["logprobs"], request.body["model"]) == (True, "gpt-4o-mini")


def test_the_model_of_settings_takes_a_route_in_a_block(index: Any, llm: ScriptedLLM) -> None:
    above = model(RIGHT)
    with ctxguard.guarded(policy(heavy(above), router=Router(thresholds=(-1.0,)))) as block:
        assert query(index.as_query_engine()) == RIGHT
    assert calls(block.ledgers[0]) == [("heavy", "routed")]
    assert llm.prompts == []
