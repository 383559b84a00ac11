"""Decisions of deduplication, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal, cast

from ctxguard.stages._differences import Differences
from ctxguard.stages._pool import Entry
from ctxguard.stages._recency import Newer
from ctxguard.text.facts import Fact
from ctxguard.types import Chunk, Decision, JsonValue, Quote, Span

__all__ = [
    "STAGE",
    "Redundant",
    "Repeated",
    "also_in",
    "contained",
    "dropped",
    "emptied",
    "flagged",
    "is_labelled",
    "is_noted",
    "label_for",
    "labelled",
    "name_of",
    "note_for",
    "passed_on",
    "superseded",
    "trimmed",
]

STAGE = "dedupe"
Redundant = Literal["exact-duplicate", "near-duplicate", "subset"]
Repeated = Literal["overlap", "repeated-text", "shared-text"]

_SHOWN = 3
"""Differences that a reason spells out."""
_QUOTED = 60
"""Characters of a text that a reason quotes."""
_LISTED = 20
"""Differences and twins that the details list."""
_FIRST_WORDS = 6
"""Words by which a note names the text that it refers to."""
_NOTE = "[Otherwise the same as the text"
_LABEL = "[Version of"
_WHY_DROPPED: dict[Redundant, str] = {
    "exact-duplicate": "the same text as {twin}",
    "near-duplicate": "word for word {twin}; only case, spacing, punctuation or markup differ",
    "subset": "all of it stands in {twin}, word for word",
}
_WHY_TRIMMED: dict[Repeated, str] = {
    "overlap": "its {side} is also in {twin}: neighbouring windows of one text",
    "repeated-text": "its {side} repeats {twin}; what it adds stays",
    "shared-text": "the sentences it shares with {twin} stand there; those that differ stay here",
}


def name_of(chunk: Chunk) -> str:
    """A chunk in a reason: its source, and its id to tell chunks of one source apart."""
    return f"{_short(chunk.source)} ({chunk.id})" if chunk.source else chunk.id


def note_for(twin: Chunk) -> str:
    """What stands before a text whose other sentences stand in its twin, for the model to read.

    It quotes how the twin starts, because a prompt shows no ids and not always a source.
    """
    of = f" of {_short(twin.source)}" if twin.source else ""
    start = " ".join(twin.text.split()[:_FIRST_WORDS])
    return f"{_NOTE}{of} that starts \u201c{start}\u201d:]\n"


def is_noted(text: str) -> bool:
    """Whether a text starts with such a note, or with the label of a version."""
    return text.startswith((_NOTE, _LABEL))


def is_labelled(text: str) -> bool:
    """Whether a text starts with the label of a version."""
    return text.startswith(_LABEL)


def emptied(entry: Entry, tokens: int) -> Decision:
    """The drop of a blank chunk."""
    return Decision(
        stage=STAGE,
        action="drop",
        subject=entry.chunk.id,
        code="empty",
        reason="it is blank: there is nothing to lose",
        tokens_before=tokens,
        tokens_after=0,
    )


def dropped(
    entry: Entry,
    twin: Entry,
    code: Redundant,
    *,
    measured: tuple[float, float],
    tokens: int,
    but: str = "",
) -> Decision:
    """The drop of a chunk that its twin makes redundant; earlier trims of it become part of it.

    Args:
        entry: what is dropped.
        twin: what says the same.
        code: how it does.
        measured: the score, and the threshold that made the two candidates.
        tokens: of the chunk as it came in.
        but: in what they differ all the same, where it says nothing.
    """
    reason = _WHY_DROPPED[code].format(twin=name_of(twin.chunk))
    if but:
        reason += f" (but for {but})"
    details: dict[str, JsonValue] = {}
    if entry.trims:
        others = list(dict.fromkeys(trim.twin for trim in entry.trims if trim.twin))
        reason += f"; the rest of it stands in {', '.join(others)}"
        details["also"] = list[JsonValue](others)
    return Decision(
        stage=STAGE,
        action="drop",
        subject=entry.chunk.id,
        code=code,
        reason=reason,
        twin=twin.chunk.id,
        score=measured[0],
        threshold=measured[1],
        tokens_before=tokens,
        tokens_after=0,
        details=details,
    )


def passed_on(
    decision: Decision, root: Entry, also: Sequence[str], *, newer: bool = False
) -> Decision:
    """A decision whose twin was left out itself, in favour of others that are still there.

    Args:
        decision: names the twin.
        root: stands for it now.
        also: further ids that hold parts of it.
        newer: the twin was left out as an older version.
    """
    others = list(dict.fromkeys([*also_in(decision), *also]))
    stands_in = " and ".join([name_of(root.chunk), *also])
    details = {**decision.details, "also": list[JsonValue](others)} if others else decision.details
    how = "of which a newer version is" if newer else "which stands in"
    return replace(
        decision,
        twin=root.chunk.id,
        reason=f"{decision.reason}, {how} {stands_in}",
        details=details,
    )


def also_in(decision: Decision) -> list[str]:
    """Ids of further chunks that hold parts of what was left out."""
    return cast("list[str]", decision.details.get("also", []))


def trimmed(
    entry: Entry,
    twin: Entry,
    code: Repeated,
    *,
    removed: Sequence[Span],
    score: float,
    tokens: tuple[int, int],
) -> Decision:
    """The trim of what a chunk repeats; `removed` are spans of the text that came in."""
    side = "start" if not removed or removed[0][0] == 0 else "end"
    return Decision(
        stage=STAGE,
        action="trim",
        subject=entry.chunk.id,
        code=code,
        reason=_WHY_TRIMMED[code].format(twin=name_of(twin.chunk), side=side),
        twin=twin.chunk.id,
        score=score,
        tokens_before=tokens[0],
        tokens_after=tokens[1],
        details={"removed": [list(span) for span in removed]},
    )


def flagged(
    entry: Entry,
    twin: Entry,
    found: Differences,
    *,
    measured: tuple[float, float],
    also: Sequence[str],
    ageless: bool = False,
) -> Decision:
    """The flag of two versions that both stay: a conflict of facts, or other words.

    Args:
        entry: the worse-ranked one.
        twin: the better-ranked one.
        found: how they differ.
        measured: the score, and the threshold that made the two candidates.
        also: ids of further versions.
        ageless: the newer one was asked for, and nothing tells which it is.
    """
    facts = list(_facts(found))
    pairs = (
        ((left.text if left else "", right.text if right else "") for left, right in facts)
        if facts
        else _wordings(entry, twin, found)
    )
    differs = list(dict.fromkeys(pairs))
    where = name_of(twin.chunk)
    shown = "; ".join(_difference(left, right, where) for left, right in differs[:_SHOWN])
    if len(differs) > _SHOWN:
        shown += f"; {len(differs) - _SHOWN} more differ"
    if not differs:
        shown = (
            f"the sentences of {where} in another order"
            if found.reordered
            else f"the words of {where} in another case or grouping"
        )
    why = "; no date or version of theirs says which is newer" if ageless and facts else ""
    details: dict[str, JsonValue] = {"differs": [list(pair) for pair in differs[:_LISTED]]}
    if also:
        details["also"] = list(also[:_LISTED])
    return Decision(
        stage=STAGE,
        action="flag",
        subject=entry.chunk.id,
        code="conflict" if facts else "different-wording",
        reason=f"{shown}: two versions of one text, both stay{why}",
        twin=twin.chunk.id,
        score=measured[0],
        threshold=measured[1],
        evidence=tuple(_quotes(entry, twin, facts)),
        details=details,
    )


def superseded(
    older: Entry, twin: Entry, found: Differences, age: Newer, *, score: float, tokens: int
) -> Decision:
    """The drop of the older of two versions that conflict, in mode 'latest'.

    Args:
        older: what is dropped.
        twin: the newer version.
        found: how they differ, the worse-ranked one's side first.
        age: which is newer, and by what.
        score: of the two as candidates.
        tokens: of the chunk as it came in.
    """
    pairs = [
        (left.text if left else "", right.text if right else "") for left, right in _facts(found)
    ]
    if older.rank < twin.rank:
        pairs = [(right, left) for left, right in pairs]
    where = name_of(twin.chunk)
    shown = "; ".join(_difference(left, right, where) for left, right in pairs[:_SHOWN])
    when = f"{age.key} {_short(age.newer)} after {_short(age.older)}"
    return Decision(
        stage=STAGE,
        action="drop",
        subject=older.chunk.id,
        code="superseded",
        reason=f"{where} is the newer version ({when}): {shown}",
        twin=twin.chunk.id,
        score=score,
        tokens_before=tokens,
        tokens_after=0,
        details={
            "key": age.key,
            "newer": age.newer,
            "older": age.older,
            "differs": [list(pair) for pair in pairs[:_LISTED]],
        },
    )


def contained(entry: Entry, twin: Entry, *, score: float) -> Decision:
    """The flag of a chunk in the middle of which all of a better-ranked one stands."""
    return Decision(
        stage=STAGE,
        action="flag",
        subject=entry.chunk.id,
        code="contains",
        reason=f"all of {name_of(twin.chunk)} stands in it, between what only this one says: "
        "both stay, the shorter for its rank",
        twin=twin.chunk.id,
        score=score,
    )


def label_for(twin: Entry, differs: Sequence[Sequence[str]]) -> str:
    """The line before a version: the other one, and the facts that differ, its own first."""
    of = f" ({_short(twin.chunk.source)})" if twin.chunk.source else ""
    start = " ".join(twin.came_in.split()[:_FIRST_WORDS])
    facts = "; ".join(
        " / ".join(_short(side) or "nothing" for side in pair) for pair in differs[:_SHOWN]
    )
    return f"{_LABEL} \u201c{_short(start)}\u201d{of}: differs in {facts}]\n"


def labelled(entry: Entry, twin: Entry, *, tokens: tuple[int, int]) -> Decision:
    """The note that was put before a version, in mode 'label'."""
    return Decision(
        stage=STAGE,
        action="rewrite",
        subject=entry.chunk.id,
        code="labelled",
        reason=f"a line before it tells the model how it differs from {name_of(twin.chunk)}",
        twin=twin.chunk.id,
        tokens_before=tokens[0],
        tokens_after=tokens[1],
    )


def _facts(found: Differences) -> Iterator[tuple[Fact | None, Fact | None]]:
    """The facts that differ, each pair once."""
    seen: set[tuple[Span | None, Span | None]] = set()
    for place in found.places:
        for difference in place.facts:
            left, right = difference.left, difference.right
            key = (left.span if left else None, right.span if right else None)
            if key not in seen:
                seen.add(key)
                yield left, right


def _quotes(
    entry: Entry, twin: Entry, facts: Sequence[tuple[Fact | None, Fact | None]]
) -> Iterator[Quote]:
    """The differing facts, word for word, the subject's first in every pair."""
    for pair in facts[:_LISTED]:
        for owner, fact in zip((entry, twin), pair, strict=True):
            if fact is not None:
                span = owner.original(fact.span)
                yield Quote(
                    chunk_id=owner.chunk.id, span=span, text=owner.came_in[span[0] : span[1]]
                )


def _wordings(entry: Entry, twin: Entry, found: Differences) -> Iterator[tuple[str, str]]:
    """The words, or sentences, that only one of the two has."""
    text, other = entry.chunk.text, twin.chunk.text
    for place in found.places:
        yield text[slice(*place.worse)], other[slice(*place.better)]
    if not found.places and not found.reordered:
        for span in found.extra_worse:
            yield text[slice(*span)], ""
        for span in found.extra_better:
            yield "", other[slice(*span)]


def _difference(left: str, right: str, where: str) -> str:
    if not right:
        return f'"{_short(left)}" only here, not in {where}'
    if not left:
        return f'"{_short(right)}" in {where}, not here'
    return f'"{_short(left)}" here, "{_short(right)}" in {where}'


def _short(text: str) -> str:
    text = " ".join(text[: 2 * _QUOTED].split())
    return text if len(text) <= _QUOTED else f"{text[: _QUOTED - 1]}…"
