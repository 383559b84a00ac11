"""What a repair asks, whom, and what of it anybody sees."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableLambda
from langchain_core.vectorstores import InMemoryVectorStore

from ctxguard import guard, handle
from ctxguard.verification import Ask, Reply
from ctxguard_langchain.testing import FixedRetriever, HashEmbeddings
from integrations.langchain.tests.speaking import (
    BETTER,
    DOCUMENTS,
    DRAFT,
    REPAIRED,
    RIGHT,
    WRONG,
    AsyncSpeaker,
    Completer,
    Listener,
    Speaker,
    chain,
    codes,
    last,
    pieces,
    policy,
)

pytestmark = pytest.mark.anyio


def drafting(**fields: Any) -> Speaker:
    """A model that says the same wrong thing again."""
    return Speaker(replies=[pieces(DRAFT)], **fields)


def usage(text: str) -> list[AIMessageChunk]:
    counts: Any = {"input_tokens": 40, "output_tokens": 2, "total_tokens": 42}
    return [AIMessageChunk(content=text, usage_metadata=counts)]


async def answered(guarded: Any, way: str, config: Any = None) -> str:
    if way == "invoke":
        return guarded.invoke("q", config).text
    if way == "ainvoke":
        return (await guarded.ainvoke("q", config)).text
    if way == "stream":
        return "".join(part.text for part in guarded.stream("q", config))
    return "".join([part.text async for part in guarded.astream("q", config)])


WAYS = ["invoke", "ainvoke", "stream", "astream"]


# -- the same model -------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [Speaker, AsyncSpeaker])
async def test_the_same_model_corrects_itself_unseen(way: str, kind: type[Speaker]) -> None:
    model = kind(replies=[pieces(DRAFT), usage(BETTER)], notifies=True)
    guarded, listener = guard(chain(model), policy("gate", "repair")), Listener()
    assert await answered(guarded, way, {"callbacks": [listener]}) == REPAIRED
    asked = model.seen[1]
    assert [message.type for message in asked] == ["system", "human"]
    assert WRONG in str(asked[-1].content)
    assert listener.tokens == REPAIRED
    assert len(listener.runs) == 2  # the repair is traced as a call of its own
    assert listener.runs[1] == "ctxguard light"
    attempt = next(one for one in last(guarded).decisions if one.subject == "self-check")
    assert attempt.details["tokens"] == 42  # as the provider counted them
    assert len(last(guarded).verifications) == 2
    assert len(last(guarded).steps) == 2  # nothing of it was guarded again


@pytest.mark.parametrize("way", WAYS)
async def test_a_repair_shows_nothing_in_astream_events_or_messages(way: str) -> None:
    model = AsyncSpeaker(replies=[pieces(DRAFT), pieces(BETTER)])
    guarded = guard(chain(model), policy("gate", "repair"))
    events: list[Any] = [event async for event in guarded.astream_events("q", version="v2")]
    shown = [e["data"]["chunk"].text for e in events if e["event"] == "on_chat_model_stream"]
    assert "".join(shown) == REPAIRED
    ended = [e["data"]["output"].text for e in events if e["event"] == "on_chat_model_end"]
    assert ended == [BETTER, REPAIRED]
    model.seen.clear()
    assert await answered(guarded, way) == REPAIRED


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_a_completion_model_corrects_itself(way: str) -> None:
    model = Completer(script=[DRAFT, BETTER])
    guarded, listener = guard(chain(model), policy("gate", "repair")), Listener()
    config: Any = {"callbacks": [listener]}
    said = guarded.invoke("q", config) if way == "invoke" else "".join(guarded.stream("q", config))
    assert said == REPAIRED
    assert listener.tokens == ("" if way == "invoke" else REPAIRED)
    assert "Human:" in model.prompts[1]


def test_what_a_call_is_given_for_its_own_reply_is_not_handed_on() -> None:
    model = Speaker(replies=[pieces(DRAFT), pieces(BETTER)])
    bound = model.bind_tools(["look_up"], tool_choice="auto").bind(temperature=0.5, stop=["x"])
    assert guard(chain(bound), policy("gate", "repair")).invoke("q").text == REPAIRED
    assert model.calls[0].keys() == {"tools", "tool_choice", "temperature"}
    assert model.calls[1] == {"temperature": 0.5}


@pytest.mark.parametrize("way", WAYS)
async def test_room_is_made_where_the_model_has_a_field_for_it(way: str) -> None:
    rooms: list[int | None] = []

    class Limited(AsyncSpeaker):
        max_tokens: int | None = None

        def _next(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> Any:
            rooms.append(self.max_tokens)
            return super()._next(messages, kwargs)

    for own, expected in ((None, 3_000), (50, 50)):
        rooms.clear()
        model = Limited(replies=[pieces(DRAFT), pieces(BETTER)], max_tokens=own)
        guarded = guard(chain(model), policy("gate", "repair", max_tokens=3_000))
        assert await answered(guarded, way) == REPAIRED
        assert rooms[0] == own
        assert rooms[1] is not None
        assert expected - 500 < rooms[1] <= expected


@pytest.mark.parametrize(("takes", "kwargs"), [(True, True), (False, False)])
def test_time_is_handed_to_clients_that_take_it(takes: bool, kwargs: bool) -> None:
    class Takes:
        def create(self, *, timeout: float) -> None:
            """A client's method, as OpenAI's."""

    class TakesNot:
        create = print

    model = Speaker(replies=[pieces(DRAFT), pieces(BETTER)])
    client = Takes() if takes else TakesNot()

    class Client(Speaker):
        @property
        def client(self) -> Any:
            return client

    model = Client(replies=[pieces(DRAFT), pieces(BETTER)])
    assert guard(chain(model), policy("gate", "repair", seconds=5)).invoke("q").text == REPAIRED
    assert ("timeout" in model.calls[1]) == kwargs
    assert "timeout" not in model.calls[0]


async def test_a_model_that_takes_too_long_is_given_up() -> None:
    class Slow(AsyncSpeaker):
        async def _agenerate(self, *args: Any, **kwargs: Any) -> ChatResult:
            if self.seen:
                await asyncio.sleep(30)
            return await super()._agenerate(*args, **kwargs)

    guarded = guard(chain(Slow(replies=[pieces(DRAFT)])), policy("gate", "repair", seconds=0.2))
    said = await guarded.ainvoke("q")
    assert WRONG not in said.text
    failed = next(one for one in last(guarded).decisions if one.subject == "self-check")
    assert failed.code == "failed"
    assert "TimeoutError" in failed.reason


def test_a_model_that_fails_ends_one_attempt() -> None:
    class Failing(Speaker):
        def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
            if self.seen:
                raise ConnectionError("gone")
            return super()._generate(*args, **kwargs)

    guarded = guard(chain(Failing(replies=[pieces(DRAFT)])), policy("after", "repair"))
    assert guarded.invoke("q").text == DRAFT
    assert codes(guarded)[:2] == ["failed", "nothing-found"]
    assert last(guarded).error == ""


# -- the heavy one --------------------------------------------------------------------------------


def reply_of(ask: Ask) -> Reply:
    assert ask.route == "heavy"
    return Reply(text=BETTER, tokens=7)


async def areply_of(ask: Ask) -> str:
    assert ask.route == "heavy"
    return BETTER


HEAVY: dict[str, Any] = {
    "a chat model": lambda: Speaker(replies=[pieces(BETTER)]),
    "an async chat model": lambda: AsyncSpeaker(replies=[pieces(BETTER)]),
    "a completion model": lambda: Completer(script=[BETTER]),
    "a runnable": lambda: RunnableLambda(lambda _: BETTER),
    "a chain": lambda: Speaker(replies=[pieces(BETTER)]) | RunnableLambda(lambda m: m),
    "a guarded model": lambda: guard(Speaker(replies=[pieces(BETTER)]), policy("gate", "repair")),
    "a function": lambda: reply_of,
}


@pytest.mark.parametrize("name", HEAVY)
@pytest.mark.parametrize("way", WAYS)
async def test_the_heavy_model_goes_on_from_what_passed(name: str, way: str) -> None:
    guarded = guard(chain(drafting()), policy("gate", "escalate", heavy=HEAVY[name]()))
    assert await answered(guarded, way) == REPAIRED
    assert codes(guarded) == ["no-better", "nothing-found", "grounded"]


async def test_a_function_that_is_awaited_answers_async_calls() -> None:
    settings = policy("gate", "escalate", heavy=areply_of, attempts=5)
    guarded = guard(chain(AsyncSpeaker(replies=[pieces(DRAFT)])), settings)
    assert (await guarded.ainvoke("q")).text == REPAIRED
    assert WRONG not in guarded.invoke("q").text
    failed = [one.reason for one in last(guarded).decisions if one.code == "failed"]
    assert "an async function can only answer an async call" in failed[0]


@pytest.mark.parametrize("heavy", ["gpt-x", 3, RunnableLambda(lambda _: 5)])
@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_what_is_no_model_fails_as_an_attempt(heavy: Any, way: str) -> None:
    guarded = guard(chain(drafting()), policy("after", "escalate", heavy=heavy, attempts=5))
    assert await answered(guarded, way) == DRAFT
    failed = [one.reason for one in last(guarded).decisions if one.code == "failed"]
    assert "Verify.heavy: expected a" in failed[0]


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_without_a_heavy_model_nobody_is_asked(way: str) -> None:
    guarded = guard(chain(drafting()), policy("after", "escalate", attempts=5))
    assert await answered(guarded, way) == DRAFT
    assert "no-model" in codes(guarded)


# -- more evidence --------------------------------------------------------------------------------

NEW = Document(page_content="From June on, the fee is $600 per month.", id="new")


class Learning(FixedRetriever):
    """Finds more when it is asked again."""

    def _get_relevant_documents(self, query: str, **kwargs: Any) -> list[Document]:
        return [NEW] if query == WRONG else list(self.documents)


@pytest.mark.parametrize("way", WAYS)
async def test_retrievers_are_searched_for_what_failed(way: str) -> None:
    model = AsyncSpeaker(replies=[pieces(DRAFT)])
    plain: Any = chain(model)
    plain.first.steps__["context"] = Learning(documents=DOCUMENTS)
    guarded = guard(plain, policy("gate", "repair"))
    assert await answered(guarded, way) == DRAFT  # the new evidence holds it
    assert codes(guarded) == ["no-better", "grounded"]
    assert [step.kind for step in last(guarded).steps] == ["retrieval", "model"]
    assert "new" in {chunk.id for chunk in last(guarded).chunks}


class Store(InMemoryVectorStore):
    """Finds more when it is asked again."""

    asked: list[tuple[str, dict[str, Any]]]

    def similarity_search_with_score(self, query: str, k: int = 4, **kwargs: Any) -> Any:
        self.asked.append((query, {"k": k, **kwargs}))
        if query == WRONG:
            return [(NEW, 0.5)]
        return super().similarity_search_with_score(query, k, **kwargs)


@pytest.mark.parametrize("search", ["by_position", "by_name", "with_scores", "of_a_type"])
def test_stores_are_searched_in_the_same_way(search: str) -> None:
    store = Store(HashEmbeddings())
    store.asked = []
    store.add_documents(DOCUMENTS)

    def by_position(question: str) -> str:
        return str(store.similarity_search(question, 3))

    def by_name(question: str) -> str:
        return str(store.similarity_search(query=question, k=3))

    def with_scores(question: str) -> str:
        return str(store.similarity_search_with_score(question, k=3))

    def of_a_type(question: str) -> str:
        return str(store.search(question, "similarity", k=3))

    found = {one.__name__: one for one in (by_position, by_name, with_scores, of_a_type)}[search]
    plain = RunnableLambda(found) | drafting()
    guarded = guard(plain, policy("gate", "repair"))
    assert guarded.invoke("q").text == DRAFT
    assert [query for query, _ in store.asked] == ["q", WRONG]
    assert store.asked[1][1] == store.asked[0][1] == {"k": 3}


def test_a_search_by_a_vector_is_not_done_again() -> None:
    store = InMemoryVectorStore(HashEmbeddings())
    store.add_documents(DOCUMENTS)

    def found(question: str) -> str:
        documents = store.similarity_search_by_vector(HashEmbeddings().embed_query(question))
        return "\n".join(document.page_content for document in documents)

    guarded = guard(RunnableLambda(found) | drafting(), policy("after", "repair"))
    assert guarded.invoke("q").text == DRAFT
    assert codes(guarded)[:2] == ["no-better", "no-retriever"]


def test_what_a_source_returns_that_are_no_documents_fails_as_a_try() -> None:
    class Odd(FixedRetriever):
        def _get_relevant_documents(self, query: str, **kwargs: Any) -> Any:
            return "text" if query == WRONG else list(self.documents)

    plain: Any = chain(drafting())
    plain.first.steps__["context"] = Odd(documents=DOCUMENTS)
    guarded = guard(plain, policy("after", "repair"))
    assert guarded.invoke("q").text == DRAFT
    assert "failed" in codes(guarded)


def test_a_query_that_a_model_writes_inside_a_retriever_is_no_answer() -> None:
    class Rewriting(FixedRetriever):
        model: BaseChatModel

        def _get_relevant_documents(self, query: str, **kwargs: Any) -> list[Document]:
            assert self.model.invoke(query).text == WRONG
            return list(self.documents)

    retriever = Rewriting(documents=DOCUMENTS, model=Speaker(replies=[pieces(WRONG)]))
    plain: Any = chain(Speaker(replies=[pieces(RIGHT)]))
    plain.first.steps__["context"] = retriever
    twice = RunnableLambda(lambda q: plain.first.invoke(q) and q) | plain  # there is evidence then
    guarded = guard(twice, policy("after", "raise"))
    assert guarded.invoke("q").text == RIGHT
    assert codes(guarded) == []


def test_a_model_that_asks_another_is_verified_once() -> None:
    class Outer(Speaker):
        inner: BaseChatModel

        def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> ChatResult:
            answer = self.inner.invoke(messages)
            assert isinstance(answer, AIMessage)
            assert answer.text == DRAFT
            return ChatResult(generations=[ChatGeneration(message=answer)])

    guarded = guard(chain(Outer(replies=[], inner=drafting())), policy("gate"))
    assert WRONG not in guarded.invoke("q").text
    assert len(last(guarded).verifications) == 1
    assert handle(guarded).coverage.complete
