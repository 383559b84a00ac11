"""The router: which route a question takes, and why, without a model and within a millisecond."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal, cast

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError

from ctxguard.errors import InputError
from ctxguard.routing.calibration import Promise, explored, promise_budget, promise_quality
from ctxguard.routing.choice import Counts, Estimate, Moved, Routing, choose, rounded
from ctxguard.routing.features import SIGNALS, Floats, named_signals, signals_of, signals_row
from ctxguard.routing.fitting import fit_model, fit_surroundings
from ctxguard.routing.labels import labels_in, labels_of
from ctxguard.routing.model import Model, shipped_model
from ctxguard.routing.route import Load, Route
from ctxguard.routing.trace import Asked, Trace
from ctxguard.routing.weighing import Surrounding, assumed, check_known, parts_of, raised
from ctxguard.text.analysis import Analysis, default_analyzer

__all__ = ["Router"]

_FORMAT = 1
_TARGET = re.compile(r"(?:quality\s*)?(?:\u2265|>=)?\s*(\d*\.?\d+)\s*(%)?\s*of(?: all)? heavy")
_LEAST = 50
"""Questions under which a fit says less than the prior."""
_LEAST_OF_A_ROUTE = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """Chooses among routes by what a question is expected to gain from a heavier one.

    Without more, it knows what ships: a prior from questions of an examination, with no promise.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    model: Model = field(default_factory=shipped_model)
    promise: Promise | None = None
    """Set by `calibrate`; its threshold then counts."""
    thresholds: tuple[float, ...] | None = None
    """Gains from which each heavier route is taken, ascending, one fewer than routes; None: the
    promise's, else the mean gain of the questions that were fitted."""
    surroundings: Mapping[str, Surrounding] = field(default_factory=assumed)
    """What retrieval and the conversation add, by signal. What ships is an assumption, not a fit; a
    signal that is not in it does not count."""

    def __post_init__(self) -> None:
        """Reject thresholds that contradict each other."""
        check_known(self.surroundings, "Router.surroundings")
        cuts = self.thresholds
        if cuts is not None and (not cuts or list(cuts) != sorted(cuts)):
            raise InputError(f"Router.thresholds: a heavier route takes a higher gain, got {cuts}")
        if cuts is not None and self.promise is not None and cuts != (self.promise.threshold,):
            raise InputError(
                f"Router.thresholds: {cuts} is not what was promised for, "
                f"{self.promise.threshold}; leave one of them out"
            )

    # -- learning ---------------------------------------------------------------------------------

    @classmethod
    def fit(  # noqa: PLR0913 -- what is known of questions, column by column
        cls,
        prompts: Sequence[Asked],
        weak_ok: Sequence[bool | None],
        strong_ok: Sequence[bool | None],
        *,
        taken_with: Sequence[float | None] | None = None,
        groups: Sequence[str] | None = None,
        around: Sequence[Mapping[str, float]] | None = None,
        prior: Model | Literal["shipped"] | None = "shipped",
        about: str = "",
    ) -> Router:
        """A router that learned from labelled questions, from 100 on better than the prior.

        Args:
            prompts: the questions, or the `Estimate.signals` that were logged of them.
            weak_ok: whether the light route got each right; None: not known.
            strong_ok: whether the heavy route did; of each question, one is known at least.
            taken_with: probability with which the route was taken, exploration included, of which
                alone it is known; what questions the other would have got right is then estimated
                without a bias. None: from questions like them.
            groups: what each belongs to (a subject, a customer); intervals are then those of a
                question of a new group.
            around: what surrounded each, as `surroundings_of` gives it; their weights are then
                learned too, from what the questions alone do not explain. None: as they ship.
            prior: what the weights are held to; None: nothing but that work is work.
            about: what the questions are, for whoever reads the file.

        Raises:
            InputError: there are too few, of one route too few, or not as many of each.
        """
        count = len(prompts)
        others = {
            "weak_ok": weak_ok,
            "strong_ok": strong_ok,
            "taken_with": taken_with,
            "groups": groups,
            "around": around,
        }
        for name, values in others.items():
            if values is not None and len(values) != count:
                raise InputError(
                    f"{name}: expected {count}, one for each prompt, got {len(values)}"
                )
        if count < _LEAST:
            raise InputError(f"prompts: a fit takes {_LEAST} labelled questions, got {count}")
        signals = _signals(prompts)
        labels = labels_in(weak_ok, strong_ok, taken_with)
        for name, known in (("weak_ok", labels.light), ("strong_ok", labels.heavy)):
            if (~np.isnan(known)).sum() < _LEAST_OF_A_ROUTE:
                raise InputError(
                    f"{name}: a fit takes {_LEAST_OF_A_ROUTE} labels of each route, got "
                    f"{(~np.isnan(known)).sum()}; let some questions take the other one"
                )
        model = fit_model(
            signals,
            labels,
            prior=shipped_model() if prior == "shipped" else prior,
            groups=groups,
            about=about,
        )
        if around is None:
            return cls(model=model)
        gains, right = model.gains(signals), 1 - model.light_fails(signals)
        light, heavy = labels.estimated(right, np.clip(right + gains, 0, 1))
        missed = heavy - light - gains
        return cls(model=model, surroundings=fit_surroundings(missed, around, assumed()))

    def calibrate(
        self,
        traces: Sequence[Trace],
        *,
        target: float | str | None = None,
        budget: float | None = None,
        costs: tuple[float, float] = (0.0, 1.0),
        confidence: float = 0.95,
        exploration: float | None = None,
    ) -> Router:
        """This router with a threshold that keeps a promise; either `target` or `budget`.

        The promise is of questions like the traces, which must not be those that it was fitted on.
        Where every trace carries surroundings, it is a promise of questions with surroundings. Else
        those are left aside, and later only count upwards beside a promise of quality, and not at
        all beside one of cost.

        Args:
            traces: drawn one by one.
            target: quality to keep, as a share of that of all heavy: 0.95, or
                "quality ≥ 0.95 of heavy".
            budget: mean cost of a call.
            costs: of a light and of a heavy call; by default the budget is a share of heavy calls.
            confidence: how sure the promise is to be kept.
            exploration: least probability with which either route was taken, as it was set before
                the traces were drawn. With it, traces that know one route are enough, many more of
                them; each says the probability with which that was taken.

        Raises:
            InputError: neither or both are given, there are too few traces (says how many it
                takes), or ones that know one route, without exploration.
        """
        if (target is None) == (budget is None):
            raise InputError("calibrate: give a target, or a budget")
        share = None if target is None else _share(target)
        around = [trace.around for trace in traces]
        covered = bool(traces) and all(around)
        asked = [trace.asked for trace in traces]
        scores = self.score(asked, around if covered else None)
        labels = labels_of(traces)
        least = explored(labels, exploration, share, confidence)
        right = 1 - self.light_fails(asked, around if covered else None)
        light, heavy = labels.estimated(right, np.clip(right + scores, 0, 1))
        if share is not None:
            # In an order of its own: files are often sorted by what is in them.
            order = np.random.default_rng(0).permutation(len(traces))
            promise = promise_quality(
                scores[order],
                light[order],
                heavy[order],
                target=share,
                confidence=confidence,
                exploration=least,
            )
        else:
            promise = promise_budget(
                scores, light, heavy, budget=budget or 0.0, costs=costs, confidence=confidence
            )
        return replace(self, promise=replace(promise, around=covered), thresholds=None)

    # -- judging ----------------------------------------------------------------------------------

    def score(
        self, prompts: Sequence[Asked], around: Sequence[Mapping[str, float]] | None = None
    ) -> Floats:
        """What each question is expected to gain, shape `(len(prompts),)`; routes go by it.

        How much likelier the heavy route is to be right than the light one.

        Args:
            prompts: the questions.
            around: what surrounds each; None: it is not known.
        """
        alone = [rounded(one) for one in self.model.gains(_signals(prompts)).tolist()]
        added = self._added(prompts, around).tolist()
        both = [rounded(one + more) for one, more in zip(alone, added, strict=True)]
        return np.array(both, dtype=np.float64)

    def light_fails(
        self, prompts: Sequence[Asked], around: Sequence[Mapping[str, float]] | None = None
    ) -> Floats:
        """P that the light route fails, for each question; the arguments are those of `score`."""
        fails = self.model.light_fails(_signals(prompts))
        return np.clip(fails + self._added(prompts, around), 0.0, 1.0)

    def _added(
        self, prompts: Sequence[Asked], around: Sequence[Mapping[str, float]] | None
    ) -> Floats:
        """What surroundings add to the gain of each question."""
        if around is None:
            return np.zeros(len(prompts))
        if len(around) != len(prompts):
            raise InputError(
                f"around: expected {len(prompts)}, one for each prompt, got {len(around)}"
            )
        parts = [rounded(sum(parts_of(self.surroundings, seen).values())) for seen in around]
        return np.array(parts, dtype=np.float64)

    def estimate(
        self, question: str | Analysis, around: Mapping[str, float] | None = None
    ) -> Estimate:
        """What is expected of one question, and which signals moved it.

        P(light fails) rises by what its surroundings add to the gain, and its interval reaches from
        the one without them to the one with them: nothing is surer for an assumption.

        Args:
            question: what was asked, or its analysis.
            around: what surrounds it, as `surroundings_of` gives it; None: it is not known.

        Raises:
            InputError: `around` has a signal that does not exist.
        """
        analysis = question if isinstance(question, Analysis) else _analyse(question)
        row = signals_of(analysis)
        gain, odds, parts = self.model.read(row)
        beside = parts_of(self.surroundings, around)
        added = rounded(sum(beside.values()))
        gain = rounded(rounded(gain) + added)
        fails, interval = raised(self.model.curve.at(odds), self.model.curve.interval(odds), added)
        moved = sorted({**parts, **beside}.items(), key=lambda part: -abs(part[1]))
        return Estimate(
            light_fails=fails,
            interval=interval,
            heavy_fails=min(1.0, max(0.0, fails - gain)),
            gain=gain,
            moved=tuple(Moved(signal=name, gain=part) for name, part in moved if part),
            around={name: one for name, one in (around or {}).items() if math.isfinite(one)},
            signals=named_signals(row),
        )

    def decide(
        self,
        question: str | Analysis,
        routes: Sequence[Route],
        load: Load | None = None,
        around: Mapping[str, float] | None = None,
    ) -> Routing:
        """The route of a question.

        Args:
            question: what was asked, or its analysis.
            routes: one or more, in any order where the price of each is known, else the lightest
                first.
            load: tokens of the request; None: a thousand, without a cache.
            around: what surrounds it, as `surroundings_of` gives it; None: it is not known.

        Raises:
            InputError: for no routes, two with one name, thresholds for another number of them, or
                a signal that does not exist.
        """
        found = choose(
            (lambda: self.estimate(question, around)),
            self._cuts(len(routes)),
            routes,
            load or Load(),
            self._counts(),
        )
        if around or found.estimate is None or self.promise is None or not self.promise.around:
            return found
        return replace(
            found,
            reason=f"{found.reason}; the promise is of questions with surroundings, and there are "
            "none here",
        )

    def _counts(self) -> Counts:
        """How surroundings count beside the promise, if there is one."""
        promise = self.promise
        if promise is None or promise.around:
            return "all"
        return "none" if promise.target is None else "upwards"

    def _cuts(self, routes: int) -> tuple[float, ...]:
        if routes < 2:
            return ()
        cuts = self.thresholds
        if cuts is None:
            found = self.promise.threshold if self.promise else self.model.gain
            cuts = (found,)
        if len(cuts) != routes - 1:
            raise InputError(
                f"Router.thresholds: {routes} routes take {routes - 1}, and there are {len(cuts)}"
            )
        return cuts

    # -- keeping ----------------------------------------------------------------------------------

    def to_json(self) -> str:
        """A readable JSON object; `from_json` gives an equal router."""
        data = cast("dict[str, object]", _FILE.dump_python(self, mode="json"))
        return json.dumps({"format": _FORMAT, **data}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Router:
        """The router in a JSON text.

        Raises:
            InputError: naming the first field that is missing, or cannot be used.
        """
        try:
            data: object = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"router: not JSON ({error})") from error
        table = dict(cast("Mapping[str, object]", data)) if isinstance(data, dict) else {}
        version = table.pop("format", None)
        if version != _FORMAT or isinstance(version, bool):
            raise InputError(
                f"router.format: expected {_FORMAT}, got {version!r}; Router.save writes one"
            )
        Model.from_data(table.get("model"))  # says more of what is wrong
        try:
            return _FILE.validate_json(json.dumps(table))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, ("router", *first["loc"])))
            raise InputError(f"{where}: {first['msg']}, got {first['input']!r:.80}") from error

    def save(self, path: str | Path) -> None:
        """Write the router to a file."""
        Path(path).write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Router:
        """Read a router from a file.

        Raises:
            InputError: when there is none, or it cannot be used.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise InputError(f"router {path}: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise InputError(f"router {path}: not a text file") from error
        return cls.from_json(text)


_FILE = TypeAdapter(Router)


def _share(target: float | str) -> float:
    """The share of a target, in figures or in words."""
    if not isinstance(target, str):
        return target
    said = _TARGET.fullmatch(target.strip())
    if said is None:
        raise InputError(
            f"target: expected a share, or 'quality >= 0.95 of heavy', got {target!r:.80}"
        )
    return float(said[1]) / (100 if said[2] else 1)


def _analyse(text: str) -> Analysis:
    return default_analyzer().analyse(text)


def _signals(prompts: Sequence[Asked]) -> Floats:
    if isinstance(prompts, str):
        raise InputError("prompts: expected a list of questions, got one text")
    if not prompts:
        return np.zeros((0, len(SIGNALS)))
    return np.stack(
        [signals_of(_analyse(one)) if isinstance(one, str) else signals_row(one) for one in prompts]
    )
