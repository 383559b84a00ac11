"""LCEL chains of every shape: guarded once per call, and otherwise as they were."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import pytest
from langchain_classic.chains import RetrievalQA, create_retrieval_chain
from langchain_classic.chains.combine_documents import create_stuff_documents_chain
from langchain_classic.chains.history_aware_retriever import create_history_aware_retriever
from langchain_classic.retrievers import (
    ContextualCompressionRetriever,
    EnsembleRetriever,
    MultiQueryRetriever,
)
from langchain_core.callbacks import Callbacks
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import (
    ConfigurableField,
    Runnable,
    RunnableBranch,
    RunnableGenerator,
    RunnableLambda,
    RunnablePassthrough,
    chain,
)
from langchain_core.runnables.history import RunnableWithMessageHistory
from langchain_core.tools import create_retriever_tool
from langchain_core.vectorstores import InMemoryVectorStore

from ctxguard import Ledger, Policy, guard, handle
from ctxguard_langchain.testing import (
    AsyncFixedRetriever,
    FixedRetriever,
    HashEmbeddings,
    ScriptedChatModel,
)

TEXTS = [
    "The notice period for ending the supply agreement is thirty days, given in writing.",
    "The notice period for ending the supply agreement is thirty days, given in writing.",
    "Payment is due within fourteen days after the invoice has been received by the buyer.",
    "Payment is due within fourteen days after the invoice has been received by the buyer. ",
]
DOCUMENTS = [Document(page_content=text, id=str(n)) for n, text in enumerate(TEXTS)]
PROMPT = ChatPromptTemplate.from_template("Context:\n{context}\n\nQuestion: {question}")
QUESTION = "What is the notice period?"


def join(documents: list[Document]) -> str:
    return "\n\n".join(document.page_content for document in documents)


def retriever() -> FixedRetriever:
    return FixedRetriever(documents=DOCUMENTS)


def native() -> AsyncFixedRetriever:
    return AsyncFixedRetriever(documents=DOCUMENTS)


def store() -> InMemoryVectorStore:
    made = InMemoryVectorStore(HashEmbeddings())
    made.add_documents(DOCUMENTS)
    return made


def answering(context: Any) -> Runnable[Any, Any]:
    """The usual chain around something that finds the context."""
    steps = {"context": context, "question": RunnablePassthrough()}
    return steps | PROMPT | ScriptedChatModel() | StrOutputParser()


# -- shapes; each holds exactly one retrieval and at least one model, unless it says otherwise --


def with_closure(found: FixedRetriever) -> Runnable[Any, Any]:
    return RunnableLambda(lambda question: join(found.invoke(question)))


def with_two_closures(found: FixedRetriever) -> Runnable[Any, Any]:
    def sync(question: str) -> str:
        return join(found.invoke(question))

    async def native(question: str) -> str:
        return join(await found.ainvoke(question))

    return RunnableLambda(sync, native)


GLOBAL = retriever()
GLOBAL_MODEL = ScriptedChatModel()
LISTED = [retriever()]
STORE = store()


def from_global(question: str) -> str:
    return join(GLOBAL.invoke(question))


def from_helper(question: str) -> str:
    return from_global(question)


def from_list(question: str) -> str:
    return join(LISTED[0].invoke(question))


def from_store(question: str) -> str:
    return join(STORE.similarity_search(question, k=4))


@chain
def decorated(question: str) -> Any:
    context = join(GLOBAL.invoke(question))
    return (PROMPT | GLOBAL_MODEL).invoke({"context": context, "question": question})


class Application:
    """An object of an application, whose bound method is a step."""

    shared = GLOBAL

    def __init__(self) -> None:
        self.found = retriever()

    def own(self, question: str) -> str:
        return join(self.found.invoke(question))

    def of_class(self, question: str) -> str:
        return join(self.shared.invoke(question))

    def of_module(self, question: str) -> str:
        return self._search(question)

    def _search(self, question: str) -> str:
        return join(GLOBAL.invoke(question))


def with_default(question: str, found: FixedRetriever = GLOBAL) -> str:
    return join(found.invoke(question))


def with_argument(found: FixedRetriever, question: str) -> str:
    return join(found.invoke(question))


def generating(questions: Iterator[str]) -> Iterator[str]:
    for question in questions:
        yield join(GLOBAL.invoke(question))


async def agenerating(questions: AsyncIterator[str]) -> AsyncIterator[str]:
    async for question in questions:
        yield join(await GLOBAL.ainvoke(question))


def assigned() -> Runnable[Any, Any]:
    find = RunnablePassthrough.assign(context=lambda given: join(GLOBAL.invoke(given["question"])))
    return find | PROMPT | ScriptedChatModel()


def branched() -> Runnable[Any, Any]:
    return (
        RunnableBranch((lambda _: True, answering(retriever() | join)), answering(str))
        | StrOutputParser()
    )


def configurable() -> Runnable[Any, Any]:
    model = ScriptedChatModel().configurable_fields(script=ConfigurableField(id="script"))
    steps = {"context": retriever() | join, "question": RunnablePassthrough()}
    return (steps | PROMPT | model).with_config(configurable={"script": ["configured"]})


def falling_back() -> Runnable[Any, Any]:
    steps = {"context": retriever().with_retry() | join, "question": RunnablePassthrough()}
    return steps | PROMPT | ScriptedChatModel().with_fallbacks([ScriptedChatModel()])


def alternative() -> Runnable[Any, Any]:
    model = ScriptedChatModel().configurable_alternatives(
        ConfigurableField(id="model"), made=lambda: ScriptedChatModel(script=["made"])
    )
    steps = {"context": retriever() | join, "question": RunnablePassthrough()}
    return (steps | PROMPT | model).with_config(configurable={"model": "made"})


def with_history() -> Runnable[Any, Any]:
    histories: dict[str, Any] = {}
    prompt = ChatPromptTemplate.from_messages(
        [("system", "{context}"), ("placeholder", "{history}"), ("user", "{question}")]
    )
    find = RunnablePassthrough.assign(context=lambda given: join(GLOBAL.invoke(given["question"])))
    return RunnableWithMessageHistory(
        find | prompt | ScriptedChatModel() | StrOutputParser(),
        lambda session_id: histories.setdefault(session_id, InMemoryChatMessageHistory()),
        input_messages_key="question",
        history_messages_key="history",
    ).with_config(configurable={"session_id": "1"})


STUFF = ChatPromptTemplate.from_template("{context} {input}")


def retrieval_chain() -> Runnable[Any, Any]:
    combine = create_stuff_documents_chain(ScriptedChatModel(), STUFF)
    return create_retrieval_chain(retriever(), combine)


def history_aware() -> Runnable[Any, Any]:
    found = create_history_aware_retriever(
        ScriptedChatModel(), retriever(), STUFF.partial(context="")
    )
    return create_retrieval_chain(found, create_stuff_documents_chain(ScriptedChatModel(), STUFF))


class KeepAll(BaseDocumentCompressor):
    """Compresses nothing."""

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        return documents


def compressed() -> Runnable[Any, Any]:
    found = ContextualCompressionRetriever(base_retriever=retriever(), base_compressor=KeepAll())
    return answering(found | join)


def ensemble() -> Runnable[Any, Any]:
    # Both bring the same texts under other ids, so each alone has nothing to leave out.
    first = FixedRetriever(documents=DOCUMENTS[::2])
    second = AsyncFixedRetriever(
        documents=[
            Document(page_content=d.page_content + " ", id=f"x{d.id}") for d in DOCUMENTS[::2]
        ]
    )
    return answering(EnsembleRetriever(retrievers=[first, second], weights=[0.5, 0.5]) | join)


def many_queries() -> Runnable[Any, Any]:
    doubled = FixedRetriever(documents=DOCUMENTS)
    return answering(
        MultiQueryRetriever.from_llm(doubled, ScriptedChatModel(script=["one\ntwo"])) | join
    )


@pytest.mark.filterwarnings("ignore:The class `RetrievalQA` was deprecated")
def retrieval_qa() -> Runnable[Any, Any]:
    return RetrievalQA.from_chain_type(ScriptedChatModel(), retriever=retriever())


SHAPES: dict[str, Callable[[], Runnable[Any, Any]]] = {
    "retriever": retriever,
    "async retriever": native,
    "sequence": lambda: answering(retriever() | join),
    "sequence, async retriever": lambda: answering(native() | join),
    "closure": lambda: answering(with_closure(retriever())),
    "sync and async closures": lambda: answering(with_two_closures(retriever())),
    "global": lambda: answering(from_global),
    "helper of the module": lambda: answering(from_helper),
    "global list": lambda: answering(from_list),
    "global vector store": lambda: answering(from_store),
    "bound invoke": lambda: answering(RunnableLambda(retriever().invoke) | join),
    "default of an argument": lambda: answering(RunnableLambda(with_default)),
    "partial": lambda: answering(RunnableLambda(functools.partial(with_argument, retriever()))),
    "generator": lambda: answering(RunnableGenerator(generating, agenerating)),
    "method of an object": lambda: answering(Application().own),
    "attribute of a class": lambda: answering(Application().of_class),
    "global in a method": lambda: answering(Application().of_module),
    "with_config and bind": lambda: answering(retriever().with_config(tags=["x"]) | join),
    "retry and fallbacks": falling_back,
    "assign": assigned,
    "branch": branched,
    "chain decorator": lambda: decorated,
    "configurable fields": configurable,
    "alternative made late": alternative,
    "vector store retriever": lambda: answering(
        store().as_retriever(search_kwargs={"k": 4}) | join
    ),
    "message history": with_history,
    "create_retrieval_chain": retrieval_chain,
    "history-aware retriever": history_aware,
    "RetrievalQA": retrieval_qa,
    "ensemble": ensemble,
    "compression": compressed,
    "multi-query": many_queries,
    "each": lambda: retriever().map(),
    "retriever tool": lambda: create_retriever_tool(retriever(), "search", "Finds documents."),
}
INPUTS: dict[str, Any] = {
    "assign": {"question": QUESTION},
    "message history": {"question": QUESTION},
    "create_retrieval_chain": {"input": QUESTION},
    "history-aware retriever": {"input": QUESTION, "chat_history": []},
    "RetrievalQA": {"query": QUESTION},
    "each": [QUESTION],
    "retriever tool": {"query": QUESTION},
}
NO_MODEL = {"retriever", "async retriever", "each", "retriever tool"}
NOTHING_LEFT_OUT = {"multi-query"}
"""LangChain's own duplicates are gone here before the policy sees them; one text remains twice."""

