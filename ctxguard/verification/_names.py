"""Names of a claim against the evidence: people, organisations with their legal form, places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ctxguard.text.facts import LEGAL_FORMS, Fact
from ctxguard.text.thesaurus import default_thesaurus
from ctxguard.text.words import words_of
from ctxguard.types import Finding, Quote, Span
from ctxguard.verification._align import Case
from ctxguard.verification._values import VALUE_KINDS
from ctxguard.verification.evidence import Evidence

__all__ = ["check_names"]

_ABSENT = 0.9
"""That a name is wrong of which the evidence has no word."""
_PART = 0.8
"""That it is wrong where the evidence has some of its words only."""
_SHORTENED = 0.4
"""The same where what it has is the last word, by itself: people are named in full once."""
_SUBJECT = 0.7
"""Of that, where the claim says of the name what the evidence says of somebody: a passage need not
repeat whom its page is about."""
_ASKED = 0.4
"""The same where the question names it: then the answer did not make it up."""
_COPULAS = frozenset(["is", "are", "was", "were", "has", "have", "had"])
_APART = 0.3
"""That it is wrong where the evidence has all of its words, but not together."""
_FORM = 0.95
"""That a legal form is wrong where the evidence gives the same name another one."""
_NO_FORM = 0.5
"""Where the evidence gives it none."""
_SAID = VALUE_KINDS | {"name"}
_ACRONYM = range(2, 7)
"""Letters of an acronym."""
_NEAR = 40
"""Characters before a word in which the one before it begins."""
_LONGEST_FORM = 20
"""Characters in which a legal form stands behind a name."""
_MARKS = 3
"""Characters before a word that begins a claim: a quotation mark, a bracket."""


class _Name(NamedTuple):
    """A name of the claim."""

    fact: Fact
    core: str
    """Without the legal form."""
    keys: list[str]
    """The words of the core, case folded."""
    form: str
    """The legal form in one spelling, blank if there is none."""


def check_names(case: Case) -> Iterator[Finding]:
    """What is wrong with the names of a claim."""
    for fact in case.facts:
        if fact.kind == "name":
            yield from _check(case, _name(fact))


def _name(fact: Fact) -> _Name:
    words = words_of(fact.text)
    for size in (3, 2, 1):  # "l l c"
        form = LEGAL_FORMS.get("".join(words.keys[-size:]))
        if form and len(words) > size:
            core = fact.text[: words.spans[-size - 1][1]]
            return _Name(fact, core, words.keys[:-size], form)
    core = fact.text[:-2] if fact.text.endswith(("'s", "\u2019s")) else fact.text
    return _Name(fact, core, words_of(core).keys, "")


def _check(case: Case, name: _Name) -> Iterator[Finding]:
    evidence, keys = case.evidence, name.keys
    places = evidence.runs_of(name.core)
    if not keys or (places and not name.form):
        return
    if places:
        yield from _check_form(case, name, places)
        return
    missing = [key for key in keys if not evidence.names(key)]
    if len(keys) == 1 and default_thesaurus().main_part(keys[0]) == "r":
        return  # "Eventually" after a full stop that ends no sentence here
    begins = name.fact.span[0] - case.claim.span[0] <= _MARKS
    if _is_acronym(evidence, keys) or (len(keys) == 1 and (begins or not missing)):
        return  # a word like others may begin the sentence
    if not missing:
        yield _finding(name.fact, "name-apart", _APART, ())
        return
    rival = _rival(case, name.fact)
    certainty = _ABSENT if len(missing) == len(keys) else _PART
    if keys[-1] not in missing and _stands_alone(evidence, keys[-1]):
        certainty, rival = _SHORTENED, ()
    elif all(_in_other_words(case, key) for key in missing):
        certainty = _SHORTENED
    elif _is_only_subject(case, name.fact):
        asked = case.question.casefold()
        is_meant = all(key in asked for key in missing) or _is_described(case, keys[-1])
        certainty *= _ASKED if is_meant else _SUBJECT
    yield _finding(name.fact, "name-differs" if rival else "name-not-found", certainty, rival)


def _check_form(case: Case, name: _Name, places: Sequence[tuple[int, Span]]) -> Iterator[Finding]:
    """The legal form of a name that the evidence has."""
    evidence = case.evidence
    found = [
        (chunk, start, *_form_at(evidence.chunks[chunk].text, end))
        for chunk, (start, end) in places
    ]
    if any(form == name.form for _, _, form, _ in found):
        return
    chunk, start, form, end = max(found, key=lambda one: bool(one[2]))
    quote = evidence.quote(chunk, (start, end))
    code, certainty = ("form-differs", _FORM) if form else ("form-not-found", _NO_FORM)
    yield _finding(name.fact, code, certainty, (quote,))


def _form_at(text: str, place: int) -> tuple[str, int]:
    """The legal form that follows a place, blank if none does, and where it ends."""
    words = words_of(text[place : place + _LONGEST_FORM])
    for size in (3, 2, 1):
        form = LEGAL_FORMS.get("".join(words.keys[:size]))
        if form and size <= len(words):
            return form, place + words.spans[size - 1][1]
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
    for chunk, (start, _) in evidence.runs_of(key):
        text = evidence.chunks[chunk].text
        before = text[max(0, start - _NEAR) : start].split()
        if text[start].isupper() and not (before and before[-1][0].isupper()):
            return True
    return False


def _in_other_words(case: Case, key: str) -> bool:
    """Whether an aligned passage has another word for it: "house" of a mansion."""
    thesaurus = default_thesaurus()
    said = {word for one in case.aligned for word in case.evidence.keys_of(one.number)}
    found = (thesaurus.relate(word, key) for word in said if word.isalpha())
    return any(one is not None and one.kind in ("synonym", "broader") for one in found)


def _is_only_subject(case: Case, name: Fact) -> bool:
    """Whether the claim says something of the name, behind it, that the evidence has."""
    keys, spans = case.words.keys, case.words.spans
    start = case.claim.span[0]
    verb = next((spans[n][0] for n, key in enumerate(keys) if key in _COPULAS), None)
    if verb is None or name.span[0] - start > verb:
        return False
    said = [fact for fact in case.facts if fact.span[0] - start > verb and fact.kind in _SAID]
    return bool(said) and all(case.evidence.runs_of(fact.text, most=1) for fact in said)


def _is_described(case: Case, key: str) -> bool:
    """Whether an aligned passage says "the county" of what the claim names in full."""
    for one in case.aligned:
        passage = case.evidence.quote_passage(one.number).text
        if f" the {key} " in f" {' '.join(words_of(passage).keys)} " and f"the {key}" in passage:
            return True
    return False


def _is_acronym(evidence: Evidence, keys: Sequence[str]) -> bool:
    """Whether it is made of the first letters of words that the evidence has together."""
    return (
        len(keys) == 1
        and len(keys[0]) in _ACRONYM
        and any(keys[0] in initials for initials in evidence.initials)
    )


def _rival(case: Case, name: Fact) -> tuple[Quote, ...]:
    """A name of the aligned passages that the claim does not have, after the same word."""
    ours = {fact.value for fact in case.facts if fact.kind == "name"}
    before = _before(case.text, name.span[0] - case.claim.span[0])
    for chunk, fact in case.near:
        if fact.kind == "name" and fact.value not in ours:
            text = case.evidence.chunks[chunk].text
            if before and (_before(text, fact.span[0]) == before or f" {before} " in fact.text):
                return (case.evidence.quote(chunk, fact.span),)
    return ()


def _before(text: str, place: int) -> str:
    """The word before a place, blank at the start: what a name is there for."""
    return next(iter(words_of(text[max(0, place - _NEAR) : place]).keys[::-1]), "")
