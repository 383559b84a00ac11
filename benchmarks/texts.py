"""Texts of the selection benchmark: tokens, chunks of a contract, sentences, filling a budget."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from functools import cache, lru_cache

import tiktoken

from benchmarks.peers.base import Question
from ctxguard.text.tokens import tokenizer_for

__all__ = ["cut", "encoding", "fill", "sentences", "tokens", "units"]

Piece = tuple[int, int, str]
"""The chunk that a text is from, its place in there, and the text."""


@cache
def encoding() -> tiktoken.Encoding:
    """o200k_base; the budget of every system is counted with it."""
    tokenizer_for("o200k_base")  # finds the tables where they are on this machine
    return tiktoken.get_encoding("o200k_base")


@lru_cache(maxsize=200_000)
def tokens(text: str) -> int:
    """How many tokens a text has."""
    return len(encoding().encode_ordinary(text))


def sentences(text: str) -> tuple[str, ...]:
    """Sentences by a plain rule, the same for every peer that ranks sentences."""
    found = re.split(r"(?<=[.;:?!])\s+(?=[\"'“(]?[A-Z0-9])|\n\s*\n", text)
    return tuple(sentence.strip() for sentence in found if sentence and sentence.strip())


def cut(text: str, size: int = 1000) -> list[str]:
    """Chunks of about `size` characters that end where a paragraph does, or else a sentence."""
    parts: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        parts += sentences(paragraph) if len(paragraph) > size else [paragraph.strip()]
        parts.append("")  # the end of a paragraph
    chunks: list[str] = []
    current = ""
    for part in parts:
        if current and len(current) + len(part) > size:
            chunks.append(current.strip())
            current = ""
        current += f"{part} " if part else "\n\n"
    chunks.append(current.strip())
    return [chunk for chunk in chunks if chunk]


def units(question: Question, by: str) -> tuple[list[Piece], list[str]]:
    """What is ranked, and how a ranker reads it: with the chunk's title in front.

    Args:
        question: whose evidence.
        by: "chunk" or "sentence".
    """
    pieces: list[Piece] = []
    shown: list[str] = []
    for place, chunk in enumerate(question.chunks):
        texts = (chunk.text,) if by == "chunk" else chunk.sentences
        for number, text in enumerate(texts):
            pieces.append((place, number, text))
            shown.append(f"{chunk.title}. {text}" if chunk.title else text)
    return pieces, shown


def fill(ranked: Sequence[Piece], budget: int) -> list[str]:
    """The best-ranked pieces that fit, as texts per chunk in the order of the source.

    A piece that does not fit is left out and smaller ones after it are tried. The joined text is
    counted as a whole; while it is over, the piece that was taken last goes.
    """
    taken: list[Piece] = []
    spent = 0
    for piece in ranked:
        cost = tokens(" " + piece[2]) + 1  # a separator
        if spent + cost <= budget + 1:
            taken.append(piece)
            spent += cost
    while taken and tokens("\n\n".join(_joined(taken))) > budget:
        taken.pop()
    return _joined(taken)


def _joined(pieces: Sequence[Piece]) -> list[str]:
    by_chunk: dict[int, list[str]] = defaultdict(list)
    for place, _, text in sorted(pieces, key=lambda piece: piece[:2]):
        by_chunk[place].append(text)
    return [" ".join(texts) for texts in by_chunk.values()]
