"""Which questions need the heavy model: quality against the share of heavy calls.

    python benchmarks/routing.py [--data DIR] [--quick] [--output FILE]

The protocol of RouteLLM: thresholds at the deciles of a score. Nothing is fitted on a question that
it is measured on: subjects are left out one by one (of the prior), or questions at random (of a fit
on one's own). Intervals of left-out subjects resample subjects, because two questions of one
subject are no two independent observations; those of other protocols resample questions, or draws.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.data import FILES, folder_option, located
from benchmarks.report import environment, interval, write
from ctxguard import Guard, Policy
from ctxguard.errors import InputError
from ctxguard.logistic import Layer, fit_layer
from ctxguard.reliability import reliability_of
from ctxguard.routing import Columns, Route, Router, Trace, evaluate, read_traces, surroundings_of
from ctxguard.routing.calibration import promise_budget, promise_quality
from ctxguard.routing.features import SIGNALS, signals_of
from ctxguard.routing.fitting import fit_model
from ctxguard.routing.labels import Labels, labels_in, labels_of
from ctxguard.routing.model import Model
from ctxguard.text.analysis import Analysis, default_analyzer
from ctxguard.types import Message
from scripts.fit_routing import understood

__all__ = ["Questions", "measure", "questions_of"]

RESULTS = Path(__file__).parent / "results" / "routing.json"
DATA = "routing/mmlu_even_subjects"
COLUMNS = Columns(light_ok="mixtral_correct", heavy_ok="gpt4_correct", group="subject")
RESAMPLES, DRAWS, RESAMPLINGS = 1000, 60, 200
QUICK = 8
"""How many times fewer questions, resamples and draws."""
OWN, FOLDS = 300, 5
MORE = 1000
EXPLORED = 0.1
ONE_SIDED = "ctxguard, one label of each, a tenth explored"
LEAST = "nothing: the order known, level and slope from the labels"
CONSTANT = "nothing: one probability for all, the share in the labels"
CHUNKS, TURNS = 50, 10
ODD = ("moral_scenarios", "high_school_mathematics")
"""One is a seventh of all questions, in one form; in the other, the heavy model is right in 3 % of
the cases, fewer than by chance. Either could carry a figure, so there is one without both."""
Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """Labelled questions and their signals."""

    signals: Numbers
    light_ok: NDArray[np.bool_]
    heavy_ok: NDArray[np.bool_]
    groups: NDArray[np.str_]

    def at(self, places: NDArray[Any]) -> Questions:
        """Some of them, by number or by mask."""
        return Questions(
            signals=self.signals[places],
            light_ok=self.light_ok[places],
            heavy_ok=self.heavy_ok[places],
            groups=self.groups[places],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a model that has not seen them says of questions."""

    gains: Numbers
    fails: Numbers

    def at(self, places: NDArray[Any]) -> Judged:
        """Some of them."""
        return Judged(gains=self.gains[places], fails=self.fails[places])


def questions_of(traces: Sequence[Trace]) -> Questions:
    """Traces with their signals."""
    analyse, labels = default_analyzer().analyse, labels_of(traces)
    return Questions(
        signals=np.stack([signals_of(analyse(trace.prompt)) for trace in traces]),
        light_ok=labels.light > 0,
        heavy_ok=labels.heavy > 0,
        groups=np.array([trace.group for trace in traces]),
    )


def fitted(some: Questions, prior: Model | None = None, *, by_group: bool = True) -> Model:
    """A model of some questions."""
    groups = some.groups.tolist() if by_group else None
    labels = labels_in(some.light_ok.tolist(), some.heavy_ok.tolist())
    return fit_model(some.signals, labels, prior=prior, groups=groups)


def as_shipped(some: Questions) -> Model:
    """A prior of some questions, as the one that ships is fitted."""
    labels = labels_in(some.light_ok.tolist(), some.heavy_ok.tolist())
    return fitted(some.at(understood(labels, some.groups)))


def judged(model: Model, some: Questions) -> Judged:
    """What a model says of questions."""
    return Judged(gains=model.gains(some.signals), fails=model.light_fails(some.signals))


