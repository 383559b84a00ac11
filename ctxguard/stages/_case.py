"""When a difference in upper and lower case is a difference in meaning."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ctxguard.stages._spelling import is_figure
from ctxguard.text.words import Words

__all__ = ["cased"]

_LONG = 4
"""From this many letters on, a word's case is style. Shorter ones may be acronyms: US, IT, WHO."""

_MANY = 8
"""Words with capitals that a text in lower case must have lost: one sentence rarely has as many."""

_UNIT = re.compile(
    r"[munpkgtyzefµ]?(?:w|wh|b|bit|bps|hz|v|va|g|s|m|j|n|pa|f|h|k|c|l|ev|mol|sv|gy|bq|t|db)"
)
"""Unit symbols, case folded: after a number mW is no MW, Mb no MB, and s no S."""
_NO_UNIT = frozenset({"pm", "th"})
_WORDS_OF_ONE_LETTER = frozenset(
    "aeioy\u0430\u0432\u0438\u043a\u043e\u0441\u0443\u044f\u00e0\u00e9\u00e8\u00f3"
)
"""Articles, pronouns, prepositions and conjunctions of one letter, Latin and Cyrillic."""
_FUNCTION_WORDS = frozenset(
    [
        "the",
        "and",
        "for",
        "not",
        "of",
        "to",
        "by",
        "on",
        "is",
        "be",
        "as",
        "at",
        "an",
        "if",
        "any",
        "all",
        "are",
        "was",
        "has",
        "its",
        "nor",
        "but",
        "our",
        "this",
        "that",
        "with",
        "from",
    ]
)
"""Short words that are no acronym."""
_POSSESSIVE = re.compile(r"['\u2019][sS]?$")
_GLUE = frozenset("/\\_@#=&$")
"""Characters that bind words to a path, an address or a name in a program."""
_WINDOW = 60
"""Characters around a word that tell a line in capitals from an acronym."""


def cased(left: Words, i: int, right: Words, j: int, count: int) -> list[bool]:
    """For each of two runs of equal words whether they say different things because of their case.

    Args:
        left: one text's words; the run starts at `i`.
        i: see `left`.
        right: the other text's words; the run starts at `j`.
        j: see `right`.
        count: words of the runs.
    """
    if left.raws(i, i + count) == right.raws(j, j + count):
        return [False] * count
    if _is_lowered(left, i, right, j, count):
        return [False] * count
    restyled = _is_restyled(left, i, right, j, count)
    differs = [
        _case_matters(left, i + place, right, j + place, restyled=restyled)
        for place in range(count)
    ]
    if not any(differs):
        return differs
    shouted = set(_shouted_runs(left, i, right, j, count))
    return [differ and place not in shouted for place, differ in enumerate(differs)]


def _is_lowered(left: Words, i: int, right: Words, j: int, count: int) -> bool:
    """Whether one text as a whole was put in lower case, so that its case says nothing at all.

    "5 mb" tells nothing apart in a text that has no capitals where the other has many.
    """
    for low, first, other, second in ((left, i, right, j), (right, j, left, i)):
        if low.text != low.text.lower() or other.text == other.text.lower():
            continue
        pairs = [(low.raw(first + at), other.raw(second + at)) for at in range(count)]
        changed = [pair for pair in pairs if pair[0] != pair[1]]
        if len(changed) >= _MANY and all(one == twin.lower() for one, twin in changed):
            return True
    return False


def _case_matters(left: Words, i: int, right: Words, j: int, *, restyled: bool) -> bool:
    """Whether two words with equal keys say different things because of their case."""
    one, other = left.raw(i), right.raw(j)
    if one == other or is_figure(left.keys[i]):
        return False
    # Other letters for the same word: a ligature, wide digits, "Sec." for "Section".
    plain = one.isascii() and other.isascii()
    if one.lower() != other.lower() and (plain or one.isupper() == other.isupper()):
        return False
    letters = "".join(character for character in one if character.isalpha())
    has_digits = any(character.isdigit() for character in one)
    if (has_digits or _follows_number(left, i)) and _is_unit(letters):
        return True
    if restyled or _shouted(left, i) or _shouted(right, j):
        return False
    return _word_case_matters(left, i, right, j)


