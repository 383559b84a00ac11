"""Verification: what the evidence says of an answer, claim by claim, without a model."""

from __future__ import annotations

from ctxguard.verification.calibration import Calibration, Labelled
from ctxguard.verification.citations import Citation, CitationMap, find_citations
from ctxguard.verification.claims import split_claims
from ctxguard.verification.evidence import Evidence, Passage
from ctxguard.verification.groundedness import (
    GroundednessScorer,
    WordDoubt,
    groundedness_scorer,
)
from ctxguard.verification.scorer import Scorer, Support
from ctxguard.verification.verifier import Answer, Check, Verifier

__all__ = [
    "Answer",
    "Calibration",
    "Check",
    "Citation",
    "CitationMap",
    "Evidence",
    "GroundednessScorer",
    "Labelled",
    "Passage",
    "Scorer",
    "Support",
    "Verifier",
    "WordDoubt",
    "find_citations",
    "groundedness_scorer",
    "split_claims",
]
