"""Verification: what the evidence says of an answer, claim by claim, without a model."""

from __future__ import annotations

from ctxguard.verification.asks import Ask, Asks, Reply, Retrieve, adrive, drive
from ctxguard.verification.calibration import Calibration, Labelled
from ctxguard.verification.citations import Citation, CitationMap, find_citations
from ctxguard.verification.claims import split_claims
from ctxguard.verification.evidence import Evidence, Passage
from ctxguard.verification.groundedness import (
    GroundednessScorer,
    WordDoubt,
    groundedness_scorer,
)
from ctxguard.verification.repair import Attempt, Limits, Repaired, draft, repair
from ctxguard.verification.scorer import Scorer, Support, Weighing
from ctxguard.verification.settings import Verify
from ctxguard.verification.streaming import Annotator, Correction, Gate, Release
from ctxguard.verification.verifier import Answer, Check, Session, Verifier

__all__ = [
    "Annotator",
    "Answer",
    "Ask",
    "Asks",
    "Attempt",
    "Calibration",
    "Check",
    "Citation",
    "CitationMap",
    "Correction",
    "Evidence",
    "Gate",
    "GroundednessScorer",
    "Labelled",
    "Limits",
    "Passage",
    "Release",
    "Repaired",
    "Reply",
    "Retrieve",
    "Scorer",
    "Session",
    "Support",
    "Verifier",
    "Verify",
    "Weighing",
    "WordDoubt",
    "adrive",
    "draft",
    "drive",
    "find_citations",
    "groundedness_scorer",
    "repair",
    "split_claims",
]
