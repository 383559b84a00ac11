"""One pass over a text that finds its facts; each word and each digit is looked at once."""

# ruff: noqa: RUF001 -- quotation marks, dashes and signs are what this module reads

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TypeAlias

from ctxguard.text.facts import identifiers, vocabulary
from ctxguard.text.facts.figures import CJK
from ctxguard.text.facts.model import Fact, FactKind, Found
from ctxguard.text.facts.money import CURRENCY_CODES, CURRENCY_SIGNS
from ctxguard.text.facts.numbers import VULGAR, format_number
from ctxguard.text.facts.phrases import find_other_scripts, is_negative_word
from ctxguard.text.facts.units import read_duration_unit
from ctxguard.text.facts.words import READERS, Passage, Reader

__all__ = ["extract_facts"]


def extract_facts(text: str, *, until: int | None = None) -> tuple[Fact, ...]:
    """The material facts of a text, ordered by span; spans do not overlap.

    Every digit of the text is inside a fact. Takes time linear in the length of the text.

    Args:
        text: the text.
        until: facts that begin at this character or later are not wanted, and may be missing.
    """
    facts: list[Fact] = []
    for found in _scan(Passage(text)):
        _add(facts, text, found)
        if until is not None and facts[-1].span[0] >= until:
            break  # the one before can no longer become one with what follows
    if not text.isascii():
        facts = _with_other_scripts(facts, text)
    return tuple(facts)


_HEAD = re.compile(
    rf"(?P<digit>[\d{VULGAR}])"
    rf"|(?P<word>[^\W\d{CJK}][^\W{CJK}]*(?:['’][^\W\d_{CJK}]+)*)"
    rf"|(?P<sign>[{re.escape(CURRENCY_SIGNS)}])"
    r"|(?P<bound>(?:<=|>=|[<>≤≥≠≈~])(?=\s?[-\d$€£.]))"
    r"|(?P<section>§+)"
    r"|(?P<enumerator>(?<!\w)\((?:[a-z]|[ivx]{2,5}|[A-Z])\)(?!(?<=[cC]\))\s?\d{4}))"
    r"|(?P<code>`[^`\n]{1,100}`|(?<!\w)--[A-Za-z][\w-]*|(?<![\w/.])\.{0,2}/[\w.-]+(?:/[\w.-]*)+)"
)
_BOUND_SIGNS = {
    "<=": "<=", "≤": "<=", ">=": ">=", "≥": ">=", "≈": "approximately", "~": "approximately"
}  # fmt: skip


_GLUED = re.compile(r"[@:.\-/\\%+](?=\S)|[$€£]|-\s")
_GLUE = frozenset("@:.-/\\%+$€£")
"""What `_GLUED` begins with."""
_NON = re.compile(r"non-\s{0,20}([^\W\d_]{3,})", re.IGNORECASE)

_Reading: TypeAlias = tuple[Sequence[Found], int]
"""Facts, and where to go on: behind what was read, fact or not."""


def _scan(passage: Passage) -> Iterator[Found]:
    """Facts in order, none beginning before the end of the one before."""
    text = passage.text
    position = 0
    while head := _HEAD.search(text, position):
        start, end = head.span()
        if head.lastgroup == "word":
            glued = text[end : end + 1] in _GLUE and _GLUED.match(text, end) is not None
            if not glued and _says_nothing(head.group()):
                position = end  # most words end here
                continue
            facts, position = _word(passage, start, end, glued=glued)
        else:
            found = _sign(passage, head)
            facts, position = ((found,), found.end) if found else ((), end)
        yield from facts


@lru_cache(maxsize=1 << 14)
def _says_nothing(word: str) -> bool:
    """Whether a word is no fact and begins none where nothing is glued to it."""
    return word not in READERS and word.isalpha() and word.islower() and not _plain(word, 0, 0)


def _plain(lower: str, start: int, end: int) -> Sequence[Found]:
    """A word that is in no vocabulary: a fact if it carries a negation or a number in itself."""
    if is_negative_word(lower):
        return (Found("negation", lower, start, end),)
    if lower.endswith(("zig", "ßig", "hundert", "tausend")):
        return (Found("number", lower, start, end),)
    return ()


def _word(passage: Passage, start: int, end: int, *, glued: bool) -> _Reading:
    """What begins with a word: the vocabulary's readers, a code, a name."""
    text = passage.text
    word = text[start:end]
    lower = word.lower()
    readers = READERS.get(lower, ())
    found = None if word.isalpha() else _with_digits(passage, word, start)
    if found is None and glued:
        found = _joined(passage, start, end, readers)
    if found:
        return (found,), found.end
    if not word.isalpha():
        return _mixed(passage, word, start, end)
    for reader in readers:
        if found := reader(passage, start, end):
            return (found,), found.end
    if word[0].isupper():
        is_name = lower not in vocabulary.COMMON or passage.names.is_acronym(start, end)
        return _names(passage, start, end) if is_name else ((), end)
    is_code = lower != word  # camelCase, iPhone, mW
    found_here = (Found("identifier", word, start, end),) if is_code else _plain(word, start, end)
    return found_here, end


