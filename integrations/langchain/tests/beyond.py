"""Chains whose retrieval no copy reaches, for `scope="process"` and `guarded()`."""

from __future__ import annotations

import functools
import operator
import sys
import types
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.tools import create_retriever_tool
from langchain_core.vectorstores import InMemoryVectorStore

from ctxguard_langchain.testing import FixedRetriever

FOREIGN = """
class Holder:
    def __init__(self, held):
        self.parts = {"held": [held]}

    def find(self, question):
        return self.parts["held"][0].invoke(question)


def search(store, question):
    return store.similarity_search(question, k=10)
"""


@pytest.fixture(scope="session")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[types.ModuleType]:
    """An installed package that does not know LangChain."""
    folder = tmp_path_factory.mktemp("site") / "site-packages"
    folder.mkdir()
    Path(folder, "foreign_app.py").write_text(FOREIGN, "utf-8")
    sys.path.insert(0, str(folder))
    yield __import__("foreign_app")
    sys.path.remove(str(folder))
    sys.modules.pop("foreign_app", None)


class OwnInvoke(FixedRetriever):
    """Overrides what applications call, and never comes to the method below."""

    def invoke(self, input: str, config: Any = None, **kwargs: Any) -> list[Document]:  # noqa: A002 -- LangChain's name
        return list(self.documents)


HELD: list[Any] = []
_counter = 0


def _from_global(question: str) -> list[Document]:
    global _counter  # noqa: PLW0603 -- such a function cannot be made anew
    _counter += 1
    return HELD[-1].invoke(question)


Shape = Callable[[BaseRetriever, InMemoryVectorStore, types.ModuleType], Runnable[str, Any]]


def _global_list(retriever: BaseRetriever, *_: object) -> Runnable[str, Any]:
    HELD.append(retriever)
    return RunnableLambda(_from_global)


def _tool(retriever: BaseRetriever, *_: object) -> Runnable[str, Any]:
    made = create_retriever_tool(
        retriever, "search", "Searches.", response_format="content_and_artifact"
    )
    call = {"name": "search", "id": "1", "type": "tool_call"}
    return (
        RunnableLambda(lambda question: {**call, "args": {"query": question}})
        | made
        | RunnableLambda(operator.attrgetter("artifact"))
    )


def _own(retriever: BaseRetriever) -> OwnInvoke:
    return OwnInvoke(documents=cast("FixedRetriever", retriever).documents)


SHAPES: Mapping[str, Shape] = {
    "foreign object": lambda r, s, f: RunnableLambda(f.Holder(r).find),
    "foreign function": lambda r, s, f: RunnableLambda(functools.partial(f.search, s)),
    "global list": _global_list,
    "own invoke": lambda r, s, f: RunnableLambda(f.Holder(_own(r)).find),
    "bound method": lambda r, s, f: RunnableLambda(r.invoke),
    "store": lambda r, s, f: RunnableLambda(lambda question: s.similarity_search(question, k=10)),
    "tool": _tool,
}


async def _joined(items: AsyncIterator[Any]) -> Any:
    return [document async for part in items for document in part]


async def invoke(chain: Runnable[str, Any], question: str) -> Any:
    return chain.invoke(question)


async def stream(chain: Runnable[str, Any], question: str) -> Any:
    return [document for part in chain.stream(question) for document in part]


async def batch(chain: Runnable[str, Any], question: str) -> Any:
    return chain.batch([question, question])[1]


async def abatch(chain: Runnable[str, Any], question: str) -> Any:
    return (await chain.abatch([question, question]))[1]


MODES: Mapping[str, Callable[[Runnable[str, Any], str], Any]] = {
    "invoke": invoke,
    "ainvoke": lambda chain, question: chain.ainvoke(question),
    "stream": stream,
    "astream": lambda chain, question: _joined(chain.astream(question)),
    "batch": batch,
    "abatch": abatch,
}


def ids(documents: list[Document]) -> list[str]:
    return sorted(str(document.id) for document in documents)
