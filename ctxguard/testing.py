"""Deterministic parts for tests of code that uses ctxguard."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

__all__ = ["WordTokenizer"]

_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class WordTokenizer:
    """One token per word or punctuation mark, so that a test can count on its fingers."""

    name: str = "words"
    exact: bool = True

    def encode(self, text: str) -> list[int]:
        """Token ids, shape `(words,)`, the same in every process."""
        return [zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in _WORD.findall(text)]