def _names(passage: Passage, start: int, end: int) -> _Reading:
    names, position = passage.names.read(start, end)
    return tuple(Found("name", name.value, *name.span) for name in names), position


_KEEP_WHAT_FOLLOWS = frozenset(
    reader
    for word in ("january", "section", "version", "thirty", "isbn")
    for reader in READERS[word]
)


def _joined(passage: Passage, start: int, end: int, readers: Sequence[Reader]) -> Found | None:
    """The code, the address or the amount that a word makes with what is glued to it."""
    text = passage.text
    following = text[end]
    if after := _NON.match(text, start):  # "non-exclusive"
        return Found("negation", "non" + after[1].lower(), start, after.end())
    if following in "$€£":  # "US$ 5"
        return passage.figures.money(start)
    if address := identifiers.read_address(text, start):
        return address
    if following in ".-/\\" and _KEEP_WHAT_FOLLOWS.isdisjoint(readers):
        return identifiers.read_code(text, start)
    return None


def _with_digits(passage: Passage, word: str, start: int) -> Found | None:
    """A version or an amount that begins with letters: "v1.2", "USD5"."""
    if word[:3] in CURRENCY_CODES:
        return passage.figures.money(start)
    return identifiers.read_version(passage.text, start) if word[0] in "vV" else None


def _mixed(passage: Passage, word: str, start: int, end: int) -> _Reading:
    """What a word with digits, underscores or apostrophes in it is otherwise."""
    if "'" in word or "’" in word:
        return _contraction(passage, word, start, end)
    return (Found("identifier", word, start, end),), end


def _contraction(passage: Passage, word: str, start: int, end: int) -> _Reading:
    straight = word.lower().replace("’", "'")
    base = straight.partition("'")[0]
    found: Found | None = None
    if any(map(str.isdigit, word)) or "_" in word:
        found = Found("identifier", word, start, end)
    elif straight in vocabulary.MODALS:
        found = Found("modality", vocabulary.MODALS[straight], start, end)
    elif straight in vocabulary.NEGATIONS:
        found = Found("modality", vocabulary.NEGATIONS[straight], start, end)
    elif straight.endswith("n't"):
        found = Found("negation", "not", start, end)
    elif straight.endswith("'ll"):
        found = Found("modality", "will", start, end)
    elif base in _PERIODS and _ARTICLE.search(passage.text[max(0, start - 4) : start]):
        return _period(passage.text, start, base)
    elif word[0].isupper() and base not in vocabulary.COMMON:
        return _names(passage, start, end)
    elif is_negative_word(base):
        found = Found("negation", base, start, start + len(base))
    return ((found,) if found else ()), end


_PERIODS = frozenset(
    ["second", "minute", "hour", "day", "week", "fortnight", "month", "quarter", "year", "decade"]
)
_ARTICLE = re.compile(r"(?<!\w)an?\s\Z", re.IGNORECASE)


def _period(text: str, start: int, unit: str) -> _Reading:
    """A period whose one is an article: "a month's notice" is notice of one month."""
    found = read_duration_unit(text, start)
    end = start + len(unit)
    if found is None:
        return (), end
    value = f"{format_number(found.factor)} {found.symbol}"
    return (Found("duration", value, text.lower().rindex("a", 0, start), end),), end


def _sign(passage: Passage, head: re.Match[str]) -> Found | None:
    """The fact that a head which is no word begins."""
    start, end = head.span()
    written = head.group()
    match head.lastgroup:
        case "digit":
            return passage.figures.at(start)
        case "sign":
            return passage.figures.money(start)
        case "bound":
            return Found("bound", _BOUND_SIGNS.get(written, written), start, end)
        case "section":
            label = identifiers.read_label(passage.text, end)
            return Found("reference", f"section {label[0]}", start, label[1]) if label else None
        case "enumerator":
            return Found("reference", written, start, end)
        case _:
            return Found("identifier", written.strip("`"), start, end)


# -- together -------------------------------------------------------------------------------------

_MEASURED: frozenset[FactKind] = frozenset(
    {"number", "amount", "percentage", "quantity", "duration"}
)


def _add(facts: list[Fact], text: str, found: Found) -> None:
    """Note a fact; one that restates the last in parentheses becomes one with it.

    "one million dollars ($1,000,000)" is one amount, "five percent (5%)" one percentage.
    """
    kind, value, start, end = found
    if facts and kind in _MEASURED and text.startswith(")", end):
        last = facts[-1]
        is_same = (last.kind, last.value) == (kind, value) and not value.startswith("?")
        if is_same and text[last.span[1] : start].strip() == "(":
            facts.pop()
            start, end = last.span[0], end + 1
    facts.append(Fact(kind, value, text[start:end], (start, end)))


def _with_other_scripts(facts: list[Fact], text: str) -> list[Fact]:
    """Add the literal facts of scripts without words, where no fact is yet."""
    added: list[Fact] = []
    index = 0
    for kind, value, start, end in find_other_scripts(text):
        while index < len(facts) and facts[index].span[1] <= start:
            index += 1
        if index == len(facts) or facts[index].span[0] >= end:
            added.append(Fact(kind, value, value, (start, end)))
    return sorted((*facts, *added), key=lambda fact: fact.span)
