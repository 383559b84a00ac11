"""What the tests with a real client share: the client, its chain, the ways to call, outcomes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import BaseMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnablePassthrough
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from ctxguard import Ledger
from ctxguard_langchain.testing import FixedRetriever
from tests.openai_server import ScriptedServer

QUESTION = "What is the notice period?"
NOTICE = "The notice period for ending the supply agreement is thirty days, given in writing."
RETRIES = 2
Wrap = Callable[[ChatOpenAI], Runnable[Any, Any]]


def documents() -> list[Document]:
    """A passage, its copy in another file, another version of it, and something else."""
    payment = "Payment is due within fourteen days after the buyer has received the invoice."
    texts = (NOTICE, NOTICE, NOTICE.replace("thirty", "sixty"), payment)
    return [Document(page_content=text, id=name) for name, text in zip("abcd", texts, strict=True)]


def client(server: ScriptedServer, **settings: Any) -> ChatOpenAI:
    given = {
        "model": "gpt-4o-mini",
        "max_retries": RETRIES,
        "timeout": 30,
        "stream_usage": True,
        **settings,
    }
    return ChatOpenAI(base_url=server.url, api_key=SecretStr("none"), **given)


def join(found: list[Document]) -> str:
    return "\n\n".join(document.page_content for document in found)


def chain_of(model: ChatOpenAI, wrap: Wrap | None = None) -> Runnable[Any, Any]:
    """An ordinary chain around a model, or around what a function makes of one."""
    prompt = ChatPromptTemplate.from_template("Context:\n{context}\n\nQuestion: {question}")
    found = FixedRetriever(documents=documents()) | join
    given = {"context": found, "question": RunnablePassthrough()}
    return given | prompt | (wrap(model) if wrap else model | StrOutputParser())


# -- the four ways to call ------------------------------------------------------------------------


async def invoke(chain: Runnable[Any, Any], question: Any) -> Any:
    return chain.invoke(question)


async def ainvoke(chain: Runnable[Any, Any], question: Any) -> Any:
    return await chain.ainvoke(question)


async def stream(chain: Runnable[Any, Any], question: Any) -> Any:
    return list(chain.stream(question))


async def astream(chain: Runnable[Any, Any], question: Any) -> Any:
    return [part async for part in chain.astream(question)]


Way = Callable[[Runnable[Any, Any], Any], Awaitable[Any]]
WAYS: tuple[Way, ...] = (invoke, ainvoke, stream, astream)
every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a call came to."""

    result: Any = None
    error: type[BaseException] | None = None
    message: str = ""
    requests: int


def described(result: Any) -> Any:
    """A result without the ids that differ from run to run."""
    if isinstance(result, list):
        return [described(part) for part in result]
    if isinstance(result, dict):
        return {key: described(value) for key, value in result.items()}
    if isinstance(result, BaseMessage):
        return {**result.model_dump(), "id": None}
    return result


async def outcome_of(way: Way, chain: Runnable[Any, Any], server: ScriptedServer) -> Outcome:
    try:
        result = await way(chain, QUESTION)
    except Exception as error:
        return Outcome(error=type(error), message=str(error), requests=len(server.requests))
    return Outcome(result=described(result), requests=len(server.requests))


def steps_of(ledger: Ledger) -> list[str]:
    return [step.kind for step in ledger.steps]
