"""Material facts: what makes two texts that read alike say different things.

A fact has a kind, a value that is equal for different spellings of the same, and an exact span.
The rule of every module here is that two facts may look different though they are the same, but
never the same though they differ: what is ambiguous keeps its own text as its value, marked "?".

English first; digits, dates and amounts are read in any language, and what other languages write
in words is kept word for word.
"""

from __future__ import annotations

from ctxguard.text.facts.model import Fact, FactDifference, FactKind, differing_facts
from ctxguard.text.facts.names import LEGAL_FORMS
from ctxguard.text.facts.phrases import is_negative_word
from ctxguard.text.facts.scan import extract_facts
from ctxguard.text.facts.spots import begins_figure, begins_number, figures_at

__all__ = [
    "LEGAL_FORMS",
    "Fact",
    "FactDifference",
    "FactKind",
    "begins_figure",
    "begins_number",
    "differing_facts",
    "extract_facts",
    "figures_at",
    "is_negative_word",
]
