"""Chains as routes, retrieval depth, cascades, and what guard() says of a policy that cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langchain_classic.retrievers import EnsembleRetriever
from langchain_core.documents import Document
from langchain_core.language_models import FakeListLLM
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore

from ctxguard import PolicyError, UngroundedAnswerError, guard, handle
from ctxguard.routing import Cascade, Price, Route, Router, Routes
from ctxguard.verification import Verify
from ctxguard_langchain.testing import FixedRetriever, HashEmbeddings, ScriptedChatModel
from integrations.langchain.tests.routing import (
    BARE,
    CHEAP,
    DEAR,
    HEAVY,
    LIGHT,
    QUESTION,
    Way,
    codes,
    every_stream,
    every_way,
    openai,
    routes,
    text_of,
)
from integrations.langchain.tests.speaking import (
    BETTER,
    CUT,
    DOCUMENTS,
    DRAFT,
    REPAIRED,
    RIGHT,
    WRONG,
)
from tests.openai_server import ScriptedServer

pytestmark = pytest.mark.anyio


class RateLimitError(Exception):
    """As a provider's client raises it."""

    status_code = 429


class Busy(ScriptedChatModel):
    """A model that is asked too often."""

    def _answer(self, messages: Any, kwargs: Any) -> Any:
        super()._answer(messages, kwargs)
        raise RateLimitError("slow down")


def said(words: str, **fields: Any) -> ScriptedChatModel:
    return ScriptedChatModel(script=[words], **fields)


def last(obj: Any) -> Any:
    return handle(obj).ledgers[-1]


# -- chains as routes -----------------------------------------------------------------------------


def chained(model: Any, ending: str = "") -> Runnable[Any, str]:
    return model | StrOutputParser() | RunnableLambda(_adding(ending))


def _adding(ending: str) -> Any:
    def add(text: str) -> str:
        return text.strip() + ending

    return add


@every_way
async def test_another_chain_takes_the_place_of_the_guarded_one(way: Way) -> None:
    heavy = said("heavy", model_name="gpt-5")
    guarded = guard(chained(said("light")), routes(chained(heavy, "!"), HEAVY))
    if way.__name__ == "events":
        found = [event async for event in guarded.astream_events(QUESTION, version="v2")]
        assert found[-1]["data"].get("output") == "heavy!"
    else:
        assert await way(guarded, {}) == "heavy!"
    (call,) = last(guarded).calls
    assert (call.route, call.measured, call.output) == ("heavy", True, 1)
    assert len(heavy.seen) == 1
    assert "routing.heavy.steps[0]" in [one.path for one in handle(guarded).coverage.reached]


@every_stream
async def test_a_chain_that_fails_before_its_first_part_gives_way(way: Way) -> None:
    guarded = guard(chained(Busy()), routes(chained(said("heavy"), "!")))
    if way.__name__ == "events":
        found = [event async for event in guarded.astream_events(QUESTION, version="v2")]
        assert found[-1]["data"].get("output") == "heavy!"
    else:
        assert await way(guarded, {}) == "heavy!"
    assert [call.route for call in last(guarded).calls] == ["light", "heavy"]


async def test_a_stream_of_inputs_is_read_once_for_all_attempts() -> None:
    read: list[str] = []

    def inputs() -> Any:
        for part in ("one ", "two"):
            read.append(part)
            yield part

    async def ainputs() -> AsyncIterator[Any]:
        for part in inputs():
            yield part

    heavy = said("heavy")
    guarded = guard(chained(Busy()), routes(chained(heavy, "!")))
    assert list(guarded.transform(inputs())) == ["heavy!"]
    assert [part async for part in guarded.atransform(ainputs())] == ["heavy!"]
    assert read == ["one ", "two"] * 2
    assert [messages[0].text for messages in heavy.seen] == ["one two"] * 2


