"""The model of a router: linear in the signals of a question, and readable as a file.

Routes are chosen by how much the heavy one gains over the light one, not by how hard a question is:
where both fail, the heavy route is no help. The gain is a ridge regression that is held to a prior,
with two restraints that make it carry over to questions of another kind: a signal of work (length,
figures, conditions) never lowers it, and no signal is read further than three standard deviations
from its mean. Questions with answers to choose from and open ones have weights of their own. How
often the light route fails is a logistic regression beside it, put right by a curve that was fitted
on questions which it had not seen.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Annotated, ClassVar, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from ctxguard.errors import InputError
from ctxguard.logistic import Layer, fit_layer
from ctxguard.routing.features import CHOICES, SIGNALS, WORK, Floats

__all__ = ["Curve", "Levels", "Model", "Weight", "fit_model", "logistic", "shipped_model"]

_FORMAT = 1
_PRIOR = "prior.json"
_CLIP = 3.0
"""Standard deviations from the mean, beyond which a signal says nothing more."""
_STRENGTH = 2000.0
"""Of the ridge, in questions. Among 500, 2,000 and 6,000, none is better by more than .01 APGR on
subjects that were left out."""
_EXPECTED_WORK = 0.01
"""Gain per standard deviation that a signal of work is expected to bring, without any data. Without
it, questions that are nothing but work (a sum in words) would be ordered by their style."""
_CURVE_STRENGTH = 10.0
_FAILS_STRENGTH = 300.0
"""Of the ridge of the light route's failures, in questions."""
_FOLDS = 5
_ROUNDS = 200
_LEVEL = 1.96
"""Standard errors of a 95 % interval."""

Number = Annotated[float, Field(gt=-1e6, lt=1e6, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, lt=1e6, allow_inf_nan=False)]
AtLeastZero = Annotated[float, Field(ge=0, lt=1e6, allow_inf_nan=False)]
Labels = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """One signal: its mean and spread over questions, and what a standard deviation of it does."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    mean: Number
    spread: Positive
    choices: Number
    """To the gain of a question with answers to choose from."""
    open: Number
    """To the gain of a question without."""
    fails: Number
    """To the log-odds that the light route fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """P of log-odds: their own are `intercept` + `slope` · odds (Platt), and how sure that is."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    intercept: Number
    slope: AtLeastZero
    variances: tuple[AtLeastZero, Number, AtLeastZero] = (0.0, 0.0, 0.0)
    """Of the intercept, of both together, of the slope."""
    between: AtLeastZero = 0.0
    """Standard deviation of the log-odds between groups of questions (subjects, customers): how
    far off they may be for a group that the model was not fitted on."""

    def at(self, odds: float) -> float:
        """P at log-odds of the model."""
        return logistic(self.intercept + self.slope * odds)

    def interval(self, odds: float) -> tuple[float, float]:
        """The 95 % interval of P."""
        own, both, slope = self.variances
        variance = own + 2 * odds * both + odds * odds * slope + self.between**2
        margin = _LEVEL * math.sqrt(max(0.0, variance))
        middle = self.intercept + self.slope * odds
        return logistic(middle - margin), logistic(middle + margin)


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """What is so of an average question."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    choices: Number
    """Gain of one with answers to choose from."""
    open: Number
    """Gain of one without."""
    fails: Number
    """Log-odds that the light route fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What a router knows of questions; `to_json` gives a readable file."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    format: Literal[1] = _FORMAT
    about: str = ""
    """What it was fitted on."""
    questions: Annotated[int, Field(ge=0)]
    """How many those were."""
    levels: Levels
    curve: Curve
    """From the log-odds of the light route's failure to its probability."""
    signals: Mapping[str, Weight]

    def gains(self, signals: Floats) -> Floats:
        """What rows of signals gain, shape `(n, len(SIGNALS))`; a missing signal is average."""
        table = _table(self)
        scaled = table.scaled(signals)
        opens = _is_open(signals)
        choices: Floats = self.levels.choices + scaled @ table.choices
        return np.where(opens, self.levels.open + scaled @ table.open, choices)

    def parts(self, signals: Floats) -> dict[str, float]:
        """What each signal of one row adds to its gain."""
        table = _table(self)
        weights = table.open if _is_open(signals[None])[0] else table.choices
        return dict(zip(SIGNALS, (table.scaled(signals) * weights).tolist(), strict=True))

    def odds(self, signals: Floats) -> Floats:
        """Log-odds that the light route fails, for the curve."""
        table = _table(self)
        found: Floats = self.levels.fails + table.scaled(signals) @ table.fails
        return found

    def to_json(self) -> str:
        """A readable JSON object; `from_json` gives an equal model."""
        data: object = _FILE.dump_python(self, mode="json")
        return json.dumps(data, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Model:
        """The model in a JSON text.

        Raises:
            InputError: naming the first field that is missing, or cannot be used.
        """
        try:
            data: object = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"router: not JSON ({error})") from error
        return cls.from_data(data)

    @classmethod
    def from_data(cls, data: object) -> Model:
        """The model in what a JSON text holds.

        Raises:
            InputError: naming the first field that is missing, or cannot be used.
        """
        table = cast("dict[str, object]", data) if isinstance(data, dict) else {}
        if table.get("format") != _FORMAT or isinstance(table.get("format"), bool):
            raise InputError(
                f"router.format: expected {_FORMAT}, got {table.get('format')!r}; Router.save "
                "writes such a file"
            )
        try:
            model = _FILE.validate_json(json.dumps(table))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, ("router", *first["loc"])))
            raise InputError(f"{where}: {first['msg']}, got {first['input']!r:.80}") from error
        missing, odd = set(SIGNALS) - set(model.signals), set(model.signals) - set(SIGNALS)
        if missing or odd:
            raise InputError(
                f"router.signals: {sorted(missing) or 'nothing'} missing, {sorted(odd) or 'nothing'}"
                " unknown; fit it again with this release"
            )
        return model


