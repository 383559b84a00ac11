"""A prompt of an SDK as Messages, and the same prompt with what gave way left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeAlias, TypeVar, cast

from ctxguard.errors import InputError
from ctxguard.types import Decision, Message, Segment
from ctxguard.window import Fitted, apply_cuts
from ctxguard.wire import anthropic, chat, responses
from ctxguard.wire.draft import SYSTEM, Draft
from ctxguard.wire.records import Item, Path, Record, change, is_record, value_of

__all__ = ["FittedMessages", "Prompt", "Shape", "listed", "read_prompt"]

M = TypeVar("M", bound=Item)
S = TypeVar("S")
Shape: TypeAlias = Literal["openai", "openai-responses", "anthropic"]
_SHAPES: tuple[Shape, ...] = ("openai", "openai-responses", "anthropic")

# Types of blocks and roles that only one of the shapes has.
_BLOCKS: tuple[tuple[Shape, frozenset[str]], ...] = (
    (
        "anthropic",
        frozenset({"document", "image", "redacted_thinking", "search_result", "server_tool_use"})
        | {"thinking", "tool_result", "tool_use"},
    ),
    (
        "openai-responses",
        frozenset({"input_file", "input_image", "input_text", "output_text"}),
    ),
    ("openai", frozenset({"file", "image_url"})),
)
_CHAT_ROLES = frozenset({"function", "tool"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedMessages(Generic[M, S]):
    """Messages that fit, in the shape in which they came, and how they came to."""

    messages: list[M]
    """The kept ones, in order. What was not cut is the same object."""
    system: S
    """The system prompt as it was handed in, without the evidence that was cut out of it."""
    positions: tuple[int, ...]
    """Index in the input of each kept message."""
    decisions: tuple[Decision, ...] = ()
    """What was left out or cut, and what is counted by an estimate or not at all."""
    segments: tuple[Segment, ...] = ()
    """The prompt that is sent; their tokens add up to `tokens_after` plus the reserve."""
    tokens_before: int = 0
    tokens_after: int = 0

    @property
    def changed(self) -> bool:
        """Whether anything is left out or cut."""
        return any(decision.action in ("drop", "trim") for decision in self.decisions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt(Generic[M, S]):
    """What a call of an SDK is given, and how it reads as Messages."""

    items: tuple[M, ...]
    system: S
    drafts: tuple[Draft, ...]

    def messages(self, count: Callable[[str], int] | None = None) -> tuple[Message, ...]:
        """The Messages; without `count`, what is not text is not counted."""
        return tuple(draft.message(count) for draft in self.drafts)

    @property
    def notes(self) -> tuple[Decision, ...]:
        """A flag for each Message with something that is not counted exactly."""
        return tuple(note for draft in self.drafts for note in draft.notes())

    def apply(self, fitted: Fitted) -> FittedMessages[M, S]:
        """The prompt in its own shape, without what the window left out.

        Args:
            fitted: what became of `messages()`.
        """
        edits = self._edits(fitted)
        kept: list[tuple[int, M]] = []
        for index, item in enumerate(self.items):
            changed = cast("M | None", change(item, edits.get(index, {})))
            if changed is not None:
                kept.append((index, changed))
        return FittedMessages(
            messages=[item for _, item in kept],
            system=cast("S", change(self.system, edits.get(SYSTEM, {}))),
            positions=tuple(index for index, _ in kept),
            decisions=(*self.notes, *fitted.decisions),
            segments=fitted.segments,
            tokens_before=fitted.tokens_before,
            tokens_after=fitted.tokens_after,
        )

    def _edits(self, fitted: Fitted) -> dict[int, dict[Path, str | None]]:
        """By item: the new text of each part that changes, None for a part that leaves."""
        edits: dict[int, dict[Path, str | None]] = {}
        kept = frozenset(fitted.positions)
        for place, draft in enumerate(self.drafts):
            if place not in kept:
                for item, path in draft.parts:
                    edits.setdefault(item, {})[path] = None
                continue
            cuts, offset = fitted.cuts.get(place, ()), 0
            for spot in draft.spots if cuts else ():
                shorter = apply_cuts(spot.text, cuts, offset)
                offset += len(spot.text)
                if shorter != spot.text:
                    edits.setdefault(spot.item, {})[spot.path] = shorter
        return edits


def listed(messages: Iterable[M]) -> tuple[M, ...]:
    """The messages of a prompt, whatever they are.

    Raises:
        InputError: it is no list of anything.
    """
    if (
        isinstance(messages, str | bytes)
        or is_record(messages)
        or not hasattr(messages, "__iter__")
    ):
        raise InputError(
            f"messages: expected a list of messages, got {type(messages).__name__}; a single text "
            "is [{'role': 'user', 'content': text}]"
        )
    return tuple(messages)


def read_prompt(messages: Sequence[M], *, system: S, shape: Shape | None = None) -> Prompt[M, S]:
    """A prompt as an SDK's call is given it.

    Args:
        messages: dicts or the SDK's objects; OpenAI's chat completions, the input items of its
            Responses API, or Anthropic's messages.
        system: the system prompt where the API takes it apart from the messages; None: without.
        shape: which of the three; None: as the messages look, which is never in doubt where it
            matters.

    Raises:
        InputError: naming the field, for what is no prompt of that shape.
    """
    items = listed(messages)
    for index, item in enumerate(items):
        if not is_record(item):
            raise InputError(
                f"messages[{index}]: expected a dict or an object of the OpenAI or Anthropic SDK, "
                f"got {type(item).__name__}; a LangChain or LlamaIndex object is guarded with "
                "guard(x)"
            )
    if shape is not None and shape not in _SHAPES:
        raise InputError(f"shape: expected one of {', '.join(_SHAPES)}; got {shape!r}")
    drafts = list(_read(items, shape or _looks_like(items)))
    if system is not None:
        drafts.insert(0, anthropic.read_system(system))
    return Prompt(items=items, system=system, drafts=tuple(drafts))


def _read(items: Sequence[Record], shape: Shape) -> Iterator[Draft]:
    if shape == "openai-responses":
        yield from responses.read_items(items)
        return
    for index, item in enumerate(items):
        if shape == "anthropic":
            yield from anthropic.read_message(index, item)
        else:
            yield chat.read_message(index, item)


def _looks_like(items: Sequence[Record]) -> Shape:
    """The shape of the first item that only one shape can have; all read plain texts alike."""
    for item in items:
        kinds = _block_types(value_of(item, "content"))
        if value_of(item, "role") in _CHAT_ROLES or value_of(item, "tool_calls"):
            return "openai"
        for shape, known in _BLOCKS:
            if not kinds.isdisjoint(known):
                return shape
        if value_of(item, "type") is not None:
            return "openai-responses"
    return "openai"


def _block_types(content: Any) -> frozenset[str]:  # noqa: ANN401 -- not checked yet
    if not isinstance(content, list | tuple):
        return frozenset()
    blocks = cast("Sequence[Record]", content)
    kinds = (value_of(block, "type") for block in blocks if is_record(block))
    return frozenset(kind for kind in kinds if isinstance(kind, str))
