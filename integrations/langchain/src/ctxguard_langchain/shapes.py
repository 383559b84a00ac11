"""One method of a retriever or a model, guarded: called, awaited, streamed or streamed async.

What happens around it, a `Choke` says; here is that it happens in each of the four shapes alike:
within a run, once however many guarded calls are inside each other, and as far as the policy asks
with the reply verified, its tokens counted, and what found evidence offered to be searched again.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from ctxguard.attempts import verification_of
from ctxguard.handle import Handle
from ctxguard.run import Run, current_run
from ctxguard_langchain.asking import source_of
from ctxguard_langchain.carrying import due
from ctxguard_langchain.checking import Checking
from ctxguard_langchain.convert import question_of, short
from ctxguard_langchain.depth import adepth_of, deeper, depth_of
from ctxguard_langchain.dynamic import Dynamic, class_of
from ctxguard_langchain.flags import retrieving
from ctxguard_langchain.metering import Meter, current_meter
from ctxguard_langchain.quiet import quiets
from ctxguard_langchain.stepping import (
    adrive,
    astream_in_run,
    closed,
    drive,
    flagged,
    never,
    stream_in_run,
)

__all__ = ["Args", "Choke", "Kwargs", "acall", "astream", "call", "stream"]

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Choke:
    """What happens around one method."""

    busy: ContextVar[Handle | None]
    before: Callable[[Handle, Any, Args, Kwargs], tuple[Args, Kwargs]]
    """The arguments to call the method with."""
    after: Callable[[Handle, Any, str, Any], Any]
    """The result to hand on, from the question and the method's result."""
    answers: bool = True
    """Whether what comes out is a reply of a model."""


def _active(choke: Choke, self: Dynamic) -> Handle | None:
    """The handle whose policy is due in this call, None when a call around this one applies it."""
    around, own = choke.busy.get(), due(self)
    applied = around is not None and own is not None and around.policy == own.policy
    return None if applied else own


def _question(args: Args, kwargs: Kwargs) -> str:
    return question_of(args[0] if args else next(iter(kwargs.values()), None))


def _asked(args: Args, kwargs: Kwargs) -> str:
    return short(_question(args, kwargs))


def _checking(
    choke: Choke, handle: Handle, self: Dynamic, args: Args, kwargs: Kwargs
) -> Checking | None:
    """What verifies the replies of a call; None: the policy does not ask for it.

    What a model says inside of a retriever is a query, and no answer.
    """
    if verification_of(handle.policy) is None or not choke.answers or retrieving.get() is not None:
        return None
    return Checking(handle, self, args, kwargs)


def _meter(choke: Choke) -> Meter | None:
    """What counts the tokens of a call; None: nothing does."""
    return current_meter() if choke.answers else None


def _searching(
    choke: Choke, handle: Handle, run: Run | None, self: Dynamic, args: Args, kwargs: Kwargs
) -> AbstractContextManager[object]:
    """Lets a search bring as many documents as the run's route says."""
    if choke.answers or handle.policy.routing is None:
        return nullcontext()
    return depth_of(handle, run, self, _asked(args, kwargs))


async def _asearching(
    choke: Choke, handle: Handle, run: Run | None, self: Dynamic, args: Args, kwargs: Kwargs
) -> AbstractContextManager[object]:
    """As `_searching`."""
    if choke.answers or handle.policy.routing is None:
        return nullcontext()
    return await adepth_of(handle, run, self, _asked(args, kwargs))


def _do(
    choke: Choke, method: Callable[..., Any], self: Dynamic, args: Args, kwargs: Kwargs
) -> Dynamic:
    """Call the method; a search inside of another's call takes the number of that, too."""
    if not choke.answers:
        self, args, kwargs = deeper(self, method, args, kwargs)
    return method(self, *args, **kwargs)


def _offer(
    run: Run | None, handle: Handle, self: Dynamic, name: str, args: Args, kwargs: Kwargs
) -> None:
    """Let what found evidence be searched again, if the policy may want more of it."""
    if not handle.policy.repairs or run is None:
        return
    query = args[0] if args else kwargs.get("query")
    if isinstance(query, str):  # a search by a vector cannot be done for a claim
        given = {key: value for key, value in kwargs.items() if key != "query"}

        def enter() -> AbstractContextManager[object]:
            return flagged(retrieving, handle, run)

        run.offer(source_of(self, name, args[1:], given, enter))


