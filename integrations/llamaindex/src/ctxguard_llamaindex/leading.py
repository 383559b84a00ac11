"""Engines as routes, at guard() time: which ones can stand in for what is guarded, guarded as well.

What cannot work is refused here, where its user can read why, and not in the middle of a call.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.memory.types import BaseMemory

from ctxguard.errors import PolicyError, UnsupportedObjectError
from ctxguard.handle import Coverage, Handle
from ctxguard.policy import Policy
from ctxguard.routing import Route
from ctxguard_llamaindex.convert import card_of
from ctxguard_llamaindex.scope import own_handle
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
                f"Routes.routes: {route.name} is a model, and others are engines; make an engine "
                "of it, or give models only"
            )
        if kind and kind != own:
            raise PolicyError(
                f"Routes.routes: {route.name} is a {kind}, and what is guarded is "
                f"{f'a {own}' if own else type(obj).__name__}; one stands in for its own kind"
            )
        _check_limits(route)
        if kind == "chat engine":
            _check_memory(route, obj)
    if routing.cascade is not None:
        raise PolicyError(
            "Routes.cascade: an engine cannot take up the answer of another one; give models as "
            "routes, or leave it out"
        )


def _check_limits(route: Route) -> None:
    for name in ("effort", "max_output"):
        if getattr(route, name) is not None:
            raise PolicyError(
                f"Route.{name}: {route.name} is an engine; set it on the engine's model"
            )


def _check_memory(route: Route, obj: object) -> None:
    """A conversation is one, whichever engine answers: they have to read one memory."""
    for engine in (obj, route.model):
        if not isinstance(getattr(engine, _MEMORY, None), BaseMemory):
            raise PolicyError(
                f"Routes.routes: {route.name}: {type(engine).__name__} keeps its conversation "
                "where no other engine finds it; give chat engines with a memory of LlamaIndex"
            )


def lead(root: object, handle: Handle, models: Sequence[BaseLLM]) -> Coverage:
    """Guard what the routes lead to, and let the root have it; what was reached in it.

    Args:
        root: the guarded object, whose calls are routed.
        handle: its handle; what the routes lead to follows the same one.
        models: that the root asks.
    """
    routing, reached = handle.policy.routing, Coverage()
    if routing is None or not names_engines(routing):
        if targets_of(root) is not None:  # of an earlier guard
            set_targets(root, None)
        return reached
    configured = Target(model=_only(models))
    targets: dict[str, Target] = {}
    for route in routing.routes:
        if route.model == "":
            targets[route.name] = configured
            continue
        walk = Walk(route.model, handle, replaces=own_handle(route.model))
        try:
            engine, inside = walk.copy(f"routes[{route.name}]")
        except UnsupportedObjectError as error:
            raise PolicyError(f"Routes.routes: {route.name}: {error}") from error
        set_targets(engine, None)
        if engine_kind(engine) == "chat engine":
            object.__setattr__(engine, _MEMORY, getattr(root, _MEMORY))
        targets[route.name] = Target(engine=engine, model=_only(walk.models))
        reached = reached.merged(inside)
    set_targets(root, Targets(routes=targets, configured=configured))
    return reached


def _only(models: Sequence[BaseLLM]) -> BaseLLM | None:
    """The model of an engine, where it is one, whichever of its parts ask it."""
    names: set[str] = set()
    for model in models:
        with contextlib.suppress(Exception):  # of a model that does not say what it is
            names.add(card_of(model).name)
    return models[0] if len(names) == 1 else None