def ece(fails: Numbers, some: Questions) -> float:
    """Expected calibration error of P(light fails)."""
    return reliability_of(fails.tolist(), (~some.light_ok).tolist()).ece


def figures(scores: Numbers, some: Questions, fails: Numbers | None = None) -> dict[str, float]:
    """The figures of one order of questions."""
    found = evaluate(scores, some.light_ok, some.heavy_ok)
    plain = {"APGR": found.apgr, "CPT50": found.cpt50}
    return plain if fails is None else {**plain, "ECE": ece(fails, some)}


def summary(whole: Mapping[str, float], drawn: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Figures with 95 % of what they were in draws."""
    ends = {name: np.quantile([one[name] for one in drawn], [0.025, 0.975]) for name in whole}
    return {
        name: {
            "value": round(value, 3),
            "low": round(float(ends[name][0]), 3),
            "high": round(float(ends[name][1]), 3),
        }
        for name, value in whole.items()
    }


def systems(found: Judged, some: Questions) -> dict[str, tuple[Numbers, Numbers | None]]:
    """Orders of questions to compare; the second of a pair is P(light fails)."""
    return {
        "ctxguard": (found.gains, found.fails),
        "P(light fails) alone": (found.fails, None),
        "words of the question": (some.signals[:, SIGNALS.index("words")], None),
        "a coin": (np.random.default_rng(0).random(len(found.gains)), None),
    }


def resampled(found: Judged, some: Questions, resamples: int, *, by_group: bool) -> dict[str, Any]:
    """Each system with a bootstrap interval."""
    rng = np.random.default_rng(0)
    count = len(some.groups)
    names = some.groups if by_group else np.arange(count).astype(str)
    members = [np.flatnonzero(names == name) for name in np.unique(names)]
    draws = [
        np.concatenate([members[one] for one in rng.integers(len(members), size=len(members))])
        for _ in range(resamples)
    ]
    result: dict[str, Any] = {}
    for name, (scores, fails) in systems(found, some).items():
        drawn = [
            figures(scores[at], some.at(at), None if fails is None else fails[at]) for at in draws
        ]
        result[name] = summary(figures(scores, some, fails), drawn)
    return result


def left_out(some: Questions) -> Judged:
    """Each subject by a model of the others."""
    gains, fails = np.zeros(len(some.groups)), np.zeros(len(some.groups))
    for group in np.unique(some.groups):
        here = some.groups == group
        found = judged(as_shipped(some.at(~here)), some.at(here))
        gains[here], fails[here] = found.gains, found.fails
    return Judged(gains=gains, fails=fails)


def in_folds(some: Questions) -> Judged:
    """Each fifth of the questions by a model of the others."""
    gains, fails = np.zeros(len(some.groups)), np.zeros(len(some.groups))
    fold = np.random.default_rng(0).permutation(len(gains)) % FOLDS
    for number in range(FOLDS):
        here = fold == number
        found = judged(fitted(some.at(~here), by_group=False), some.at(here))
        gains[here], fails[here] = found.gains, found.fails
    return Judged(gains=gains, fails=fails)


def own_labels(some: Questions, draws: int, most: int) -> dict[str, Any]:
    """A prior of half of the subjects, a few labels of the others, measured on their rest."""
    rng, explored = np.random.default_rng(0), np.random.default_rng(1)
    drawn: dict[str, list[dict[str, float]]] = {}
    subjects = np.unique(some.groups)
    for _ in range(draws):
        is_prior = np.isin(some.groups, rng.permutation(subjects)[: len(subjects) // 2])
        prior = as_shipped(some.at(is_prior))
        rest = rng.permutation(np.flatnonzero(~is_prior))
        count = min(most, len(rest) // 2)
        own, test = some.at(rest[:count]), some.at(rest[count:])
        models = {
            "ctxguard": fitted(own, prior, by_group=False),
            ONE_SIDED: one_sided(own, prior, explored),
            "the prior alone": prior,
            "the labels alone": fitted(own, by_group=False),
        }
        for name, model in models.items():
            found = judged(model, test)
            drawn.setdefault(name, []).append(figures(found.gains, test, found.fails))
        least = least_ece(models["ctxguard"], own, test, explored)
        share = np.full(len(test.groups), 1 - own.light_ok.mean())
        drawn.setdefault(LEAST, []).append({"ECE": least})
        drawn.setdefault(CONSTANT, []).append({"ECE": ece(share, test)})
    return {
        name: summary(
            {figure: float(np.mean([one[figure] for one in found])) for figure in found[0]}, found
        )
        for name, found in drawn.items()
    }


def one_sided(own: Questions, prior: Model, rng: np.random.Generator) -> Model:
    """A fit of what a log has: half of the questions go heavy by the prior, a tenth are turned."""
    gains = prior.gains(own.signals)
    turned = rng.random(len(gains)) < EXPLORED
    heavy = (gains >= np.median(gains)) != turned
    labels = Labels(
        light=np.where(heavy, np.nan, own.light_ok),
        heavy=np.where(heavy, own.heavy_ok, np.nan),
        taken_with=np.where(turned, EXPLORED, 1 - EXPLORED),
    )
    return fit_model(own.signals, labels, prior=prior)


def least_ece(model: Model, own: Questions, test: Questions, rng: np.random.Generator) -> float:
    """The error of who knows the order of all questions, and learns level and slope from labels.

    What a model says is taken for the truth, and labels are drawn from it.
    """
    p, told = model.light_fails(own.signals), model.light_fails(test.signals)
    layer = fit_layer(
        ("odds",),
        np.log(p / (1 - p))[:, None],
        (rng.random(len(p)) < p).astype(np.float64),
        strength=1,
        prior=Layer(names=("odds",), weights=(1.0,), intercept=0.0),
    )
    known = layer.probability(np.log(told / (1 - told))[:, None])
    return reliability_of(known.tolist(), (rng.random(len(told)) < told).tolist()).ece


def promises(found: Judged, some: Questions, resamplings: int) -> dict[str, Any]:
    """How often a promise is missed, all questions being the truth that samples are drawn from."""

    def quality(target: float) -> Callable[[NDArray[Any], float], float]:
        def drawn(at: NDArray[Any], confidence: float) -> float:
            part = some.at(at)
            return promise_quality(
                found.gains[at], part.light_ok, part.heavy_ok, target=target, confidence=confidence
            ).threshold

        return drawn

    def budget(at: NDArray[Any], confidence: float) -> float:
        part = some.at(at)
        return promise_budget(
            found.gains[at], part.light_ok, part.heavy_ok, budget=0.3, confidence=confidence
        ).threshold

    def keeps(target: float) -> Callable[[NDArray[np.bool_]], bool]:
        least = target * some.heavy_ok.mean()
        return lambda heavy: bool(np.where(heavy, some.heavy_ok, some.light_ok).mean() >= least)

    def within(heavy: NDArray[np.bool_]) -> bool:
        return bool(heavy.mean() <= 0.3)

    said = "quality at least {:.0%} of all heavy"
    cases = (
        (said.format(0.9), quality(0.9), keeps(0.9), 300, 0.9),
        (said.format(0.95), quality(0.95), keeps(0.95), 1000, 0.9),
        (said.format(0.95), quality(0.95), keeps(0.95), 1000, 0.95),
        ("at most 30% heavy calls", budget, within, 300, 0.9),
    )
    result: dict[str, Any] = {}
    for what, promise, is_kept, count, confidence in cases:
        rng, missed, refused, shares = np.random.default_rng(0), 0, 0, list[float]()
        for _ in range(resamplings):
            at = rng.integers(len(found.gains), size=count)
            try:
                heavy = found.gains >= promise(at, confidence)
            except InputError:
                refused += 1
                continue
            missed += not is_kept(heavy)
            shares.append(float(heavy.mean()))
        result[f"{what}, confidence {confidence:.0%}"] = {
            "traces": count,
            "confidence": confidence,
            "resamplings": resamplings,
            "missed": missed / resamplings,
            "refused": refused / resamplings,
            "heavy calls": float(np.mean(shares)) if shares else 1.0,
        }
    return result


def surroundings(traces: Sequence[Trace]) -> Callable[[], dict[str, float]]:
    """What reads the surroundings of a guarded retrieval, and of a conversation.

    A quarter of the tokens has room, so that all stages have decided something.
    """
    texts = [trace.prompt for trace in traces[:CHUNKS]]
    came = [{"text": text, "score": 1 / (1 + rank)} for rank, text in enumerate(texts)]
    room = sum(default_analyzer().count(text) for text in texts) // 4
    prepared = Guard(Policy(budget=max(100, room))).prepare(texts[0], came)
    ledger, messages = prepared.ledger, list[Message]()
    for text in texts[:TURNS]:
        messages += [Message(role="user", text=text), Message(role="assistant", text=text)]

    def read() -> dict[str, float]:
        return surroundings_of(
            prepared.chunks, ledger.decisions, came=ledger.chunks, messages=messages
        )

    return read


def cost(traces: Sequence[Trace], runs: int) -> dict[str, Any]:
    """Microseconds of a decision, and of reading what it goes by."""
    router, tokenizer = Router(), default_analyzer()
    routes = (Route(name="light", model="gpt-4o-mini"), Route(name="heavy", model="gpt-4o"))
    decisions: list[float] = []
    readings: list[float] = []
    read = surroundings(traces)
    around, beside = list[float](), list[float]()
    for trace in traces[:: max(1, len(traces) // runs)]:
        known = tokenizer.analyse(trace.prompt)
        fresh = Analysis(known.text, known.ids)
        assert fresh.sentences is not None  # noqa: S101 -- reading them is the analysis
        readings.append(_microseconds(lambda fresh=fresh: signals_of(fresh)))
        decisions.append(_microseconds(lambda fresh=fresh: router.decide(fresh, routes)))
        around.append(_microseconds(read))
        seen = read()
        beside.append(
            _microseconds(lambda fresh=fresh, seen=seen: router.decide(fresh, routes, around=seen))
        )
    return {
        "reading the signals of a question": interval(readings),
        "deciding": interval(decisions),
        f"reading surroundings: {CHUNKS} chunks, {TURNS} turns": interval(around),
        "deciding with surroundings": interval(beside),
    }


def _microseconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1e6


def measure(traces: Sequence[Trace], *, quick: bool = False) -> dict[str, Any]:
    """All protocols."""
    some = questions_of(traces)
    by = QUICK if quick else 1
    unseen, folded = left_out(some), in_folds(some)
    plain = ~np.isin(some.groups, ODD)
    return {
        "protocols": {
            "subjects left out": resampled(unseen, some, RESAMPLES // by, by_group=True),
            "the same, without two odd subjects": resampled(
                unseen.at(plain), some.at(plain), RESAMPLES // by, by_group=True
            ),
            f"{OWN} labels of one's own": own_labels(some, DRAWS // by, OWN),
            f"{MORE:,} labels of one's own": own_labels(some, DRAWS // by, MORE),
            "known subjects, 5-fold": resampled(folded, some, RESAMPLES // by, by_group=False),
        },
        "promises": promises(unseen, some, RESAMPLINGS // by),
        "cost": cost(traces, 500 // by),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description="Which questions need the heavy model.")
    folder_option(parser)
    parser.add_argument("--quick", action="store_true", help="few questions and draws")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    traces = read_traces(located(options.data, DATA, ".csv.gz"), COLUMNS)
    traces = traces[:: QUICK if options.quick else 1]
    result = {
        "what": "quality against the share of heavy calls, ten thresholds; 95 % intervals",
        "data": {DATA: FILES[DATA]},
        "environment": environment(),
        "questions": len(traces),
        **measure(traces, quick=options.quick),
    }
    write(options.output, result, quiet=True)


if __name__ == "__main__":
    main()
