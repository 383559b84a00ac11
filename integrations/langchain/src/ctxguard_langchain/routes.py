"""What a route stands for here: a model in place of the one that is guarded, and what it may do.

`target_of` makes the model of a route, guarded with the same handle, so that its window, its
tokenizer, its cache and its verification are its own. `request_of` tells core what a call needs.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from langchain_core.language_models import BaseChatModel, BaseLanguageModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable
from pydantic import TypeAdapter, ValidationError

from ctxguard.attempts import Attempt
from ctxguard.errors import InputError
from ctxguard.handle import Handle
from ctxguard.models import ModelCard
from ctxguard.request import Request
from ctxguard.routing import Route
from ctxguard.run import Record, Run
from ctxguard.types import Decision
from ctxguard_langchain import convert
from ctxguard_langchain.binding import refusal
from ctxguard_langchain.carrying import handle_of, is_guarded
from ctxguard_langchain.dynamic import Dynamic, class_of

__all__ = [
    "LIMITS",
    "bounded",
    "card_for",
    "chain_card",
    "chain_of",
    "is_chain",
    "note_in",
    "note_once",
    "request_of",
    "routes_chains",
    "take_models",
    "target_for",
    "target_of",
]

T = TypeVar("T")
LIMITS = ("max_tokens", "max_output_tokens", "max_completion_tokens", "num_predict")
"""How models call the field that bounds the tokens of an answer."""
_NAMES = ("model_name", "model", "model_id")
_DEPLOYMENTS = ("azure_deployment", "deployment_name")
"""What a client is made for, so that another name does not reach the server."""
_EFFORTS = ("reasoning_effort", "effort", "thinking_level", "reasoning")
_NOT_SET = {"effort": "effort-not-set", "max_output": "max-output-not-set"}
_KEPT = 64
"""Targets of a handle that are kept; a model that is made for each call brings new ones."""


@dataclass(frozen=True, slots=True)
class _Target:
    """A guarded model or chain for a route."""

    source: object
    """What it was made from, kept so that its id stays its own."""
    made: Any
    lacks: tuple[str, ...] = ()
    """Fields of the route that its class has no place for."""


class _Targets:
    """The targets of one handle, each made once; the one that was used longest ago goes first."""

    def __init__(self) -> None:
        self.model: Any = None
        """The first that was found in what is guarded; None: none was."""
        self._made: OrderedDict[tuple[int, str], _Target] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, source: object, name: str, make: Callable[[], _Target]) -> _Target:
        key = (id(source), name)
        with self._lock:
            found = self._made.get(key)
            if found is not None:
                self._made.move_to_end(key)
                return found
        made = make()  # may take a while, and what it calls may ask for another one
        with self._lock:
            found = self._made.setdefault(key, made)
            while len(self._made) > _KEPT:
                self._made.popitem(last=False)
            return found


def _targets_of(handle: Handle) -> _Targets:
    return handle.keep("targets", _Targets)  # its own: they hold the handle


# -- models -------------------------------------------------------------------------------------


def target_of(handle: Handle, model: T, route: Route) -> T:
    """The guarded model of a route.

    Args:
        handle: whose policy names the route.
        model: the one that is called; itself where the route changes nothing of it.
        route: one of the policy's.

    Raises:
        InputError: the route names another model, and this one has no field for a name.
    """
    return _target(handle, model, route).made


def target_for(handle: Handle, model: T, attempt: Attempt) -> T:
    """The model that an attempt asks: of its route, or what is configured where it does not act.

    What the route says and the model has no field for is noted, once per run.
    """
    if not attempt.acts:
        return model
    target = _target(handle, model, attempt.route)
    for name in target.lacks:
        said = f"{class_of(target.made).__name__} has no field for Route.{name} of "
        note_once(attempt, _NOT_SET[name], f"{said}{attempt.route.name}")
    return target.made


def _target(handle: Handle, model: Dynamic, route: Route) -> _Target:
    if not _changes(handle, model, route):
        return _Target(model, model)
    return _targets_of(handle).get(model, route.name, lambda: _made(handle, model, route))


def _changes(handle: Handle, model: Dynamic, route: Route) -> bool:
    set_here = (route.effort, route.max_output, route.window)
    return bool(route.model) or any(set_here) or _wants_logprobs(handle, model)


def _made(handle: Handle, model: Dynamic, route: Route) -> _Target:
    from ctxguard_langchain.adapter import cover_part

    source: Any = route.model if route.model and not route.model_name else model
    update, lacks = _settings(handle, source, route)
    made = source.model_copy(update=update) if update else source
    if not (is_guarded(made) and handle_of(made) is handle):
        made, _ = cover_part(made, handle)
    return _Target(model, made, lacks)


def _settings(
    handle: Handle, source: Dynamic, route: Route
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What to set in a copy, and which fields of the route it cannot take."""
    update: dict[str, Any] = {}
    lacks: list[str] = []
    limit = route.max_output
    if route.model_name:
        update |= _named(source, route)
        own: object = getattr(source, "max_tokens", None)
        profile: Mapping[str, Any] = update.get("profile") or {}
        known: object = profile.get("max_output_tokens")
        if isinstance(own, int) and isinstance(known, int):  # it may be the other model's default
            limit = min(known, limit or known)
    if limit is not None:
        update |= bounded(source, limit)
        if not any(name in update for name in LIMITS):
            lacks.append("max_output")
    if route.effort is not None:
        effort = _effort(source, route.effort)
        update |= effort
        lacks += [] if effort else ["effort"]
    if route.window is not None and "profile" in class_of(source).model_fields:
        profile = update.get("profile") or getattr(source, "profile", None) or {}
        update["profile"] = {**profile, "max_input_tokens": route.window}
    if _wants_logprobs(handle, source):
        update["logprobs"] = True
    return update, tuple(lacks)


