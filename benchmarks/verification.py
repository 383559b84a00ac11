"""Right and wrong answers beside their evidence: what the verifier says of them.

    python benchmarks/verification.py [--data DIR] [--quick] [--output FILE]

Contracts and claims are split by the hash of their group: what is chosen (the cut) is chosen on one
half and measured on the other. SummEdits is measured leave-one-domain-out: the cut for a domain is
the best one of the other three. The risk of an answer is one minus the verifier's score. Intervals
resample groups: two answers about one text are no two independent observations.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.data import FILES, folder_option, read
from benchmarks.gate import gated
from benchmarks.report import environment, interval, write
from benchmarks.texts import encoding
from ctxguard.text.facts import extract_facts
from ctxguard.text.terms import term_of
from ctxguard.text.words import words_of
from ctxguard.verification import Verifier

__all__ = ["Answered", "auroc", "balanced", "ece", "measure", "recall_at"]

RESULTS = Path(__file__).parent / "results" / "verification.json"
RESAMPLES = 500
FALSE_ALARMS = 0.02
QUICK = 300
"""Rows of each set, about."""
TOKENS, WORDS = 10_000, 300
"""Of the evidence and of the answer whose cost is measured."""
Numbers = NDArray[np.float64]
System = Callable[[str, str], float]
"""From an answer and its evidence to the risk that it is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """Answers with what is known of them and what a system says."""

    groups: NDArray[np.int64]
    wrong: NDArray[np.bool_]
    kinds: NDArray[np.str_]
    """Of contracts the kind of fact and edit, of summaries the domain."""
    risk: Numbers

    def at(self, places: NDArray[Any]) -> Answered:
        """Some of them, by number or by mask."""
        return Answered(
            groups=self.groups[places],
            wrong=self.wrong[places],
            kinds=self.kinds[places],
            risk=self.risk[places],
        )


# -- systems ---------------------------------------------------------------------------------------


def ctxguard(answer: str, evidence: str) -> float:
    """One minus the verifier's score, as it comes."""
    return 1 - Verifier()(answer, [evidence] if evidence else []).score


def new_words(answer: str, evidence: str) -> float:
    """The share of the answer's words that the evidence does not have."""
    ours, theirs = (
        {term for key in words_of(text).keys if (term := term_of(key))}
        for text in (answer, evidence)
    )
    return len(ours - theirs) / max(1, len(ours))


def new_figures(answer: str, evidence: str) -> float:
    """The share of the answer's figures and names that the evidence does not have, by value."""
    ours, theirs = (
        {(fact.kind, fact.value) for fact in extract_facts(text) if fact.kind != "modality"}
        for text in (answer, evidence)
    )
    return len(ours - theirs) / max(1, len(ours))


SYSTEMS: Mapping[str, System] = {
    "ctxguard": ctxguard,
    "words that are new": new_words,
    "figures and names that are new": new_figures,
}

# -- what is counted -------------------------------------------------------------------------------