async def test_what_is_made_of_a_routed_chain_is_routed() -> None:
    guarded = guard(chained(said("light")), routes(chained(said("heavy")), HEAVY))
    made: dict[str, Runnable[Any, Any]] = {
        "piped": guarded | RunnableLambda(_adding("?")),
        "configured": guarded.with_config(tags=["x"]),
        "retried": guarded.with_retry(),
        "put last": RunnableLambda(lambda text: text) | guarded,
    }
    answers = {name: chain.invoke(QUESTION) for name, chain in made.items()}
    assert answers == {
        "piped": "heavy?",
        "configured": "heavy",
        "retried": "heavy",
        "put last": "heavy",
    }


async def test_a_chain_that_asks_one_model_has_its_price(openai_server: ScriptedServer) -> None:
    quick, thorough = (
        chained(openai(openai_server, model=name)) for name in ("gpt-4o-mini", "gpt-4o")
    )
    known = (Route(name="quick"), Route(name="thorough", model=thorough))
    chain = guard(quick, routing=Routes(routes=known, router=LIGHT, state="memory"))
    await chain.ainvoke(QUESTION)
    ledger = last(chain)
    assert [(call.route, call.model) for call in ledger.calls] == [("quick", "gpt-4o-mini")]
    assert ledger.calls[0].cost is not None
    assert "no price is known" not in str(ledger)


async def test_a_route_of_chains_may_leave_the_guarded_one_as_it_is() -> None:
    guarded = guard(chained(said("light")), routes(chained(said("heavy")), LIGHT))
    assert guarded.invoke(QUESTION) == "light"
    assert guarded.batch([QUESTION] * 2) == ["light"] * 2
    shadow = guard(chained(said("light")), routes(chained(said("heavy")), HEAVY, mode="shadow"))
    assert shadow.invoke(QUESTION) == "light"
    assert last(shadow).calls[0].reason == "shadow"


# -- completion models ----------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*FakeListLLM")
async def test_completion_models_are_routed() -> None:
    light, heavy = FakeListLLM(responses=["light"]), FakeListLLM(responses=["heavy"])
    guarded = guard(light, routes(heavy, HEAVY))
    assert guarded.invoke(QUESTION) == await guarded.ainvoke(QUESTION) == "heavy"
    assert "".join(guarded.stream(QUESTION)) == "heavy"
    assert guarded.batch(["a", "b"]) == ["heavy", "heavy"]
    assert {ledger.route for ledger in handle(guarded).ledgers} == {"heavy"}


@pytest.mark.filterwarnings("ignore:.*FakeListLLM")
async def test_a_model_of_another_kind_does_not_take_the_route() -> None:
    guarded = guard(said("chat"), routes(FakeListLLM(responses=["text"]), HEAVY))
    assert guarded.invoke(QUESTION).text == "chat"
    assert codes(last(guarded)) == ["route-unsuitable"]


# -- retrieval depth ------------------------------------------------------------------------------

TEXTS = ["alpha one", "beta two", "gamma three", "delta four", "epsilon five", "zeta six"]
PAGES = [Document(page_content=text, id=text) for text in TEXTS]


def store() -> InMemoryVectorStore:
    made = InMemoryVectorStore(HashEmbeddings())
    made.add_documents(PAGES)
    return made


def _counted(documents: list[Document]) -> str:
    return str(len(documents))


def _joined(documents: list[Document]) -> str:
    return "\n".join(one.page_content for one in documents)


def found_by(retriever: Any, heavy: int | None = 5, **given: Any) -> Any:
    """A guarded chain that answers, and says how many documents it was given."""
    counted = retriever | RunnableLambda(_counted)
    whole = RunnablePassthrough[Any]() | {"found": counted, "answer": said("answer")}
    known = (Route(name="light", top_k=2), Route(name="heavy", top_k=heavy))
    routing = Routes(routes=known, state="memory", **{"router": HEAVY, **given})
    return guard(whole, routing=routing, **BARE)


