"""Names of a claim against the evidence: people, organisations with their legal form, places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ctxguard.text.facts import LEGAL_FORMS, Fact
from ctxguard.text.terms import term_of
from ctxguard.text.words import Words, words_of
from ctxguard.types import Finding, Quote
from ctxguard.verification._align import Case
from ctxguard.verification.evidence import Evidence

__all__ = ["check_names"]

_ABSENT = 0.9
"""That a name is wrong of which the evidence has no word."""
_PART = 0.8
"""That it is wrong where the evidence has some of its words only."""
_APART = 0.3
"""That it is wrong where the evidence has all of its words, but not together."""
_FORM = 0.95
"""That a legal form is wrong where the evidence gives the same name another one."""
_NO_FORM = 0.5
"""Where the evidence gives it none."""
_SLOT = 2
"""Words before a name that say what it is there for."""


def check_names(case: Case) -> Iterator[Finding]:
    """What is wrong with the names of a claim."""
    for fact in case.facts:
        if fact.kind == "name" and (finding := _check(case, fact)):
            yield finding


def _check(case: Case, name: Fact) -> Finding | None:
    keys = words_of(name.text).keys
    core, form = _without_form(keys)
    if not core or _is_said(case.evidence, core, form):
        return None
    if form and (quote := case.evidence.find(core)):
        return _form_differs(case, name, quote, form)
    missing = [key for key in core if not _has_word(case.evidence, key)]
    if len(missing) == len(core) and _is_common(case, name, core):
        return None  # a word like others that only begins the sentence
    if _is_short_form(case.evidence, core):
        return None
    rival = _rival(case, name)
    certainty = _APART if not missing else _ABSENT if len(missing) == len(core) else _PART
    if not missing:
        return None if len(core) == 1 else _finding(name, "name-apart", certainty, ())
    return _finding(name, "name-differs" if rival else "name-not-found", certainty, rival)


def _finding(name: Fact, code: str, certainty: float, quotes: Sequence[Quote]) -> Finding:
    said = " and ".join(repr(quote.text) for quote in quotes)
    reason = {
        "name-apart": f"the evidence has the words of {name.text!r}, but not together",
        "name-not-found": f"the evidence does not name {name.text!r}",
        "name-differs": f"the claim says {name.text!r} where the evidence says {said}",
        "form-differs": f"the claim says {name.text!r}, the evidence {said}",
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


def _without_form(keys: Sequence[str]) -> tuple[list[str], str]:
    """The words of a name, and its legal form in one spelling."""
    for size in (3, 2, 1):  # "l l c"
        form = LEGAL_FORMS.get("".join(keys[-size:]))
        if form and len(keys) > size:
            return list(keys[:-size]), form
    return list(keys), ""


def _is_said(evidence: Evidence, core: Sequence[str], form: str) -> bool:
    """Whether the evidence has the name, its legal form in any spelling included."""
    return any(
        not form or form == _form_after(words, place) for words, place in _places(evidence, core)
    )


def _places(evidence: Evidence, keys: Sequence[str]) -> Iterator[tuple[Words, int]]:
    """Where the words stand one after the other: the chunk's words, the index after them."""
    wanted = f" {' '.join(keys)} "
    for number, running in enumerate(evidence.running):
        place = running.find(wanted)
        while place >= 0:
            yield evidence.words[number], running.count(" ", 0, place) + len(keys)
            place = running.find(wanted, place + 1)


def _form_after(words: Words, place: int) -> str:
    """The legal form that follows a name, blank if none does."""
    for size in (3, 2, 1):
        form = LEGAL_FORMS.get("".join(words.keys[place : place + size]))
        if form and place + size <= len(words):
            return form
    return ""


def _form_differs(case: Case, name: Fact, quote: Quote, form: str) -> Finding:
    core = words_of(quote.text).keys
    for words, place in _places(case.evidence, core):
        other = _form_after(words, place)
        if other and other != form:
            chunk = next(i for i, one in enumerate(case.evidence.words) if one is words)
            span = words.spans[place - len(core)][0], words.spans[place][1]
            return _finding(name, "form-differs", _FORM, (case.evidence.quote(chunk, span),))
    return _finding(name, "form-not-found", _NO_FORM, (quote,))


def _has_word(evidence: Evidence, key: str) -> bool:
    return (term_of(key) or key) in evidence.postings or f" {key} " in "".join(evidence.running)


def _is_common(case: Case, name: Fact, core: Sequence[str]) -> bool:
    """Whether it is one word at the start of the claim, where every word has a capital."""
    return len(core) == 1 and name.span[0] - case.claim.span[0] <= 3


def _is_short_form(evidence: Evidence, core: Sequence[str]) -> bool:
    """Whether it is made of the first letters of words that the evidence has together."""
    if len(core) != 1 or not 2 <= len(core[0]) <= 6:
        return False
    letters = core[0]
    return any(letters in initials for initials in evidence.initials)


def _rival(case: Case, name: Fact) -> tuple[Quote, ...]:
    """A name of the aligned passages that the claim does not have, after the same words."""
    ours = {fact.value for fact in case.facts if fact.kind == "name"}
    before = _slot(case.words, name.span[0] - case.claim.span[0])
    for chunk, fact in case.near:
        if fact.kind == "name" and fact.value not in ours:
            words = case.evidence.words[chunk]
            if before and _slot(words, fact.span[0])[-1:] == before[-1:]:
                return (case.evidence.quote(chunk, fact.span),)
    return ()


def _slot(words: Words, start: int) -> list[str]:
    """The words before a place."""
    index = words.index_at(start)
    return words.keys[max(0, index - _SLOT) : index]
