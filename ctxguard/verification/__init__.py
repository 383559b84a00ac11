"""Verification: what the evidence says of an answer, claim by claim, without a model."""

from __future__ import annotations

from ctxguard.verification.asks import Ask, Asks, Reply, Retrieve, Scoring, adrive, drive
from ctxguard.verification.calibration import Calibration, Labelled
from ctxguard.verification.citations import Citation, CitationMap, find_citations
from ctxguard.verification.claims import split_claims
from ctxguard.verification.evidence import Evidence, Passage
from ctxguard.verification.grading import Grade, Outcome, grade
from ctxguard.verification.groundedness import (
    GroundednessScorer,
    WordDoubt,
    groundedness_scorer,
)
from ctxguard.verification.repair import Attempt, Limits, Repaired, draft, repair
from ctxguard.verification.scorer import AsyncScorer, Scorer, Support, Weighing
from ctxguard.verification.session import Answer, Check, Session
from ctxguard.verification.settings import Verify
from ctxguard.verification.streaming import Annotator, Correction, Gate, Release
from ctxguard.verification.verifier import Verifier

__all__ = [
    "Annotator",
    "Answer",
    "Ask",
    "Asks",
    "AsyncScorer",
    "Attempt",
    "Calibration",
    "Check",
    "Citation",
    "CitationMap",
    "Correction",
    "Evidence",
    "Gate",
    "Grade",
    "GroundednessScorer",
    "Labelled",
    "Limits",
    "Outcome",
    "Passage",
    "Release",
    "Repaired",
    "Reply",
    "Retrieve",
    "Scorer",
    "Scoring",
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
    "grade",
    "groundedness_scorer",
    "repair",
    "split_claims",
]
