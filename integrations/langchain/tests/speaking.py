"""Models that say what they are told, in the pieces that they are told, as real ones stream."""

from __future__ import annotations

import functools
import operator
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel, BaseLLM
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, message_chunk_to_message
from langchain_core.outputs import (
    ChatGeneration,
    ChatGenerationChunk,
    ChatResult,
    Generation,
    GenerationChunk,
    LLMResult,
)
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnablePassthrough
from pydantic import Field

from ctxguard import Ledger, Policy, handle
from ctxguard.verification import Verify
from ctxguard_langchain.testing import FixedRetriever

DOCUMENTS = [
    Document(page_content="The fee is $500 per month.", id="fee"),
    Document(page_content="The notice period is thirty days.", id="notice"),
]
RIGHT = "The notice period is thirty days."
WRONG = "The fee is $600 per month."
BETTER = "The fee is $500 per month."
LAST = "Is there more to say?"
DRAFT = f"{RIGHT} {WRONG} {LAST}"
CUT = f"{RIGHT} {LAST}"
REPAIRED = f"{RIGHT} {BETTER}"
QUESTION = "What is the fee, and how is it ended?"


def policy(mode: Any = "gate", on_fail: Any = "flag", **fields: Any) -> Policy:
    """A policy that verifies and does nothing else to what is said."""
    return Policy(verification=Verify(mode=mode, on_fail=on_fail, **fields))


def pieces(text: str, size: int = 7) -> list[AIMessageChunk]:
    """A text in pieces of so many characters."""
    parts = [text[start : start + size] for start in range(0, len(text), size)]
    return [AIMessageChunk(content=part) for part in parts]


class Speaker(BaseChatModel):
    """A chat model whose replies are given, as the chunks of its stream; the last one repeats."""

    replies: list[list[AIMessageChunk]]
    notifies: bool = False
    """Whether it tells its run manager of every token itself, while it generates too."""
    fails: bool = False
    """Whether its stream breaks off after the chunks."""
    seen: list[list[BaseMessage]] = Field(default_factory=list[list[BaseMessage]], exclude=True)
    calls: list[dict[str, Any]] = Field(default_factory=list[dict[str, Any]], exclude=True)
    pulled: list[int] = Field(default_factory=list[int], exclude=True)
    """How many chunks of each stream were asked for so far."""

    @property
    def _llm_type(self) -> str:
        return "speaker"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, AIMessage]:
        """The model with these tools."""
        return self.bind(tools=[{"name": getattr(t, "name", t)} for t in tools], **kwargs)

    def _next(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> list[AIMessageChunk]:
        self.seen.append(list(messages))
        self.calls.append(kwargs)
        reply = self.replies[min(len(self.seen), len(self.replies)) - 1]
        return [chunk.model_copy(deep=True) for chunk in reply]

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        chunks = self._next(messages, kwargs)
        for chunk in chunks if self.notifies and run_manager else ():
            run_manager.on_llm_new_token(str(chunk.content))
        whole = functools.reduce(operator.add, chunks)
        message = message_chunk_to_message(whole)
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        self.pulled.append(0)
        for message in self._next(messages, kwargs):
            self.pulled[-1] += 1
            chunk = ChatGenerationChunk(message=message)
            if self.notifies and run_manager:
                run_manager.on_llm_new_token(str(message.content), chunk=chunk)
            yield chunk
        if self.fails:
            raise ConnectionError("gone")


class AsyncSpeaker(Speaker):
    """One whose async methods are its own."""

    async def _agenerate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        sync = run_manager.get_sync() if run_manager else None
        return self._generate(messages, stop, sync, **kwargs)

    async def _astream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._stream(messages, stop, None, **kwargs):
            if self.notifies and run_manager:
                await run_manager.on_llm_new_token(str(chunk.message.content), chunk=chunk)
            yield chunk


class EventSpeaker(Speaker):
    """One that makes the events of the protocol itself: those that are given."""

    events: list[dict[str, Any]]

    def _stream_chat_model_events(
        self, messages: list[BaseMessage], **kwargs: Any
    ) -> Iterator[dict[str, Any]]:
        self.seen.append(list(messages))
        yield from self.events

    async def _astream_chat_model_events(
        self, messages: list[BaseMessage], **kwargs: Any
    ) -> AsyncIterator[dict[str, Any]]:
        for event in self._stream_chat_model_events(messages):
            yield event


class Completer(BaseLLM):
    """A model that completes text, and tells its run manager of tokens as such models do."""

    script: list[str]
    prompts: list[str] = Field(default_factory=list[str], exclude=True)

    @property
    def _llm_type(self) -> str:
        return "completer"

    def _next(self, prompt: str) -> str:
        self.prompts.append(prompt)
        return self.script[min(len(self.prompts), len(self.script)) - 1]

    def _generate(self, prompts: list[str], *args: Any, **kwargs: Any) -> LLMResult:
        return LLMResult(generations=[[Generation(text=self._next(one))] for one in prompts])

    def _stream(
        self, prompt: str, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[GenerationChunk]:
        for chunk in pieces(self._next(prompt)):
            made = GenerationChunk(text=str(chunk.content), generation_info={"n": 1})
            yield made
            if run_manager:
                run_manager.on_llm_new_token(made.text, chunk=made)


class Listener(BaseCallbackHandler):
    """Keeps the tokens and the custom events that it is told of, in order."""

    def __init__(self) -> None:
        """Start with nothing heard."""
        self.heard: list[tuple[str, Any]] = []
        self.runs: list[str] = []

    @property
    def tokens(self) -> str:
        """All tokens so far."""
        return "".join(str(what) for kind, what in self.heard if kind == "token")

    @property
    def events(self) -> list[tuple[str, Any]]:
        """Name and data of each custom event."""
        return [one for one in self.heard if one[0] != "token"]

    def on_llm_new_token(self, token: Any, **_: Any) -> None:
        """Note a token."""
        self.heard.append(("token", token))

    def on_custom_event(self, name: str, data: Any, **_: Any) -> None:
        """Note an event."""
        self.heard.append((name, data))

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        """Note the name of a call."""
        self.runs.append(str(kwargs.get("name")))


def chain(model: Any, documents: Sequence[Document] = DOCUMENTS) -> Runnable[Any, Any]:
    """A chain that retrieves and answers; what it gives is the model's message."""
    steps = {"context": FixedRetriever(documents=list(documents)), "q": RunnablePassthrough()}
    return steps | ChatPromptTemplate.from_template("{context}\n\n{q}") | model


def codes(guarded: Any) -> list[str]:
    """What the newest ledger says of the check of answers."""
    return [one.code for one in last(guarded).decisions if one.stage == "verify"]


def last(guarded: Any) -> Ledger:
    """The newest ledger."""
    found = handle(guarded).last
    assert found is not None
    return found
