"""Where a routed call begins: the public methods of a model, or of what guard() returned.

The method asks core for a route and calls the same method of what the route stands for. So handlers
see one run for each attempt, of the model that really answers, and its window, its cache and its
verification are its own. A method that is called inside of that is the attempt's.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

from ctxguard.attempts import Attempt
from ctxguard.dispatching import Dispatching, dispatching
from ctxguard.handle import Handle
from ctxguard.run import Run, current_run
from ctxguard_langchain.calling import calling
from ctxguard_langchain.dynamic import Dynamic, class_of
from ctxguard_langchain.metering import Meter, metering
from ctxguard_langchain.planning import Plan
from ctxguard_langchain.stepping import (
    adrive,
    astream_in_run,
    closed,
    drive,
    ends_well,
    never,
    stream_in_run,
)

__all__ = ["SHAPES", "Planned", "routed"]

Args = tuple[Any, ...]
Kwargs = Mapping[str, Any]
Method = Callable[..., Any]


Planned = Callable[[Handle, Any, str, Args, Kwargs], Plan]
"""From the handle, what is called, the method's name and its arguments."""
Due = Callable[[Any], Handle | None]
"""The handle whose policy routes the calls of an object; None: they are not routed."""


class _Entry:
    """One public method, routed."""

    def __init__(
        self, base: Method, due: Due, planned: Planned, ends: Callable[[Any], bool] = never
    ) -> None:
        self.base = base
        self.name = base.__name__
        self.due = due
        self.ends = ends
        self._planned = planned

    def plan(self, handle: Handle, obj: Dynamic, args: Args, kwargs: Kwargs) -> Plan:
        return self._planned(handle, obj, self.name, args, kwargs)

    def of(
        self, obj: Dynamic, plan: Plan, attempt: Attempt, first: list[bool]
    ) -> Callable[[], Any]:
        """What an attempt calls; the run's id that a caller gave is for the first one."""
        target, args, kwargs = plan.call(attempt)
        if not first:
            args, kwargs = _without_run_id(args, kwargs)
        first.clear()
        if target is obj:
            return lambda: self.base(obj, *args, **kwargs)
        method: Method = getattr(target, self.name)
        return lambda: method(*args, **kwargs)


def routed(
    shape: Callable[[_Entry], Method],
    base: Method,
    due: Due,
    planned: Planned,
    ends: Callable[[Any], bool] = never,
) -> Method:
    """A public method whose calls take a route.

    Args:
        shape: of `SHAPES`: how the method gives what it gives.
        base: the method.
        due: whose policy routes an object's calls.
        planned: what is known of a call.
        ends: whether an item of a stream is the last that is asked for.
    """
    return functools.wraps(base)(shape(_Entry(base, due, planned, ends)))


def _call(entry: _Entry) -> Method:
    def work(found: Dispatching, plan: Plan, obj: Dynamic) -> Dynamic:
        first = [True]

        def ask(attempt: Attempt) -> Dynamic:
            meter = Meter(attempt, plan.target)
            with metering(meter):
                result = entry.of(obj, plan, attempt, first)()
            meter.close()
            return result

        return found.call(plan.request(), ask, ends_well)

    def method(self: Dynamic, *args: Any, **kwargs: Any) -> Dynamic:
        handle = entry.due(self)
        if handle is None:
            return entry.base(self, *args, **kwargs)
        with calling(args, kwargs):
            plan = entry.plan(handle, self, args, kwargs)
            with _run(handle, self, plan):
                found = dispatching(handle.guard.dispatcher)
                if found is None:
                    return entry.base(self, *args, **kwargs)
                return work(found, plan, self)

    return method


def _acall(entry: _Entry) -> Method:
    async def work(found: Dispatching, plan: Plan, obj: Dynamic) -> Dynamic:
        first = [True]

        async def ask(attempt: Attempt) -> Dynamic:
            meter = Meter(attempt, plan.target)
            with metering(meter):
                result = await entry.of(obj, plan, attempt, first)()
            meter.close()
            return result

        return await found.acall(plan.request(), ask, ends_well)

    async def method(self: Dynamic, *args: Any, **kwargs: Any) -> Dynamic:
        handle = entry.due(self)
        if handle is None:
            return await entry.base(self, *args, **kwargs)
        with calling(args, kwargs):
            plan = entry.plan(handle, self, args, kwargs)
            with _run(handle, self, plan):
                found = dispatching(handle.guard.dispatcher)
                if found is None:
                    return await entry.base(self, *args, **kwargs)
                return await work(found, plan, self)

    return method


