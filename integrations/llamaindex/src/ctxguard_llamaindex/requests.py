"""What core is told of a call before it is made: what it needs, and which routes can take it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms.function_calling import FunctionCallingLLM

from ctxguard.errors import PolicyError
from ctxguard.handle import Handle
from ctxguard.models import ModelCard
from ctxguard.request import Request
from ctxguard.routing import Route
from ctxguard.types import Message
from ctxguard.verification import Ask
from ctxguard_llamaindex.convert import card_of, messages_of, tools_of
from ctxguard_llamaindex.routes import class_of, first_model, target_of
from ctxguard_llamaindex.setting import LIMITS

__all__ = ["repair_of", "request_of", "search_of"]

_BOUND = ("tools", "functions", "function_call", "tool_choice", "response_format", "format")
"""Arguments of a call that are written in the terms of one provider."""


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
    letters = len(schemas) + sum(len(message.content or "") for message in messages)
    count = _counter(handle, letters, card)
    return Request(
        messages=tuple(messages_of(messages, count or _guessed)),
        tools=schemas,
        card=card,
        refuses=lambda route: _refusal(handle, model, route, calls=calls, bound=bound),
        count=count,
        output=_output(given),
        subject=subject,
    )


def repair_of(handle: Handle, model: BaseLLM, ask: Ask) -> Request:
    """What a request needs that puts an answer of a model right.

    Args:
        handle: whose policy has the routes.
        model: the one that is configured.
        ask: the request.
    """

    def card(route: Route) -> ModelCard:
        return _card(handle, model, route)

    letters = sum(len(message.text) for message in ask.messages)
    count = _counter(handle, letters, card)
    return Request(messages=ask.messages, card=card, count=count, output=ask.max_tokens)


def search_of(handle: Handle, question: str) -> Request:
    """What is known before a search of the call that follows it: the models that may be asked.

    Args:
        handle: whose policy has the routes.
        question: what is asked.
    """
    model = first_model(handle)

    def card(route: Route) -> ModelCard:
        return ModelCard() if model is None else _card(handle, model, route)

    return Request(messages=(Message(role="user", text=question),), card=card)


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
    try:
        target = target_of(handle, model, route)
    except PolicyError as error:
        return str(error)
    if class_of(target) is class_of(model):
        return ""
    if bound:
        return f"`{bound}` is written for {class_of(model).__name__}, and it is another class"
    if calls and not (
        isinstance(target, FunctionCallingLLM) and target.metadata.is_function_calling_model
    ):
        return f"{class_of(target).__name__} calls no tools"
    return ""


def _counter(
    handle: Handle, letters: int, card: Callable[[Route], ModelCard]
) -> Callable[[str], int] | None:
    """Tokens of a text, where it matters how many they are: for a budget, or near a window.

    Args:
        handle: whose policy has the routes.
        letters: of the request.
        card: what is known of the model of a route.
    """
    routing = handle.policy.routing
    if routing is None:
        return None
    windows = [route.window or card(route).window for route in routing.routes]
    smallest = min((window for window in windows if window), default=None)
    # A token has a character at least, so that fewer characters than tokens fit in any case.
    if not routing.limited and (smallest is None or letters < smallest // 2):
        return None
    tokenizer = handle.policy.resolve_tokenizer() or card(routing.routes[0]).resolve_tokenizer()
    return lambda text: len(tokenizer.encode(text))


def _guessed(text: str) -> int:
    return -(-len(text) // 4)


def _output(given: Mapping[str, Any]) -> int | None:
    limits = [value for name in LIMITS if isinstance(value := given.get(name), int) and value > 0]
    return min(limits, default=None)
