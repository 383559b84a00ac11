"""Thresholds that keep a promise: quality beside all heavy, or cost, with a finite sample.

Both promises hold in all but 1 - `confidence` of the samples that one could have drawn, whatever
the questions look like, as long as later ones are like them and they were drawn one by one.

*Quality* is tested threshold by threshold, in an order that was fixed before the data was seen:
from all heavy to all light, up to the first that is not shown to keep it (fixed-sequence testing;
Angelopoulos et al. 2021, "Learn then Test", of which conformal risk control is the form in
expectation). Each test is a bet that pays while quality is kept (Waudby-Smith and Ramdas 2024):
exact for any bounded outcome, and much tighter than Hoeffding's bound where routes mostly agree.
*Cost* is a rank among the scores (Wilks 1941).

A log knows of each question how one route did. Where every route was taken with some known
probability, outcomes that are put right by its inverse (`Labels.estimated`) are right on average
and within its bounds, which is all that the bet asks of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from ctxguard.errors import InputError
from ctxguard.reliability import binomial
from ctxguard.routing.explanation import Promised
from ctxguard.routing.features import Floats
from ctxguard.routing.labels import Labels

__all__ = [
    "Promise",
    "explored",
    "needed_for_budget",
    "needed_for_quality",
    "promise_budget",
    "promise_quality",
]

_GRID = np.arange(-400, 1001) / 1000
"""Thresholds that are tested, in gain: from a question that heavy loses to one that it surely wins.
They are fixed, because thresholds that were chosen by the data would have to be paid for."""
_STAKE = 0.9
"""Most that a bet may lose of what there is."""
_MORE = (2, 4, 8, 16, 32)
"""How many times the sample is tried, to say how much data a promise would take."""
_EXACT = 1e-9
"""1 - 0.9 is not 0.1 in floating point."""
_BLOCK = 64
"""Thresholds that are tested at once."""

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Number = Annotated[float, Field(gt=-1e6, lt=1e6, allow_inf_nan=False)]
Outcomes = NDArray[np.bool_] | Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """A threshold, what it promises, and what was seen on the traces."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    threshold: Number
    """Gain from which a question goes to the heavy route."""
    target: Share | None = None
    """Quality, as a share of that of all heavy, that is kept; None: cost was promised."""
    budget: Number | None = None
    """Mean cost of a call that is not exceeded; None: quality was promised."""
    confidence: Share
    traces: Annotated[int, Field(ge=1)]
    heavy_share: Share
    """Of the traces, what went to the heavy route."""
    light: Share
    """Quality of all light: share of the traces that it got right."""
    routed: Share
    heavy: Share
    """Quality of all heavy."""
    around: bool = False
    """Whether the traces carried surroundings, so that they count in full: see `choice.Counts`."""

    @property
    def said(self) -> str:
        """What is promised, in words."""
        return str(self.promised)

    @property
    def promised(self) -> Promised:
        """The promise by itself, as a ledger has it."""
        return Promised(
            target=self.target,
            budget=self.budget,
            confidence=self.confidence,
            traces=self.traces,
        )

    def __str__(self) -> str:
        """What is promised, and what was seen."""
        return (
            f"heavy from a gain of {self.threshold:.3f} on: {self.said}\n"
            f"seen: {self.heavy_share:.1%} heavy calls; right: light {self.light:.1%}, routed "
            f"{self.routed:.1%}, heavy {self.heavy:.1%}"
        )


def needed_for_quality(target: float, confidence: float = 0.95) -> int:
    """Traces that a target takes at the very least, where the light route never fails."""
    _check_share("target", target)
    _check_share("confidence", confidence)
    return math.ceil(-math.log1p(-confidence) / math.log1p(_STAKE * (1 - target) / target))


def needed_for_budget(share: float, confidence: float = 0.95) -> int:
    """Traces that it takes to keep heavy calls to a share."""
    _check_share("share", share)
    _check_share("confidence", confidence)
    return math.ceil(math.log1p(-confidence) / math.log1p(-share))


