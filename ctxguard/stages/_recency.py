"""Which of two versions is newer, by what their metadata say."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from ctxguard.text.facts import extract_facts
from ctxguard.types import Chunk, JsonValue

__all__ = ["Newer", "newer"]

_KEYS = [
    "version",
    "version_number",
    "revision",
    "effective_date",
    "effective",
    "valid_from",
    "date",
    "document_date",
    "published",
    "published_at",
    "publication_date",
    "updated",
    "updated_at",
    "last_updated",
    "modified",
    "modified_at",
    "last_modified",
    "last_modified_date",
    "timestamp",
    "created",
    "created_at",
    "creation_date",
    "year",
]
"""Names that frameworks and people give it, those that speak of the content first."""
_LONG = 200
"""Characters of a value that are read."""
_VERSION = re.compile(
    r"(?:v|ver\.?|version|rev\.?|revision)?\s*(\d{1,9}(?:\.\d{1,9})*)", re.IGNORECASE
)
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}\S*")

_When: TypeAlias = tuple[str, tuple[float, ...]]
"""What kind of value it is, and its parts, the largest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Newer:
    """How two chunks compare in age."""

    first: bool
    """Whether the first of the two is the newer one."""
    key: str
    """The name in the metadata."""
    newer: str
    """The value of the newer one, as it is written."""
    older: str


def newer(one: Chunk, other: Chunk, key: str | None) -> Newer | None:
    """Which of two chunks is the newer version; None where the metadata do not say.

    Args:
        one: the first.
        other: the second.
        key: the name in the metadata; None: the first of the usual names that tells them apart.
    """
    left, right = _named(one.metadata), _named(other.metadata)
    for name in _KEYS if key is None else (_plain(key),):
        if name not in left or name not in right:
            continue
        order = _compared(_when(left[name]), _when(right[name]))
        if order:
            values = str(left[name])[:_LONG], str(right[name])[:_LONG]
            late, early = values if order > 0 else values[::-1]
            return Newer(first=order > 0, key=name, newer=late, older=early)
    return None


def _named(metadata: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    return {_plain(str(name)): value for name, value in metadata.items()}


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "_").replace(" ", "_")


def _compared(one: _When | None, other: _When | None) -> int:
    """1 where the first is later, -1 where it is earlier, 0 where nothing says so.

    Dates of which one only is more exact (2014, May 2014) are in no order.
    """
    if one is None or other is None or one[0] != other[0] or one[1] == other[1]:
        return 0
    shared = min(len(one[1]), len(other[1]))
    if one[0] == "date" and one[1][:shared] == other[1][:shared]:
        return 0
    return 1 if one[1] > other[1] else -1


def _when(value: object) -> _When | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return ("number", (value,)) if math.isfinite(value) else None
    text = str(value).strip()[:_LONG]
    if _ISO.fullmatch(text):
        return _moment(text)
    if match := _VERSION.fullmatch(text):
        parts = [int(part) for part in match[1].split(".")]
        while len(parts) > 1 and not parts[-1]:
            parts.pop()
        return "number", tuple(parts)
    dates = {fact.value for fact in extract_facts(text) if fact.kind in ("date", "year")}
    if len(dates) != 1:
        return None
    parts = dates.pop().partition("T")[0].split("-")
    return ("date", tuple(map(int, parts))) if all(map(str.isdigit, parts)) else None


def _moment(text: str) -> _When | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is not None:
        try:
            moment = moment.astimezone(UTC)
        except OverflowError:
            return None
    day = moment.year, moment.month, moment.day
    return "date", (*day, moment.hour, moment.minute, moment.second, moment.microsecond)