pytestmark = [
    pytest.mark.anyio,
    # Of LangChain's own old chains, which people still guard.
    pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainDeprecationWarning"),
]


async def calls(runnable: Runnable[Any, Any], given: Any) -> dict[str, Any]:
    """The outputs of every way to call a runnable."""
    return {
        "invoke": runnable.invoke(given),
        "ainvoke": await runnable.ainvoke(given),
        "stream": list(runnable.stream(given)),
        "astream": [part async for part in runnable.astream(given)],
        "batch": runnable.batch([given, given]),
        "abatch": await runnable.abatch([given, given]),
    }


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_every_call_is_one_run_with_one_retrieval(shape: str) -> None:
    guarded = guard(SHAPES[shape]())
    await calls(guarded, INPUTS.get(shape, QUESTION))
    ledgers = handle(guarded).ledgers
    assert len(ledgers) == 8  # two of them are items of a batch, two of an async batch
    for ledger in ledgers:
        check(ledger, shape)


def check(ledger: Ledger, shape: str) -> None:
    """One retrieval, whose copies are left out, and what it found is evidence in the prompt."""
    assert not ledger.error
    assert not ledger.errors
    retrievals = [step for step in ledger.steps if step.kind == "retrieval"]
    assert len(retrievals) == 1
    assert ledger.tokens_kept < ledger.tokens_in or shape in NOTHING_LEFT_OUT
    if shape not in NO_MODEL:
        assert ledger.steps[-1].kind == "model"
        assert any(segment.kind == "evidence" for segment in ledger.segments)


