"""A verification in the three words of an evaluator: outcome, score, explanation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from ctxguard.types import Quote, Verdict, Verification

__all__ = ["Grade", "Outcome", "grade"]

Outcome: TypeAlias = Literal["grounded", "contradicted", "not_found", "abstained", "not_judged"]
"""'abstained': it claims nothing; 'not_judged': nothing in it could be judged."""
_UNREAD = ("code", "math")
"""Kinds of claims that say something, which is not read."""
_LONGEST = 200
"""Characters of a claim and of a quote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """What an evaluator reports of one answer."""

    outcome: Outcome
    score: float | None
    """As `Verification.score`; None where no claim was judged, so that a mean over answers counts
    neither a refusal nor what could not be read."""
    explanation: str
    """For people: each claim that failed, why, and what the evidence says; a line each."""

    @property
    def passing(self) -> bool | None:
        """Whether nothing failed; None: nothing could be judged. Who claims nothing passes."""
        return {"grounded": True, "abstained": True, "not_judged": None}.get(self.outcome, False)


def grade(verification: Verification) -> Grade:
    """What an evaluator reports of a verification.

    One claim that the evidence contradicts makes the answer contradicted, whatever else is wrong.
    """
    outcome = _outcome(verification)
    judged = any(verdict.label != "not_judged" for verdict in verification.claims)
    return Grade(
        outcome=outcome,
        score=verification.score if judged else None,
        explanation=_explanation(verification, outcome),
    )


def _outcome(verification: Verification) -> Outcome:
    labels = {verdict.label for verdict in verification.claims}
    if "contradicted" in labels:
        return "contradicted"
    if "not_found" in labels:
        return "not_found"
    if "supported" in labels:
        return "grounded"
    is_unread = any(verdict.claim.kind in _UNREAD for verdict in verification.claims)
    return "not_judged" if is_unread or verification.grounded is None else "abstained"


def _explanation(verification: Verification, outcome: Outcome) -> str:
    if verification.failed:
        return "\n".join(map(_failure, verification.failed))
    if outcome == "abstained":
        return "nothing is claimed: there is nothing that evidence could support or contradict"
    open_ = [
        verdict
        for verdict in verification.claims
        if verdict.label == "not_judged"
        and (verdict.claim.is_checkable or verdict.claim.kind in _UNREAD)
    ]
    lines = [f"{_quoted(verdict.claim.text)} was not judged: {verdict.reason}" for verdict in open_]
    supported = sum(verdict.label == "supported" for verdict in verification.claims)
    if supported:
        claims = "the claim" if supported == 1 else f"all {supported} claims that were judged"
        lines.insert(0, f"the evidence supports {claims}")
    return "\n".join(lines)


def _failure(verdict: Verdict) -> str:
    line = f"{_quoted(verdict.claim.text)}: {verdict.reason}"
    quote = _against(verdict)
    return f"{line} ({quote.chunk_id}: {_quoted(quote.text)})" if quote else line


def _against(verdict: Verdict) -> Quote | None:
    """The passage with what speaks most against a claim, else the nearest one."""
    found = [
        quote
        for finding in verdict.findings
        if finding.label != "supported"
        for quote in finding.evidence
    ]
    whole = [
        passage
        for quote in found[:1]
        for passage in verdict.evidence
        if passage.chunk_id == quote.chunk_id
        and passage.span[0] <= quote.span[0]
        and quote.span[1] <= passage.span[1]
    ]
    return next(iter((*whole, *found, *verdict.evidence)), None)


def _quoted(text: str) -> str:
    words = " ".join(text.split())
    return f"“{words if len(words) <= _LONGEST else f'{words[: _LONGEST - 1]}…'}”"
