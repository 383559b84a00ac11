"""What a route sets in a model, by the fields that the model's class has for it.

Every integration names them in its own way. What none of them takes is left alone, and said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from llama_index.core.base.llms.base import BaseLLM
from pydantic import TypeAdapter, ValidationError

from ctxguard.errors import PolicyError
from ctxguard.policy import Policy
from ctxguard.routing import Route
from ctxguard.routing.route import Effort

__all__ = ["LIMITS", "settings_for"]

Fields = dict[str, Any]

LIMITS = ("max_tokens", "max_output_tokens", "max_completion_tokens", "max_new_tokens")
"""How models call the field, or the argument, that bounds the tokens of an answer."""
_OLLAMA_LIMIT = "num_predict"
"""An option of its server, which has no field."""
_DEPLOYMENT = "engine"
"""What Azure's models are asked under, whatever `model` says."""
_WORDS = ("reasoning_effort", "thinking")
"""Fields that take an effort as a word."""
_DICTS = ("thinking_dict", "thinking")
"""Fields that take a number of tokens to think in, as Anthropic has it."""
_SHARES: Mapping[Effort, float] = {"minimal": 0.0, "low": 0.25, "medium": 0.5, "high": 0.75}
"""Of the tokens of an answer, which those of thinking count towards."""
_FEWEST = 1024
"""Tokens that Anthropic lets a model think in at least."""


def settings_for(model: BaseLLM, route: Route, policy: Policy) -> tuple[Fields, tuple[str, ...]]:
    """The fields to set in a copy of a model, and what of the route it has none for.

    Args:
        model: whose class says which there are.
        route: one of the policy's.
        policy: whose cascade may look at the probabilities of an answer's tokens.

    Raises:
        PolicyError: the route names a model, and this one cannot go by another name.
    """
    update = _named(model, route) if route.model_name else {}
    lacks: list[str] = []
    if route.max_output is not None:
        limit = _limit(model, route.max_output)
        update |= limit
        lacks += [] if limit else ["max_output"]
    if route.effort is not None:
        effort = _effort(model, route.effort, update)
        lacks += [] if effort else ["effort"]
        update |= effort
    if route.window is not None and "context_window" in type(model).model_fields:
        update["context_window"] = route.window
    if _wants_logprobs(model, policy):
        update["logprobs"] = True
    return update, tuple(lacks)


def _named(model: BaseLLM, route: Route) -> Fields:
    fields = type(model).model_fields
    if "model" not in fields or getattr(model, _DEPLOYMENT, None):
        why = "is made for one deployment" if "model" in fields else "has no field for a name"
        raise PolicyError(
            f"Policy.routing: route {route.name!r} names {route.model_name!r}, and "
            f"{type(model).__name__} {why}; give the route a model object"
        )
    update: Fields = {"model": route.model_name}
    if _is_a(model, "OpenAI") and "temperature" in fields:
        # Its constructor does so: models that reason take no other temperature.
        from llama_index.llms.openai.utils import O1_MODELS  # an optional package

        if route.model_name in O1_MODELS:
            update["temperature"] = 1.0
        _check_known(model, route, update)
    return update


def _check_known(model: BaseLLM, route: Route, update: Fields) -> None:
    """OpenAI's class refuses names that it does not know: in a call, where engines swallow it."""
    try:
        _ = model.model_copy(update=update).metadata
    except ValueError as error:
        raise PolicyError(
            f"Policy.routing: route {route.name!r} names {route.model_name!r}, which "
            f"{type(model).__name__} does not know; give the route a model object"
        ) from error


def _limit(model: BaseLLM, limit: int) -> Fields:
    update: Fields = {}
    for name in LIMITS:
        if name in type(model).model_fields:
            update[name] = _least(getattr(model, name), limit)
    if not update and _is_a(model, "Ollama"):
        options = cast("Fields", getattr(model, "additional_kwargs", {}))
        least = _least(options.get(_OLLAMA_LIMIT), limit)
        update["additional_kwargs"] = {**options, _OLLAMA_LIMIT: least}
    return update


def _least(own: object, limit: int) -> int:
    return min(own, limit) if isinstance(own, int) and own > 0 else limit


def _effort(model: BaseLLM, effort: Effort, update: Fields) -> Fields:
    """The field that says how long a model thinks; nothing where it has none for this."""
    fields = type(model).model_fields
    for name in _WORDS:
        field = fields.get(name)
        if field is not None and _takes(field.annotation, effort):
            return _sent(model, name, effort, update)
    if "reasoning_options" in fields:
        own: Fields = getattr(model, "reasoning_options", None) or {}
        return {"reasoning_options": {**own, "effort": effort}}
    for name in _DICTS:
        field = fields.get(name)
        if field is not None and _takes(field.annotation, {"type": "enabled"}):
            return _thinking(model, name, effort, update)
    return {}


def _takes(annotation: Any, value: object) -> bool:  # noqa: ANN401 -- a type of any kind
    try:
        TypeAdapter[Any](annotation).validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


def _sent(model: BaseLLM, name: str, effort: Effort, update: Fields) -> Fields:
    """OpenAI's class sends the field to models that it knows to reason, and to no others."""
    if name != "reasoning_effort" or not _is_a(model, "OpenAI"):
        return {name: effort}
    from llama_index.llms.openai.utils import O1_MODELS  # an optional package

    if update.get("model", getattr(model, "model", "")) in O1_MODELS:
        return {name: effort}
    if not _is_a(model, "OpenAILike"):
        return {}
    own = cast("Fields", getattr(model, "additional_kwargs", {}))  # another server's own models
    return {"additional_kwargs": {**own, name: effort}}


def _thinking(model: BaseLLM, name: str, effort: Effort, update: Fields) -> Fields:
    """A share of the answer's tokens to think in; nothing where that would be too few."""
    if effort == "none":
        return {name: {"type": "disabled"}}
    most: object = update.get("max_tokens", getattr(model, "max_tokens", None))
    if not isinstance(most, int) or most <= _FEWEST:
        return {}
    budget = max(_FEWEST, int(_SHARES[effort] * most))
    given: Fields = {name: {"type": "enabled", "budget_tokens": budget}}
    if "temperature" in type(model).model_fields:
        given["temperature"] = 1.0  # a model that thinks takes no other
    return given


def _wants_logprobs(model: BaseLLM, policy: Policy) -> bool:
    """Whether the probabilities of an answer's tokens are looked at, and have to be asked for.

    Only a switch is set: some models have a field of that name for another thing.
    """
    routing = policy.routing
    cascade = None if routing is None or routing.mode == "shadow" else routing.cascade
    if cascade is None or cascade.confidence is None:
        return False
    field = type(model).model_fields.get("logprobs")
    return (
        field is not None
        and field.annotation == (bool | None)
        and not getattr(model, "logprobs", None)
    )


def _is_a(model: BaseLLM, name: str) -> bool:
    """Whether a class of LlamaIndex's integrations is among those of a model."""
    return any(
        kind.__name__ == name and kind.__module__.startswith("llama_index.llms.")
        for kind in type(model).__mro__
    )