@pytest.mark.parametrize("search", ["similarity", "mmr"])
async def test_a_retriever_finds_as_many_as_the_route_says(search: str) -> None:
    retriever = store().as_retriever(search_type=search, search_kwargs={"k": 1, "fetch_k": 3})
    guarded = found_by(retriever)
    assert guarded.invoke(QUESTION)["found"] == "5"
    assert (await guarded.ainvoke(QUESTION))["found"] == "5"
    assert found_by(retriever, router=LIGHT).invoke(QUESTION)["found"] == "2"
    assert found_by(retriever, heavy=None).invoke(QUESTION)["found"] == "1"
    assert found_by(retriever, mode="shadow").invoke(QUESTION)["found"] == "1"
    assert retriever.search_kwargs == {"k": 1, "fetch_k": 3}


async def test_the_route_that_was_taken_for_a_search_answers() -> None:
    guarded = found_by(store().as_retriever())
    guarded.invoke(QUESTION)
    ledger = last(guarded)
    assert codes(ledger).count("heavier") == 1
    assert [call.route for call in ledger.calls] == ["heavy"]


async def test_retrievers_inside_of_a_retriever_take_the_number() -> None:
    inner: list[Any] = [FixedRetriever(documents=PAGES, k=1), FixedRetriever(documents=PAGES, k=1)]
    both = EnsembleRetriever(retrievers=inner, weights=[0.5, 0.5])
    guarded = found_by(both)
    assert guarded.invoke(QUESTION)["found"] == "5"
    assert (await guarded.ainvoke(QUESTION))["found"] == "5"
    assert "depth-not-set" not in codes(last(guarded))


async def test_a_retriever_without_a_number_is_told_of_once() -> None:
    guarded = found_by(Unnumbered())
    guarded.invoke(QUESTION)
    assert codes(last(guarded)).count("depth-not-set") == 1


async def test_a_search_by_hand_takes_the_number() -> None:
    known = store()

    def search(question: str) -> list[Document]:
        by_name = known.similarity_search(question, k=1)
        by_position = known.similarity_search(question, 1)
        diverse = known.max_marginal_relevance_search(question, fetch_k=2)
        general = known.search(question, "similarity", k=1)
        assert len({len(by_name), len(by_position), len(diverse), len(general)}) == 1
        return by_name

    assert found_by(RunnableLambda(search)).invoke(QUESTION)["found"] == "5"


async def test_a_chain_of_a_route_searches_as_its_route_says() -> None:
    def counting(k: int) -> Any:
        retriever = FixedRetriever(documents=PAGES, k=k)
        return retriever | RunnableLambda(_counted)

    known = (Route(name="light", top_k=2), Route(name="heavy", model=counting(1), top_k=4))
    for router, found in ((LIGHT, "2"), (HEAVY, "4")):
        routing = Routes(routes=known, router=router, state="memory")
        assert guard(counting(3), routing=routing, **BARE).invoke(QUESTION) == found


class Unnumbered(BaseRetriever):
    """A retriever that finds what it finds."""

    def _get_relevant_documents(self, query: str, **kwargs: Any) -> list[Document]:
        return PAGES[:3]


# -- cascades -------------------------------------------------------------------------------------


def answering(light: ScriptedChatModel) -> Runnable[Any, str]:
    found = FixedRetriever(documents=DOCUMENTS) | RunnableLambda(_joined)
    prompt = ChatPromptTemplate.from_template("{context}\n\nQuestion: {question}")
    given = {"context": found, "question": RunnablePassthrough()}
    return given | prompt | light | StrOutputParser()


def cascading(light: str, heavy: str | ScriptedChatModel, **fields: Any) -> Any:
    mode = fields.pop("mode", "after")
    model = heavy if isinstance(heavy, ScriptedChatModel) else said(heavy, model_name="gpt-5")
    known = (
        Route(name="light", price=CHEAP, max_output=60),
        Route(name="heavy", model=model, price=DEAR, max_output=60),
    )
    routing = Routes(routes=known, cascade=Cascade(**fields), state="memory")
    return guard(answering(said(light)), routing=routing, verification=Verify(mode=mode), **BARE)


