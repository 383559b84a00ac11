"""What a decision for a route says of itself, read back from a ledger and put in words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from pydantic import TypeAdapter, ValidationError

from ctxguard.routing import features, surroundings
from ctxguard.types import Decision

__all__ = ["Explanation", "Promised", "explanation_of", "said_of", "signal_words", "words_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Promised:
    """What a router promises; the fields are those of `Promise`."""

    target: float | None = None
    budget: float | None = None
    confidence: float = 0.0
    traces: int = 0

    def __str__(self) -> str:
        """In words."""
        promised = (
            f"quality at least {self.target:.1%} of all heavy"
            if self.target is not None
            else f"mean cost at most {self.budget or 0:g}"
        )
        return f"{promised} (confidence {self.confidence:.0%}, {self.traces:,} traces)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The details of a decision for a route; the fields are those of `Routing`."""

    route: str
    """That was taken, or in shadow mode would have been."""
    decided: str = ""
    """The router's own choice; blank: the same."""
    costs: Mapping[str, float | None] = field(default_factory=dict[str, float | None])
    """Of the request on each route, the lightest first; None: no price is known."""
    thresholds: tuple[float, ...] = ()
    flips: tuple[str, ...] = ()
    light_fails: float | None = None
    interval: tuple[float, float] | None = None
    heavy_fails: float | None = None
    moved: Mapping[str, float] = field(default_factory=dict[str, float])
    too_small: tuple[str, ...] = ()
    """Routes whose window has no room for the request."""
    propensity: float | None = None
    """P with which this route was drawn, where runs explore."""
    promise: Promised | None = None
    """None: the router promises nothing."""

    @property
    def lightest(self) -> str:
        """The first of the candidates."""
        return next(iter(self.costs), self.route)

    @property
    def heaviest(self) -> str:
        """The last of the candidates."""
        return next(reversed(list(self.costs)), self.route)

    def is_lighter(self, route: str) -> bool:
        """Whether a route is lighter than the router's own choice, and its promise not of it."""
        order, decided = list(self.costs), self.decided or self.route
        return route in order and decided in order and order.index(route) < order.index(decided)

    def ok(self, route: str) -> float | None:
        """P that a route's answer is right; of one between the two that are estimated the lower.

        None: nothing was estimated, or the route is none of the candidates.
        """
        light, heavy = self.light_fails, self.heavy_fails
        if light is None or heavy is None or (self.costs and route not in self.costs):
            return None
        fails = {self.lightest: light, self.heaviest: heavy}.get(route, max(light, heavy))
        return 1 - fails


def explanation_of(decision: Decision) -> Explanation | None:
    """What a decision for a route explains; None: it is another one, or says nothing of it."""
    if decision.stage != "route" or "route" not in decision.details:
        return None
    try:
        found = _adapter().validate_python(decision.details)
    except ValidationError:  # a ledger may come from anywhere
        return None
    return found if found.costs else None


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[Explanation]:
    return TypeAdapter(Explanation)


def said_of(decision: Decision) -> str:
    """All that explains a choice, a line each."""
    words = (f"  {name}: {said}" for name, said in words_of(decision))
    route = decision.details.get("route", decision.stage)
    return "\n".join([f"{route}: {decision.reason or decision.code}", *words])


def words_of(decision: Decision) -> Iterator[tuple[str, str]]:
    """What explains a choice, beside its reason: a name and its words each."""
    found = explanation_of(decision)
    if found is None:
        return
    light, between, heavy = found.light_fails, found.interval, found.heavy_fails
    if light is not None and heavy is not None and between is not None:
        low, high = between
        yield (
            "P(light fails)",
            f"{light:.2f}, 95 % interval {low:.2f} to {high:.2f}; P(heavy fails) {heavy:.2f}",
        )
        moved = (f"{signal_words(name)} {gain:+.3f}" for name, gain in found.moved.items())
        yield "moved by", ", ".join(moved) or "nothing"
    if decision.score is not None and decision.threshold is not None:
        yield "would flip", _flip(found, decision.score, decision.threshold)
    for route, cost in found.costs.items():
        said = "price unknown" if cost is None else f"{cost:.6f} per request"
        room = ", too small for the request" if route in found.too_small else ""
        yield route, f"{said}{room}"
    if found.promise is not None:
        yield "promised", str(found.promise)


def _flip(found: Explanation, gain: float, threshold: float) -> str:
    said = f"a threshold {'above' if gain >= threshold else 'at or under'} {gain:.3f}"
    named = ", ".join(signal_words(name) for name in found.flips)
    return f"{said}, or an average question in: {named}" if named else said


def signal_words(name: str) -> str:
    """A signal in words; one of another release by its name."""
    for known in (features, surroundings):
        with contextlib.suppress(KeyError):
            return known.describe(name)
    return name
