"""What a repair asks: the model itself, the heavy one, and the retrievers of the run once more.

Models are asked for a whole answer, past the guard: what they reply is judged by whoever asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.llms.base import BaseLLM
from workflows.errors import WorkflowCancelledByUser

from ctxguard.errors import InputError
from ctxguard.run import Source
from ctxguard.types import Chunk
from ctxguard.verification import Ask, Reply
from ctxguard_llamaindex.asides import aside, calling
from ctxguard_llamaindex.convert import chunks_of
from ctxguard_llamaindex.replies import asked_messages, reply_of
from ctxguard_llamaindex.scope import outermost

__all__ = ["Asking", "ends_well", "source_of"]


def ends_well(error: BaseException) -> bool:
    """Whether an exception is how a workflow waits or ends, and no failure."""
    # The class has no public name.
    waits = type(error).__name__ == "WaitingForEvent" and type(error).__module__.startswith(
        "workflows."
    )
    return waits or isinstance(error, WorkflowCancelledByUser)


class Asking:
    """Asks the models for one reply that is to be put right."""

    def __init__(self, model: object, heavy: object) -> None:
        """Set up, without asking anything.

        Args:
            model: the one that gave the reply.
            heavy: what `Verify.heavy` holds.
        """
        self._models: Mapping[str, object] = {"light": model, "heavy": heavy}

    def ask(self, ask: Ask) -> Reply | str | None:
        """The reply to a request; None: there is no such model."""
        target = self._models[ask.route]
        if target is None:
            return None
        with _past_the_guard(target):
            if isinstance(target, BaseLLM):
                given: object = _chat(target, ask)
            else:
                given = _function(target)(ask)
        if inspect.iscoroutine(given):
            given.close()
        if inspect.isawaitable(given):
            raise TypeError("Verify.heavy: an async function can only answer an async call")
        return reply_of(given)

    async def aask(self, ask: Ask) -> Reply | str | None:
        """As `ask`."""
        target = self._models[ask.route]
        if target is None:
            return None
        return await asyncio.wait_for(self._aask(target, ask), ask.seconds)

    @staticmethod
    async def _aask(target: object, ask: Ask) -> Reply | str | None:
        with _past_the_guard(target):
            if isinstance(target, BaseLLM):
                given: object = await _achat(target, ask)
            else:
                given = _function(target)(ask)
            if inspect.isawaitable(given):
                given = await cast("Awaitable[object]", given)
        return reply_of(given)


@contextmanager
def _past_the_guard(model: object) -> Generator[None]:
    with aside(), calling(model):
        yield


def _function(target: object) -> Callable[[Ask], object]:
    if callable(target):
        return target
    raise InputError(
        f"Verify.heavy: expected a model of LlamaIndex or a function, got {type(target).__name__}"
    )


def _chat(model: BaseLLM, ask: Ask) -> object:
    messages, bounds = asked_messages(ask.messages), _bounds(model, ask)
    if bounds:
        with contextlib.suppress(TypeError):  # it calls something else by that name
            return model.chat(messages, **bounds)
    return model.chat(messages)


async def _achat(model: BaseLLM, ask: Ask) -> object:
    messages, bounds = asked_messages(ask.messages), _bounds(model, ask)
    if bounds:
        with contextlib.suppress(TypeError):
            return await model.achat(messages, **bounds)
    return await model.achat(messages)


def _bounds(model: BaseLLM, ask: Ask) -> dict[str, Any]:
    """The bounds of a request that a model has fields for, and so takes with a call."""
    fields = type(model).model_fields
    bounds: dict[str, Any] = {}
    if ask.max_tokens is not None and "max_tokens" in fields:
        own: object = getattr(model, "max_tokens", None)
        least = min(own, ask.max_tokens) if isinstance(own, int) and own > 0 else ask.max_tokens
        bounds["max_tokens"] = least
    if ask.seconds is not None and "timeout" in fields:
        bounds["timeout"] = ask.seconds
    return bounds


def source_of(retriever: BaseRetriever) -> Source:
    """A retriever as something to be searched again: what it finds has been through no policy."""

    def search(query: str) -> list[Chunk]:
        with outermost(object()):  # a retriever inside another one hands on what it finds
            return chunks_of(retriever.retrieve(query))[0]

    async def asearch(query: str) -> list[Chunk]:
        with outermost(object()):
            return chunks_of(await retriever.aretrieve(query))[0]

    return Source(
        name=f"{type(retriever).__name__} {id(retriever):x}", search=search, asearch=asearch
    )
