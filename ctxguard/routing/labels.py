"""Labels of which some are unknown: what a log has, where each question took one route.

What a route would have done is estimated where nobody knows it: by what is expected of it, put
right by the questions of which it is known, each weighted by the inverse of the probability with
which its route was taken (Horvitz and Thompson 1952; augmented by a regression, Robins et al.
1994). The difference of both routes is the pseudo-outcome of the DR-learner (Kennedy 2023). It is
right on average whatever was expected. Without probabilities it is the imputation of the X-learner
(Künzel et al. 2019): right as far as a route was taken for what the signals tell, and the
expectation fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctxguard.errors import InputError
from ctxguard.routing.features import Floats
from ctxguard.routing.trace import Trace

__all__ = ["Labels", "labels_in", "labels_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Whether each route was right, per question: 1 or 0, NaN where nobody knows."""

    light: Floats
    heavy: Floats
    taken_with: Floats
    """Probability with which the route whose label is known was taken; NaN where it is not known,
    or both labels are."""

    def __len__(self) -> int:
        """How many questions there are."""
        return len(self.light)

    @property
    def both(self) -> NDArray[np.bool_]:
        """Whether both labels are known, per question."""
        known: NDArray[np.bool_] = ~np.isnan(self.light) & ~np.isnan(self.heavy)
        return known

    @property
    def weights(self) -> Floats:
        """For how many questions each stands; 1 where no probability is known."""
        return np.where(np.isnan(self.taken_with), 1.0, 1 / self.taken_with)

    @property
    def worth(self) -> float:
        """How many questions with both labels one of these is worth, as noise goes: at most 1.

        The noise of a difference of two labels is that of both; of one label that stands for `w`
        questions it is `w` squared times its own.
        """
        noise = np.where(self.both, 2.0, self.weights**2)
        return min(1.0, 2 / float(noise.mean())) if len(self) else 1.0

    def at(self, places: NDArray[np.bool_] | NDArray[np.int64]) -> Labels:
        """Those of some questions."""
        return Labels(
            light=self.light[places],
            heavy=self.heavy[places],
            taken_with=self.taken_with[places],
        )

    def estimated(self, light: Floats, heavy: Floats) -> tuple[Floats, Floats]:
        """Outcomes of both routes, given P that each is right: labels, where both are known."""
        return _put_right(self.light, light, self.weights), _put_right(
            self.heavy, heavy, self.weights
        )


def labels_in(
    light: Sequence[bool | None],
    heavy: Sequence[bool | None],
    taken_with: Sequence[float | None] | None = None,
) -> Labels:
    """Labels from columns of equal length.

    Raises:
        InputError: naming the first row where no label is known, or the probability is none.
    """
    found = Labels(
        light=np.array([_number(one) for one in light], dtype=np.float64),
        heavy=np.array([_number(one) for one in heavy], dtype=np.float64),
        taken_with=np.array(
            [_number(one) for one in taken_with or [None] * len(light)], dtype=np.float64
        ),
    )
    nothing = np.isnan(found.light) & np.isnan(found.heavy)
    if nothing.any():
        raise InputError(f"row {int(np.argmax(nothing)) + 1}: neither route's label is known")
    odd = (found.taken_with <= 0) | (found.taken_with > 1)
    if odd.any():
        row = int(np.argmax(odd))
        raise InputError(
            f"row {row + 1}, taken_with: expected a probability above 0, got "
            f"{found.taken_with[row]:g}"
        )
    return Labels(
        light=found.light,
        heavy=found.heavy,
        taken_with=np.where(found.both, np.nan, found.taken_with),
    )


def labels_of(traces: Sequence[Trace]) -> Labels:
    """The labels of traces."""
    return labels_in(
        [trace.light_ok for trace in traces],
        [trace.heavy_ok for trace in traces],
        [trace.taken_with for trace in traces],
    )


def _put_right(known: Floats, expected: Floats, weights: Floats) -> Floats:
    off = np.nan_to_num(weights * (known - expected))
    found: Floats = expected + off
    return found


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)