def explored(labels: Labels, least: float | None, target: float | None, confidence: float) -> float:
    """The least probability with which a label is known, if it makes a promise valid.

    Args:
        labels: of traces, some of which know one route.
        least: what it was set to; None: it was not.
        target: of the promise, to say how many traces that takes; None: cost is promised.
        confidence: of the promise.

    Raises:
        InputError: it was not given, or a trace contradicts it.
    """
    if labels.both.all():
        return 1.0
    one = ~labels.both
    if least is None:
        needed = "" if target is None else f" (at least {needed_for_quality(target, confidence)})"
        raise InputError(
            f"traces: {(~one).sum()} of {len(labels)} have both labels; a promise takes traces "
            f"that all have both{needed}, or exploration, the least probability with which either "
            "route was taken"
        )
    if not 0 < least <= 0.5:
        raise InputError(f"exploration: expected a share above 0, up to 0.5, got {least!r}")
    taken = labels.taken_with[one]
    # NaN is not within any bounds.
    odd = ~((taken >= least - _EXACT) & (taken <= 1 - least + _EXACT))
    if odd.any():
        place = int(np.flatnonzero(one)[np.argmax(odd)])
        raise InputError(
            f"traces: row {place + 1} was taken with {labels.taken_with[place]:g}, and with an "
            f"exploration of {least:g} that is from {least:g} to {1 - least:g}"
        )
    return least


def promise_quality(
    scores: Floats,
    light_ok: Outcomes,
    heavy_ok: Outcomes,
    *,
    target: float,
    confidence: float = 0.95,
    exploration: float = 1.0,
) -> Promise:
    """The highest threshold that is shown to keep a share of the quality of all heavy.

    Args:
        scores: gains of the traces, in the order in which they were drawn, or in any that does not
            depend on how they turned out.
        light_ok: whether the light route was right.
        heavy_ok: whether the heavy route was.
        target: quality, as a share of that of all heavy.
        confidence: how sure it is to be kept.
        exploration: least probability with which a route was taken, where outcomes are estimated
            from one label (`Labels.estimated`); they are then at most 1 / exploration from 0. It
            was fixed before the traces were drawn.

    Raises:
        InputError: there are too few traces, and how many it would take.
    """
    least = needed_for_quality(target, confidence)
    if scores.size < least:
        raise InputError(
            f"traces: a target of {target:g} with confidence {confidence:g} takes at least {least} "
            f"traces, and there are {scores.size}"
        )
    bet = _Bet.on(target, confidence, exploration)
    threshold = _highest(scores, light_ok, heavy_ok, bet)
    if threshold is None or not (scores < threshold).any():
        raise InputError(_too_few(scores, light_ok, heavy_ok, bet))
    return replace(_seen(scores, light_ok, heavy_ok, threshold, confidence), target=target)


def promise_budget(
    scores: Floats,
    light_ok: Outcomes,
    heavy_ok: Outcomes,
    *,
    budget: float,
    costs: tuple[float, float] = (0.0, 1.0),
    confidence: float = 0.95,
) -> Promise:
    """The lowest threshold whose mean cost stays within a budget.

    Args:
        scores: gains of the traces.
        light_ok: whether the light route was right.
        heavy_ok: whether the heavy route was.
        budget: mean cost of a call.
        costs: of a light and of a heavy call; by default the budget is a share of heavy calls.
        confidence: how sure it is to be kept.

    Raises:
        InputError: the budget is no budget for these costs, or there are too few traces.
    """
    low, high = costs
    if not low < high:
        raise InputError(f"costs: a heavy call costs more than a light one, got {costs}")
    if not low < budget:
        raise InputError(f"budget: {budget:g} does not pay for a light call, which costs {low:g}")
    threshold = float(_GRID[0])
    if budget < high:
        share = (budget - low) / (high - low)
        least = needed_for_budget(share, confidence)
        if scores.size < least:
            raise InputError(
                f"traces: a budget of {budget:g} ({share:.1%} heavy calls) with confidence "
                f"{confidence:g} takes {least} traces, and there are {scores.size}"
            )
        threshold = _rank(scores, share, confidence)
    return replace(_seen(scores, light_ok, heavy_ok, threshold, confidence), budget=budget)


def _seen(
    scores: Floats, light_ok: Outcomes, heavy_ok: Outcomes, threshold: float, confidence: float
) -> Promise:
    """A promise of nothing yet, with what was seen on the traces."""
    is_heavy = scores >= threshold
    return Promise(
        threshold=threshold,
        confidence=confidence,
        traces=int(scores.size),
        heavy_share=float(is_heavy.mean()),
        light=_share(light_ok),
        routed=_share(np.where(is_heavy, heavy_ok, light_ok)),
        heavy=_share(heavy_ok),
    )


