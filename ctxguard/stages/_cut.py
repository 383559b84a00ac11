"""Cutting a chunk to some of its pieces, word for word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ctxguard.types import Chunk, Piece, Span

__all__ = ["cut_chunk", "kept_spans"]


def kept_spans(chunk: Chunk, chosen: Sequence[int]) -> tuple[Span, ...]:
    """Characters that stay when these pieces do: neighbours with the whitespace between them.

    Args:
        chunk: has pieces.
        chosen: indexes of some of them, ascending.
    """
    pieces = chunk.pieces
    spans: list[Span] = []
    last = -2
    for index in chosen:
        start, end = pieces[index].span
        if index == last + 1 and spans:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start if index else 0, end))
        last = index
    if spans and last == len(pieces) - 1:
        spans[-1] = (spans[-1][0], len(chunk.text))
    return tuple(spans)


def cut_chunk(chunk: Chunk, chosen: Sequence[int], *, gap: str) -> tuple[Chunk, tuple[Span, ...]]:
    """The chunk with these pieces only, and the spans of its text that were taken out.

    What was left out between two pieces is marked with `gap`, on a line of its own where the
    pieces stand on lines of their own. The pieces that stay keep their relevance, at their new
    places.
    """
    spans = kept_spans(chunk, chosen)
    text, moved = _joined(chunk, spans, gap)
    removed: list[Span] = []
    at = 0
    for start, end in spans:
        if at < start:
            removed.append((at, start))
        at = end
    if at < len(chunk.text):
        removed.append((at, len(chunk.text)))
    rendered = chunk.rendered.replace(chunk.text, text, 1) if chunk.rendered else ""
    pieces = _moved(chunk.pieces, chosen, spans, moved)
    return replace(chunk, text=text, rendered=rendered, pieces=pieces), tuple(removed)


def _joined(chunk: Chunk, spans: Sequence[Span], gap: str) -> tuple[str, list[int]]:
    """The text of the spans, and where each of them begins in it."""
    text = chunk.text
    parts: list[str] = []
    starts: list[int] = []
    length = 0
    for place, (start, end) in enumerate(spans):
        if place:
            # The whitespace after the text before and the one before the text that follows:
            # a removed row leaves a line, a removed sentence leaves a word.
            before = text[spans[place - 1][1] : start]
            mark = _space_after(before) + gap + _space_before(before)
            parts.append(mark)
            length += len(mark)
        starts.append(length)
        parts.append(text[start:end])
        length += end - start
    return "".join(parts), starts


def _space_after(removed: str) -> str:
    return removed[: len(removed) - len(removed.lstrip())]


def _space_before(removed: str) -> str:
    return removed[len(removed.rstrip()) :]


def _moved(
    pieces: Sequence[Piece], chosen: Sequence[int], spans: Sequence[Span], starts: Sequence[int]
) -> tuple[Piece, ...]:
    """The chosen pieces at their places in the new text, needing only what is still there."""
    number = {index: place for place, index in enumerate(chosen)}
    moved: list[Piece] = []
    span = 0
    for index in chosen:
        piece = pieces[index]
        while piece.span[0] >= spans[span][1]:
            span += 1
        shift = starts[span] - spans[span][0]
        needs = tuple([number[need] for need in piece.needs if need in number])
        start, end = piece.span
        moved.append(  # not by `replace`, which takes twice the time
            Piece(
                span=(start + shift, end + shift),
                tokens=piece.tokens,
                relevance=piece.relevance,
                needs=needs,
                covers=piece.covers,
            )
        )
    return tuple(moved)
