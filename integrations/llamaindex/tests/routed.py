"""Engines over one index, and policies that send every question to one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from llama_index.core import VectorStoreIndex
from llama_index.core.llms import ChatMessage
from llama_index.core.schema import TextNode

from ctxguard import Policy
from ctxguard.routing import Price, Route, Router, Routes
from ctxguard_llamaindex.testing import ScriptedLLM

__all__ = [
    "QUESTION",
    "WAYS",
    "RateLimitError",
    "Way",
    "aquery",
    "broken",
    "clauses",
    "engine",
    "limited",
    "query",
    "saying",
    "to",
]

QUESTION = "What is the fee of clause 3?"


class RateLimitError(Exception):
    """As the SDKs raise it."""

    status_code = 429


def saying(text: str) -> Callable[[Sequence[ChatMessage]], str]:
    return lambda _: text


def limited(_: Sequence[ChatMessage]) -> str:
    raise RateLimitError("too many requests")


def broken(_: Sequence[ChatMessage]) -> str:
    raise RuntimeError("not on any engine")


def clauses() -> VectorStoreIndex:
    """An index of twenty passages."""
    nodes = [
        TextNode(id_=f"n{number}", text=f"Clause {number}: the fee is {number} euros.")
        for number in range(20)
    ]
    return VectorStoreIndex(nodes)


def engine(index: VectorStoreIndex, script: Any, name: str = "", **more: Any) -> Any:
    llm = ScriptedLLM(script=script, model=name or "unknown")
    return index.as_query_engine(llm=llm, **{"similarity_top_k": 2, **more})


def to(name: str, heavy: Any, *, mode: Any = "act", **more: Any) -> Policy:
    """Take the light or the heavy route, whatever is asked, and leave what is found as it is."""
    routes = (
        Route(name="light", price=Price(input=1, output=2)),
        Route(name="heavy", model=heavy, top_k=12, price=Price(input=10, output=20)),
    )
    router = Router(thresholds=(-1.0 if name == "heavy" else 1.0,))
    nothing: dict[str, Any] = dict.fromkeys(("dedupe", "rank", "compress", "select", "layout"))
    routing = Routes(routes=routes, router=router, mode=mode, **{"state": "memory", **more})
    return Policy(**nothing, routing=routing)


def query(engine: Any) -> tuple[str, int]:
    response = engine.query(QUESTION)
    text = "".join(response.response_gen) if hasattr(response, "response_gen") else str(response)
    return text, len(response.source_nodes)


def aquery(engine: Any) -> tuple[str, int]:
    async def ask() -> tuple[str, int]:
        response = await engine.aquery(QUESTION)
        if hasattr(response, "async_response_gen"):
            text = "".join([word async for word in response.async_response_gen()])
        else:
            text = str(response)
        return text, len(response.source_nodes)

    return asyncio.run(ask())


WAYS = [query, aquery]
Way = Callable[[Any], tuple[str, int]]
