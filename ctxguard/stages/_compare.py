"""What a worse-ranked text adds to a better-ranked one. The decision to drop rests on this alone.

A text is redundant when all its content words stand in the other in one piece, and when where it
starts and ends proves it a copy or a cutting: `The fee is due.` is none of `The fee is due if
invoiced.`, and `Gold plan: 6 dollars` is none of `Gold plan: 5 dollars. Silver plan: 6 dollars`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ctxguard.stages._case import cased
from ctxguard.stages._spelling import is_respellable
from ctxguard.stages._view import CUTTING, TextView
from ctxguard.stages._windows import neighbours
from ctxguard.types import Span

__all__ = ["Kin", "Relation", "alike", "compare"]

Kin: TypeAlias = Literal["same", "unknown", "other"]
"""Whether two chunks come from one source; 'unknown' when both sources are blank."""

_ENDINGS = frozenset(
    ["s", "es", "d", "ed", "ing", "ly", "r", "er", "or", "e", "ee", "y", "al", "n", "en"]
)
"""Letters without which a word is one of its own: Product, License."""
_TRIES = 8
"""Places that are tried when a text stands in another more than once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """What the worse-ranked text adds to the better-ranked one."""

    kind: Literal["copy", "part", "repeat", "other", "none"]
    """- 'copy': nothing, they have the same words.
    - 'part': nothing, its words are a part of the other's.
    - 'repeat': what is left of it without `removed`; nothing is removed where that would leave a
      sentence without its start or its end.
    - 'other': something else, perhaps another version of the same text.
    - 'none': they have too little in common to be compared.
    """
    removed: Span | None = None
    """Characters of the worse-ranked text that the other has word for word."""
    window: bool = False
    """Whether the repeat is the overlap of two neighbouring windows of one text."""
    but: str = ""
    """What was left aside or read by its value for it to hold; blank: nothing."""


def compare(worse: TextView, better: TextView, *, kin: Kin) -> Relation:
    """The relation of two texts; linear in their lengths but for what differs.

    Args:
        worse: the worse-ranked text.
        better: the better-ranked text, which stays as it is.
        kin: what their sources say.
    """
    if worse.words.joints or better.words.joints:
        worse, better = worse.against(better), better.against(worse)
    kind = _redundant(worse, better)
    if kind is not None:
        return Relation(kind=kind)
    for one, other in _readings(worse, better):
        if kind := _redundant(one, other):
            return Relation(kind=kind, but=_aside(one, other))
    if kin != "other" and (window := neighbours(worse, better)):
        return Relation(kind="repeat", removed=window.removed, window=True)
    for one, other in ((worse, better), *_readings(worse, better)):
        if longer := _longer(one, other):
            return longer
    return Relation(kind="other")


def _aside(one: TextView, other: TextView) -> str:
    """What two readings leave aside: numbers of lists, how figures are written."""
    left: list[str] = []
    if one.words.asides or other.words.asides:
        left.append("numbers of lists or pages")
    if one.is_respelled or other.is_respelled:
        left.append("how figures are written")
    return " and ".join(left)


def _readings(worse: TextView, better: TextView) -> Iterator[tuple[TextView, TextView]]:
    """Both texts without what stands beside them, and with one spelling for every figure."""
    shown = alike(worse, better)
    bare = alike(worse, better, aside=True)
    changed = bare[0] is not worse or bare[1] is not better
    if changed:
        yield bare
    if not (_may_be_part(*bare) or _may_be_part(bare[1], bare[0])):
        return
    # Numbers of a list that one text has on lines of their own may stand in a line in the other.
    for one, other in dict.fromkeys((shown, bare)):
        if one.meant is not one or other.meant is not other:
            yield one.meant, other.meant


def alike(worse: TextView, better: TextView, *, aside: bool = False) -> tuple[TextView, TextView]:
    """Both views without what only one of them has and what says nothing: HTML, numbers of pages.

    Args:
        worse: one of the views.
        better: the other.
        aside: leave numbers of lists, sections and pages aside even where both have some.
    """
    if (worse.shown is worse) != (better.shown is better):
        worse, better = worse.shown, better.shown
    if aside or (worse.bare is worse) != (better.bare is better):
        worse, better = worse.bare, better.bare
    return worse, better


