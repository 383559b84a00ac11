"""A sentence as the words that say something, for the judgement of paraphrases."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from ctxguard.text.facts import Fact, extract_facts
from ctxguard.text.thesaurus import Thesaurus

__all__ = ["LOGIC", "OPPOSITE_WORDS", "PARTICLES", "Statement", "Word", "is_limit"]

_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W\d_]+)?")


def _words(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


_FIGURE = re.compile(r"[^\s\w(]*\d\S*")
_SIGN = re.compile(r"[^\w\s.,;:'\"()?!\-\u2018\u2019\u201c\u201d]|[!?](?=[^\s'\")\u2019\u201d])")
_BE = _words("am is are was were be been being get gets got getting 's 're")
_FUNCTION = _BE | _words(
    "a an the one this that these those there here it its he she they we you i him her them us",
    "me my our your his their hers theirs who whom whose which what when where while why how as",
    "of at by for from in into inside outside on onto off out over to toward towards under up",
    "upon via with within without and or but nor so yet because although though if then than do",
    "does did done doing have has had having let such same not no never also just very too own",
    "whether about above across after against along among around before behind below beneath",
    "beside between near beyond down during next per since through throughout until together",
    "shall may must should will would can could might ought cannot each other another some any",
    "all both every several either neither none nobody nothing only self itself himself herself",
    "themselves group lot lots",
)
"""Words without a meaning of their own to look for: what they change is seen in facts, in
`OPPOSITE_WORDS` and in the order of the others."""
_ANYONE = _words("someone somebody people")
OPPOSITE_WORDS = (
    (_words("up upwards"), _words("down downwards")),
    (_words("in into inside within"), _words("out outside")),
    (_words("on onto into"), _words("off under beneath below")),
    (_words("front"), _words("behind")),
    (_words("over above"), _words("under below beneath")),
    (_words("before"), _words("after")),
    (_words("behind"), _words("before")),
    (_words("with"), _words("without")),
    (_words("to toward towards into"), _words("from")),
    (_words("for"), _words("against")),
)
"""Prepositions of which one text may not have the one where the other has the other."""
_VERBS = _BE | _words("do does did has have had shall may must should will would can could might")
LOGIC = _words("or nor if unless whether any all every each either both only until than provided")
"""Words of which both must have the same: they say of whom, when, and of how much it holds."""
PARTICLES = _words("up down off out away into onto over under behind back through across")
"""Words that make another verb of a verb: to take, to take off."""


_MARKUP = re.compile(r"[<>{}\\|=^~`]")
"""Written for machines: there one letter more is another thing."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word that says something."""

    text: str
    """In lower case."""
    place: int
    """Among all words of the sentence."""
    part: str
    """The part of speech that it mostly is: n, v, a, r, or "" where the thesaurus lacks it."""
    is_name: bool


class Statement:
    """A sentence, its words and its facts."""

    def __init__(self, text: str, thesaurus: Thesaurus) -> None:
        """Read a sentence.

        Args:
            text: one sentence, or a short text.
            thesaurus: knows parts of speech.
        """
        self.text = text
        found = _WORD.findall(text)
        self.words = [word.replace("\u2019", "'").lower() for word in found]
        self.content = [
            Word(
                _bare(word),
                place,
                thesaurus.main_part(_bare(word)),
                _is_name(found, place, thesaurus),
            )
            for place, word in enumerate(self.words)
            if (_bare(word) not in _FUNCTION or (place and _is_name(found, place, thesaurus)))
            and not _is_contraction(word)
        ]

    @cached_property
    def facts(self) -> tuple[Fact, ...]:
        """Its material facts."""
        return extract_facts(self.text)

    @cached_property
    def is_claim(self) -> bool:
        """Whether it has a verb, no label and no markup: a heading or a tag says nothing alone."""
        if ": " in self.text or _MARKUP.search(self.text):
            return False
        return any(word.part == "v" for word in self.content) or not _VERBS.isdisjoint(self.words)

    @cached_property
    def signs(self) -> Counter[str]:
        """Figures with what is glued to them, and signs other than punctuation."""
        figures = (found.rstrip(".,;:!?)") for found in _FIGURE.findall(self.text))
        return Counter([*figures, *_SIGN.findall(self.text)])

    @cached_property
    def starts(self) -> frozenset[str]:
        """The first letters of its words: enough to see that two texts have little in common."""
        return frozenset(word.text[:4] for word in self.content)

    @cached_property
    def vocabulary(self) -> frozenset[str]:
        """Its words, each once."""
        return frozenset(self.words)

    def count_of(self, words: frozenset[str]) -> Counter[str]:
        """How often it has each of some words."""
        return Counter(word for word in self.words if word in words)

    def agrees_in_limits(self, better: Statement) -> bool:
        """Whether both deny, allow and bound the same; the better one may say when and where.

        A bound before a number limits it. Another one belongs to what is added: "after the game".
        """
        if self._limits(hard=True) != better._limits(hard=True):
            return False
        return not self._limits(hard=False) - better._limits(hard=False)

    def _limits(self, *, hard: bool) -> Counter[tuple[str, str]]:
        """Limits by kind and value: hard ones (not, may, at most 5), or the others."""
        numbers = {fact.span[0] for fact in self.facts if fact.kind not in _WORDS_ONLY}
        return Counter(
            (fact.kind, fact.value)
            for fact in self.facts
            if is_limit(fact)
            and (fact.kind != "bound" or not numbers.isdisjoint(_just_after(fact))) == hard
            and (hard or fact.value not in _ROUGH)
        )

    def voice(self, place: int) -> Literal["active", "passive", "by"]:
        """The voice of the verb at a place; 'by': passive, and it is said by whom."""
        before = self.words[max(0, place - 3) : place]
        if self.words[place].endswith("ing") or not _BE.intersection(before):
            return "active"
        return "by" if "by" in self.words[place + 1 : place + 6] else "passive"


_LIMITS = frozenset({"negation", "modality", "bound"})
_WORDS_ONLY = _LIMITS | {"quantifier", "name"}
_ROUGH = frozenset({"approximately", "exactly"})
"""No bounds but before a number: "around ten people", but "they walk around"."""


def is_limit(fact: Fact) -> bool:
    """Whether a fact limits what is said rather than names something."""
    return fact.kind in _LIMITS


def _just_after(fact: Fact) -> range:
    return range(fact.span[1], fact.span[1] + 3)


def _bare(word: str) -> str:
    return word.partition("'")[0] if word.endswith(("'s", "'")) else word


def _is_contraction(word: str) -> bool:
    """Whether a word is a pronoun or an auxiliary with what was drawn to it: "don't", "we'll"."""
    return "'" in word and not word.endswith("'s")


def _is_name(words: list[str], place: int, thesaurus: Thesaurus) -> bool:
    """Whether a word is written like a name: a capital that no start of a sentence explains.

    At the start, a singular noun that stands alone: "Distributor shall", but "Dogs are".
    """
    word = words[place]
    if not word[0].isupper() or word == "I":
        return False
    lower = word.lower()
    if place or lower in _FUNCTION or lower in _ANYONE:
        return place > 0
    return thesaurus.main_part(lower) in ("n", "") and len(thesaurus.lemmas(lower)) == 1
