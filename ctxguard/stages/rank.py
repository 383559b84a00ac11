"""Rank: how likely each chunk helps, and the most likely first."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import ConfigDict

from ctxguard.errors import PolicyError
from ctxguard.reliability import Reliability, reliability_of
from ctxguard.stages._cross_encoder import cross_encode
from ctxguard.stages._divide import spans_of
from ctxguard.stages._evidence import may_exceed_limit
from ctxguard.stages._index import Floats
from ctxguard.stages._rank_fit import Judged, refitted
from ctxguard.stages._rank_model import RankModel, shipped_model
from ctxguard.stages._relevance import Scores, score_pieces, shifted
from ctxguard.text.encoders import Encoder, static_encoder
from ctxguard.types import Chunk, Context, Decision, StageResult

__all__ = ["Rank"]

_PRIOR = 0.5
"""Log-odds that a standard deviation of the retriever's score is worth. MiniLM's first 20, ordered
by P alone and with it, nDCG@10: HotpotQA .921/.924, MuSiQue .711/.745, contracts .779/.808 (as
MiniLM gave them: .804, .632, .574; 58 questions); with four times as much it is less again."""
_MAX_SCORE = 1e100
"""Scores beyond this are no measure of anything, and their squares overflow."""
_TERMS = 3
"""Words that a reason names; the rest of a chunk's terms count less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """Estimates P(it helps to answer the question) for every chunk and orders by it.

    What counts: the question's words in a chunk, in its title and headings, rare ones most, near
    words too; what its best sentence holds of them; and whether it is reached from another chunk
    that is like the question, by a name or a title (a second hop). `model` says how much. The
    retriever's score counts as far as it differs from its others.
    What nothing is known of keeps its place.
    """

    name: ClassVar[str] = "rank"
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(arbitrary_types_allowed=True)

    reorder: bool = True
    """Put the most likely first; False: only estimate."""
    always: bool = True
    """Judge in any case; False: only where a token limit asks for a choice, as policies do, since
    what fits as a whole needs none."""
    encoder: Encoder | Literal["static"] | None = "static"
    """Closeness in meaning: "static" is the table that ships; None: words only. At a quarter of the
    tokens it keeps .04 more of the clauses of contracts, which answer in other words than the
    question's; with passages, each of a document of its own, it is the same (cross-validated).
    An `Encoder` of your own is asked once for a question and all pieces, where it can tell."""
    cross_encoder: Any = None
    """A `CrossEncoder` of sentence-transformers, or its name; judges the first `depth` chunks."""
    depth: int = 20
    """Chunks that the cross-encoder judges; a model takes far longer than all the rest."""
    nothing_below: float = 0.2
    """P of the best chunk under which a flag says that nothing here is relevant; 0: never.

    At 0.2 one in seven pools that belong to other questions is found out (without vectors one in
    eight), and one in 900 of the right ones is suspected (cross-validated)."""
    model: RankModel | None = None
    """Weights, as `Rank.fit` or `RankModel.load` give them; None: those that ship."""

    def __post_init__(self) -> None:
        """Check every field; the message names the field and the way out."""
        _check_kinds(self)
        if isinstance(self.depth, bool) or not isinstance(self.depth, int) or self.depth < 1:  # pyright: ignore[reportUnnecessaryIsInstance] -- values come from untyped callers
            raise PolicyError(f"Rank.depth: expected a number of chunks, got {self.depth!r}")
        least = self.nothing_below
        if isinstance(least, bool) or not isinstance(least, int | float) or not 0 <= least <= 1:  # pyright: ignore[reportUnnecessaryIsInstance] -- as above
            raise PolicyError(f"Rank.nothing_below: expected 0 to 1, got {least!r}")

    def __call__(self, context: Context, /) -> StageResult:
        """Set `Chunk.relevance` and order; a Decision for each chunk that moved."""
        if not context.chunks or not (self.always or may_exceed_limit(context)):
            return StageResult(context=context)
        scores = self._score(context)
        if scores is None:
            return StageResult(context=context, decisions=(_no_question(context.chunks[0]),))
        scored = np.array([_score_of(chunk) for chunk in context.chunks])
        alone = _with_prior(scores.chunks, scored)
        p = self._judged(context, _levelled(alone, context.chunks, scores.cover + scores.met))
        order = (
            sorted(range(len(p)), key=lambda at: (-p[at], at)) if self.reorder else range(len(p))
        )
        chunks = tuple(replace(context.chunks[at], relevance=p[at]) for at in order)
        decisions = [
            _moved(chunk, was=was, now=now, why=_why(scores, was))
            for now, (was, chunk) in enumerate(zip(order, chunks, strict=True))
            if was != now
        ]
        best = max(chunks, key=lambda chunk: chunk.relevance or 0.0)
        if (best.relevance or 0.0) < self.nothing_below:
            decisions.append(_nothing(best, self.nothing_below))
        return StageResult(context=replace(context, chunks=chunks), decisions=tuple(decisions))

    @classmethod
    def fit(
        cls,
        questions: Sequence[str],
        chunks: Sequence[Sequence[Chunk | str]],
        relevant: Sequence[Collection[str]],
        *,
        encoder: Encoder | Literal["static"] | None = "static",
    ) -> Rank:
        """A Rank with weights for one's own chunks, from a few dozen judged questions.

        The weights that ship are where it starts from, and what it stays near to as long as there
        is little to learn from. `evaluate` on other questions says what it is worth.

        Args:
            questions: the questions.
            chunks: per question, what a retriever gave; texts have the ids "0", "1", ….
            relevant: per question, ids of the chunks that help.
            encoder: as the field.

        Raises:
            PolicyError: the three are not equally long.
        """
        start = cls(encoder=encoder)
        judged = [
            Judged(scores=scores, relevant=held)
            for scores, held in start._all(questions, chunks, relevant)
        ]
        return replace(start, model=refitted(shipped_model(), judged))

    def evaluate(
        self,
        questions: Sequence[str],
        chunks: Sequence[Sequence[Chunk | str]],
        relevant: Sequence[Collection[str]],
    ) -> Reliability:
        """How far P of the chunks can be taken at its word; the arguments are those of `fit`.

        Raises:
            PolicyError: the three are not equally long.
        """
        found = list(self._all(questions, chunks, relevant))
        return reliability_of(
            [float(p) for scores, _ in found for p in scores.chunks],
            [bool(one) for _, held in found for one in held],
        )

    def _score(self, context: Context) -> Scores | None:
        spans = spans_of(context)
        encoder = static_encoder() if self.encoder == "static" else self.encoder
        scores = score_pieces(context, spans, encoder=encoder, model=self.model)
        return scores if scores.asked else None

    def _judged(self, context: Context, p: Floats) -> list[float]:
        """P of the chunks, of the first of them by the cross-encoder if there is one."""
        rounded = [round(value, 6) for value in p.tolist()]
        if self.cross_encoder is None:
            return rounded
        first = sorted(range(len(p)), key=lambda at: (-rounded[at], at))[: self.depth]
        texts = [context.chunks[at].text for at in first]
        found = cross_encode(self.cross_encoder, context.question, texts)
        # What it did not look at stays behind what it did.
        least = min([value for value in found.tolist() if not math.isnan(value)], default=1.0)
        for at, value in enumerate(rounded):
            rounded[at] = min(value, least)
        for at, value in zip(first, found.tolist(), strict=True):
            rounded[at] = rounded[at] if math.isnan(value) else round(value, 6)
        return rounded

    def _all(
        self,
        questions: Sequence[str],
        chunks: Sequence[Sequence[Chunk | str]],
        relevant: Sequence[Collection[str]],
    ) -> list[tuple[Scores, Floats]]:
        """Scores and labels of the chunks of each question that says anything."""
        if not len(questions) == len(chunks) == len(relevant):
            raise PolicyError(
                f"Rank: {len(questions)} questions, {len(chunks)} lists of chunks and "
                f"{len(relevant)} of relevant ids: there must be one of each per question"
            )
        found: list[tuple[Scores, Floats]] = []
        for question, given, helps in zip(questions, chunks, relevant, strict=True):
            whole = tuple(
                Chunk(id=str(place), text=one) if isinstance(one, str) else one
                for place, one in enumerate(given)
            )
            scores = self._score(Context(question=question, chunks=whole)) if whole else None
            if scores is not None:
                labels = [float(chunk.id in helps) for chunk in whole]
                found.append((scores, np.array(labels)))
        return found


def _check_kinds(rank: Rank) -> None:
    """Reject fields of the wrong kind."""
    encoder, judge, model = rank.encoder, rank.cross_encoder, rank.model
    for name in ("reorder", "always"):
        if not isinstance(getattr(rank, name), bool):
            raise PolicyError(f"Rank.{name}: expected True or False, got {getattr(rank, name)!r}")
    if not (encoder is None or encoder == "static" or isinstance(encoder, Encoder)):  # pyright: ignore[reportUnnecessaryIsInstance] -- as above
        raise PolicyError(
            f"Rank.encoder: expected 'static', an Encoder or None, got {encoder!r}; "
            "as_encoder(…) makes one of an embeddings object"
        )
    if not (judge is None or isinstance(judge, str) or callable(getattr(judge, "predict", None))):
        raise PolicyError(f"Rank.cross_encoder: expected a CrossEncoder or its name, got {judge!r}")
    if not (model is None or isinstance(model, RankModel)):  # pyright: ignore[reportUnnecessaryIsInstance] -- as above
        raise PolicyError(f"Rank.model: expected a RankModel or None, got {model!r}")


def _score_of(chunk: Chunk) -> float:
    """The retriever's score, NaN if it is unknown or no number."""
    return float("nan") if chunk.score is None else float(chunk.score)


