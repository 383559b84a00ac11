"""How a text is divided into pieces, and which others each of them needs to be understood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ctxguard.stages._blocks import find_blocks
from ctxguard.stages._outline import Outline, Part
from ctxguard.stages._references import find_references
from ctxguard.text.analysis import Analysis
from ctxguard.types import Context, Span

__all__ = ["Division", "divide", "division_of", "spans_of"]

_BYTES_PER_PIECE = 256
"""What a division keeps of a piece weighs at most, about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """The pieces of a text."""

    spans: tuple[Span, ...]
    """In order, without overlaps; they leave out whitespace only."""
    needs: tuple[tuple[int, ...], ...]
    """By piece: indexes of the pieces without which it would not be understood, ascending."""
    labels: frozenset[int] = frozenset()
    """Pieces that say nothing by themselves: headings, and what names a table's columns."""


def divide(text: str, sentences: Sequence[Span], *, named: bool = False) -> Division:
    """Divide a text: prose by sentence, lists by item, tables by row, code by block.

    Takes time linear in the length of the text.

    Args:
        text: any string.
        sentences: its sentences, as `split_sentences` finds them.
        named: the reader sees what the text is about (its title) anyway, so that "she" and "it"
            need no other piece.
    """
    parts = _parts(text, sentences)
    return _divided(text, parts, _spans(parts), named=named)


def division_of(analysis: Analysis, *, named: bool = False) -> Division:
    """`divide` for an analysed text, computed once."""

    def compute(analysis: Analysis) -> tuple[Division, int]:
        found = _divided(analysis.text, *_parts_of(analysis), named=named)
        return found, _BYTES_PER_PIECE * len(found.spans)

    return analysis.note("named division" if named else "division", compute)


def spans_of(context: Context) -> list[tuple[Span, ...]]:
    """The pieces of each chunk: those that it has, else as `divide` finds them."""
    analyses = context.analyzer.analyse_all([chunk.text for chunk in context.chunks])
    return [
        tuple(piece.span for piece in chunk.pieces) if chunk.pieces else _parts_of(analysis)[1]
        for chunk, analysis in zip(context.chunks, analyses, strict=True)
    ]


def _divided(text: str, parts: Sequence[Part], spans: tuple[Span, ...], *, named: bool) -> Division:
    outline = Outline(text, parts)
    outline.read()
    needs = outline.needs
    for index, wanted in find_references(text, parts, outline.prose, named=named):
        needs[index].add(wanted)
    return Division(
        spans=spans,
        needs=tuple(tuple(sorted(each)) if each else () for each in needs),
        labels=frozenset(outline.labels),
    )


def _spans(parts: Sequence[Part]) -> tuple[Span, ...]:
    return tuple([(part.start, part.end) for part in parts])


def _parts_of(analysis: Analysis) -> tuple[list[Part], tuple[Span, ...]]:
    """The parts of an analysed text and their spans, computed once."""

    def compute(analysis: Analysis) -> tuple[tuple[list[Part], tuple[Span, ...]], int]:
        parts = _parts(analysis.text, analysis.sentences)
        return (parts, _spans(parts)), _BYTES_PER_PIECE * len(parts)

    return analysis.note("parts", compute)


def _parts(text: str, sentences: Sequence[Span]) -> list[Part]:
    """Rows and code as they are, and sentences as far as they stand outside of blocks."""
    blocks = find_blocks(text)
    if not blocks:
        return [Part(start, end) for start, end in sentences]
    parts = [Part(*span, block, row) for block in blocks for row, span in enumerate(block.spans)]
    borders = [(block.spans[0][0], block.spans[-1][1]) for block in blocks]
    first = 0
    for start, end in sentences:
        while first < len(borders) and borders[first][1] <= start:
            first += 1
        place, at = first, start
        while place < len(borders) and borders[place][0] < end:
            parts.extend(_stripped(text, at, borders[place][0]))
            at = max(at, borders[place][1])
            place += 1
        parts.extend(_stripped(text, at, end))
    return sorted(parts, key=lambda part: part.start)


def _stripped(text: str, start: int, end: int) -> list[Part]:
    """The part of a text without the whitespace around it; none if nothing is left."""
    inner = text[start:end]
    left = start + len(inner) - len(inner.lstrip())
    right = start + len(inner.rstrip())
    return [Part(left, right)] if left < right else []
