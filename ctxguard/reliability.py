"""How far probabilities can be taken at their word."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Bin",
    "Reliability",
    "binomial",
    "ece_interval",
    "reliability_of",
    "share_interval",
]

_BINS = 10
_LEVEL = 1.96
"""Standard errors of a 95 % interval."""
_DRAWS = 600
"""Bootstrap samples; an end of a 95 % interval rests on the 15 outermost of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """The items that were given about the same probability."""

    low: float
    high: float
    count: int
    expected: float
    """Mean of the probabilities."""
    observed: float
    """Share that was true: relevant, grounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """What probabilities and what was true of them."""

    count: int
    """Items that were judged."""
    ece: float
    """Expected calibration error: mean distance of expected and observed, 0 is best."""
    brier: float
    """Mean squared error of the probabilities, 0 is best."""
    bins: tuple[Bin, ...]
    """Those of ten equally wide ones that hold anything, ascending."""

    def __str__(self) -> str:
        """A table, a line per bin."""
        head = f"{self.count:,} judged: ECE {self.ece:.3f}, Brier {self.brier:.3f}"
        rows = [
            f"  P {one.low:.1f} to {one.high:.1f}: {one.count:>7,}  "
            f"expected {one.expected:.3f}  observed {one.observed:.3f}"
            for one in self.bins
        ]
        return "\n".join([head, *rows])


def reliability_of(probabilities: Sequence[float], true: Sequence[bool]) -> Reliability:
    """Compare probabilities with what was true; all zero for none."""
    p = np.array(probabilities, dtype=np.float64)
    held = np.array(true, dtype=np.float64)
    place = _places(p)
    bins: list[Bin] = []
    for number in np.unique(place).tolist():
        inside = place == number
        bins.append(
            Bin(
                low=number / _BINS,
                high=(number + 1) / _BINS,
                count=int(inside.sum()),
                expected=float(p[inside].mean()),
                observed=float(held[inside].mean()),
            )
        )
    gaps = sum(one.count * abs(one.expected - one.observed) for one in bins)
    count = len(p)
    return Reliability(
        count=count,
        ece=gaps / count if count else 0.0,
        brier=float(((p - held) ** 2).mean()) if count else 0.0,
        bins=tuple(bins),
    )


def ece_interval(
    probabilities: Sequence[float], true: Sequence[bool], *, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """The interval of the expected calibration error, (0, 0) for nothing.

    The basic bootstrap (Davison and Hinkley 1997, section 5.2): samples of a sample have a higher
    error than it has, as it has a higher one than the truth, and reflecting them undoes both. It
    begins at 0 where calibrated probabilities would show such an error as well.

    Args:
        probabilities: what was said.
        true: what was so.
        level: how often intervals hold the true value.
        seed: of the draws; the same data and seed give the same interval.
    """
    p = np.array(probabilities, dtype=np.float64)
    gaps = p - np.array(true, dtype=np.float64)
    if not gaps.size:
        return (0.0, 0.0)
    place = _places(p)
    draw = np.random.default_rng(seed)

    def ece(at: NDArray[np.int64], gaps: NDArray[np.float64]) -> float:
        return float(np.abs(np.bincount(at, weights=gaps, minlength=_BINS)).sum()) / gaps.size

    found = ece(place, gaps)
    samples = (draw.integers(gaps.size, size=gaps.size) for _ in range(_DRAWS))
    again = [ece(place[rows], gaps[rows]) for rows in samples]
    calibrated = [ece(place, p - (draw.random(p.size) < p)) for _ in range(_DRAWS)]
    low, high = np.quantile(again, [(1 - level) / 2, (1 + level) / 2]).tolist()
    is_calibrated = found <= float(np.quantile(calibrated, (1 + level) / 2))
    return (0.0 if is_calibrated else max(0.0, 2 * found - high), max(found, 2 * found - low))


def binomial(hits: int, count: int, share: float) -> float:
    """P of so many hits in `count` draws; `share` between 0 and 1, exclusive."""
    ways = math.lgamma(count + 1) - math.lgamma(hits + 1) - math.lgamma(count - hits + 1)
    return math.exp(ways + hits * math.log(share) + (count - hits) * math.log1p(-share))


def share_interval(hits: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share by Wilson's score (1927); 0 to 1 where nothing was counted."""
    if not count:
        return (0.0, 1.0)
    share, weight = hits / count, _LEVEL**2 / count
    middle = (share + weight / 2) / (1 + weight)
    spread = math.sqrt(share * (1 - share) * weight + weight**2 / 4) / (1 + weight)
    # At the ends it is exact, and rounding must not say that a share of 1 is left out.
    low = 0.0 if not hits else middle - spread
    return (low, 1.0 if hits == count else middle + spread)


def _places(p: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin of each probability."""
    return np.minimum((p * _BINS).astype(np.int64), _BINS - 1)
