"""The entry points of what guard() returned: each logical call is a run of its own.

The steps of a chain run in threads and tasks with copied contexts, so only the outermost call can
open the run that all of them share. A call inside a run of the same handle joins it: `invoke` that
is implemented through `stream` is still one call.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from langchain_core.language_models import BaseLLM
from langchain_core.runnables import Runnable, RunnableSequence
from langchain_core.tools import BaseTool

from ctxguard.handle import Handle
from ctxguard.run import current_run
from ctxguard_langchain.arriving import with_guarded
from ctxguard_langchain.caches import salt_of
from ctxguard_langchain.carrying import LEAF, handle_of, is_derived
from ctxguard_langchain.classes import Derived, adopt, part
from ctxguard_langchain.convert import question_of, short
from ctxguard_langchain.dynamic import Dynamic, class_of
from ctxguard_langchain.entering import SHAPES, routed
from ctxguard_langchain.planning import chain_due, chain_plan
from ctxguard_langchain.routes import routes_chains
from ctxguard_langchain.stepping import (
    aoutside,
    astream_in_run,
    closed,
    outside,
    stream_in_run,
)

__all__ = ["entries_of", "scoped"]

Method = Callable[..., Any]


def _new_run(self: object) -> Handle | None:
    """The handle, when this call is an outermost one."""
    handle, run = handle_of(self), current_run()
    return None if handle is None or (run is not None and run.owner is handle) else handle


def _asked(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    return short(question_of(args[0] if args else kwargs.get("input")))


# -- one call, a run ----------------------------------------------------------------------------


def _call(base: Method) -> Method:
    @functools.wraps(base)
    def entry(self: Dynamic, *args: Any, **kwargs: Any) -> Dynamic:
        handle = _new_run(self)
        if handle is None:
            return base(self, *args, **kwargs)
        args, kwargs = with_guarded(handle, self, args, kwargs)
        with handle.run(_asked(args, kwargs), class_of(self).__name__):
            return base(self, *args, **kwargs)

    return entry


def _acall(base: Method) -> Method:
    @functools.wraps(base)
    async def entry(self: Dynamic, *args: Any, **kwargs: Any) -> Dynamic:
        handle = _new_run(self)
        if handle is None:
            return await base(self, *args, **kwargs)
        args, kwargs = with_guarded(handle, self, args, kwargs)
        with handle.run(_asked(args, kwargs), class_of(self).__name__):
            return await base(self, *args, **kwargs)

    return entry


def _stream(base: Method) -> Method:
    @functools.wraps(base)
    def entry(self: Dynamic, *args: Any, **kwargs: Any) -> Iterator[Any]:
        handle = _new_run(self)
        if handle is None:
            yield from base(self, *args, **kwargs)
            return
        args, kwargs = with_guarded(handle, self, args, kwargs)
        asked, name = _asked(args, kwargs), class_of(self).__name__
        yield from stream_in_run(handle, asked, name, lambda _: base(self, *args, **kwargs))

    return entry


def _astream(base: Method) -> Method:
    @functools.wraps(base)
    async def entry(self: Dynamic, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        handle = _new_run(self)
        items: AsyncIterator[Any]
        if handle is None:
            items = base(self, *args, **kwargs)
        else:
            args, kwargs = with_guarded(handle, self, args, kwargs)
            asked, name = _asked(args, kwargs), class_of(self).__name__
            items = astream_in_run(handle, asked, name, lambda _: base(self, *args, **kwargs))
        async with closed(items):
            async for item in items:
                yield item

    return entry


def _transform(base: Method) -> Method:
    stream = _stream(base)

    @functools.wraps(base)
    def entry(self: Dynamic, *args: Dynamic, **kwargs: Dynamic) -> Iterator[Any]:
        if _new_run(self) is not None:
            args, kwargs = _with_input(outside, args, kwargs)
        return stream(self, *args, **kwargs)

    return entry


def _atransform(base: Method) -> Method:
    stream = _astream(base)

    @functools.wraps(base)
    def entry(self: Dynamic, *args: Dynamic, **kwargs: Dynamic) -> AsyncIterator[Any]:
        if _new_run(self) is not None:
            args, kwargs = _with_input(aoutside, args, kwargs)
        return stream(self, *args, **kwargs)

    return entry


def _with_input(
    wrap: Callable[[Any], Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments with the stream that comes in, the first of them, wrapped."""
    if args:
        return (wrap(args[0]), *args[1:]), kwargs
    return args, {**kwargs, "input": wrap(kwargs["input"])}


def _events(base: Method) -> Method:
    """`astream_events`: an async iterator, or for version 3 something to await that gives one."""
    stream = _astream(base)

    @functools.wraps(base)
    def entry(self: Dynamic, *args: Any, **kwargs: Any) -> Dynamic:
        if inspect.isasyncgenfunction(base) or kwargs.get("version", "v2") != "v3":
            return stream(self, *args, **kwargs)
        return base(self, *args, **kwargs)

    return entry


# -- many calls, a run each ---------------------------------------------------------------------


def _each(base: Method, one_by_one: Method) -> Method:
    """A batch whose items each go through `invoke`, so that they do not share a run.

    LangChain's own batch of a sequence works step by step: all retrievals, then all model calls.
    """

    @functools.wraps(base)
    def entry(self: Dynamic, *args: Any, **kwargs: Any) -> Dynamic:
        method = base if _new_run(self) is None else one_by_one
        return method(self, *args, **kwargs)

    return entry


