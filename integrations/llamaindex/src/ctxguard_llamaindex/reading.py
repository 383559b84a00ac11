"""One reply of a model, read from its parts; what may be shown of it are parts of the same kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from pydantic import BaseModel

from ctxguard.answering import Answering, Form, Settled, Shown
from ctxguard.verification import Asks, Correction
from ctxguard_llamaindex.asking import ends_well
from ctxguard_llamaindex.reasoning import Reasoning
from ctxguard_llamaindex.replies import (
    Spoken,
    calls_tools,
    delta_of,
    follows,
    is_fields,
    is_spoken,
    text_of,
    with_text,
)

__all__ = ["Follow", "Given", "Part", "Reader", "read_fields", "read_whole"]

Follow: TypeAlias = Callable[[Form], "Answering | None"]
"""Starts to follow a reply, once it is known what it is."""
Part: TypeAlias = Any
"""What a stream is made of: parts of replies, of objects, or whatever else a model yields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a reader is given next, and what is to be told after it."""

    parts: Sequence[Part] = ()
    corrections: tuple[Correction, ...] = ()
    settled: Settled | None = None


def read_whole(reply: Spoken, follow: Follow) -> Asks[tuple[Spoken, Settled | None]]:
    """Asks for what puts a whole reply right; the reply itself where it stays as it is."""
    text = text_of(reply)
    fields = is_fields(text)
    answering = follow("fields" if fields else "text")
    if answering is None:
        return reply, None
    before: list[str] = []
    called = calls_tools(reply)
    for kind, piece in () if fields else Reasoning().read(text, is_last=True):
        called = called or kind == "call"
        if kind == "answer":
            answering.push(piece)
        elif not called:
            before.append(piece)
    if fields:
        answering.push(text)
    if called:
        answering.hand_on()
    settled = yield from answering.settle(ends_well)
    answer = "".join(before) + settled.answer
    return (reply if called or answer == text else with_text(reply, answer)), settled


def read_fields(value: object, follow: Follow) -> Asks[Settled | None]:
    """Checks an object that a program reads, field by field; it stays as it is."""
    answering = follow("fields")
    if answering is None or not isinstance(value, BaseModel):
        return None
    answering.push(value.model_dump_json())
    return (yield from answering.settle(ends_well))


class Reader:
    """Reads a stream. Where nothing was held back or left out, a part is the one that came."""

    def __init__(self, follow: Follow, *, flows: bool) -> None:
        """Start before the first part.

        Args:
            follow: starts to follow the reply.
            flows: whether all of it is shown as it comes.
        """
        self._follow = follow
        self._flows = flows
        self._answering: Answering | None = None
        self._reasoning: Reasoning | None = Reasoning()
        self._raw = ""  # as far as the model has spoken
        self._out = ""  # as far as it was shown
        self._calls = False  # whether the reply is known to call tools
        self._handed_on = False
        self._last: Part = None

    def take(self, part: Part) -> Given:
        """What may be shown, now that this part has come."""
        self._last = part
        if not is_spoken(part):  # a part of an object, or what nobody here knows
            return Given(parts=(part,))
        text = delta_of(part, self._raw)
        self._raw += text
        shown = self._read(text, calls=calls_tools(part))
        self._out += text if self._flows else shown.text
        if self._flows or (shown.text == text and self._out == self._raw):
            parts: Sequence[Part] = (part,)
        elif isinstance(part, str):
            parts = (shown.text,) if shown.text else ()
        else:
            parts = (with_text(part, self._out, shown.text),)
        return Given(parts=parts, corrections=shown.corrections)

    def end(self) -> Asks[Given]:
        """Asks for what puts the rest right; then the last part, if there is more to show."""
        if not is_spoken(self._last):
            return Given(settled=(yield from read_fields(self._last, self._follow)))
        shown = self._read("", is_last=True)
        answering = self._answering
        if answering is None:
            return Given()
        settled = yield from answering.settle(ends_well)
        more = "" if self._flows else shown.text + settled.rest
        self._out += more
        if not more:
            parts: Sequence[Part] = ()
        elif isinstance(self._last, str):
            parts = (more,)
        else:
            parts = (follows(self._last, self._out, more),)
        corrections = (*shown.corrections, *settled.corrections)
        return Given(parts=parts, corrections=corrections, settled=settled)

    def _read(self, text: str, *, calls: bool = False, is_last: bool = False) -> Shown:
        self._calls = self._calls or calls
        answering = self._started(text, is_last=is_last)
        if answering is None:
            return Shown(text=text)
        shown: list[str] = []
        corrections: list[Correction] = []
        if self._reasoning is None:
            pieces = [("answer", text)] if text else []
        else:
            pieces = list(self._reasoning.read(text, is_last=is_last or calls))
        for kind, piece in pieces:
            if kind == "aside":
                shown.append(piece)
                continue
            if kind == "call":
                shown.append(self._hand_on(answering))
            now = answering.push(piece)
            shown.append(now.text)
            corrections += now.corrections
        if self._calls:
            shown.append(self._hand_on(answering))
        return Shown(text="".join(shown), corrections=tuple(corrections))

    def _started(self, text: str, *, is_last: bool) -> Answering | None:
        """What follows the reply; what kind of reply it is, its first character says."""
        if self._answering is None and (text.strip() or is_last) and self._raw.strip():
            is_json = self._raw.lstrip().startswith("{")
            self._answering = self._follow("fields" if is_json else "text")
            if is_json:
                self._reasoning = None
        return self._answering

    def _hand_on(self, answering: Answering) -> str:
        if self._handed_on:
            return ""
        self._handed_on = True
        return answering.hand_on()
