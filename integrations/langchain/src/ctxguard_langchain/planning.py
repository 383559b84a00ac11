"""What is known of a call before it has a route: of a model, or of a chain whose routes are chains.

A plan says what core decides by, and what an attempt calls then.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.prompt_values import PromptValue

from ctxguard.attempts import Attempt, current_attempt
from ctxguard.handle import Handle
from ctxguard.request import Request
from ctxguard.types import Message
from ctxguard_langchain.apply import safely
from ctxguard_langchain.binding import rebound
from ctxguard_langchain.carrying import due, handle_of, is_derived
from ctxguard_langchain.convert import question_of, short
from ctxguard_langchain.dynamic import Dynamic, class_of
from ctxguard_langchain.flags import retrieving
from ctxguard_langchain.routes import (
    LIMITS,
    chain_card,
    chain_of,
    note_once,
    request_of,
    routes_chains,
    target_for,
)

__all__ = [
    "Args",
    "Kwargs",
    "Plan",
    "asked_in",
    "chain_due",
    "chain_plan",
    "model_due",
    "model_plan",
    "prompts_in",
]

Args = tuple[Any, ...]
Kwargs = Mapping[str, Any]
_OF_LANGCHAIN = frozenset(
    {
        "callbacks",
        "config",
        "input",
        "messages",
        "metadata",
        "prompts",
        "run_id",
        "run_manager",
        "run_name",
        "stop",
        "stream",
        "tags",
    }
)
"""Arguments of a model's methods that are the same for all models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is known of a call before it has a route."""

    request: Callable[[], Request]
    call: Callable[[Attempt], tuple[Any, Args, Kwargs]]
    """What an attempt calls the method of, and with what."""
    target: Callable[[Attempt], Any] | None = None
    """The model of an attempt; None: it is no call of a model."""
    question: str = ""
    """For a run of its own, where there is none."""


# -- models -------------------------------------------------------------------------------------


def model_due(model: object) -> Handle | None:
    """The handle whose policy routes the calls of a model; None: they are not routed.

    What a retriever asks a model is a query, and no answer; what a routed call asks is routed.
    """
    if current_attempt() is not None or retrieving.get() is not None:
        return None
    handle = due(model)
    routed = handle is not None and handle.policy.routing is not None
    return None if not routed or routes_chains(cast("Handle", handle)) else handle


def model_plan(handle: Handle, model: Dynamic, _name: str, args: Args, kwargs: Kwargs) -> Plan:
    """The plan of a call of a model's method.

    Args:
        handle: whose policy has the routes.
        model: what is called.
        args: of the call, by position.
        kwargs: by name.
    """
    given = {key: value for key, value in kwargs.items() if key not in _OF_LANGCHAIN}
    asked = asked_in(args, kwargs)

    def request() -> Request:
        def work() -> Request:
            prompts = prompts_in(model, asked)
            return request_of(handle, model, prompts, given, prompts=_several(asked, prompts))

        return safely(handle, "model", class_of(model).__name__, work, otherwise=Request())

    def target_of(attempt: Attempt) -> Dynamic:
        return target_for(handle, model, attempt)

    def call(attempt: Attempt) -> tuple[Any, Args, Kwargs]:
        target = target_of(attempt)
        if target is model:
            return model, args, kwargs
        made = rebound(target, model, given)
        for dropped in made.dropped:
            note_once(
                attempt,
                "argument-dropped",
                f"{class_of(target).__name__} does not take the argument {dropped}",
            )
        own = {key: value for key, value in kwargs.items() if key in _OF_LANGCHAIN}
        return target, args, {**own, **_capped(made.kwargs, attempt.route.max_output)}

    return Plan(request=request, call=call, target=target_of, question=short(question_of(asked)))


def asked_in(args: Args, kwargs: Kwargs) -> object:
    """What a method is asked: its first argument, by position or by name."""
    if args:
        return args[0]
    names = ("input", "messages", "prompts")
    return next((kwargs[name] for name in names if name in kwargs), None)


