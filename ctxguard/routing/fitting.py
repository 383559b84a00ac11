"""Fitting the model of a router to labelled questions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ctxguard.logistic import Layer, fit_layer
from ctxguard.routing.features import SIGNALS, WORK, Floats
from ctxguard.routing.labels import Labels
from ctxguard.routing.model import (
    Curve,
    Levels,
    Model,
    Table,
    Weight,
    figures_of,
    is_open,
    table_of,
)
from ctxguard.routing.surroundings import SURROUNDINGS
from ctxguard.routing.weighing import Surrounding, check_known, scaled_rows

__all__ = ["fit_model", "fit_surroundings"]

_STRENGTH = 2000.0
"""Of the ridge, in questions: to what the weights are held to, and of calculations to other
questions with choices. Of either, nothing from 500 to 4,000 is better by more than .01 APGR on
subjects that were left out."""
_EXPECTED_WORK = 0.01
"""Gain per standard deviation that a signal of work is expected to bring, without any data."""
_AROUND_STRENGTH = 500.0
"""Of the ridge of surroundings, in questions; there is no open data to choose it by. It is less
than that of the question's signals, because what the weights are held to is an assumption."""
_AROUND_SEEN = 20
"""Traces that what is assumed to be usual of a surrounding counts as."""
_CORE, _EXPECTED_CORE = ("words", "sentences", "numbers", "distinct_numbers"), 0.03
"""The same of an open question, for how much is told and how much is to be reckoned with; all
alike, because equal weights carry over where none can be fitted (Dawes 1979). Such questions, a sum
in words, are then ordered by work and never by their style."""
_CURVE_STRENGTH = 100.0
"""Of the ridge that holds the slope of the curve to 1, in questions."""
_FAILS_STRENGTH = 300.0
"""Of the ridge of a route's failures, in questions."""
_FOLDS = 5
_ROUNDS = 200
_MOST = 0.98
"""P that is expected of a route at most: there is always something that nobody has seen."""


def fit_model(
    signals: Floats,
    labels: Labels,
    *,
    prior: Model | None = None,
    groups: Sequence[str] | None = None,
    about: str = "",
) -> Model:
    """The model that fits labelled questions best.

    Args:
        signals: rows of `signals_of`.
        labels: whether each route was right, per row, where it is known.
        prior: what the weights are held to; None: only that work is work.
        groups: of which rows are alike (a subject, a customer); curves are then fitted on groups
            that their weights have not seen, and intervals are of a new group. None: every row by
            itself.
        about: what they are.
    """
    start = _blank(signals) if prior is None else table_of(prior)
    scaled, folds = start.scaled(signals), _folds(groups, len(labels))
    known = _known_fails(prior)
    odds = _unseen(scaled, labels.light, folds, known)
    gain = _gain(signals, labels, odds, prior, folds)
    table, levels = _fit_table(signals, gain, start, prior, worth=labels.worth)
    fails = _fit_fails(scaled, labels.light, known)
    table = replace(table, fails=np.array(fails.weights))
    here = ~np.isnan(labels.light)
    names = None if groups is None else np.array(groups)[here].tolist()
    return Model(
        about=about,
        questions=len(labels),
        gain=_short(float(gain.mean()) if gain.size else 0.0),
        levels=replace(levels, fails=_short(fails.intercept)),
        curve=_fit_curve(odds[here], 1 - labels.light[here], names),
        signals=_weights_of(table),
    )


def fit_surroundings(
    missed: Floats, around: Sequence[Mapping[str, float]], known: Mapping[str, Surrounding]
) -> dict[str, Surrounding]:
    """The weights of surroundings that explain best what the questions alone do not.

    Args:
        missed: of each question, its gain (1, 0 or -1) less the one that its text lets expect.
        around: its surroundings; those that it lacks count as usual.
        known: what the weights are held to. None of them falls below 0.

    Raises:
        InputError: for a signal that does not exist.
    """
    check_known({name for seen in around for name in seen}, "around")
    usual = {name: _usual(weight, name, around) for name, weight in known.items()}
    rows = np.nan_to_num(scaled_rows(usual, around))
    start = np.array([usual[name].gain if name in usual else 0.0 for name in SURROUNDINGS])
    fitted = _bounded_ridge(
        rows - rows.mean(axis=0),
        missed - missed.mean(),
        start,
        _AROUND_STRENGTH * np.eye(start.size),
        least=np.zeros(start.size),
    )
    gains = dict(zip(SURROUNDINGS, fitted.tolist(), strict=True))
    return {name: replace(weight, gain=_short(gains[name])) for name, weight in usual.items()}


