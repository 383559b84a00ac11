"""Where users keep a retriever that a function of theirs asks."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import (
    Runnable,
    RunnableConfig,
    RunnableGenerator,
    RunnableLambda,
    chain,
)

from integrations.langchain.tests.matrix.harness import QUESTION, Shape
from integrations.langchain.tests.matrix.parts import (
    ONLY_ASYNC,
    ONLY_SYNC_STREAM,
    PROMPT,
    answering,
    joined,
    model,
    native,
    retriever,
    step,
    step_of,
    store,
)
from integrations.langchain.tests.matrix.shapes_objects import Application

__all__ = ["FUNCTIONS"]

# -- in the module --------------------------------------------------------------------------------

GLOBAL = retriever()
GLOBAL_NATIVE = native()
GLOBAL_MODEL = model()
LISTED = [retriever()]
NAMED = {"contracts": {"current": retriever()}}
STORE = store()
SPACE = SimpleNamespace(retriever=retriever())


def from_global(question: str) -> str:
    return joined(GLOBAL.invoke(question))


def from_helper(question: str) -> str:
    return from_global(question)


def from_list(question: str) -> str:
    return joined(LISTED[0].invoke(question))


def from_dict(question: str) -> str:
    return joined(NAMED["contracts"]["current"].invoke(question))


def from_namespace(question: str) -> str:
    return joined(SPACE.retriever.invoke(question))


def from_store(question: str) -> str:
    return joined(STORE.similarity_search(question, k=4))


def from_store_with_scores(question: str) -> str:
    found = STORE.similarity_search_with_score(question, k=4)
    return joined([document for document, _ in found])


def from_store_mmr(question: str) -> str:
    return joined(STORE.max_marginal_relevance_search(question, k=4))


async def from_store_natively(question: str) -> str:
    return joined(await STORE.asimilarity_search(question, k=4))


def from_stores_retriever(question: str) -> str:
    return joined(STORE.as_retriever(search_kwargs={"k": 4}).invoke(question))


async def natively(question: str) -> str:
    return joined(await GLOBAL_NATIVE.ainvoke(question))


def with_default(question: str, found: BaseRetriever = GLOBAL) -> str:
    return joined(found.invoke(question))


def with_keyword(question: str, *, found: BaseRetriever = GLOBAL) -> str:
    return joined(found.invoke(question))


def with_argument(found: BaseRetriever, question: str) -> str:
    return joined(found.invoke(question))


@functools.lru_cache(maxsize=1)
def settled() -> BaseRetriever:
    """A retriever that is made once, as applications do it."""
    return retriever()


def from_factory(question: str) -> str:
    return joined(settled().invoke(question))


@functools.lru_cache(maxsize=1)
def settled_global() -> BaseRetriever:
    return GLOBAL


def from_cached_function(question: str) -> str:
    return joined(settled_global().invoke(question))


# -- in what a function makes ---------------------------------------------------------------------


def decorating(function: Callable[[str], str]) -> Callable[[str], str]:
    @functools.wraps(function)
    def wrapper(question: str) -> str:
        return function(question.strip())

    return wrapper


decorated = decorating(from_global)


def in_closure() -> Callable[[str], str]:
    found = retriever()
    return lambda question: joined(found.invoke(question))


def in_nested_closures() -> Callable[[str], str]:
    found = retriever()

    def outer(question: str) -> str:
        def inner() -> str:
            return joined([one for one in found.invoke(question) if one.page_content])

        return inner()

    return outer


def in_both_closures() -> Runnable[Any, Any]:
    found = native()

    def find(question: str) -> str:
        return joined(found.invoke(question))

    async def afind(question: str) -> str:
        return joined(await found.ainvoke(question))

    return RunnableLambda(find, afind)


def with_config(question: str, config: RunnableConfig) -> str:
    return joined(GLOBAL.invoke(question, config))


def making_a_chain(question: str) -> Runnable[Any, Any]:
    """LangChain runs what a step returns, if it can be run."""
    return GLOBAL | joined


def words(question: str) -> Iterator[str]:
    for document in GLOBAL.invoke(question):
        yield document.page_content


async def awords(question: str) -> AsyncIterator[str]:
    for document in await GLOBAL_NATIVE.ainvoke(question):
        yield document.page_content


def generating(questions: Iterator[str]) -> Iterator[str]:
    for question in questions:
        yield joined(GLOBAL.invoke(question))


async def agenerating(questions: AsyncIterator[str]) -> AsyncIterator[str]:
    async for question in questions:
        yield joined(await GLOBAL_NATIVE.ainvoke(question))


@chain
def chained(question: str) -> Any:
    context = joined(GLOBAL.invoke(question))
    return (PROMPT | GLOBAL_MODEL).invoke({"context": context, "question": question})


@chain
async def achained(question: str) -> Any:
    context = joined(await GLOBAL.ainvoke(question))
    return await (PROMPT | GLOBAL_MODEL).ainvoke({"context": context, "question": question})


@chain
def streaming(question: str) -> Iterator[Any]:
    context = joined(GLOBAL.invoke(question))
    yield from (PROMPT | GLOBAL_MODEL).stream({"context": context, "question": question})


# -- outside of the call's context ----------------------------------------------------------------


def in_a_pool(question: str) -> str:
    with ThreadPoolExecutor(max_workers=1) as pool:
        return joined(pool.submit(GLOBAL.invoke, question).result())


def in_a_thread(question: str) -> str:
    found: list[Document] = []
    thread = threading.Thread(target=lambda: found.extend(GLOBAL.invoke(question)))
    thread.start()
    thread.join()
    return joined(found)


async def in_a_task(question: str) -> str:
    (found,) = await asyncio.gather(GLOBAL_NATIVE.ainvoke(question))
    return joined(found)


async def in_to_thread(question: str) -> str:
    return joined(await asyncio.to_thread(GLOBAL.invoke, question))


# -- what cannot be reached -----------------------------------------------------------------------


class Config:
    found = GLOBAL


def of_a_class(question: str) -> str:
    return joined(Config.found.invoke(question))


def of_an_object_made_here(question: str) -> str:
    return Application().of_module(question)


COUNT = 0


def counting(question: str) -> str:
    global COUNT  # noqa: PLW0603 -- what cannot be reached
    COUNT += 1
    return joined(GLOBAL.invoke(question))


def given_a_store(given: dict[str, Any]) -> str:
    return joined(given["store"].similarity_search(given["question"], k=4))


# -- the table ------------------------------------------------------------------------------------

FUNCTIONS: dict[str, Shape] = {
    "global": Shape(make=step(from_global)),
    "helper of the module": Shape(make=step(from_helper)),
    "global list": Shape(make=step(from_list)),
    "global dict": Shape(make=step(from_dict)),
    "global namespace": Shape(make=step(from_namespace)),
    "global vector store": Shape(make=step(from_store)),
    "global vector store, scores": Shape(make=step(from_store_with_scores)),
    "global vector store, mmr": Shape(make=step(from_store_mmr)),
    "global vector store, async": Shape(make=step(from_store_natively), raises=ONLY_ASYNC),
    "global vector store, its retriever": Shape(make=step(from_stores_retriever)),
    "cached function with a global": Shape(make=step(from_cached_function)),
    "cached function with a factory": Shape(make=step(from_factory)),
    "coroutine": Shape(make=step(natively), raises=ONLY_ASYNC),
    "default of an argument": Shape(make=step(with_default)),
    "keyword default": Shape(make=step(with_keyword)),
    "decorated function": Shape(make=step(decorated)),
    "closure": Shape(make=step_of(in_closure)),
    "nested closures": Shape(make=step_of(in_nested_closures)),
    "sync and async closures": Shape(make=lambda: answering(in_both_closures())),
    "function with a config": Shape(make=step(with_config)),
    "function that makes a chain": Shape(make=step(making_a_chain)),
    "generator function": Shape(make=step(words), raises=ONLY_SYNC_STREAM),
    "async generator function": Shape(make=step(awords), raises=ONLY_ASYNC),
    "generator": Shape(make=lambda: answering(RunnableGenerator(generating, agenerating))),
    "bound invoke": Shape(make=lambda: answering(RunnableLambda(retriever().invoke) | joined)),
    "partial": Shape(make=step_of(lambda: functools.partial(with_argument, retriever()))),
    "partial with a keyword": Shape(
        make=step_of(lambda: functools.partial(with_keyword, found=retriever()))
    ),
    "partial of a method": Shape(make=step_of(lambda: functools.partial(Application().own))),
    "chain decorator": Shape(make=lambda: chained),
    "chain decorator, coroutine": Shape(make=lambda: achained, raises=ONLY_ASYNC),
    "chain decorator, generator": Shape(make=lambda: streaming, raises=ONLY_SYNC_STREAM),
    # In a thread without the call's context nobody can tell which call it belongs to.
    "thread pool": Shape(make=step(in_a_pool), runs=2, evidence=False),
    "thread": Shape(make=step(in_a_thread), runs=2, evidence=False),
    "task": Shape(make=step(in_a_task), raises=ONLY_ASYNC),
    "to_thread": Shape(make=step(in_to_thread), raises=ONLY_ASYNC),
    "class": Shape(
        make=step(of_a_class), retrievals=0, dropped=0, unreached=("belongs to a class",)
    ),
    "object made in the function": Shape(
        make=step(of_an_object_made_here),
        retrievals=0,
        dropped=0,
        unreached=("belongs to a class",),
    ),
    "function that assigns a global": Shape(
        make=step(counting), retrievals=0, dropped=0, unreached=("assigns the global COUNT",)
    ),
    "store in the input": Shape(
        make=lambda: RunnableLambda(given_a_store) | str | model(),
        given={"store": STORE, "question": QUESTION},
        retrievals=0,
        dropped=0,
        unreached=("calls similarity_search of something that could not be found",),
    ),
}
