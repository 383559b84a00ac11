"""What a repair asks: the model itself, the heavy one, and the retrievers of the run once more.

All of it happens inside a choke point, whose flag keeps the guard from what it calls. Models are
asked for a whole answer that no cache serves, so that nothing of it gets into a reader's stream;
handlers see each as a call of its own, beside the call that is repaired.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

from langchain_core.language_models import BaseLanguageModel
from langchain_core.messages import BaseMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import run_in_executor

from ctxguard.run import Source
from ctxguard.types import Chunk
from ctxguard.verification import Ask, Reply
from ctxguard_langchain.convert import are_documents, asked_messages, chunks_of, texts_of
from ctxguard_langchain.dynamic import Dynamic, class_of
from ctxguard_langchain.quiet import quietly

__all__ = ["Asking", "source_of"]

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
_LIMITS = ("max_tokens", "max_output_tokens", "max_completion_tokens", "num_predict")
"""How models call the field that bounds the tokens of an answer."""
_TAGS = ["ctxguard:repair", "nostream"]
""""nostream" keeps LangGraph from showing the messages of a call in its stream."""


class Asking:
    """Asks the models for one reply that is to be put right."""

    def __init__(
        self, model: Dynamic, heavy: object, kwargs: Kwargs, config: RunnableConfig
    ) -> None:
        """Set up, without asking anything.

        Args:
            model: the one that gave the reply.
            heavy: what `Verify.heavy` holds.
            kwargs: those that the model was called with.
            config: for the calls, with the callbacks that hear of them.
        """
        self._model = model
        self._heavy: Any = heavy
        self._kwargs = {name: value for name, value in kwargs.items() if name not in _OF_THE_CALL}
        self._config: RunnableConfig = {**config, "tags": [*config.get("tags", ()), *_TAGS]}

    def ask(self, ask: Ask) -> Reply | str | None:
        """The reply to a request; None: there is no such model."""
        target, kwargs = self._target(ask)
        if target is None:
            return None
        with quietly():
            if isinstance(target, Runnable):
                asked = _bounded(cast("Runnable[Any, Any]", target), ask)
                config: RunnableConfig = {**self._config, "run_name": f"ctxguard {ask.route}"}
                timeout = _timeout(asked, ask)
                return _reply(
                    asked.invoke(asked_messages(ask.messages), config, **kwargs, **timeout)
                )
            given = target(ask)
        if inspect.isawaitable(given):
            _dispose(given)
            raise TypeError("Verify.heavy: an async function can only answer an async call")
        return _reply(given)

    async def aask(self, ask: Ask) -> Reply | str | None:
        """As `ask`."""
        target, kwargs = self._target(ask)
        if target is None:
            return None
        return await asyncio.wait_for(self._aask(target, kwargs, ask), ask.seconds)

    async def _aask(self, target: Dynamic, kwargs: Kwargs, ask: Ask) -> Reply | str | None:
        with quietly():
            if isinstance(target, Runnable):
                asked = _bounded(cast("Runnable[Any, Any]", target), ask)
                config: RunnableConfig = {**self._config, "run_name": f"ctxguard {ask.route}"}
                return _reply(await asked.ainvoke(asked_messages(ask.messages), config, **kwargs))
            if inspect.iscoroutinefunction(target):
                return _reply(await target(ask))
            given = await run_in_executor(None, cast("Callable[[Ask], Any]", target), ask)
            return _reply(await given if inspect.isawaitable(given) else given)

    def _target(self, ask: Ask) -> tuple[Any, Kwargs]:
        """Who answers, and with which arguments."""
        if ask.route == "light":
            return self._model, self._kwargs
        heavy = self._heavy
        if heavy is not None and not isinstance(heavy, Runnable) and not callable(heavy):
            raise TypeError(
                f"Verify.heavy: expected a model, a Runnable or a function from an Ask, "
                f"got {class_of(heavy).__name__}"
            )
        return self._heavy, {}


def _bounded(model: Runnable[Any, Any], ask: Ask) -> Runnable[Any, Any]:
    """The model with room for an answer of this length, that streams and caches nothing.

    Only fields that it has are set, in a copy: whatever else is asked of a provider may be refused.
    """
    if not isinstance(model, BaseLanguageModel):
        return model
    fields = type(model).model_fields
    update: dict[str, Any] = {"cache": False}
    if "disable_streaming" in fields:
        update["disable_streaming"] = True
    for name in _LIMITS:
        if ask.max_tokens is not None and name in fields:
            own: object = getattr(model, name)
            own_limit = own if isinstance(own, int) and own > 0 else ask.max_tokens
            update[name] = min(own_limit, ask.max_tokens)
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


def _reply(given: Dynamic) -> Reply | str | None:
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
