"""Which words of a sentence are affirmed and which denied, and where two sentences differ in it.

Scopes are read from left to right by rules in the manner of NegEx (Chapman et al. 2001): a negator
turns what follows, up to a full stop, a clause of its own, or a verb that begins anew. Two negators
cancel out: who "may not assign without consent" needs the consent. English only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from ctxguard.text.facts import is_negative_word
from ctxguard.text.terms import term_of
from ctxguard.text.words import Words
from ctxguard.types import Span

__all__ = ["Polar", "by_term", "is_bound", "is_negator", "polarities"]


def _set(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


_TURNS = _set("not no never without cannot none nobody nothing nowhere hardly scarcely barely")
_SETS = _set("neither nor")
"""Deny what follows, whatever was denied before."""
_EXCEPT = _set("unless except excepting excluding")
_ANEW = _set("but however although though whereas while because since if when where which who")
"""Begin a clause of their own."""
_MODALS = _set("shall will may must should can could would is are was were has have does do did")
_JOINS = _set("and or")
_REFUSE = _set(
    "restrict prohibit forbid forbidden prevent preclud refrain bar ban deny deni refus declin",
    "exclud lack fail avoid ceas stop unabl prohibition restriction failur absenc inabl",
)
"""Terms that deny what they are said of: "restricted from competing"."""
_BOUNDS = _set(
    "later less more fewer greater earlier sooner exceed limited only lower higher until"
)
"""After "no" or "not" these set a limit: "not later than", "not limited to"."""
_VOIDS = _set(
    "void null voidabl invalid ineffect nul breach violat prohibit forbid forbidden bar unlawful"
)
"""Terms that, said of something, deny all that the clause says before: "is void"."""
_GRANTS = _set("permit allow requir need necessar necess entitl authoriz authoris oblig oblige due")
"""Terms that, denied, deny what they are said of: "consent is not required"."""
_COPULAS = _set(
    "is are be been being was were as constitute constitutes deemed considered null and"
)
_PURPOSE = _set("required necessary needed")
_STOP = re.compile(r"[.;:!?\u2014\u3002]|\n\s*\n")
_PREFIX = re.compile(r"(?:non|un|in|im|il|ir|dis|mis)(?=[a-z]{4})")
_ANCHORS = 2
"""Words after a negator that it is said of first."""


@dataclass(frozen=True, slots=True)
class Polar:
    """A word that says something."""

    term: str
    sign: int
    """1 affirmed, -1 denied, 0 unsettled."""
    is_anchor: bool
    """A negator stands right before it."""
    place: int
    """Index among the words of its text."""


@lru_cache(maxsize=1 << 12)
def _reading(key: str) -> tuple[str, bool]:
    """The term of a word without its prefix of negation, and whether it has one."""
    if is_negative_word(key) and (prefix := _PREFIX.match(key)):
        return term_of(key[prefix.end() :]), True
    return term_of(key), False


def polarities(words: Words, part: Span) -> list[Polar]:
    """The words of a sentence, each affirmed or denied.

    Args:
        words: of the whole text.
        part: the range of the sentence.
    """
    reader = _Reader(words)
    for place in range(*part):
        reader.read(place)
    return reader.out


class _Reader:
    """The state of one pass."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self.out: list[Polar] = []
        self._sign = 1
        self._anchors = 0
        self._clause = 0  # where the open clause begins in `out`
        self._prefix = False
        self._turned: int | None = None  # where the words begin that a negator left unsettled

    def read(self, place: int) -> None:
        """Take one more word."""
        words, key = self._words, self._words.keys[place]
        before = words.keys[place - 1] if place else ""
        gap = words.text[words.spans[place - 1][1] : words.spans[place][0]] if place else ""
        if _STOP.search(gap):
            self._begin(1)
        elif key in _MODALS and (before in _JOINS or "," in gap):
            self._begin(1)
        elif "," in gap or "(" in gap or key == "that":
            self._clause = len(self.out)
        if key in _ANEW:
            self._begin(1)
        elif key in _EXCEPT:
            self._begin(-self._sign)
        elif key in _SETS:
            self._deny(-1)
        elif key in _TURNS or key.endswith("n't"):
            if not is_bound(words.keys, place):
                self._deny(-self._sign)
        elif key == "non":
            self._prefix = True
        elif key == "to" and before in _PURPOSE:
            self._sign = 0
        else:
            self._say(key, place)

    def _begin(self, sign: int) -> None:
        self._sign, self._anchors, self._clause = sign, 0, len(self.out)
        self._turned = None

    def _deny(self, sign: int) -> None:
        """Deny what follows; of whom it is denied, stands before and is not."""
        if sign < 0:
            for index in range(self._clause, len(self.out)):
                one = self.out[index]
                self.out[index] = Polar(one.term, 0, one.is_anchor, one.place)
            self._turned = self._clause
        self._sign, self._anchors, self._clause = sign, _ANCHORS, len(self.out)

    def _turn(self, start: int, *, to: int = 0) -> None:
        """Turn the words from `start` on, or set those that are unsettled."""
        for index in range(start, len(self.out) - 1):
            one = self.out[index]
            sign = -one.sign if not to else one.sign or to
            self.out[index] = Polar(one.term, sign, one.is_anchor, one.place)

    def _say(self, key: str, place: int) -> None:
        term, denied = _reading(key)
        if not term:
            return
        sign = -self._sign if denied or self._prefix else self._sign
        is_anchor = self._anchors > 0 or denied or self._prefix
        self.out.append(Polar(term, sign, is_anchor, place))
        self._prefix = False
        self._anchors -= self._anchors > 0
        if term in _VOIDS and place and self._words.keys[place - 1] in _COPULAS:
            self._turn(self._clause)
        elif is_anchor and term in _GRANTS and self._turned is not None:
            self._turn(self._turned, to=sign)
        if term in _REFUSE:
            self._sign, self._anchors, self._clause = -self._sign, _ANCHORS, len(self.out)


def is_negator(key: str) -> bool:
    """Whether a word denies what follows; of "neither … nor" the first one does."""
    return key in _TURNS or key == "neither" or key in _EXCEPT or key.endswith("n't")


def is_bound(keys: Sequence[str], place: int) -> bool:
    """Whether a negator only sets a limit: "not later than", "whether or not"."""
    following = list(keys[place + 1 : place + 3])
    return bool(following) and (
        following[0] in _BOUNDS
        or following == ["to", "exceed"]
        or (place > 0 and keys[place - 1] == "or")
    )


def by_term(said: Sequence[Polar]) -> dict[str, list[Polar]]:
    """The words by their term."""
    found: dict[str, list[Polar]] = {}
    for word in said:
        found.setdefault(word.term, []).append(word)
    return found
