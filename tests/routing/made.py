"""Labelled questions that are made up: the more figures one has, the likelier light fails."""

from __future__ import annotations

import numpy as np

from ctxguard.routing import Trace

__all__ = ["made"]


def made(count: int, *, seed: int = 0) -> list[Trace]:
    """Open questions; heavy is right in 95 % of the cases, light in 95 % down to 35 %."""
    rng = np.random.default_rng(seed)
    traces: list[Trace] = []
    for number in range(count):
        figures = int(rng.integers(0, 9))
        items = ", ".join(f"{int(rng.integers(2, 99))} pens" for _ in range(figures))
        traces.append(
            Trace(
                prompt=f"Customer {number % 7} bought {items or 'a pen'}. What is the total?",
                light_ok=bool(rng.random() < 0.95 - 0.075 * figures),
                heavy_ok=bool(rng.random() < 0.95),
                group=str(number % 7),
            )
        )
    return traces
