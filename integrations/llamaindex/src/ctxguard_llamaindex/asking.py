"""What a repair asks: the model itself, the heavy one, and the retrievers of the run once more.

Models are asked for a whole answer, past the guard: what they reply is judged by whoever asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.llms.base import BaseLLM
from workflows.errors import WorkflowCancelledByUser

from ctxguard.attempts import Attempt, current_attempt
from ctxguard.errors import InputError
from ctxguard.handle import Handle
from ctxguard.routing.failures import failure_of
from ctxguard.run import Source
from ctxguard.types import Chunk
from ctxguard.verification import Ask, Reply
from ctxguard.verification.asks import Tier
from ctxguard_llamaindex.asides import aside, calling
from ctxguard_llamaindex.convert import chunks_of
from ctxguard_llamaindex.replies import asked_messages, reply_of
from ctxguard_llamaindex.requests import repair_of
from ctxguard_llamaindex.routes import (
    configure,
    configured,
    target_for,
)
from ctxguard_llamaindex.scope import outermost
from ctxguard_llamaindex.usage import load_of

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

    def __init__(self, handle: Handle, model: object, heavy: object) -> None:
        """Set up, without asking anything.

        Args:
            handle: whose policy may name routes.
            model: the one that gave the reply.
            heavy: what `Verify.heavy` holds.
        """
        self._handle = handle
        self._models: Mapping[Tier, object] = {"light": model, "heavy": heavy}
        self._attempt: Attempt | None = None  # the last one that was made for the reply

    def ask(self, ask: Ask) -> Reply | str | None:
        """The reply to a request; None: there is no such model."""
        if (attempt := self._goes_on_from(ask.route)) is None:
            return self._ask(self._models[ask.route], ask)
        following = self._follow(attempt, ask)
        if following is None:
            return None
        try:
            reply = self._ask(self._target(attempt, following), ask, following)
        except BaseException as error:
            following.failed(error, failure_of(error))
            raise
        following.succeeded()
        return reply

    async def aask(self, ask: Ask) -> Reply | str | None:
        """As `ask`."""
        if (attempt := self._goes_on_from(ask.route)) is None:
            return await self._aask(self._models[ask.route], ask)
        off_loop = attempt.dispatching.dispatcher.off_loop
        following = await off_loop(lambda: self._follow(attempt, ask), _unused)
        if following is None:
            return None
        try:
            reply = await self._aask(self._target(attempt, following), ask, following)
        except Exception as error:
            cause = error
            await off_loop(lambda: following.failed(cause, failure_of(cause)))
            raise
        except BaseException as error:  # cancelled: nothing may be awaited any more
            following.failed(error, failure_of(error))
            raise
        await off_loop(following.succeeded)
        return reply

    # -- routes -----------------------------------------------------------------------------------

    def _goes_on_from(self, tier: Tier) -> Attempt | None:
        """The attempt that a request follows; None: no route says who is asked."""
        attempt = self._attempt or current_attempt()
        own = tier == "heavy" and self._models["heavy"] is not None
        asks = isinstance(self._models["light"], BaseLLM)
        return attempt if attempt is not None and attempt.acts and asks and not own else None

    def _follow(self, attempt: Attempt, ask: Ask) -> Attempt | None:
        request = replace(
            repair_of(self._handle, self._configured(attempt), ask),
            adds_up=attempt.request.adds_up,  # then it stays with the engine that it is of
        )
        following = attempt.follow(ask.route, request)
        if following is not None:
            configure(following, self._configured(attempt))
            self._attempt = following
        return following

    def _configured(self, attempt: Attempt) -> BaseLLM:
        return configured(attempt, cast("BaseLLM", self._models["light"]))

    def _target(self, attempt: Attempt, following: Attempt) -> BaseLLM:
        return target_for(self._handle, self._configured(attempt), following)

    # -- one request ------------------------------------------------------------------------------

    @staticmethod
    def _ask(target: object, ask: Ask, attempt: Attempt | None = None) -> Reply | str | None:
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
        return _counted(attempt, given)

    @staticmethod
    async def _aask(target: object, ask: Ask, attempt: Attempt | None = None) -> Reply | str | None:
        if target is None:
            return None
        return await asyncio.wait_for(_awaited(target, ask, attempt), ask.seconds)


async def _awaited(target: object, ask: Ask, attempt: Attempt | None) -> Reply | str | None:
    with _past_the_guard(target):
        if isinstance(target, BaseLLM):
            given: object = await _achat(target, ask)
        else:
            given = _function(target)(ask)
        if inspect.isawaitable(given):
            given = await cast("Awaitable[object]", given)
    return _counted(attempt, given)


def _counted(attempt: Attempt | None, given: object) -> Reply | str | None:
    """The reply, once the attempt knows what it used."""
    load = None if attempt is None else load_of(given)
    if attempt is not None and load is not None:
        attempt.used(load)
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


def _unused(attempt: Attempt | None) -> None:
    """Settle a call that nobody waits for any more, before anything was asked."""
    if attempt is not None:
        attempt.unused()
