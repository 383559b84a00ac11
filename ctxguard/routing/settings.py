"""What a policy says of routing: which routes there are, and how one is chosen and kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias, cast, get_args

from pydantic import ConfigDict, PlainValidator, ValidationInfo

from ctxguard.errors import InputError
from ctxguard.routing.route import Route
from ctxguard.routing.router import Router
from ctxguard.routing.state import SpendLimit, StateStore
from ctxguard.routing.state.shared import check_place

__all__ = ["Acting", "Cascade", "Routes"]

Acting: TypeAlias = Literal["act", "shadow"]
"""Take the route that was decided on; or decide and say so, and call what is configured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascade:
    """Ask the lightest route first, and a heavier one for what is not good enough.

    The answer so far and its verdict go along: what was accepted stands, and the heavier model goes
    on from there.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    attempts: int = 2
    """Models that are asked for one answer at most, the first included."""
    max_cost: float | None = None
    """Dollars (or the currency of the prices) for one answer, all attempts together; what could
    cost more is not asked. None: no limit."""
    below: float = 0.0
    """Score of the verification (0 to 1) under which an answer is taken to a heavier route even
    where no claim failed; 0: only where one did."""
    confidence: float | None = None
    """Mean probability of the answer's tokens under which it is too, where the model tells it;
    None: it is not asked for."""

    def __post_init__(self) -> None:
        """Check every field; the message names it."""
        if isinstance(self.attempts, bool) or not isinstance(self.attempts, int):  # pyright: ignore[reportUnnecessaryIsInstance] -- values come from untyped callers
            raise InputError(f"Cascade.attempts: expected a whole number, got {self.attempts!r}")
        if self.attempts < 1:
            raise InputError(f"Cascade.attempts: expected 1 or more, got {self.attempts!r}")
        if self.max_cost is not None and not self.max_cost > 0:
            raise InputError(f"Cascade.max_cost: expected above 0 or None, got {self.max_cost!r}")
        for name in ("below", "confidence"):
            value: float | None = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise InputError(f"Cascade.{name}: expected a share from 0 to 1, got {value!r}")


def _word(model: object) -> str:
    return model if isinstance(model, str) else type(model).__name__


def _check_limits(name: str, limits: object) -> None:
    given = cast("tuple[object, ...]", limits)
    several = isinstance(limits, tuple | list)
    if not several or not all(isinstance(one, SpendLimit) for one in given):
        raise InputError(f"Routes.{name}: expected (SpendLimit(…), …), got {limits!r:.80}")


def _router(value: object, info: ValidationInfo) -> object:
    """The path of a router's file, as a policy file may name it; a Router stays as it is."""
    if not isinstance(value, str):
        return value
    known = cast("Mapping[str, str | Path]", info.context or {})
    return Router.load(Path(known.get("folder", "")) / value)


def _state(value: object, info: ValidationInfo) -> object:
    """A store's file begins where a policy file lies; whatever else names a store stays."""
    known = cast("Mapping[str, str | Path]", info.context or {})
    if not isinstance(value, str) or value == "memory" or "://" in value:
        return value
    return Path(known.get("folder", "")) / value


if TYPE_CHECKING:
    _Router: TypeAlias = Router
    _State: TypeAlias = str | Path | StateStore | None
