"""What a route stands for here: a model in place of the one that is guarded, and what it may do.

`target_of` makes the model of a route, guarded with the same handle, so that its window, its
tokenizer and its verification are its own.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.base.llms.types import ChatResponse
from llama_index.core.llms.structured_llm import StructuredLLM

from ctxguard.attempts import Attempt
from ctxguard.errors import PolicyError
from ctxguard.handle import Coverage, Handle, Unreached
from ctxguard.routing import Route
from ctxguard_llamaindex.replies import calls_tools
from ctxguard_llamaindex.scope import own_handle
from ctxguard_llamaindex.setting import settings_for
from ctxguard_llamaindex.targets import engine_kind, names_engines

__all__ = [
    "answerer_of",
    "class_of",
    "configure",
    "configured",
    "cover_routes",
    "first_model",
    "is_engine",
    "mixes",
    "note_answerer",
    "note_once",
    "target_for",
    "target_of",
]

T = TypeVar("T")
_KEPT = 64
"""Targets of a handle that are kept; a model that is made for each call brings new ones."""


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
        self.answerers: dict[int, tuple[weakref.ref[Any], BaseLLM]] = {}
        """Who gave a reply that calls tools, by the reply's id for as long as it lives."""
        self.model: weakref.ref[BaseLLM] | None = None
        """The first that was found in what is guarded; None: none was."""
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


def _targets_of(handle: Handle) -> _Targets:
    return handle.keep("targets", _Targets)  # its own: they hold the handle


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
    return bool(engine_kind(obj))


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
    if isinstance(source, StructuredLLM):
        source = source.llm  # the form of an answer is for whoever asks to say
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


def mixes(handle: Handle, model: BaseLLM) -> bool:
    """Whether the routes lead to models of several classes, who read each other's words."""
    routing = handle.policy.routing
    if routing is None or routing.mode == "shadow":
        return False
    objects = (route for route in routing.routes if isinstance(route.model, BaseLLM))
    own = class_of(model)
    return any(class_of(target_of(handle, model, route)) is not own for route in objects)


# -- who answered, and for whom --------------------------------------------------------------------


def note_answerer(handle: Handle, reply: object, target: BaseLLM) -> None:
    """Remember who gave a reply, where it calls tools: only its class is sure to read them."""
    if isinstance(reply, ChatResponse) and calls_tools(reply):
        known, key = _targets_of(handle).answerers, id(reply)
        known[key] = (weakref.ref(reply, lambda _: known.pop(key, None)), target)


def answerer_of(handle: Handle, reply: object) -> BaseLLM | None:
    """Who gave a reply on a route; None: nobody remembers, so it was the model itself."""
    found = _targets_of(handle).answerers.get(id(reply))
    return None if found is None or found[0]() is not reply else found[1]


def configure(attempt: Attempt, model: BaseLLM) -> None:
    """Remember which model an attempt is made for."""
    attempt.dispatching.run.keep(("configured", attempt), lambda: model)


def configured(attempt: Attempt, default: BaseLLM) -> BaseLLM:
    """The model that an attempt was made for, or the one that is known instead."""
    return attempt.dispatching.run.keep(("configured", attempt), lambda: default)


# -- guard() ---------------------------------------------------------------------------------------


def cover_routes(
    handle: Handle, found: Coverage, models: Sequence[tuple[str, BaseLLM]]
) -> Coverage:
    """What was found, and the models of the routes; engines are led to elsewhere.

    Args:
        handle: whose policy names the routes.
        found: what guard() reached.
        models: those that it guards, with their paths.

    Raises:
        PolicyError: a route can be none of the models; the message names it.
    """
    routing = handle.policy.routing
    if routing is None or names_engines(routing):
        return found
    for _, model in models[:1]:
        _targets_of(handle).model = weakref.ref(model)
    for route in routing.routes:
        if isinstance(route.model, str):
            found = found.merged(Coverage((), _unnamed(handle, route, models)))
            continue
        if not isinstance(route.model, BaseLLM):
            raise PolicyError(
                f"Policy.routing: the model of route {route.name!r} is a "
                f"{type(route.model).__name__}, and no model or engine of LlamaIndex's"
            )
        _, coverage = _part(handle, route.model)
        found = found.merged(_below(coverage, f"routing.{route.name}"))
    return found


def first_model(handle: Handle) -> BaseLLM | None:
    """The first model that guard() found; None: it found none, or it is gone."""
    found = _targets_of(handle).model
    return None if found is None else found()


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


def class_of(obj: object) -> type[Any]:
    """The class that an object had before it was guarded."""
    from ctxguard_llamaindex.classes import plain_type

    return plain_type(obj)


# -- what is said once -----------------------------------------------------------------------------


def note_once(attempt: Attempt, code: str, reason: str) -> None:
    """Let the ledger say something of the routing, once per run."""
    work = attempt.dispatching
    said = work.run.keep(("noted", code, reason), list[bool])
    if not said:
        said.append(True)
        work.note("flag", code, reason)
