"""Which words of a sentence are affirmed and which denied.

Scopes are read from left to right by rules in the manner of NegEx (Chapman et al. 2001): a negator
turns what follows, up to a full stop, a clause of its own, or a verb that begins anew. Two negators
cancel out: who "may not assign without consent" needs the consent. English only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from ctxguard.text.facts import is_negative_word
from ctxguard.text.terms import term_of
from ctxguard.text.words import Words
from ctxguard.types import Span

__all__ = ["Polar", "by_term", "denies", "is_bound", "is_negator", "is_opposite", "polarities"]

_STEM = 6
"""Letters of a term by which words of one family are known: compete, competitive."""


def _set(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


def _stems(*lines: str) -> frozenset[str]:
    return frozenset(word[:_STEM] for word in " ".join(lines).split())


_TURNS = _set("not no never without cannot none nobody nothing nowhere hardly scarcely barely")
_SETS = _set("neither nor")
"""Deny what follows, whatever was denied before."""
_EXCEPT = _set("unless except excepting excluding")
_ANEW = _set("but however although though whereas while because since if when where")
"""Begin a clause of their own."""
_RELATIVE = _set("which who whom that")
"""Begin one behind a comma only: who "sells nothing that competes" denies competing."""
_MODALS = _set("shall will may must should can could would is are was were has have does do did")
_REFUSE = _stems(
    "restrict prohibit forbid forbidden prevent preclud refrain bar ban deny deni refus declin",
    "exclud lack fail avoid ceas stop unabl prohibition restriction failur absenc inabl",
)
"""Terms that deny what they are said of: "restricted from competing"."""
_VOIDS = _stems(
    "void null voidabl invalid ineffect nul breach violat prohibit forbid forbidden bar unlawful"
)
"""Terms that, said of something, deny all that the sentence says before: "is void"."""
_GRANTS = _stems("permit allow requir need necessar necess entitl authoriz authoris oblig due")
"""Terms that, denied, deny what they are said of: "consent is not required"."""
_COPULAS = _set(
    "is are be been being was were as constitute constitutes deemed considered null and"
)
_BOUNDS = _set(
    "later less more fewer greater earlier sooner exceed limited only lower higher until"
)
"""After "no" or "not" these set a limit: "not later than", "not limited to"."""
_PURPOSE = _set("required necessary needed")
_STOP = re.compile(r"[.;!?\u2014\u3002]|\n\s*\n")
_PREFIX = re.compile(r"(?:non|un|in|im|il|ir|dis|mis)(?=[a-z]{4})")
_NO_OPPOSITES = (
    *("discard", "discharg", "disclos", "discourag", "displac", "dispos", "dissolv"),
    *("indefinit", "unanim", "undertak", "uniform"),
)
"""Words that tell apart what two texts say, but deny nothing."""
_EXCEPTING = {
    "except": _set("that in to for either any each where"),
    "provided": _set("that however"),
}
"""Words that begin an exception to what is said before, with those that follow them then."""
_ANCHORS = 2
"""Words after a negator that it is said of first."""


@dataclass(frozen=True, slots=True)
class Polar:
    """A word that says something."""

    term: str
    """The first letters of its term: enough within two sentences."""
    sign: int
    """1 affirmed, -1 denied, 0 unsettled."""
    is_anchor: bool
    """A negator stands right before it."""
    place: int
    """Index among the words of its text."""
    is_exception: bool = False
    """It stands in an exception to what is said before: behind "except that", "provided that"."""


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


def by_term(said: Sequence[Polar]) -> dict[str, list[Polar]]:
    """The words by their term."""
    found: dict[str, list[Polar]] = {}
    for word in said:
        found.setdefault(word.term, []).append(word)
    return found


def is_negator(key: str, *, main: bool = False) -> bool:
    """Whether a word denies what follows; of "neither … nor" the first one does.

    Args:
        key: the word, case folded.
        main: only what denies a sentence as a whole, not "without" and "unless".
    """
    if key in _EXCEPT or key == "without":
        return not main
    return key in _TURNS or key == "neither" or key.endswith("n't")


def is_bound(keys: Sequence[str], place: int) -> bool:
    """Whether a negator only sets a limit: "not later than", "whether or not"."""
    following = [key for key in keys[place + 1 : place + 4] if key != "be"][:2]
    return bool(following) and (
        following[0] in _BOUNDS
        or following == ["to", "exceed"]
        or (place > 0 and keys[place - 1] == "or" and keys[place] != "no")
    )


def is_opposite(key: str) -> bool:
    """Whether a word denies what it is made of: "unable", but not "disclosed"."""
    return is_negative_word(key) and not key.startswith(_NO_OPPOSITES)


@lru_cache(maxsize=1 << 12)
def _reading(key: str) -> tuple[str, bool]:
    """The term of a word without its prefix of negation, and whether it has one."""
    if is_opposite(key) and (prefix := _PREFIX.match(key)):
        return term_of(key[prefix.end() :])[:_STEM], True
    return term_of(key)[:_STEM], False


_SPECIAL = _ANEW | _RELATIVE | _EXCEPT | _SETS | _TURNS | _MODALS | {"non", "to", "that"}


@lru_cache(maxsize=1 << 14)
def _is_plain(key: str) -> bool:
    """Whether a word is none that begins, ends or turns anything: most are."""
    return key not in _SPECIAL and not key.endswith("n't")


@lru_cache(maxsize=1 << 14)
def denies(key: str) -> bool:
    """Whether a word may deny anything: a text without one affirms all that it says."""
    term, denied = _reading(key)
    return denied or key in _DENIERS or key.endswith("n't") or term in _REFUSE or term in _VOIDS


_DENIERS = _TURNS | _SETS | _EXCEPT | {"without", "non"}


class _Reader:
    """The state of one pass."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self.out: list[Polar] = []
        self._sign = 1
        self._anchors = 0
        self._place = 0
        self._prefix = False
        self._paused = False  # a comma came after what was denied
        self._clause = 0  # where in `out` the words begin of whom a negator is said
        self._sentence = 0  # where the sentence begins
        self._aside: tuple[int, int] | None = None  # the sign before "unless", and where it stood
        self._intro: Span | None = None  # what stood between "except" and the comma after it
        self._unsettled: int | None = None  # where the words begin that a negator left so
        self._is_exception = False

    def read(self, place: int) -> None:
        """Take one more word."""
        self._place = place
        words, key = self._words, self._words.keys[place]
        before = words.keys[place - 1] if place else ""
        gap = words.text[words.spans[place - 1][1] : words.spans[place][0]] if place else ""
        if gap != " ":
            if _STOP.search(gap):
                self._begin(1)
                self._sentence, self._intro, self._is_exception = len(self.out), None, False
            elif "," in gap or "(" in gap:
                self._pause()
        if key in _EXCEPTING and self.out and place + 1 < len(words):
            self._is_exception |= words.keys[place + 1] in _EXCEPTING[key]
        if _is_plain(key):
            self._say(key, before)
            return
        if key in _MODALS and (before == "and" or "," in gap):
            self._begin(1)
        self._word(key, before, gap, place)

    def _word(self, key: str, before: str, gap: str, place: int) -> None:
        if key in _ANEW or (key in _RELATIVE and "," in gap):
            self._begin(1)
        elif key == "without" and before == "or":  # "with or without cause": it says neither
            self._aside = self._sign, len(self.out)
            self._begin(0)
        elif key in _EXCEPT or key == "without":
            self._aside = self._sign, len(self.out)
            is_condition = key == "unless" and self._sign > 0  # it holds or not: unsettled
            self._begin(0 if is_condition else -self._sign)
            self._anchors = _ANCHORS
        elif key in _SETS:
            self._deny(-1, settled=key == "nor")
        elif key in _TURNS or key.endswith("n't"):
            if not is_bound(self._words.keys, place):
                self._deny(-1 if self._paused else -self._sign)
        elif key == "non":
            self._prefix = True
        elif key == "to" and before in _PURPOSE:
            self._sign = 0
        elif key == "that":
            self._clause = len(self.out)
        else:
            self._say(key, before)

    def _begin(self, sign: int) -> None:
        self._sign, self._anchors, self._clause = sign, 0, len(self.out)
        self._unsettled, self._paused = None, False

    def _pause(self) -> None:
        """A comma: it ends what "unless" and "without" are said of."""
        if self._aside is not None and self._aside[1] < len(self.out):
            sign, start = self._aside
            self._intro = (start, len(self.out)) if start == self._sentence else self._intro
            self._sign, self._aside = sign, None
        self._clause, self._paused = len(self.out), True

    def _deny(self, sign: int, *, settled: bool = False) -> None:
        """Deny what follows; of whom it is denied, stands before and is not."""
        if sign < 0 and self._intro is not None:  # "except with consent, no party may": it may then
            self._turn(*self._intro)
            self._intro = None
        if sign < 0 and not settled:
            for index in range(self._clause, len(self.out)):
                self.out[index] = replace(self.out[index], sign=0)
            self._unsettled = self._clause
        self._sign, self._anchors, self._clause = sign, _ANCHORS, len(self.out)
        self._paused = False

    def _turn(self, start: int, end: int) -> None:
        for index in range(start, end):
            self.out[index] = replace(self.out[index], sign=-self.out[index].sign)

    def _say(self, key: str, before: str) -> None:
        term, denied = _reading(key)
        if not (term and term.isalnum()):
            return
        sign = -self._sign if denied or self._prefix else self._sign
        is_anchor = self._anchors > 0 or denied or self._prefix
        if term in _VOIDS and before in _COPULAS:
            self._turn(self._sentence, len(self.out))
        elif is_anchor and term in _GRANTS and self._unsettled is not None:
            for index in range(self._unsettled, len(self.out)):
                self.out[index] = replace(self.out[index], sign=self.out[index].sign or sign)
        self.out.append(Polar(term, sign, is_anchor, self._place, self._is_exception))
        self._prefix = False
        self._anchors -= self._anchors > 0
        if term in _REFUSE:
            self._aside = self._sign, len(self.out)
            self._sign, self._anchors, self._clause = -self._sign, _ANCHORS, len(self.out)