def _word_case_matters(left: Words, i: int, right: Words, j: int) -> bool:
    """Whether the case of two words with equal keys matters where nothing around explains it."""
    one, other = left.raw(i), right.raw(j)
    letters = "".join(character for character in one if character.isalpha())
    has_digits = any(character.isdigit() for character in one)
    one, other = _POSSESSIVE.sub("", one), _POSSESSIVE.sub("", other)
    if has_digits or not (_is_plain(one) and _is_plain(other)):
        return True  # a code: aB12
    if len(letters) >= _LONG:
        return _in_code(left, i) or _in_code(right, j)
    return _short_case_matters(left, i, one, other)


def _shouted_runs(left: Words, i: int, right: Words, j: int, count: int) -> Iterator[int]:
    """Places in runs of capitals that the other text does not have, as in "THE TERM OF this".

    A run is a matter of style when a word of it is no acronym: a long one, or a function word.
    """
    for loud, first, quiet, other in ((left, i, right, j), (right, j, left, i)):
        run: list[int] = []
        for place in range(count + 1):
            word = loud.raw(first + place) if place < count else "end"
            twin = quiet.raw(other + place) if place < count else "end"
            if word.isupper() and not twin.isupper() and word == twin.upper():
                run.append(place)
            elif not (run and word.upper() == word == twin):  # FSL AND AFSL MAY, SECTION 3.5 OF
                keys = [loud.keys[first + found] for found in run]
                if any(map(_is_no_acronym, keys)):
                    yield from run
                run = []


def _is_no_acronym(key: str) -> bool:
    return key in _FUNCTION_WORDS or (len(key) >= _LONG and key.isalpha())


def _short_case_matters(words: Words, index: int, one: str, other: str) -> bool:
    if len(one) == 1:
        return one.casefold() not in _WORDS_OF_ONE_LETTER
    if one.isupper() or other.isupper():
        return True
    next_to_number = index + 1 < len(words) and _is_number_next(words, index + 1)
    return next_to_number or _follows_number(words, index)  # May 5, may 5


def _is_unit(letters: str) -> bool:
    unit = letters.casefold()
    return _UNIT.fullmatch(unit) is not None and unit not in _NO_UNIT


def _is_restyled(left: Words, i: int, right: Words, j: int, count: int) -> bool:
    """Whether one of two runs of words is the other in lower case or in title case.

    Args:
        left: one text's words; the run starts at `i`.
        i: see `left`.
        right: the other text's words; the run starts at `j`.
        j: see `right`.
        count: words of the runs.
    """
    pairs = [(left.raw(i + place), right.raw(j + place)) for place in range(count)]
    long = [one == other for one, other in pairs if len(one) >= _LONG and one.isalpha()]
    changed = len(long) - sum(long)
    starts = left.raw(0)[:1].islower() != right.raw(0)[:1].islower()
    lowered = left.text == left.text.lower() or right.text == right.text.lower()
    if lowered and (starts or changed >= _LONG):
        return True
    return len(long) >= _LONG and 2 * sum(long) <= len(long)


def _is_plain(word: str) -> bool:
    """Whether its case is that of a word, not of a name in a program."""
    return word.islower() or word.isupper() or (word[0].isupper() and word[1:].islower())


def _in_code(words: Words, index: int) -> bool:
    """Whether the word is a piece of a path, an address or a name in a program."""
    start, end = words.spans[index]
    before, after = words.text[max(0, start - 2) : start], words.text[end : end + 2]
    return (
        before[-1:] in _GLUE
        or after[:1] in _GLUE
        or (before[-1:] == "." and before[:1].isalnum())
        or (after[:1] == "." and after[1:].isalnum())
    )


def _follows_number(words: Words, index: int) -> bool:
    """Whether nothing but space stands between a number and the word."""
    return index > 0 and words.keys[index - 1][-1].isdigit() and _is_next(words, index)


def _is_number_next(words: Words, index: int) -> bool:
    """Whether the word is a number, and nothing but space stands before it."""
    return words.keys[index][0].isdigit() and _is_next(words, index)


def _is_next(words: Words, index: int) -> bool:
    return not words.text[slice(*words.span(index, index))].strip()


def _shouted(words: Words, index: int) -> bool:
    """Whether the word stands among capitals, as in a heading."""
    start, end = words.spans[index]
    line = words.text.rfind("\n", 0, start) + 1
    before = words.text[max(line, start - _WINDOW) : start]
    after = words.text[end : end + _WINDOW].partition("\n")[0]
    around = before + after
    return around.isupper() and sum(map(str.isalpha, around)) >= _LONG
