"""Edits: the text says something else in one place. None where a text offers nothing to change."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from itertools import pairwise

from benchmarks.copies import MONTHS, Change

__all__ = ["EDITS"]

STATES = ("New York", "Delaware", "California", "Texas", "Ohio", "Florida", "Illinois", "Nevada")
UNIT = r"(?:business |calendar )?(?:days?|months?|years?)"


def _replaced(text: str, found: re.Match[str] | None, new: str) -> str | None:
    if found is None or found.group() == new:
        return None
    return text[: found.start()] + new + text[found.end() :]


def _pick(pattern: str, text: str, rng: random.Random) -> re.Match[str] | None:
    found = list(re.finditer(pattern, text))
    return rng.choice(found) if found else None


def _exchanged(text: str, pairs: Mapping[str, str], rng: random.Random) -> str | None:
    found = _pick(r"\b(?:" + "|".join(pairs) + r")\b", text, rng)
    return None if found is None else _replaced(text, found, pairs[found.group()])


# -- numbers --------------------------------------------------------------------------------------


def days(text: str, rng: random.Random) -> str | None:
    """Another number of days, months or years."""
    found = _pick(rf"(?:\b[A-Za-z]+ \((\d+)\)|\b(\d+)) (?=(?:{UNIT})\b)", text, rng)
    if found is None:
        return None
    old = int(found.group(1) or found.group(2))
    new = rng.choice([number for number in (5, 10, 15, 45, 60, 75, 120) if number != old])
    return _replaced(text, found, f"{new} ")


def one_digit(text: str, rng: random.Random) -> str | None:
    """The digits of 'thirty (30)' changed, the word left as it was."""
    found = _pick(r"(?<=\()\d+(?=\) [a-z])", text, rng)
    return None if found is None else _replaced(text, found, str(int(found.group()) + 1))


def amount(text: str, rng: random.Random) -> str | None:
    """Another amount of money."""
    found = _pick(r"\$ ?(\d[\d,]*)", text, rng)
    if found is None:
        return None
    digits = found.group(1).rstrip(",")
    return _replaced(text, found, f"${int(digits.replace(',', '')) * 2 + 100:,}")


def currency(text: str, rng: random.Random) -> str | None:
    """The same amount in another currency."""
    found = _pick(r"\$(?= ?\d)", text, rng)
    return _replaced(text, found, rng.choice(("€", "£", "CAD ")))


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


def month(text: str, rng: random.Random) -> str | None:
    """The same day of another month."""
    found = _pick(rf"\b(?:{MONTHS})(?= \d)", text, rng)
    others = [name for name in MONTHS.split("|") if found and name != found.group()]
    return _replaced(text, found, rng.choice(others)) if others else None


def unit(text: str, rng: random.Random) -> str | None:
    """Days become months, months years, years months; calendar days business days."""
    found = _pick(r"(?<=\d\) |.\d )(?:days|months|years)\b", text, rng)
    new = {"days": ("months", "business days"), "months": ("years", "days"), "years": ("months",)}
    return None if found is None else _replaced(text, found, rng.choice(new[found.group()]))


def reference(text: str, rng: random.Random) -> str | None:
    """Another section."""
    found = _pick(r"(?<=Section )\d+(?:\.\d+)*", text, rng)
    if found is None:
        return None
    head, dot, last = found.group().rpartition(".")
    return _replaced(text, found, f"{head}{dot}{int(last) + 1}")


def spaced_digits(text: str, rng: random.Random) -> str | None:
    """Another number of days, its digits apart or wide."""
    found = _pick(rf"(?<![\w(.,])\d\d(?=\)? (?:{UNIT})\b)", text, rng)
    if found is None:
        return None
    new = str(int(found.group()) + 11)
    wide = new.translate({ord("0") + digit: chr(0xFF10 + digit) for digit in range(10)})
    return _replaced(text, found, rng.choice((" ".join(new), "\u200b".join(new), wide)))


# -- words ----------------------------------------------------------------------------------------


def negation(text: str, rng: random.Random) -> str | None:
    """A 'not' more or less."""
    found = _pick(r"\b(shall|will|may|must) not\b", text, rng)
    if found is not None:
        return _replaced(text, found, found.group(1))
    found = _pick(r"\b(shall|will|may|must)\b", text, rng)
    return None if found is None else _replaced(text, found, f"{found.group()} not")


def modality(text: str, rng: random.Random) -> str | None:
    """A duty becomes a permission."""
    return _replaced(text, _pick(r"\bshall\b", text, rng), "may")


def softened(text: str, rng: random.Random) -> str | None:
    """Shall becomes should, must becomes may, will becomes would."""
    return _exchanged(text, {"shall": "should", "must": "may", "will": "would"}, rng)


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
    return _exchanged(text, pairs, rng)


def scope(text: str, rng: random.Random) -> str | None:
    """And becomes or, all becomes some, each becomes either, exclusive non-exclusive."""
    pairs = {
        "and": "or",
        "or": "and",
        "all": "some",
        "each": "either",
        "any": "every",
        "exclusive": "non-exclusive",
        "including": "excluding",
        "including without limitation": "limited to",
    }
    return _exchanged(text, pairs, rng)


def exception(text: str, rng: random.Random) -> str | None:
    """An exception added before the last full stop, or one between commas taken out."""
    found = _pick(r", (?:except|unless|provided|other than)\b[^,.;]*(?=[,.;])", text, rng)
    if found is not None:
        return _replaced(text, found, "")
    bare = text.rstrip(". ")
    return f"{bare}, except as required by law." if text.rstrip().endswith(".") else None


def plural(text: str, rng: random.Random) -> str | None:
    """One of a defined thing becomes several, or the other way round."""
    pairs = {"Product": "Products", "Products": "Product", "Affiliate": "Affiliates"}
    pairs |= {"Affiliates": "Affiliate", "Service": "Services", "Party": "Parties"}
    return _exchanged(text, pairs, rng)


def law(text: str, rng: random.Random) -> str | None:
    """The law of another state."""
    found = _pick(r"\b(?:" + "|".join(STATES) + r")\b", text, rng)
    if found is None:
        return None
    return _replaced(text, found, rng.choice([state for state in STATES if state != found.group()]))


def party(text: str, rng: random.Random) -> str | None:
    """Another party in one place."""
    pairs = {"Licensee": "Licensor", "Licensor": "Licensee", "Distributor": "Company"}
    pairs |= {"Company": "Distributor", "Buyer": "Seller", "Seller": "Buyer"}
    return _exchanged(text, pairs, rng)


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


_KINDS: tuple[Change, ...] = (
    *(days, amount, percent, date, negation, modality, bound, law, roles),
    *(one_digit, currency, month, unit, reference, spaced_digits, softened, scope, exception),
    *(plural, party),
)
EDITS: Mapping[str, Change] = {change.__name__: change for change in _KINDS}