def _with_prior(p: Floats, scored: Floats) -> Floats:
    """P with what the retriever's scores say on top: they see what words do not."""
    known = np.isfinite(scored) & (np.abs(scored) < _MAX_SCORE)
    values: list[float] = scored[known].tolist()
    # Exact sums: the same in whatever order the chunks came in.
    mean = math.fsum(values) / max(1, len(values))
    spread = math.sqrt(math.fsum((one - mean) ** 2 for one in values) / max(1, len(values)))
    if spread < 1e-9:
        return p
    above = np.where(known, (np.where(known, scored, 0.0) - mean) / spread, 0.0)
    return shifted(p, _PRIOR * np.clip(above, -3, 3))


def _levelled(p: Floats, chunks: Sequence[Chunk], cover: Floats) -> Floats:
    """P where versions of one text that have as much of the question are as likely to help.

    They differ in a fact that was not asked for; which of them led to the other says nothing.
    """
    level = p.copy()
    places = {chunk.id: place for place, chunk in enumerate(chunks)}
    seen: set[int] = set()
    for start, chunk in enumerate(chunks):
        group: list[int] = []
        ahead = [start] if chunk.conflicts else []
        while ahead:
            place = ahead.pop()
            if place not in seen:
                seen.add(place)
                group.append(place)
                rivals = [places[one] for one in chunks[place].conflicts if one in places]
                ahead += [one for one in rivals if abs(cover[one] - cover[place]) < 1e-9]
        if group:
            level[group] = p[group].max()
    return level


