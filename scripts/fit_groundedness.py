"""Write ctxguard/verification/groundedness.npz: the weights of learned groundedness.

    pip install "torch==2.13.0"
    python scripts/fit_groundedness.py --data DIR [--cache FILE] [--write]

Two fits. What two words are to each other (synonym, opposite, sibling, none) is learned from
WordNet by their static vectors. Then a network learns of each word of a claim whether it lacks
support: from words that an editor changed, and from whole answers at once (a soft maximum over
words). Data: SummEdits (Laban et al. 2023, Apache-2.0; its consistent summaries also serve as
evidence for one another), RAMDocs (MIT), CUAD v1 (CC BY 4.0). `DIR` holds
{summedits,claims,contracts}.jsonl.gz. Takes about five minutes on one core.

Figures are of SummEdits domains that were left out, with the cut and the calibration from the other
three, and of the half of the claims and contracts that was not learned from; intervals are 95 %
bootstraps over documents. What ships is fitted on the halves of claims and contracts and on all
four domains.
"""

from __future__ import annotations

import argparse
import pickle
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from groundedness_data import Example, in_first_half, read_examples, read_variants  # noqa: E402 -- of this clone
from groundedness_relations import fit_relations  # noqa: E402 -- of this clone
from groundedness_training import (  # noqa: E402 -- of this clone
    Arrays,
    Judged,
    Settings,
    calibrate,
    fit_network,
    merge,
    stack,
)

from ctxguard.reliability import reliability_of  # noqa: E402 -- of this clone
from ctxguard.text.words import words_of  # noqa: E402 -- of this clone
from ctxguard.verification._network import Network  # noqa: E402 -- of this clone
from ctxguard.verification._relations import Relations  # noqa: E402 -- of this clone
from ctxguard.verification._wordsigns import Signs  # noqa: E402 -- of this clone

OUT = ROOT / "ctxguard" / "verification" / "groundedness.npz"
FACTS = 1.0
"""What claims and contracts count in the calibration, beside a domain of summaries."""
DOMAINS = ("news", "samsum", "sales_call", "ectsum")


def judged(network: Network, example: Example) -> Judged:
    """The claims of an answer by a network that has not been calibrated."""
    signs = Signs(
        words=words_of(""),
        rows=example.rows.astype(np.float32),
        vectors=example.vectors.astype(np.float32),
        nearest=example.nearest.astype(np.float32),
        passage=-1,
    )
    words, told = network.word_odds(signs), signs.telling
    numbers = range(len(example.against))
    odds = np.array([network.claim_odds(words[told & (example.claim == n)]) for n in numbers])
    columns = np.stack([odds, example.against, example.against * example.share], axis=1)
    return Judged(columns=columns, wrong=example.wrong)


def risks(answers: Sequence[Judged], fit: np.ndarray) -> np.ndarray:
    """P(not supported) of the worst claim of each answer."""
    worst = np.array([(one.columns @ fit[:3]).max() + fit[3] for one in answers])
    return 1 / (1 + np.exp(-worst))


# -- figures --------------------------------------------------------------------------------------


def auroc(scores: np.ndarray, wrong: np.ndarray) -> float:
    """P(a wrong answer scores higher than a right one), ties half."""
    values, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    bad = int(wrong.sum())
    return float((ranks[wrong].sum() - bad * (bad + 1) / 2) / (bad * (len(values[places]) - bad)))


def balanced(flags: np.ndarray, wrong: np.ndarray) -> float:
    """The mean of both recalls."""
    return float((flags[wrong].mean() + (~flags[~wrong]).mean()) / 2)


def best_cut(scores: np.ndarray, wrong: np.ndarray) -> float:
    """The cut of the best balanced accuracy."""
    cuts = np.quantile(scores, np.linspace(0.02, 0.98, 97))
    return float(max(cuts, key=lambda cut: balanced(scores > cut, wrong)))


Figure = Callable[[np.ndarray, np.ndarray], float]


def interval(figure: Figure, said: np.ndarray, wrong: np.ndarray, groups: Sequence[str]) -> str:
    """A figure with its 95 % interval over groups."""
    members = [np.flatnonzero(np.array(groups) == name) for name in sorted(set(groups))]
    rng = np.random.default_rng(0)
    drawn: list[float] = []
    for _ in range(500):
        at = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
        if 0 < wrong[at].sum() < len(at):
            drawn.append(figure(said[at], wrong[at]))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{figure(said, wrong):.3f} [{low:.3f}, {high:.3f}]"


