"""A model's stream on its way through verification: what of it may be handed on, and when.

A reader takes what the model yields, item by item, and gives what its reader may see. It does no
waiting and no asking itself, so that streams that are called and awaited share it. Whatever is no
text passes at once.
"""

from __future__ import annotations

import functools
import json
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, cast

from langchain_core.messages import AIMessageChunk

from ctxguard.answering import Answering, Settled
from ctxguard.verification import Correction
from ctxguard_langchain.convert import CALL_BLOCKS
from ctxguard_langchain.dynamic import Dynamic
from ctxguard_langchain.replies import (
    calls_tools,
    fields_of,
    is_last,
    message_of,
    more_text,
    text_of,
    with_texts,
)

__all__ = ["Chunks", "Events", "Reader", "Streamed"]

Event = Mapping[str, Any]
_CALLS = CALL_BLOCKS | {"tool_call_chunk", "invalid_tool_call"}
_TEXTS = ("text", "text-delta")


class Streamed:
    """What is known of one streamed reply from its start."""

    def __init__(
        self,
        answering: Answering,
        *,
        gated: bool,
        structured: bool = False,
        schemas: Iterable[str] | None = (),
        fields: Callable[[], Answering | None],
    ) -> None:
        """Start before the first item.

        Args:
            answering: follows the text.
            gated: whether text waits until it passed.
            structured: whether all of the reply is for a program: it passes as it comes.
            schemas: names of tools whose call is a structured reply; None: all of them.
            fields: follows a structured reply.
        """
        self.answering = answering
        self.gated = gated and not structured
        self.structured = structured
        self.calls = False
        self._schemas = None if structured else tuple(schemas or ())
        self._fields = fields
        self._corrections: list[Correction] = []

    @property
    def keeps(self) -> bool:
        """Whether the whole reply has to be there in the end."""
        return self.structured or bool(self._schemas)

    def push(self, text: str) -> str:
        """What a reader may see, now that this text has followed."""
        shown = self.answering.push(text)
        self._corrections += shown.corrections
        return shown.text

    def hand_on(self) -> str:
        """What was held back, now that the reply is known to call tools."""
        self.calls = True
        return self.answering.hand_on()

    def known(self) -> Sequence[Correction]:
        """What is known to be wrong since it was asked last."""
        found, self._corrections = self._corrections, []
        return found

    def concluded(self, whole: Callable[[Iterable[str] | None], str]) -> Answering:
        """What is to be settled in the end; `whole` gives the fields of a structured reply."""
        text = whole(self._schemas) if self.keeps and (self.structured or self.calls) else ""
        answering = self._fields() if text else None
        if answering is None:
            return self.answering
        answering.push(text)
        return answering


class Reader(Protocol):
    """Takes what a model yields and gives what may be handed on."""

    streamed: Streamed

    def take(self, item: Dynamic) -> Sequence[Any]:
        """What may be handed on, now that this item has come."""
        ...

    def whole(self, schemas: Iterable[str] | None) -> str:
        """The JSON text of a structured reply, blank for any other."""
        ...

    def finish(self, settled: Settled) -> Sequence[Any]:
        """What is left to hand on, now that it is settled."""
        ...

    def last(self) -> Sequence[Any]:
        """What says that this was all; nobody may ask for more after it."""
        ...


# -- chunks -------------------------------------------------------------------------------------


class Chunks:
    """Reads generations, messages or strings."""

    def __init__(self, streamed: Streamed) -> None:
        """Start before the first chunk."""
        self.streamed = streamed
        self._kept: list[Any] = []
        self._latest: Any = None
        self._held: Any = None

    def take(self, item: Dynamic) -> Sequence[Any]:
        """The chunk with the text that may be shown."""
        streamed = self.streamed
        if streamed.keeps:
            self._kept.append(message_of(item))
        if streamed.structured or streamed.calls:
            return (item,)
        if calls_tools(item):  # what it says itself comes after what it said before
            return (*self._more(streamed.hand_on()), item)
        texts = text_of(item)
        shown = with_texts(item, [streamed.push(text) if text else "" for text in texts])
        if any(texts):
            self._latest = item
        if streamed.gated and is_last(item):
            self._held = shown
            return ()
        return (shown,)

    def whole(self, schemas: Iterable[str] | None) -> str:
        """The JSON text of all chunks."""
        messages = [one for one in self._kept if isinstance(one, AIMessageChunk)]
        return fields_of(functools.reduce(operator.add, messages), schemas) if messages else ""

    def finish(self, settled: Settled) -> Sequence[Any]:
        """The rest of the text, in the last chunk if that was held back."""
        rest = settled.rest if self.streamed.gated and not self.streamed.calls else ""
        if self._held is None:
            return self._more(rest)
        texts = text_of(self._held)
        if not texts:
            return (*self._more(rest), self._held)
        return (with_texts(self._held, [*texts[:-1], texts[-1] + rest]),)

    def last(self) -> Sequence[Any]:
        """Nothing: a stream of chunks just ends."""
        return ()

    def _more(self, text: str) -> Sequence[Any]:
        return (more_text(self._latest, text),) if text else ()