def _why(scores: Scores, place: int) -> tuple[str, list[str]]:
    """What speaks for a chunk, and the words that say it, those that count most first."""
    held = set[int]().union(*scores.terms[place])
    asked = _heaviest(scores, held & scores.asked)
    if asked:
        return f"it has {_quoted(asked)} of the question", asked
    links = _heaviest(scores, held)
    if links:
        return f"it shares {_quoted(links)} with a chunk that is like the question", links
    return "it has no word of the question", []


def _heaviest(scores: Scores, terms: Collection[int]) -> list[str]:
    best = sorted(terms, key=lambda term: (-scores.weights[term], term))
    return [scores.names[term] for term in best[:_TERMS]]


def _quoted(words: Sequence[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)


def _moved(chunk: Chunk, *, was: int, now: int, why: tuple[str, list[str]]) -> Decision:
    reason, words = why
    return Decision(
        stage=Rank.name,
        action="move",
        subject=chunk.id,
        code="reranked",
        reason=f"rank {was + 1} → {now + 1}: {chunk.relevance:.2f} likely to help, {reason}",
        score=chunk.relevance,
        details={"from": was, "to": now, "terms": words},
    )


def _nothing(best: Chunk, least: float) -> Decision:
    return Decision(
        stage=Rank.name,
        action="flag",
        subject=best.id,
        code="nothing-relevant",
        reason=(
            f"nothing here is likely to answer the question: the best chunk is {best.relevance:.3f}"
            f" likely to help, under {least:g}"
        ),
        score=best.relevance,
        threshold=least,
    )


def _no_question(first: Chunk) -> Decision:
    return Decision(
        stage=Rank.name,
        action="flag",
        subject=first.id,
        code="no-question",
        reason="there is no question, or none with a word to look for: the order stays as it is",
    )
