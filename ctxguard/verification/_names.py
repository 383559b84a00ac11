"""Names of a claim against the evidence: people, organisations with their legal form, places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ctxguard.text.facts import LEGAL_FORMS, Fact
from ctxguard.text.terms import term_of
from ctxguard.text.words import Words, words_of
from ctxguard.types import Finding, Quote
from ctxguard.verification._align import Case
from ctxguard.verification.evidence import Evidence, bare_key

__all__ = ["check_names"]

_ABSENT = 0.9
"""That a name is wrong of which the evidence has no word."""
_PART = 0.8
"""That it is wrong where the evidence has some of its words only."""
_SHORTENED = 0.4
"""The same where what it has is the last word, by itself: people are named in full once."""
_APART = 0.3
"""That it is wrong where the evidence has all of its words, but not together."""
_FORM = 0.95
"""That a legal form is wrong where the evidence gives the same name another one."""
_NO_FORM = 0.5
"""Where the evidence gives it none."""
_ACRONYM = range(2, 7)
"""Letters of an acronym."""
_MARKS = 3
"""Characters before a word that begins a claim: a quotation mark, a bracket."""


class _Name(NamedTuple):
    """A name of the claim."""

    fact: Fact
    core: list[str]
    """Its words without the legal form, case folded."""
    form: str
    """The legal form in one spelling, blank if there is none."""


def check_names(case: Case) -> Iterator[Finding]:
    """What is wrong with the names of a claim."""
    for fact in case.facts:
        if fact.kind == "name":
            yield from _check(case, _name(fact))


def _name(fact: Fact) -> _Name:
    keys = [bare_key(key) for key in words_of(fact.text).keys]
    for size in (3, 2, 1):  # "l l c"
        form = LEGAL_FORMS.get("".join(keys[-size:]))
        if form and len(keys) > size:
            return _Name(fact, keys[:-size], form)
    return _Name(fact, keys, "")


def _check(case: Case, name: _Name) -> Iterator[Finding]:
    evidence, core = case.evidence, name.core
    places = list(evidence.occurrences(core)) if core else []
    if not core or (places and not name.form):
        return
    if places:
        yield from _check_form(case, name, places)
        return
    missing = [key for key in core if (term_of(key) or key) not in evidence.postings]
    begins = name.fact.span[0] - case.claim.span[0] <= _MARKS
    if _is_acronym(evidence, core) or (len(core) == 1 and (begins or not missing)):
        return  # a word like others may begin the sentence, or be a function word
    if not missing:
        yield _finding(name.fact, "name-apart", _APART, ())
        return
    rival = _rival(case, name.fact)
    certainty = _ABSENT if len(missing) == len(core) else _PART
    if core[-1] not in missing and _stands_alone(evidence, core[-1]):
        certainty, rival = _SHORTENED, ()
    yield _finding(name.fact, "name-differs" if rival else "name-not-found", certainty, rival)


def _check_form(case: Case, name: _Name, places: Sequence[tuple[int, int]]) -> Iterator[Finding]:
    """The legal form of a name that the evidence has."""
    evidence, size = case.evidence, len(name.core)
    found = [
        (chunk, first, *_form_at(evidence.words[chunk], first + size)) for chunk, first in places
    ]
    if any(form == name.form for _, _, form, _ in found):
        return
    chunk, first, form, past = max(found, key=lambda one: bool(one[2]))
    quote = evidence.quote(chunk, evidence.words[chunk].span(first, past))
    code, certainty = ("form-differs", _FORM) if form else ("form-not-found", _NO_FORM)
    yield _finding(name.fact, code, certainty, (quote,))


def _form_at(words: Words, place: int) -> tuple[str, int]:
    """The legal form that stands at a word, blank if none does, and the word after it."""
    for size in (3, 2, 1):
        form = LEGAL_FORMS.get("".join(words.keys[place : place + size]))
        if form and place + size <= len(words):
            return form, place + size
    return "", place


def _finding(name: Fact, code: str, certainty: float, quotes: Sequence[Quote]) -> Finding:
    said = " and ".join(repr(quote.text) for quote in quotes)
    reason = {
        "name-apart": f"the evidence has the words of {name.text!r}, but not together",
        "name-not-found": f"the evidence does not name {name.text!r}",
        "name-differs": f"the claim says {name.text!r} where the evidence says {said}",
        "form-differs": f"the claim says {name.text!r} where the evidence says {said}",
        "form-not-found": f"the evidence names {said} without the legal form in {name.text!r}",
    }[code]
    return Finding(
        code=code,
        reason=reason,
        span=name.span,
        text=name.text,
        label="contradicted" if code.endswith("differs") else "not_found",
        certainty=certainty,
        evidence=tuple(quotes),
    )


# -- what the evidence has ------------------------------------------------------------------------


def _stands_alone(evidence: Evidence, key: str) -> bool:
    """Whether the evidence has a capitalised word with no capitalised one before it."""
    for chunk, place in evidence.occurrences([key]):
        words = evidence.words[chunk]
        before = words.raw(place - 1) if place else ""
        if words.raw(place)[0].isupper() and not before[:1].isupper():
            return True
    return False


def _is_acronym(evidence: Evidence, core: Sequence[str]) -> bool:
    """Whether it is made of the first letters of words that the evidence has together."""
    return (
        len(core) == 1
        and len(core[0]) in _ACRONYM
        and any(core[0] in initials for initials in evidence.initials)
    )


def _rival(case: Case, name: Fact) -> tuple[Quote, ...]:
    """A name of the aligned passages that the claim does not have, after the same word."""
    ours = {fact.value for fact in case.facts if fact.kind == "name"}
    before = _before(case.words, name.span[0] - case.claim.span[0])
    for chunk, fact in case.near:
        if fact.kind == "name" and fact.value not in ours:
            words = case.evidence.words[chunk]
            if before and _before(words, fact.span[0]) == before:
                return (case.evidence.quote(chunk, fact.span),)
    return ()


def _before(words: Words, start: int) -> str:
    """The word before a place, blank at the start: what a name is there for."""
    index = words.index_at(start)
    return words.keys[index - 1] if index else ""