_FILE = TypeAdapter(Model)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """The signals of a model as arrays, shape `(len(SIGNALS),)` each."""

    mean: Floats
    spread: Floats
    choices: Floats
    open: Floats
    fails: Floats

    def scaled(self, signals: Floats) -> Floats:
        """Signals in standard deviations, clipped; 0 for a missing one."""
        scaled: Floats = np.nan_to_num(np.clip((signals - self.mean) / self.spread, -_CLIP, _CLIP))
        return scaled


def _table(model: Model) -> _Table:
    rows = (model.signals[name] for name in SIGNALS)
    return _arrays(tuple((one.mean, one.spread, one.choices, one.open, one.fails) for one in rows))


@lru_cache(maxsize=64)
def _arrays(rows: tuple[tuple[float, ...], ...]) -> _Table:
    mean, spread, choices, opened, fails = np.array(rows, dtype=np.float64).T.copy()
    return _Table(mean=mean, spread=spread, choices=choices, open=opened, fails=fails)


def _is_open(signals: Floats) -> NDArray[np.bool_]:
    """Whether each row is of a question without answers to choose from."""
    return np.isnan(signals[:, _FIRST_CHOICE])


@lru_cache(maxsize=1)
def shipped_model() -> Model:
    """The prior that ships: fitted on questions of MMLU by `scripts/fit_routing.py`."""
    stored = resources.files("ctxguard.routing") / _PRIOR
    return Model.from_json(Path(str(stored)).read_text("utf-8"))


# -- fitting --------------------------------------------------------------------------------------


