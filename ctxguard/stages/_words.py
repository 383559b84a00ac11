"""Content words: what a text says, without what only dresses it.

Two texts with the same content words differ in whitespace, case, quotes, bullets, markdown or
punctuation that carries no fact. Whatever might carry one is a word of its own.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ctxguard.stages._symbols import DASHES, INVISIBLE, SYMBOL, material_symbol
from ctxguard.text.lexicon import UNSPACED
from ctxguard.types import Span

__all__ = ["UNSPACED", "Words", "split_joints", "without_asides", "words_of"]


def _token(letters: str, letter: str, *, marks: str) -> re.Pattern[str]:
    """A word (group 1), or a symbol that may carry a fact."""
    return re.compile(
        rf"""
        ( {letters}
          (?: [.,:/\u00b7\u066b\u066c'\u2019{DASHES}] (?<=\d.) (?=\d) {letters}  # 1.5  2020-01-05
            | [*_]{{0,3}} ['\u2019] (?={letter}) {letters}   # don't, **Acme**'s
            | _+ {letters}                                 # snake_case, but not _emphasis_
            | [-\u2010][ \t]*\r?\n[ \t]* (?={letter}) {letters}   # hyphenated at the line's end
            {marks}
          )*
        )
        | {SYMBOL}
        """,
        re.VERBOSE,
    )


_LETTERS = rf"[^\W_{UNSPACED}]+"
_ASCII_TOKEN = _token("[a-z0-9]+", "[a-z]", marks="")
_TOKEN = _token(
    rf"(?: [{UNSPACED}] | {_LETTERS} )",
    rf"[^\W\d_{UNSPACED}]",
    marks=rf"| [\u0300-\u036f{INVISIBLE}]+ (?:{_LETTERS})?",
)
_KEY = str.maketrans(
    {"\u2019": "'"}
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-")
    | dict.fromkeys("\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff")
)
_JOINT = re.compile(r"[-\u2010][ \t]*\r?\n[ \t]*")
_EMPHASIS = re.compile(r"[*_]+(?=['\u2019])")

# A list's numbers, and page numbers on a line of their own. "v. Smith" and "J. Smith" are neither.
_NUMBERING = re.compile(
    r"^[ \t]*(?:(\d{1,2})\.|\(?(?:\d{1,3}|[a-z]|[ivx]{1,5})\))(?=[ \t]+\S)", re.MULTILINE
)
_BEFORE_ITEM = re.compile(
    r"""(?: \A | \n[ \t]*\r?\n | [.;:,!?\u3002\uff1b][ \t]*\r?\n | \b(?:and|or)[ \t]*\r?\n
    | (?:\A|\n)[ \t]*\(?\w{1,5}\)[^\n]*\n ) \Z""",
    re.VERBOSE,
)
"""What stands before an item's line: nothing, a blank line, an end, another item. In "thirty⏎(30)
days" nothing of the kind does."""
_LINE = 200
"""Characters before a number that are looked at."""
_PAGE_NUMBER = re.compile(
    r"""^[ \t]* [\[|(]? [ \t]*
    (?: (?:page|seite|página|pagina|pagine|стр\.?|страница|p\.) [ \t]* \d{1,4}
        (?: [ \t]* (?:of|von|de|di|из|/) [ \t]* \d{1,4} )?
      | [-\u2013\u2014] [ \t] \d{1,4} [ \t] [-\u2013\u2014] )
    [ \t]* [\])|]? [ \t]*$""",
    re.VERBOSE | re.MULTILINE | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The content words of a text, in order."""

    text: str
    keys: list[str]
    """What each word says. Case is folded; whether it mattered is `case_matters`' question."""
    spans: list[Span]
    """Where each word stands, in characters of the text."""
    asides: Mapping[int, str] = field(default_factory=dict[int, str])
    """List and page numbers that `without_asides` took out, by the index of the word after them."""
    joints: Mapping[int, Span] = field(default_factory=dict[int, Span])
    """Words hyphenated at a line's end: where the first part ends and the second starts."""

    def __len__(self) -> int:
        """How many words there are."""
        return len(self.keys)

    def raw(self, index: int) -> str:
        """A word as it is written."""
        start, end = self.spans[index]
        return self.text[start:end]

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
    pattern = _ASCII_TOKEN if plain else _TOKEN
    keys: list[str] = []
    spans: list[Span] = []
    for match in pattern.finditer(folded):
        key = match[1]
        if key is None:
            key = material_symbol(text, match.start(), match[0])
            if not key:
                continue
        keys.append(key if plain else _key(key))
        spans.append(match.span())
    if _EMPHASIS.search(text):
        keys = [_EMPHASIS.sub("", key) for key in keys]
    if not _JOINT.search(text):
        return Words(text=text, keys=keys, spans=spans)
    return _join_lines(text, keys, spans)


def without_asides(words: Words) -> Words:
    """Words without the numbers of lists and pages, which are kept as `asides`."""
    places = sorted(_asides(words.text))
    return _without(places, words) if places else words


def split_joints(words: Words, known: frozenset[str]) -> Words:
    """Words with a hyphen at a line's end in two, where the whole is not among the known words.

    `agree-⏎ment` is one word where the other text has `agreement`, and two where it has
    `long-term` for `long-⏎term`.
    """
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
    if len(keys) == len(words):
        return words
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


def _asides(text: str) -> Iterator[Span]:
    """Page numbers, and numbers of lists: in brackets or two in a row (1. 2.), no lone 5. May."""
    for match in _PAGE_NUMBER.finditer(text):
        yield match.span()
    numbers: list[tuple[int, Span]] = []
    for match in _NUMBERING.finditer(text):
        if match[1] is not None:
            numbers.append((int(match[1]), match.span()))
        elif _BEFORE_ITEM.search(text[max(0, match.start() - _LINE) : match.start()]):
            yield match.span()
    for place, (number, span) in enumerate(numbers):
        before = [other for other, _ in numbers[max(0, place - 1) : place]]
        after = [other for other, _ in numbers[place + 1 : place + 2]]
        if before == [number - 1] or after == [number + 1]:
            yield span


def _without(asides: Sequence[Span], words: Words) -> Words:
    """Words without those inside the asides, which are kept as what they say."""
    keys: list[str] = []
    spans: list[Span] = []
    joints: dict[int, Span] = {}
    said: dict[int, str] = {}
    ahead = list(reversed(asides))
    for index, (key, span) in enumerate(zip(words.keys, words.spans, strict=True)):
        while ahead and span[0] >= ahead[-1][1]:
            ahead.pop()
        if ahead and span[0] >= ahead[-1][0]:
            said[len(keys)] = f"{said.get(len(keys), '')} {key}".strip()
            continue
        if index in words.joints:
            joints[len(keys)] = words.joints[index]
        keys.append(key)
        spans.append(span)
    return Words(text=words.text, keys=keys, spans=spans, asides=said, joints=joints)