def _named(source: Dynamic, route: Route) -> dict[str, Any]:
    """The fields that name a model, with the name of a route."""
    fields: Mapping[str, Any] = class_of(source).model_fields
    names = [name for name in _NAMES if name in fields]
    fixed = any(getattr(source, name, None) for name in _DEPLOYMENTS)
    if not names or fixed:
        kind = class_of(source).__name__
        why = "is made for one deployment" if fixed else "has no field for a name"
        raise InputError(
            f"Route.model: {route.name} names {route.model_name!r}, but {kind} {why}; hand over a "
            "model object"
        )
    update: dict[str, Any] = dict.fromkeys(names, _bare(source, route.model_name))
    if "profile" in fields:  # of the other model, or none
        renamed = source.model_copy(update={**update, "profile": None})
        update["profile"] = _profile_of(renamed)
    return update


def _profile_of(model: Dynamic) -> Dynamic:
    """What the framework knows of a model by its name; None: nothing."""
    resolve = getattr(model, "_resolve_model_profile", None)
    if resolve is not None:
        return resolve()
    # Older clients look it up when they are made, as a validator of the whole model.
    getattr(model, "_set_model_profile", lambda: None)()
    return model.profile


def _bare(source: Dynamic, name: str) -> str:
    """A model's name without the prefix that says whose it is, where that is the model's own."""
    prefix, slash, rest = name.partition("/")
    if not slash or not issubclass(class_of(source), BaseChatModel):
        return name
    provider = source._get_ls_params().get("ls_provider", "")  # noqa: SLF001 -- how LangChain names a provider
    return rest if prefix == provider else name


def bounded(model: Dynamic, limit: int) -> dict[str, Any]:
    """The fields of a model that bound its answer, set to this many tokens or what is less."""
    fields: Mapping[str, Any] = class_of(model).model_fields
    update: dict[str, Any] = {}
    for name in LIMITS:
        if name in fields:
            own: object = getattr(model, name)
            update[name] = min(own, limit) if isinstance(own, int) and own > 0 else limit
    return update


def _effort(model: Dynamic, effort: str) -> dict[str, Any]:
    """The field of a model that says how long it thinks; nothing where it has none for this."""
    fields: Mapping[str, Any] = class_of(model).model_fields
    reasoning: object = getattr(model, "reasoning", None)
    if isinstance(reasoning, Mapping):  # it speaks for all of it, where it is set
        return {"reasoning": {**cast("Mapping[str, Any]", reasoning), "effort": effort}}
    for name in _EFFORTS:
        if name in fields:
            try:
                TypeAdapter[Any](fields[name].annotation).validate_python(effort, strict=True)
            except ValidationError:
                continue
            return {name: effort}
    return {}


def _wants_logprobs(handle: Handle, model: Dynamic) -> bool:
    """Whether a cascade looks at the probabilities of an answer's tokens, and has to ask for them.

    Only a switch is set: some models have a field of that name for another thing.
    """
    routing = handle.policy.routing
    cascade = None if routing is None or routing.mode == "shadow" else routing.cascade
    if cascade is None or cascade.confidence is None:
        return False
    field = getattr(class_of(model), "model_fields", {}).get("logprobs")
    return field is not None and field.annotation == (bool | None) and not model.logprobs


# -- chains -------------------------------------------------------------------------------------


def routes_chains(handle: Handle) -> bool:
    """Whether the routes are chains: what guard() returned is called, or another one instead."""
    routing = handle.policy.routing
    return routing is not None and any(is_chain(route.model) for route in routing.routes)


def chain_of(handle: Handle, root: T, route: Route) -> T:
    """The guarded chain of a route; the root itself where it names none."""
    from ctxguard_langchain.adapter import cover_part

    if not route.model:
        return root
    found = _targets_of(handle).get(
        route.model, route.name, lambda: _Target(route.model, cover_part(route.model, handle)[0])
    )
    return found.made


