"""Words and their pieces, as the uncased WordPiece tokenizer of BERT reads them.

Punctuation is left out: it has no row in the table of the static encoder.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

__all__ = ["plain", "split_pieces", "words_of"]

_WORD = re.compile(r"[^\W_]+")
_LONGEST = 100
"""Letters of a word that is looked up; longer ones are base64 and the like (BERT's own limit)."""


def plain(text: str) -> str:
    """A text in lower case without accents."""
    text = text.lower()
    if text.isascii():
        return text
    marked = unicodedata.normalize("NFD", text)
    return "".join(char for char in marked if unicodedata.category(char) != "Mn")


def words_of(text: str) -> list[str]:
    """The words of a text: runs of letters and digits, in lower case and without accents."""
    return _WORD.findall(plain(text))


def split_pieces(word: str, vocabulary: Mapping[str, int], *, inside: bool = False) -> list[int]:
    """The rows of a word's pieces, longest first from the left; none if a part has no piece.

    Args:
        word: a word as `words_of` gives it.
        vocabulary: piece → row; pieces inside a word begin with "##".
        inside: whether the word is itself the rest of a longer one.
    """
    if len(word) > _LONGEST:
        return []
    rows: list[int] = []
    start = 0
    while start < len(word):
        prefix = "##" if start or inside else ""
        for end in range(len(word), start, -1):
            row = vocabulary.get(prefix + word[start:end])
            if row is not None:
                rows.append(row)
                start = end
                break
        else:
            return []
    return rows