def auroc(found: Answered) -> float:
    """The area under the ROC curve: that a wrong answer has the higher risk; a tie counts half."""
    _, places, counts = np.unique(found.risk, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    wrong = int(found.wrong.sum())
    right = len(found.wrong) - wrong
    if not wrong or not right:
        return float("nan")
    return float((ranks[found.wrong].sum() - wrong * (wrong + 1) / 2) / (wrong * right))


def cut_at(right: Numbers, rate: float) -> float:
    """The risk above which at most `rate` of the right answers are."""
    ordered = np.sort(right)[::-1]
    return float(ordered[min(int(rate * ordered.size), ordered.size - 1)]) if ordered.size else 1.0


def recall_at(found: Answered, kind: str, rate: float = FALSE_ALARMS) -> float:
    """The share of the wrong answers of a kind above the cut of the right ones of the same fact."""
    fact = kind.split(maxsplit=1)[0]
    right = found.risk[~found.wrong & (found.kinds == fact)]
    wrong = found.risk[found.wrong & (found.kinds == kind)]
    return float((wrong > cut_at(right, rate)).mean()) if wrong.size and right.size else np.nan


def balanced(found: Answered, cut: float) -> float:
    """The mean of the shares of wrong and of right answers that a cut tells."""
    over = found.risk > cut
    if found.wrong.all() or not found.wrong.any():
        return float("nan")
    return float((over[found.wrong].mean() + (~over[~found.wrong]).mean()) / 2)


def best_cut(found: Answered) -> float:
    """The cut with the best balanced accuracy, among 200 quantiles of the risks."""
    cuts = np.unique(np.quantile(found.risk, np.linspace(0, 1, 201)))
    return max(cuts.tolist(), key=lambda cut: balanced(found, cut))


def ece(found: Answered, bins: int = 10) -> float:
    """Expected calibration error of the risk as a probability, in bins of equal width."""
    bin_of = np.minimum((found.risk * bins).astype(int), bins - 1)
    gaps = [
        abs(float(found.risk[here].mean() - found.wrong[here].mean())) * float(here.mean())
        for number in range(bins)
        if (here := bin_of == number).any()
    ]
    return sum(gaps)


def with_interval(
    found: Answered, statistic: Callable[[Answered], float], resamples: int
) -> dict[str, float]:
    """A figure with its 95 % bootstrap interval over groups (Efron 1979), fixed seed."""
    rng = np.random.default_rng(0)
    places = [np.flatnonzero(found.groups == group) for group in np.unique(found.groups)]
    drawn = [
        statistic(found.at(np.concatenate([places[one] for one in chosen])))
        for chosen in rng.integers(0, len(places), (resamples, len(places)))
    ]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    value = statistic(found)
    return {"value": round(value, 3), "low": round(float(low), 3), "high": round(float(high), 3)}


# -- the sets --------------------------------------------------------------------------------------


def half_of(group: str) -> int:
    """0 for tuning, 1 for measuring."""
    return hashlib.sha1(group.encode(), usedforsecurity=False).digest()[0] % 2


def answered(rows: Sequence[Mapping[str, Any]], system: System) -> Answered:
    """What a system says of every row."""
    names = [str(row.get("group", f"{row.get('domain')} {row.get('id')}")) for row in rows]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return Answered(
        groups=np.asarray([numbers[name] for name in names]),
        wrong=np.asarray([bool(row.get("wrong", not row.get("grounded"))) for row in rows]),
        kinds=np.asarray([str(row.get("kind", row.get("domain", ""))) for row in rows]),
        risk=np.asarray(
            [system(row.get("claim") or row["answer"], row["evidence"]) for row in rows]
        ),
    )


def contracts(found: Answered, tuning: Answered, *, resamples: int) -> dict[str, Any]:
    """Recall by kind of edit at 2 % false alarms, and at one cut for all kinds."""
    kinds = sorted({str(kind) for kind in found.kinds[found.wrong]})
    cut = cut_at(tuning.risk[~tuning.wrong], FALSE_ALARMS)

    def mean(some: Answered) -> float:
        return float(np.nanmean([recall_at(some, kind) for kind in kinds]))

    def over(some: Answered, *, wrong: bool) -> float:
        return float((some.risk[some.wrong == wrong] > cut).mean())

    return {
        "recall": {
            kind: with_interval(found, lambda some, kind=kind: recall_at(some, kind), resamples)
            for kind in kinds
        },
        "mean recall": with_interval(found, mean, resamples),
        "one cut: recall": with_interval(found, lambda some: over(some, wrong=True), resamples),
        "one cut: false alarms": with_interval(
            found, lambda some: over(some, wrong=False), resamples
        ),
    }


def claims(found: Answered, tuning: Answered, *, resamples: int) -> dict[str, Any]:
    """How well the risk ranks right and wrong answers."""
    cut = best_cut(tuning)
    return {
        "AUROC": with_interval(found, auroc, resamples),
        "balanced accuracy": with_interval(found, lambda some: balanced(some, cut), resamples),
        "false alarms at .5": with_interval(
            found, lambda some: float((some.risk[~some.wrong] > 0.5).mean()), resamples
        ),
    }


def summaries(found: Answered, resamples: int) -> dict[str, Any]:
    """Each domain at the cut that is best in the others."""
    domains = sorted({str(domain) for domain in found.kinds})
    cuts = {domain: best_cut(found.at(found.kinds != domain)) for domain in domains}

    def mean(some: Answered) -> float:
        return float(np.mean([balanced(some.at(some.kinds == one), cuts[one]) for one in domains]))

    by_domain = {
        domain: {
            "balanced accuracy": with_interval(
                found.at(found.kinds == domain),
                lambda some, cut=cuts[domain]: balanced(some, cut),
                resamples,
            ),
            "AUROC": with_interval(found.at(found.kinds == domain), auroc, resamples),
        }
        for domain in domains
    }
    return {
        "domains": by_domain,
        "balanced accuracy": with_interval(found, mean, resamples),
        "ECE": with_interval(found, ece, resamples),
    }


def measure(
    rows: Mapping[str, Sequence[Mapping[str, Any]]], system: System, resamples: int = RESAMPLES
) -> dict[str, Any]:
    """One system on the three sets."""
    halves = {
        name: (
            answered([row for row in rows[name] if half_of(row["group"]) == 1], system),
            answered([row for row in rows[name] if half_of(row["group"]) == 0], system),
        )
        for name in ("contracts", "claims")
    }
    return {
        "contracts": contracts(*halves["contracts"], resamples=resamples),
        "claims": claims(*halves["claims"], resamples=resamples),
        "SummEdits": summaries(answered(rows["summedits"], system), resamples),
    }


# -- cost ------------------------------------------------------------------------------------------


def cost(rows: Sequence[Mapping[str, Any]], runs: int) -> dict[str, Any]:
    """An answer of 300 words against 10,000 tokens of evidence, in passes of tiktoken over it."""
    table = encoding()
    evidence = evidence_of(rows)
    size = sum(len(table.encode_ordinary(text)) for text in evidence)
    said = [row["claim"] for row in rows if row["evidence"] in evidence]
    said = [text for pair in zip(said[::2], evidence, strict=False) for text in pair]
    answer = " ".join(" ".join(said).split()[:WORDS])
    verifier = Verifier()
    ratios = [
        _seconds(lambda: verifier(answer, evidence))
        / _seconds(lambda: [table.encode_ordinary(text) for text in evidence])
        for _ in range(runs)
    ]
    return {"tokens": size, "words": len(answer.split()), "ratio": interval(ratios)}


def evidence_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The clauses of about 10,000 tokens."""
    table = encoding()
    evidence: list[str] = []
    size = 0
    for row in rows:
        if size < TOKENS and row["kind"] == "statement" and row["evidence"] not in evidence:
            evidence.append(row["evidence"])
            size += len(table.encode_ordinary(row["evidence"]))
    return evidence


def stream_cost(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a gate adds to the time to the first sentence, against the same evidence."""
    evidence = evidence_of(rows)
    said = [row["claim"] for row in rows if row["evidence"] in evidence and not row["wrong"]]
    pairs = [" ".join(pair) for pair in pairwise(said)]
    return gated(list(dict.fromkeys(pairs)), evidence)


def _seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description="Right and wrong answers beside their evidence.")
    folder_option(parser)
    parser.add_argument("--quick", action="store_true", help="few rows of each set")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    names = ("contracts", "claims", "summedits")
    rows = {name: read(options.data, f"verification/{name}") for name in names}
    step = {name: max(1, len(rows[name]) // QUICK) if options.quick else 1 for name in names}
    rows = {name: rows[name][:: step[name]] for name in names}
    result = {
        "what": "right and wrong answers beside their evidence; 95 % bootstrap intervals over "
        "groups, on the half of the groups that nothing was chosen on",
        "data": {name: text for name, text in FILES.items() if name.startswith("verification")},
        "environment": environment(),
        "rows": {name: len(found) for name, found in rows.items()},
        "systems": {
            name: measure(rows, system, 20 if options.quick else RESAMPLES)
            for name, system in SYSTEMS.items()
        },
        "cost": cost(rows["contracts"], 3 if options.quick else 25),
        "gate": stream_cost(rows["contracts"]),
    }
    write(options.output, result, quiet=True)


if __name__ == "__main__":
    main()
