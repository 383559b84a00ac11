"""JSON as a model wrote it: the values that hold no others, each with its place.

A parser of our own, because that of the standard library knows no places, recurses, and gives
nothing of a text that is cut off. This one takes time linear in the text, whatever the text is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, cast

from ctxguard.types import Span

__all__ = ["Leaf", "Path", "Stop", "Value", "leaves_of"]

Value: TypeAlias = str | bool | int | float | None
Path: TypeAlias = tuple[str | int, ...]
"""Keys and positions, from the outside in."""
_DEEPEST = 100
"""Levels of nesting; nobody reads a field that is further inside."""
_LONGEST = 1_000
"""Characters of all keys of a path."""
_SPACE = re.compile(r"[ \t\r\n]*")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_WORD = re.compile(r"[^\s,:\[\]{}\"]+")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_NAMES = {"true": True, "false": False, "null": None}
_ODD = frozenset(["NaN", "Infinity", "-Infinity"])
"""What some writers make of numbers that JSON does not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A value that holds no other one."""

    path: Path
    value: Value
    span: Span
    """Characters of the text: a string without its quotation marks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Why a text is not read further."""

    code: Literal["not-json", "incomplete", "too-deep"]
    reason: str
    start: int
    """Characters before what is not read."""
    path: Path = ()
    """Where that is."""


@dataclass(slots=True, kw_only=True)
class _Open:
    """An array or an object that has not ended."""

    close: str
    place: int = 0
    """Of the next item of an array."""
    expects: Literal["first", "item", "comma"] = "first"


@dataclass(slots=True, kw_only=True)
class _State:
    at: int
    end: int
    around: list[_Open] = field(default_factory=list[_Open])
    path: list[str | int] = field(default_factory=list[str | int])
    length: int = 0
    """Characters of the keys in the path."""


def leaves_of(text: str, span: Span) -> Iterator[Leaf | Stop]:
    """The leaves of a JSON text in its order; the last one is a Stop where it is not all read.

    Args:
        text: an answer.
        span: where the JSON is in it.
    """
    state = _State(at=span[0], end=span[1])
    while True:
        skipped = _SPACE.match(text, state.at, state.end)
        state.at = skipped.end() if skipped else state.at
        begun = state.at
        found = _within(text, state) if state.around else _value(text, state)
        if found is not None:
            yield found
        if isinstance(found, Stop):
            return
        if not state.around:
            break
        if state.at == begun:  # pragma: no cover -- every step takes a character, or stops
            raise AssertionError("the parser stands still")
    rest = _SPACE.match(text, state.at, state.end)
    if rest and rest.end() < state.end:
        yield _stop(text, state, "the end", rest.end())


def _within(text: str, state: _State) -> Leaf | Stop | None:
    """One step inside of an array or an object."""
    inner = state.around[-1]
    sign = text[state.at : min(state.at + 1, state.end)]
    if sign == inner.close and inner.expects != "item":
        state.at += 1
        state.around.pop()
        if state.path:
            _leave(state)
        return None
    if inner.expects == "comma":
        if sign != ",":
            return _stop(text, state, f"',' or {inner.close!r}", state.at)
        state.at += 1
        inner.expects = "item"
        return None
    if inner.close == "}":
        return _entry(text, state)
    state.path.append(inner.place)
    inner.place += 1
    inner.expects = "comma"
    return _value(text, state)


def _entry(text: str, state: _State) -> Leaf | Stop | None:
    """A key, its colon and what it holds, as far as one step goes."""
    string = _STRING.match(text, state.at, state.end)
    key = _decoded(string.group()) if string else None
    if string is None or key is None:
        is_cut = string is None and text.startswith('"', state.at, state.end)
        return _stop(text, state, "a key in quotation marks", state.end if is_cut else state.at)
    colon = _SPACE.match(text, string.end(), state.end)
    at = colon.end() if colon else string.end()
    if text[at : min(at + 1, state.end)] != ":":
        return _stop(text, state, "':'", at)
    if state.length + len(key) > _LONGEST:
        reason = f"the path of a field is longer than {_LONGEST:,} characters"
        return Stop(code="too-deep", reason=reason, start=state.at, path=tuple(state.path))
    space = _SPACE.match(text, at + 1, state.end)
    state.at = space.end() if space else at + 1
    state.path.append(key)
    state.length += len(key)
    state.around[-1].expects = "comma"
    return _value(text, state)


def _value(text: str, state: _State) -> Leaf | Stop | None:
    """A leaf, or the beginning of what holds others."""
    at = state.at
    sign = text[at : min(at + 1, state.end)]
    if sign and sign in "[{":
        if len(state.around) >= _DEEPEST:
            reason = f"it is nested deeper than {_DEEPEST} levels"
            return Stop(code="too-deep", reason=reason, start=at, path=tuple(state.path))
        state.around.append(_Open(close="]" if sign == "[" else "}"))
        state.at += 1
        return None
    return _string(text, state) if sign == '"' else _bare(text, state)


def _string(text: str, state: _State) -> Leaf | Stop:
    string = _STRING.match(text, state.at, state.end)
    if string is None:
        return _stop(text, state, "the end of a string", state.end)
    said = _decoded(string.group())
    if said is None:
        return _stop(text, state, "a string", state.at)
    return _leaf(state, said, (state.at + 1, string.end() - 1), string.end())


def _bare(text: str, state: _State) -> Leaf | Stop:
    """A number or a name."""
    at = state.at
    word = _WORD.match(text, at, state.end)
    if word is None:
        return _stop(text, state, "a value", at)
    said = word.group()
    is_last = bool(state.around) and word.end() == state.end  # 3 may become 30
    if is_last or not (said in _NAMES or said in _ODD or _NUMBER.fullmatch(said)):
        return _stop(text, state, "a value", state.end if is_last else at)
    value = _NAMES[said] if said in _NAMES else _number(said)
    return _leaf(state, value, word.span(), word.end())


def _leaf(state: _State, value: Value, span: Span, end: int) -> Leaf:
    leaf = Leaf(path=tuple(state.path), value=value, span=span)
    state.at = end
    if state.path:
        _leave(state)
    return leaf


def _leave(state: _State) -> None:
    """Go back to what the last key or position of the path is in."""
    left = state.path.pop()
    state.length -= len(left) if isinstance(left, str) else 0


def _decoded(literal: str) -> str | None:
    """What a string says; None where it is none."""
    try:
        return cast("str", json.loads(literal, strict=False))
    except ValueError:
        return None


def _number(literal: str) -> float | int | str:
    """A number; one of thousands of digits stays as it is written."""
    if literal in _ODD:
        return float(literal.replace("Infinity", "inf"))
    whole = literal.lstrip("-").isdigit()
    return int(literal) if whole and len(literal) <= _DIGITS else float(literal)


_DIGITS = 300
"""Digits of a whole number; the rest is no amount of anything."""


def _stop(text: str, state: _State, wanted: str, at: int) -> Stop:
    path = tuple(state.path)
    if at >= state.end:
        reason = "the JSON ends before it is whole"
        return Stop(code="incomplete", reason=reason, start=state.at, path=path)
    found = text[at : min(at + 12, state.end)]
    reason = f"it is no JSON from character {at:,} on: expected {wanted}, got {found!r}"
    return Stop(code="not-json", reason=reason, start=at, path=path)
