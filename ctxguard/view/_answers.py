"""The verdicts on the last answer, claim by claim, each with what it was judged by."""

from __future__ import annotations

from dataclasses import dataclass

from ctxguard.ledger import Ledger
from ctxguard.types import Label, Quote, Verdict, Verification
from ctxguard.view._labels import Index, num
from ctxguard.view._safe import clip, flat

__all__ = ["LABELS", "ClaimRow", "answer_line", "claim_rows"]

LABELS: dict[Label, str] = {
    "contradicted": "✗ contradicted",
    "not_found": "? not found",
    "supported": "✓ supported",
    "not_judged": "· not judged",
}
"""What each label is called; the sign tells them apart without colour."""
_CLAIM, _QUOTE = 300, 200
"""Characters shown of a claim, and of a quote."""
_QUOTES = 3
"""Quotes shown per claim."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRow:
    """One claim of an answer, safe to show on one line each."""

    label: Label
    claim: str
    reason: str
    """With the score, where it was judged."""
    quotes: tuple[tuple[str, str], ...] = ()
    """Label of the chunk, and what it says."""


def answer_line(ledger: Ledger) -> str:
    """What the verdicts on the last answer add up to, blank without one."""
    last = ledger.verification
    if last is None:
        return ""
    grounded = {True: "grounded", False: "not grounded", None: "could not be judged"}[last.grounded]
    counts = _counts(last)
    earlier = len(ledger.verifications) - 1
    parts = [grounded, *counts]
    if earlier:
        parts.append(f"{num(earlier, 'earlier check')}: ledger.verifications")
    return ", ".join(parts)


def _counts(verification: Verification) -> list[str]:
    labels = [verdict.label for verdict in verification.claims]
    names = ((label, LABELS[label].partition(" ")[2]) for label in LABELS)
    return [f"{labels.count(label):,} {name}" for label, name in names if label in labels]


def claim_rows(ledger: Ledger) -> tuple[ClaimRow, ...]:
    """The claims of the last answer: what failed first, what was not judged last."""
    last = ledger.verification
    if last is None:
        return ()
    index = Index(ledger)
    order = list(LABELS)
    ranked = sorted(last.claims, key=lambda verdict: order.index(verdict.label))
    return tuple(_row(verdict, index) for verdict in ranked)


def _row(verdict: Verdict, index: Index) -> ClaimRow:
    judged = verdict.label != "not_judged"
    score = f" · score {verdict.score:.2f}" if judged else ""
    against = [quote for finding in verdict.findings for quote in finding.evidence]
    quotes = tuple(dict.fromkeys((*against, *verdict.evidence)))[:_QUOTES] if judged else ()
    return ClaimRow(
        label=verdict.label,
        claim=_cut(verdict.claim.text, _CLAIM) or flat(verdict.code),
        reason=f"{_cut(verdict.reason, _CLAIM) or flat(verdict.code)}{score}",
        quotes=tuple(_quote(quote, index) for quote in quotes),
    )


def _quote(quote: Quote, index: Index) -> tuple[str, str]:
    return index.label(quote.chunk_id), _cut(quote.text, _QUOTE)


def _cut(text: str, limit: int) -> str:
    start, more = clip(flat(text), limit)
    return f"{start}… ({more:,} characters more)" if more else start
