"""Calibration: scores as probabilities, and a threshold that keeps a wanted false-alarm rate.

A false alarm is an answer that its evidence supports and that is flagged all the same. The
threshold is a rank among the scores of right answers, so what it promises rests on no model of
them: whatever their distribution, the share of false alarms is at most the target in all but
1 - `confidence` of the calibrations that one could have made (Vovk 2012, "Conditional validity of
inductive conformal predictors"; the tolerance limit of Wilks 1941). It asks that later answers are
like the labelled ones, and that those are drawn one by one: ten answers from one document are
nearer to one than to ten.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from ctxguard.errors import InputError
from ctxguard.logistic import Layer, fit_layer
from ctxguard.reliability import Reliability, binomial, ece_interval, reliability_of
from ctxguard.types import Chunk

__all__ = ["Calibration", "Curve", "Labelled", "calibrate_scores", "needed_for"]

_FORMAT = 1
_CLIP = 1e-4
"""Scores are held this far from 0 and 1, where their logarithms have no end."""
_PRIOR = 5.0
"""How strongly the curve is held to what scores say themselves, in answers."""
_FOLDS = 5
_DIGITS = 6

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Number = Annotated[float, Field(gt=-1e6, lt=1e6, allow_inf_nan=False)]
Slope = Annotated[float, Field(ge=0, lt=1e6, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """An answer of which somebody knows whether its evidence supports it."""

    answer: str
    evidence: Sequence[str | Mapping[str, Any] | Chunk]
    grounded: bool
    """Whether the evidence supports all that is claimed."""
    question: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """P of a score: log-odds = `intercept` + `low` · ln(score) - `high` · ln(1 - score).

    Beta calibration (Kull, Silva Filho and Flach 2017): it never falls, has the identity
    (`low` = `high` = 1) among its shapes, and bends at both ends on its own, which Platt's sigmoid
    does not.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    low: Slope
    high: Slope
    intercept: Number

    def __call__(self, score: float, /) -> float:
        """P of a score from 0 to 1, with six digits."""
        kept = min(max(score, _CLIP), 1 - _CLIP)
        odds = self.intercept + self.low * math.log(kept) - self.high * math.log1p(-kept)
        return round(1 / (1 + math.exp(-min(max(odds, -30.0), 30.0))), _DIGITS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What labelled answers say of a verifier's scores; `Verifier(calibration=…)` applies it."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    format: Literal[1] = _FORMAT
    settings: Mapping[str, str]
    """Of the verifier that gave the scores; another one's mean something else."""
    right: Count
    """Labelled answers that their evidence supports."""
    wrong: Count
    """Labelled answers that it does not."""
    curve: Curve
    """From the score of an answer, that of its weakest claim, to P(grounded)."""
    threshold: Share | None = None
    """P under which a claim is flagged; None: no target was asked for."""
    target: Share | None = None
    """Share of right answers that may be flagged."""
    confidence: Share = 0.95
    """Share of calibrations that keep the target."""
    found: Share | None = None
    """Share of the wrong answers that the threshold flags."""
    reliability: Reliability
    """What became of the probabilities, each by a curve that was fitted without its answer."""
    ece_interval: tuple[Share, Share]
    """The 95 % interval of `reliability.ece`."""

    def __str__(self) -> str:
        """What is promised, and how far probabilities can be taken at their word."""
        low, high = self.ece_interval
        lines = [f"{self.right + self.wrong:,} answers, {self.right:,} of them right"]
        if self.threshold is not None and self.target is not None and self.found is not None:
            lines.append(
                f"flagged under {self.threshold:.3f}: at most {self.target:.1%} of right answers "
                f"(confidence {self.confidence:.0%}), {self.found:.1%} of these wrong ones"
            )
        lines.append(f"ECE {self.reliability.ece:.3f}, 95 % interval {low:.3f} to {high:.3f}")
        return "\n".join([*lines, str(self.reliability)])

    def to_json(self) -> str:
        """A readable JSON object; `from_json` gives an equal calibration."""
        data: object = _FILE.dump_python(self, mode="json")
        return json.dumps(data, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """The calibration in a JSON text.

        Raises:
            InputError: naming the first field that is missing, or cannot be used.
        """
        try:
            data: object = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"calibration: not JSON ({error})") from error
        table = cast("dict[str, object]", data) if isinstance(data, dict) else {}
        if table.get("format") != _FORMAT or isinstance(table.get("format"), bool):
            raise InputError(
                f"calibration.format: expected {_FORMAT}, got {table.get('format')!r}; "
                "Verifier.calibrate makes such a file"
            )
        try:
            return _FILE.validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, ("calibration", *first["loc"])))
            raise InputError(f"{where}: {first['msg']}, got {first['input']!r:.80}") from error

    def save(self, path: str | Path) -> None:
        """Write the calibration to a file."""
        Path(path).write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Read a calibration from a file.

        Raises:
            InputError: when there is none, or it cannot be used.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise InputError(f"calibration {path}: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise InputError(f"calibration {path}: not a text file") from error
        return cls.from_json(text)

    def check(self, settings: Mapping[str, str]) -> None:
        """Reject a verifier whose scores mean something else.

        Raises:
            InputError: naming the setting that differs.
        """
        for name in sorted({*self.settings, *settings}):
            made, now = self.settings.get(name, ""), settings.get(name, "")
            if made != now:
                raise InputError(
                    f"calibration.settings.{name}: it was made with {made!r}, the verifier has "
                    f"{now!r}; calibrate this verifier"
                )


_FILE = TypeAdapter(Calibration)


def needed_for(target: float, confidence: float = 0.95) -> int:
    """How many right answers a target takes: 59 for 5 %, 149 for 2 %, at a confidence of 95 %.

    With fewer, even the lowest of their scores says too little of those that are lower still.
    """
    _check_share("target", target)
    _check_share("confidence", confidence)
    return math.ceil(math.log1p(-confidence) / math.log1p(-target))


def calibrate_scores(
    scores: Iterable[tuple[float, bool]],
    *,
    settings: Mapping[str, str],
    target: float | None = 0.05,
    confidence: float = 0.95,
) -> Calibration:
    """The calibration of scores, each with whether its answer is grounded.

    Args:
        scores: from 0 to 1, and the labels.
        settings: of what gave them.
        target: share of right answers that may be flagged; None: fit probabilities only.
        confidence: how sure the target is to be kept.

    Raises:
        InputError: there are too few right answers for the target, none of a kind, or the scores
            of right ones are no higher than those of wrong ones.
    """
    pairs = [(float(score), bool(label)) for score, label in scores]
    right = sorted(score for score, label in pairs if label)
    wrong = [score for score, label in pairs if not label]
    if not right or not wrong:
        raise InputError(
            f"labelled: {len(right)} right and {len(wrong)} wrong answers; both are needed"
        )
    cut = None if target is None else _cut(right, target, confidence)
    curve = _fit(pairs)
    if not curve.low + curve.high > 0:
        raise InputError("labelled: the scores of right answers are no higher than of wrong ones")
    held = _held_out(pairs)
    labels = [label for _, label in held]
    return Calibration(
        settings=dict(settings),
        right=len(right),
        wrong=len(wrong),
        curve=curve,
        threshold=None if cut is None else curve(cut),
        target=target,
        confidence=confidence,
        found=None if cut is None else sum(score < cut for score in wrong) / len(wrong),
        reliability=reliability_of([p for p, _ in held], labels),
        ece_interval=ece_interval([p for p, _ in held], labels),
    )


def _cut(right: Sequence[float], target: float, confidence: float) -> float:
    """The score under which at most `target` of right answers are.

    Their share under the k-th lowest of n has the distribution Beta(k, n + 1 - k), at worst; it is
    over the target as often as a binomial of n and the target is under k.
    """
    count, least = len(right), needed_for(target, confidence)
    if count < least:
        reached = math.ceil(1e3 * (1 - (1 - confidence) ** (1 / count))) / 1e3
        raise InputError(
            f"labelled: a target of {target:g} with confidence {confidence:g} needs {least} right "
            f"answers, and there are {count}: give more, or a target of {reached:g} and above"
        )
    place, missed = 0, binomial(0, count, target)
    while missed <= 1 - confidence + 1e-12 and place < count:
        place += 1
        missed += binomial(place, count, target)
    return right[place - 1]


def _fit(pairs: Sequence[tuple[float, bool]]) -> Curve:
    """The curve that fits best; by one slope where two would let it fall."""
    kept = np.clip([score for score, _ in pairs], _CLIP, 1 - _CLIP)
    labels = np.array([float(label) for _, label in pairs])
    ends = np.column_stack([np.log(kept), -np.log1p(-kept)])
    known = Layer(names=("low", "high"), weights=(1.0, 1.0), intercept=0.0)
    found = fit_layer(known.names, ends, labels, strength=_PRIOR, prior=known)
    low, high = found.weights
    if low < 0 or high < 0:
        known = Layer(names=("both",), weights=(1.0,), intercept=0.0)
        both = ends.sum(axis=1, keepdims=True)
        found = fit_layer(known.names, both, labels, strength=_PRIOR, prior=known)
        low = high = found.weights[0]
    if low < 0:  # the better it scored, the worse it was: only how many are right is known
        share = (float(labels.sum()) + 1) / (labels.size + 2)
        return Curve(low=0.0, high=0.0, intercept=math.log(share / (1 - share)))
    return Curve(low=low, high=high, intercept=found.intercept)


def _held_out(pairs: Sequence[tuple[float, bool]]) -> list[tuple[float, bool]]:
    """P of each score by a curve that was fitted without it, with its label."""
    dealt = sorted(pairs, key=lambda pair: pair[1])  # each fold has its share of both
    found: list[tuple[float, bool]] = []
    for fold in range(_FOLDS):
        others = [pair for place, pair in enumerate(dealt) if place % _FOLDS != fold]
        mine = dealt[fold::_FOLDS]
        if mine and others:
            curve = _fit(others)
            found += [(curve(score), label) for score, label in mine]
    return found


def _check_share(name: str, value: float) -> None:
    if isinstance(value, bool) or not 0 < value < 1:
        raise InputError(f"{name}: expected a number between 0 and 1, got {value!r}")