# -- what a method makes of a guarded chain -----------------------------------------------------


def _derivation(base: Method) -> Method:
    """`guarded | parser`, `guarded.with_config(…)`: made of the plain chain, guarded as a whole.

    A sequence takes the steps of another sequence apart; what opens the run would be lost.
    """

    @functools.wraps(base)
    def entry(self: Dynamic, *args: Any, **kwargs: Any) -> Dynamic:
        handle = handle_of(self)
        if handle is None:
            return base(self, *args, **kwargs)
        if routes_chains(handle) and not is_derived(self):  # what takes a route is one step of it
            made = getattr(Runnable, base.__name__, base)(self, *args, **kwargs)
        else:
            made = base(part(self), *args, **kwargs)
        if not issubclass(class_of(made), Runnable):
            return made
        return adopt(made, _DERIVED_ROOTS(class_of(made)), handle)

    return entry


_ENTRIES: dict[str, Callable[[Method], Method]] = {
    "invoke": _call,
    "ainvoke": _acall,
    "stream": _stream,
    "astream": _astream,
    "transform": _transform,
    "atransform": _atransform,
    "astream_log": _astream,
    "astream_events": _events,
}
_TOOL_ENTRIES: dict[str, Callable[[Method], Method]] = {"run": _call, "arun": _acall}
_BATCHES = ("batch", "abatch", "batch_as_completed", "abatch_as_completed")
_DERIVATIONS = (
    "__or__",
    "__ror__",
    "pipe",
    "pick",
    "assign",
    "bind",
    "copy",
    "with_config",
    "with_listeners",
    "with_alisteners",
    "with_types",
    "with_retry",
    "with_fallbacks",
)


def entries_of(base: type[Any], route: Callable[[str, Method], Method]) -> dict[str, Any]:
    """The methods of what guard() returned, or of what a method of it made.

    Args:
        base: its plain class, or that of the hooked leaf.
        route: gives a method, by its name, that takes a route first.
    """
    tool, completion, sequence = (
        issubclass(base, k) for k in (BaseTool, BaseLLM, RunnableSequence)
    )
    entries = {**_ENTRIES, **(_TOOL_ENTRIES if tool else {})}
    space: dict[str, Any] = {
        name: wrap(route(name, method) if name in SHAPES else method)
        for name, wrap in entries.items()
        if (method := getattr(base, name, None)) is not None
    }
    space["__getattr__"] = _named(base)
    if completion:
        return space  # its batch is one call of the model, and so one run
    for name in _BATCHES:
        space[name] = _each(getattr(base, name), getattr(Runnable, name))
    if sequence:
        space["steps"] = _whole(base)
    if not getattr(base, LEAF, False):
        space |= {
            name: _derivation(getattr(base, name)) for name in _DERIVATIONS if _derives(base, name)
        }
    return space


def _entries(base: type[Any]) -> dict[str, Any]:
    return entries_of(
        base, lambda name, method: routed(SHAPES[name], method, chain_due, chain_plan)
    )


def _whole(base: type[Any]) -> property:
    """`steps` of a guarded sequence: itself, for a constructor that would take it apart.

    `parser | guarded`, or a guarded chain as a node of a graph, would otherwise run the steps
    without what opens their run.
    """
    steps: Callable[[Any], list[Any]] = base.steps.fget

    def whole(self: Dynamic) -> list[Any]:
        frame = inspect.currentframe()
        asking = frame.f_back.f_code.co_qualname if frame and frame.f_back else ""
        taken_apart = asking in ("RunnableSequence.__init__", "RunnableSeq.__init__")
        return [self] if taken_apart and handle_of(self) is not None else steps(self)

    return property(whole)


def _named(base: type[Any]) -> Method:
    """`__getattr__`, with the name that LangGraph tells what a node runs apart by in its cache.

    It asks for `__qualname__`, which a Runnable does not have; then all count as one. A plain graph
    whose node is guarded would be served what another one with the plain node wrote.
    """
    # Python asks here what it did not find otherwise: again, it is the same error.
    find: Method = getattr(base, "__getattr__", base.__getattribute__)

    def __getattr__(self: Dynamic, name: str) -> Dynamic:  # noqa: N807 -- the method itself
        if name == "__qualname__" and (salt := salt_of(self)):
            return class_of(self).__qualname__ + salt
        return find(self, name)

    return __getattr__


def _derives(base: type[Any], name: str) -> bool:
    """Whether this method makes a Runnable; a pydantic model's `copy` does not."""
    if name != "copy":
        return hasattr(base, name)
    return hasattr(base, "copy") and not hasattr(base, "model_copy")


_ROOTS = Derived(_entries, root=True)
_DERIVED_ROOTS = Derived(_entries, root=True, derived=True)
_LEAF_ROOTS = Derived(_entries, root=True, leaf=True)


def scoped(kind: type[Any]) -> type[Any]:
    """The class of what guard() returns, for a plain class or that of a hooked leaf."""
    leaf = bool(getattr(kind, LEAF, False))
    return (_LEAF_ROOTS if leaf else _ROOTS)(kind)