@pytest.mark.parametrize("way", [0, 1], ids=["sync", "async"])
async def test_what_fails_is_put_right_by_the_heavier_model(way: int) -> None:
    guarded = cascading(DRAFT, REPAIRED)
    answer = await guarded.ainvoke(QUESTION) if way else guarded.invoke(QUESTION)
    assert answer == REPAIRED
    first, second = last(guarded).calls
    assert (first.route, first.reason) == ("light", "routed")
    assert (second.route, second.model, second.reason) == ("heavy", "gpt-5", "escalated")
    assert (second.heavy_cost, second.measured) == (0.0, True)
    assert last(guarded).route == "heavy"
    assert "escalated" in codes(last(guarded))


async def test_an_answer_that_holds_stays_on_the_light_route() -> None:
    heavy = said(REPAIRED, model_name="gpt-5")
    guarded = cascading(RIGHT, heavy)
    assert guarded.invoke(QUESTION) == RIGHT
    assert (len(heavy.seen), last(guarded).route) == (0, "light")


async def test_an_escalation_is_no_dearer_than_it_may_be() -> None:
    guarded = cascading(DRAFT, REPAIRED, max_cost=1e-9)
    assert guarded.invoke(QUESTION) == DRAFT
    assert [call.route for call in last(guarded).calls] == ["light"]
    (note,) = [one for one in last(guarded).decisions if one.code == "not-escalated"]
    assert "0.000000 of" not in note.reason, "the light answer has its cost"


async def test_a_heavier_model_that_fails_leaves_the_answer() -> None:
    for asynchronous in (False, True):
        guarded = cascading(DRAFT, Busy(model_name="gpt-5"))
        answer = await guarded.ainvoke(QUESTION) if asynchronous else guarded.invoke(QUESTION)
        assert answer == DRAFT
        assert [(c.route, c.error) for c in last(guarded).calls] == [
            ("light", ""),
            ("heavy", "RateLimitError"),
        ]


async def test_an_answer_of_which_the_model_is_not_sure_goes_to_a_heavier_one() -> None:
    class Unsure(ScriptedChatModel):
        logprobs: bool | None = None
        sure: float = -2.0

        def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
            assert self.logprobs, "a cascade that looks at them asks for them"
            result = super()._generate(*args, **kwargs)
            (told,) = result.generations
            tokens = [{"token": "a", "logprob": self.sure}]
            told.message.response_metadata["logprobs"] = {"content": tokens}
            return result

    heavy = said(f"{RIGHT} {BETTER}", model_name="gpt-5")
    for sure, route in ((-2.0, "heavy"), (-0.01, "light")):
        known = (Route(name="light", price=CHEAP), Route(name="heavy", model=heavy, price=DEAR))
        routing = Routes(routes=known, cascade=Cascade(confidence=0.5), state="memory")
        guarded = guard(answering(Unsure(script=[RIGHT], sure=sure)), routing=routing, **BARE)
        guarded.invoke(QUESTION)
        assert last(guarded).route == route
        assert ("low-confidence" in [d.code for d in last(guarded).decisions]) == (route == "heavy")


