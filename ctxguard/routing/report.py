"""What routing saved, net and beside all heavy, and what is known of the quality that was kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, cast

from ctxguard.reliability import share_interval

if TYPE_CHECKING:
    from ctxguard.types import JsonValue

__all__ = ["Quality", "RouteUse", "Savings", "Shadow", "Share", "money"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """So many of so many."""

    hits: int
    count: int

    @property
    def interval(self) -> tuple[float, float]:
        """95 %, by Wilson's score."""
        return share_interval(self.hits, self.count)

    def __str__(self) -> str:
        """The share with its interval."""
        low, high = self.interval
        return (
            f"{self.hits:,} of {self.count:,} ({_percent(self.hits / max(1, self.count))}, 95 % "
            f"interval {_percent(low)} to {_percent(high)})"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteUse:
    """What one route did."""

    route: str
    runs: int
    """That it answered."""
    calls: int
    """Of its model, repairs and failed ones included."""
    cost: float | None
    """Of them; None: the price of one is not known."""
    grounded: Share
    """Of its answers that were verified and could be judged, those that the evidence holds."""
    ok: Share
    """Of its answers that somebody gave feedback on, those that were ok; in all processes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What is known of the quality, as a share of that of all heavy or in itself."""

    expected: float | None = None
    """P(ok) of the routes that were taken, beside that of all heavy, both by the router's own
    estimate; None: nothing was estimated."""
    estimates: int = 0
    """Runs that `expected` is of."""
    promised: tuple[str, ...] = ()
    """What the router promised, in words; none: it is a prior, or was only fitted."""
    uncovered: int = 0
    """Runs that a lighter route answered than the router's, which its promise is not of."""
    routes: tuple[RouteUse, ...] = ()
    """Those with feedback, or with answers that were verified."""

    @property
    def is_known(self) -> bool:
        """Whether anything is."""
        return self.expected is not None or bool(self.promised or self.routes)

    @property
    def lines(self) -> tuple[str, ...]:
        """All that is known, a line each; one that says so where nothing is."""
        return tuple(self._lines()) or (
            "not known: nothing was estimated, promised, judged or verified",
        )

    def _lines(self) -> Iterator[str]:
        if self.expected is not None:
            by = "expected" if self.promised else "expected, by a prior"
            yield f"{by}: {_percent(self.expected)} of all heavy ({_runs(self.estimates)})"
        for promise in self.promised:
            but = f", but not of {self.uncovered:,} that took a lighter route than the router's"
            yield f"promised: {promise}{but if self.uncovered else ''}"
        for name, shares in (
            ("judged ok", [(one.route, one.ok) for one in self.routes]),
            ("verified, grounded", [(one.route, one.grounded) for one in self.routes]),
        ):
            known = [f"{route} {share}" for route, share in shares if share.count]
            if known:
                yield f"{name}: {'; '.join(known)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """What shadow mode decided and did not do."""

    runs: int
    heavy: int
    """Runs that would have gone to the heaviest route."""
    cost: float
    """Of what was called."""
    routed: float
    """About what the routes would have cost: by the prices of the same tokens."""
    unpriced: int
    """Runs that neither is of, because a price is not known."""
    expected: float | None
    """As `Quality.expected`, of the routes that would have been taken."""

    def __str__(self) -> str:
        """What it would have come to."""
        quality = (
            "not known" if self.expected is None else f"{_percent(self.expected)} of all heavy"
        )
        cost = f"cost {money(self.cost)}, routed it would have been about {money(self.routed)}"
        if self.unpriced == self.runs:
            cost = "cost not known"
        left_out = f" ({_runs(self.unpriced)} without a price left out)" if self.unpriced else ""
        return (
            f"shadow, {_runs(self.runs)} as configured: {cost}{left_out}; quality expected: "
            f"{quality}; {self.heavy:,} would have gone to the heaviest route"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Savings:
    """What routing saved, never without what is known of the quality."""

    runs: int = 0
    """That routes answered, or failed to."""
    calls: int = 0
    """Of models on routes, in these runs."""
    measured: int = 0
    """Calls whose tokens the provider told."""
    estimated: int = 0
    """Calls whose tokens were counted or estimated here; the others had none, as where a model
    refused at once."""
    unpriced_runs: int = 0
    """Runs that the costs leave out, because the price of a call in them is not known."""
    unpriced: tuple[str, ...] = ()
    """Routes without a price."""
    cost: float = 0.0
    """Of all calls, repairs, escalations and failed ones included; in dollars, or the currency of
    the routes' prices."""
    heavy_cost: float = 0.0
    """What the heaviest route would have cost alone."""
    beside: float = 0.0
    """Of `cost`, what went to calls that all heavy would not make."""
    beside_calls: int = 0
    heavy_calls: int = 0
    """Calls of the heaviest route."""
    explored: int = 0
    """Runs whose route was drawn at random."""
    routes: tuple[RouteUse, ...] = ()
    quality: Quality = field(default_factory=Quality)
    shadow: Shadow | None = None

    @property
    def saved(self) -> float:
        """Net; negative: routing cost more than all heavy would have."""
        return self.heavy_cost - self.cost

    @property
    def share(self) -> float | None:
        """Of what all heavy would have cost; None: that is nothing, or not known."""
        return self.saved / self.heavy_cost if self.heavy_cost else None

    @property
    def line(self) -> str:
        """The sums, and the first line of the quality."""
        return f"{self._sums()}; quality {self.quality.lines[0]}"

    def _sums(self) -> str:
        if not self.runs:
            return "nothing was routed"
        if self.runs == self.unpriced_runs:
            return f"cost not known: no price of {', '.join(self.unpriced)}"
        share, said = self.share, ""
        if share is not None:
            said = f": {_percent(abs(share))} {'saved' if share >= 0 else 'more'}, net"
        return f"cost {money(self.cost)}, all heavy {money(self.heavy_cost)}{said}"

    def __str__(self) -> str:
        """The sums, what they are of, and the quality; a line each."""
        lines = [f"{_runs(self.runs)}, {_calls(self.calls)}: {self._sums()}", *self._notes()]
        if not self.runs:
            lines = [self._sums()]
        lines += [f"  quality {line}" for line in self.quality.lines] if self.runs else []
        return "\n".join([*lines, *([str(self.shadow)] if self.shadow else [])])

    def _notes(self) -> Iterator[str]:
        if self.unpriced_runs:
            named = ", ".join(self.unpriced)
            yield f"  left out: {_runs(self.unpriced_runs)}, no price is known of {named}"
        if self.calls:
            share = _percent(self.heavy_calls / self.calls)
            yield f"  heaviest route: {self.heavy_calls:,} of {_calls(self.calls)} ({share})"
            yield (
                f"  tokens: of {_calls(self.measured)} as the provider says, of "
                f"{self.estimated:,} estimated"
            )
        if self.beside_calls:
            yield (
                f"  net of {money(self.beside)} for {_calls(self.beside_calls)} that all heavy "
                "would not make: repairs, escalations, failed ones"
            )
        if self.explored:
            yield f"  explored: {_runs(self.explored)} on a route that was drawn at random"

    def to_dict(self) -> dict[str, JsonValue]:
        """All of it as plain data, with what follows from it."""
        data = cast("dict[str, JsonValue]", _plain(self))
        return {**data, "saved": self.saved, "share": self.share}


def money(amount: float) -> str:
    """An amount as people read it: cents and more with two digits, less with six."""
    return f"{amount:,.2f}" if abs(amount) >= 10 else f"{amount:.6f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _plain(value: object) -> object:
    """Lists and dicts; a share with its interval."""
    if isinstance(value, tuple):
        return [_plain(one) for one in cast("tuple[object, ...]", value)]
    if not is_dataclass(value):
        return value
    found = {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    return {**found, "interval": list(value.interval)} if isinstance(value, Share) else found


def _runs(count: int) -> str:
    return f"{count:,} run{'' if count == 1 else 's'}"


def _calls(count: int) -> str:
    return f"{count:,} call{'' if count == 1 else 's'}"
