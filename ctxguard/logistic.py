"""Logistic regression: small layers of weights, fitted by Newton's method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Layer", "fit_layer"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A logistic regression: P = 1 / (1 + exp(-(intercept + features · weights)))."""

    names: tuple[str, ...]
    weights: tuple[float, ...]
    intercept: float

    def probability(self, features: Floats) -> Floats:
        """P of each row of features, shape `(n, len(names))`."""
        odds = self.intercept + features @ np.array(self.weights)
        return 1 / (1 + np.exp(-np.clip(odds, -30, 30)))


def fit_layer(
    names: Sequence[str],
    features: Floats,
    labels: Floats,
    *,
    weights: Floats | None = None,
    strength: float = 3.0,
    prior: Layer | None = None,
) -> Layer:
    """The logistic regression that fits best, by Newton's method with a ridge.

    Args:
        names: of the features.
        features: shape `(n, len(names))`.
        labels: 1 or 0 for each row.
        weights: how much each row counts; None: 1.
        strength: of the ridge, in rows, on standardised features; the intercept is free.
        prior: weights that the ridge pulls to; None: zero.

    Returns:
        The layer, its weights on the features as they are. The prior when a class is missing.
    """
    rows = np.ones(len(labels)) if weights is None else weights
    mean = features.mean(axis=0) if len(features) else np.zeros(len(names))
    spread = features.std(axis=0) if len(features) else np.ones(len(names))
    spread = np.where(spread > 1e-9, spread, 1.0)
    scaled = np.column_stack([np.ones(len(features)), (features - mean) / spread])
    start = np.zeros(len(names) + 1)
    if prior is not None:
        start[1:] = np.array(prior.weights) * spread
        start[0] = prior.intercept + float(np.array(prior.weights) @ mean)
    if not 0 < float(labels.sum()) < len(labels):
        solved = start
    else:
        solved = _newton(scaled, labels, rows, start=start, strength=strength)
    final = solved[1:] / spread
    return Layer(
        names=tuple(names),
        weights=tuple(float(f"{value:.6g}") for value in final),
        intercept=float(f"{solved[0] - float(final @ mean):.6g}"),
    )


def _newton(
    scaled: Floats, labels: Floats, rows: Floats, *, start: Floats, strength: float
) -> Floats:
    ridge = np.full(start.size, strength)
    ridge[0] = 1e-6

    def loss(at: Floats) -> float:
        odds = scaled @ at
        return float(rows @ (np.logaddexp(0, odds) - labels * odds) + ridge @ (at - start) ** 2 / 2)

    solved, reached = start.copy(), loss(start)
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(scaled @ solved, -30, 30)))
        slope = scaled.T @ (rows * (p - labels)) + ridge * (solved - start)
        curve = (scaled * (rows * p * (1 - p))[:, None]).T @ scaled + np.diag(ridge)
        step = np.linalg.solve(curve, slope)
        # A whole step overshoots where P is near 0 or 1 and wrong, as with a prior far off.
        while float(np.abs(step).max()) > 1e-7 and loss(solved - step) > reached:
            step /= 2
        solved -= step
        reached = loss(solved)
        if float(np.abs(step).max()) < 1e-7:
            break
    return solved
