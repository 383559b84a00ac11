"""How good an order of questions is: quality against the share of heavy calls.

The protocol of RouteLLM (Ong et al. 2024): thresholds at the deciles of the score, what is at or
above one goes to the heavy route.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ctxguard.errors import InputError

__all__ = ["Evaluation", "Point", "evaluate"]

_BINS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What one threshold costs and keeps."""

    heavy: float
    """Share of calls that go to the heavy route."""
    quality: float
    """Share of questions that are answered right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """An order of labelled questions, judged."""

    questions: int
    light: float
    """Share of them that the light route alone gets right."""
    heavy: float
    """Share of them that the heavy route alone gets right."""
    apgr: float
    """Average performance gap recovered: 0 as light, .5 as a coin, 1 as heavy; it may be more."""
    cpt50: float
    """Share of heavy calls at which half of the gap between the routes is closed."""
    cpt80: float
    points: tuple[Point, ...]
    """From all light to all heavy."""

    def __str__(self) -> str:
        """The figures, and a line per threshold."""
        head = (
            f"{self.questions:,} questions: light {self.light:.1%} right, heavy {self.heavy:.1%}\n"
            f"APGR {self.apgr:.3f} (a coin: .500), half of the gap at {self.cpt50:.0%} heavy "
            f"calls, 80 % of it at {self.cpt80:.0%}"
        )
        rows = [f"  {one.heavy:>6.1%} heavy  {one.quality:.1%} right" for one in self.points]
        return "\n".join([head, *rows])


def evaluate(
    scores: Sequence[float] | NDArray[np.float64],
    light_ok: Sequence[bool | None] | NDArray[np.bool_],
    heavy_ok: Sequence[bool | None] | NDArray[np.bool_],
) -> Evaluation:
    """Judge an order of questions.

    Args:
        scores: the higher, the rather to the heavy route.
        light_ok: whether the light route was right.
        heavy_ok: whether the heavy route was.

    Raises:
        InputError: for no questions, of unequal number, one that is not known, or routes that are
            equally good.
    """
    order = np.array(scores, dtype=np.float64)
    light, heavy = np.array(light_ok, dtype=np.float64), np.array(heavy_ok, dtype=np.float64)
    if not order.size or not order.size == light.size == heavy.size:
        raise InputError(
            f"scores: {order.size}, light_ok: {light.size}, heavy_ok: {heavy.size}; as many of "
            "each are needed, and at least one"
        )
    unknown = int((np.isnan(light) | np.isnan(heavy)).sum())
    if unknown:
        raise InputError(
            f"light_ok, heavy_ok: of {unknown:,} of {order.size:,} questions one is not known"
        )
    low, gap = float(light.mean()), float(heavy.mean() - light.mean())
    if gap == 0:
        raise InputError("heavy_ok: both routes are equally good, so there is no gap to recover")
    points = _points(order, light, heavy)
    area = sum((b.heavy - a.heavy) * (a.quality + b.quality) / 2 for a, b in pairwise(points))
    return Evaluation(
        questions=int(order.size),
        light=low,
        heavy=low + gap,
        apgr=(area - low) / gap,
        cpt50=_calls_for(0.5, points, low, gap),
        cpt80=_calls_for(0.8, points, low, gap),
        points=points,
    )


def _points(
    order: NDArray[np.float64], light: NDArray[np.float64], heavy: NDArray[np.float64]
) -> tuple[Point, ...]:
    cuts = np.unique(np.quantile(order, np.linspace(0, 1, _BINS + 1)))
    found = {0.0: float(light.mean())}
    for cut in cuts[::-1].tolist():
        is_heavy = order >= cut
        found[float(is_heavy.mean())] = float(np.where(is_heavy, heavy, light).mean())
    return tuple(Point(heavy=share, quality=quality) for share, quality in found.items())


def _calls_for(part: float, points: Sequence[Point], low: float, gap: float) -> float:
    """Share of heavy calls at which a part of the gap is closed, by lines between the points.

    Quality is made monotone first: who may call less may also call as much as gave the most.
    """
    best = np.maximum.accumulate([(one.quality - low) / gap for one in points])
    place = int(np.argmax(best >= part - 1e-12))
    if place == 0:
        return points[0].heavy
    before, after = float(best[place - 1]), float(best[place])
    start, end = points[place - 1].heavy, points[place].heavy
    return start + (end - start) * (part - before) / (after - before)