class Study:
    """The examples, and networks that have not seen some of them."""

    def __init__(self, examples: list[Example], settings: Settings) -> None:
        self.examples, self.settings = examples, settings
        self.batch = stack(examples, settings.edited)
        self.domains = np.array([one.domain for one in examples])
        self.variant = np.array([one.is_variant for one in examples])
        self.wrong = np.array([one.wrong for one in examples])
        self.first = np.array([in_first_half(one.group) for one in examples])
        self.folds = np.array([in_first_half(f"fold {one.group}") for one in examples])
        self.summaries = np.isin(self.domains, DOMAINS)

    def fit(self, learn: np.ndarray) -> Arrays:
        """The arrays of networks that learned from some examples, merged."""
        numbers = np.flatnonzero(learn)
        seeds = range(self.settings.networks)
        return merge([fit_network(self.batch, numbers, one, self.settings) for one in seeds])

    def judge(self, arrays: Arrays, ask: np.ndarray) -> list[Judged]:
        """Some answers, by a network."""
        network = Network(**arrays, findings=np.zeros(2, dtype=np.float32))
        return [judged(network, self.examples[i]) for i in np.flatnonzero(ask)]

    def left_out(self) -> dict[str, list[Judged]]:
        """The answers of each domain, and of the facts, by networks that never saw them.

        Of claims and contracts, the half that is learned from, in two folds.
        """
        found: dict[str, list[Judged]] = {}
        for domain in DOMAINS:
            away = self.domains == domain
            learn = (self.summaries & ~away) | (~self.summaries & self.first)
            found[domain] = self.judge(self.fit(learn), away & ~self.variant)
        found["facts"] = []
        for fold in (True, False):
            away = ~self.summaries & self.first & (self.folds == fold)
            arrays = self.fit(self.summaries | (~self.summaries & self.first & ~away))
            found["facts"] += self.judge(arrays, away)
        return found

    def truth(self, domain: str) -> np.ndarray:
        """Which answers of a domain are wrong."""
        return self.wrong[(self.domains == domain) & ~self.variant]

    def groups(self, domain: str) -> list[str]:
        """The documents of the answers of a domain."""
        kept = np.flatnonzero((self.domains == domain) & ~self.variant)
        return [self.examples[i].group for i in kept]

    @staticmethod
    def calibration(held: dict[str, list[Judged]], domains: Sequence[str]) -> np.ndarray:
        """Weights and intercept from answers of some domains, and of facts, that were left out."""
        parts = [*(held[name] for name in domains), held["facts"]]
        return calibrate(parts, [*(1.0 for _ in domains), FACTS])

    def report(self, held: dict[str, list[Judged]]) -> None:
        """Print the figures of domains that were left out, then of all of them together."""
        means: list[float] = []
        everywhere: list[tuple[np.ndarray, np.ndarray]] = []
        for domain in DOMAINS:
            others = [name for name in DOMAINS if name != domain]
            fit = self.calibration(held, others)
            seen = np.concatenate([risks(held[name], fit) for name in others])
            cut = best_cut(seen, np.concatenate([self.truth(name) for name in others]))
            risk, wrong, groups = risks(held[domain], fit), self.truth(domain), self.groups(domain)
            print(
                f"{domain}: AUROC {interval(auroc, risk, wrong, groups)}, "
                f"balanced accuracy {interval(balanced, risk > cut, wrong, groups)}, "
                f"ECE {reliability_of(risk.tolist(), wrong.tolist()).ece:.3f}",
                flush=True,
            )
            means.append(balanced(risk > cut, wrong))
            everywhere.append((risk, wrong))
        risk, wrong = (np.concatenate(part) for part in zip(*everywhere, strict=True))
        print(f"mean balanced accuracy {np.mean(means):.3f}")
        print(f"all together: ECE {reliability_of(risk.tolist(), wrong.tolist()).ece:.3f}")

    def report_halves(self, arrays: Arrays, fit: np.ndarray) -> None:
        """Print the figures of the halves of claims and contracts that were not learned from."""
        for name in ("claims", "contracts"):
            ask = (self.domains == name) & ~self.first
            risk = risks(self.judge(arrays, ask), fit)
            groups = [self.examples[i].group for i in np.flatnonzero(ask)]
            wrong = self.wrong[ask]
            print(
                f"{name}: AUROC {interval(auroc, risk, wrong, groups)}, "
                f"ECE {reliability_of(risk.tolist(), wrong.tolist()).ece:.3f}",
                flush=True,
            )


def main() -> None:
    """Fit, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="keeps what is read of the data")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.cache and options.cache.exists():
        relations, examples = pickle.loads(options.cache.read_bytes())  # noqa: S301 -- of this script's own making
    else:
        relations = fit_relations()
        examples = [
            *read_examples(options.data, relations),
            *read_variants(options.data, relations),
        ]
        if options.cache:
            options.cache.write_bytes(pickle.dumps((relations, examples)))
    study = Study(examples, Settings())
    held = study.left_out()
    arrays = study.fit(study.summaries | study.first)
    fit = study.calibration(held, DOMAINS)
    if options.write:
        write(arrays, relations, fit)
    study.report(held)
    study.report_halves(arrays, fit)


def write(arrays: Arrays, relations: Relations, fit: np.ndarray) -> None:
    """Store the arrays; the calibration goes into the pooling, and beside it."""
    bias, slope, offset = arrays["pooling"].tolist()
    arrays = arrays | {
        "pooling": np.array([bias, slope * fit[0], offset * fit[0] + fit[3]]),
        "findings": fit[1:3],
        "projection": relations.projection,
        "relations": relations.weights,
        "relations_bias": relations.bias,
    }
    stored: dict[str, Any] = {name: array.astype(np.float16) for name, array in arrays.items()}
    np.savez_compressed(OUT, **stored)
    print(f"{OUT.name}: {OUT.stat().st_size:,} bytes; findings weigh {fit[1:3].round(2).tolist()}")


if __name__ == "__main__":
    main()
