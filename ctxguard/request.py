"""What is known of a call of a model before it is made: the prompt, its tokens, who can take it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from ctxguard.intake import asked
from ctxguard.models import ModelCard
from ctxguard.routing.route import Load, Route
from ctxguard.types import Message

__all__ = ["Request"]

_CHARACTERS = 4
"""Of a token, where nothing is counted because nothing depends on it."""
_MESSAGE = 8
"""Tokens that a provider adds to a message at most: its role and its ends."""


def _no_card(_: Route) -> ModelCard:
    return ModelCard()


def _takes(_: Route) -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is known of a call before it is made."""

    messages: tuple[Message, ...] = ()
    """The prompt; before a search what there is of it, or nothing."""
    tools: str = ""
    """The tool schemas as JSON."""
    card: Callable[[Route], ModelCard] = _no_card
    """What is known of the model of a route; of one without, of what is configured."""
    refuses: Callable[[Route], str] = _takes
    """Why a route cannot take the call, as for want of tools; blank: it can."""
    count: Callable[[str], int] | None = None
    """Tokens of a text; None: a quarter of its characters."""
    output: int | None = None
    """Most tokens of an answer, as the call itself says; None: it does not."""
    answers: int = 1
    """Answers that the call asks for, each as long as one may be: of several prompts at once."""
    subject: str = "question"
    """What the decision is about, for the ledger."""
    adds_up: bool = False
    """Whether what is called asks models by itself (an engine, a chain): what each of them used is
    told to the attempt, and none of their answers can be taken to another route."""

    @property
    def question(self) -> str:
        """What is asked, as far as the messages say."""
        return asked(self.messages)

    @property
    def repeated(self) -> int:
        """Tokens of the prompt that the call before it had as well: all but its newest message."""
        return sum(self._tokens(one) for one in self.messages[:-1])

    def load(self, *, output: int = 0, most: bool = False) -> Load:
        """The tokens of the request.

        Args:
            output: expected of the answer, where it is not bounded lower.
            most: whether what providers add to messages counts.
        """
        prompt = sum(self._tokens(message) for message in self.messages) + self._count(self.tools)
        if most:
            prompt += _MESSAGE * (1 + len(self.messages))
        bounded = output if self.output is None else min(output, self.output)
        return Load(input=prompt, output=bounded) if self.messages else Load(output=bounded)

    def most(self, route: Route) -> Load:
        """The most that it can be on a route: an answer as long as it may become.

        Args:
            route: as `resolved` gives it.
        """
        load = self.load(most=True)
        bounds = [bound for bound in (self.output, route.max_output) if bound is not None]
        if not bounds and route.window is not None:
            return replace(load, output=max(0, self.answers * route.window - load.input))
        return replace(load, output=min(bounds, default=0) * self.answers)

    def bounded(self, route: Route) -> bool:
        """Whether it is known how long an answer may become on a route."""
        return not (self.output is route.max_output is route.window is None)

    def resolved(self, route: Route) -> Route:
        """A route with its model by name, and what its card says of limits."""
        card = self.card(route)
        return replace(
            route,
            model=route.model_name or card.name,
            window=route.window or card.window,
            max_output=route.max_output or card.max_output,
        )

    def _tokens(self, message: Message) -> int:
        return self._count(message.text) + message.extra_tokens

    def _count(self, text: str) -> int:
        if self.count is not None:
            return self.count(text)
        return math.ceil(len(text) / _CHARACTERS)