async def test_three_models_are_asked_one_after_another() -> None:
    middle, heavy = said(DRAFT, model_name="gpt-5-mini"), said(REPAIRED, model_name="gpt-5")
    known = (
        Route(name="light", price=CHEAP),
        Route(name="middle", model=middle, price=DEAR),
        Route(name="heavy", model=heavy, price=Price(input=20, output=40)),
    )
    routing = Routes(
        routes=known,
        router=Router(thresholds=(0.3, 0.6)),
        cascade=Cascade(attempts=3),
        state="memory",
    )
    guarded = guard(answering(said(DRAFT)), routing=routing, **BARE)
    assert guarded.invoke(QUESTION) == REPAIRED
    assert [call.route for call in last(guarded).calls] == ["light", "middle", "heavy"]


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_gate_shows_only_what_is_held(asynchronous: bool) -> None:
    guarded = cascading(DRAFT, REPAIRED, mode="gate")
    parts = (
        [part async for part in guarded.astream(QUESTION)]
        if asynchronous
        else list(guarded.stream(QUESTION))
    )
    shown = [text_of(parts[:end]) for end in range(len(parts) + 1)]
    assert not any(WRONG in text for text in shown)
    assert BETTER in shown[-1]
    assert CUT.split(". ")[0] in shown[-1]
    assert last(guarded).route == "heavy"


async def test_a_repair_on_a_route_is_a_call_of_its_own() -> None:
    light = ScriptedChatModel(script=[DRAFT, REPAIRED])
    routing = Routes(routes=(Route(name="only", price=CHEAP),), state="memory")
    verify = Verify(on_fail="repair")
    guarded = guard(answering(light), routing=routing, verification=verify, **BARE)
    assert guarded.invoke(QUESTION) == REPAIRED
    assert [call.reason for call in last(guarded).calls] == ["routed", "repair"]


async def test_a_route_may_leave_answers_unverified() -> None:
    known = (Route(name="light", verification="off"), Route(name="heavy", verification="flag"))
    verify = Verify(on_fail="raise")
    for router in (LIGHT, HEAVY):
        routing = Routes(routes=known, router=router, state="memory")
        guarded = guard(answering(said(DRAFT)), routing=routing, verification=verify, **BARE)
        assert guarded.invoke(QUESTION) == DRAFT
        assert list(guarded.stream(QUESTION))
        assert len(last(guarded).verifications) == (router is HEAVY)
    plain = guard(answering(said(DRAFT)), verification=verify, **BARE)
    with pytest.raises(UngroundedAnswerError):
        plain.invoke(QUESTION)


# -- runs side by side ----------------------------------------------------------------------------


async def test_calls_side_by_side_have_their_own_routes() -> None:
    guarded = guard(said("light"), routes(said("heavy"), HEAVY))
    answers = await asyncio.gather(*(guarded.ainvoke(f"question {n}") for n in range(8)))
    assert {answer.text for answer in answers} == {"heavy"}
    assert all(len(ledger.calls) == 1 for ledger in handle(guarded).ledgers)


# -- what cannot be -------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", [None, "process"])
def test_guard_says_what_cannot_be_routed(scope: Any) -> None:
    given: dict[str, Any] = {"scope": scope} if scope else {}
    with pytest.raises(PolicyError, match="no model was found"):
        guard(FixedRetriever(documents=PAGES), routes("gpt-5"), **given)
    with pytest.raises(PolicyError, match="'heavy' is a int"):
        guard(said("x"), routes(7), **given)
    for part in (FixedRetriever(documents=PAGES), ChatPromptTemplate.from_template("{x}")):
        with pytest.raises(PolicyError, match="and no model or chain"):
            guard(chained(said("x")), routes(part), **given)
    known = (Route(name="light", model=said("x")), Route(name="heavy", model=chained(said("y"))))
    with pytest.raises(PolicyError, match="'light' is a model"):
        guard(chained(said("x")), routing=Routes(routes=known), **given)
    known = (Route(name="light"), Route(name="heavy", model=chained(said("y"))))
    with pytest.raises(PolicyError, match="cascade"):
        guard(chained(said("x")), routing=Routes(routes=known, cascade=Cascade()), **given)


@pytest.mark.filterwarnings("ignore:.*FakeListLLM")
def test_a_model_without_a_name_cannot_be_given_one() -> None:
    with pytest.raises(ValueError, match=r"Route\.model.*FakeListLLM has no field for a name"):
        guard(FakeListLLM(responses=["x"]), routes("gpt-5"))