# -- events of the protocol ---------------------------------------------------------------------


class Events:
    """Reads the events that a model makes itself (`_stream_chat_model_events`).

    The end of a block of text is held back with its last words, and so is the end of the message:
    whoever sees it asks for nothing more.
    """

    def __init__(self, streamed: Streamed) -> None:
        """Start before the first event."""
        self.streamed = streamed
        self._blocks: list[Event] = []
        self._pushed: dict[Any, str] = {}
        self._shown: dict[Any, str] = {}
        self._open: Any = None  # index of the block that text goes to
        self._ending: Event | None = None
        self._last: list[Event] = []

    def take(self, item: Event) -> Sequence[Event]:
        """The event with the text that may be shown."""
        kind, block = item.get("event"), _block(item)
        if kind == "message-finish":
            self._last.append(item)
            return ()
        if kind == "content-block-finish" and self.streamed.keeps:
            self._blocks.append(block)
        if self.streamed.structured or self.streamed.calls:
            return (item,)
        if block.get("type") in _CALLS:
            return (*self._closed(self.streamed.hand_on()), item)
        return self._of_text(kind, item, block) if block.get("type") in _TEXTS else (item,)

    def _of_text(self, kind: object, event: Event, block: Event) -> Sequence[Event]:
        if kind == "content-block-delta":
            return self._text(event, block.get("text", ""), otherwise=event)
        if kind == "content-block-finish":
            return self._finished(event, block)
        closed = self._closed()
        self._open = event.get("index")
        return (*closed, event)

    def _finished(self, event: Event, block: Event) -> Sequence[Event]:
        index = event.get("index")
        more = block.get("text", "")[len(self._pushed.get(index, "")) :]
        if not self.streamed.gated:
            if more:
                self.streamed.push(more)
            return (event,)
        told = self._text(event, more) if more else ()
        self._open, self._ending = index, event
        return told

    def _text(self, event: Event, text: str, *, otherwise: Event | None = None) -> Sequence[Event]:
        index = event.get("index")
        self._open = index
        self._pushed[index] = self._pushed.get(index, "") + text
        shown = self.streamed.push(text)
        if otherwise is not None and shown == text:
            self._shown[index] = self._shown.get(index, "") + shown
            return (otherwise,)
        return self._more(shown)

    def _more(self, text: str) -> Sequence[Event]:
        if not text:
            return ()
        self._shown[self._open] = self._shown.get(self._open, "") + text
        delta = {"type": "text-delta", "text": text}
        return ({"event": "content-block-delta", "index": self._open, "delta": delta},)

    def _closed(self, rest: str = "") -> Sequence[Event]:
        """What ends the block of text that is open, with the rest of its text."""
        told, ending = self._more(rest), self._ending
        if ending is None:
            return told
        self._ending = None
        name = "content" if "content" in ending else "content_block"
        content = {**ending[name], "text": self._shown.get(ending.get("index"), "")}
        return (*told, {**ending, name: content})

    def whole(self, schemas: Iterable[str] | None) -> str:
        """The JSON text of a block: of a call of a schema, else of the text."""
        names = None if schemas is None else set(schemas)
        calls = [block for block in self._blocks if block.get("type") == "tool_call"]
        for call in calls:
            if names is None or call.get("name") in names:
                return json.dumps(call.get("args"), ensure_ascii=False, default=str)
        texts = [block.get("text", "") for block in self._blocks if block.get("type") == "text"]
        return "" if calls else "".join(texts)

    def finish(self, settled: Settled) -> Sequence[Event]:
        """The rest of the text and the end of its block."""
        rest = settled.rest if self.streamed.gated and not self.streamed.calls else ""
        return self._closed(rest)

    def last(self) -> Sequence[Event]:
        """The end of the message."""
        return self._last


def _block(event: Event) -> Event:
    """The content block of an event, or what is added to one."""
    found = event.get("content") or event.get("delta") or event.get("content_block")
    return cast("Event", found if isinstance(found, Mapping) else {})
