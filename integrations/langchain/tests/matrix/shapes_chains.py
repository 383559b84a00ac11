"""What LangChain composes: sequences, branches, retries, fallbacks, configuration, tools."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from operator import itemgetter
from typing import Any
from uuid import uuid4

from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.documents import Document
from langchain_core.messages import BaseMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import (
    ConfigurableField,
    RouterRunnable,
    Runnable,
    RunnableBranch,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
    RunnableSequence,
)
from langchain_core.runnables.history import RunnableWithMessageHistory
from langchain_core.tools import BaseTool, StructuredTool, create_retriever_tool, tool
from pydantic import Field
from typing_extensions import override

from ctxguard_langchain.testing import FixedRetriever, ScriptedChatModel
from integrations.langchain.tests.matrix.harness import DOCUMENTS, QUESTION, V3_UNSUPPORTED, Shape
from integrations.langchain.tests.matrix.parts import (
    FALLBACKS,
    PROMPT,
    answering,
    joined,
    model,
    native,
    retriever,
    step,
    store,
)

__all__ = ["CHAINS", "Broken", "BrokenModel", "Flaky"]

GLOBAL = retriever()


# -- what fails -----------------------------------------------------------------------------------


class Broken(FixedRetriever):
    """Fails always."""

    @override
    def _get_relevant_documents(self, query: str, **kwargs: Any) -> list[Document]:
        raise ConnectionError("the index is gone")


class Flaky(FixedRetriever):
    """Fails the first time that an item of the batch asks it."""

    failed: list[int] = Field(default_factory=list[int], repr=False)

    @override
    def _get_relevant_documents(self, query: str, *, run_manager: Any, **kwargs: Any) -> Any:
        fail_once(self.failed, run_manager)
        return list(self.documents)


class BrokenModel(ScriptedChatModel):
    """Fails always."""

    @override
    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        raise ConnectionError("the server is gone")

    @override
    def _stream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        raise ConnectionError("the server is gone")

    @override
    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        raise ConnectionError("the server is gone")
        yield


class FlakyModel(ScriptedChatModel):
    """Fails the first time that an item of the batch asks it."""

    failed: list[int] = Field(default_factory=list[int], exclude=True, repr=False)

    @override
    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        fail_once(self.failed, run_manager)
        return super()._generate(messages, stop, run_manager, **kwargs)


def fail_once(failed: list[int], run_manager: Any) -> None:
    item = run_manager.metadata["item"]
    if item not in failed:
        failed.append(item)
        raise ConnectionError("the server is away")


def retried(runnable: Runnable[Any, Any]) -> Runnable[Any, Any]:
    return runnable.with_retry(wait_exponential_jitter=False)


# -- around a model -------------------------------------------------------------------------------


def asking(asked: Any, context: Any = None) -> Runnable[Any, Any]:
    steps = {"context": context or (retriever() | joined), "question": RunnablePassthrough()}
    return steps | PROMPT | asked | StrOutputParser()


def assigned() -> Runnable[Any, Any]:
    find = RunnablePassthrough.assign(
        context=lambda given: joined(GLOBAL.invoke(given["question"]))
    )
    return find | PROMPT | model()


def assigned_twice() -> Runnable[Any, Any]:
    """The usual way to give the sources with the answer."""
    answer = RunnablePassthrough.assign(context=lambda given: joined(given["documents"])) | PROMPT
    found = {"documents": retriever(), "question": RunnablePassthrough()}
    return RunnableParallel(found).assign(answer=answer | model() | StrOutputParser())


def branched() -> Runnable[Any, Any]:
    branch = RunnableBranch((lambda _: True, answering(retriever() | joined)), answering(str))
    return branch | StrOutputParser()


def routed() -> Runnable[Any, Any]:
    chains = {"contracts": answering(retriever() | joined), "other": answering(str)}
    chosen = RunnableParallel(key=lambda _: "contracts", input=str)
    return RunnableSequence(chosen, RouterRunnable(chains))


def routed_by_a_function() -> Runnable[Any, Any]:
    """A function that returns the chain to go on with."""
    contracts, other = answering(retriever() | joined), answering(native() | joined)
    return RunnableLambda(lambda question: contracts if question else other)


def two_retrievers() -> Runnable[Any, Any]:
    found = {"left": retriever() | joined, "right": native() | joined}
    return RunnableParallel(found) | itemgetter("left") | model()


def history() -> Runnable[Any, Any]:
    histories: dict[str, Any] = {}
    prompt = ChatPromptTemplate.from_messages(
        [("system", "{context}"), ("placeholder", "{history}"), ("user", "{question}")]
    )
    find = RunnablePassthrough.assign(
        context=lambda given: joined(GLOBAL.invoke(given["question"]))
    )
    return RunnableWithMessageHistory(
        find | prompt | model() | StrOutputParser(),
        lambda session_id: histories.setdefault(session_id, InMemoryChatMessageHistory()),
        input_messages_key="question",
        history_messages_key="history",
    )


# -- configuration --------------------------------------------------------------------------------


def configurable_model() -> Runnable[Any, Any]:
    asked = model().configurable_fields(script=ConfigurableField(id="script"))
    return asking(asked).with_config(configurable={"script": ["configured"]})


def configurable_retriever() -> Runnable[Any, Any]:
    found = retriever().configurable_fields(k=ConfigurableField(id="k"))
    return answering(found | joined)


def alternative_model() -> Runnable[Any, Any]:
    asked = model().configurable_alternatives(
        ConfigurableField(id="model"), other=model("other"), made=lambda: model("made")
    )
    return asking(asked)


def alternative_retriever() -> Runnable[Any, Any]:
    found = retriever().configurable_alternatives(
        ConfigurableField(id="retriever"), default_key="sync", native=native()
    )
    return answering(found | joined)


# -- tools ----------------------------------------------------------------------------------------


@tool
def search(query: str) -> str:
    """Finds clauses."""
    return joined(GLOBAL.invoke(query))


@tool
async def asearch(query: str) -> str:
    """Finds clauses."""
    return joined(await GLOBAL.ainvoke(query))


@tool(response_format="content_and_artifact")
def search_with_sources(query: str) -> tuple[str, list[Document]]:
    """Finds clauses."""
    found = GLOBAL.invoke(query)
    return joined(found), found


class Search(BaseTool):
    """A tool of its own class."""

    name: str = "search"
    description: str = "Finds clauses."

    @override
    def _run(self, query: str) -> str:
        return joined(GLOBAL.invoke(query))


def structured_tool() -> BaseTool:
    found = native()

    def find(query: str) -> str:
        return joined(found.invoke(query))

    async def afind(query: str) -> str:
        return joined(await found.ainvoke(query))

    return StructuredTool.from_function(find, afind, name="search", description="Finds clauses.")


def retriever_tool(**options: Any) -> BaseTool:
    return create_retriever_tool(retriever(), "search", "Finds clauses.", **options)


# -- the table ------------------------------------------------------------------------------------

ASKED = {"question": QUESTION}
QUERY = {"query": QUESTION}
CALL = {"name": "search", "args": QUERY, "id": "call-1", "type": "tool_call"}
ONLY_ASYNC_TOOL = {
    **V3_UNSUPPORTED,
    **dict.fromkeys(("invoke", "stream", "batch"), NotImplementedError),
}
NO_RETRY_OF_STREAMS = {
    **V3_UNSUPPORTED,
    **dict.fromkeys(("stream", "astream", "events"), ConnectionError),
}
"""LangChain does not retry a stream."""

CHAINS: dict[str, Shape] = {
    "retriever": Shape(make=retriever, models=0),
    "async retriever": Shape(make=native, models=0),
    "vector store retriever": Shape(
        make=lambda: store().as_retriever(search_kwargs={"k": 4}), models=0
    ),
    "vector store retriever, mmr": Shape(
        make=lambda: store().as_retriever(search_type="mmr", search_kwargs={"k": 4}), models=0
    ),
    "vector store retriever, threshold": Shape(
        make=lambda: store().as_retriever(
            search_type="similarity_score_threshold",
            search_kwargs={"k": 4, "score_threshold": 0.0},
        ),
        models=0,
    ),
    "sequence": Shape(make=lambda: answering(retriever() | joined)),
    "sequence, async retriever": Shape(make=lambda: answering(native() | joined)),
    "sequence, vector store": Shape(
        make=lambda: answering(store().as_retriever(search_kwargs={"k": 4}) | joined)
    ),
    "with_config": Shape(make=lambda: answering(retriever().with_config(tags=["x"]) | joined)),
    "bind": Shape(make=lambda: answering(native().bind(k=3) | joined), dropped=1),
    "with_listeners": Shape(
        make=lambda: answering(retriever().with_listeners(on_end=lambda _: None) | joined)
    ),
    "with_types": Shape(make=lambda: answering(retriever() | joined).with_types(input_type=str)),
    "assign": Shape(make=assigned, given=ASKED),
    "sources and answer": Shape(make=assigned_twice, unordered=True),
    "pick": Shape(make=lambda: assigned_twice().pick("answer")),
    "branch": Shape(make=branched),
    "router": Shape(make=routed),
    "function that routes": Shape(make=routed_by_a_function),
    "two retrievers": Shape(make=two_retrievers, retrievals=2, dropped=4, evidence=True),
    "parallel": Shape(
        make=lambda: RunnableParallel(one=retriever(), other=answering(native() | joined)),
        retrievals=2,
        dropped=4,
        unordered=True,
    ),
    "each": Shape(
        make=lambda: retriever().map(),
        given=[QUESTION],
        models=0,
        raises={**V3_UNSUPPORTED, "events": NotImplementedError},
    ),
    "each of many": Shape(
        make=lambda: RunnableLambda(lambda question: [question] * 3) | retriever().map(),
        models=0,
        retrievals=3,
        dropped=6,
    ),
    "message history": Shape(
        make=history,
        given=ASKED,
        then=(ASKED,),
        config=lambda: {"configurable": {"session_id": str(uuid4())}},
        retrievals=2,
        models=2,
        dropped=4,
    ),
    "configurable fields of a model": Shape(make=configurable_model),
    "configurable fields of a retriever": Shape(
        make=configurable_retriever, config=lambda: {"configurable": {"k": 3}}, dropped=1
    ),
    "alternative model, default": Shape(make=alternative_model),
    "alternative model": Shape(
        make=alternative_model, config=lambda: {"configurable": {"model": "other"}}
    ),
    "alternative model, made late": Shape(
        make=alternative_model, config=lambda: {"configurable": {"model": "made"}}
    ),
    "alternative retriever": Shape(
        make=alternative_retriever, config=lambda: {"configurable": {"retriever": "native"}}
    ),
    "retry, at the first attempt": Shape(make=lambda: answering(retriever().with_retry() | joined)),
    "retry of a retriever": Shape(
        make=lambda: answering(retried(Flaky(documents=DOCUMENTS)) | joined),
        raises=NO_RETRY_OF_STREAMS,
    ),
    "retry of a model": Shape(
        make=lambda: asking(retried(FlakyModel(disable_streaming=True))),
        models=2,  # each attempt is a call
        raises=NO_RETRY_OF_STREAMS,
    ),
    "retry of a chain": Shape(
        make=lambda: retried(asking(FlakyModel(disable_streaming=True))),
        retrievals=2,
        dropped=4,
        models=2,
        raises=NO_RETRY_OF_STREAMS,
    ),
    "fallback, not needed": Shape(
        make=lambda: asking(model().with_fallbacks([model()])), item_by_item=FALLBACKS
    ),
    "fallback of a retriever": Shape(
        make=lambda: answering(Broken().with_fallbacks([retriever()]) | joined)
    ),
    "fallback of a model": Shape(
        make=lambda: asking(BrokenModel().with_fallbacks([model("from the fallback")])),
        models=2,
        item_by_item=FALLBACKS,
    ),
    "fallback of a chain": Shape(
        make=lambda: asking(BrokenModel()).with_fallbacks([answering(native() | joined)]),
        retrievals=2,
        dropped=4,
        models=2,
        item_by_item=FALLBACKS,
    ),
    "failing retriever": Shape(
        make=lambda: answering(Broken() | joined),
        raises={
            **dict.fromkeys(
                ("invoke", "ainvoke", "stream", "astream", "batch", "abatch", "events"),
                ConnectionError,
            ),
            **V3_UNSUPPORTED,
        },
    ),
    "failing model": Shape(
        make=lambda: asking(BrokenModel()),
        raises={
            **dict.fromkeys(
                ("invoke", "ainvoke", "stream", "astream", "batch", "abatch", "events"),
                ConnectionError,
            ),
            **V3_UNSUPPORTED,
        },
    ),
    "tool": Shape(make=lambda: search, given=QUERY, models=0),
    "tool, called": Shape(make=lambda: search, given=CALL, models=0),
    "tool, coroutine": Shape(make=lambda: asearch, given=QUERY, models=0, raises=ONLY_ASYNC_TOOL),
    "tool, with sources": Shape(make=lambda: search_with_sources, given=CALL, models=0),
    "tool of its own class": Shape(make=Search, given=QUERY, models=0),
    "structured tool": Shape(make=structured_tool, given=QUERY, models=0),
    "retriever tool": Shape(make=retriever_tool, given=QUERY, models=0),
    "retriever tool, with documents": Shape(
        make=lambda: retriever_tool(response_format="content_and_artifact"), given=CALL, models=0
    ),
    "chain as a tool": Shape(
        make=lambda: (RunnableLambda(itemgetter("query")) | retriever() | joined).as_tool(
            name="search", description="Finds clauses.", arg_types={"query": str}
        ),
        given=QUERY,
        models=0,
    ),
    "chain that asks a tool": Shape(make=step(lambda question: search.invoke({"query": question}))),
}