def _may_be_part(part: TextView, whole: TextView) -> bool:
    """Whether all words of a text but those at its ends are the other's, or may be spelled so."""
    rest = part.known - whole.known
    ends = {*part.words.keys[:1], *part.words.keys[-1:]}
    return all(key in ends or is_respellable(key) for key in rest)


def _redundant(worse: TextView, better: TextView) -> Literal["copy", "part"] | None:
    if not len(worse.words) or not len(better.words):
        return None  # Nothing but punctuation: equal ones are exact duplicates.
    if worse.code == better.code and _says_the_same(worse, 0, better, 0, len(worse.words)):
        return "copy"
    return "part" if _is_part(worse, better) else None


def _longer(worse: TextView, better: TextView) -> Relation | None:
    """The relation when all of the better text stands in the worse one."""
    places = _places(better, worse)
    if not places:
        return None
    return Relation(kind="repeat", removed=_repeated_whole(worse, places))


# -- a part of the other ------------------------------------------------------------------------


def _is_part(worse: TextView, better: TextView) -> bool:
    return len(worse.words) <= len(better.words) and bool(_places(worse, better))


def _places(part: TextView, whole: TextView) -> list[Span]:
    """Where all words of one text stand in another, as ranges of the other's words.

    The first and the last word may be cut in two, and a sentence may be cut, where the part is
    long enough and looks like a cutting.
    """
    if not len(part.words):
        return []  # Nothing but what stands beside a text: page numbers, a label.
    for first, last in ((0, 0), (0, 1), (1, 0), (1, 1)):
        core = len(part.words) - first - last
        if (first or last) and core < CUTTING:
            break
        places = [
            (place, place + core)
            for place in _occurrences(part.code[4 * first : 4 * (first + core)], whole.code)
            if _is_cut_word(part, whole, place, first=bool(first), last=bool(last))
            and (first or _starts_fairly(part, whole, place))
            and (last or _ends_fairly(part, whole, place + core))
            and _says_the_same(part, first, whole, place, core)
        ]
        if places:
            return places
    return []


def _occurrences(needle: bytes, hay: bytes) -> Iterator[int]:
    """Indexes at which a run of word ids (4 bytes each) occurs in another."""
    place = hay.find(needle)
    tries = 0
    while place >= 0 and tries < _TRIES:
        if place % 4 == 0:
            yield place // 4
            tries += 1
        place = hay.find(needle, place + 1)


def _is_cut_word(part: TextView, whole: TextView, place: int, *, first: bool, last: bool) -> bool:
    """Whether the part's first or last word is a piece of the whole's at the same place."""
    keys, others = part.words.keys, whole.words.keys
    if last and not _is_cut_off(part, whole, place + len(keys) - first - last):
        return False
    if first:
        whole_word = others[place - 1] if place else ""
        if not (_is_piece(keys[0], whole_word) and whole_word.endswith(keys[0])):
            return False
    if last:
        end = place + len(keys) - first - last
        whole_word = others[end] if end < len(others) else ""
        if not (_is_piece(keys[-1], whole_word) and whole_word.startswith(keys[-1])):
            return False
    return not first or part.is_cut_before


def _is_cut_off(part: TextView, whole: TextView, end: int) -> bool:
    """Whether the part may end inside the whole's word at a place.

    Where the whole's sentence ends with that word too, `Product` may be no piece of `Products`.
    """
    if part.text[part.words.spans[-1][1] :].strip(" \t\r\n.\u2026-"):
        return False
    word = whole.words.keys[end] if end < len(whole.words) else ""
    goes_on = end + 1 < len(whole.words) and not whole.is_break(end + 1)
    if not goes_on and word.removeprefix(part.words.keys[-1]) in _ENDINGS:
        return False
    return part.may_be_cut_after or _loses_more(part, whole, end)


def _loses_more(part: TextView, whole: TextView, place: int) -> bool:
    """Whether a long part lacks an end mark, and whole sentences or lines after this place."""
    end = whole.breaks[min(bisect_right(whole.breaks, place), len(whole.breaks) - 1)]
    return len(part.words) >= CUTTING and part.is_open and end < len(whole.words)


