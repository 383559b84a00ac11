"""What is counted of a filter's or a selector's work, and intervals for it.

Counts are per case (a pool, a question, a contract), and intervals resample cases: two copies of
one clause are no two independent observations.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases import Case, Item

__all__ = [
    "Judgement",
    "accuracy",
    "best_precision",
    "bootstrap",
    "judge",
    "kept_share",
    "share",
    "stands_in",
]

RESAMPLES = 2000
Rows = NDArray[np.float64]


# -- intervals -------------------------------------------------------------------------------------


def bootstrap(
    counts: Sequence[Sequence[float]], statistic: Callable[[Rows], Rows]
) -> dict[str, float] | None:
    """A statistic of summed counts with its 95 % percentile interval over cases (Efron 1979).

    Args:
        counts: one row per case, shape `(cases, k)`.
        statistic: from sums, shape `(n, k)`, to figures, shape `(n,)`; NaN where undefined.

    Returns:
        value, low, high; None without a case in which the figure is defined.
    """
    rows = np.asarray(counts, dtype=float)
    if not rows.size:
        return None
    value = float(statistic(rows.sum(axis=0, keepdims=True))[0])
    if np.isnan(value):
        return None
    drawn = np.random.default_rng(0).multinomial(
        len(rows), np.full(len(rows), 1 / len(rows)), size=RESAMPLES
    )
    found = statistic(drawn.astype(float) @ rows)
    low, high = np.nanpercentile(found, [2.5, 97.5])
    return {"value": round(value, 3), "low": round(float(low), 3), "high": round(float(high), 3)}


def _ratio(sums: Rows) -> Rows:
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums[:, 0] / sums[:, 1]


def share(counts: Sequence[tuple[float, float]]) -> dict[str, float] | None:
    """How many of how many, over all cases: `(hits, of)` per case."""
    return bootstrap(counts, _ratio)


def _f1(sums: Rows) -> Rows:
    hits, false, missed = sums[:, 0], sums[:, 1], sums[:, 2]
    with np.errstate(invalid="ignore", divide="ignore"):
        return 2 * hits / (2 * hits + false + missed)


def accuracy(
    predicted: Sequence[bool], right: Sequence[bool]
) -> dict[str, dict[str, float] | None]:
    """Precision, recall and F1 of yes-or-no predictions, one per case."""
    counts = [
        (float(p and r), float(p and not r), float(r and not p))
        for p, r in zip(predicted, right, strict=True)
    ]
    return {
        "precision": share([(hit, hit + false) for hit, false, _ in counts]),
        "recall": share([(hit, hit + missed) for hit, _, missed in counts]),
        "F1": bootstrap(counts, _f1),
    }


def best_precision(
    scores: Sequence[float], right: Sequence[bool], *, recall: float
) -> dict[str, float] | None:
    """The best precision of any threshold that reaches this recall, and the threshold.

    The threshold is chosen on the same cases, in favour of whoever has a score to sweep. Cases with
    a score of 0 are never predicted.
    """
    needed = recall * sum(right)
    thresholds: list[tuple[float, float]] = []
    hits = 0
    ranked = sorted(zip(scores, right, strict=True), key=lambda pair: -pair[0])
    for place, (score, is_right) in enumerate(ranked, 1):
        hits += is_right
        last_of_its_score = place == len(ranked) or ranked[place][0] < score
        if score > 0 and last_of_its_score and hits >= needed:
            thresholds.append((hits / place, score))
    if not thresholds:
        return None
    _, threshold = max(thresholds)
    chosen = [score >= threshold for score in scores]
    figure = accuracy(chosen, right)["precision"]
    return None if figure is None else {**figure, "threshold": round(threshold, 4)}


# -- filters ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a filter did to one case."""

    gone: Mapping[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    """Copies removed, of how many, by kind."""
    kept: Mapping[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    """Versions kept, of how many, by kind."""
    originals: tuple[int, int]
    """Originals, each better-ranked than its copies, that stay unchanged; of how many."""
    said: tuple[int, int]
    """Originals of which the text or a copy of it stays; of how many."""
    answers: tuple[int, int]
    """Answers that still stand somewhere, of how many."""

    @property
    def right(self) -> bool:
        """Every copy is gone, and all that must stay stays, be it as a copy."""
        pairs = [*self.gone.values(), *self.kept.values(), self.said, self.answers]
        return all(hits == of for hits, of in pairs)


def judge(case: Case, stays: Mapping[int, str]) -> Judgement:
    """Compare what stays with what should.

    Of a text and its copies one should stay. Where the text itself goes, its best-ranked copy that
    stays takes its place: it is no copy left over, and the text is not lost. Which of them stays is
    counted apart, in `originals`.

    Args:
        case: what the filter was shown.
        stays: the index of each text that stays, and the text as it stays (it may be trimmed).
    """
    gone: dict[str, Counter[bool]] = {}
    kept: dict[str, Counter[bool]] = {}
    originals: Counter[bool] = Counter()
    said: Counter[bool] = Counter()
    instead = _stand_ins(case, stays)
    for index, item in enumerate(case.items):
        left = stays.get(index)
        if item.role == "copy":
            is_gone = _is_gone(item, left) or index in instead.values()
            gone.setdefault(item.kind, Counter())[is_gone] += 1
        elif item.role == "version":
            kept.setdefault(item.kind, Counter())[_is_kept(item, left) or index in instead] += 1
        elif item.role == "original":
            originals[left == item.text] += 1
            said[left == item.text or index in instead] += 1
    standing = " \n ".join(_plain(text) for text in stays.values())
    found = sum(_plain(answer) in standing for answer in case.answers)
    return Judgement(
        gone={kind: (count[True], count.total()) for kind, count in gone.items()},
        kept={kind: (count[True], count.total()) for kind, count in kept.items()},
        originals=(originals[True], originals.total()),
        said=(said[True], said.total()),
        answers=(found, len(case.answers)),
    )


def _stand_ins(case: Case, stays: Mapping[int, str]) -> dict[int, int]:
    """From each text that is gone to the best-ranked of its copies that stays."""
    gone = {
        item.text: index
        for index, item in enumerate(case.items)
        if item.role != "copy" and index not in stays
    }
    found: dict[int, int] = {}
    for index, item in enumerate(case.items):
        if item.role == "copy" and index in stays and item.of in gone:
            found.setdefault(gone[item.of], index)
    return found


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _runs(text: str, length: int) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.casefold())
    length = min(length, max(1, len(words)))
    return {tuple(words[at : at + length]) for at in range(len(words) - length + 1)}


def _is_gone(copy: Item, left: str | None) -> bool:
    """Not there, or cut to what its original does not say: under half of its five-word runs."""
    if left is None:
        return True
    if left == copy.text:
        return False
    runs = _runs(left, 5)
    return len(runs & _runs(copy.of, 5)) < len(runs) / 2 or not runs


def _is_kept(version: Item, left: str | None) -> bool:
    """There, and if it was trimmed, with every three-word run that only it has."""
    if left is None or left == version.text:
        return left is not None
    return _runs(version.text, 3) - _runs(version.of, 3) <= _runs(left, 3)


# -- selectors -------------------------------------------------------------------------------------


def kept_share(support: str, kept: str) -> float:
    """The share of a supporting text's five-word runs that stand in what was kept."""
    runs = _runs(support, 5)
    length = len(next(iter(runs), ()))  # shorter than five where the whole text is
    return len(runs & _runs(kept, length)) / len(runs) if runs else 1.0


def stands_in(support: str, kept: str) -> bool:
    """Whether nine tenths of a supporting text were kept; the rest may be where a chunk ends."""
    return kept_share(support, kept) >= 0.9
