"""What a repair asks: the model itself, the heavy one, and the retrievers of the run once more.

All of it happens inside a choke point, whose flag keeps the guard from what it calls. Models are
asked for a whole answer that no cache serves, so that nothing of it gets into a reader's stream;
handlers see each as a call of its own, beside the call that is repaired.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from langchain_core.language_models import BaseLanguageModel
from langchain_core.messages import BaseMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import run_in_executor

from ctxguard.attempts import Attempt, current_attempt
from ctxguard.handle import Handle
from ctxguard.request import Request
from ctxguard.routing.failures import failure_of
from ctxguard.run import Source
from ctxguard.types import Chunk
from ctxguard.verification import Ask, Reply
from ctxguard_langchain.binding import alike
from ctxguard_langchain.convert import are_documents, asked_messages, chunks_of, texts_of
from ctxguard_langchain.dynamic import Dynamic, class_of
from ctxguard_langchain.metering import current_meter, load_of
from ctxguard_langchain.quiet import quietly
from ctxguard_langchain.routes import bounded

__all__ = ["Asking", "source_of"]

T = TypeVar("T")
Kwargs = Mapping[str, Any]
_OF_THE_CALL = frozenset(
    {
        "function_call",
        "functions",
        "parallel_tool_calls",
        "response_format",
        "run_manager",
        "stop",
        "stream",
        "stream_usage",
        "strict",
        "tool_choice",
        "tools",
    }
)
"""Arguments of the call that is repaired which are not meant for a correction of its words."""
_TAGS = ["ctxguard:repair", "nostream"]
""""nostream" keeps LangGraph from showing the messages of a call in its stream."""


class Asking:
    """Asks the models for one reply that is to be put right."""

    def __init__(
        self,
        handle: Handle,
        model: Dynamic,
        heavy: object,
        kwargs: Kwargs,
        config: RunnableConfig,
    ) -> None:
        """Set up, without asking anything.

        Args:
            handle: whose policy may have routes.
            model: the one that gave the reply.
            heavy: what `Verify.heavy` holds.
            kwargs: those that the model was called with.
            config: for the calls, with the callbacks that hear of them.
        """
        self._handle = handle
        self._model = model
        self._heavy: Any = heavy
        self._last = current_attempt()
        """The attempt whose answer is put right, then the last one that was made for it."""
        meter = current_meter()
        self._routed = None if meter is None else meter.target
        self._kwargs = {name: value for name, value in kwargs.items() if name not in _OF_THE_CALL}
        self._config: RunnableConfig = {**config, "tags": [*config.get("tags", ()), *_TAGS]}

    def ask(self, ask: Ask) -> Reply | str | None:
        """The reply to a request; None: there is no such model, or it may not be asked."""
        following = self._following(ask)
        if following is None:
            return None
        try:
            given = self._asked(*self._target(ask, following.attempt), ask)
        except BaseException as error:
            following.failed(error)
            raise
        return following.replied(given)

    def _asked(self, target: Dynamic, kwargs: Kwargs, ask: Ask) -> object:
        if target is None:
            return None
        with quietly():
            if isinstance(target, Runnable):
                asked = _bounded(cast("Runnable[Any, Any]", target), ask)
                config: RunnableConfig = {**self._config, "run_name": f"ctxguard {ask.route}"}
                timeout = _timeout(asked, ask)
                return asked.invoke(asked_messages(ask.messages), config, **kwargs, **timeout)
            given = target(ask)
        if inspect.isawaitable(given):
            _dispose(given)
            raise TypeError("Verify.heavy: an async function can only answer an async call")
        return given

    async def aask(self, ask: Ask) -> Reply | str | None:
        """As `ask`."""
        following = await self._off_loop(lambda: self._following(ask), _unused)
        if following is None:
            return None
        try:
            asked = self._aasked(*self._target(ask, following.attempt), ask)
            given = await asyncio.wait_for(asked, ask.seconds)
        except BaseException as error:
            following.failed(error)
            raise
        return await self._off_loop(lambda: following.replied(given))

    async def _aasked(self, target: Dynamic, kwargs: Kwargs, ask: Ask) -> object:
        if target is None:
            return None
        with quietly():
            if isinstance(target, Runnable):
                asked = _bounded(cast("Runnable[Any, Any]", target), ask)
                config: RunnableConfig = {**self._config, "run_name": f"ctxguard {ask.route}"}
                return await asked.ainvoke(asked_messages(ask.messages), config, **kwargs)
            if inspect.iscoroutinefunction(target):
                return await target(ask)
            given = await run_in_executor(None, cast("Callable[[Ask], Any]", target), ask)
            return await given if inspect.isawaitable(given) else given

    def _target(self, ask: Ask, attempt: Attempt | None) -> tuple[Any, Kwargs]:
        """Who answers, and with which arguments."""
        if attempt is not None and self._routed is not None:
            target = self._routed(attempt)
            return target, self._kwargs if alike(target, self._model) else {}
        if ask.route == "light":
            return self._model, self._kwargs
        heavy = self._heavy
        if heavy is not None and not isinstance(heavy, Runnable) and not callable(heavy):
            raise TypeError(
                f"Verify.heavy: expected a model, a Runnable or a function from an Ask, "
                f"got {class_of(heavy).__name__}"
            )
        return self._heavy, {}

    # -- on a route -------------------------------------------------------------------------------

    def _following(self, ask: Ask) -> _Following | None:
        """The attempt that a request is, of none where nothing is routed; None: it may not be made.

        In a cascade, what fails once more goes to the route above the last one.
        """
        last, heavy = self._last, ask.route == "heavy"
        if last is None or not last.acts:
            return _Following(None)
        if heavy and (self._heavy is not None or self._routed is None):
            return _Following(None)
        if self._routed is not None:  # all of it was read: its cost comes before the next one's
            last.succeeded()
        asked = Request(
            messages=tuple(ask.messages),
            card=last.request.card,
            refuses=last.request.refuses,
            count=last.request.count,
            output=ask.max_tokens,
        )
        attempt = last.follow(ask.route, asked)
        if attempt is None:
            return None
        self._last = attempt
        return _Following(attempt)

    async def _off_loop(self, work: Callable[[], T], undo: Callable[[T], None] | None = None) -> T:
        """What the work returns; shared state may have to be waited for."""
        last = self._last
        if last is None:
            return work()
        return await last.dispatching.dispatcher.off_loop(work, undo)


class _Following:
    """One call that puts an answer right, and what becomes of it."""

    def __init__(self, attempt: Attempt | None) -> None:
        self.attempt = attempt

    def replied(self, given: object) -> Reply | str | None:
        """The reply in what a model gave; what it used is counted."""
        attempt = self.attempt
        if attempt is not None:
            load = load_of(given) if isinstance(given, BaseMessage) else None
            if load is not None:
                attempt.used(load)
            attempt.succeeded()
        return _reply(given)

    def failed(self, error: BaseException) -> None:
        """Count what a call that failed may have cost."""
        if self.attempt is not None:
            self.attempt.failed(error, failure_of(error))


def _unused(following: _Following | None) -> None:
    """Settle a call that nobody waits for any more, before anything was asked."""
    if following is not None and following.attempt is not None:
        following.attempt.unused()


def _bounded(model: Runnable[Any, Any], ask: Ask) -> Runnable[Any, Any]:
    """The model with room for an answer of this length, that streams and caches nothing.

    Only fields that it has are set, in a copy: whatever else is asked of a provider may be refused.
    """
    if not isinstance(model, BaseLanguageModel):
        return model
    update: dict[str, Any] = {"cache": False}
    if "disable_streaming" in type(model).model_fields:
        update["disable_streaming"] = True
    if ask.max_tokens is not None:
        update |= bounded(model, ask.max_tokens)
    return cast("Runnable[Any, Any]", model.model_copy(update=update))


def _timeout(model: object, ask: Ask) -> dict[str, float]:
    """The seconds that are left, where what the model calls in the end takes a timeout.

    Those are the clients of OpenAI, Anthropic and their like; an async call is cancelled instead.
    """
    create = getattr(getattr(model, "client", None), "create", None)
    if ask.seconds is None or not callable(create):
        return {}
    try:
        takes = "timeout" in inspect.signature(create).parameters
    except (TypeError, ValueError):
        return {}
    return {"timeout": ask.seconds} if takes else {}


def _reply(given: object) -> Reply | str | None:
    if given is None or isinstance(given, str | Reply):
        return given
    if isinstance(given, BaseMessage):
        usage: Mapping[str, Any] = getattr(given, "usage_metadata", None) or {}
        text = "".join(text for _, text in texts_of(given.content))
        return Reply(text=text, tokens=usage.get("total_tokens"))
    raise TypeError(
        f"Verify.heavy: expected a message, a Reply or a str, got {class_of(given).__name__}"
    )


def _dispose(awaitable: Dynamic) -> None:
    close = getattr(awaitable, "close", None)
    if close is not None:
        close()


# -- retrievers -------------------------------------------------------------------------------


def source_of(
    obj: Dynamic, name: str, args: Sequence[object], kwargs: Kwargs, enter: Callable[[], Any]
) -> Source:
    """Something that found evidence, to be searched again in the same way.

    Args:
        obj: a retriever or a vector store.
        name: its method that was called.
        args: what it was called with after the query, by position.
        kwargs: by name.
        enter: keeps the guard from it.
    """
    method = name.removeprefix("a")
    if isinstance(obj, BaseRetriever):  # whichever of its methods it was
        method, args, kwargs = "invoke", (), {"config": {"tags": list(_TAGS)}}

    def search(query: str) -> Sequence[Chunk]:
        with enter():
            return _chunks(getattr(obj, method)(query, *args, **kwargs))

    async def asearch(query: str) -> Sequence[Chunk]:
        with enter():
            found: Awaitable[Any] = getattr(obj, f"a{method}")(query, *args, **kwargs)
            return _chunks(await found)

    return Source(name=f"{class_of(obj).__name__}-{id(obj)}", search=search, asearch=asearch)


def _chunks(found: Dynamic) -> list[Chunk]:
    """Chunks of documents, or of pairs with a score, which may be a distance."""
    documents: list[Any] = [
        cast("tuple[Any, ...]", item)[0] if isinstance(item, tuple) else item for item in found
    ]
    if not are_documents(documents):
        raise TypeError("it returned no documents")
    return chunks_of(documents)
