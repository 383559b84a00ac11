"""Structured output as claims: what each field says, and where in the JSON it says it.

A field is read as a statement of its name and its value ("notice period: 30 days"), long texts
sentence by sentence. The names are the schema's and not the model's, so they help to find the place
in the evidence and are not judged. What a schema fixes (yes or no, a word of a list) is not judged
either: no evidence says which word stands for it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from decimal import Decimal
from itertools import islice
from typing import TypeAlias

from pydantic import BaseModel

from ctxguard.text.facts import extract_facts
from ctxguard.text.thesaurus import default_thesaurus
from ctxguard.types import Claim, ClaimKind, Finding, Span, Verdict
from ctxguard.verification._json import Leaf, Path, Stop, leaves_of
from ctxguard.verification._kinds import kind_of
from ctxguard.verification._plainvalues import json_of, says_fixed, schema_of
from ctxguard.verification._verdicts import not_judged
from ctxguard.verification.claims import split_claims
from ctxguard.verification.evidence import Evidence

__all__ = ["Field", "Fields", "read_fields"]

_MOST = 2_000
"""Fields that are judged."""
_PROSE = 12
"""Words from which on a text is read sentence by sentence, without the name of its field."""
_SUBJECT = 60
"""Characters of the text that says which item of a list its other fields are about."""
_LEAD = 200
"""Characters of a field's name, with those of what it is in."""
_OUTER = 3
"""Names that are read of a path, the innermost."""
_FENCE = re.compile(r"\s*```[a-zA-Z]*[ \t]*\n(.*?)(?:\n?```\s*|\Z)", re.DOTALL)
_CAMEL = re.compile(r"(?<=[a-z\d])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_ENDS = re.compile(r"[.!?\u2026\u3002][\"'\u201d)]*(?:\s|\Z)")
_UNKNOWN = re.compile(
    r"(?:n/?a|none|null|nil|unknown|unclear|unspecified|undetermined|tbd|tba|[-\u2013\u2014?.]+"
    r"|(?:not|none|nothing|no)\s(?:\w+\s)?(?:applicable|available|known|specified|stated|given|"
    r"mentioned|provided|found|disclosed|information|data|answer))\.?",
    re.IGNORECASE,
)
_LABEL = re.compile(r"[a-z]+(?:[_-][a-z\d]+)*|[A-Z\d]+(?:_[A-Z\d]+)+|(?i:yes|no|true|false)")
"""How programs write the words of a list that they choose from."""
_WORD = re.compile(r"[A-Z][a-z]+|[A-Z]+")
_UUID = re.compile(r"[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A claim of one field, or why it makes none."""

    claim: Claim
    """As the verification will have it."""
    lead: int = 0
    """Characters of the claim's text before the value."""
    code: str = ""
    """Why it is not judged; blank: by its kind, or it is."""
    reason: str = ""
    offsets: Sequence[int] = ()
    """Characters of the text at which the value's characters stand, and its end; none: all of it
    is one thing, a number."""

    @property
    def is_judged(self) -> bool:
        """Whether evidence can say something of it."""
        return not self.code and self.claim.is_checkable


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """Structured output, read."""

    text: str
    """The JSON; spans are of it."""
    fields: tuple[Field, ...] = ()

    def statements(self) -> tuple[str, tuple[Claim, ...], dict[Span, int]]:
        """What is judged as one text, a statement a line; the claims in it; their leads."""
        claims: list[Claim] = []
        leads: dict[Span, int] = {}
        at = 0
        for one in self.fields:
            if one.is_judged:
                span = at, at + len(one.claim.text)
                claims.append(replace(one.claim, span=span))
                leads[span] = one.lead
                at = span[1] + 1
        return "\n".join(claim.text for claim in claims), tuple(claims), leads

    def verdicts(self, judged: Sequence[Verdict]) -> list[Verdict]:
        """The verdict on every field in order, from those on the statements."""
        rest = iter(judged)
        return [
            self._placed(next(rest), one)
            if one.is_judged
            else not_judged(one.claim, code=one.code, reason=one.reason)
            for one in self.fields
        ]

    def _placed(self, verdict: Verdict, field: Field) -> Verdict:
        """The verdict on a statement, where the field stands in the JSON."""
        start = verdict.claim.span[0] + field.lead
        findings = [self._found(one, field, start) for one in verdict.findings]
        return replace(verdict, claim=field.claim, findings=tuple(findings))

    def _found(self, finding: Finding, field: Field, start: int) -> Finding:
        span = field.claim.span
        if field.offsets:
            last = len(field.offsets) - 1
            first, end = (min(max(0, at - start), last) for at in finding.span)
            span = field.offsets[first], field.offsets[end]
        return replace(finding, span=span, text=self.text[slice(*span)])


def read_fields(value: object, evidence: Evidence, schema: object = None) -> Fields:
    """What the fields of structured output say.

    A text that is no JSON, or that ends before it is whole, is read as far as it goes; what follows
    is one field that says why it is not judged.

    Args:
        value: a JSON text, alone or in one code fence; or a mapping, a list, a pydantic model, a
            dataclass: then the text is its JSON.
        evidence: what it will be held against: it decides whether 0.035 is a share, 3.5 %.
        schema: a JSON Schema or a class, which says what is fixed; None: the class of the value.

    Raises:
        InputError: for a value that is no data, naming the field; for a schema that is none.
    """
    if isinstance(value, str):
        text, fence = value, _FENCE.match(value)
        span = fence.span(1) if fence and not value[fence.end() :].strip() else (0, len(value))
    else:
        text = json_of(value)
        span = 0, len(text)
        if schema is None and (isinstance(value, BaseModel) or is_dataclass(value)):
            schema = type(value)
    known = None if schema is None else schema_of(schema)
    reader = _Reader(text, evidence, says_fixed(known) if known is not None else lambda _: False)
    return Fields(text=text, fields=tuple(reader.fields(leaves_of(text, span), span[1])))


class _Reader:
    """Makes fields of the leaves of one JSON text."""

    def __init__(self, text: str, evidence: Evidence, fixed: Callable[[Path], bool]) -> None:
        self._text = text
        self._evidence = evidence
        self._fixed = fixed

    def fields(self, found: Iterable[Leaf | Stop], end: int) -> Iterator[Field]:
        """The fields of all leaves, and why there are no more."""
        parts = list(islice(found, _MOST + 1))
        subjects = _subjects([part for part in parts if isinstance(part, Leaf)])
        for number, part in enumerate(parts):
            if isinstance(part, Stop):
                yield self._unread((part.start, end), part.code, part.reason, part.path)
            elif number == _MOST:
                reason = f"only the first {_MOST:,} fields are judged"
                yield self._unread((part.span[0], end), "too-many", reason, part.path)
            else:
                yield from self._leaf(part, subjects)

    def _unread(self, span: Span, code: str, reason: str, path: Path) -> Field:
        claim = Claim(text=self._text[slice(*span)], span=span, pointer=_pointer(path))
        return Field(claim=claim, code=code, reason=reason)

    def _leaf(self, leaf: Leaf, subjects: Mapping[Path, Leaf]) -> Iterator[Field]:
        value = leaf.value
        if not isinstance(value, str):
            yield self._plain(leaf, subjects)
            return
        offsets = _offsets(self._text, leaf.span)
        code, reason, kind = self._unjudged(value, leaf.path)
        is_prose = len(value.split()) >= _PROSE or bool(_ENDS.search(value[:-1].strip()))
        if code or not is_prose:
            yield self._statement(leaf, value, subjects, (code, reason, kind), offsets)
            return
        for claim in split_claims(value):
            start, past = claim.span
            span = offsets[start], offsets[past]
            placed = replace(claim, span=span, pointer=_pointer(leaf.path))
            yield Field(claim=placed, offsets=offsets[start : past + 1])

    def _plain(self, leaf: Leaf, subjects: Mapping[Path, Leaf]) -> Field:
        """The field of what is no text."""
        value, said = leaf.value, self._text[slice(*leaf.span)]
        if value is None:
            why = _EMPTY
        elif isinstance(value, bool):
            why = "boolean", "it is yes or no, and no evidence says which", "statement"
        elif isinstance(value, str) or not math.isfinite(value):
            why = "not-a-number", f"{said:.40} is no number that can be compared", "statement"
        elif self._fixed(leaf.path):
            why = _CHOICE
        else:
            said = _digits(said)
            why = "", "", "statement"
            said = self._share(value, said)
        return self._statement(leaf, said, subjects, why, ())

    def _share(self, value: float, said: str) -> str:
        """A number as the evidence has it: 0.035 as 3.5 %, where only that is there."""
        if not 0 < abs(value) < 1:
            return said
        percent = f"{_digits(str(round(value * 100, 10)))} %"
        if self._evidence.find(said) is not None:
            return said
        has = any(map(self._evidence.has_value, extract_facts(percent)))
        return percent if has else said

    def _statement(
        self,
        leaf: Leaf,
        said: str,
        subjects: Mapping[Path, Leaf],
        why: _Why,
        offsets: Sequence[int],
    ) -> Field:
        code, reason, kind = why
        lead = _lead(leaf, subjects)
        claim = Claim(text=f"{lead}{said}", span=leaf.span, kind=kind, pointer=_pointer(leaf.path))
        return Field(claim=claim, lead=len(lead), code=code, reason=reason, offsets=offsets)

    def _unjudged(self, value: str, path: Path) -> _Why:
        """Why a text is not judged: code, reason and kind; a blank code where it is, or by kind."""
        bare = value.strip()
        if not bare:
            return _EMPTY
        if _UNKNOWN.fullmatch(bare[:80]):
            return "", "", "refusal"
        if self._fixed(path) or _is_label(bare):
            return _CHOICE
        kind = kind_of(bare)
        return "", "", kind if kind in ("refusal", "hedge", "question", "chat") else "statement"


_Why: TypeAlias = tuple[str, str, ClaimKind]
_EMPTY: _Why = ("empty", "it says that there is nothing to say", "refusal")
_CHOICE: _Why = (
    "label",
    "it is a word of a list that a program chooses from, and no evidence says which",
    "statement",
)


def _is_label(value: str) -> bool:
    """Whether a text is written as programs write one of a few choices, or an id of theirs."""
    if _LABEL.fullmatch(value) or _UUID.fullmatch(value):
        return True
    if not _WORD.fullmatch(value):
        return False
    is_currency = any(fact.kind == "amount" for fact in extract_facts(f"{value} 5"))
    return is_currency or default_thesaurus().main_part(value.lower()) not in ("", "n")


def _subjects(leaves: Sequence[Leaf]) -> dict[Path, Leaf]:
    """For each item of a list that has fields, the text that says which one it is."""
    found: dict[Path, Leaf] = {}
    for leaf in leaves:
        item, value = leaf.path[:-1], leaf.value
        if item and isinstance(item[-1], int) and isinstance(value, str) and item not in found:
            bare = value.strip()
            if bare and len(bare) <= _SUBJECT and not _is_label(bare):
                found[item] = leaf
    return found


def _lead(leaf: Leaf, subjects: Mapping[Path, Leaf]) -> str:
    """What a field is called, "items Paper price: "; blank for what has no name."""
    names = [_words(step) for step in leaf.path if isinstance(step, str)][-_OUTER:]
    subject = subjects.get(leaf.path[:-1])
    if subject is not None and subject is not leaf and isinstance(subject.value, str):
        names.insert(max(0, len(names) - 1), subject.value.strip())
    lead = " ".join(filter(None, names))[-_LEAD:].lstrip()
    return f"{lead}: " if lead else ""


def _words(name: str) -> str:
    """A name as words: "noticePeriod_days" is "notice period days"."""
    words = _CAMEL.sub(" ", name[:_LEAD].replace("_", " ").replace("-", " ")).split()
    return " ".join(word if word.isupper() else word.lower() for word in words)


def _pointer(path: Path) -> str:
    """The path as a JSON Pointer."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)


def _digits(literal: str) -> str:
    """A number without an exponent."""
    return format(Decimal(literal), "f") if "e" in literal.lower() else literal


_ESCAPE = re.compile(
    r"\\u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}"  # two escapes, one character
    r"|\\u.{4}|\\.",
    re.DOTALL,
)


def _offsets(text: str, span: Span) -> Sequence[int]:
    """Where the characters of a string stand in the text, and where it ends."""
    start, end = span
    if "\\" not in text[start:end]:
        return range(start, end + 1)
    places: list[int] = []
    at = start
    for escape in _ESCAPE.finditer(text, start, end):
        places += range(at, escape.start())
        places.append(escape.start())
        at = escape.end()
    return [*places, *range(at, end + 1)]
