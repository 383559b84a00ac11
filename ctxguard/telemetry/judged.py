"""Runs whose answer somebody judged, and the traces that a router learns from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest

from ctxguard.errors import InputError
from ctxguard.routing import Trace

__all__ = ["Judged", "traces_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A run, and whether its answer was right."""

    run_id: str
    at: float
    """When it ended, in seconds since the epoch."""
    question: str | None
    """None: the store keeps no content."""
    signals: Mapping[str, float] = field(default_factory=dict[str, float], hash=False)
    """Of the question, by name, where a router read them."""
    around: Mapping[str, float] = field(default_factory=dict[str, float], hash=False)
    """What surrounded the question, by name, where a router was told."""
    route: str = ""
    """The one that was taken; blank: there was none to take."""
    ok: bool
    propensity: float | None = None
    """P with which that route was taken, where chance had a part in it."""


def traces_of(judged: Iterable[Judged], *, light: str, heavy: str) -> list[Trace]:
    """Traces of the runs of two routes, in the order in which questions came first.

    A question that ran on both is one trace, and each run counts once: of three on the light route
    and one on the heavy, two make traces that know of one route only. Signals alone do not tell
    whether two questions are one, so runs without a text are never joined.

    Args:
        judged: runs; those of other routes, or with neither question nor signals, are left out.
        light: name of the light route.
        heavy: name of the heavy one.

    Raises:
        InputError: both have one name.
    """
    if light == heavy:
        raise InputError(f"traces: the light and the heavy route are both {light!r}")
    runs: dict[str, tuple[list[Judged], list[Judged]]] = {}
    for one in judged:
        if one.route in (light, heavy) and (one.question or one.signals):
            sides = runs.setdefault(one.question or f"run {one.run_id}", ([], []))
            sides[one.route == heavy].append(one)
    return [_trace(*pair) for sides in runs.values() for pair in zip_longest(*sides)]


def _trace(light: Judged | None, heavy: Judged | None) -> Trace:
    known = light or heavy
    assert known is not None  # noqa: S101 -- of two lists of different lengths, one goes on
    return Trace(
        prompt=known.question or "",
        light_ok=None if light is None else light.ok,
        heavy_ok=None if heavy is None else heavy.ok,
        signals=known.signals,
        around=known.around,
        taken_with=None if light and heavy else known.propensity,
    )
