"""What a call of a model brings that its inner methods are not told of.

LangChain takes the callbacks and the mark of structured output off the arguments before it comes to
the choke points; they are kept here while the call runs, where answers are verified.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.language_models import BaseChatModel

from ctxguard_langchain.carrying import due
from ctxguard_langchain.dynamic import Dynamic
from ctxguard_langchain.stepping import adrive, drive

__all__ = ["MARKS", "Call", "current_call", "entries"]

Method = Callable[..., Any]
MARKS = ("ls_structured_output_format", "structured_output_format")
"""Arguments that say that a reply is for a program, for LangSmith."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a model."""

    callbacks: Any = None
    """Handlers, or a manager of them."""
    structured: bool = False
    """Whether a program reads the reply, as `with_structured_output` says."""


_call: ContextVar[Call] = ContextVar("ctxguard_call", default=Call())  # noqa: B039 -- it is frozen


def current_call() -> Call:
    """What the call of now brings; nothing where nobody saw it begin."""
    return _call.get()


def entries(base: type[Any]) -> dict[str, Any]:
    """The public methods of a class of models that note what their call brings."""
    shapes = {"stream": _stream, "astream": _astream}
    if issubclass(base, BaseChatModel):
        shapes |= {"generate": _generate, "agenerate": _agenerate}
    return {name: shape(getattr(base, name)) for name, shape in shapes.items()}


def _verifies(model: object) -> bool:
    handle = due(model)
    return handle is not None and handle.policy.verifies


@contextmanager
def _noted(call: Call) -> Generator[None]:
    token = _call.set(call)
    try:
        yield
    finally:
        _call.reset(token)


def _of(callbacks: Dynamic, kwargs: Mapping[str, Any]) -> Call:
    return Call(callbacks, any(kwargs.get(mark) for mark in MARKS))


def _of_stream(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
    config: object = args[1] if len(args) > 1 else kwargs.get("config")
    known = cast("Mapping[str, Any]", config if isinstance(config, Mapping) else {})
    return _of(known.get("callbacks"), kwargs)


def _stream(base: Method) -> Method:
    @functools.wraps(base)
    def entry(self: Dynamic, *args: Any, **kwargs: Any) -> Iterator[Any]:
        if not _verifies(self):
            return base(self, *args, **kwargs)
        call = _of_stream(args, kwargs)
        return drive(lambda: base(self, *args, **kwargs), lambda: _noted(call))

    return entry


def _astream(base: Method) -> Method:
    @functools.wraps(base)
    def entry(self: Dynamic, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        if not _verifies(self):
            return base(self, *args, **kwargs)
        call = _of_stream(args, kwargs)
        return adrive(lambda: base(self, *args, **kwargs), lambda: _noted(call))

    return entry


def _generate(base: Method) -> Method:
    @functools.wraps(base)
    def entry(self: Dynamic, *args: Any, **kwargs: Any) -> Dynamic:
        if not _verifies(self):
            return base(self, *args, **kwargs)
        with _noted(_of(kwargs.get("callbacks"), kwargs)):
            return base(self, *args, **kwargs)

    return entry


def _agenerate(base: Method) -> Method:
    @functools.wraps(base)
    async def entry(self: Dynamic, *args: Any, **kwargs: Any) -> Dynamic:
        if not _verifies(self):
            return await base(self, *args, **kwargs)
        with _noted(_of(kwargs.get("callbacks"), kwargs)):
            return await base(self, *args, **kwargs)

    return entry