else:  # pydantic has no schema for what a store may be
    _Router = Annotated[Any, PlainValidator(_router)]
    _State = Annotated[Any, PlainValidator(_state)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """Choose for each request how much inference it gets."""

    routes: tuple[Route, ...]
    """One or more; the lightest first where no price is known of one of them."""
    router: _Router = field(default_factory=Router)
    """Says what a heavier route would gain."""
    mode: Acting = "act"
    """'shadow': decide, say so in the ledger, and call what is configured."""
    cascade: Cascade | None = None
    """Begin on the lightest route whatever the router says, and escalate; None: the router's."""
    explore: float = 0.0
    """Share of runs whose route is drawn at random, so that feedback says something of both."""
    sticky: bool = True
    """Within a conversation, go to a lighter route only where that saves more than the provider's
    cache of the prompt does."""
    cache_seconds: float = 300.0
    """How long a provider keeps a prompt in its cache."""
    fallback: bool = True
    """Try another route where one is rate-limited or cannot be reached; each at most once."""
    limits: tuple[SpendLimit, ...] = ()
    """What each tenant may spend."""
    tenants: Mapping[str, tuple[SpendLimit, ...]] = field(
        default_factory=dict[str, tuple[SpendLimit, ...]]
    )
    """Limits of single tenants, instead of `limits`."""
    state: _State = None
    """Where spend, conversations' routes, feedback and rests are kept, as `open_state` takes it;
    None: a file that the processes of this machine share."""
    name: str = ""
    """Whose state it is, among others in one store; blank: the names of routes and models."""

    def __post_init__(self) -> None:
        """Check every field; the message names it."""
        if isinstance(self.routes, str | Route):
            raise InputError(f"Routes.routes: expected several Route(…), got {self.routes!r:.80}")
        object.__setattr__(self, "routes", tuple(self.routes))
        for route in self.routes:
            if not isinstance(route, Route):  # pyright: ignore[reportUnnecessaryIsInstance] -- values come from untyped callers
                raise InputError(f"Routes.routes: expected Route(…), got {route!r:.80}")
        self._check_kinds()
        names = [route.name for route in self.routes]
        if not names or len(set(names)) < len(names):
            raise InputError(
                f"Routes.routes: expected one or more, by different names, got {names}"
            )
        cuts = self.router.thresholds
        if cuts is not None and len(cuts) != max(1, len(names) - 1):
            raise InputError(
                f"Routes.router: {len(names)} routes take {len(names) - 1} thresholds, "
                f"and the router has {len(cuts)}"
            )
        if cuts is None and len(names) > 2:
            raise InputError(
                f"Routes.router: {len(names)} routes take {len(names) - 1} thresholds; give "
                "Router(thresholds=(…))"
            )
        if self.mode not in get_args(Acting):
            raise InputError(f"Routes.mode: expected 'act' or 'shadow', got {self.mode!r}")
        if not 0 <= self.explore <= 1:
            raise InputError(f"Routes.explore: expected a share, got {self.explore!r}")
        if not self.cache_seconds >= 0:
            raise InputError(
                f"Routes.cache_seconds: expected seconds from 0 on, got {self.cache_seconds!r}"
            )

    def _check_kinds(self) -> None:
        if not isinstance(self.router, Router):  # pyright: ignore[reportUnnecessaryIsInstance] -- values come from untyped callers
            raise InputError(
                f"Routes.router: expected Router(…), in a file its path, got {self.router!r:.80}"
            )
        if not isinstance(self.cascade, Cascade | None):  # pyright: ignore[reportUnnecessaryIsInstance] -- values come from untyped callers
            raise InputError(
                f"Routes.cascade: expected Cascade(…) or None, got {self.cascade!r:.80}"
            )
        _check_limits("limits", self.limits)
        object.__setattr__(self, "limits", tuple(self.limits))
        for tenant, own in self.tenants.items():
            _check_limits(f"tenants[{tenant!r}]", own)
        if not isinstance(self.state, str | Path | StateStore | None):  # pyright: ignore[reportUnnecessaryIsInstance] -- values come from untyped callers
            raise InputError(
                f"Routes.state: expected a file, a server's URL, 'memory' or a store, got "
                f"{self.state!r:.80}"
            )

        if isinstance(self.state, str):
            check_place(self.state)

    @property
    def space(self) -> str:
        """What tells its state from that of others in one store."""
        return self.name or ",".join(f"{route.name}={_word(route.model)}" for route in self.routes)

    @property
    def limited(self) -> bool:
        """Whether anybody's spend is limited."""
        return bool(self.limits or any(self.tenants.values()))
