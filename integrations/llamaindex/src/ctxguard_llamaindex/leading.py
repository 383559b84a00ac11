"""Engines as routes, at guard() time: which ones can stand in for what is guarded, guarded as well.

What cannot work is refused here, where its user can read why, and not in the middle of a call.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.memory.types import BaseMemory

from ctxguard.errors import PolicyError, UnsupportedObjectError
from ctxguard.handle import Coverage, Handle, Unreached
from ctxguard.policy import Policy
from ctxguard.routing import Route
from ctxguard_llamaindex.convert import card_of
from ctxguard_llamaindex.scope import own_handle
from ctxguard_llamaindex.setting import settings_for
from ctxguard_llamaindex.targets import (
    Target,
    Targets,
    engine_kind,
    names_engines,
    set_targets,
    targets_of,
)
from ctxguard_llamaindex.walk import Walk

__all__ = ["check_engines", "lead"]

_MEMORY = "_memory"


def check_engines(obj: object, policy: Policy) -> None:
    """Refuse routes that name engines which cannot stand in for what is guarded.

    Raises:
        PolicyError: they are of another kind, models are among them, or they cannot share what
            they have to.
    """
    routing = policy.routing
    if routing is None or not names_engines(routing):
        return
    own = engine_kind(obj)
    for route in routing.routes:
        kind = engine_kind(route.model)
        if not kind and route.model != "":
            raise PolicyError(
                f"Policy.routing: route {route.name!r} is a model, and others are engines; make an "
                "engine of it, or give models only"
            )
        if kind and kind != own:
            raise PolicyError(
                f"Policy.routing: route {route.name!r} is a {kind}, and what is guarded is "
                f"{f'a {own}' if own else type(obj).__name__}; one stands in for its own kind"
            )
        if kind == "chat engine":
            _check_memory(route, obj)
    if routing.cascade is not None:
        raise PolicyError(
            "Policy.routing: cascade: an engine cannot take up the answer of another one; give "
            "models as routes, or leave it out"
        )


def _check_memory(route: Route, obj: object) -> None:
    """A conversation is one, whichever engine answers: they have to read one memory."""
    for engine in (obj, route.model):
        if not isinstance(getattr(engine, _MEMORY, None), BaseMemory):
            raise PolicyError(
                f"Policy.routing: route {route.name!r}: {type(engine).__name__} keeps its "
                "conversation where no other engine finds it; give chat engines with a memory of "
                "LlamaIndex's"
            )


def lead(
    root: object, handle: Handle, models: Sequence[tuple[str, BaseLLM]], before: Handle | None
) -> Coverage:
    """Guard what the routes lead to, and let the root have it; what was reached in it.

    Args:
        root: the guarded object, whose calls are routed.
        handle: its handle; what the routes lead to follows the same one.
        models: that the root asks, with their paths.
        before: the handle that it had, which may come back.

    Raises:
        PolicyError: a route cannot be led to what it names.
    """
    routing, reached = handle.policy.routing, Coverage()
    if routing is None or not names_engines(routing):
        return reached
    configured = Target(model=_only(models))
    targets: dict[str, Target] = {}
    for route in routing.routes:
        if route.model == "" and route.effort is None and route.max_output is None:
            targets[route.name] = configured
        else:
            targets[route.name], inside = _target(root, handle, route)
            reached = reached.merged(inside)
    earlier = None if before is None else targets_of(root, before)
    set_targets(root, Targets(handle=handle, before=earlier, routes=targets, configured=configured))
    return reached


def _target(root: object, handle: Handle, route: Route) -> tuple[Target, Coverage]:
    """What a route leads to, and what is guarded in it: another engine, or the root set anew."""
    source: object = root if route.model == "" else route.model
    walk = Walk(source, handle, replaces=own_handle(source))
    try:
        engine, reached = walk.copy(f"routing.{route.name}")
    except UnsupportedObjectError as error:
        raise PolicyError(f"Policy.routing: route {route.name!r}: {error}") from error
    if engine_kind(engine) == "chat engine":
        object.__setattr__(engine, _MEMORY, getattr(root, _MEMORY))
    unset = tuple(
        Unreached(path, type(model).__name__, f"has no field for Route.{name}")
        for path, model in walk.models
        for name in _set(model, route, handle.policy)
    )
    return Target(engine=engine, model=_only(walk.models)), reached.merged(Coverage((), unset))


def _set(model: BaseLLM, route: Route, policy: Policy) -> tuple[str, ...]:
    """Set what a route says in a model of its engine, which is a copy; what it has no field for."""
    update, lacks = settings_for(model, replace(route, model=""), policy)
    cast("dict[str, Any]", model.__dict__).update(update)  # past what an assignment would check
    known = {*model.model_fields_set, *update}
    object.__setattr__(model, "__pydantic_fields_set__", known)
    return lacks


def _only(models: Sequence[tuple[str, BaseLLM]]) -> BaseLLM | None:
    """The model of an engine, where it is one, whichever of its parts ask it."""
    names: set[str] = set()
    for _, model in models:
        with contextlib.suppress(Exception):  # of a model that does not say what it is
            names.add(card_of(model).name)
    return models[0][1] if len(names) == 1 else None