def chain_card(handle: Handle, route: Route) -> ModelCard:
    """What is known of the model of a chain; nothing where it asks none, or several."""
    source = route.model or handle.original
    found = _targets_of(handle).get(
        source, f"{route.name}'s card", lambda: _Target(source, _only_card(source))
    )
    return found.made


def _only_card(source: object) -> ModelCard:
    from ctxguard_langchain.walk import Survey

    cards = {card.name: card for card in map(convert.card_of, Survey(source).models)}
    return next(iter(cards.values())) if len(cards) == 1 else ModelCard()


def is_chain(model: object) -> bool:
    """Whether a route's model is a chain: a Runnable that is no model."""
    return issubclass(class_of(model), Runnable) and not issubclass(
        class_of(model), BaseLanguageModel
    )


def take_models(handle: Handle, models: Sequence[object]) -> None:
    """Take note of the models that are guarded.

    Raises:
        InputError: a route names a model, and one of these has no field for a name.
    """
    routing = handle.policy.routing
    if routing is None:
        return
    _targets_of(handle).model = next(iter(models), None)
    for route in routing.routes:
        for model in models if route.model_name else ():
            _named(model, route)


def card_for(handle: Handle) -> Callable[[Route], ModelCard]:
    """What is known of the model of a route before one is asked: by the first that is guarded."""
    model = _targets_of(handle).model

    def card(route: Route) -> ModelCard:
        if route.model and not route.model_name:
            return convert.card_of(route.model)
        return ModelCard() if model is None else convert.card_of(target_of(handle, model, route))

    return card


# -- requests -----------------------------------------------------------------------------------


def request_of(
    handle: Handle,
    model: Dynamic,
    messages: Sequence[BaseMessage | str],
    kwargs: Mapping[str, Any],
    *,
    subject: str = "question",
    prompts: int = 1,
) -> Request:
    """What a call of a model needs.

    Args:
        handle: whose policy has the routes.
        model: the one that is called.
        messages: what it is asked; strings are prompts of a model that completes text.
        kwargs: of the call: its tools, its limit.
        subject: what the decision is about.
        prompts: how many there are in `messages`, each with an answer of its own.
    """
    several: object = kwargs.get("n") or getattr(model, "n", None)
    tools = convert.tools_text(kwargs)
    count = _counter(handle, model, messages, tools)
    return Request(
        messages=_converted(messages, count or _guessed),
        tools=tools,
        card=lambda route: convert.card_of(target_of(handle, model, route)),
        refuses=lambda route: refusal(target_of(handle, model, route), model, kwargs),
        count=count,
        output=_limit(kwargs),
        answers=prompts * (several if isinstance(several, int) and several > 0 else 1),
        subject=subject,
    )


def _converted(
    messages: Sequence[BaseMessage | str], count: Callable[[str], int]
) -> tuple[Any, ...]:
    if any(isinstance(message, str) for message in messages):
        return tuple(convert.prompt_message(str(message)) for message in messages)
    return tuple(convert.messages_of(cast("Sequence[BaseMessage]", messages), count))


def _counter(
    handle: Handle, model: Dynamic, messages: Sequence[BaseMessage | str], tools: str
) -> Callable[[str], int] | None:
    """Tokens of a text, where it matters how many they are: for a budget, or near a window."""
    routing = handle.policy.routing
    if routing is None:
        return None
    cards = [convert.card_of(target_of(handle, model, route)) for route in routing.routes]
    windows = [
        route.window or card.window for route, card in zip(routing.routes, cards, strict=True)
    ]
    smallest = min((window for window in windows if window), default=None)
    # A token has a character at least, so that fewer characters than tokens fit in any case.
    letters = len(tools) + sum(len(convert.question_of(message)) for message in messages)
    if not routing.limited and (smallest is None or letters < smallest // 2):
        return None
    tokenizer = handle.policy.resolve_tokenizer() or cards[0].resolve_tokenizer()
    return lambda text: len(tokenizer.encode(text))


def _guessed(text: str) -> int:
    return -(-len(text) // 4)


def _limit(kwargs: Mapping[str, Any]) -> int | None:
    limits = [value for name in LIMITS if isinstance(value := kwargs.get(name), int) and value > 0]
    return min(limits, default=None)


# -- what is said once ----------------------------------------------------------------------------


def note_once(attempt: Attempt, code: str, reason: str) -> None:
    """Let the ledger say something of an attempt, once per run."""
    note_in(attempt.dispatching.run, code, reason)


def note_in(run: Run, code: str, reason: str) -> None:
    """Let the ledger say something of the routing, once per run."""
    said = run.keep(("noted", code, reason), list[bool])
    if said:
        return
    said.append(True)
    decision = Decision(stage="route", action="flag", subject="call", code=code, reason=reason)
    run.add(Record(decisions=(decision,)))
