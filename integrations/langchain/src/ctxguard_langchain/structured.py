"""Structured output on whichever route: each provider asks and parses in its own way.

`with_structured_output` of a model makes a chain that only that model's replies can pass. Of a
guarded model whose calls are routed it makes one that takes a route first, and then is the chain
that the route's model makes of the same schema.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from langchain_core.runnables import Runnable

from ctxguard.attempts import Attempt, current_attempt
from ctxguard.handle import Handle
from ctxguard.request import Request
from ctxguard.routing import Route
from ctxguard_langchain.binding import alike
from ctxguard_langchain.carrying import handle_of, keep, kept, own_handle
from ctxguard_langchain.classes import Derived, adopt
from ctxguard_langchain.convert import question_of, short
from ctxguard_langchain.dynamic import Dynamic, class_of
from ctxguard_langchain.entering import SHAPES, routed
from ctxguard_langchain.planning import Args, Kwargs, Plan, asked_in, prompts_in
from ctxguard_langchain.routes import request_of, routes_chains, target_for, target_of
from ctxguard_langchain.scope import entries_of

__all__ = ["structuring"]

_GIVEN = "__ctxguard_structured__"
_WHOLE = ("__or__", "__ror__", "pipe")
"""How sequences are built; a sequence's own would take its steps apart."""


@dataclass(frozen=True, slots=True, eq=False)
class _Given:
    """What a chain was made from."""

    model: Any
    schema: Any
    arguments: Mapping[str, Any]


def structuring(base: Callable[..., Any]) -> Callable[..., Any]:
    """`with_structured_output` of a model whose calls are routed."""

    @functools.wraps(base)
    def with_structured_output(self: Dynamic, schema: Dynamic, **kwargs: Any) -> Dynamic:
        made = base(self, schema, **kwargs)
        handle = own_handle(self)
        if handle is None or handle.policy.routing is None or routes_chains(handle):
            return made
        if not issubclass(class_of(made), Runnable):
            return made
        keep(made, _GIVEN, _Given(self, schema, kwargs))
        return adopt(made, _STRUCTURED(class_of(made)), handle)

    return with_structured_output


def _space(base: type[Any]) -> dict[str, Any]:
    space = entries_of(base, lambda name, method: routed(SHAPES[name], method, _due, _plan))
    space |= {name: getattr(Runnable, name) for name in _WHOLE}
    return {**space, "__reduce_ex__": _reduce_ex}


_STRUCTURED = Derived(_space, root=True, derived=True)


def _reduce_ex(self: Dynamic, _protocol: Dynamic) -> tuple[Any, ...]:
    given: _Given = kept(self, _GIVEN)
    return _again, (given.model, given.schema, dict(given.arguments))


def _again(model: Dynamic, schema: Dynamic, arguments: Kwargs) -> Dynamic:
    return model.with_structured_output(schema, **arguments)


# -- its calls ------------------------------------------------------------------------------------


def _due(obj: object) -> Handle | None:
    given = kept(obj, _GIVEN)
    return handle_of(obj) if given is not None and current_attempt() is None else None


def _plan(handle: Handle, obj: Dynamic, name: str, args: Args, kwargs: Kwargs) -> Plan:
    given: _Given = kept(obj, _GIVEN)
    asked = asked_in(args, kwargs)
    streams = name in ("transform", "atransform")

    def request() -> Request:
        messages = () if streams else prompts_in(given.model, asked)
        made = request_of(handle, given.model, messages, {"tools": [given.schema]})
        return replace(made, refuses=refuses)

    def refuses(route: Route) -> str:
        return _refusal(given, target_of(handle, given.model, route))

    def target_for_it(attempt: Attempt) -> Dynamic:
        return target_for(handle, given.model, attempt)

    def call(attempt: Attempt) -> tuple[Any, Args, Kwargs]:
        target = target_for_it(attempt)
        return (obj if target is given.model else _chain(given, target)), args, kwargs

    question = "" if streams else short(question_of(asked))
    return Plan(request=request, call=call, target=target_for_it, question=question)


def _chain(given: _Given, target: Dynamic) -> Dynamic:
    """What another model makes of the schema; arguments that only the first one knows are left."""
    arguments = given.arguments
    if not alike(target, given.model):
        known = inspect.signature(target.with_structured_output).parameters
        arguments = {name: value for name, value in arguments.items() if name in known}
    return target.with_structured_output(given.schema, **arguments)


def _refusal(given: _Given, target: Dynamic) -> str:
    """Why a model cannot answer in this schema; blank: it can."""
    if target is given.model:
        return ""
    try:
        _chain(given, target)
    except Exception as error:
        return f"{class_of(target).__name__} cannot ({type(error).__name__}: {error})"
    return ""
