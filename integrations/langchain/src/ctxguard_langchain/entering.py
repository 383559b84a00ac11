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
        self.due = due
        self.ends = ends
        self._planned = planned

    def call(self, handle: Handle, obj: Dynamic, args: Args, kwargs: Kwargs) -> _Call:
        """One call of it."""
        plan = self._planned(handle, obj, self.base.__name__, args, kwargs)
        return _Call(self, handle, obj, plan, args, kwargs)


class _Call:
    """One call of a public method: what each of its attempts asks."""

    def __init__(
        self,
        entry: _Entry,
        handle: Handle,
        obj: Dynamic,
        plan: Plan,
        args: Args,
        kwargs: Kwargs,
    ) -> None:
        self._entry = entry
        self._obj = obj
        self._given = args, kwargs
        self._began = False
        self.handle = handle
        self.plan = plan

    @property
    def name(self) -> str:
        """Of what is called."""
        return class_of(self._obj).__name__

    @property
    def dispatching(self) -> Dispatching | None:
        """What routes it, in the run that is active now; None: nothing does."""
        return dispatching(self.handle.guard.dispatcher)

    def unrouted(self) -> Dynamic:
        """What the method gives without a route."""
        args, kwargs = self._given
        return self._entry.base(self._obj, *args, **kwargs)

    def calling(self) -> AbstractContextManager[None]:
        """Whose call it is."""
        return calling(*self._given)

    def run(self) -> AbstractContextManager[object]:
        """The run that it is part of; one of its own where there is none."""
        if current_run() is not None:
            return nullcontext()
        return self.handle.run(self.plan.question, self.name)

    # -- attempts ---------------------------------------------------------------------------------

    def _of(self, attempt: Attempt) -> Callable[[], Any]:
        """What an attempt calls; the run's id that a caller gave is for the first one."""
        target, args, kwargs = self.plan.call(attempt)
        if self._began:
            args, kwargs = _without_run_id(args, kwargs)
        self._began = True
        if target is self._obj:
            return lambda: self._entry.base(target, *args, **kwargs)
        method: Method = getattr(target, self._entry.base.__name__)
        return lambda: method(*args, **kwargs)

    def ask(self, attempt: Attempt) -> Dynamic:
        """What the target of an attempt returns."""
        meter = Meter(attempt, self.plan.target)
        try:
            with metering(meter):
                return self._of(attempt)()
        finally:
            meter.close()

    async def aask(self, attempt: Attempt) -> Dynamic:
        """As `ask`."""
        meter = Meter(attempt, self.plan.target)
        try:
            with metering(meter):
                return await self._of(attempt)()
        finally:
            meter.close()

    def stream(self, attempt: Attempt) -> Iterator[Any]:
        """What the target of an attempt yields."""
        meter = Meter(attempt, self.plan.target)
        try:
            for item in drive(self._of(attempt), lambda: metering(meter)):
                if self._entry.ends(item):
                    attempt.succeeded()
                yield item
        finally:
            meter.close()

    async def astream(self, attempt: Attempt) -> AsyncIterator[Any]:
        """As `stream`."""
        meter = Meter(attempt, self.plan.target)
        try:
            async with closed(adrive(self._of(attempt), lambda: metering(meter))) as items:
                async for item in items:
                    if self._entry.ends(item):
                        await attempt.dispatching.dispatcher.off_loop(attempt.succeeded)
                    yield item
        finally:
            meter.close()


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
    def method(self: Dynamic, *args: Any, **kwargs: Any) -> Dynamic:
        handle = entry.due(self)
        if handle is None:
            return entry.base(self, *args, **kwargs)
        call = entry.call(handle, self, args, kwargs)
        with call.calling(), call.run():
            found = call.dispatching
            if found is None:
                return call.unrouted()
            return found.call(call.plan.request(), call.ask, ends_well)

    return method


def _acall(entry: _Entry) -> Method:
    async def method(self: Dynamic, *args: Any, **kwargs: Any) -> Dynamic:
        handle = entry.due(self)
        if handle is None:
            return await entry.base(self, *args, **kwargs)
        call = entry.call(handle, self, args, kwargs)
        with call.calling(), call.run():
            found = call.dispatching
            if found is None:
                return await call.unrouted()
            return await found.acall(call.plan.request(), call.aask, ends_well)

    return method


def _stream(entry: _Entry) -> Method:
    def method(self: Dynamic, *args: Any, **kwargs: Any) -> Iterator[Any]:
        handle = entry.due(self)
        if handle is None:
            return entry.base(self, *args, **kwargs)
        return _steps(entry.call(handle, self, args, kwargs), entry.ends)

    return method


def _steps(call: _Call, ends: Callable[[Any], bool]) -> Iterator[Any]:
    def routed() -> Iterator[Any]:
        found = call.dispatching
        if found is None:
            return call.unrouted()
        return found.stream(call.plan.request(), call.stream, ends_well)

    def make(_: Run | None = None) -> Iterator[Any]:
        return drive(routed, call.calling)

    if current_run() is not None:
        yield from make()
    else:
        yield from stream_in_run(call.handle, call.plan.question, call.name, make, ends=ends)


def _astream(entry: _Entry) -> Method:
    def method(self: Dynamic, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        handle = entry.due(self)
        if handle is None:
            return entry.base(self, *args, **kwargs)
        return _asteps(entry.call(handle, self, args, kwargs), entry.ends)

    return method


async def _asteps(call: _Call, ends: Callable[[Any], bool]) -> AsyncIterator[Any]:
    def routed() -> AsyncIterator[Any]:
        found = call.dispatching
        if found is None:
            return call.unrouted()
        return found.astream(call.plan.request(), call.astream, ends_well)

    def make(_: Run | None = None) -> AsyncIterator[Any]:
        return adrive(routed, call.calling)

    items = (
        make()
        if current_run() is not None
        else astream_in_run(call.handle, call.plan.question, call.name, make, ends=ends)
    )
    async with closed(items):
        async for item in items:
            yield item


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
