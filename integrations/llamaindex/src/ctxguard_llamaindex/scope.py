"""The run around one call of a guarded object, from its entry point to the end of its stream.

A call may return before it is over: a streaming response is written while it is read, a workflow
runs in tasks of its own. The run is active only while code of the call itself runs, one step of a
stream at a time, so that two streams read in turn never mix and nothing leaks into their reader.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeGuard, cast

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.response.schema import AsyncStreamingResponse, StreamingResponse
from llama_index.core.chat_engine.types import BaseChatEngine, StreamingAgentChatResponse
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.response_synthesizers import BaseSynthesizer
from llama_index.core.tools import BaseTool
from llama_index.core.workflow import Workflow
from workflows.handler import WorkflowHandler

from ctxguard.block import ambient
from ctxguard.handle import Handle
from ctxguard.run import activate, current_run
from ctxguard_llamaindex.convert import QUESTION_NAMES, question_of

__all__ = [
    "Call",
    "Retrieval",
    "bound",
    "defines",
    "due",
    "entry_points",
    "handle_of",
    "is_async_stream",
    "outermost",
    "own_handle",
    "retrieval",
    "set_handle",
]

Result: TypeAlias = Any
"""Whatever the method that is replaced returns."""
Method: TypeAlias = Callable[..., Any]
Step: TypeAlias = Callable[[], AbstractContextManager[object]]

_HANDLE = "_ctxguard_handle"
_ENTRY_POINTS: tuple[tuple[type[Any], tuple[str, ...]], ...] = (
    (
        BaseQueryEngine,
        ("query", "aquery", "retrieve", "aretrieve", "synthesize", "asynthesize"),
    ),
    (BaseChatEngine, ("chat", "achat", "stream_chat", "astream_chat")),
    (BaseSynthesizer, ("synthesize", "asynthesize", "get_response", "aget_response")),
    (BaseTool, ("__call__", "call", "acall")),
    (BaseNodePostprocessor, ("postprocess_nodes", "apostprocess_nodes")),
    (Workflow, ("run",)),
)


def handle_of(guarded: object) -> Handle:
    """The handle that a guarded object carries."""
    return cast("Handle", guarded.__dict__[_HANDLE])


def own_handle(obj: object) -> Handle | None:
    """The handle that an object carries, None for a plain one."""
    return cast("Handle | None", getattr(obj, "__dict__", {}).get(_HANDLE))


def due(obj: object) -> Handle | None:
    """The handle whose policy an object follows: its guard's, else that of the block around it."""
    own = own_handle(obj)
    return own if own is not None and own.live() else ambient()


def set_handle(obj: object, handle: Handle | None) -> None:
    """Put the handle on an object; None takes it off. Past `__setattr__`, which models restrict."""
    if handle is None:
        obj.__dict__.pop(_HANDLE, None)
    else:
        obj.__dict__[_HANDLE] = handle


def bound(plain: Method, obj: object) -> Method:
    """The method that is replaced, of one object, as attribute access would give it.

    LlamaIndex's span decorator reads the signature of what it calls; that of a bound method takes
    a third of the time of a function's that is given its object as an argument.
    """
    return cast("Method", plain.__get__(obj, type(obj)))


def defines(plain: type[Any], name: str) -> type[Any]:
    """The class that a method is from; span decorators make the methods incomparable."""
    return next(kind for kind in plain.__mro__ if name in vars(kind))


# -- retrievers inside retrievers ----------------------------------------------------------------


@dataclass(slots=True)
class Retrieval:
    """What the outermost retriever of this context is doing."""

    owner: object
    prepared: bool = False
    """Whether what it found has been through the policy."""


_retrieval: ContextVar[Retrieval | None] = ContextVar("ctxguard_llamaindex_retrieval", default=None)


def retrieval() -> Retrieval | None:
    """The retrieval that this code runs inside of, None outside of any."""
    return _retrieval.get()


@contextmanager
def outermost(owner: object | None) -> Generator[Retrieval | None]:
    """Make `owner` the retriever whose result counts; None: a retriever inside counts again.

    A query engine inside a retriever hands its evidence to a model of its own.
    """
    token = _retrieval.set(None if owner is None else Retrieval(owner))
    try:
        yield _retrieval.get()
    finally:
        _retrieval.reset(token)


# -- the run of a call ---------------------------------------------------------------------------


class Call:
    """One call of a guarded object: the run of the call around it, or one of its own."""

    def __init__(self, handle: Handle, question: str = "", name: str = "") -> None:
        """Find the run or start one; it is not active before `step`.

        Args:
            handle: the run around is joined when it is this handle's; else this one is its child.
            question: what is asked, as far as it is known.
            name: what is called, for the ledger.
        """
        active = current_run()
        self.handle = handle
        self.joined = active is not None and active.owner is handle
        self.run = active if active is not None and self.joined else handle.start(question, name)
        self._lock = threading.Lock()
        self._finished = self.joined

    @contextmanager
    def step(self) -> Generator[None]:
        """The run is active in this block; an exception that passes through ends the call."""
        try:
            with activate(self.run):
                yield
        except BaseException as error:
            self.finish(error)
            raise

    def finish(self, error: BaseException | None = None) -> None:
        """Freeze the run, once; a run that was joined goes on."""
        with self._lock:
            finished, self._finished = self._finished, True
        if not finished:
            self.end(error)

    def end(self, error: BaseException | None) -> None:
        """What `finish` does, once."""
        if not self.joined:
            self.handle.finish(self.run, error)

    def follow(self, result: Result, step: Step | None = None) -> Result:
        """The result, with the call finished as soon as there is no more to come of it.

        Args:
            result: what the call returned.
            step: entered around each step of a stream; None: `self.step`.
        """
        step = step or self.step
        if is_async_stream(result):
            return _adrive(result, step, self.finish)
        if isinstance(result, Generator):
            return _drive(cast("Generator[Any, None, None]", result), step, self.finish)
        if self._finished:
            return result
        if isinstance(result, StreamingResponse | AsyncStreamingResponse):
            result.response_gen = self.follow(result.response_gen)
        elif isinstance(result, StreamingAgentChatResponse):
            _follow_chat(result, self)
        elif isinstance(result, WorkflowHandler):
            _follow_workflow(result, self)
        else:
            self.finish()
        return result


