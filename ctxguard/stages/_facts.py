"""The facts that a place of a text is part of, and how those of two places differ."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from ctxguard.stages._view import TextView
from ctxguard.text.facts import Fact, FactDifference, differing_facts, extract_facts
from ctxguard.types import Span

__all__ = ["facts_near", "paired", "reach", "touching"]

_NEAR = 12
"""Words around a place that are read with it: '30' belongs to 'at least 30 business days'."""
_LONG = 20_000
"""Characters of a place in which facts are looked for."""


def facts_near(view: TextView, words: Span, *, beyond: int = 0) -> list[Fact]:
    """The facts that begin before or in a range of words, in the same sentence.

    Args:
        view: the text.
        words: the range.
        beyond: words after it of which the facts are wanted too.

    Returns:
        Facts with spans of the whole text.
    """
    first, last = _sentence(view, words)
    near = max(first, words[0] - _NEAR), min(last, words[1] + _NEAR)
    start, end = view.words.span(*near)
    if near[0] == near[1] or end - start > _LONG:
        return []
    until = view.words.span(words[0], min(len(view.words), words[1] + beyond))[1]
    return [
        Fact(fact.kind, fact.value, fact.text, (fact.span[0] + start, fact.span[1] + start))
        for fact in extract_facts(view.text[start:end], until=until - start)
    ]


def touching(view: TextView, words: Span, facts: Sequence[Fact]) -> list[Fact]:
    """Those of the facts that a range of words, or the gap between two, is part of."""
    start, end = view.words.span(*words)
    return [fact for fact in facts if fact.span[0] < end and start < fact.span[1]]


def reach(view: TextView, words: Span, facts: Sequence[Fact]) -> tuple[int, int]:
    """How many words the facts go beyond a range of words, before and after it."""
    if not facts:
        return 0, 0
    first = view.words.index_at(min(fact.span[0] for fact in facts))
    past = view.words.index_at(max(fact.span[1] for fact in facts))
    return max(0, words[0] - first), max(0, past - words[1])


def paired(left: Sequence[Fact], right: Sequence[Fact]) -> tuple[FactDifference, ...]:
    """How the facts of one place differ; what is left of each side is set against the other's."""
    found = differing_facts(left, right)
    both = [difference for difference in found if difference.left and difference.right]
    ours = [difference for difference in found if difference.right is None]
    theirs = [difference for difference in found if difference.left is None]
    pairs = [
        FactDifference(one.kind, one.left, other.right)
        for one, other in zip(ours, theirs, strict=False)
    ]
    return (*both, *pairs, *ours[len(pairs) :], *theirs[len(pairs) :])


def _sentence(view: TextView, words: Span) -> Span:
    """The words of the sentence, or sentences, that the range stands in."""
    first = view.breaks[bisect_right(view.breaks, words[0]) - 1]
    place = min(bisect_left(view.breaks, max(words[1], first + 1)), len(view.breaks) - 1)
    return first, view.breaks[place]