def _usual(weight: Surrounding, name: str, around: Sequence[Mapping[str, float]]) -> Surrounding:
    """A weight with mean and spread as they are in traces, as far as there are any."""
    seen = np.array([one[name] for one in around if math.isfinite(one.get(name, math.nan))])
    share = seen.size / (seen.size + _AROUND_SEEN)
    mean = weight.usual + share * (float(seen.mean()) - weight.usual) if seen.size else weight.usual
    off = float(np.square(seen - mean).mean()) if seen.size else 0.0
    variance = share * off + (1 - share) * weight.spread**2
    return replace(weight, usual=_short(mean), spread=_short(math.sqrt(variance)))


def _weights_of(table: Table) -> dict[str, Weight]:
    return {
        name: Weight(
            mean=_short(table.mean[place]),
            spread=_short(table.spread[place]),
            choices=_short(table.choices[place]),
            figures=_short(table.figures[place]),
            open=_short(table.open[place]),
            fails=_short(table.fails[place]),
        )
        for place, name in enumerate(SIGNALS)
    }


def _unseen(rows: Floats, right: Floats, folds: NDArray[np.int64], known: Layer) -> Floats:
    """Log-odds that a route fails, for each row from a fit of the others."""
    odds = np.zeros(len(folds))
    for fold in range(_FOLDS):
        here, rest = folds == fold, folds != fold
        layer = _fit_fails(rows[rest], right[rest], known)
        odds[here] = layer.intercept + rows[here] @ np.array(layer.weights)
    return odds


def _gain(
    signals: Floats,
    labels: Labels,
    light: Floats,
    prior: Model | None,
    folds: NDArray[np.int64],
) -> Floats:
    """What the heavy route gains, per row: known, or estimated where one label is.

    `light` is the log-odds that the light route fails. Those of the heavy one are held to what the
    prior expects of it.
    """
    if labels.both.all():
        known: Floats = labels.heavy - labels.light
        return known
    expected = np.zeros(len(labels))
    if prior is not None:
        expected = _odds(prior.light_fails(signals) - prior.gains(signals))
    nothing = [0.0] * len(SIGNALS)
    start = Layer(names=("expected", *SIGNALS), weights=(1.0, *nothing), intercept=0.0)
    table = _blank(signals) if prior is None else table_of(prior)
    rows = np.column_stack([expected, table.scaled(signals)])
    heavy = _unseen(rows, labels.heavy, folds, start)
    light_ok, heavy_ok = labels.estimated(1 - _logistic(light), 1 - _logistic(heavy))
    gain: Floats = heavy_ok - light_ok
    return gain


def _fit_table(
    signals: Floats, gain: Floats, start: Table, prior: Model | None, *, worth: float
) -> tuple[Table, Levels]:
    """The weights of the gain, and their levels; a gain is worth so many that are known."""
    known = prior.levels if prior else Levels(choices=0.0, open=0.0, fails=0.0)
    scaled, opens = start.scaled(signals), is_open(signals)
    share = figures_of(signals)[~opens, None]
    choosing = scaled[~opens]
    level, both = _fit_line(
        np.column_stack([choosing * (1 - share), choosing * share]),
        gain[~opens],
        np.concatenate([start.choices, start.figures]),
        _held(together=2) / worth,
    )
    open_level, opened = _fit_line(
        scaled[opens], gain[opens], start.open, _held(together=1) / worth
    )
    if prior is None and open_level is None:
        open_level = level
    levels = Levels(
        choices=_short(known.choices if level is None else level),
        open=_short(known.open if open_level is None else open_level),
        fails=known.fails,
    )
    choices, figures = np.split(both, 2)
    return replace(start, choices=choices, figures=figures, open=opened), levels


def _held(*, together: int) -> Floats:
    """The penalty of weights, of so many kinds of questions, that differ around common ones.

    Both the common weights and each kind's distance from them have the ridge's strength; this is
    what is left when the common ones are at their best.
    """
    common = 1 / (1 + together) if together > 1 else 0.0
    kinds = np.eye(together, dtype=np.float64) - common
    return np.array(np.kron(_STRENGTH * kinds, np.eye(len(SIGNALS))), dtype=np.float64)


def _blank(signals: Floats) -> Table:
    mean, spread = _moments(signals)
    work = np.where(_IS_WORK, _EXPECTED_WORK, 0.0)
    return Table(
        mean=mean,
        spread=spread,
        choices=work,
        figures=work,
        open=np.where(np.isin(SIGNALS, _CORE), _EXPECTED_CORE, work),
        fails=np.zeros(len(SIGNALS)),
    )


def _fit_line(
    rows: Floats, gain: Floats, start: Floats, held: Floats
) -> tuple[float | None, Floats]:
    """Level and weights of a ridge that is held to others; the level is None without data."""
    if not gain.size:
        return None, start
    center, middle = rows.mean(axis=0), float(gain.mean())
    weights = _bounded_ridge(rows - center, gain - middle, start, held)
    return middle - float(center @ weights), weights


def _known_fails(prior: Model | None) -> Layer:
    """What a prior says of the light route's failures."""
    weights = table_of(prior).fails if prior else np.zeros(len(SIGNALS))
    level = prior.levels.fails if prior else 0.0
    return Layer(names=SIGNALS, weights=tuple(weights.tolist()), intercept=level)


