"""Does a better-ranked text say all that a worse-ranked one says, in other words?

The question is entailment, not likeness: "a boy plays the guitar" says that "a child plays an
instrument", not the other way round. Every word of the worse text that says something must be
said by the better one, with the same word, a synonym or a narrower one; facts, negations and roles
must agree. What cannot be judged (a word that no thesaurus knows) counts as not said.

The score is the product of what each word and each deviation leaves of certainty, set by hand in
round numbers: weights fitted on one kind of sentences would not hold for another. Where that falls
below one half, something is not said; the score is then half the share of words that the two have
in common, so that a lower threshold trades safety for reach in a sensible order. What facts,
negation or roles rule out is 0 at any threshold.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ctxguard.stages._statement import LOGIC, OPPOSITE_WORDS, PARTICLES, Statement, Word, is_limit
from ctxguard.text.encoders import StaticEncoder
from ctxguard.text.facts import Fact
from ctxguard.text.thesaurus import Relatedness, Thesaurus

__all__ = ["Judgement", "Said", "judge"]

_SHARED = 0.25
"""Share of the worse text's words that the better one must have by their first letters to be looked
at: it spares nine of ten pairs of one topic the alignment."""
_SYNONYM = 0.97
_BROADER = 0.95
_PER_STEP = 0.98
"""Certainty that a word is said by a synonym, by a narrower word, and per step between the two:
many words have senses that are not meant."""
_ALIKE = 0.75
"""Certainty that a word is said by one that is only near it in the encoder; at a cosine of 1."""
_NEAR = 0.55
"""Cosine from which two words may mean the same: 0.5 and less is common among words of one topic
(dog and cat)."""
_UNSAID = 0.2
"""Of a word that nothing says; it may be implied by the rest."""
_CLASH = 0.03
"""Of a word where the other text has an opposite or another kind of the same: cat for dog."""
_MOVED = 0.4
"""Of two nouns that change places with no verb between them."""
_TURNED = 0.8
"""Of two that stand side by side in one of the texts only: "stone steps" are "steps of stone"."""
_SIDE = 0.2
"""Of a noun that stands on the other side of a verb: "she draws a man", "a man draws"."""
_PARTICLE = 0.5
"""Of each particle that only the worse text has."""
_LONG = 20
"""Words of a sentence above which the better one may add nothing: in a long sentence, a word more
is an exception or a condition."""
_NUMBER = 0.45
"""Of a noun that is one in one text and many in the other, and of a part of a name."""
_MORE = 0.98
"""Of each word that only the better text has: what it adds may change what the rest means."""
_EXACT = frozenset(
    {"amount", "percentage", "duration", "date", "version", "reference", "identifier"}
)
"""Kinds of facts of which the better text may not have more either: "(EUR 5)" takes back what stood
before it."""
_LOOSE_QUANTIFIERS = frozenset({"some", "any", "several", "both", "either"})
_NARROWING = frozenset({"few", "least", "only", "solely", "exclusively", "sometimes"})
"""Quantifiers that make a statement smaller: without them it says more than the better text."""


@dataclass(frozen=True, slots=True)
class Said:
    """A word of the worse text and the word of the better one that says it."""

    wanted: Word
    said: Word | None
    score: float
    """Certainty, 0 to 1."""

    @property
    def is_same(self) -> bool:
        """Whether it is a form of the same word."""
        return self.score == 1


@dataclass(frozen=True, slots=True)
class Judgement:
    """How sure it is that the better text says the worse one."""

    score: float
    """0 to 1."""
    pairs: tuple[Said, ...] = ()
    """For each word of the worse text that says something, in its order."""
    blocked: str = ""
    """What rules it out (fact, logic, preposition, roles, unsaid), or 'nothing' to judge."""


def judge(
    worse: Statement,
    better: Statement,
    *,
    thesaurus: Thesaurus,
    encoder: StaticEncoder,
    least: float = 0.0,
) -> Judgement:
    """Whether the better sentence says the worse one.

    Args:
        worse: the worse-ranked sentence.
        better: the better-ranked one.
        thesaurus: knows synonyms and what is more general.
        encoder: its vectors of single words stand in where the thesaurus knows nothing.
        least: a score below it need not be exact; from 0.5 on most pairs are done with at the first
            word that is not said.
    """
    if blocked := _ruled_out(worse, better):
        return Judgement(0.0, blocked=blocked)
    aligner = _Aligner(worse, better, thesaurus, encoder)
    pairs = aligner.pairs(stop=least >= 0.5)
    if len(pairs) < len(worse.content):
        return Judgement(0.0, pairs, blocked="unsaid")
    order = _order(worse, better, pairs)
    if not order:
        return Judgement(0.0, pairs, blocked="roles")
    taken = {pair.said.place for pair in pairs if pair.said is not None}
    more = sum(word.place not in taken for word in better.content)
    particles = len((PARTICLES & worse.vocabulary) - better.vocabulary)
    score = order * math.prod(pair.score for pair in pairs) * _PARTICLE**particles
    score *= _NUMBER ** _cut_names(better, pairs, taken)
    if score < 0.5 or (more and len(worse.words) > _LONG):
        unsaid = sum(pair.said is None for pair in pairs)
        score = 0.5 - 0.25 * max(0.04, unsaid / len(pairs) + more / len(better.content))
        return Judgement(score, pairs)
    return Judgement(max(0.5, score * _MORE**more), pairs)


def _ruled_out(worse: Statement, better: Statement) -> str:
    """Why no alignment of words could do; blank if one could."""
    if not _can_be_judged(worse, better):
        return "nothing"
    reasons = (
        ("logic", worse.count_of(LOGIC) != better.count_of(LOGIC)),
        ("preposition", _prepositions_clash(worse, better)),
        # The same words are a copy, or what differs is their order, a sign or a capital.
        ("roles", sorted(worse.words) == sorted(better.words)),
    )
    for reason, holds in reasons:
        if holds:
            return reason
    return "" if _signs_agree(worse, better) and _facts_agree(worse, better) else "fact"


def _can_be_judged(worse: Statement, better: Statement) -> bool:
    """Whether there is a claim to judge, and enough in common to look at it."""
    shared = len(worse.starts & better.starts)
    return worse.is_claim and bool(worse.content) and shared >= _SHARED * len(worse.starts)


def _signs_agree(worse: Statement, better: Statement) -> bool:
    """Whether both write the same figures and signs; the better one may have more figures."""
    more = better.signs - worse.signs
    return not worse.signs - better.signs and all(_is_figure(sign) for sign in more)


def _is_figure(sign: str) -> bool:
    return any(map(str.isdigit, sign))


def _facts_agree(worse: Statement, better: Statement) -> bool:
    """Whether the better text states every fact of the worse one, and nothing limits it more."""
    if not worse.agrees_in_limits(better):
        return False
    ours = Counter((fact.kind, fact.value) for fact in worse.facts)
    theirs = Counter((fact.kind, fact.value) for fact in better.facts)
    if any(kind == "quantifier" and value in _NARROWING for kind, value in theirs - ours):
        return False
    if any(kind in _EXACT for kind, _ in theirs - ours):
        return False
    left = ours - theirs
    return all(
        (fact.kind, fact.value) not in left or is_limit(fact) or _is_implied(fact, better)
        for fact in worse.facts
    )


def _is_implied(fact: Fact, better: Statement) -> bool:
    """Whether the better text says a fact that it does not have as a fact."""
    if fact.kind == "quantifier":
        return fact.value in _LOOSE_QUANTIFIERS
    if fact.kind == "name":
        return True  # Its words are looked for as words: "Ms Lee" is not all of "Ann Lee".
    return fact.text.lower().split()[0] == "one" and bool(better.vocabulary & {"a", "an", "the"})


def _cut_names(better: Statement, pairs: Sequence[Said], taken: set[int]) -> int:
    """How many names the worse text has a part of only: "Smith" for "J. Smith"."""
    rest = {word.place for word in better.content if word.is_name} - taken
    said = (pair.said.place for pair in pairs if pair.said is not None and pair.wanted.is_name)
    return sum(place - 1 in rest or place + 1 in rest for place in said)


def _prepositions_clash(worse: Statement, better: Statement) -> bool:
    ours, theirs = worse.vocabulary, better.vocabulary
    only_ours, only_theirs = ours - theirs, theirs - ours
    return any(
        (left & only_ours and right & only_theirs) or (right & only_ours and left & only_theirs)
        for left, right in OPPOSITE_WORDS
    )


# -- words ----------------------------------------------------------------------------------------


class _Aligner:
    """Finds for each word of the worse text the word that says it."""

    def __init__(
        self, worse: Statement, better: Statement, thesaurus: Thesaurus, encoder: StaticEncoder
    ) -> None:
        self._worse = worse.content
        self._better = better.content
        self._thesaurus = thesaurus
        self._encoder = encoder

    def pairs(self, *, stop: bool) -> tuple[Said, ...]:
        """One pair per word of the worse text; with `stop` those before a word that is not said."""
        names = {word.text for word in self._better}
        if stop and any(word.is_name and word.text not in names for word in self._worse):
            return ()
        spare = Counter(word.text for word in self._better)
        found: list[tuple[Said, set[int]]] = []
        for word in self._worse:
            found.append(self._best(word, spent=not spare[word.text]))
            if stop and found[-1][0].said is None:
                return tuple(pair for pair, _ in found[:-1])
            spare[word.text] -= spare[word.text] > 0
        rest = {word.place for word in self._better}
        rest -= {pair.said.place for pair, _ in found if pair.said is not None}
        return tuple(
            Said(pair.wanted, None, _CLASH) if clashes & rest else pair for pair, clashes in found
        )

    def _best(self, wanted: Word, *, spent: bool) -> tuple[Said, set[int]]:
        """The pair of a word, and the places of words that rule it out.

        Args:
            wanted: the word.
            spent: the better text has it, but not as often.
        """
        best, clashes = Said(wanted, None, _UNSAID), set[int]()
        unknown: list[Word] = []
        for said in self._better:
            if said.text == wanted.text and spent:
                continue
            if said.text == wanted.text:
                relation = Relatedness("same")
            elif wanted.is_name:
                continue  # only the same name will do
            else:
                relation = self._thesaurus.relate(said.text, wanted.text)
            if relation is None:
                unknown.append(said)
            elif relation.kind in ("opposite", "sibling"):
                clashes.add(said.place)
            else:
                score = _certainty(relation)
                if relation.kind == "same" and _differ_in_number(said, wanted):
                    score = _NUMBER
                distance = abs(said.place - wanted.place)
                held = best.said and (best.score, -abs(best.said.place - wanted.place))
                if held is None or (score, -distance) > held:
                    best = Said(wanted, said, score)
        if best.said is not None:
            return best, set()
        return self._alike(wanted, unknown) or best, clashes

    def _alike(self, wanted: Word, words: Sequence[Word]) -> Said | None:
        """The pair with the nearest word in the encoder, if it is near."""
        if wanted.is_name or not wanted.text.isalpha() or not words:
            return None
        rows = self._encoder.encode_words([wanted.text, *(word.text for word in words)])
        cosines = rows[1:] @ rows[0]
        at = int(cosines.argmax())
        cosine = min(1.0, float(cosines[at]))
        if cosine < _NEAR:
            return None
        return Said(
            wanted, words[at], _UNSAID + (_ALIKE - _UNSAID) * (cosine - _NEAR) / (1 - _NEAR)
        )


def _differ_in_number(one: Word, other: Word) -> bool:
    """Whether one form is singular, the other plural, of verbs too: it plays, they play."""
    if one.text.endswith(("ing", "ed")) or other.text.endswith(("ing", "ed")):
        return False
    return one.text.endswith("s") != other.text.endswith("s")


def _certainty(relation: Relatedness) -> float:
    if relation.kind == "same":
        return 1.0
    return _SYNONYM if relation.kind == "synonym" else _BROADER * _PER_STEP**relation.steps


# -- order ----------------------------------------------------------------------------------------


def _order(worse: Statement, better: Statement, pairs: Sequence[Said]) -> float:
    """What is left of certainty when words change places; 0 if two nouns change roles."""
    placed = [(pair.wanted, pair.said) for pair in pairs if pair.said is not None]
    verbs = [
        _Verb(ours.place, theirs.place, *_voices(worse, ours, better, theirs))
        for ours, theirs in placed
        if ours.part == "v" or theirs.part == "v"
    ]
    taken = {verb.ours for verb in verbs}
    nouns = [(ours.place, theirs.place) for ours, theirs in placed if ours.place not in taken]
    left = 1.0
    for index, first in enumerate(nouns):
        left *= _sides(first, verbs)
        for second in nouns[index + 1 :]:
            left *= _exchange(first, second, verbs)
    return left


class _Verb(NamedTuple):
    """Where a verb stands in both, and how its voices compare."""

    ours: int
    theirs: int
    turned: bool
    """Whether exactly one of them is passive."""
    by: bool
    """Whether exactly one is passive and says by whom."""


def _voices(worse: Statement, ours: Word, better: Statement, theirs: Word) -> tuple[bool, bool]:
    one, other = worse.voice(ours.place), better.voice(theirs.place)
    return (one == "active") != (other == "active"), (one == "by") != (other == "by")


def _sides(noun: tuple[int, int], verbs: Sequence[_Verb]) -> float:
    """Whether a noun is still the one that acts: it stands on the same side of the next verb."""
    near = min(verbs, key=lambda verb: abs(verb.ours - noun[0]), default=None)
    if near is None or near.turned:
        return 1.0
    return 1.0 if (noun[0] < near.ours) == (noun[1] < near.theirs) else _SIDE


def _exchange(first: tuple[int, int], second: tuple[int, int], verbs: Sequence[_Verb]) -> float:
    """Whether two nouns keep their order, but for a change of voice between them."""
    swapped = first[1] > second[1]
    parted = [verb for verb in verbs if _is_between(verb.theirs, first[1], second[1])]
    between = [verb for verb in parted if first[0] < verb.ours < second[0]]
    if swapped and any(verb.turned for verb in parted):
        return 1.0
    if between:
        return 0.0 if swapped or any(verb.by for verb in between) else 1.0
    if swapped:
        apart = second[0] - first[0], first[1] - second[1]
        return _TURNED if min(apart) == 1 < max(apart) < 5 else _MOVED
    return 1.0


def _is_between(place: int, one: int, other: int) -> bool:
    return min(one, other) < place < max(one, other)
