"""What routes lead to where they name engines: a guarded engine for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.chat_engine.types import BaseChatEngine
from llama_index.core.workflow import Workflow

from ctxguard.errors import PolicyError
from ctxguard.handle import Handle
from ctxguard.routing.settings import Routes
from ctxguard_llamaindex.scope import own_handle

__all__ = [
    "Target",
    "Targets",
    "engine_kind",
    "names_engines",
    "routes_models",
    "set_targets",
    "targets_of",
]

_TARGETS = "_ctxguard_targets"
_KINDS: tuple[tuple[type[Any], str], ...] = (
    (BaseQueryEngine, "query engine"),
    (BaseChatEngine, "chat engine"),
    (Workflow, "workflow"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a route leads to."""

    engine: Any = None
    """None: what is guarded itself."""
    model: BaseLLM | None = None
    """The model that it asks; None: it asks none, or several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What the routes of a guarded engine lead to."""

    handle: Handle
    """Whose routes they are."""
    before: Targets | None = None
    """Those of the handle that comes back when this one is taken off."""
    routes: Mapping[str, Target]
    """By the names of the routes."""
    configured: Target
    """What is called where no route is taken."""

    def of(self, route: str) -> Target:
        """What a route leads to."""
        return self.routes.get(route, self.configured)


def engine_kind(obj: object) -> str:
    """What kind of engine an object is, in words; blank for what is none."""
    return next((word for kind, word in _KINDS if isinstance(obj, kind)), "")


def names_engines(routes: Routes | None) -> bool:
    """Whether routes lead to engines, so that no single call of a model is routed."""
    return routes is not None and any(engine_kind(route.model) for route in routes.routes)


def routes_models(routes: Routes | None, obj: object, handle: Handle) -> bool:
    """Whether a policy routes single calls of models.

    Args:
        routes: of the policy.
        obj: what is called.
        handle: whose policy it is.

    Raises:
        PolicyError: it routes engines, in a block, where nothing was handed to guard().
    """
    if not names_engines(routes):
        return True
    if own_handle(obj) is None and handle.original is None:
        raise PolicyError(
            "Policy.routing: engines stand in for what is handed to guard(); in a block there is "
            "no such thing, and only models can be routes"
        )
    return False


def targets_of(obj: object, handle: Handle | None = None) -> Targets | None:
    """What the routes of a guarded engine lead to; None: it is not what was handed to guard().

    Args:
        obj: the engine.
        handle: whose routes; None: those of the one that it carries.
    """
    own = handle or own_handle(obj)
    found = cast("Targets | None", getattr(obj, "__dict__", {}).get(_TARGETS))
    while found is not None and found.handle is not own:
        found = found.before
    return found


def set_targets(obj: object, targets: Targets | None) -> None:
    """Let an engine have targets; None takes them away."""
    if targets is None:
        obj.__dict__.pop(_TARGETS, None)
    else:
        obj.__dict__[_TARGETS] = targets