def is_async_stream(result: object) -> TypeGuard[AsyncGenerator[Any, None]]:
    """By what a tracer's proxy stands for: it has the methods of both kinds of streams."""
    return isinstance(result, AsyncGenerator) and not inspect.isgenerator(cast("object", result))


def _drive(
    stream: Generator[Any, None, None], step: Step, finish: Callable[[], None]
) -> Generator[Any, None, None]:
    try:
        while True:
            with step():
                try:
                    item = next(stream)
                except StopIteration:
                    return
            yield item
    finally:
        with step():
            stream.close()
        finish()


async def _adrive(
    stream: AsyncGenerator[Any, None], step: Step, finish: Callable[[], None]
) -> AsyncGenerator[Any, None]:
    try:
        while True:
            with step():
                try:
                    item = await anext(stream)
                except StopAsyncIteration:
                    return
            yield item
    finally:
        with step():
            await stream.aclose()
        finish()


def _follow_workflow(handler: WorkflowHandler, call: Call) -> None:
    # In earlier versions the handler is the future itself; now it has one.
    itself = isinstance(handler, asyncio.Future)
    task = handler if itself else getattr(handler, "_result_task", None)
    _follow_task(cast("asyncio.Future[Any] | None", task), call)


def _follow_task(task: asyncio.Future[Any] | None, call: Call) -> None:
    if task is None:
        call.finish()
        return
    # The run is not active in the callback: whoever reads `last` is in the caller's context.
    task.add_done_callback(lambda done: call.finish(_error_of(done)))


def _error_of(task: asyncio.Future[Any]) -> BaseException | None:
    return asyncio.CancelledError() if task.cancelled() else task.exception()


def _follow_chat(response: StreamingAgentChatResponse, call: Call) -> None:
    """Finish the call when the response is in memory, or has been read where nobody writes it."""
    task = cast("asyncio.Task[Any] | None", response.awrite_response_to_history_task)  # pyright: ignore[reportUnknownMemberType] -- a bare asyncio.Task there
    if task is not None:
        _follow_task(task, call)
    elif response.write_response_to_history_thread is not None:
        _watch_writer(response, call)
    elif response.chat_stream is not None:
        response.chat_stream = call.follow(response.chat_stream)
    elif response.achat_stream is not None:
        response.achat_stream = call.follow(response.achat_stream)
    else:
        call.finish()


def _watch_writer(response: StreamingAgentChatResponse, call: Call) -> None:
    """Finish the call when the writing thread, which has already started, says that it is done.

    It says so by setting an attribute, and nothing else tells of its end but joining it.
    """
    plain = type(response)

    class Watched(plain):
        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, value)
            if name == "is_done" and value:
                call.finish()
            elif name == "exception" and isinstance(value, BaseException):
                call.finish(value)

    Watched.__name__, Watched.__qualname__ = plain.__name__, plain.__qualname__
    Watched.__module__ = plain.__module__
    response.__class__ = Watched
    if response.is_done or response.exception is not None:
        call.finish(response.exception)


# -- entry points --------------------------------------------------------------------------------


def entry_points(
    plain: type[Any], inside: Callable[[str, Method], Method]
) -> Iterator[tuple[str, Method]]:
    """Name and replacement of each method of a class that starts a call.

    Args:
        plain: any class.
        inside: what is done by the call, of a method's name and the method.
    """
    for base, names in _ENTRY_POINTS:
        if issubclass(plain, base):
            for name in names:
                found = getattr(plain, name, None)
                if found is not None:
                    method = inside(name, found)
                    looks = issubclass(plain, Workflow) and name == "run"
                    yield name, _warns(_entry_point(method)) if looks else _entry_point(method)


def _entry_point(plain: Method) -> Method:
    names = (*QUESTION_NAMES, "start_event")

    def begin(self: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
        handle = due(self)
        asked = question_of(*args[:1], *(kwargs.get(name) for name in names))
        return Call(handle, asked, type(self).__name__) if handle is not None else None

    @functools.wraps(plain)
    async def asynchronous(self: object, *args: Any, **kwargs: Any) -> Result:
        call = begin(self, args, kwargs)
        if call is None:
            return await bound(plain, self)(*args, **kwargs)
        with call.step(), outermost(None):
            result = await bound(plain, self)(*args, **kwargs)
        return call.follow(result)

    @functools.wraps(plain)
    def synchronous(self: object, *args: Any, **kwargs: Any) -> Result:
        call = begin(self, args, kwargs)
        if call is None:
            return bound(plain, self)(*args, **kwargs)
        with call.step(), outermost(None):
            result = bound(plain, self)(*args, **kwargs)
        return call.follow(result)

    return asynchronous if inspect.iscoroutinefunction(plain) else synchronous


def _warns(run: Method) -> Method:
    @functools.wraps(run)
    def synchronous(self: object, *args: Any, **kwargs: Any) -> Result:
        # It walks objects, and what walks makes guarded classes, which have these methods.
        from ctxguard_llamaindex.arguments import warn_unguarded

        warn_unguarded(self, args, kwargs, handle_of(self))
        return run(self, *args, **kwargs)

    return synchronous
