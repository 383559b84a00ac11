"""One choice among routes, and all that explains it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from ctxguard.routing import features, surroundings
from ctxguard.routing.route import Load, Route, ordered
from ctxguard.routing.surroundings import SURROUNDINGS
from ctxguard.types import Decision

if TYPE_CHECKING:
    from ctxguard.types import JsonValue

__all__ = ["Candidate", "Counts", "Estimate", "Moved", "Routing", "choose", "rounded"]

Counts: TypeAlias = Literal["all", "upwards", "none"]
"""How what surrounds a question counts beside its own gain: in full; only where it raises it, as
beside a promise of quality that was made without it; or not at all, as beside one of cost, which
more heavy calls would break."""

_SHOWN = 5
"""Signals that a decision lists."""
_DECIMALS = 9


def rounded(gain: float) -> float:
    """A gain to nine decimals: the same, however its parts were added up.

    A threshold is often the gain of a question that comes again, and a bit more would move it.
    """
    return round(gain, _DECIMALS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A signal, and what it added to a question's gain."""

    signal: str
    gain: float

    def __str__(self) -> str:
        """The signal in words, and its part."""
        return f"{_describe(self.signal)} {self.gain:+.3f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What is expected of a question."""

    light_fails: float
    """P that the light route fails."""
    interval: tuple[float, float]
    """95 % of it; of a question from a group that nothing was fitted on, if the fit had groups."""
    heavy_fails: float
    """P that the heavy route fails: what is left of `light_fails` after the gain."""
    gain: float
    """How much likelier the heavy route is to be right; negative: less likely."""
    moved: tuple[Moved, ...] = ()
    """The signals that raised or lowered the gain from that of an average question, strongest
    first."""
    signals: Mapping[str, float] = field(default_factory=dict[str, float], repr=False)
    """All that the question has, by name: what a router learns from where no text is kept."""
    around: Mapping[str, float] = field(default_factory=dict[str, float], hash=False)
    """What surrounds the question, as it was given."""

    @property
    def added(self) -> float:
        """What surroundings add to the gain; a part of it."""
        return rounded(sum(one.gain for one in self.moved if one.signal in SURROUNDINGS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A route that could have been taken."""

    route: Route
    cost: float | None
    """Of this request; None: no price is known."""
    fits: bool
    """Whether the request has room in its window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """The route of a question, and why."""

    route: Route
    code: str
    """The reason for machines: 'light-suffices', 'heavier', 'window-too-small', …"""
    reason: str
    """The reason for people."""
    candidates: tuple[Candidate, ...]
    """The lightest first."""
    thresholds: tuple[float, ...] = ()
    """Gains from which each heavier candidate is taken."""
    estimate: Estimate | None = None
    """None: there is one route, so that nothing had to be estimated."""
    flips: tuple[Moved, ...] = ()
    """Signals that, had they been average, would have led to another route; blank: none."""
    counts: Counts = "all"
    """How what surrounds the question counted."""

    @property
    def gain(self) -> float | None:
        """What was compared with the thresholds; None: nothing was."""
        known = self.estimate
        return None if known is None else _counted(known.gain, known.added, self.counts)

    def decision(self, subject: str = "question") -> Decision:
        """The choice as a decision for a ledger."""
        estimate = self.estimate
        details: dict[str, JsonValue] = {
            "route": self.route.name,
            "costs": {one.route.name: one.cost for one in self.candidates},
            "thresholds": list(self.thresholds),
            "flips": [one.signal for one in self.flips],
        }
        if estimate is not None:
            details |= {
                "light_fails": estimate.light_fails,
                "interval": list(estimate.interval),
                "heavy_fails": estimate.heavy_fails,
                "moved": {one.signal: one.gain for one in estimate.moved[:_SHOWN]},
                "signals": dict(estimate.signals),
            }
            if estimate.around:
                details |= {"around": dict(estimate.around), "counts": self.counts}
        return Decision(
            stage="route",
            action="route",
            subject=subject,
            code=self.code,
            reason=self.reason,
            score=self.gain,
            threshold=self._threshold(),
            details=details,
        )

    def _threshold(self) -> float | None:
        """The one that is nearest to the gain."""
        gain = self.gain
        if gain is None or not self.thresholds:
            return None
        return min(self.thresholds, key=lambda cut: abs(cut - gain))

    def __str__(self) -> str:
        """All that explains it, a line each."""
        lines = [f"{self.route.name}: {self.reason}"]
        estimate = self.estimate
        if estimate is not None:
            low, high = estimate.interval
            lines += [
                f"  P(light fails) {estimate.light_fails:.2f}, 95 % interval {low:.2f} to "
                f"{high:.2f}; P(heavy fails) {estimate.heavy_fails:.2f}",
                "  moved by: " + (", ".join(map(str, estimate.moved[:_SHOWN])) or "nothing"),
                f"  would flip: {self._flip(self.gain or 0.0)}",
            ]
        for one in self.candidates:
            cost = "price unknown" if one.cost is None else f"{one.cost:.6f} per request"
            room = "" if one.fits else ", too small for the request"
            lines.append(f"  {one.route.name}: {cost}{room}")
        return "\n".join(lines)

    def _flip(self, gain: float) -> str:
        reached = gain >= (self._threshold() or 0.0)
        said = f"a threshold {'above' if reached else 'at or under'} {gain:.3f}"
        named = ", ".join(_describe(one.signal) for one in self.flips)
        return f"{said}, or an average question in: {named}" if named else said


def choose(
    estimate: Callable[[], Estimate],
    thresholds: tuple[float, ...],
    routes: Sequence[Route],
    load: Load,
    counts: Counts = "all",
) -> Routing:
    """The heaviest route whose threshold the gain reaches, or one above it with room.

    Raises:
        InputError: for no routes, or two with one name.
    """
    found = ordered(routes, load)
    candidates = tuple(
        Candidate(route=route, cost=cost, fits=route.fits(load)) for route, cost in found
    )
    if len(candidates) == 1:
        return Routing(
            route=candidates[0].route,
            code="one-route",
            reason="there is no other route",
            candidates=candidates,
        )
    known = estimate()
    gain = _counted(known.gain, known.added, counts)
    wanted = sum(gain >= cut for cut in thresholds)
    place, note = _with_room(candidates, wanted, load)
    code, reason = _reason(gain, thresholds, wanted)
    reason += _beside(known, thresholds, wanted, counts)
    unpriced = [one.route.name for one in candidates if one.cost is None]
    if unpriced:
        reason += f"; no price is known of {', '.join(unpriced)}, so routes are in the given order"
    return Routing(
        route=candidates[place].route,
        code=code if place == wanted and not note else "window-too-small",
        reason=f"{reason}{note}",
        candidates=candidates,
        thresholds=thresholds,
        estimate=known,
        flips=_flips(known, thresholds, wanted, counts),
        counts=counts,
    )


def _with_room(candidates: Sequence[Candidate], wanted: int, load: Load) -> tuple[int, str]:
    """The first route from the wanted one up that has room; then the roomiest of all."""
    for place in range(wanted, len(candidates)):
        if candidates[place].fits:
            if place == wanted:
                return place, ""
            small = candidates[wanted].route
            return place, (
                f"; {small.name} has a window of {small.window or 0:,} tokens, too small for "
                f"{load.input + load.output:,}, so the next one with room was taken"
            )
    # A window that is not known is taken for the largest.
    largest = max(
        range(len(candidates)),
        key=lambda place: (candidates[place].fits, candidates[place].route.window or 0),
    )
    name = candidates[largest].route.name
    return largest, f"; nothing from there up has room for the request, {name} has most"


def _counted(gain: float, added: float, counts: Counts) -> float:
    """A gain with what counts of what surroundings add to it."""
    if counts == "all" or (counts == "upwards" and added > 0):
        return gain
    return rounded(gain - added)


def _reason(gain: float, thresholds: tuple[float, ...], wanted: int) -> tuple[str, str]:
    said = f"expected gain of a heavier route {gain:.3f}"
    if wanted == 0:
        return "light-suffices", f"{said}, under the threshold {thresholds[0]:.3f}"
    return "heavier", f"{said}, at or above the threshold {thresholds[wanted - 1]:.3f}"


def _beside(known: Estimate, thresholds: tuple[float, ...], wanted: int, counts: Counts) -> str:
    """What is to be said of surroundings: how they counted, and where they decided."""
    added = known.added
    if not added:
        return ""
    alone = sum(known.gain - added >= cut for cut in thresholds)
    if counts == "none":
        return (
            f"; what surrounds the question adds {added:+.3f}, which does not count: the promise "
            "was made without"
        )
    if counts == "upwards" and added < 0:
        return f"; what surrounds the question adds {added:+.3f}, and only counts upwards"
    said = f"; {added:+.3f} of it is what surrounds the question"
    if wanted == alone:
        return said
    outside = ", and is outside the promise" if counts == "upwards" else ""
    return f"{said}: that decided{outside}"


def _flips(
    known: Estimate, thresholds: tuple[float, ...], wanted: int, counts: Counts
) -> tuple[Moved, ...]:
    """The fewest signals, strongest first, without which the gain is across a threshold."""
    options: list[tuple[Moved, ...]] = []
    if wanted:
        options.append(_without(known, thresholds[wanted - 1], counts, up=False))
    if wanted < len(thresholds):
        options.append(_without(known, thresholds[wanted], counts, up=True))
    return min(filter(None, options), key=len, default=())


def _without(known: Estimate, cut: float, counts: Counts, *, up: bool) -> tuple[Moved, ...]:
    gain, added = known.gain, known.added
    gone: list[Moved] = []
    for one in known.moved:
        is_around = one.signal in SURROUNDINGS
        if (one.gain < 0) != up or len(gone) == _SHOWN or (is_around and counts == "none"):
            continue
        gain -= one.gain
        added -= one.gain if is_around else 0.0
        gone.append(one)
        if (_counted(gain, added, counts) >= cut) == up:
            return tuple(gone)
    return ()


def _describe(name: str) -> str:
    known = surroundings if name in SURROUNDINGS else features
    return known.describe(name)
