"""Guards within guards: what is guarded already keeps its own policy, and applies it once."""

from __future__ import annotations

from typing import Any

from langchain_classic.retrievers import ContextualCompressionRetriever, EnsembleRetriever
from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import (
    Runnable,
    RunnableBranch,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
    RunnableSequence,
)
from langchain_core.tools import create_retriever_tool

from ctxguard import Policy, guard
from ctxguard_langchain.testing import FixedRetriever
from integrations.langchain.tests.matrix.harness import DOCUMENTS, Shape
from integrations.langchain.tests.matrix.parts import (
    FALLBACKS,
    PROMPT,
    answering,
    joined,
    model,
    native,
    retriever,
    store,
)
from integrations.langchain.tests.matrix.shapes_chains import BrokenModel
from integrations.langchain.tests.matrix.shapes_classic import KeepAll

__all__ = ["NESTED"]


def asking(found: Any, asked: Any) -> Runnable[Any, Any]:
    steps = {"context": found | RunnableLambda(joined), "question": RunnablePassthrough()}
    return steps | PROMPT | asked | StrOutputParser()


def inner() -> Runnable[Any, Any]:
    return guard(answering(retriever() | joined))


def in_a_function() -> Runnable[Any, Any]:
    chain = inner()
    return RunnableLambda(lambda question: chain.invoke(question).upper())


def in_both_functions() -> Runnable[Any, Any]:
    chain = inner()

    async def ask(question: str) -> str:
        return (await chain.ainvoke(question)).upper()

    return RunnableLambda(lambda question: chain.invoke(question).upper(), ask)


def searching() -> Runnable[Any, Any]:
    guarded = guard(store())
    return answering(lambda question: joined(guarded.similarity_search(question, k=4)))


def ensemble(first: Any, second: Any) -> Runnable[Any, Any]:
    found = EnsembleRetriever(retrievers=[first, second], weights=[0.5, 0.5])
    return answering(found | joined)


def compressing(found: Any) -> Any:
    return ContextualCompressionRetriever(base_retriever=found, base_compressor=KeepAll())


def with_tool() -> Runnable[Any, Any]:
    tool = guard(create_retriever_tool(retriever(), "search", "Finds clauses."))
    return answering(RunnableLambda(lambda question: {"query": question}) | tool)


def halves() -> list[Any]:
    """Two retrievers of which each alone has nothing to leave out."""
    others = [Document(page_content=f"{d.page_content} ", id=f"x{d.id}") for d in DOCUMENTS[:2]]
    return [
        guard(FixedRetriever(documents=DOCUMENTS[:2])),
        guard(FixedRetriever(documents=others)),
    ]


NESTED: dict[str, Shape] = {
    "retriever": Shape(make=lambda: answering(guard(retriever()) | joined), children=1),
    "async retriever": Shape(make=lambda: answering(guard(native()) | joined), children=1),
    "model": Shape(make=lambda: asking(retriever(), guard(model())), children=1),
    "bound model": Shape(
        make=lambda: asking(retriever(), guard(model()).bind(stop=["x"])), children=1
    ),
    "retriever and model": Shape(make=lambda: asking(guard(native()), guard(model())), children=2),
    "retriever with another policy": Shape(
        make=lambda: answering(guard(retriever(), Policy.off()) | joined), children=1, dropped=0
    ),
    "retriever with another policy in a retriever": Shape(
        make=lambda: answering(compressing(guard(retriever(), Policy.lean())) | joined),
        children=1,
        retrievals=2,  # each applies its own
    ),
    "vector store": Shape(make=searching),
    "tool": Shape(make=with_tool, children=1),
    "chain in a sequence": Shape(
        make=lambda: RunnablePassthrough() | inner() | str.upper, children=1
    ),
    "chain in a sequence, named": Shape(
        make=lambda: RunnablePassthrough() | inner().with_config(run_name="inner"), children=1
    ),
    "chain in a function": Shape(make=in_a_function, children=1),
    "chain in functions": Shape(make=in_both_functions, children=1),
    "chain in a branch": Shape(make=lambda: RunnableBranch((bool, inner()), inner()), children=1),
    "chain in a guarded chain": Shape(
        make=lambda: RunnablePassthrough() | guard(RunnablePassthrough() | inner()), children=2
    ),
    "chain in a guarded chain in a function": Shape(
        make=lambda: RunnableLambda(guard(RunnablePassthrough() | in_a_function()).invoke),
        children=2,
    ),
    "retriever in a guarded chain": Shape(
        make=lambda: RunnablePassthrough() | guard(answering(guard(retriever()) | joined)),
        children=2,
    ),
    "chains in parallel": Shape(
        make=lambda: RunnableParallel(one=inner(), other=inner()),
        children=2,
        retrievals=2,
        models=2,
        dropped=4,
        unordered=True,
    ),
    "chain after a chain": Shape(
        make=lambda: RunnableSequence(inner(), RunnableLambda(str), inner()),
        children=2,
        retrievals=2,
        models=2,
        dropped=4,
    ),
    "chain for each": Shape(
        make=lambda: RunnableLambda(lambda question: [question] * 2) | inner().map(),
        children=2,
        retrievals=2,
        models=2,
        dropped=4,
    ),
    "chain with a fallback": Shape(
        make=lambda: asking(guard(retriever()), guard(BrokenModel()).with_fallbacks([model()])),
        children=2,
        models=2,
        item_by_item=FALLBACKS,
    ),
    "ensemble of guarded retrievers": Shape(make=lambda: ensemble(*halves()), children=2),
    "compression of a guarded retriever": Shape(
        make=lambda: answering(compressing(guard(retriever())) | joined), children=1
    ),
}
