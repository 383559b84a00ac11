"""Normalisation for one question only: are two texts the same copy?

Two texts with equal normal forms are merged without a look at their facts, so every rule here must
be one that cannot turn one fact into another. What is left alone, and why:

* Compatibility forms: NFC, not NFKC, or "10²" would become "102".
* Letter case of short words, of words beside a digit or inside a code: "mW" and "MW", "mg" and
  "Mg", "US" and "us", "MOhm" and "mOhm", "foo.Bar" and "foo.bar" differ by a fact. Only words of
  four letters or more with ordinary case ("shall", "Shall", "SHALL") and a few function words are
  lowercased; `str.lower`, not `casefold`, which would make "Maße" (measures) "Masse" (mass).
* A sign, a comparison, a footnote: "-5", "- 5", "> 5", "0.05**" stay; a list marker goes only
  before a letter, emphasis only in pairs.
* Invisible operators (U+2061 to U+2064) are not zero-width spaces: "2⁢3" is 2 times 3.
* Line-break hyphens are not joined: "re-⏎sign" may be "re-sign" or "resign".
* An empty cell of a tab-separated row stays visible: in another column a number is another fact.
"""

# ruff: noqa: RUF001 -- quotation marks, dashes and signs are what this module reads

from __future__ import annotations

import re
import unicodedata

__all__ = ["normalise"]


def normalise(text: str) -> str:
    """The text without what varies between copies of it; equal results mean the same copy.

    Unified: Unicode composition (NFC), whitespace, quotation marks, dashes, ellipses, ligatures,
    full-width ASCII, © and (c), letter case where it carries nothing. Removed: zero-width
    characters, soft hyphens, bold markers in pairs, heading and list markers before words.
    Idempotent, and linear in the length of the text.
    """
    text = unicodedata.normalize("NFC", text.translate(_UNIFIED))
    if "**" in text:
        text = _without_bold(text)
    text = _MARKERS.sub("", text)
    if "\t" in text:
        text = _EMPTY_CELL.sub("␉", text)
    text = " ".join(text.split())
    text = _COPYRIGHT.sub("(c)", text)
    return unicodedata.normalize("NFC", _FOLDED.sub(_lower, text))


_UNIFIED: dict[int, str | None] = {
    **dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff\u200e\u200f\u061c"), None),
    **dict.fromkeys(map(ord, "“”„‟«»〝〞＂"), '"'),
    **dict.fromkeys(map(ord, "‘’‚‛‹›ʼ＇"), "'"),
    **dict.fromkeys(map(ord, "‐‑‒–—―−﹘﹣"), "-"),
    **{0xFF01 + offset: chr(0x21 + offset) for offset in range(0x5E)},
    **dict(zip(map(ord, "ﬀﬁﬂﬃﬄ"), ("ff", "fi", "fl", "ffi", "ffl"), strict=True)),
    ord("…"): "...",
    ord("©"): "(c)",
}
_COPYRIGHT = re.compile(r"\(C\)(?=\s?(?:\d{4}|[Cc]opyright))|(?<=[Cc]opyright )\(C\)")
_EMPTY_CELL = re.compile(r"(?<=[^\s])\t(?=[ ]*\t)|(?<=␉)\t(?=[ ]*\t)")

_MARKERS = re.compile(
    r"^[^\S\n]*+(?:(?:[•◦▪‣●]|[-*+](?=\s+[^\W\d_]|\s+[-*+•◦▪‣●]\s)|#{1,6}(?=\s+[^\W\d_]))\s++)++",
    re.MULTILINE,
)
"""List markers before a word and heading markers before a word, at the start of a line."""

_STARS = re.compile(r"\*+")
_OPENS_AFTER = frozenset(" \t\n\r([{\"'")
_CLOSES_BEFORE = frozenset(" \t\n\r)]}\"'.,;:!?")


def _without_bold(text: str) -> str:
    """Remove each `**` or `***` that opens before a word together with the one that closes it.

    Brackets of one kind matched with a stack: what is left has no pair, so a second pass removes
    nothing. Single stars stay: they are footnotes, products and pointers as often as emphasis.
    """
    openers: dict[str, list[re.Match[str]]] = {"**": [], "***": []}
    gone: list[re.Match[str]] = []
    for run in _STARS.finditer(text):
        stack = openers.get(run.group())
        if stack is None:
            continue
        before = text[run.start() - 1] if run.start() else " "
        after = text[run.end()] if run.end() < len(text) else " "
        if before in _OPENS_AFTER and (after.isalnum() or after in "\"'$€£("):
            stack.append(run)
        elif stack and not before.isspace() and after in _CLOSES_BEFORE:
            gone += (stack.pop(), run)
    parts: list[str] = []
    position = 0
    for run in sorted(gone, key=lambda run: run.start()):
        parts.append(text[position : run.start()])
        position = run.end()
    return "".join((*parts, text[position:]))


_FUNCTION_WORDS = (
    "the|and|for|not|of|to|in|or|by|on|is|be|as|at|an|if|any|all|are|was|has|its|nor|but|our|"
    "this|that"
)
_CASED_UNITS = "mmol|mohm|mbar|mbit|mbps|mrem|mgal|mcal|mvar|msec|mpas|pmol"
_FOLDED = re.compile(
    # Not after a digit ("5 Mmol"), nor beside what makes the word part of a code or an address.
    r"(?<![\w@#$/\\.=+&`-])(?<!\d )"
    rf"(?:(?i:{_FUNCTION_WORDS})|(?!(?i:{_CASED_UNITS})\b)(?:[^\W\d_]{{4,}}))"
    r"(?![\w(/\\@=`]|[.:-]\w)"
)


def _lower(match: re.Match[str]) -> str:
    word = match.group()
    rest = word[1:]
    regular = rest.islower() or (word.isupper() and rest.isupper())
    return word.lower() if regular else word