def _is_piece(piece: str, word: str) -> bool:
    """Whether a word may be a piece of another; of a number it would be another number."""
    return piece.isalpha() and len(piece) < len(word)


def _starts_fairly(part: TextView, whole: TextView, place: int) -> bool:
    """Whether a part that starts at this word of the whole leaves out no start of a sentence."""
    if whole.is_break(place):
        return not _splits_list(whole, place)
    number = place and whole.words.keys[place - 1]
    if number and number[0].isdigit() and whole.is_break(place - 1):
        return whole.text[whole.words.spans[place - 1][1]] in ".):"
    # What a splitter cut at its end it may have cut at its start, before whatever word.
    return part.is_cut_before or part.is_cut_after or _is_cut_in_a_phrase(part, whole, place)


def _is_cut_in_a_phrase(part: TextView, whole: TextView, place: int) -> bool:
    """Whether a long part starts with a capital that it owes to no sentence of its own.

    `Licensee shall pay` out of `the royalty that Licensee shall pay`: who meant to leave out a
    condition starts behind a comma, where this proves nothing.
    """
    before, after = whole.words.span(place, place)
    return (
        len(part.words) >= CUTTING
        and whole.text[before:after] in (" ", "\n", "\r\n")
        and part.words.raw(0) == whole.words.raw(place)
    )


def _ends_fairly(part: TextView, whole: TextView, place: int) -> bool:
    """Whether a part that ends before this word of the whole leaves out no end of a sentence."""
    if whole.is_break(place):
        return not _splits_list(whole, place)
    # Where the whole has its full stop, a copy that was not cut would have it too.
    stops = part.may_be_cut_after and whole.is_closed_after(place - 1)
    if stops or part.is_cut_after or _loses_more(part, whole, place):
        return True
    return _ends_alike(part, whole, place)


def _ends_alike(part: TextView, whole: TextView, place: int) -> bool:
    """Whether a long part ends with a mark after which the whole's sentence goes on: `LL.B.`."""
    mark = part.text[part.words.spans[-1][1] :].strip()
    after = whole.text[whole.words.spans[place - 1][1] :][: len(mark)]
    marked = bool(mark) or not part.words.keys[-1][-1].isalnum()
    return len(part.words) >= CUTTING and marked and mark == after


def _splits_list(view: TextView, place: int) -> bool:
    """Whether a list or a table goes on over this place: a shorter list is another list."""
    if not 0 < place < len(view.words):
        return False
    if view.is_item(place) and view.is_item(place - 1):
        return True
    return not (
        view.follows_blank_line(place) or view.is_closed(place) or view.is_closed_after(place)
    )


def _says_the_same(one: TextView, start: int, other: TextView, place: int, count: int) -> bool:
    """Whether equal words also agree in case where it matters, and in numbers of lists and pages.

    A number that only one of them has is no difference; 3. and 4. are one.
    """
    left, right = one.words, other.words
    for index, aside in left.asides.items():
        if start <= index < start + count:
            twin = right.asides.get(index - start + place)
            if twin is not None and twin != aside:
                return False
    ours, theirs = left.span(start, start + count), right.span(place, place + count)
    if one.text[slice(*ours)] == other.text[slice(*theirs)]:
        return True
    return not any(cased(left, start, right, place, count))


# -- the better one as a part -------------------------------------------------------------------


def _repeated_whole(worse: TextView, places: list[Span]) -> Span | None:
    """The sentences at the start or end of `worse` that repeat all of the better text."""
    text, count = worse.text, len(worse.words)
    for start, end in places:
        if start == 0:
            inside = [cut for cut in worse.cuts if worse.words.index_at(cut) <= end]
            if inside:
                return 0, inside[-1]
        elif end == count:
            # Only right where it starts: a heading above it holds for all of it.
            below = (mark for mark in worse.marks if worse.words.index_at(mark) >= start)
            cut = next(below, None)
            if cut in worse.cuts:
                return len(text[:cut].rstrip()), len(text)
    return None
