"""Surroundings: what retrieval found, and what the conversation is, as signals for a router.

All of them are signals of *work*: more of one never makes a question easier. They are read from
what a run holds anyway (scores, decisions, messages), so that nothing is tokenised or searched
again. What is not known is left out, and counts as average. Word lists are English.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ctxguard.ledger import Ledger
from ctxguard.types import Chunk, Decision, Message

__all__ = [
    "CONVERSATION",
    "FOUND",
    "SURROUNDINGS",
    "describe",
    "surroundings_in",
    "surroundings_of",
]

_FOUND = {
    "no_lead": "a first result that does not stand out by its score",
    "flat_scores": "scores that hardly differ",
    "doubt": "doubt that the best chunk helps",
    "relevant_chunks": "chunks that are likely to help",
    "conflicts": "versions that conflict",
    "evidence_groups": "independent pieces of evidence",
    "second_chunk": "terms of the question that the best chunk lacks and another has",
    "left_out": "share of the evidence that had no room",
    "nothing_found": "nothing found that helps",
}
_CONVERSATION = {
    "turns": "earlier turns",
    "conversation_tokens": "length of the conversation",
    "leans_back": "a question that leans on earlier turns",
    "tool_results": "tool results in this turn",
}
FOUND, CONVERSATION = tuple(_FOUND), tuple(_CONVERSATION)
SURROUNDINGS = (*FOUND, *CONVERSATION)
"""Names of the signals; `surroundings_of` gives those that are known."""
_SAID = {**_FOUND, **_CONVERSATION}

_LEAST_SCORES = 3
"""Of two scores, the distance says nothing: it is all the scale that there is."""
_MAX_SCORE = 1e100
"""Scores beyond this are no measure of anything."""
_JUDGED = frozenset(
    {"reranked", "nothing-relevant", "irrelevant", "fits", "over-budget", "no-limit", "kept"}
)
"""Codes of decisions whose score is P(the chunk helps)."""
_CHARACTERS = 4
"""Of a token, where nobody has counted."""
_SHORT = 4
"""Words up to which a follow-up says too little to be understood by itself."""
_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_POINTS_BACK = frozenset(
    {
        *("it", "its", "this", "that", "these", "those", "they", "them", "their"),
        *("he", "him", "his", "she", "her", "hers", "which", "why", "same", "others", "another"),
        *("so", "and", "but", "or", "then", "also"),
    }
)
"""Words by which a question begins that goes on from what was said."""


def describe(name: str) -> str:
    """What a signal is, for a person."""
    return _SAID[name]


def surroundings_of(
    chunks: Sequence[Chunk] | None,
    decisions: Sequence[Decision] = (),
    *,
    came: Sequence[Chunk] = (),
    messages: Sequence[Message] = (),
) -> dict[str, float]:
    """The signals that are known of what surrounds a question, by name.

    Args:
        chunks: as they were handed on; None: nothing was retrieved for the question.
        decisions: what the policy decided about them.
        came: the chunks as they came in, best-ranked first; blank: `chunks`.
        messages: the whole prompt, in order; blank: it is not known.
    """
    found = {} if chunks is None else _found(chunks, decisions, came or chunks)
    return {**found, **(_conversation(messages) if messages else {})}


def surroundings_in(ledger: Ledger) -> dict[str, float]:
    """The signals that the router of a run saw; where none decided, those of what was retrieved.

    A ledger that was stored without content does not have all of them.
    """
    for decision in ledger.decisions:
        seen = decision.details.get("around") if decision.stage == "route" else None
        if isinstance(seen, Mapping) and seen:
            return {
                name: value
                for name, given in seen.items()
                if name in _SAID and (value := _number(given)) is not None
            }
    if all(step.kind != "retrieval" for step in ledger.steps):
        return {}
    gone = {decision.subject for decision in ledger.of("drop")}
    kept = [chunk for chunk in ledger.chunks if chunk.id not in gone]
    return surroundings_of(kept, ledger.decisions, came=ledger.chunks)


# -- what retrieval found -------------------------------------------------------------------------


def _found(
    chunks: Sequence[Chunk], decisions: Sequence[Decision], came: Sequence[Chunk]
) -> dict[str, float]:
    return {
        **_shape(came),
        **_relevance(chunks, decisions),
        "conflicts": math.log1p(len(_conflicts(decisions, (*came, *chunks)))),
        "evidence_groups": math.log1p(_groups(chunks, decisions, came)),
        **_second_chunk(chunks, decisions),
        **_left_out(decisions, came),
        "nothing_found": float(
            not chunks or any(one.code == "nothing-relevant" for one in decisions)
        ),
    }


def _shape(came: Sequence[Chunk]) -> dict[str, float]:
    """How little the scores tell the results apart, 0 to 1; the same on any scale.

    The first result is the best one by its place, so that what counts is how far each score is from
    its: whether higher is better, or it is a distance, does not matter.
    """
    scores = [score for chunk in came if (score := _number(chunk.score)) is not None]
    if len(scores) < _LEAST_SCORES:
        return {}
    first = scores[0]
    gaps = sorted(abs(score - first) for score in scores)
    if gaps[-1] <= 1e-9 * max(map(abs, scores)):
        return {"no_lead": 1.0, "flat_scores": 1.0}
    lead = math.fsum(gaps) / gaps[-1] / (len(scores) - 1)
    near = [1 - gap / gaps[-1] for gap in gaps]
    total = math.fsum(near)
    entropy = -math.fsum(one / total * math.log(one / total) for one in near if one > 0)
    return {
        "no_lead": 1 - min(1.0, lead),
        "flat_scores": min(1.0, max(0.0, entropy / math.log(len(scores)))),
    }


def _relevance(chunks: Sequence[Chunk], decisions: Sequence[Decision]) -> dict[str, float]:
    """What P(it helps) of the chunks comes to, as far as Rank judged them."""
    known: dict[str, float] = {}
    for subject, given in (
        *((one.subject, one.score) for one in decisions if one.code in _JUDGED),
        *((chunk.id, chunk.relevance) for chunk in chunks),
    ):
        p = _number(given)
        if p is not None:
            known.setdefault(subject, min(1.0, max(0.0, p)))
    if not known:
        return {}
    return {
        "doubt": 1 - max(known.values()),
        "relevant_chunks": math.log1p(math.fsum(known.values())),
    }


def _conflicts(decisions: Sequence[Decision], chunks: Sequence[Chunk]) -> set[frozenset[str]]:
    """Pairs of chunks that say the same with other facts."""
    found = {
        frozenset((one.subject, one.twin))
        for one in decisions
        if one.code == "conflict" and one.twin is not None
    }
    return found | {frozenset((chunk.id, other)) for chunk in chunks for other in chunk.conflicts}


def _groups(chunks: Sequence[Chunk], decisions: Sequence[Decision], came: Sequence[Chunk]) -> int:
    """How many of the chunks are of different sources, and no copies or versions of each other."""
    leader: dict[tuple[str, str], tuple[str, str]] = {}

    def lead(node: tuple[str, str]) -> tuple[str, str]:
        while (above := leader.setdefault(node, node)) != node:
            leader[node] = leader[above]
            node = above
        return node

    for one, other in _ties(decisions, (*came, *chunks)):
        leader[lead(one)] = lead(other)
    return len({lead(("id", chunk.id)) for chunk in chunks})


def _ties(
    decisions: Sequence[Decision], chunks: Sequence[Chunk]
) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    """What belongs together: ids and sources."""
    for chunk in chunks:
        own = ("id", chunk.id)
        if chunk.source:
            yield own, ("source", chunk.source)
        for other in chunk.conflicts:
            yield own, ("id", other)
        for name in chunk.also_in:  # a source, or the id of a chunk without one
            yield own, ("source", name)
            yield own, ("id", name)
    for decision in decisions:
        if decision.twin is not None:
            yield ("id", decision.subject), ("id", decision.twin)


def _second_chunk(chunks: Sequence[Chunk], decisions: Sequence[Decision]) -> dict[str, float]:
    """Of the terms that the chunks cover together, by weight, what the best one does not have."""
    covers: dict[str, Mapping[str, float]] = {chunk.id: chunk.covers for chunk in chunks}
    for decision in decisions:
        terms = decision.details.get("covers")
        # Of the chunks of a ledger, which are as they came in, only decisions say it.
        if isinstance(terms, Mapping) and covers.get(decision.subject) == {}:
            counted = ((term, _number(weight)) for term, weight in terms.items())
            covers[decision.subject] = {
                term: weight for term, weight in counted if weight is not None
            }
    every: dict[str, float] = {}
    for terms in covers.values():
        every.update(terms)
    total = math.fsum(sorted(every.values()))
    if not total > 0:
        return {}
    best = max(math.fsum(sorted(terms.values())) for terms in covers.values())
    return {"second_chunk": min(1.0, max(0.0, 1 - best / total))}


def _left_out(decisions: Sequence[Decision], came: Sequence[Chunk]) -> dict[str, float]:
    """The share of the evidence's tokens that had to go; what a twin says too is no loss."""
    sizes: dict[str, float] = {
        chunk.id: len(chunk.rendered or chunk.text) / _CHARACTERS for chunk in came
    }
    kept: dict[str, float] = {}
    for one in decisions:
        if one.subject not in sizes or one.tokens_before is None or one.tokens_after is None:
            continue
        if one.twin is not None:
            sizes[one.subject] = one.tokens_after
            continue
        if one.subject not in kept:
            sizes[one.subject] = one.tokens_before
        kept[one.subject] = one.tokens_after
    total = math.fsum(sizes.values())
    if not total > 0:
        return {}
    left = math.fsum(kept.get(name, size) for name, size in sizes.items())
    return {"left_out": min(1.0, max(0.0, 1 - left / total))}


# -- the conversation -----------------------------------------------------------------------------


def _conversation(messages: Sequence[Message]) -> dict[str, float]:
    asked = [place for place, one in enumerate(messages) if one.role == "user"]
    last = asked[-1] if asked else len(messages)
    around = [one for place, one in enumerate(messages) if one.role != "system" and place != last]
    tokens = sum(len(one.text) / _CHARACTERS + max(0, one.extra_tokens) for one in around)
    turns = max(0, len(asked) - 1)
    return {
        "turns": math.log1p(turns),
        "conversation_tokens": math.log1p(tokens),
        "leans_back": float(turns > 0 and _leans(messages[last].text)),
        "tool_results": math.log1p(sum(one.role == "tool" for one in messages[last:])),
    }


def _leans(text: str) -> bool:
    """Whether a question needs what was said before: it is very short, or begins by pointing."""
    words = _WORD.findall(text[:1000])
    return len(words) <= _SHORT or words[0].lower() in _POINTS_BACK


def _number(value: Any) -> float | None:  # noqa: ANN401 -- scores come from untyped callers
    """A number that can be reckoned with, else None."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) < _MAX_SCORE else None