def _fit_fails(rows: Floats, right: Floats, known: Layer) -> Layer:
    """The logistic regression of a route's failures, where it was taken.

    Without weights: it is for what the signals tell that a question took its route, and these are
    in the regression (Little and Rubin 2019, section 6.2).
    """
    here = ~np.isnan(right)
    return fit_layer(
        known.names, rows[here], 1 - right[here], strength=_FAILS_STRENGTH, prior=known
    )


_IS_WORK = np.isin(SIGNALS, WORK)


def _moments(signals: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each signal where it is there; 0 and 1 where it never is."""
    there = ~np.isnan(signals)
    count = np.maximum(1, there.sum(axis=0))
    values = np.where(there, signals, 0.0)
    mean = values.sum(axis=0) / count
    spread = np.sqrt(np.where(there, (values - mean) ** 2, 0.0).sum(axis=0) / count)
    return mean, np.where(spread > 1e-9, spread, 1.0)


def _bounded_ridge(
    rows: Floats, target: Floats, start: Floats, held: Floats, *, least: Floats | None = None
) -> Floats:
    """Coordinate descent: convex, and each step is exact, so that it ends at the one minimum."""
    curve = rows.T @ rows + held
    slope = rows.T @ target + held @ start
    if least is None:
        least = np.where(np.resize(_IS_WORK, start.size), 0.0, -np.inf)
    found = np.maximum(np.linalg.solve(curve, slope), least)
    for _ in range(_ROUNDS):
        before = found.copy()
        for place in range(found.size):
            step = (slope[place] - curve[place] @ found) / curve[place, place]
            found[place] = max(least[place], found[place] + step)
        if float(np.abs(found - before).max()) < 1e-7:
            break
    return found


def _fit_curve(odds: Floats, failed: Floats, groups: Sequence[str] | None) -> Curve:
    """The curve that puts log-odds right; flat where they say nothing."""
    known = Layer(names=("odds",), weights=(1.0,), intercept=0.0)
    found = fit_layer(("odds",), odds[:, None], failed, strength=_CURVE_STRENGTH, prior=known)
    intercept, slope = found.intercept, found.weights[0]
    if slope < 0 or not 0 < float(failed.sum()) < failed.size:
        share = (float(failed.sum()) + 1) / (failed.size + 2)
        intercept, slope = math.log(share / (1 - share)), 0.0
    p = _logistic(intercept + slope * odds)
    own, both, ends = _variances(odds, p)
    return Curve(
        intercept=_short(intercept),
        slope=_short(slope),
        variances=(_short(own), _short(both), _short(ends)),
        between=_short(_between(failed, p, groups)),
    )


def _variances(odds: Floats, p: Floats) -> tuple[float, float, float]:
    """The inverse of the information (Fisher) of a logistic curve."""
    rows = np.column_stack([np.ones(odds.size), odds])
    # As if there were one more question, in two halves at both ends of the range.
    information = (rows * (p * (1 - p))[:, None]).T @ rows + np.diag([0.25, 0.25])
    inverse = np.linalg.inv(information)
    return float(inverse[0, 0]), float(inverse[0, 1]), float(inverse[1, 1])


def _between(labels: Floats, p: Floats, groups: Sequence[str] | None) -> float:
    """Standard deviation of the groups' log-odds around a curve (DerSimonian and Laird 1986)."""
    if groups is None or len(set(groups)) < 3:
        return 0.0
    names = np.array(groups)
    inside = [names == name for name in sorted(set(groups))]
    known = np.array([float((p[here] * (1 - p[here])).sum()) for here in inside])
    off = np.array([float((labels[here] - p[here]).sum()) for here in inside]) / known
    spare = known.sum() - (known**2).sum() / known.sum()
    excess = float(known @ off**2) - (len(inside) - 1)
    return math.sqrt(max(0.0, excess / float(spare)))


def _logistic(odds: Floats) -> Floats:
    p: Floats = 1 / (1 + np.exp(-np.clip(odds, -30, 30)))
    return p


def _odds(p: Floats) -> Floats:
    inside = np.clip(p, 1 - _MOST, _MOST)
    odds: Floats = np.log(inside / (1 - inside))
    return odds


def _folds(groups: Sequence[str] | None, count: int) -> NDArray[np.int64]:
    """A fold for each row, the same one for a whole group; dealt at random, with a fixed seed."""
    names = [str(place) for place in range(count)] if groups is None else list(groups)
    distinct = sorted(set(names))
    dealt = np.random.default_rng(0).permutation(len(distinct)) % _FOLDS
    fold_of = dict(zip(distinct, dealt.tolist(), strict=True))
    return np.array([fold_of[name] for name in names], dtype=np.int64)


def _short(value: float) -> float:
    return float(f"{value:.5g}")