def prompts_in(model: Dynamic, asked: object) -> Sequence[BaseMessage | str]:
    """The messages of a call, or the prompts of a model that completes text, all in one list."""
    if isinstance(asked, list):
        items = cast("list[Any]", asked)
        if items and all(isinstance(item, list) for item in items):  # of `generate`
            return [message for messages in items for message in messages]
        if not issubclass(class_of(model), BaseChatModel) and _are_prompts(items):
            return items
    value: PromptValue = model._convert_input(asked)  # noqa: SLF001 -- how a model reads what it is given
    if issubclass(class_of(model), BaseChatModel):
        return value.to_messages()
    return [value.to_string()]


def _several(asked: object, prompts: Sequence[object]) -> int:
    """Of how many prompts a call asks for an answer."""
    if isinstance(asked, list):
        items = cast("list[Any]", asked)
        if items and (prompts is items or all(isinstance(item, list) for item in items)):
            return len(items)
    return 1


def _are_prompts(items: list[Any]) -> bool:
    return all(isinstance(item, str) for item in items)


def _capped(kwargs: Kwargs, limit: int | None) -> dict[str, Any]:
    """Arguments that ask for no longer an answer than a route allows."""
    return {
        name: min(value, limit)
        if limit is not None and name in LIMITS and isinstance(value, int)
        else value
        for name, value in kwargs.items()
    }


# -- chains -------------------------------------------------------------------------------------


def chain_due(obj: object) -> Handle | None:
    """The handle whose routes are chains, of what guard() returned itself; else None."""
    if current_attempt() is not None:
        return None
    handle = handle_of(obj)
    routes = handle is not None and routes_chains(handle) and not is_derived(obj)
    return handle if routes else None


def chain_plan(handle: Handle, root: Dynamic, name: str, args: Args, kwargs: Kwargs) -> Plan:
    """The plan of a call of what guard() returned: another chain may take its place.

    Args:
        handle: whose policy has the routes.
        root: what is called.
        name: its method; an input that comes as a stream is read once, for all attempts.
        args: of the call, by position.
        kwargs: by name.
    """
    asked = asked_in(args, kwargs)
    replayed: _Replayed | _AsyncReplayed | None = None
    if name in ("transform", "atransform"):
        replayed = _Replayed(asked) if name == "transform" else _AsyncReplayed(asked)
        asked = None
    question = short(question_of(asked))

    def given() -> tuple[Args, Kwargs]:
        if replayed is None:
            return args, kwargs
        items: Any = iter(replayed) if isinstance(replayed, _Replayed) else aiter(replayed)
        return ((items, *args[1:]), kwargs) if args else (args, {**kwargs, "input": items})

    def request() -> Request:
        messages = (Message(role="user", text=question),) if question else ()
        return Request(
            messages=messages, card=lambda route: chain_card(handle, route), adds_up=True
        )

    def call(attempt: Attempt) -> tuple[Any, Args, Kwargs]:
        target = chain_of(handle, root, attempt.route) if attempt.acts else root
        return (target, *given())

    return Plan(request=request, call=call, question=question)


class _Replayed:
    """A stream that comes in, from its beginning for each attempt that reads it."""

    def __init__(self, items: Any) -> None:  # noqa: ANN401 -- an iterator of whatever comes
        self._items: Iterator[Any] = iter(items)
        self._read: list[Any] = []

    def __iter__(self) -> Iterator[Any]:
        yield from self._read
        for item in self._items:
            self._read.append(item)
            yield item


class _AsyncReplayed:
    """As `_Replayed`."""

    def __init__(self, items: Any) -> None:  # noqa: ANN401 -- an async iterator of whatever comes
        self._items = aiter(items)
        self._read: list[Any] = []

    async def __aiter__(self) -> AsyncIterator[Any]:
        for item in self._read:
            yield item
        async for item in self._items:
            self._read.append(item)
            yield item
