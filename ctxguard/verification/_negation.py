"""Whether a claim denies what the evidence affirms, or affirms what it denies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ctxguard.types import Finding, Quote
from ctxguard.verification._align import Case
from ctxguard.verification._polarity import Polar, by_term, polarities

__all__ = ["Balance", "balance_of", "check_negation"]

_ANCHOR = 3.0
"""A word right behind a negator counts as this many others."""


@dataclass(frozen=True, slots=True)
class Balance:
    """How a claim and the evidence agree in what they affirm and deny."""

    agree: float
    """What the words tell together that both affirm, or both deny."""
    differ: float
    """What those tell that one affirms and the other denies."""
    word: Polar | None
    """The word of the claim that differs and tells most."""
    quotes: tuple[Quote, ...]
    """The passage that it differs from."""
    denies: bool = False
    """Whether the claim denies something."""
    lost: float = 0.0
    """What those tell that the claim denies, and of which the evidence has nothing."""


def balance_of(case: Case) -> Balance:
    """Compare what a claim affirms and denies with the aligned passages."""
    ours = polarities(case.words, (0, len(case.words)))
    theirs = [
        (one, by_term(polarities(evidence_words, passage.words)))
        for one in case.aligned
        for passage in (case.evidence.passages[one.number],)
        for evidence_words in (case.evidence.words[passage.chunk],)
    ]
    agree = differ = lost = top = 0.0
    worst: tuple[Polar, int] | None = None
    for word in ours:
        if not word.sign:
            continue
        found = False
        for one, said in theirs:
            other = [match for match in said.get(word.term, ()) if match.sign]
            if not other:
                continue
            found = True
            weight = case.evidence.rarity(word.term) * one.share
            weight *= _ANCHOR if word.is_anchor or any(match.is_anchor for match in other) else 1.0
            same = sum(match.sign == word.sign for match in other) / len(other)
            agree += weight * same
            differ += weight * (1 - same)
            if weight * (1 - same) > top:
                top, worst = weight * (1 - same), (word, one.number)
        if not found and word.sign < 0:
            lost += case.evidence.rarity(word.term)
    return Balance(
        agree,
        differ,
        worst[0] if worst else None,
        (case.evidence.quote_passage(worst[1]),) if worst else (),
        denies=any(word.sign < 0 for word in ours),
        lost=lost,
    )


def check_negation(case: Case) -> Iterator[Finding]:
    """What a claim denies and the evidence affirms, or the other way round."""
    balance = balance_of(case)
    if balance.word is None or balance.differ <= balance.agree:
        return
    start, end = case.words.spans[balance.word.place]
    text = case.claim.text[start:end]
    denied = "denies" if balance.word.sign < 0 else "affirms"
    other = "affirms" if balance.word.sign < 0 else "denies"
    yield Finding(
        code="negation",
        reason=f"the claim {denied} {text!r}, which the evidence {other}",
        span=(case.claim.span[0] + start, case.claim.span[0] + end),
        text=text,
        label="contradicted",
        certainty=balance.differ / (balance.agree + balance.differ),
        evidence=balance.quotes,
    )
