"""Retrievers and models that fail."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langgraph.config import get_config
from pydantic import Field
from typing_extensions import override

from ctxguard_langchain.testing import FixedRetriever, ScriptedChatModel

__all__ = ["Broken", "BrokenModel", "Flaky", "FlakyModel", "fails_first", "retried"]


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


def fails_first(failed: set[object]) -> bool:
    """Whether to fail now: once in each task of a graph, so that its next try succeeds."""
    place = get_config().get("configurable", {}).get("checkpoint_ns")
    failed.symmetric_difference_update({place})
    return place in failed
