"""A Message in the making: its texts with the places that they are from, and what else it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ctxguard.types import Decision, Message, Role
from ctxguard.wire.records import Path, Record, dump, readable, value_of

__all__ = ["SYSTEM", "Draft", "Spot"]

SYSTEM = -1
"""The index that stands for the system prompt where it is not one of the messages."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A text of an item that a cut may shorten."""

    item: int
    path: Path
    text: str


@dataclass(slots=True, kw_only=True)
class Draft:
    """What a reader has found out about one Message; mutable while it reads.

    An item (a message of the SDK's) may hold several Messages, as Anthropic's results of parallel
    calls do, and a Message several items, as what one answer of the Responses API consists of.
    """

    role: Role
    id: str
    parts: list[tuple[int, Path]]
    """What leaves with the Message: items, by index, and where only a part of one, its path."""
    spots: list[Spot] = field(default_factory=list[Spot])
    extras: list[str] = field(default_factory=list[str])
    """What is counted besides the texts, such as the arguments of calls."""
    images: int = 0
    image_tokens: int = 0
    uncounted: list[str] = field(default_factory=list[str])
    """What costs tokens that cannot be known here: 'audio', 'a file'."""
    calls: list[str] = field(default_factory=list[str])
    answers: str | None = None
    pinned: bool = False

    def text(self, item: int, path: Path, text: str) -> None:
        """Take a text that the model reads."""
        self.spots.append(Spot(item, path, text))

    def fixed(self, value: object) -> None:
        """Take something that is counted and never cut."""
        if value:
            self.extras.append(value if isinstance(value, str) else dump(value))

    def call(self, name: str, called: object, arguments: object) -> None:
        """Take a tool call: its id, what is called, and with what."""
        self.calls.append(name)
        self.fixed({"name": called, "arguments": arguments})

    def image(self, tokens: int) -> None:
        """Take an image."""
        self.images += 1
        self.image_tokens += tokens

    def opaque(self, record: Record) -> None:
        """Take a block that no reader knows: counted as JSON, what is encrypted left out."""
        self.fixed(readable(record))
        if value_of(record, "encrypted_content") is not None:
            self.uncounted.append("encrypted content")

    def message(self, count: Callable[[str], int] | None) -> Message:
        """The Message; without `count`, what is not text is not counted."""
        return Message(
            role=self.role,
            text="".join(spot.text for spot in self.spots),
            id=self.id,
            pinned=self.pinned,
            tool_calls=tuple(self.calls),
            tool_call_id=self.answers,
            extra_tokens=self.image_tokens + (sum(map(count, self.extras)) if count else 0),
        )

    def notes(self) -> Iterator[Decision]:
        """What a reader of the counts has to know."""
        if self.images:
            what = "an image is" if self.images == 1 else f"{self.images} images are"
            yield self._flag(
                "estimated",
                f"{what} counted as {self.image_tokens:,} tokens: an estimate, because the real "
                "number depends on its size and on the model",
            )
        if self.uncounted:
            what = ", ".join(dict.fromkeys(self.uncounted))
            yield self._flag(
                "not-counted",
                f"not counted: {what}, whose tokens only the provider knows; leave room for it "
                "with Budget(reserve_output=…)",
            )

    def _flag(self, code: str, reason: str) -> Decision:
        return Decision(stage="window", action="flag", subject=self.id, code=code, reason=reason)
