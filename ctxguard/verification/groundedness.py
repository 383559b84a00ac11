"""Learned groundedness: P(the passages support a claim), word by word, without a language model.

What facts do not decide: words that the evidence does not have, opposites, exaggerations, other
roles, additions. `scripts/fit_groundedness.py` makes the weights and prints how far they can be
trusted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from ctxguard.types import Chunk, Span
from ctxguard.verification._align import Case
from ctxguard.verification._network import Network, load_weights, weights_digest
from ctxguard.verification._reading import Reading
from ctxguard.verification._relations import Relations
from ctxguard.verification._wordsigns import read_signs
from ctxguard.verification.evidence import Evidence
from ctxguard.verification.scorer import Support, Weighing, has_words, lexical_support

__all__ = ["GroundednessScorer", "WordDoubt", "groundedness_scorer"]

_READS = ("en", "")
"""Languages of evidence that are read; blank: it is too short to tell."""
_THRESHOLD = 0.3
"""Of answers of left-out domains, the right ones that are under it are about as many as the rules
flag by themselves; of the wrong ones there are more. Nearly two of three answers that it was
calibrated on are wrong: where most are right, P = 0.3 is more likely right than wrong."""
_STEEPNESS = 4.0
"""How fast odds change with the logarithm of what words and facts alone say."""
_FURTHEST = 30.0
"""Log odds beyond which a probability is 0 or 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WordDoubt:
    """A word of a claim and how far it lacks support."""

    span: Span
    """Characters of the claim."""
    probability: float
    """That the passages do not support it here, 0 to 1; to compare words by, not calibrated."""


class GroundednessScorer:
    """The `Scorer` that ships with the package; thread-safe, deterministic, in milliseconds.

    English only: other languages have words, but no thesaurus and poorer vectors.
    """

    quick: ClassVar[bool] = True

    def __init__(self, network: Network, relations: Relations, *, name: str = "") -> None:
        """Take over weights; `groundedness_scorer()` gives those that ship.

        Args:
            network: of the words of a claim.
            relations: of two words.
            name: tells these weights from others, for calibrations; blank: the class's.
        """
        self.name = name or type(self).__name__
        self._network = network
        self._relations = relations

    @property
    def threshold(self) -> float:
        """The score under which a verifier takes a claim for not supported."""
        return _THRESHOLD

    def score(self, claims: Sequence[str], passages: Sequence[str]) -> Sequence[Support]:
        """One Support for each claim, in order; nothing speaks against one that says nothing.

        Args:
            claims: statements.
            passages: sentences of the evidence, in order.
        """
        reading, owners = _read(passages)
        found = [self._support(claim, reading) for claim in claims]
        return [
            Support(
                probability=one.probability,
                passage=owners[one.passage] if one.passage >= 0 else -1,
                span=(0, len(passages[owners[one.passage]])) if one.passage >= 0 else (0, 0),
                weighing=one.weighing,
            )
            for one in found
        ]

    def score_cases(self, cases: Sequence[Case]) -> Sequence[Support]:
        """One Support for each claim; by its words alone where the evidence is not in English.

        Args:
            cases: claims of one answer, aligned to the same evidence.
        """
        if not cases:
            return []
        evidence = cases[0].evidence
        if evidence.language not in _READS:
            return [_by_words(case) for case in cases]
        reading = Reading(evidence)
        return [
            self._support(case.text, reading) if has_words(case) else _by_words(case)
            for case in cases
        ]

    def doubts(self, claim: str, passages: Sequence[str]) -> Sequence[WordDoubt]:
        """The words of a claim in order, each with how far it lacks support.

        Args:
            claim: a statement.
            passages: sentences of the evidence, in order.
        """
        signs = read_signs(claim, _read(passages)[0], self._relations)
        odds = self._network.word_odds(signs).tolist()
        return [
            WordDoubt(span=span, probability=_probability(value))
            for span, value in zip(signs.words.spans, odds, strict=True)
        ]

    def _support(self, claim: str, reading: Reading) -> Support:
        signs = read_signs(claim, reading, self._relations)
        odds = self._network.claim_odds(self._network.word_odds(signs)[signs.telling])
        return Support(
            probability=_probability(-odds),
            passage=signs.passage,
            weighing=self._network.weighing,
        )

    def __repr__(self) -> str:
        """The name and the number of weights of a word."""
        return f"GroundednessScorer({len(self._network.out)} hidden units)"


def _by_words(case: Case) -> Support:
    """What is flagged without a scorer is under the threshold here, and nothing else."""
    odds = math.log(_THRESHOLD / (1 - _THRESHOLD))
    odds += _STEEPNESS * math.log(lexical_support(case) / 0.5)
    return Support(
        probability=_probability(odds), weighing=Weighing(anywhere=_STEEPNESS, aligned=0.0)
    )


def _read(passages: Sequence[str]) -> tuple[Reading, Sequence[int]]:
    """Passages as evidence, and of each sentence in it the position of its passage."""
    evidence = Evidence(Chunk(id=str(at), text=text) for at, text in enumerate(passages))
    return Reading(evidence), [one.chunk for one in evidence.passages]


@lru_cache(maxsize=1)
def groundedness_scorer() -> GroundednessScorer:
    """The GroundednessScorer that ships with the package, read at first use."""
    return GroundednessScorer(*load_weights(), name=f"groundedness {weights_digest()}")


def _probability(odds: float) -> float:
    return 1 / (1 + math.exp(-max(-_FURTHEST, min(_FURTHEST, odds))))