async def test_a_policy_that_does_nothing_changes_nothing(shape: str) -> None:
    plain, given = SHAPES[shape](), INPUTS.get(shape, QUESTION)
    expected = await calls(plain, given)
    assert without_ids(await calls(guard(plain, Policy.off()), given)) == without_ids(expected)


def without_ids(value: Any) -> Any:
    """Outputs without the ids that LangChain draws for each run."""
    if isinstance(value, dict):
        return {key: without_ids(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_ids(item) for item in value]
    has_id = hasattr(value, "usage_metadata")
    return value.model_copy(update={"id": None}) if has_id else value


async def test_it_is_of_the_same_type_and_the_original_stays_plain(shape: str) -> None:
    plain, given = SHAPES[shape](), INPUTS.get(shape, QUESTION)
    guarded = guard(plain)
    assert isinstance(guarded, type(plain))
    assert type(guarded).__name__ == type(plain).__name__
    assert type(guarded).__module__ == type(plain).__module__
    assert repr(type(guarded)) == repr(type(plain))
    assert guarded.get_name() == plain.get_name()
    await calls(plain, given)
    assert handle(guarded).ledgers == ()
    assert handle(guarded).unguard() is plain
    assert not hasattr(plain, "ctxguard")


async def test_everything_was_reached(shape: str) -> None:
    coverage = handle(guard(SHAPES[shape]())).coverage
    assert coverage.complete
    kinds = {item.kind for item in coverage.reached}
    assert kinds == ({"retriever"} if shape in NO_MODEL else {"retriever", "model"})
