"""What guard() says of a policy's routes: their models are covered, or cannot be routes here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from langchain_core.output_parsers import BaseOutputParser
from langchain_core.prompts import BasePromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable

from ctxguard.errors import PolicyError
from ctxguard.handle import Coverage, Handle
from ctxguard_langchain.dynamic import class_of
from ctxguard_langchain.routes import is_chain, routes_chains, take_models

__all__ = ["cover_routes"]

_PARTS = (BaseRetriever, BasePromptTemplate, BaseOutputParser)
"""Runnables that are a part of a chain and answer nothing by themselves."""


def cover_routes(handle: Handle, found: Coverage, models: Sequence[object]) -> Coverage:
    """What was found, and the models and chains of the routes.

    Args:
        handle: whose policy may have routes.
        found: in what is guarded.
        models: those that are guarded.

    Raises:
        PolicyError: a route cannot be one of LangChain's, or there is nothing to route.
        InputError: a route names a model, and one that is guarded has no field for a name.
    """
    from ctxguard_langchain.adapter import cover_part

    routing = handle.policy.routing
    if routing is None:
        return found
    _check(handle, found)
    take_models(handle, models)
    for route in routing.routes:
        if route.model and not route.model_name:
            _, coverage = cover_part(route.model, handle)
            found = found.merged(_below(coverage, f"routing.{route.name}"))
    return found


def _below(found: Coverage, path: str) -> Coverage:
    """The coverage of something that is found at a path."""
    return Coverage(
        tuple(replace(one, path=f"{path}.{one.path}".rstrip(".")) for one in found.reached),
        tuple(replace(one, path=f"{path}.{one.path}".rstrip(".")) for one in found.unreached),
    )


def _check(handle: Handle, found: Coverage) -> None:
    routing = handle.policy.routing
    routes = routing.routes if routing is not None else ()
    for route in routes:
        kind = class_of(route.model)
        if not issubclass(kind, str | Runnable) or issubclass(kind, _PARTS):
            raise PolicyError(
                f"Policy.routing: the model of route {route.name!r} is a "
                f"{kind.__name__}, and no model or chain of LangChain's"
            )
    chains = routes_chains(handle)
    mixed = [route.name for route in routes if route.model and not is_chain(route.model)]
    if chains and mixed:
        raise PolicyError(
            f"Policy.routing: the routes are chains, but {mixed[0]!r} is a model; give a chain of "
            "it, or leave its model out for what is guarded"
        )
    if chains and routing is not None and routing.cascade is not None:
        raise PolicyError(
            "Policy.routing: a cascade hands what was accepted to a heavier model, and the routes "
            "are chains; leave the cascade out, or give models"
        )
    if not chains and not any(reached.kind == "model" for reached in found.reached):
        raise PolicyError(
            "Policy.routing: there is nothing to route, because no model was found in what is "
            "guarded"
        )
