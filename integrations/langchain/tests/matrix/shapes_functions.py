"""Where users keep a retriever that a function of theirs asks."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import tenacity
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import (
    Runnable,
    RunnableConfig,
    RunnableGenerator,
    RunnableLambda,
    chain,
)
from langsmith import traceable

from ctxguard_langchain import testing
from integrations.langchain.tests.matrix.harness import DOCUMENTS, Shape
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


def from_import(question: str) -> str:
    from integrations.langchain.tests.matrix.shapes_objects import GLOBAL as FOUND

    return joined(FOUND.invoke(question))


def from_imported_module(question: str) -> str:
    import integrations.langchain.tests.matrix.shapes_objects as shelf
    from integrations.langchain.tests.matrix import shapes_objects

    assert shelf.GLOBAL is shapes_objects.GLOBAL
    return joined(shelf.GLOBAL.invoke(question))


def from_search(question: str) -> str:
    return joined(STORE.search(question, "similarity", k=4))


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
traced = traceable(from_global)
patient = tenacity.retry(stop=tenacity.stop_after_attempt(2))(from_global)


def in_a_batch(question: str) -> str:
    return joined(GLOBAL.batch([question])[0])


def in_a_stream(question: str) -> str:
    return joined([one for found in GLOBAL.stream(question) for one in found])


def by_map(question: str) -> str:
    return joined(next(map(GLOBAL.invoke, [question])))


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


def from_imported_class(question: str) -> str:
    from ctxguard_langchain.testing import FixedRetriever

    return joined(FixedRetriever(documents=DOCUMENTS).invoke(question))


def from_renamed_class(question: str) -> str:
    from ctxguard_langchain.testing import FixedRetriever as Clauses

    return joined(Clauses(documents=DOCUMENTS).invoke(question))


def from_class_of_a_module(question: str) -> str:
    return joined(testing.FixedRetriever(documents=DOCUMENTS).invoke(question))


def comparing(question: str) -> str:
    from ctxguard_langchain.testing import FixedRetriever

    assert isinstance(GLOBAL, FixedRetriever)
    return joined(GLOBAL.invoke(question))


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
    "global vector store, by search": Shape(make=step(from_search)),
    "import": Shape(make=step(from_import)),
    "import of a module": Shape(make=step(from_imported_module)),
    "import of a class": Shape(make=step(from_imported_class)),
    "import of a class by another name": Shape(make=step(from_renamed_class)),
    "import of a class to compare with": Shape(make=step(comparing)),
    "class of a module": Shape(make=step(from_class_of_a_module)),
    "traced function": Shape(make=step(traced)),
    "retried function": Shape(make=step(patient)),
    "batch of one": Shape(make=step(in_a_batch)),
    "stream of documents": Shape(make=step(in_a_stream)),
    "map": Shape(make=step(by_map)),
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
}
