"""Quotations of a claim: what stands in quotation marks must stand in the evidence."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ctxguard.text.terms import FUNCTION_WORDS
from ctxguard.text.words import words_of
from ctxguard.types import Finding
from ctxguard.verification._align import Case

__all__ = ["check_quotations"]

_QUOTED = re.compile(
    '\u201c([^\u201c\u201d]{1,2000})\u201d|"([^"\\n]{1,2000})"|\u00ab([^\u00ab\u00bb]{1,2000})\u00bb|\u201e([^\u201e\u201c]{1,2000})\u201c'
)
_GAPS = re.compile(r"\s*(?:\.{3}|\u2026|\[[^\[\]]{0,40}\])\s*")
_WORD = re.compile(r"\w+")
_LEAST = 3
"""Words from which on a quotation is no title and no word at arm's length."""
_ALTERED = 0.9
_TITLE = 0.4
"""Of a title: who gives one, quotes nobody."""
_NEAR = 0.6
"""Share of the claim that a passage has from which the quotation was altered, and not made up."""


def check_quotations(case: Case) -> Iterator[Finding]:
    """Which quotations neither the evidence nor the question has word for word."""
    asked = " ".join(_WORD.findall(case.question.casefold()))
    for match in _QUOTED.finditer(case.text):
        group = match.lastindex or 1
        sizes = {part: len(words_of(part)) for part in _GAPS.split(match[group])}
        parts = [part for part, size in sizes.items() if size]
        if sum(sizes.values()) < _LEAST or all(map(case.evidence.find, parts)):
            continue
        if " ".join(_WORD.findall(match[group].casefold())) in asked:
            continue
        start = case.claim.span[0]
        near = case.best >= _NEAR
        quotes = case.quotes()[:1]
        yield Finding(
            code="quotation-differs" if near else "quotation-not-found",
            reason=(
                f"the evidence says {quotes[0].text!r}, not what is quoted"
                if near
                else "the evidence does not have what is quoted"
            ),
            span=(start + match.start(group), start + match.end(group)),
            text=match[group],
            label="contradicted" if near else "not_found",
            certainty=_TITLE if _is_title(match[group]) else _ALTERED,
            evidence=quotes if near else (),
        )


def _is_title(quotation: str) -> bool:
    """Whether its words are written like those of a title."""
    words = [
        word
        for word in quotation.split()
        if word[0].isalpha() and len(word) > _SMALL and word not in FUNCTION_WORDS
    ]
    return bool(words) and quotation.strip()[-1] not in ".!?" and all(w[0].isupper() for w in words)


_SMALL = 3
"""Letters of the words that a title writes small."""
