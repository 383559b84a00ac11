"""Whether a text can stand in another at all, by the words that the other lacks.

Two windows of one document share half of their words, and each has dozens that the other lacks. To
see that neither is a part of the other takes 20 µs this way, and ten times as long by reading their
words, list numbers and figures.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ctxguard.stages._spelling import is_respellable
from ctxguard.stages._view import TextView

__all__ = ["may_hold"]

_SPARE = 12
"""Words that a part may have and the whole may lack: the heading or the title that stands above it,
of eight words at most, some of them with a hyphen, and the two cut in two at its ends."""
_BESIDE = frozenset(
    "page seite pagina pagine of von de di strictly highly private and confidential".split()
)
"""What a page's header or footer says."""
_ROMAN = frozenset("ivxlc")


def may_hold(whole: TextView, part: TextView) -> bool:
    """Whether a text may have all that another says; False only where it lacks many words of it."""
    known, words = whole.vocabulary[0], part.vocabulary[0]
    if words.size <= _SPARE:
        return True
    places = np.minimum(np.searchsorted(known, words), max(0, known.size - 1))
    missing = np.flatnonzero(known[places] != words) if known.size else np.arange(words.size)
    if missing.size <= _SPARE or not (part.is_plain and whole.is_plain):
        return True
    text = part.text
    spans = part.word_spans[part.vocabulary[1][missing]].tolist()
    said = [
        text[start:end].lower()
        for start, end in spans
        if text[start - 1 : start] != "'" != text[end : end + 1]  # no piece of a contraction
    ]
    return sum(map(_says_something, said)) <= _SPARE


@lru_cache(maxsize=1 << 14)
def _says_something(word: str) -> bool:
    """Whether no reading of a text leaves this word out or spells it otherwise."""
    numbers_an_item = len(word) == 1 or _ROMAN.issuperset(word)
    return not (numbers_an_item or word in _BESIDE or is_respellable(word))
