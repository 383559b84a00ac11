"""Content words: what a text says, without what only dresses it.

Two texts with the same content words differ in whitespace, case, quotes, bullets, markdown or
punctuation that carries no fact. Whatever might carry one is a word of its own.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ctxguard.text._asides import asides_of
from ctxguard.text._symbols import DASHES, INVISIBLE, NEVER_FIRST, SYMBOL, material_symbol
from ctxguard.text.lexicon import UNSPACED
from ctxguard.text.sentences import Span

__all__ = ["UNSPACED", "Words", "split_joints", "without_asides", "words_of"]


def _token(first: str, letters: str, letter: str, *, more: str, marks: str) -> re.Pattern[str]:
    """A word, for which group 1 is not None, or a symbol that may carry a fact.

    All of it begins with one class of characters, so that `re` skips the others: 40 µs for 1,000
    characters, where branches that begin with classes of their own take 63.
    """
    return re.compile(
        rf"""
        [^{NEVER_FIRST}] (?:
          {first} ()
          (?: (?![{more}*_.,:/\u00b7\u066b\u066c'\u2019{DASHES}]) |
          (?: [.,:/\u00b7\u066b\u066c'\u2019{DASHES}] (?<=\d.) (?=\d) {letters}  # 1.5  2020-01-05
            | [*_]{{0,3}} ['\u2019] (?={letter}) {letters}   # don't, **Acme**'s
            | _+ {letters}                                 # snake_case, but not _emphasis_
            | [-\u2010][ \t]*\r?\n[ \t]* (?={letter}) {letters}   # hyphenated at the line's end
            {marks}
          )* )
        | {SYMBOL}
        )
        """,
        re.VERBOSE,
    )


_LETTER = rf"[^\W_{UNSPACED}]"
_ASCII_TOKEN = _token("(?<=[a-z0-9])[a-z0-9]*", "[a-z0-9]+", "[a-z]", more="", marks="")
_TOKEN = _token(
    rf"(?: (?<={_LETTER}) {_LETTER}* | (?<=[{UNSPACED}]) )",
    rf"(?: [{UNSPACED}] | {_LETTER}+ )",
    rf"[^\W\d_{UNSPACED}]",
    more=rf"\u0300-\u036f{INVISIBLE}",
    marks=rf"| [\u0300-\u036f{INVISIBLE}]+ (?:{_LETTER}+)?",
)
_KEY = str.maketrans(
    {"\u2019": "'"}
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-")
    | dict.fromkeys("\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff")
)
_JOINT = re.compile(r"[-\u2010][ \t]*\r?\n[ \t]*")
_EMPHASIS = re.compile(r"(?<![*_])[*_]++(?=['\u2019])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The content words of a text, in order."""

    text: str
    keys: list[str]
    """What each word says. Case is folded; whether it mattered is `case_matters`' question."""
    spans: list[Span]
    """Where each word stands, in characters of the text."""
    asides: Mapping[int, str] = field(default_factory=dict[int, str])
    """List, section and page numbers that `without_asides` took out, by the index of the word
    after them."""
    joints: Mapping[int, Span] = field(default_factory=dict[int, Span])
    """Words hyphenated at a line's end: where the first part ends and the second starts."""

    def __len__(self) -> int:
        """How many words there are."""
        return len(self.keys)

    def raw(self, index: int) -> str:
        """A word as it is written."""
        start, end = self.spans[index]
        return self.text[start:end]

    def raws(self, start: int, end: int) -> list[str]:
        """Words as they are written."""
        text = self.text
        return [text[first:past] for first, past in self.spans[start:end]]

    def span(self, start: int, end: int) -> Span:
        """Characters from word `start` to before word `end`; the gap between two if equal."""
        if start < end:
            return self.spans[start][0], self.spans[end - 1][1]
        before = self.spans[start - 1][1] if start else 0
        after = self.spans[start][0] if start < len(self) else len(self.text)
        return before, after

    def index_at(self, place: int) -> int:
        """Index of the first word that starts at or after a character."""
        return bisect_left(self.spans, (place, -1))


def words_of(text: str) -> Words:
    """The content words of a text; linear in its length."""
    plain = text.isascii()
    folded = text.lower() if plain else text
    matches = list((_ASCII_TOKEN if plain else _TOKEN).finditer(folded))
    # One list after the other: half the time of a loop that appends to both.
    raw = [
        match[0] if match.lastindex else material_symbol(text, match.start(), match[0])
        for match in matches
    ]
    if "" in raw:
        matches = [match for match, key in zip(matches, raw, strict=True) if key]
        raw = [key for key in raw if key]
    spans = [match.span() for match in matches]
    keys = raw if plain else [_key(key) for key in raw]
    if ("*" in text or "_" in text) and _EMPHASIS.search(text):
        keys = [_EMPHASIS.sub("", key) for key in keys]
    if "\n" not in text or not _JOINT.search(text):
        return Words(text=text, keys=keys, spans=spans)
    return _join_lines(text, keys, spans)


def without_asides(words: Words) -> Words:
    """Words without the numbers of lists, sections and pages, which are kept as `asides`."""
    places = asides_of(words.text)
    return _without(places, words) if places else words


def split_joints(words: Words, known: frozenset[str]) -> Words:
    """Words with a hyphen at a line's end in two, where the whole is not among the known words.

    `agree-⏎ment` is one word where the other text has `agreement`, and two where it has
    `long-term` for `long-⏎term`.
    """
    if all(words.keys[index] in known for index in words.joints):
        return words
    keys: list[str] = []
    spans: list[Span] = []
    for index, key in enumerate(words.keys):
        start, end = words.spans[index]
        if index in words.joints and key not in known:
            first, second = words.joints[index]
            keys += [_key(words.text[start:first]), _key(words.text[second:end])]
            spans += [(start, first), (second, end)]
        else:
            keys.append(key)
            spans.append((start, end))
    return Words(text=words.text, keys=keys, spans=spans)


def _key(raw: str) -> str:
    """What a word says: case folded, typographic variants of letters and dashes made one."""
    if raw.isascii():
        return raw.lower()
    raw = raw.translate(_KEY).casefold()
    # NFKC splits ligatures and narrows wide digits, but would also make 10² the number 102.
    keep = any(unicodedata.category(character) in ("No", "Nl") for character in raw)
    return unicodedata.normalize("NFC" if keep else "NFKC", raw)


def _join_lines(text: str, keys: Sequence[str], spans: Sequence[Span]) -> Words:
    """Words hyphenated at a line's end made one; a capital after the break starts its own word."""
    new_keys: list[str] = []
    new_spans: list[Span] = []
    joints: dict[int, Span] = {}
    for key, (start, end) in zip(keys, spans, strict=True):
        match = _JOINT.search(text, start, end) if "\n" in key else None
        if match is None:
            new_keys.append(key)
            new_spans.append((start, end))
        elif text[match.end()].islower():
            joints[len(new_keys)] = match.span()
            new_keys.append(_key(_JOINT.sub("", text[start:end])))
            new_spans.append((start, end))
        else:
            new_keys += [_key(text[start : match.start()]), _key(text[match.end() : end])]
            new_spans += [(start, match.start()), (match.end(), end)]
    return Words(text=text, keys=new_keys, spans=new_spans, joints=joints)


def _without(asides: Sequence[Span], words: Words) -> Words:
    """Words without those inside the asides, which are kept as what they say."""
    keys: list[str] = []
    spans: list[Span] = []
    said: dict[int, str] = {}
    joints: dict[int, Span] = {}
    ahead = sorted(words.joints, reverse=True)
    done = 0
    for start, end in (*asides, (len(words.text), len(words.text))):
        first, past = max(done, words.index_at(start)), words.index_at(end)
        while ahead and ahead[-1] < past:
            joint = ahead.pop()
            if joint < first:
                joints[len(keys) + joint - done] = words.joints[joint]
        keys += words.keys[done:first]
        spans += words.spans[done:first]
        for key in words.keys[first:past]:
            said[len(keys)] = f"{said.get(len(keys), '')} {key}".strip()
        done = max(first, past)
    return Words(text=words.text, keys=keys, spans=spans, asides=said, joints=joints)