def _share(outcomes: Outcomes) -> float:
    """Mean; estimated outcomes may have one that is no share."""
    return float(np.clip(outcomes.mean(), 0, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bet:
    """That quality is kept, and between what its outcomes are."""

    target: float
    confidence: float
    lose: float
    """Most that quality on one question may be under the target."""
    win: float
    """Most that it may be over it."""

    @classmethod
    def on(cls, target: float, confidence: float, exploration: float) -> _Bet:
        """The bet on a target."""
        lose, win = (target, 1.0) if exploration == 1 else (1 / exploration, 1 / exploration)
        return cls(target=target, confidence=confidence, lose=lose, win=win)


def _highest(scores: Floats, light_ok: Outcomes, heavy_ok: Outcomes, bet: _Bet) -> float | None:
    """The last threshold before the first that is not shown to keep the target."""
    reached: float | None = None
    for start in range(0, _GRID.size, _BLOCK):
        cuts = _GRID[start : start + _BLOCK]
        right = np.where(scores >= cuts[:, None], heavy_ok, light_ok)
        excess: Floats = right.astype(np.float64) - bet.target * heavy_ok.astype(np.float64)
        kept = _is_kept(excess, bet)
        shown = int(np.argmin(kept)) if not kept.all() else kept.size
        if shown:
            reached = float(cuts[shown - 1])
        if shown < kept.size:
            break
    return reached


def _is_kept(excess: Floats, bet: _Bet) -> NDArray[np.bool_]:
    """Whether the mean of each row is shown to be at least 0.

    A bettor who knows only what came before stakes on the next value. Were the mean below 0, her
    capital would be expected to shrink, and would come to 1 / (1 - confidence) times what she
    started with in at most 1 - confidence of the cases (Ville 1939).
    """
    values: Floats = (excess + bet.lose) / (bet.win + bet.lose)
    null = bet.lose / (bet.win + bet.lose)
    count = values.shape[1]
    seen: Floats = np.arange(2, count + 2, dtype=np.float64)
    means: Floats = (0.5 + values.cumsum(axis=1)) / seen
    spreads: Floats = (0.25 + ((values - means) ** 2).cumsum(axis=1)) / seen
    variances: Floats = np.column_stack([np.full(len(values), 0.25), spreads[:, :-1]])
    wanted = -math.log1p(-bet.confidence)
    stakes: Floats = np.sqrt(2 * wanted / (count * variances))
    bets = np.minimum(stakes, _STAKE / null)
    capital = np.cumsum(np.log1p(bets * (values - null)), axis=1)
    kept: NDArray[np.bool_] = capital.max(axis=1) >= wanted
    return kept


def _too_few(scores: Floats, light_ok: Outcomes, heavy_ok: Outcomes, bet: _Bet) -> str:
    """How much data it would take, were it all like this."""
    said = (
        f"traces: with {scores.size} of them, only all heavy is shown to keep a target of "
        f"{bet.target:g} with confidence {bet.confidence:g}; "
    )
    for times in _MORE:
        rows = np.tile(np.arange(scores.size), times)
        found = _highest(scores[rows], light_ok[rows], heavy_ok[rows], bet)
        if found is not None and (scores < found).any():
            return f"{said}about {times * scores.size:,} would do, or a lower target"
    return f"{said}{_MORE[-1]} times as many would not do either: lower the target"


def _rank(scores: Floats, share: float, confidence: float) -> float:
    """The threshold above which at most a share of all questions are.

    Their share above the k-th highest of n scores has the distribution Beta(k, n + 1 - k), at
    worst; it is over the share as often as a binomial of n and the share is under k.
    """
    count = int(scores.size)
    place, missed = 0, binomial(0, count, share)
    while missed <= 1 - confidence + 1e-12 and place < count:
        place += 1
        missed += binomial(place, count, share)
    highest = float(np.sort(scores)[count - place])
    return float(np.nextafter(highest, math.inf))


def _check_share(name: str, value: float) -> None:
    if isinstance(value, bool) or not 0 < value < 1:
        raise InputError(f"{name}: expected a number between 0 and 1, got {value!r}")
