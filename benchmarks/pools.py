"""Pools of passages in which the right answer is known: copies to remove, versions to keep.

A pool is one clause, copies of it made by `COPIES` and versions of it made by `EDITS`, each of
which changes one fact. What a kind cannot change in a clause is left out of that pool.
"""

from __future__ import annotations

import calendar
import random
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

__all__ = ["COPIES", "EDITS", "Passage", "Pool", "pool_of"]

Change = Callable[[str, random.Random], str | None]

MONTHS = "|".join(calendar.month_name[1:])
STATES = ("New York", "Delaware", "California", "Texas", "Ohio", "Florida", "Illinois", "Nevada")


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage of a pool."""

    id: str
    text: str
    role: Literal["original", "copy", "version"]
    kind: str


@dataclass(frozen=True, slots=True)
class Pool:
    """A clause with its copies and versions, in the order of a retriever."""

    passages: tuple[Passage, ...]

    def of(self, role: str) -> list[Passage]:
        """The passages with this role."""
        return [passage for passage in self.passages if passage.role == role]


# -- copies: the same facts in the same words ------------------------------------------------------


def rewrapped(text: str, rng: random.Random) -> str | None:
    """Other line ends and spaces, as another PDF reader gives them."""
    lines = textwrap.wrap(text, rng.choice([45, 60, 72]))
    return "\n".join(line.replace(" ", "  ", 2) for line in lines)


def typography(text: str, _: random.Random) -> str | None:
    """Curly quotes, en dashes, no-break spaces."""
    text = re.sub(r'"([^"]*)"', "\u201c\\1\u201d", text).replace("'", "\u2019")
    text = text.replace(" - ", " \u2013 ")
    return text.replace(" of ", " of\u00a0", 1)


def markdown(text: str, _: random.Random) -> str | None:
    """A list item with emphasis, as an HTML converter writes it."""
    words = text.split(" ")
    return "- **" + " ".join(words[:3]) + "** " + " ".join(words[3:])


def truncated(text: str, rng: random.Random) -> str | None:
    """The end is missing, in the middle of a sentence, as a splitter leaves it."""
    words = text.split(" ")
    return " ".join(words[: int(len(words) * rng.uniform(0.7, 0.92))])


def capitals(text: str, _: random.Random) -> str | None:
    """The first words in capitals, as a heading style gives them."""
    words = text.split(" ")
    return " ".join([word.upper() for word in words[:4]] + words[4:])


def number_style(text: str, _: random.Random) -> str | None:
    """'thirty (30) days' as '30 days', '5%' as '5 percent'."""
    changed = re.sub(r"\b[a-z]+ \((\d+)\)", r"\1", text, flags=re.IGNORECASE)
    changed = re.sub(r"(\d)%", r"\1 percent", changed)
    return changed if changed != text else None


COPIES: Mapping[str, Change] = {
    function.__name__: function
    for function in (rewrapped, typography, markdown, truncated, capitals, number_style)
}


# -- versions: one fact differs --------------------------------------------------------------------


def _replaced(text: str, found: re.Match[str] | None, new: str) -> str | None:
    if found is None or found.group() == new:
        return None
    return text[: found.start()] + new + text[found.end() :]


def _pick(pattern: str, text: str, rng: random.Random) -> re.Match[str] | None:
    found = list(re.finditer(pattern, text))
    return rng.choice(found) if found else None


def days(text: str, rng: random.Random) -> str | None:
    """Another number of days, months or years."""
    unit = r"(?:business |calendar )?(?:days?|months?|years?)"
    found = _pick(rf"(?:\b[A-Za-z]+ \((\d+)\)|\b(\d+)) (?=(?:{unit})\b)", text, rng)
    if found is None:
        return None
    old = int(found.group(1) or found.group(2))
    new = rng.choice([number for number in (5, 10, 15, 45, 60, 75, 120) if number != old])
    return _replaced(text, found, f"{new} ")


def amount(text: str, rng: random.Random) -> str | None:
    """Another amount of money."""
    found = _pick(r"\$ ?(\d[\d,]*)", text, rng)
    if found is None:
        return None
    digits = found.group(1).rstrip(",")
    return _replaced(text, found, f"${int(digits.replace(',', '')) * 2 + 100:,}")


def percent(text: str, rng: random.Random) -> str | None:
    """Another percentage."""
    found = _pick(r"\b(\d+)(?=(?:\.\d+)? ?(?:%|percent|per cent))", text, rng)
    return None if found is None else _replaced(text, found, str(int(found.group()) + 3))


def date(text: str, rng: random.Random) -> str | None:
    """Another year in a date."""
    found = _pick(rf"(?:{MONTHS}) \d{{1,2}}, (?:19|20)\d\d", text, rng)
    if found is None:
        return None
    return _replaced(text, found, found.group()[:-4] + str(int(found.group()[-4:]) + 1))


def negation(text: str, rng: random.Random) -> str | None:
    """A 'not' more or less."""
    found = _pick(r"\b(shall|will|may|must) not\b", text, rng)
    if found is not None:
        return _replaced(text, found, found.group(1))
    found = _pick(r"\b(shall|will|may|must)\b", text, rng)
    return None if found is None else _replaced(text, found, f"{found.group()} not")


def modality(text: str, rng: random.Random) -> str | None:
    """A duty becomes a permission."""
    found = _pick(r"\bshall\b", text, rng)
    return _replaced(text, found, "may")


def bound(text: str, rng: random.Random) -> str | None:
    """At least becomes at most, more becomes less, before becomes after."""
    pairs = {
        "at least": "at most",
        "no less than": "no more than",
        "not less than": "not more than",
        "more than": "less than",
        "prior to": "after",
        "before": "after",
        "greater": "lesser",
    }
    found = _pick(r"\b(?:" + "|".join(pairs) + r")\b", text, rng)
    return None if found is None else _replaced(text, found, pairs[found.group()])


def law(text: str, rng: random.Random) -> str | None:
    """The law of another state."""
    found = _pick(r"\b(?:" + "|".join(STATES) + r")\b", text, rng)
    if found is None:
        return None
    return _replaced(text, found, rng.choice([state for state in STATES if state != found.group()]))


def roles(text: str, _: random.Random) -> str | None:
    """Two parties change places: the same words in another order."""
    names = list(dict.fromkeys(re.findall(r"(?<=[a-z,] )[A-Z][a-z]{3,}\b", text)))
    for left, right in pairwise(names):
        swapped = re.sub(
            rf"\b(?:{left}|{right})\b", lambda m, a=left, b=right: b if m.group() == a else a, text
        )
        if swapped != text:
            return swapped
    return None


EDITS: Mapping[str, Change] = {
    function.__name__: function
    for function in (days, amount, percent, date, negation, modality, bound, law, roles)
}


def pool_of(clause: str, seed: int, others: Sequence[str] = ()) -> Pool:
    """The pool of one clause; `others` are unrelated clauses, retrieved along with it."""
    rng = random.Random(seed)
    passages = list(_variants(clause, rng))
    passages += [
        Passage(f"other-{number}", text, "version", "unrelated")
        for number, text in enumerate(others)
    ]
    rng.shuffle(passages)
    return Pool((Passage("original", clause, "original", "original"), *passages))


def _variants(clause: str, rng: random.Random) -> Iterator[Passage]:
    roles_and_changes = (("copy", COPIES), ("version", EDITS))
    for role, changes in roles_and_changes:
        for name, change in changes.items():
            text = change(clause, rng)
            if text is not None and text != clause:
                yield Passage(name, text, "copy" if role == "copy" else "version", name)
