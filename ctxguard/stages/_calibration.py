"""How far probabilities can be taken at their word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Bin", "Reliability", "reliability_of"]

_BINS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """The items that were given about the same probability."""

    low: float
    high: float
    count: int
    expected: float
    """Mean of the probabilities."""
    observed: float
    """Share that is relevant."""


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


def reliability_of(probabilities: Sequence[float], relevant: Sequence[bool]) -> Reliability:
    """Compare probabilities with what was relevant; all zero for none."""
    p = np.array(probabilities, dtype=np.float64)
    held = np.array(relevant, dtype=np.float64)
    place = np.minimum((p * _BINS).astype(np.int64), _BINS - 1)
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
