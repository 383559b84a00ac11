"""Compress: chunks divided into pieces that can be kept or left out on their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar, Literal, TypeAlias

import numpy as np
from pydantic import ConfigDict

from ctxguard.errors import PolicyError
from ctxguard.stages._cut import cut_chunk
from ctxguard.stages._divide import Division, division_of, spans_of
from ctxguard.stages._evidence import is_divisible, may_exceed_limit, shown
from ctxguard.stages._index import name_of
from ctxguard.stages._relevance import score_pieces
from ctxguard.text.analysis import Analysis
from ctxguard.text.encoders import Encoder, static_encoder
from ctxguard.types import Action, Chunk, Context, Decision, JsonValue, Piece, StageResult

__all__ = ["Compress"]

_Covers: TypeAlias = tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compress:
    """Divides chunks into sentences, list items, table rows and blocks of code.

    Each piece knows its tokens, P(it helps to answer the question), and which other pieces it
    needs to be understood: the heading above it, the lead-in of its list, the header of its table,
    the definition of a term, the sentence that its pronoun points to. The text itself stays as it
    is: Select leaves pieces out when the budget asks for it, and what it keeps is word for word.

    Only a question can say what helps, and only a limit that the chunks exceed asks for it: without
    either, nothing is divided.
    """

    name: ClassVar[str] = "compress"
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(arbitrary_types_allowed=True)

    always: bool = False
    """Divide even when there is room for everything."""
    keep_context: bool = True
    """Note what a piece needs to be understood; False: every piece stands for itself."""
    min_relevance: float | None = None
    """Leave out pieces whose P is below it even when there is room, and chunks that have no other;
    None: only the budget decides."""
    gap: str = "…"
    """Marks in a text where pieces were left out between others, for `min_relevance`."""
    encoder: Encoder | Literal["static"] | None = "static"
    """Closeness in meaning, as for `Rank`: where both are the same, pieces are scored once."""

    def __post_init__(self) -> None:
        """Check every field; the message names the field and the way out."""
        for name in ("always", "keep_context"):
            if not isinstance(getattr(self, name), bool):
                raise PolicyError(
                    f"Compress.{name}: expected True or False, got {getattr(self, name)!r}"
                )
        least = self.min_relevance
        if least is not None and (
            isinstance(least, bool) or not isinstance(least, int | float) or not 0 <= least <= 1  # pyright: ignore[reportUnnecessaryIsInstance] -- values come from untyped callers
        ):
            raise PolicyError(f"Compress.min_relevance: expected 0 to 1 or None, got {least!r}")
        if isinstance(self.encoder, str) and self.encoder != "static":
            raise PolicyError(
                f'Compress.encoder: expected an Encoder, "static" or None, got {self.encoder!r}'
            )
        if not isinstance(self.gap, str):  # pyright: ignore[reportUnnecessaryIsInstance] -- values come from untyped callers
            raise PolicyError(f"Compress.gap: expected a str, got {self.gap!r}")

    def __call__(self, context: Context, /) -> StageResult:
        """Divide what is not divided yet; a Decision for each chunk that loses a piece."""
        new = [place for place, chunk in enumerate(context.chunks) if not chunk.pieces]
        if not new or not context.question.strip() or not self._is_asked(context):
            return StageResult(context=context)
        context = replace(context, chunks=self._divided(context))
        if self.min_relevance is None:
            return StageResult(context=context)
        chunks: list[Chunk] = []
        decisions: list[Decision] = []
        fresh = set(new)
        for place, chunk in enumerate(context.chunks):
            short, decision = self._sifted(chunk, context) if place in fresh else (chunk, None)
            chunks.extend([] if short is None else [short])
            decisions.extend([] if decision is None else [decision])
        return StageResult(
            context=replace(context, chunks=tuple(chunks)), decisions=tuple(decisions)
        )

    def _is_asked(self, context: Context) -> bool:
        return self.always or self.min_relevance is not None or may_exceed_limit(context)

    def _divided(self, context: Context) -> tuple[Chunk, ...]:
        analyses = context.analyzer.analyse_all([chunk.text for chunk in context.chunks])
        context.analyzer.read_token_ends(analyses)
        scores = score_pieces(context, spans_of(context), encoder=self._encoder())
        # One pair for a term, in whichever piece it stands.
        pairs = {term: (scores.names[term], weight) for term, weight in scores.weights.items()}
        found = zip(context.chunks, analyses, scores.pieces, scores.terms, strict=True)
        return tuple(
            chunk
            if chunk.pieces
            else replace(
                chunk,
                pieces=_pieces(
                    self._division(chunk, analysis, context),
                    analysis,
                    relevance.tolist(),
                    [tuple([pairs[term] for term in held]) for held in terms],
                )
                if is_divisible(chunk)
                else _whole(chunk, analysis, relevance.tolist(), terms, pairs),
            )
            for chunk, analysis, relevance, terms in found
        )

    def _encoder(self) -> Encoder | None:
        return static_encoder() if isinstance(self.encoder, str) else self.encoder

    def _division(self, chunk: Chunk, analysis: Analysis, context: Context) -> Division:
        division = division_of(analysis, named=_is_named(chunk, context))
        if self.keep_context:
            return division
        return replace(division, needs=((),) * len(division.spans))

    def _sifted(self, chunk: Chunk, context: Context) -> tuple[Chunk | None, Decision | None]:
        """The chunk without the pieces that do not help; None if none does."""
        least = self.min_relevance or 0.0
        chosen: set[int] = set()
        open_ = [i for i, p in enumerate(chunk.pieces) if (p.relevance or 0.0) >= least]
        while open_:
            index = open_.pop()
            if index not in chosen:
                chosen.add(index)
                open_.extend(chunk.pieces[index].needs)
        if len(chosen) == len(chunk.pieces):
            return chunk, None
        count = context.analyzer.count
        before = count(shown(chunk))
        best = max((piece.relevance or 0.0 for piece in chunk.pieces), default=0.0)
        if not chosen:
            reason = (
                f"nothing in it helps to answer the question: P is {best:.2f} at most, "
                f"{least:g} is asked for"
            )
            return None, self._decision("drop", chunk, reason, (before, 0), best, {})
        short, removed = cut_chunk(chunk, sorted(chosen), gap=self.gap)
        reason = (
            f"{len(chosen)} of {len(chunk.pieces)} pieces help to answer the question or are "
            f"needed to understand those that do; P of the others is below {least:g}"
        )
        spans: list[JsonValue] = [list(span) for span in removed]
        details: dict[str, JsonValue] = {"removed": spans, "gap": self.gap}
        tokens = (before, count(shown(short)))
        return short, self._decision("trim", chunk, reason, tokens, best, details)

    def _decision(
        self,
        action: Action,
        chunk: Chunk,
        reason: str,
        tokens: tuple[int, int],
        best: float,
        details: dict[str, JsonValue],
    ) -> Decision:
        return Decision(
            stage=self.name,
            action=action,
            subject=chunk.id,
            code="irrelevant",
            reason=reason,
            score=best,
            threshold=self.min_relevance,
            tokens_before=tokens[0],
            tokens_after=tokens[1],
            details=details,
        )


def _is_named(chunk: Chunk, context: Context) -> bool:
    """Whether the model sees what the chunk is called, beside its text."""
    title = name_of(chunk)
    if not title:
        return False
    if context.template is not None and context.template.shows("title"):
        return True
    return title in chunk.rendered.replace(chunk.text, "", 1)


def _pieces(
    division: Division,
    analysis: Analysis,
    relevance: Sequence[float],
    covers: Sequence[_Covers],
) -> tuple[Piece, ...]:
    labels = division.labels
    tokens = _tokens(analysis, division)
    return tuple(
        # A heading that repeats the question's words says nothing of what it asks.
        Piece(span=span, tokens=size, needs=needs, relevance=0.0)
        if index in labels
        else Piece(span=span, tokens=size, needs=needs, relevance=p, covers=terms)
        for index, (span, size, needs, p, terms) in enumerate(
            zip(division.spans, tokens, division.needs, relevance, covers, strict=True)
        )
    )


def _whole(
    chunk: Chunk,
    analysis: Analysis,
    relevance: Sequence[float],
    terms: Sequence[Sequence[int]],
    pairs: Mapping[int, tuple[str, float]],
) -> tuple[Piece, ...]:
    """A chunk that cannot be cut, as likely to help as its best sentence."""
    start = len(chunk.text) - len(chunk.text.lstrip())
    end = max(start, len(chunk.text.rstrip()))
    held = sorted(set[int]().union(*terms))
    return (
        Piece(
            span=(start, end),
            tokens=analysis.tokens,
            relevance=max(relevance, default=0.0),
            covers=tuple([pairs[term] for term in held]),
        ),
    )


def _tokens(analysis: Analysis, division: Division) -> list[int]:
    """Tokens of each piece: those that begin in it or in the whitespace before it."""
    # A token begins where the one before ends, the first at 0.
    edges = np.array([end for _, end in division.spans], dtype=np.int32)
    before: list[int] = analysis.token_ends[:-1].searchsorted(edges).tolist()
    first = min(1, analysis.tokens)
    return [end - start for start, end in pairwise([-first, *before])]
