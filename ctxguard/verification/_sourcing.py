"""Whether the chunks that a claim cites hold it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ctxguard.types import Finding
from ctxguard.verification._align import Case, case_of
from ctxguard.verification._findings import findings_of, holds_against
from ctxguard.verification.citations import Citation
from ctxguard.verification.evidence import Evidence
from ctxguard.verification.scorer import lexical_support

__all__ = ["Sources", "check_citations"]

_ELSEWHERE = 0.8
"""That a citation is wrong where other evidence holds the claim and the cited chunk does not."""
_UNKNOWN = 0.9
"""That one is wrong which points at nothing that is there."""
_FAILED = 0.5
"""Certainty of a finding from which on the claim fails anyway, whatever it cites."""
_ENOUGH = 0.6
"""Of the words that all evidence has of a claim, those that the cited chunks have."""


class Sources:
    """Parts of the evidence, each read once."""

    def __init__(self, evidence: Evidence) -> None:
        """Start with all of it."""
        self.evidence = evidence
        self._parts: dict[tuple[int, ...], Evidence] = {}

    def part(self, chunks: tuple[int, ...]) -> Evidence:
        """The evidence of some chunks alone."""
        known = self._parts.get(chunks)
        if known is None:
            known = Evidence([self.evidence.chunks[chunk] for chunk in chunks])
            self._parts[chunks] = known
        return known


def check_citations(
    case: Case, citations: Sequence[Citation], findings: Sequence[Finding], sources: Sources
) -> Iterator[Finding]:
    """Which citations of a claim point at nothing, or at a chunk that does not say so.

    Args:
        case: the claim.
        citations: what it cites; spans are of the claim.
        findings: what is wrong with it anyway.
        sources: the evidence.
    """
    for citation in citations:
        if not citation.chunks:
            reason = f"{citation.text!r} points at nothing in the evidence"
            yield _finding(case, citation, "citation-unknown", reason, _UNKNOWN)
    cited = tuple(dict.fromkeys(chunk for one in citations for chunk in one.chunks))
    failed = any(holds_against(one) and one.certainty >= _FAILED for one in findings)
    if not cited or failed or len(cited) == len(case.evidence.chunks):
        return
    if not _holds(case, cited, sources.part(cited)):
        citation = next(one for one in citations if one.chunks)
        names = " and ".join(repr(case.evidence.chunks[chunk].id) for chunk in cited)
        reason = f"the cited {names} does not say so, other evidence does"
        yield _finding(case, citation, "citation-differs", reason, _ELSEWHERE)


def _holds(case: Case, cited: Sequence[int], part: Evidence) -> bool:
    """Whether the cited chunks alone hold the claim as well as all of the evidence does."""
    alone = case_of(case.claim, part, text=case.text, lead=case.lead)
    if alone.stated() is not None:
        return True
    against = [one for one in findings_of(alone) if holds_against(one)]
    if lexical_support(alone) * math.prod(1 - one.certainty for one in against) < _FAILED:
        return False
    places = {case.evidence.passages[one.number].chunk for one in case.aligned[:1]}
    return not places.isdisjoint(cited) or alone.overlap >= _ENOUGH * case.overlap


def _finding(case: Case, citation: Citation, code: str, reason: str, certainty: float) -> Finding:
    start, end = citation.span
    return Finding(
        code=code,
        reason=reason,
        span=(case.claim.span[0] + start, case.claim.span[0] + end),
        text=citation.text,
        label="not_found",
        certainty=certainty,
        evidence=case.quotes()[:1] if code == "citation-differs" else (),
    )
