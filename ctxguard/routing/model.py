"""The model of a router: linear in the signals of a question, and readable as a file.

Routes are chosen by how much the heavy one gains over the light one, not by how hard a question is:
where both fail, the heavy route is no help. The gain is a ridge regression that is held to a prior,
with two restraints that make it carry over to questions of another kind: a signal of work (length,
figures, conditions) never lowers it, and no signal is read further than three standard deviations
from its mean. Weights are of three kinds of questions: with answers to choose from in words, with
figures to choose from (it is a calculation then, and its signals mean other things), and open. How
often the light route fails is a logistic regression beside it, put right by a curve that was fitted
on questions which it had not seen.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Annotated, ClassVar, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from ctxguard.errors import InputError
from ctxguard.routing.features import CHOICES, SIGNALS, Floats

__all__ = [
    "Curve",
    "Levels",
    "Model",
    "Table",
    "Weight",
    "figures_of",
    "is_open",
    "logistic",
    "shipped_model",
    "table_of",
]

_FORMAT = 1
_PRIOR = "prior.json"
_CLIP = 3.0
"""Standard deviations from the mean, beyond which a signal says nothing more."""
_LEVEL = 1.96
"""Standard errors of a 95 % interval."""

_FIRST_CHOICE = SIGNALS.index(CHOICES[0])
_FIGURES = SIGNALS.index("numeric_options")

Number = Annotated[float, Field(gt=-1e6, lt=1e6, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, lt=1e6, allow_inf_nan=False)]
AtLeastZero = Annotated[float, Field(ge=0, lt=1e6, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """One signal: its mean and spread over questions, and what a standard deviation of it does."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    mean: Number
    spread: Positive
    choices: Number
    """To the gain of a question with answers to choose from, in words."""
    figures: Number
    """To the gain of one whose answers to choose from have numbers. Where only some of them have,
    it is in between."""
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
    gain: Number
    """Their mean gain; the threshold where nothing was promised."""
    levels: Levels
    curve: Curve
    """From the log-odds of the light route's failure to its probability."""
    signals: Mapping[str, Weight]

    def read(self, signals: Floats) -> tuple[float, float, dict[str, float]]:
        """The gain of one row, its log-odds, and what each signal adds to the gain."""
        table, opened = table_of(self), bool(is_open(signals[None])[0])
        scaled = table.scaled(signals)
        share = figures_of(signals[None])[0]
        between = table.choices + share * (table.figures - table.choices)
        parts = scaled * (table.open if opened else between)
        level = self.levels.open if opened else self.levels.choices
        odds = self.levels.fails + float(scaled @ table.fails)
        return level + float(parts.sum()), odds, dict(zip(SIGNALS, parts.tolist(), strict=True))

    def gains(self, signals: Floats) -> Floats:
        """What rows of signals gain, shape `(n, len(SIGNALS))`; a missing signal is average."""
        table = table_of(self)
        scaled = table.scaled(signals)
        share = figures_of(signals)
        words, figures = scaled @ table.choices, scaled @ table.figures
        choices: Floats = self.levels.choices + words + share * (figures - words)
        return np.where(is_open(signals), self.levels.open + scaled @ table.open, choices)

    def odds(self, signals: Floats) -> Floats:
        """Log-odds that the light route fails, for the curve."""
        table = table_of(self)
        found: Floats = self.levels.fails + table.scaled(signals) @ table.fails
        return found

    def light_fails(self, signals: Floats) -> Floats:
        """P that the light route fails, for rows of signals."""
        odds = self.odds(signals).tolist()
        return np.array([self.curve.at(one) for one in odds], dtype=np.float64)

    def to_json(self) -> str:
        """A readable JSON object; `from_data` gives an equal model."""
        data: object = _FILE.dump_python(self, mode="json")
        return json.dumps(data, indent=2) + "\n"

    @classmethod
    def from_data(cls, data: object) -> Model:
        """The model in what a file of a router holds of it.

        Raises:
            InputError: naming the first field that is missing, or cannot be used.
        """
        table = cast("dict[str, object]", data) if isinstance(data, dict) else {}
        if table.get("format") != _FORMAT or isinstance(table.get("format"), bool):
            raise InputError(
                f"router.model.format: expected {_FORMAT}, got {table.get('format')!r}; "
                "Router.save writes such a file"
            )
        try:
            model = _FILE.validate_json(json.dumps(table))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, ("router.model", *first["loc"])))
            raise InputError(f"{where}: {first['msg']}, got {first['input']!r:.80}") from error
        missing, odd = set(SIGNALS) - set(model.signals), set(model.signals) - set(SIGNALS)
        if missing or odd:
            raise InputError(
                f"router.model.signals: {sorted(missing) or 'nothing'} missing, "
                f"{sorted(odd) or 'nothing'} unknown; fit it again with this release"
            )
        return model


_FILE = TypeAdapter(Model)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The signals of a model as arrays, shape `(len(SIGNALS),)` each."""

    mean: Floats
    spread: Floats
    choices: Floats
    figures: Floats
    open: Floats
    fails: Floats

    def scaled(self, signals: Floats) -> Floats:
        """Signals in standard deviations, clipped; 0 for a missing one."""
        scaled: Floats = np.nan_to_num(np.clip((signals - self.mean) / self.spread, -_CLIP, _CLIP))
        return scaled


def table_of(model: Model) -> Table:
    """The signals of a model as arrays."""
    rows = (model.signals[name] for name in SIGNALS)
    return _arrays(
        tuple((one.mean, one.spread, one.choices, one.figures, one.open, one.fails) for one in rows)
    )


@lru_cache(maxsize=64)
def _arrays(rows: tuple[tuple[float, ...], ...]) -> Table:
    mean, spread, choices, figures, opened, fails = np.array(rows, dtype=np.float64).T.copy()
    return Table(
        mean=mean, spread=spread, choices=choices, figures=figures, open=opened, fails=fails
    )


def is_open(signals: Floats) -> NDArray[np.bool_]:
    """Whether each row is of a question without answers to choose from."""
    return np.isnan(signals[:, _FIRST_CHOICE])


def figures_of(signals: Floats) -> Floats:
    """Share of the answers to choose from that have numbers, for each row; 0 for an open one."""
    return np.nan_to_num(signals[:, _FIGURES])


@lru_cache(maxsize=1)
def shipped_model() -> Model:
    """The prior that ships: fitted on questions of MMLU by `scripts/fit_routing.py`."""
    stored = resources.files("ctxguard.routing") / _PRIOR
    return Model.from_data(json.loads(stored.read_text("utf-8")))


def logistic(odds: float) -> float:
    """P of log-odds."""
    return 1 / (1 + math.exp(-min(max(odds, -30.0), 30.0)))