def fit_model(
    signals: Floats,
    light_ok: Labels,
    heavy_ok: Labels,
    *,
    prior: Model | None = None,
    groups: Sequence[str] | None = None,
    strength: float = _STRENGTH,
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
        strength: of the hold, in questions.
        about: what they are.
    """
    failed = (~light_ok).astype(np.float64)
    gain = heavy_ok.astype(np.float64) - light_ok
    table, levels = _fit_table(signals, gain, failed, prior, groups, strength)
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


def _fit_table(
    signals: Floats,
    gain: Floats,
    failed: Floats,
    prior: Model | None,
    groups: Sequence[str] | None,
    strength: float,
) -> tuple[_Table, Levels]:
    """All weights, and their levels."""
    start = _blank(signals) if prior is None else _table(prior)
    known = prior.levels if prior else Levels(choices=0.0, open=0.0, fails=0.0)
    scaled, opens = start.scaled(signals), _is_open(signals)
    level, choices = _fit_line(scaled[~opens], gain[~opens], start.choices, strength)
    opened_level, opened = _fit_line(scaled[opens], gain[opens], start.open, strength)
    if prior is None and not opens.any():
        opened_level, opened = level or 0.0, _from_stems(scaled, failed, groups, strength)
    fails = _fit_fails(scaled, failed, prior)
    table = replace(start, choices=choices, open=opened, fails=np.array(fails.weights))
    levels = Levels(
        choices=_short(known.choices if level is None else level),
        open=_short(known.open if opened_level is None else opened_level),
        fails=_short(fails.intercept),
    )
    return table, levels


def _blank(signals: Floats) -> _Table:
    mean, spread = _moments(signals)
    work, nothing = np.where(_IS_WORK, _EXPECTED_WORK, 0.0), np.zeros(len(SIGNALS))
    return _Table(mean=mean, spread=spread, choices=work, open=work, fails=nothing)


def _fit_line(
    scaled: Floats, gain: Floats, start: Floats, strength: float
) -> tuple[float | None, Floats]:
    """Level and weights of a ridge that is held to others; the level is None without data."""
    if not gain.size:
        return None, start
    center, middle = scaled.mean(axis=0), float(gain.mean())
    weights = _bounded_ridge(scaled - center, gain - middle, start, strength)
    return middle - float(center @ weights), weights


def _from_stems(
    scaled: Floats, failed: Floats, groups: Sequence[str] | None, strength: float
) -> Floats:
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
    return _bounded_ridge(rows, target, start, strength)


def _fit_fails(scaled: Floats, failed: Floats, prior: Model | None) -> Layer:
    """The logistic regression of the light route's failures."""
    weights = _table(prior).fails if prior else np.zeros(len(SIGNALS))
    level = prior.levels.fails if prior else 0.0
    known = Layer(names=SIGNALS, weights=tuple(weights.tolist()), intercept=level)
    return fit_layer(SIGNALS, scaled, failed, strength=_FAILS_STRENGTH, prior=known)


_IS_WORK = np.isin(SIGNALS, WORK)
_FIRST_CHOICE = SIGNALS.index(CHOICES[0])


def _moments(signals: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each signal where it is there; 0 and 1 where it never is."""
    there = ~np.isnan(signals)
    count = np.maximum(1, there.sum(axis=0))
    values = np.where(there, signals, 0.0)
    mean = values.sum(axis=0) / count
    spread = np.sqrt(np.where(there, (values - mean) ** 2, 0.0).sum(axis=0) / count)
    return mean, np.where(spread > 1e-9, spread, 1.0)


def _bounded_ridge(rows: Floats, target: Floats, start: Floats, strength: float) -> Floats:
    """Coordinate descent: convex, and each step is exact, so that it ends at the one minimum."""
    curve = rows.T @ rows + strength * np.eye(start.size)
    slope = rows.T @ target + strength * start
    least = np.where(_IS_WORK, 0.0, -np.inf)
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
    if slope < 0:
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


def logistic(odds: float) -> float:
    """P of log-odds."""
    return 1 / (1 + math.exp(-min(max(odds, -30.0), 30.0)))


def _short(value: float) -> float:
    return float(f"{value:.5g}")