def _stream(entry: _Entry) -> Method:
    def work(plan: Plan, handle: Handle, obj: Dynamic, args: Args, kwargs: Kwargs) -> Iterator[Any]:
        first = [True]

        def ask(attempt: Attempt) -> Iterator[Any]:
            meter = Meter(attempt, plan.target)
            for item in drive(entry.of(obj, plan, attempt, first), lambda: metering(meter)):
                if entry.ends(item):
                    attempt.succeeded()
                yield item
            meter.close()

        found = dispatching(handle.guard.dispatcher)
        if found is None:
            return entry.base(obj, *args, **kwargs)
        return found.stream(plan.request(), ask, ends_well)

    def steps(handle: Handle, obj: Dynamic, args: Args, kwargs: Kwargs) -> Iterator[Any]:
        plan = entry.plan(handle, obj, args, kwargs)

        def make(_: Run | None = None) -> Iterator[Any]:
            return drive(
                lambda: work(plan, handle, obj, args, kwargs), lambda: calling(args, kwargs)
            )

        if current_run() is not None:
            yield from make()
        else:
            name = class_of(obj).__name__
            yield from stream_in_run(handle, plan.question, name, make, ends=entry.ends)

    def method(self: Dynamic, *args: Any, **kwargs: Any) -> Iterator[Any]:
        handle = entry.due(self)
        if handle is None:
            return entry.base(self, *args, **kwargs)
        return steps(handle, self, args, kwargs)

    return method


def _astream(entry: _Entry) -> Method:
    def work(
        plan: Plan, handle: Handle, obj: Dynamic, args: Args, kwargs: Kwargs
    ) -> AsyncIterator[Any]:
        first = [True]

        async def ask(attempt: Attempt) -> AsyncIterator[Any]:
            meter = Meter(attempt, plan.target)
            items = adrive(entry.of(obj, plan, attempt, first), lambda: metering(meter))
            async with closed(items):
                async for item in items:
                    if entry.ends(item):
                        attempt.succeeded()
                    yield item
            meter.close()

        found = dispatching(handle.guard.dispatcher)
        if found is None:
            return entry.base(obj, *args, **kwargs)
        return found.astream(plan.request(), ask, ends_well)

    async def steps(handle: Handle, obj: Dynamic, args: Args, kwargs: Kwargs) -> AsyncIterator[Any]:
        plan = entry.plan(handle, obj, args, kwargs)

        def make(_: Run | None = None) -> AsyncIterator[Any]:
            return adrive(
                lambda: work(plan, handle, obj, args, kwargs), lambda: calling(args, kwargs)
            )

        name = class_of(obj).__name__
        items = (
            make()
            if current_run() is not None
            else astream_in_run(handle, plan.question, name, make, ends=entry.ends)
        )
        async with closed(items):
            async for item in items:
                yield item

    def method(self: Dynamic, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        handle = entry.due(self)
        if handle is None:
            return entry.base(self, *args, **kwargs)
        return steps(handle, self, args, kwargs)

    return method


SHAPES: Mapping[str, Callable[[_Entry], Method]] = {
    "generate": _call,
    "agenerate": _acall,
    "invoke": _call,
    "ainvoke": _acall,
    "stream": _stream,
    "astream": _astream,
    "transform": _stream,
    "atransform": _astream,
    "_iter_v2_events": _stream,
    "_aiter_v2_events": _astream,
}
"""How each method gives what it gives."""


def _run(handle: Handle, obj: Dynamic, plan: Plan) -> AbstractContextManager[object]:
    """The run that a call is part of; one of its own where there is none."""
    if current_run() is not None:
        return nullcontext()
    return handle.run(plan.question, class_of(obj).__name__)


def _without_run_id(args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
    """Arguments for one more attempt: a handler would take it for the one that failed.

    `astream_events` alone waits for the run that it has named, and shows another one's words twice.
    """
    config = args[1] if len(args) > 1 else kwargs.get("config")
    if isinstance(config, Mapping) and _shows_events(cast("Mapping[str, Any]", config)):
        return args, kwargs
    if kwargs.get("run_id") is not None:
        kwargs = {**kwargs, "run_id": None}
    if len(args) > 1:
        args = (args[0], _no_id(args[1]), *args[2:])
    elif kwargs.get("config"):
        kwargs = {**kwargs, "config": _no_id(kwargs["config"])}
    return args, kwargs


def _no_id(config: Dynamic) -> Dynamic:
    if not isinstance(config, Mapping):  # of `generate`, the second argument is another one
        return config
    known = cast("Mapping[str, Any]", config)
    return {name: value for name, value in known.items() if name != "run_id"}


def _shows_events(config: Mapping[str, Any]) -> bool:
    callbacks: Any = config.get("callbacks")
    handlers: Sequence[object] = getattr(callbacks, "handlers", callbacks) or ()
    return any(hasattr(handler, "is_tapped") for handler in handlers)
