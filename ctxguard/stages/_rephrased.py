"""Leaving out short chunks of which a better-ranked one says all, in other words.

Runs after copies are out. Only short texts are judged, so a pool of long chunks costs nothing. What
others lean on stays, and so does what conflicts with a third text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ctxguard.stages._paraphrase import Judgement, judge
from ctxguard.stages._statement import Statement
from ctxguard.text.analysis import Analyzer
from ctxguard.text.encoders import static_encoder, unit_rows
from ctxguard.text.thesaurus import default_thesaurus
from ctxguard.types import Chunk, Decision

__all__ = ["leave_out_rephrased"]

_SHORT = 90
"""Tokens of a text that is judged, about 60 words: the longer, the more a judgement by words may
miss."""
_LONG = 400
"""Tokens of a text that may say what a short one says."""
_SENTENCES = 3
"""Sentences of a text that is judged, and sentences of the other that each is held against."""
_NEAR = 0.4
"""Cosine of two texts that are judged. Of pairs that are entailed 97 % are above with the static
encoder; of random pairs of one topic one in five."""
_TWINS = 4
"""Better-ranked texts that one is held against, the nearest first."""
_BLOCK = 512
_MOST = 4096
"""Short texts per call; in larger pools only the best-ranked are judged: cosines of all pairs take
time and memory that grow with the square."""
_LAID_OUT = re.compile(r"\t|\||^\s*[-*\u2022>#]|(?<!.{40})\n(?=\s*\S)|\n(?!\s*[a-z]|\s*$)|```")
"""What prose does not have: a list, a table, a heading. A line may be wrapped in a sentence."""
_SUBJECTS = frozenset({"he", "she", "it", "they", "this", "these", "those", "such", "that"})
"""Words at the start of a statement that stand for what is not in it."""


def leave_out_rephrased(
    chunks: Sequence[Chunk],
    decisions: Sequence[Decision],
    analyzer: Analyzer,
    threshold: float,
) -> tuple[tuple[Chunk, ...], tuple[Decision, ...]]:
    """What stays of the chunks, and the decisions with those about what does not.

    Args:
        chunks: best-ranked first, copies taken out.
        decisions: that were made about them so far.
        analyzer: counts tokens and finds sentences.
        threshold: of the judgement's score, 0 to 1.
    """
    held = _held(chunks, decisions)
    found = {
        worse: (better, judgement)
        for worse, better, judgement in _find(chunks, analyzer, threshold, held)
    }
    if not found:
        return tuple(chunks), tuple(decisions)
    made = {
        chunks[worse].id: _drop(chunks[worse], chunks[better], judgement, threshold, analyzer)
        for worse, (better, judgement) in found.items()
    }
    gone: dict[int, list[Chunk]] = {}
    for worse, (better, _) in found.items():
        gone.setdefault(better, []).append(chunks[worse])
    rivals = sum(len(chunk.conflicts) for place, chunk in enumerate(chunks) if place not in found)
    kept = tuple(
        _without_rivals(_with_sources(chunk, gone.get(place, ())), made)
        for place, chunk in enumerate(chunks)
        if place not in found
    )
    told = [told for decision in decisions if (told := _told_anew(decision, made)) is not None]
    decisions = (*told, *made.values())
    if sum(len(chunk.conflicts) for chunk in kept) < rivals:
        # What stayed for the sake of a rival that is gone now may go too.
        return leave_out_rephrased(kept, decisions, analyzer, threshold)
    return kept, decisions


def _held(chunks: Sequence[Chunk], decisions: Sequence[Decision]) -> Mapping[str, set[str]]:
    """Id → ids of the chunks for the sake of which it stays.

    Versions that conflict are held against any third text; what one of them says of the other is
    for the judgement to say. What was trimmed, and what that leans on, stays in any case.
    """
    held: dict[str, set[str]] = {}

    def hold(one: str, other: str) -> None:
        held.setdefault(one, set()).add(other)
        held.setdefault(other, set()).add(one)

    for chunk in chunks:
        for other in chunk.conflicts:
            hold(chunk.id, other)
        for other in chunk.leans_on:
            hold(chunk.id, chunk.id)
            hold(other, other)
    for decision in decisions:
        if decision.action == "flag" and decision.code != "different-wording":
            hold(decision.subject, decision.twin or decision.subject)
        elif decision.action != "drop" and decision.code != "different-wording":
            hold(decision.subject, decision.subject)
            if decision.twin is not None:
                hold(decision.twin, decision.twin)
    return held


# -- pairs ----------------------------------------------------------------------------------------


def _find(
    chunks: Sequence[Chunk], analyzer: Analyzer, threshold: float, held: Mapping[str, set[str]]
) -> Iterator[tuple[int, int, Judgement]]:
    """Each chunk that goes, with the best-ranked chunk that says it; none of these goes itself."""
    sizes = [analyzer.count(chunk.text) for chunk in chunks]
    able = [place for place, size in enumerate(sizes) if size <= _LONG]
    short = [
        place
        for place in able
        if sizes[place] <= _SHORT and chunks[place].id not in held.get(chunks[place].id, ())
    ]
    if len(short) > _MOST:
        able = [place for place in able if place <= short[_MOST - 1]]
        short = short[:_MOST]
    if len(able) < 2 or not short:
        return
    reader = _Reader(analyzer, threshold)
    gone: set[int] = set()
    for worse, twins in _nearest(chunks, able, short, gone):
        for better in twins:
            if held.get(chunks[worse].id, set[str]()) - {chunks[better].id}:
                continue
            judgement = reader.judge(chunks[worse].text, chunks[better].text)
            if judgement.score >= threshold:
                gone.add(worse)
                yield worse, better, judgement
                break


def _nearest(
    chunks: Sequence[Chunk],
    able: Sequence[int],
    short: Sequence[int],
    gone: set[int],
) -> Iterator[tuple[int, list[int]]]:
    """For each short chunk the nearest better-ranked ones that are still there, by rank."""
    vectors = _vectors([chunks[place] for place in able])
    row = {place: number for number, place in enumerate(able)}
    places = np.array(able)
    for start in range(0, len(short), _BLOCK):
        block = short[start : start + _BLOCK]
        cosines = vectors[[row[place] for place in block]] @ vectors.T
        for place, near in zip(block, cosines, strict=True):
            better = near[: row[place]]
            found = np.flatnonzero(better >= _NEAR)
            ranked = found[np.argsort(-better[found], kind="stable")]
            left = [int(places[at]) for at in ranked if int(places[at]) not in gone]
            yield place, sorted(left[:_TWINS])


def _vectors(chunks: Sequence[Chunk]) -> NDArray[np.float32]:
    """The retriever's own vectors where every chunk has a sane one, else the static encoder's."""
    if all(chunk.embedding is not None for chunk in chunks):
        rows = unit_rows([chunk.embedding for chunk in chunks])
        if rows.any(axis=1).all():
            return rows
    return static_encoder().encode([chunk.text for chunk in chunks])


# -- judgement ------------------------------------------------------------------------------------


class _Reader:
    """Judges texts sentence by sentence; reads each sentence once."""

    def __init__(self, analyzer: Analyzer, threshold: float) -> None:
        self._threshold = threshold
        self._analyzer = analyzer
        self._thesaurus = default_thesaurus()
        self._encoder = static_encoder()
        self._read: dict[str, list[Statement]] = {}

    def judge(self, worse: str, better: str) -> Judgement:
        """Whether the sentences of one text are said by sentences of the other in a row."""
        ours, theirs = self._statements(worse), self._statements(better)
        if not 0 < len(ours) <= _SENTENCES or len(ours) > len(theirs):
            return Judgement(0.0, blocked="nothing")
        best, place = self._best(ours[0], theirs)
        score, pairs = best.score, best.pairs
        for statement in ours[1:]:
            # The next one only: what stands between may change what it speaks of.
            place += 1
            best, _ = self._best(statement, theirs[place : place + 1])
            score, pairs = score * best.score, (*pairs, *best.pairs)
        return Judgement(score, pairs)

    def _best(self, statement: Statement, others: Sequence[Statement]) -> tuple[Judgement, int]:
        """The judgement by the sentence that says most of a statement, and its place."""
        shared = [
            (-len(statement.vocabulary & other.vocabulary), place)
            for place, other in enumerate(others)
            if not _points_elsewhere(statement, other)
        ]
        best, at = Judgement(0.0, blocked="nothing"), len(others)
        for _, place in sorted(shared)[:_SENTENCES]:
            found = judge(
                statement,
                others[place],
                thesaurus=self._thesaurus,
                encoder=self._encoder,
                least=self._threshold,
            )
            if found.score > best.score:
                best, at = found, place
        return best, at

    def _statements(self, text: str) -> list[Statement]:
        known = self._read.get(text)
        if known is None and _LAID_OUT.search(text.strip()):
            known = self._read[text] = []
        if known is None:
            spans = self._analyzer.analyse(text).sentences
            known = [Statement(text[start:end], self._thesaurus) for start, end in spans]
            self._read[text] = known
        return known


def _points_elsewhere(statement: Statement, other: Statement) -> bool:
    """Whether a statement begins with a word for something that the other does not point to."""
    return any(word in _SUBJECTS and word not in other.words[:3] for word in statement.words[:3])


# -- decisions ------------------------------------------------------------------------------------


def _drop(
    worse: Chunk, better: Chunk, judgement: Judgement, threshold: float, analyzer: Analyzer
) -> Decision:
    changed = [
        (pair.wanted.text, pair.said.text)
        for pair in judgement.pairs
        if pair.said is not None and not pair.is_same
    ]
    shown = ", ".join(f"\u201c{ours}\u201d \u2248 \u201c{theirs}\u201d" for ours, theirs in changed)
    name = f"{better.source} ({better.id})" if better.source else better.id
    return Decision(
        stage="dedupe",
        action="drop",
        subject=worse.id,
        code="paraphrase",
        reason=f"says in other words what {name} says" + (f": {shown}" if shown else ""),
        twin=better.id,
        score=judgement.score,
        threshold=threshold,
        tokens_before=analyzer.count(worse.text),
        tokens_after=0,
        details={"words": [list(pair) for pair in changed]},
    )


def _told_anew(decision: Decision, made: Mapping[str, Decision]) -> Decision | None:
    """A decision about chunks some of which are gone now; None where it no longer holds."""
    if decision.action != "drop":
        gone = decision.subject in made or (decision.twin or "") in made
        return None if gone else decision
    drop = made.get(decision.twin or "")
    if drop is None:
        return decision
    reason = f"{decision.reason}, which {drop.reason}"
    return replace(decision, twin=drop.twin, reason=reason)


def _without_rivals(chunk: Chunk, gone: Collection[str]) -> Chunk:
    """The chunk, in conflict with nothing that is gone: what says the same is no other version."""
    if not any(name in gone for name in chunk.conflicts):
        return chunk
    left = tuple(name for name in chunk.conflicts if name not in gone)
    return replace(chunk, conflicts=left)


def _with_sources(chunk: Chunk, gone: Sequence[Chunk]) -> Chunk:
    """The chunk, with the sources of those that it stands for."""
    if not gone:
        return chunk
    sources = dict.fromkeys(chunk.also_in)
    for other in gone:
        sources |= dict.fromkeys((other.source or other.id, *other.also_in))
    sources.pop(chunk.source or chunk.id, None)
    return replace(chunk, also_in=tuple(sources))
