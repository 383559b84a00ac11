"""What surroundings add to the gain of a heavier route.

There is no open data of questions with what was retrieved for them and which of two models was
right. So what ships is an assumption, not a fit: signs that are known (more work, more gain) and
weights in round numbers, as small as the signals of work in an open question have them.
`Router.fit(…, around=…)` learns them from traces that carry surroundings, and holds them to these.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import ConfigDict, Field

from ctxguard.errors import InputError
from ctxguard.routing.features import Floats
from ctxguard.routing.surroundings import SURROUNDINGS

__all__ = ["Surrounding", "assumed", "check_known", "parts_of", "raised", "scaled_rows"]

_CLIP = 3.0
"""Standard deviations from what is usual, beyond which a signal says nothing more."""

Number = Annotated[float, Field(gt=-1e6, lt=1e6, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, lt=1e6, allow_inf_nan=False)]
AtLeastZero = Annotated[float, Field(ge=0, lt=1e6, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surrounding:
    """One signal: what it usually is, how much it varies, and what a standard deviation does."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    usual: Number
    spread: Positive
    gain: AtLeastZero
    """To the gain of a heavier route; never below 0, because more work is never less."""


_ASSUMED: dict[str, tuple[float, float, float]] = {
    "no_lead": (0.5, 0.2, 0.005),
    "flat_scores": (0.8, 0.1, 0.005),
    "doubt": (0.3, 0.2, 0.01),
    "relevant_chunks": (1.0, 0.5, 0.01),
    "conflicts": (0.3, 0.5, 0.02),
    "evidence_groups": (1.5, 0.6, 0.01),
    "second_chunk": (0.3, 0.2, 0.02),
    "left_out": (0.3, 0.3, 0.01),
    "nothing_found": (0.1, 0.3, 0.005),
    "turns": (0.7, 0.7, 0.005),
    "conversation_tokens": (6.0, 2.0, 0.005),
    "leans_back": (0.2, 0.4, 0.01),
    "tool_results": (0.3, 0.5, 0.01),
}
"""By signal: usual, spread, gain. Counts and tokens are logarithms of one more."""


def assumed() -> dict[str, Surrounding]:
    """The weights that ship: an assumption, not a fit."""
    return {
        name: Surrounding(usual=usual, spread=spread, gain=gain)
        for name, (usual, spread, gain) in _ASSUMED.items()
    }


def check_known(names: Iterable[str], where: str) -> None:
    """Reject a signal that does not exist: it would count for nothing, and nobody would know.

    Raises:
        InputError: naming it.
    """
    odd = sorted(str(name) for name in names if name not in SURROUNDINGS)
    if odd:
        raise InputError(
            f"{where}: no such signal {odd[0]!r}; surroundings_of gives {', '.join(SURROUNDINGS)}"
        )


def parts_of(
    weights: Mapping[str, Surrounding], around: Mapping[str, float] | None
) -> dict[str, float]:
    """What each signal adds to the gain; what is missing, or no number, adds nothing.

    Raises:
        InputError: for a signal that does not exist.
    """
    check_known(around or (), "around")
    return {
        name: weights[name].gain * scaled
        for name, value in (around or {}).items()
        if name in weights and (scaled := _scaled(weights[name], value)) is not None
    }


def scaled_rows(
    weights: Mapping[str, Surrounding], around: Sequence[Mapping[str, float]]
) -> Floats:
    """Signals in standard deviations from what is usual, shape `(n, len(SURROUNDINGS))`.

    NaN where a signal is missing, or has no weight.
    """
    rows = np.full((len(around), len(SURROUNDINGS)), np.nan)
    for row, seen in zip(rows, around, strict=True):
        for place, name in enumerate(SURROUNDINGS):
            if name in weights and name in seen:
                scaled = _scaled(weights[name], seen[name])
                row[place] = np.nan if scaled is None else scaled
    return rows


def _scaled(weight: Surrounding, value: float) -> float | None:
    if math.isnan(value):
        return None
    return min(_CLIP, max(-_CLIP, (value - weight.usual) / weight.spread))


def raised(
    p: float, interval: tuple[float, float], part: float
) -> tuple[float, tuple[float, float]]:
    """P(light fails) and its interval with what surroundings add to the gain.

    P moves by the same part, because what surrounds a question is taken to be work that only the
    light route fails at, and stays between 0 and 1. The interval reaches from the one without to
    the one with it: what is added may be wrong, and nothing is surer for it.
    """
    low, high = interval
    return _share(p + part), (min(low, _share(low + part)), max(high, _share(high + part)))


def _share(p: float) -> float:
    return min(1.0, max(0.0, p))
