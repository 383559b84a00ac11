"""From findings to a verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ctxguard.types import Claim, ClaimKind, Finding, Label, Quote, Verdict
from ctxguard.verification._align import Case
from ctxguard.verification._findings import holds_against
from ctxguard.verification.calibration import Curve
from ctxguard.verification.scorer import Support, lexical_support

__all__ = ["not_judged", "verdict_of"]

_REASONS: Mapping[ClaimKind, str] = {
    "question": "a question claims nothing",
    "hedge": "it is offered as a guess",
    "refusal": "it says what is not known",
    "chat": "it is small talk",
    "heading": "a heading claims nothing",
    "code": "code is not judged",
    "math": "formulas are not judged",
}

_TELLING = 0.5
"""Certainty of a finding that is the reason for a verdict, where others speak against it too."""
_CLIP = 1e-3
"""No finding is surer than this allows."""


def not_judged(claim: Claim, *, code: str = "", reason: str = "", score: float = 1.0) -> Verdict:
    """The verdict on what cannot be judged; without a code, on what claims nothing."""
    known = claim.kind in _REASONS
    return Verdict(
        claim=claim,
        label="not_judged",
        score=score,
        code=code or (claim.kind if known else "nothing-claimed"),
        reason=reason or _REASONS.get(claim.kind, "it has no word that claims something"),
    )


def verdict_of(
    case: Case,
    findings: Sequence[Finding],
    *,
    threshold: float,
    curve: Curve | None = None,
    stated: Quote | None = None,
    support: Support | None = None,
) -> Verdict:
    """The verdict that findings and a probability of support add up to.

    Args:
        case: the claim.
        findings: what was found.
        threshold: a claim with a lower score is not supported.
        curve: makes scores probabilities.
        stated: where the evidence says it word for word.
        support: what a scorer says; None: judge by the words alone.
    """
    p = 1.0 if stated else lexical_support(case) if support is None else support.probability
    against = [one for one in findings if holds_against(one)]
    worst = max(against, key=lambda one: one.certainty, default=None)
    score = _weigh(case, p, against, support)
    score = score if curve is None else curve(score)
    label: Label = "supported"
    code, reason = "supported", "the evidence supports it"
    weighed = support is not None and support.weighing is not None
    least = _TELLING if weighed else 1 - p
    if score < threshold and worst is not None and worst.certainty >= least:
        label, code, reason = worst.label, worst.code, worst.reason
    elif score < threshold:
        label, code, reason = "not_found", "not-stated", "the evidence does not say so"
    elif stated is not None:
        code, reason = "stated", f"{stated.chunk_id!r} says so word for word"
    return Verdict(
        claim=case.claim,
        label=label,
        score=score,
        code=code,
        reason=reason,
        findings=tuple(findings),
        evidence=_quotes(case, stated, support),
    )


def _weigh(case: Case, p: float, against: Sequence[Finding], support: Support | None) -> float:
    """The score that a probability of support and what was found against it add up to."""
    weighing = support and support.weighing
    if weighing is None:
        return p * math.prod(1 - one.certainty for one in against)
    doubt = sum(-math.log(max(1 - one.certainty, _CLIP)) for one in against)
    return weighing.weigh(p, doubt, case.best)


def _quotes(case: Case, stated: Quote | None, support: Support | None) -> tuple[Quote, ...]:
    """What the claim was judged by, best first."""
    if stated is not None:
        return (stated,)
    if support is None or not 0 <= support.passage < len(case.evidence.passages):
        return case.quotes()
    best = case.evidence.quote_passage(support.passage)
    return (best, *(quote for quote in case.quotes() if quote != best))
