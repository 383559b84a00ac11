"""Whether a text can stand in another at all, by the words that the other lacks.

Two windows of one document share half of their words, and each has dozens that the other lacks. To
see that neither is a part of the other takes 40 µs this way, and 250 by reading their words, the
numbers of their lists and their figures.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ctxguard.stages._spelling import is_respellable
from ctxguard.stages._view import TextView

__all__ = ["may_hold"]

_FIRST = 40
"""Words in which the number, the title and the heading above a text are over: eight words each."""
_LAST = 2
"""Words at the end that may be cut in two."""
_BESIDE = frozenset(
    {"page", "seite", "pagina", "pagine", "of", "von", "de", "di", "and", "strictly", "highly"}
    | {"private", "confidential"}
)
"""What a page's header or footer says."""
_ROMAN = frozenset("ivxlc")


def may_hold(whole: TextView, part: TextView) -> bool:
    """Whether a text may have all that another says, by the words in the middle of the other."""
    if part.hashes.size <= _FIRST + _LAST or not (part.is_plain and whole.is_plain):
        return True
    known, words = whole.vocabulary, part.hashes[_FIRST:-_LAST]
    lacks = np.ones(words.size, dtype=np.bool_)
    if known.size:
        lacks = known[np.minimum(np.searchsorted(known, words), known.size - 1)] != words
    missing = np.flatnonzero(lacks) + _FIRST
    text = part.text
    return not any(
        _says_something(text[start:end].lower())
        for start, end in part.word_spans[missing].tolist()
        if text[start - 1] != "'" != text[end]  # no piece of a contraction
    )


@lru_cache(maxsize=1 << 14)
def _says_something(word: str) -> bool:
    """Whether no reading of a text leaves this word out or spells it otherwise."""
    numbers_an_item = len(word) == 1 or _ROMAN.issuperset(word)
    return not (numbers_an_item or word in _BESIDE or is_respellable(word))
