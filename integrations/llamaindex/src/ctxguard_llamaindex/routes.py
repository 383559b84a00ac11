"""What a route stands for here: a model in place of the one that is guarded, and what it may do.

`target_of` makes the model of a route, guarded with the same handle, so that its window, its
tokenizer and its verification are its own. `request_of` tells core what a call needs.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.chat_engine.types import BaseChatEngine
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.workflow import Workflow

from ctxguard.attempts import Attempt, Request
from ctxguard.errors import PolicyError
from ctxguard.handle import Coverage, Handle, Unreached
from ctxguard.models import ModelCard
from ctxguard.routing import Route
from ctxguard_llamaindex.convert import card_of, messages_of, tools_of
from ctxguard_llamaindex.scope import own_handle
from ctxguard_llamaindex.setting import LIMITS, settings_for

__all__ = [
    "cover_routes",
    "is_engine",
    "note_once",
    "request_of",
    "target_for",
    "target_of",
]

T = TypeVar("T")
_KEPT = 64
"""Targets of a handle that are kept; a model that is made for each call brings new ones."""
_ENGINES = (BaseQueryEngine, BaseChatEngine, Workflow)
_BOUND = ("tools", "functions", "function_call", "tool_choice", "response_format", "format")
"""Arguments of a call that are written in the terms of one provider."""


@dataclass(frozen=True, slots=True)
class _Target:
    """What stands for a route."""

    source: object
    """What it was made from, kept so that its id stays its own."""
    state: tuple[object, ...]
    """The fields of the source at that time."""
    made: Any
    lacks: tuple[str, ...] = ()
    """Fields of the route that its class has no place for."""


class _Targets:
    """The targets of one handle, each made once; the one that was used longest ago goes first."""

    def __init__(self) -> None:
        self._made: OrderedDict[tuple[int, str], _Target] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, source: object, name: str, make: Callable[[], _Target]) -> _Target:
        key = (id(source), name)
        with self._lock:
            found = self._made.get(key)
            if found is not None and _same(found.state, _state(source)):
                self._made.move_to_end(key)
                return found
        made = make()  # may take a while, and what it calls may ask for another one
        with self._lock:
            self._made[key] = made
            self._made.move_to_end(key)
            while len(self._made) > _KEPT:
                self._made.popitem(last=False)
        return made


_targets: weakref.WeakKeyDictionary[Handle, _Targets] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def _targets_of(handle: Handle) -> _Targets:
    with _lock:
        return _targets.setdefault(handle, _Targets())


def _state(source: object) -> tuple[object, ...]:
    return tuple(getattr(source, "__dict__", {}).values())


def _same(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))


# -- what stands for a route -----------------------------------------------------------------------


def target_of(handle: Handle, model: T, route: Route) -> T:
    """The guarded object of a route.

    Args:
        handle: whose policy names the route.
        model: the model, or the engine, that is called; itself where the route changes nothing
            of it.
        route: one of the policy's.

    Raises:
        PolicyError: the route names another model, and this one has no field for a name.
    """
    return _target(handle, model, route).made


def target_for(handle: Handle, model: T, attempt: Attempt) -> T:
    """The object that an attempt asks: of its route, or what is configured where it does not act.

    What the route says and the model has no field for is noted, once per run.
    """
    if not attempt.acts:
        return model
    target = _target(handle, model, attempt.route)
    for name in target.lacks:
        said = f"{type(target.made).__name__} has no field for Route.{name} of "
        code = "effort-not-set" if name == "effort" else "max-output-not-set"
        note_once(attempt, code, f"{said}{attempt.route.name}")
    return target.made


def is_engine(obj: object) -> bool:
    """Whether the model of a route is a query engine, a chat engine or a workflow."""
    return isinstance(obj, _ENGINES)


def _target(handle: Handle, model: Any, route: Route) -> _Target:  # noqa: ANN401 -- of any class
    named = isinstance(route.model, str)
    wants = (route.model or route.effort or route.max_output or route.window) if named else True
    cascade = handle.policy.routing is not None and handle.policy.routing.cascade is not None
    alike = named or is_engine(route.model) == is_engine(model)
    if not alike or not (wants or cascade) or (named and not isinstance(model, BaseLLM)):
        return _Target(model, (), model)
    return _targets_of(handle).get(model, route.name, lambda: _made(handle, model, route))


def _made(handle: Handle, model: Any, route: Route) -> _Target:  # noqa: ANN401 -- of any class
    # It makes guarded classes, which have the methods that ask for targets.
    from ctxguard_llamaindex.copies import shallow_copy

    state = _state(model)
    source: Any = model if isinstance(route.model, str) else _part(handle, route.model)[0]
    if not isinstance(source, BaseLLM):
        return _Target(model, state, source)
    update, lacks = settings_for(source, route, handle.policy)
    if update:
        copy = shallow_copy(source)
        copy.__dict__.update(update)
        known = {*source.model_fields_set, *update}
        object.__setattr__(copy, "__pydantic_fields_set__", known)
        source = copy
    return _Target(model, state, source, lacks)


def _part(handle: Handle, obj: T) -> tuple[T, Coverage]:
    """An object guarded as a part of what a handle guards, and what is guarded in it."""
    from ctxguard_llamaindex.walk import Walk

    before = own_handle(obj)
    if before is handle:
        return obj, Coverage()
    return Walk(obj, handle, replaces=before).copy()


# -- guard() ---------------------------------------------------------------------------------------


def cover_routes(
    handle: Handle, found: Coverage, models: Sequence[tuple[str, BaseLLM]]
) -> Coverage:
    """What was found, and the models and engines of the routes.

    Args:
        handle: whose policy names the routes.
        found: what guard() reached.
        models: those that it guards, with their paths.

    Raises:
        PolicyError: a route can be none of the models; the message names it.
    """
    routing = handle.policy.routing
    for route in routing.routes if routing is not None else ():
        if isinstance(route.model, str):
            found = found.merged(Coverage((), _unnamed(handle, route, models)))
            continue
        if not isinstance(route.model, (BaseLLM, *_ENGINES)):
            raise PolicyError(
                f"Policy.routing: the model of route {route.name!r} is a "
                f"{type(route.model).__name__}, and no model or engine of LlamaIndex's"
            )
        _, coverage = _part(handle, route.model)
        found = found.merged(_below(coverage, f"routing.{route.name}"))
    return found


def _unnamed(
    handle: Handle, route: Route, models: Sequence[tuple[str, BaseLLM]]
) -> tuple[Unreached, ...]:
    """The models that a route cannot name another one for.

    Raises:
        PolicyError: it can for none of them.
    """
    refused: list[Unreached] = []
    for path, model in models:
        try:
            settings_for(model, route, handle.policy)
        except PolicyError as error:
            refused.append(Unreached(path, type(model).__name__, f"is not routed: {error}"))
            if len(refused) == len(models):
                raise
    return tuple(refused)


def _below(found: Coverage, path: str) -> Coverage:
    """The coverage of something that is found at a path."""
    return Coverage(
        tuple(replace(one, path=f"{path}.{one.path}".rstrip(".")) for one in found.reached),
        tuple(replace(one, path=f"{path}.{one.path}".rstrip(".")) for one in found.unreached),
    )


# -- requests --------------------------------------------------------------------------------------


def request_of(  # noqa: PLR0913 -- what a call may have, by name
    handle: Handle,
    model: BaseLLM,
    messages: Sequence[ChatMessage],
    *,
    tools: object = None,
    calls: bool = False,
    given: Mapping[str, Any] | None = None,
    subject: str = "question",
) -> Request:
    """What a call of a model needs.

    Args:
        handle: whose policy has the routes.
        model: the one that is called.
        messages: what it is asked.
        tools: LlamaIndex's own, which any model binds in its own way, or a provider's.
        calls: whether only a model that calls functions will do.
        given: arguments of the call: its limit, and what only one provider can read.
        subject: what the decision is about.
    """
    given = given or {}
    cards: dict[str, ModelCard] = {}

    def card(route: Route) -> ModelCard:
        if route.name not in cards:
            cards[route.name] = _card(handle, model, route)
        return cards[route.name]

    bound = next((name for name in _BOUND if given.get(name)), "")
    schemas = tools_of(tools or given.get("tools") or given.get("functions"))
    count = _counter(handle, messages, schemas, card)
    return Request(
        messages=tuple(messages_of(messages, count or _guessed)),
        tools=schemas,
        card=card,
        refuses=lambda route: _refusal(handle, model, route, calls=calls, bound=bound),
        count=count,
        output=_output(given),
        subject=subject,
    )


def _card(handle: Handle, model: BaseLLM, route: Route) -> ModelCard:
    """What is known of the model of a route; nothing where its integration cannot tell.

    OpenAI's raises for a name that it does not know: the call does too, and says it better.
    """
    try:
        return card_of(target_of(handle, model, route))
    except Exception:
        return ModelCard(name=route.model_name)


def _refusal(handle: Handle, model: BaseLLM, route: Route, *, calls: bool, bound: str) -> str:
    """Why a route cannot take a call; blank: it can."""
    if is_engine(route.model):
        return "it is an engine, and a model is asked"
    try:
        target = target_of(handle, model, route)
    except PolicyError as error:
        return str(error)
    if _class_of(target) is _class_of(model):
        return ""
    if bound:
        return f"`{bound}` is written for {_class_of(model).__name__}, and it is another class"
    if calls and not (
        isinstance(target, FunctionCallingLLM) and target.metadata.is_function_calling_model
    ):
        return f"{_class_of(target).__name__} calls no tools"
    return ""


def _class_of(obj: object) -> type[Any]:
    """The class that an object had before it was guarded."""
    from ctxguard_llamaindex.classes import plain_type

    return plain_type(obj)


def _counter(
    handle: Handle,
    messages: Sequence[ChatMessage],
    tools: str,
    card: Callable[[Route], ModelCard],
) -> Callable[[str], int] | None:
    """Tokens of a text, where it matters how many they are: for a budget, or near a window."""
    routing = handle.policy.routing
    if routing is None:
        return None
    windows = [route.window or card(route).window for route in routing.routes]
    smallest = min((window for window in windows if window), default=None)
    # A token has a character at least, so that fewer characters than tokens fit in any case.
    letters = len(tools) + sum(len(message.content or "") for message in messages)
    if not routing.limited and (smallest is None or letters < smallest // 2):
        return None
    tokenizer = handle.policy.resolve_tokenizer() or card(routing.routes[0]).resolve_tokenizer()
    return lambda text: len(tokenizer.encode(text))


def _guessed(text: str) -> int:
    return -(-len(text) // 4)


def _output(given: Mapping[str, Any]) -> int | None:
    limits = [value for name in LIMITS if isinstance(value := given.get(name), int) and value > 0]
    return min(limits, default=None)


# -- what is said once -----------------------------------------------------------------------------


def note_once(attempt: Attempt, code: str, reason: str) -> None:
    """Let the ledger say something of the routing, once per run."""
    work = attempt.dispatching
    said = work.run.keep(("noted", code, reason), list[bool])
    if not said:
        said.append(True)
        work.note("flag", code, reason)
