"""Models on routes: the outermost method of a guarded model asks the model of the run's route.

The method is the same, of another model, so its spans and events are those of whoever answers. A
stream is asked for when its method is called, as without routes, and another route is tried until
its first part has come.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Sequence
from contextlib import aclosing, closing, contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias, cast

from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.prompts import BasePromptTemplate

from ctxguard.attempts import Attempt, current_attempt
from ctxguard.dispatching import Dispatching, dispatching
from ctxguard.handle import Handle
from ctxguard.request import Request
from ctxguard_llamaindex.asides import is_calling
from ctxguard_llamaindex.asking import ends_well
from ctxguard_llamaindex.failing import hand_on
from ctxguard_llamaindex.parameters import Arguments
from ctxguard_llamaindex.portable import portable
from ctxguard_llamaindex.requests import request_of
from ctxguard_llamaindex.routes import (
    answerer_of,
    configure,
    mixes,
    note_answerer,
    target_for,
)
from ctxguard_llamaindex.scope import Call, Method, Result, bound, due
from ctxguard_llamaindex.targets import routes_models

__all__ = ["collecting", "routed_methods"]

_STEMS = ("chat", "complete", "chat_with_tools", "structured_predict")
_READS_CALLS = "get_tool_calls_from_response"

_collecting: ContextVar[list[Attempt] | None] = ContextVar(
    "ctxguard_llamaindex_collecting", default=None
)


@contextmanager
def collecting(attempts: list[Attempt]) -> Generator[None]:
    """The attempts that are made in this block, of calls that give one answer together."""
    token = _collecting.set(attempts)
    try:
        yield
    finally:
        _collecting.reset(token)


def routed_methods(plain: type[Any], methods: dict[str, Method]) -> dict[str, Method]:
    """Replacements of a model whose calls take a route.

    Args:
        plain: a class of models.
        methods: those that its guarded class has already.
    """
    found: dict[str, Method] = {}
    for stem in _STEMS:
        for prefix in ("", "a", "stream_", "astream_"):
            name = f"{prefix}{stem}"
            if hasattr(plain, name):
                found[name] = _routes(getattr(plain, name), methods.get(name), name, _READS[stem])
    if hasattr(plain, _READS_CALLS):
        found[_READS_CALLS] = _reads_calls(getattr(plain, _READS_CALLS))
    return found


def _routes(plain: Method, inner: Method | None, name: str, reads: _Reads) -> Method:
    """A method that takes a route.

    Args:
        plain: the method of the class.
        inner: what guards it; None: nothing has to.
        name: of the method.
        reads: says what a call needs.
    """
    inside = inner or plain
    streams = name.startswith(("stream_", "astream_"))

    def begin(self: BaseLLM, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Routed | None:
        handle = due(self)
        if handle is None or handle.guard.dispatcher is None:
            return None
        if current_attempt() is not None or is_calling(self):
            return None
        if not routes_models(handle.policy.routing, self, handle):
            return None
        return _Routed(handle, self, inside, name, Arguments(args, kwargs))

    @functools.wraps(plain)
    async def asynchronous(self: BaseLLM, *args: Any, **kwargs: Any) -> Result:
        routed = begin(self, args, kwargs)
        if routed is None:
            return await bound(inside, self)(*args, **kwargs)
        with routed.call.step():
            work, request = routed.start(reads)
            result = await (routed.astream if streams else routed.awhole)(work, request)
        return routed.call.follow(result)

    @functools.wraps(plain)
    def synchronous(self: BaseLLM, *args: Any, **kwargs: Any) -> Result:
        routed = begin(self, args, kwargs)
        if routed is None:
            return bound(inside, self)(*args, **kwargs)
        with routed.call.step():
            work, request = routed.start(reads)
            result = (routed.stream if streams else routed.whole)(work, request)
        return routed.call.follow(result)

    return asynchronous if inspect.iscoroutinefunction(plain) else synchronous


class _Routed:
    """One call of a model, on one route after another."""

    def __init__(
        self, handle: Handle, model: BaseLLM, inside: Method, name: str, given: Arguments
    ) -> None:
        self.call = Call(handle, name=type(model).__name__)
        self._handle = handle
        self._model = model
        self._inside = inside
        self._name = name
        self._given = given

    def start(self, reads: _Reads) -> tuple[Dispatching, Request]:
        """What routes the run, which is active, and what it is told of the call."""
        work = dispatching(self._handle.guard.dispatcher)
        if work is None:  # it was looked whether there is one
            raise RuntimeError("a call that is routed has a run, and no attempt around it")
        try:
            return work, reads(self._handle, self._model, self._given)
        except Exception as error:
            hand_on(error, self._handle.guard, "model", type(self._model).__name__)
            return work, Request()

    # -- how it is driven -------------------------------------------------------------------------

    def whole(self, work: Dispatching, request: Request) -> Result:
        return work.call(request, self._ask, ends_well)

    async def awhole(self, work: Dispatching, request: Request) -> Result:
        return await work.acall(request, self._aask, ends_well)

    def stream(self, work: Dispatching, request: Request) -> Iterator[Any]:
        begun = work.begun(request, self._ask, ends_well)
        return work.stream(request, self._ask, ends_well, begun)

    async def astream(self, work: Dispatching, request: Request) -> AsyncIterator[Any]:
        async def opened(attempt: Attempt) -> AsyncIterator[Any]:
            async with aclosing(await self._aask(attempt)) as parts:
                async for part in parts:
                    yield part

        begun = await work.abegun(request, self._aask, ends_well)
        return work.astream(request, opened, ends_well, begun)

    # -- what is asked ----------------------------------------------------------------------------

    def _ask(self, attempt: Attempt) -> Result:
        target, method, given = self._asked(attempt)
        result = method(*given.args, **given.kwargs)
        if isinstance(result, Generator):
            return self._told_stream(target, cast("Generator[Any, None, None]", result))
        return self._told(target, result)

    async def _aask(self, attempt: Attempt) -> Result:
        target, method, given = self._asked(attempt)
        result = await method(*given.args, **given.kwargs)
        if isinstance(result, AsyncGenerator):
            return self._told_astream(target, cast("AsyncGenerator[Any, None]", result))
        return self._told(target, result)

    def _asked(self, attempt: Attempt) -> tuple[BaseLLM, Method, Arguments]:
        """Who is asked, by which method, with what."""
        configure(attempt, self._model)
        attempts = _collecting.get()
        if attempts is not None:
            attempts.append(attempt)
        target = target_for(self._handle, self._model, attempt)
        given = Arguments(self._given.args, self._given.kwargs)
        if mixes(self._handle, self._model):
            _make_portable(self._name, given)
        own = target is self._model
        return target, bound(self._inside, target) if own else getattr(target, self._name), given

    def _told(self, target: BaseLLM, reply: Result) -> Result:
        if target is not self._model:
            note_answerer(self._handle, reply, target)
        return reply

    def _told_stream(
        self, target: BaseLLM, parts: Generator[Any, None, None]
    ) -> Generator[Any, None, None]:
        return parts if target is self._model else self._noted(target, parts)

    def _told_astream(
        self, target: BaseLLM, parts: AsyncGenerator[Any, None]
    ) -> AsyncGenerator[Any, None]:
        return parts if target is self._model else self._anoted(target, parts)

    def _noted(
        self, target: BaseLLM, parts: Generator[Any, None, None]
    ) -> Generator[Any, None, None]:
        with closing(parts):
            for part in parts:
                yield self._told(target, part)

    async def _anoted(
        self, target: BaseLLM, parts: AsyncGenerator[Any, None]
    ) -> AsyncGenerator[Any, None]:
        async with aclosing(parts):
            async for part in parts:
                yield self._told(target, part)


def _make_portable(name: str, given: Arguments) -> None:
    """Let the conversation be one that any of the routes' models can read.

    The lists are new ones: some integrations append to the one that they are given.
    """
    messages: object = given.get("messages", 0)
    if name.endswith("chat") and isinstance(messages, Sequence):
        given.put("messages", 0, portable(cast("Sequence[ChatMessage]", messages)))
    history: object = given.get("chat_history", 2)
    if name.endswith("chat_with_tools") and isinstance(history, Sequence):
        given.put("chat_history", 2, portable(cast("Sequence[ChatMessage]", history)))


# -- what a call needs -----------------------------------------------------------------------------

_Reads: TypeAlias = Callable[[Handle, BaseLLM, Arguments], Request]


def _of_chat(handle: Handle, model: BaseLLM, given: Arguments) -> Request:
    return request_of(handle, model, given.get("messages", 0), given=given.rest("messages"))


def _of_prompt(handle: Handle, model: BaseLLM, given: Arguments) -> Request:
    messages = [ChatMessage(content=str(given.get("prompt", 0)))]
    return request_of(handle, model, messages, given=given.rest("prompt"))


def _of_tool_chat(handle: Handle, model: BaseLLM, given: Arguments) -> Request:
    asked = given.get("user_msg", 1)
    last = [ChatMessage(content=asked)] if isinstance(asked, str) else [asked] if asked else []
    history: Sequence[ChatMessage] = given.get("chat_history", 2) or []
    tools = given.get("tools", 0)
    rest = given.rest("tools", "user_msg", "chat_history")
    messages = [*history, *last]
    return request_of(handle, model, messages, tools=tools, calls=bool(tools), given=rest)


def _of_prediction(handle: Handle, model: BaseLLM, given: Arguments) -> Request:
    prompt = given.get("prompt", 1)
    filled = given.rest("output_cls", "prompt", "llm_kwargs")
    known = isinstance(prompt, BasePromptTemplate)
    messages = prompt.format_messages(**filled) if known else []
    return request_of(handle, model, messages, given=given.get("llm_kwargs", 2))


_READS: dict[str, _Reads] = {
    "chat": _of_chat,
    "complete": _of_prompt,
    "chat_with_tools": _of_tool_chat,
    "structured_predict": _of_prediction,
}


# -- calls of another class's ----------------------------------------------------------------------


def _reads_calls(plain: Method) -> Method:
    """A method that reads the tool calls of a reply as the class does that gave it."""

    @functools.wraps(plain)
    def synchronous(self: BaseLLM, *args: Any, **kwargs: Any) -> Result:
        handle = due(self)
        reply = Arguments(args, kwargs).get("response", 0)
        target = None if handle is None else answerer_of(handle, reply)
        if target is None or target is self:
            return bound(plain, self)(*args, **kwargs)
        return getattr(target, _READS_CALLS)(*args, **kwargs)

    return synchronous
