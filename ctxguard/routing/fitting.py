"""Fitting the model of a router to labelled questions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ctxguard.logistic import Layer, fit_layer
from ctxguard.routing.features import SIGNALS, WORK, Floats
from ctxguard.routing.model import Curve, Levels, Model, Table, Weight, is_open, table_of
from ctxguard.routing.surroundings import SURROUNDINGS
from ctxguard.routing.weighing import Surrounding, check_known, scaled_rows

__all__ = ["fit_model", "fit_surroundings"]

_STRENGTH = 2000.0
"""Of the ridge, in questions. Among 500, 2,000 and 6,000, none is better by more than .01 APGR on
subjects that were left out."""
_EXPECTED_WORK = 0.01
"""Gain per standard deviation that a signal of work is expected to bring, without any data. Without
it, questions that are nothing but work (a sum in words) would be ordered by their style."""
_AROUND_STRENGTH = 500.0
"""Of the ridge of surroundings, in questions; there is no open data to choose it by. It is less
than that of the question's signals, because what the weights are held to is an assumption."""
_AROUND_SEEN = 20
"""Traces that what is assumed to be usual of a surrounding counts as."""
_CURVE_STRENGTH = 10.0
_FAILS_STRENGTH = 300.0
"""Of the ridge of the light route's failures, in questions."""
_FOLDS = 5
_ROUNDS = 200

Labels = NDArray[np.bool_]


def fit_model(
    signals: Floats,
    light_ok: Labels,
    heavy_ok: Labels,
    *,
    prior: Model | None = None,
    groups: Sequence[str] | None = None,
    about: str = "",
) -> Model:
    """The model that fits labelled questions best.

    Args:
        signals: rows of `signals_of`.
        light_ok: whether the light route was right, per row.
        heavy_ok: whether the heavy route was.
        prior: what the weights are held to; None: only that work is work.
        groups: of which rows are alike (a subject, a customer); curves are then fitted on groups
            that their weights have not seen, and intervals are of a new group. None: every row by
            itself.
        about: what they are.
    """
    failed = (~light_ok).astype(np.float64)
    gain = heavy_ok.astype(np.float64) - light_ok
    table, levels = _fit_table(signals, gain, failed, prior, groups)
    folds, odds = _folds(groups, len(gain)), np.zeros(len(gain))
    for fold in range(_FOLDS):
        here, rest = folds == fold, folds != fold
        layer = _fit_fails(table.scaled(signals[rest]), failed[rest], prior)
        odds[here] = layer.intercept + table.scaled(signals[here]) @ np.array(layer.weights)
    columns = (table.mean, table.spread, table.choices, table.open, table.fails)
    rows = np.column_stack(columns).tolist()
    return Model(
        about=about,
        questions=len(gain),
        gain=_short(float(gain.mean()) if gain.size else 0.0),
        levels=levels,
        curve=_fit_curve(odds, failed, groups),
        signals={
            name: Weight(
                mean=_short(mean),
                spread=_short(spread),
                choices=_short(choices),
                open=_short(opened),
                fails=_short(fails),
            )
            for name, (mean, spread, choices, opened, fails) in zip(SIGNALS, rows, strict=True)
        },
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
        least=np.zeros(start.size),
        strength=_AROUND_STRENGTH,
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


def _fit_table(
    signals: Floats,
    gain: Floats,
    failed: Floats,
    prior: Model | None,
    groups: Sequence[str] | None,
) -> tuple[Table, Levels]:
    """All weights, and their levels."""
    start = _blank(signals) if prior is None else table_of(prior)
    known = prior.levels if prior else Levels(choices=0.0, open=0.0, fails=0.0)
    scaled, opens = start.scaled(signals), is_open(signals)
    level, choices = _fit_line(scaled[~opens], gain[~opens], start.choices)
    opened_level, opened = _fit_line(scaled[opens], gain[opens], start.open)
    if prior is None and not opens.any():
        opened_level, opened = level or 0.0, _from_stems(scaled, failed, groups)
    fails = _fit_fails(scaled, failed, prior)
    table = replace(start, choices=choices, open=opened, fails=np.array(fails.weights))
    levels = Levels(
        choices=_short(known.choices if level is None else level),
        open=_short(known.open if opened_level is None else opened_level),
        fails=_short(fails.intercept),
    )
    return table, levels


def _blank(signals: Floats) -> Table:
    mean, spread = _moments(signals)
    work, nothing = np.where(_IS_WORK, _EXPECTED_WORK, 0.0), np.zeros(len(SIGNALS))
    return Table(mean=mean, spread=spread, choices=work, open=work, fails=nothing)


def _fit_line(scaled: Floats, gain: Floats, start: Floats) -> tuple[float | None, Floats]:
    """Level and weights of a ridge that is held to others; the level is None without data."""
    if not gain.size:
        return None, start
    center, middle = scaled.mean(axis=0), float(gain.mean())
    weights = _bounded_ridge(scaled - center, gain - middle, start)
    return middle - float(center @ weights), weights


def _from_stems(scaled: Floats, failed: Floats, groups: Sequence[str] | None) -> Floats:
    """Weights for open questions where all of them have choices: what work does to their stems.

    Only inside of a group, because groups differ in what the heavy route can do as well; and of the
    light route's failures, because how the heavy one picks an option says little of how it answers.
    """
    names = np.zeros(len(failed)) if groups is None else np.array(groups)
    rows, target = np.where(_IS_WORK, scaled, 0.0), failed.copy()
    for name in np.unique(names):
        here = names == name
        rows[here] -= rows[here].mean(axis=0)
        target[here] -= target[here].mean()
    start = np.where(_IS_WORK, _EXPECTED_WORK, 0.0)
    return _bounded_ridge(rows, target, start)


def _fit_fails(scaled: Floats, failed: Floats, prior: Model | None) -> Layer:
    """The logistic regression of the light route's failures."""
    weights = table_of(prior).fails if prior else np.zeros(len(SIGNALS))
    level = prior.levels.fails if prior else 0.0
    known = Layer(names=SIGNALS, weights=tuple(weights.tolist()), intercept=level)
    return fit_layer(SIGNALS, scaled, failed, strength=_FAILS_STRENGTH, prior=known)


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
    rows: Floats,
    target: Floats,
    start: Floats,
    *,
    least: Floats | None = None,
    strength: float = _STRENGTH,
) -> Floats:
    """Coordinate descent: convex, and each step is exact, so that it ends at the one minimum."""
    curve = rows.T @ rows + strength * np.eye(start.size)
    slope = rows.T @ target + strength * start
    least = np.where(_IS_WORK, 0.0, -np.inf) if least is None else least
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
    p = 1 / (1 + np.exp(-(intercept + slope * odds)))
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


def _folds(groups: Sequence[str] | None, count: int) -> NDArray[np.int64]:
    """A fold for each row, the same one for a whole group; dealt at random, with a fixed seed."""
    names = [str(place) for place in range(count)] if groups is None else list(groups)
    distinct = sorted(set(names))
    dealt = np.random.default_rng(0).permutation(len(distinct)) % _FOLDS
    fold_of = dict(zip(distinct, dealt.tolist(), strict=True))
    return np.array([fold_of[name] for name in names], dtype=np.int64)


def _short(value: float) -> float:
    return float(f"{value:.5g}")
