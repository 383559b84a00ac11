"""What became of answers, counted by route, and whether a route got worse than was promised.

The test is anytime-valid: it may be asked after each answer, by every process, and still raises a
false alarm in no more than the stated share of windows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ctxguard.errors import InputError
from ctxguard.routing.state.store import StateStore, key_of

__all__ = ["Counts", "Drift", "Feedback", "log_evidence"]

_TAIL = 40
"""Standard deviations beyond which terms of a binomial sum are nothing to a double."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The answers of a route in one window that somebody judged."""

    ok: int
    not_ok: int

    @property
    def rate(self) -> float:
        """The share that was not ok; NaN for none."""
        judged = self.ok + self.not_ok
        return self.not_ok / judged if judged else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Whether a route is worse than it was promised to be, in the running window."""

    route: str
    counts: Counts
    promised: float
    """The share of answers that may be not ok."""
    evidence: float
    """Natural logarithm of the e-value: above log(1 / alpha) it is drift."""
    drifted: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """Counters of ok and not ok by route, in a store; each window counts from 0."""

    store: StateStore
    window: float = 7 * 86400.0
    """Seconds that a window lasts; the last but one is kept as well."""

    def __post_init__(self) -> None:
        """Check the window.

        Raises:
            InputError: it is not above 0.
        """
        if not 0 < self.window < math.inf:
            raise InputError(f"Feedback.window: expected seconds above 0, got {self.window!r}")

    def record(self, route: str, *, ok: bool) -> None:
        """Count an answer of a route."""
        key = self._keys(route, back=0)[0 if ok else 1]
        self.store.add(key, 1, ttl=2 * self.window)

    def counts(self, route: str, *, back: int = 0) -> Counts:
        """What was counted for a route in the running window, or in the one before it.

        Args:
            route: its name.
            back: 0 for the running window, 1 for the one before.
        """
        ok, not_ok = self.store.totals(self._keys(route, back=back))
        return Counts(ok=ok, not_ok=not_ok)

    def drift(self, route: str, *, promised: float, alpha: float = 0.01) -> Drift:
        """Whether more answers of a route are not ok than was promised.

        Args:
            route: its name.
            promised: the share that may be not ok, above 0 and below 1.
            alpha: the share of windows in which a route that keeps its promise may be called
                drifted, however often it is asked.

        Raises:
            InputError: `promised` or `alpha` is no share.
        """
        if not 0 < alpha < 1:
            raise InputError(f"Feedback.drift: alpha: expected 0 < alpha < 1, got {alpha!r}")
        counts = self.counts(route)
        evidence = log_evidence(ok=counts.ok, not_ok=counts.not_ok, promised=promised)
        drifted = evidence >= -math.log(alpha)
        judged = counts.ok + counts.not_ok
        return Drift(
            route=route,
            counts=counts,
            promised=promised,
            evidence=evidence,
            drifted=drifted,
            reason=f"{counts.not_ok:,} of {judged:,} answers of {route} were not ok, promised was "
            f"a share of {promised:.3g}: "
            + ("it got worse" if drifted else "no evidence that it got worse")
            + f" (false alarms in {alpha:.3g} of windows at most)",
        )

    def _keys(self, route: str, *, back: int) -> tuple[str, str]:
        number = str(int(self.store.now() // self.window) - back)
        length = f"{self.window:g}"
        return (
            key_of("feedback", route, length, number, "ok"),
            key_of("feedback", route, length, number, "not"),
        )


def log_evidence(*, ok: int, not_ok: int, promised: float) -> float:
    """Natural logarithm of the e-value against "each answer is not ok with at most this P".

    The likelihood ratio of a rate above `promised`, averaged over all of them, is a nonnegative
    supermartingale while the promise holds, so it ever exceeds 1 / alpha with probability alpha at
    most (Ville's inequality; Ramdas et al. 2023, "Game-theoretic statistics and safe anytime-valid
    inference", section 3). It needs the counts only, not their order.

    Args:
        ok: answers that were.
        not_ok: answers that were not.
        promised: the share that may be not ok, above 0 and below 1.

    Raises:
        InputError: `promised` is no share.
    """
    if not 0 < promised < 1:
        raise InputError(f"promised: expected a share above 0 and below 1, got {promised!r}")
    n = ok + not_ok
    log_beta = math.lgamma(not_ok + 1) + math.lgamma(ok + 1) - math.lgamma(n + 2)
    at_promise = not_ok * math.log(promised) + ok * math.log1p(-promised)
    tail = _log_at_most(not_ok, n + 1, promised)
    return log_beta + tail - math.log1p(-promised) - at_promise


def _log_at_most(k: int, n: int, p: float) -> float:
    """Logarithm of P(X <= k) for X binomial of n and p, which is P(Beta(k + 1, n - k) > p)."""
    mean, deviation = n * p, math.sqrt(n * p * (1 - p))
    top = min(k, math.ceil(mean + _TAIL * (deviation + 1)))
    low = max(0, min(top, math.floor(mean)) - math.ceil(_TAIL * (deviation + 1)))
    log_top = (
        math.lgamma(n + 1)
        - math.lgamma(top + 1)
        - math.lgamma(n - top + 1)
        + top * math.log(p)
        + (n - top) * math.log1p(-p)
    )
    below = np.arange(top, low, -1, dtype=np.float64)  # each term by the one above it
    steps = np.log(below) - np.log(n - below + 1) + (math.log1p(-p) - math.log(p))
    terms = np.concatenate(([0.0], np.cumsum(steps)))
    peak = float(terms.max())
    return min(0.0, log_top + peak + math.log(float(np.exp(terms - peak).sum())))
