"""Whether a claim denies what the evidence affirms, or affirms what it denies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from ctxguard.types import Finding, Quote
from ctxguard.verification._align import Case
from ctxguard.verification._polarity import (
    Polar,
    denies,
    is_bound,
    is_negator,
    is_opposite,
    polarities,
)

__all__ = ["check_negation"]

_ANCHOR = 3.0
"""A word right behind a negator counts as this many others."""
_COPIED = 0.6
"""Share of its words, in their order, that makes a claim a copy of a passage with edits."""
_FEW = 5
"""Words in common that a copy has at least."""
_EDIT = 4
"""Words that a negation takes; what is longer is an addition to the sentence."""
_LONGEST = 300
"""Words of a sentence that are aligned one by one."""
_SURE = 0.95
"""That a claim is wrong which is a passage but for a negation."""


_UNSAID = 0.8
"""That a claim is wrong which denies what no passage denies."""
_OTHERWISE = 0.65
"""The same where a passage denies something else: it may mean that in other words."""
_TURNED = 0.8
"""Of the share of its words that say the opposite, for a claim that denies nothing: a passage may
deny something of them without denying them."""


_REFUSED = 0.6
"""That a claim is wrong which says of something what passages deny, and none affirms."""
_COPULAS = frozenset(["be", "been", "is", "are", "was", "were"])


@dataclass(frozen=True, slots=True)
class _Met:
    """A word of the claim that stands the other way round in a passage."""

    word: Polar
    weight: float
    passage: int


@dataclass(slots=True)
class _Balance:
    """How a claim and the passages agree in what they affirm and deny."""

    denied: float = 0.0
    """What the words tell together that both deny."""
    agree: float = 0.0
    """And those that both affirm."""
    differ: float = 0.0
    """And those that one affirms and the other denies."""
    lost: float = 0.0
    """What those tell that the claim denies and no passage has."""
    denials: bool = False
    """Whether a passage denies anything."""
    refused: _Met | None = None
    """What the claim says that something is, and every passage that has it denies."""
    worst: _Met | None = None

    def take(self, word: Polar, matches: Sequence[Polar], weight: float, passage: int) -> None:
        """Count a word of the claim with its occurrences in a passage."""
        same = float(any(match.sign == word.sign for match in matches))
        if word.sign < 0:
            self.denied += weight * same
        else:
            self.agree += weight * same
        against = weight * (1 - same)
        self.differ += against
        if against and (self.worst is None or against > self.worst.weight):
            self.worst = _Met(word, against, passage)


def _balance(case: Case, ours: Sequence[Polar]) -> _Balance:
    """Compare what a claim affirms and denies with the aligned passages."""
    balance = _Balance()
    met: set[str] = set()
    for one in case.aligned:
        theirs = case.evidence.polarity_of(one.number)
        balance.denials = balance.denials or any(
            word.sign < 0 for said in theirs.values() for word in said
        )
        excepted = _is_of_exception(ours, theirs)
        for word in ours:
            matches = [match for match in theirs.get(word.term, ()) if match.sign]
            if not excepted:  # an exception does not speak for the rule
                matches = [match for match in matches if not match.is_exception] or matches
            if word.sign and matches:
                met.add(word.term)
                is_anchor = word.is_anchor or any(match.is_anchor for match in matches)
                weight = _weight(case, word) * one.share
                balance.take(word, matches, weight * (_ANCHOR if is_anchor else 1), one.number)
    balance.refused = _refused(case, ours)
    for word in ours:
        if word.sign < 0 and word.term not in met:
            balance.lost += case.best * (_ANCHOR if word.is_anchor else 1)
    return balance


def _refused(case: Case, ours: Sequence[Polar]) -> _Met | None:
    """What a claim says that something is, where passages deny it and none affirms it."""
    keys = case.words.keys
    for word in ours:
        if word.sign <= 0 or not word.place or keys[word.place - 1] not in _COPULAS:
            continue
        found = [
            (one.number, match)
            for one in case.aligned
            for match in case.evidence.polarity_of(one.number).get(word.term, ())
            if match.sign and not match.is_exception
        ]
        if found and all(match.sign < 0 and match.is_anchor for _, match in found):
            return _Met(word, _weight(case, word), found[0][0])
    return None


def _is_of_exception(ours: Sequence[Polar], theirs: Mapping[str, Sequence[Polar]]) -> bool:
    """Whether a claim has a word that a passage has in an exception only."""
    found = (theirs[word.term] for word in ours if word.term in theirs)
    return any(all(match.is_exception for match in matches) for matches in found)


def check_negation(case: Case) -> Iterator[Finding]:
    """What a claim denies and the evidence affirms, or the other way round."""
    copied, edited = _edited(case)
    if edited:
        yield edited
    if copied or not case.aligned:
        return
    texts = (case.words.keys, *(case.evidence.keys_of(one.number) for one in case.aligned))
    if not any(denies(key) for keys in texts for key in keys):
        return
    ours = polarities(case.words, (0, len(case.words)))
    keys = case.words.keys
    denied = [word for word in ours if word.sign < 0]
    is_denial = denied and any(
        is_negator(key, main=True) and not is_bound(keys, place) for place, key in enumerate(keys)
    )
    balance = _balance(case, ours)
    certainty = _risk(balance, is_denial=bool(is_denial), share=case.best)
    if not certainty:
        return
    worst = (None if is_denial else balance.refused) or balance.worst
    worst = worst or _Met(denied[0], 0.0, case.aligned[0].number)
    quotes = (case.evidence.quote_passage(worst.passage),)
    yield _finding(
        case, worst.word.place, denies=worst.word.sign < 0, certainty=certainty, quotes=quotes
    )


def _weight(case: Case, word: Polar) -> float:
    """How much a word tells."""
    return case.evidence.rarity(case.terms[word.place])


def _risk(balance: _Balance, *, is_denial: bool, share: float) -> float:
    """That the claim says the opposite of the passages, by what agrees and what does not."""
    if is_denial:
        against = balance.differ + balance.lost
        certainty = _OTHERWISE if balance.denials else _UNSAID
        certainty += (1 - certainty) * 0.8 * (balance.differ / against if against else 0.0)
        return certainty * against / max(against + balance.denied, 1e-9)
    total = balance.agree + balance.denied + balance.differ
    turned = balance.differ / total if total else 0.0
    certainty = _TURNED * turned * share if 2 * turned > 1 else 0.0
    return max(certainty, _REFUSED) if balance.refused else certainty


def _finding(
    case: Case, place: int, *, denies: bool, certainty: float, quotes: tuple[Quote, ...]
) -> Finding:
    start, end = case.words.spans[place]
    text = case.claim.text[start:end]
    ours, theirs = ("denies", "affirms") if denies else ("affirms", "denies")
    return Finding(
        code="negation-differs",
        reason=f"the claim {ours} {text!r}, which the evidence {theirs}",
        span=(case.claim.span[0] + start, case.claim.span[0] + end),
        text=text,
        label="contradicted",
        certainty=certainty,
        evidence=quotes,
    )


# -- a sentence of the evidence with a negation more or less ---------------------------------------


def _edited(case: Case) -> tuple[bool, Finding | None]:
    """Whether the claim is a passage with edits, and where one of them is a negation."""
    ours = case.words.keys[:_LONGEST]
    counts = Counter(ours)
    for one in case.aligned:
        theirs = list(case.evidence.keys_of(one.number)[:_LONGEST])
        least = max(_FEW, _COPIED * min(len(ours), len(theirs)))
        if (counts & Counter(theirs)).total() < least:
            continue  # alignment costs ten times as much
        matcher = SequenceMatcher(None, ours, theirs, autojunk=False)
        blocks = matcher.get_matching_blocks()
        said = sum(block.size for block in blocks)
        if said < least:
            continue
        opcodes = matcher.get_opcodes()
        if _is_reframed(ours, theirs, opcodes):
            continue  # what was left out may govern the rest: scopes tell
        edits = list(_turning(ours, theirs, opcodes))
        if len(edits) % 2 == 0:  # "have found no evidence" is "have not found any evidence"
            return True, None
        place, is_more = edits[0]
        quotes = (case.evidence.quote_passage(one.number),)
        return True, _finding(case, place, denies=is_more, certainty=_SURE, quotes=quotes)
    return False, None


def _is_reframed(
    ours: Sequence[str], theirs: Sequence[str], edits: Iterable[tuple[str, int, int, int, int]]
) -> bool:
    """Whether a longer edit, or what a passage begins with, denies more or less: "in no event …".

    Not one at the end: that is said in addition.
    """
    return any(
        tag != "equal"
        and (max(i2 - i1, j2 - j1) > _EDIT or i2 == 0)
        and i2 < len(ours)
        and j2 < len(theirs)
        and _negators(theirs[j1:j2]) % 2 != _negators(ours[i1:i2]) % 2
        for tag, i1, i2, j1, j2 in edits
    )


def _turning(
    ours: Sequence[str], theirs: Sequence[str], edits: Iterable[tuple[str, int, int, int, int]]
) -> Iterator[tuple[int, bool]]:
    """The edits that turn a sentence: the claim's word behind each, whether it denies more."""
    for tag, i1, i2, j1, j2 in edits:
        is_local = max(i2 - i1, j2 - j1) <= _EDIT and i2 < len(ours) and j2 < len(theirs)
        is_local = is_local and (i1 > 0 or tag == "replace")
        denied, denying = _negators(theirs[j1:j2]), _negators(ours[i1:i2])
        if tag != "equal" and is_local and denied % 2 != denying % 2:
            yield i2, denying > denied


def _negators(keys: Sequence[str]) -> int:
    """How many words deny; "neither … nor" once."""
    return sum(
        (is_negator(key) or is_opposite(key)) and not is_bound(keys, place)
        for place, key in enumerate(keys)
    )
