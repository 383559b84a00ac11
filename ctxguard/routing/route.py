"""Routes: how much inference a question may get, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias, get_args

from genai_prices import Usage, calc_price
from pydantic import ConfigDict

from ctxguard.errors import InputError

__all__ = ["Effort", "Level", "Load", "Price", "Route", "cost_of", "ordered"]

Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high"]
"""How long a reasoning model may think, as providers name it."""
Level: TypeAlias = Literal["off", "flag", "repair"]
"""Whether answers are verified, and what is done about one that is not grounded."""
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a million tokens cost, in one currency for all routes."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    input: float
    output: float
    cache_read: float | None = None
    """Of the prompt, read from the provider's cache; None: as `input`."""
    cache_write: float | None = None
    """Of the prompt, written to it; None: as `input`."""

    def __post_init__(self) -> None:
        """Reject what is no price."""
        for name in ("input", "output", "cache_read", "cache_write"):
            value: float | None = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise InputError(f"Price.{name}: expected a number from 0 on, got {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The tokens of one request."""

    input: int = 1000
    """Of the prompt, with those below."""
    output: int = 300
    """Of the answer, as expected."""
    cache_read: int = 0
    """Of the prompt, in the provider's cache already."""
    cache_write: int = 0
    """Of the prompt, written to it."""

    def __post_init__(self) -> None:
        """Reject counts that cannot be."""
        if min(self.input, self.output, self.cache_read, self.cache_write) < 0:
            raise InputError(f"Load: tokens are counted from 0 on, got {self}")
        if self.cache_read + self.cache_write > self.input:
            raise InputError("Load: cache_read and cache_write are parts of input, and are more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How much inference a question gets; what is None stays as it is configured."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    model: Any = ""
    """A model's name as the provider writes it; a provider prefix ("anthropic/…") is understood.
    Or a framework's model, chain or query engine. Blank: what is guarded, as it is."""
    top_k: int | None = None
    """Retrieval depth: documents per search."""
    effort: Effort | None = None
    """Reasoning effort."""
    max_output: int | None = None
    """Most tokens of an answer."""
    verification: Level | None = None
    price: Price | None = None
    """None: looked up by the model's name in genai-prices' table, without a network."""
    window: int | None = None
    """Context window in tokens; None: unknown, any prompt is taken to fit."""

    def __post_init__(self) -> None:
        """Reject what no call could be made with."""
        if not self.name:
            raise InputError("Route.name: a route needs a name, it is what decisions call it")
        for field in ("top_k", "max_output", "window"):
            value: int | None = getattr(self, field)
            if value is not None and value < 1:
                raise InputError(f"Route.{field}: expected 1 or more, got {value!r}")
        for field, kind in (("effort", Effort), ("verification", Level)):
            level: object = getattr(self, field)
            if level is not None and level not in get_args(kind):
                known = ", ".join(map(repr, get_args(kind)))
                raise InputError(f"Route.{field}: expected {known} or None, got {level!r}")
        if not isinstance(self.price, Price | None):  # pyright: ignore[reportUnnecessaryIsInstance] -- values come from untyped callers
            raise InputError(f"Route.price: expected Price(…) or None, got {self.price!r:.80}")

    @property
    def model_name(self) -> str:
        """The name of the model, blank where the model is an object."""
        return self.model if isinstance(self.model, str) else ""

    def fits(self, load: Load) -> bool:
        """Whether a request has room in the window, its answer included."""
        return self.window is None or load.input + self._output(load) <= self.window

    def _output(self, load: Load) -> int:
        return load.output if self.max_output is None else min(load.output, self.max_output)


def cost_of(route: Route, load: Load) -> float | None:
    """What a request costs on a route, in dollars or in the currency of its `price`; None: unknown.

    Output is what is expected, and no more than the route allows.
    """
    output = min(load.output, route.max_output or load.output)
    if route.price is not None:
        price = route.price
        read = price.input if price.cache_read is None else price.cache_read
        written = price.input if price.cache_write is None else price.cache_write
        plain = load.input - load.cache_read - load.cache_write
        spent = plain * price.input + load.cache_read * read + load.cache_write * written
        return (spent + output * price.output) / _MILLION
    return _published(route.model_name, load, output)


def _published(model: str, load: Load, output: int) -> float | None:
    usage = Usage(
        input_tokens=load.input,
        output_tokens=output,
        cache_read_tokens=load.cache_read,
        cache_write_tokens=load.cache_write,
    )
    prefix, _, rest = model.partition("/")
    for reference, provider in ((model, None), (rest, prefix), (rest, None)):
        if not reference:
            continue
        try:
            return float(calc_price(usage, reference, provider_id=provider).total_price)
        except LookupError:
            continue
    return None


def ordered(routes: Sequence[Route], load: Load) -> tuple[tuple[Route, float | None], ...]:
    """Routes with their costs, the cheapest first; as given where one's cost is not known.

    Raises:
        InputError: there is none, or two have one name.
    """
    if not routes:
        raise InputError("routes: at least one is needed")
    names = [route.name for route in routes]
    if len(set(names)) < len(names):
        raise InputError(f"routes: names tell them apart, got {names}")
    priced = [(route, cost_of(route, load)) for route in routes]
    costs = [cost for _, cost in priced if cost is not None]
    if len(costs) < len(priced):
        return tuple(priced)
    places = sorted(range(len(costs)), key=costs.__getitem__)
    return tuple(priced[place] for place in places)