def call(base: Callable[..., Any], choke: Choke) -> Callable[..., Any]:
    """The guarded form of a method that returns its result."""

    def apply(
        run: Run | None, handle: Handle, self: Dynamic, args: Args, kwargs: Kwargs
    ) -> Dynamic:
        args, kwargs = choke.before(handle, self, args, kwargs)
        checking, meter = _checking(choke, handle, self, args, kwargs), _meter(choke)
        method = base if meter is None else meter.call(base)
        with flagged(choke.busy, handle, run), _searching(choke, handle, run, self, args, kwargs):
            if checking is not None:
                return checking.call(method)
            result = _do(choke, method, self, args, kwargs)
        if not choke.answers:
            _offer(run, handle, self, base.__name__, args, kwargs)
        return choke.after(handle, self, _question(args, kwargs), result)

    @functools.wraps(base)
    def hook(self: Dynamic, *args: Any, **kwargs: Any) -> Dynamic:
        handle = _active(choke, self)
        if handle is None:
            args, kwargs = quiets(args, kwargs)
            return _do(choke, base, self, args, kwargs)
        run = current_run()
        if run is not None:
            return apply(run, handle, self, args, kwargs)
        with handle.run(_asked(args, kwargs), class_of(self).__name__) as run:
            return apply(run, handle, self, args, kwargs)

    return hook


def acall(base: Callable[..., Any], choke: Choke) -> Callable[..., Any]:
    """The guarded form of a method that is awaited."""

    async def apply(
        run: Run | None, handle: Handle, self: Dynamic, args: Args, kwargs: Kwargs
    ) -> Dynamic:
        args, kwargs = choke.before(handle, self, args, kwargs)
        checking, meter = _checking(choke, handle, self, args, kwargs), _meter(choke)
        method = base if meter is None else meter.acall(base)
        with (
            flagged(choke.busy, handle, run),
            await _asearching(choke, handle, run, self, args, kwargs),
        ):
            if checking is not None:
                return await checking.acall(method)
            result = await _do(choke, method, self, args, kwargs)
        if not choke.answers:
            _offer(run, handle, self, base.__name__, args, kwargs)
        return choke.after(handle, self, _question(args, kwargs), result)

    @functools.wraps(base)
    async def hook(self: Dynamic, *args: Any, **kwargs: Any) -> Dynamic:
        handle = _active(choke, self)
        if handle is None:
            args, kwargs = quiets(args, kwargs)
            return await _do(choke, base, self, args, kwargs)
        run = current_run()
        if run is not None:
            return await apply(run, handle, self, args, kwargs)
        with handle.run(_asked(args, kwargs), class_of(self).__name__) as run:
            return await apply(run, handle, self, args, kwargs)

    return hook


def stream(
    base: Callable[..., Any], choke: Choke, *, ends: Callable[[Any], bool] = never
) -> Callable[..., Any]:
    """The guarded form of a method that returns an iterator.

    Args:
        base: the method.
        choke: what happens around it.
        ends: whether an item is the last that a consumer asks for; the run then ends with it.
    """

    def apply(run: Run, handle: Handle, self: Dynamic, args: Args, kwargs: Kwargs) -> Iterator[Any]:
        def make() -> Iterator[Any]:
            fitted, rest = choke.before(handle, self, args, kwargs)
            checking, meter = _checking(choke, handle, self, fitted, rest), _meter(choke)
            method = base if meter is None else meter.stream(base)
            return method(self, *fitted, **rest) if checking is None else checking.stream(method)

        return drive(make, lambda: flagged(choke.busy, handle, run))

    @functools.wraps(base)
    def hook(self: Dynamic, *args: Any, **kwargs: Any) -> Iterator[Any]:
        handle, run = _active(choke, self), current_run()
        if handle is None:
            args, kwargs = quiets(args, kwargs)
            yield from base(self, *args, **kwargs)
        elif run is not None:
            yield from apply(run, handle, self, args, kwargs)
        else:
            asked, name = _asked(args, kwargs), class_of(self).__name__
            yield from stream_in_run(
                handle, asked, name, lambda run: apply(run, handle, self, args, kwargs), ends=ends
            )

    return hook


def astream(
    base: Callable[..., Any], choke: Choke, *, ends: Callable[[Any], bool] = never
) -> Callable[..., Any]:
    """The guarded form of a method that returns an async iterator.

    Args:
        base: the method.
        choke: what happens around it.
        ends: whether an item is the last that a consumer asks for; the run then ends with it.
    """

    def apply(
        run: Run, handle: Handle, self: Dynamic, args: Args, kwargs: Kwargs
    ) -> AsyncIterator[Any]:
        def make() -> AsyncIterator[Any]:
            fitted, rest = choke.before(handle, self, args, kwargs)
            checking, meter = _checking(choke, handle, self, fitted, rest), _meter(choke)
            method = base if meter is None else meter.astream(base)
            return method(self, *fitted, **rest) if checking is None else checking.astream(method)

        return adrive(make, lambda: flagged(choke.busy, handle, run))

    @functools.wraps(base)
    async def hook(self: Dynamic, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        handle, run = _active(choke, self), current_run()
        items: AsyncIterator[Any]
        if handle is None:
            args, kwargs = quiets(args, kwargs)
            items = base(self, *args, **kwargs)
        elif run is not None:
            items = apply(run, handle, self, args, kwargs)
        else:
            asked, name = _asked(args, kwargs), class_of(self).__name__
            items = astream_in_run(
                handle, asked, name, lambda run: apply(run, handle, self, args, kwargs), ends=ends
            )
        async with closed(items):
            async for item in items:
                yield item

    return hook
