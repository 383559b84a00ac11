"""The nouns: frozen data that every part of ctxguard speaks in.

Token counts are in tokens of the budget's tokenizer, times in seconds, spans in characters
`(start, end)` of the text that they refer to, end exclusive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, TypeAlias

from typing_extensions import TypeAliasType

from ctxguard.errors import InputError
from ctxguard.text.analysis import Analyzer, default_analyzer
from ctxguard.text.template import Template

__all__ = [
    "Action",
    "Budget",
    "Chunk",
    "Claim",
    "ClaimKind",
    "Context",
    "Decision",
    "Finding",
    "JsonValue",
    "Label",
    "Message",
    "Piece",
    "Quote",
    "Role",
    "Segment",
    "SegmentKind",
    "Span",
    "Stage",
    "StageResult",
    "Verdict",
    "Verification",
]

if TYPE_CHECKING:
    JsonValue: TypeAlias = (
        "str | int | float | bool | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
    )
else:  # pydantic follows no recursive alias but a named one, pyright not this named one
    JsonValue = TypeAliasType(
        "JsonValue",
        "str | int | float | bool | Sequence[JsonValue] | Mapping[str, JsonValue] | None",
    )
Span: TypeAlias = tuple[int, int]
Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
SegmentKind: TypeAlias = Literal[
    "instructions", "tools", "history", "evidence", "question", "reserve"
]
Action: TypeAlias = Literal[
    "keep",
    "drop",
    "trim",
    "merge",
    "move",
    "page_out",
    "page_in",
    "route",
    "escalate",
    "flag",
    "rewrite",
    "error",
]
ClaimKind: TypeAlias = Literal[
    "statement", "row", "question", "hedge", "refusal", "chat", "heading", "code", "math"
]
"""What a part of an answer is. Only statements, and rows of tables, claim something."""
Label: TypeAlias = Literal["supported", "contradicted", "not_found", "not_judged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a chunk that is kept or left out as one: a sentence, a table's row, a code block.

    The pieces of a chunk are in the order of its text, do not overlap and leave out whitespace
    only.
    """

    span: Span
    """Characters of the chunk's text."""
    tokens: int
    """Of its text where it stands, the whitespace before it included."""
    relevance: float | None = None
    """P(it helps to answer the question), 0 to 1; None: not judged."""
    needs: tuple[int, ...] = ()
    """Indexes of pieces of the same chunk without which it would not be understood: its heading,
    a list's lead-in, a table's header, the sentence that its pronoun points to."""
    covers: tuple[tuple[str, float], ...] = ()
    """Terms of the question (and of what leads on from it) that it mentions, and what each counts;
    a term counts the same in every piece."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A retrieved passage, the unit that is kept, trimmed or dropped."""

    id: str
    """Unique within a Context."""
    text: str
    """As the model would see it. Any string, lone surrogates and NUL included."""
    source: str = ""
    """Where it comes from (a path, URL or document id); shown in reasons, used for overlaps."""
    score: float | None = None
    """The retriever's score, higher is better; None or NaN if unknown. Position is the rank."""
    metadata: Mapping[str, JsonValue] = field(default_factory=dict[str, "JsonValue"])
    """The framework's metadata, carried through untouched."""
    embedding: Sequence[float] | None = None
    """The retriever's vector, when it has one; shape `(dimensions,)`."""
    rendered: str = ""
    """How the framework writes it into a prompt (with its metadata header), when not as `text`."""
    also_in: tuple[str, ...] = ()
    """Sources (ids where a source is blank) of copies that were dropped in favour of this one."""
    rank: int | None = None
    """Place among the kept chunks (0 is best) before Layout moved them; None: the position."""
    relevance: float | None = None
    """P(it helps to answer the question), 0 to 1, as Rank estimates it; None: not judged."""
    pieces: tuple[Piece, ...] = ()
    """What Select may keep on its own, as Compress divides it; blank: all or nothing."""
    conflicts: tuple[str, ...] = ()
    """Ids of kept chunks that say the same with other facts, as Deduplicate found them."""
    leans_on: tuple[str, ...] = ()
    """Ids of kept chunks that hold what was taken out of this one."""

    @property
    def covers(self) -> dict[str, float]:
        """Terms of the question that its pieces mention, and what each counts."""
        return {term: weight for piece in self.pieces for term, weight in piece.covers}

    def __post_init__(self) -> None:
        """Check what the type checker cannot: frameworks hand in anything."""
        if not isinstance(self.id, str) or not self.id:  # pyright: ignore[reportUnnecessaryIsInstance] -- values come from untyped callers
            raise InputError(f"Chunk.id: expected a non-empty str, got {self.id!r}")
        if not isinstance(self.text, str):  # pyright: ignore[reportUnnecessaryIsInstance] -- values come from untyped callers
            raise InputError(f"Chunk.text: expected a str, got {type(self.text).__name__}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A turn of a conversation, or a tool's result."""

    role: Role
    text: str
    """All text of the message, its text blocks joined without a separator."""
    id: str = ""
    """Unique within a list of messages; blank: its position."""
    pinned: bool = False
    """Never cut and never left out."""
    tool_calls: tuple[str, ...] = ()
    """Ids of the calls that an assistant message makes; a call and its result are one atom."""
    tool_call_id: str | None = None
    """On a tool message: the id of the call that it answers."""
    extra_tokens: int = 0
    """Tokens of what is not text: tool-call arguments, images, names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How many tokens may be used, and for what."""

    window: int | None = None
    """The model's context window, prompt and answer together; None: take it from the model."""
    context_tokens: int | None = None
    """At most this many tokens of evidence; None: no limit of its own."""
    reserve_output: int | None = None
    """Kept free for the answer; None: 1,024, at most a quarter of the window."""
    floors: Mapping[SegmentKind, int] = field(default_factory=dict[SegmentKind, int])
    """Tokens that 'history' or 'evidence' keep while the other still has something to give."""
    ceilings: Mapping[SegmentKind, int] = field(default_factory=dict[SegmentKind, int])
    """Tokens that 'history' or 'evidence' may use at most, even when there is room."""

    def __post_init__(self) -> None:
        """Reject what no budget can mean, by name."""
        for name, value, least in (
            ("window", self.window, 1),
            ("context_tokens", self.context_tokens, 1),
            ("reserve_output", self.reserve_output, 0),
        ):
            _check_tokens(f"Budget.{name}", value, least)
        for name, limits in (("floors", self.floors), ("ceilings", self.ceilings)):
            for kind, value in limits.items():
                if kind not in ("history", "evidence"):
                    raise InputError(
                        f"Budget.{name}[{kind!r}]: only 'history' and 'evidence' can give way; "
                        "everything else is pinned"
                    )
                _check_tokens(f"Budget.{name}[{kind!r}]", value, 0)
        if self.window is not None and self.reserve >= self.window:
            raise InputError(
                f"Budget.reserve_output: {self.reserve:,} leaves nothing of a window of "
                f"{self.window:,} tokens; lower it"
            )

    @property
    def reserve(self) -> int:
        """Tokens kept free for the answer."""
        if self.reserve_output is not None:
            return self.reserve_output
        return 1024 if self.window is None else min(1024, self.window // 4)

    @property
    def prompt_tokens(self) -> int | None:
        """Tokens that the prompt may use, None when the window is unknown."""
        return None if self.window is None else self.window - self.reserve

    @property
    def limited(self) -> bool:
        """Whether a prompt may have to give way: to a window, a ceiling, or `context_tokens`."""
        return bool(self.window or self.context_tokens or self.ceilings)

    @classmethod
    def of(cls, value: Budget | int | None) -> Budget:
        """A Budget from what a caller may write: None, a number of evidence tokens, a Budget.

        Raises:
            InputError: for anything else, naming what was given.
        """
        if isinstance(value, Budget):
            return value
        if value is None:
            return cls()
        _check_tokens("budget", value, 1)
        return cls(context_tokens=value)


def _check_tokens(name: str, value: object, least: int) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{name}: expected a whole number of tokens, got {value!r}")
    if value < least:
        raise InputError(f"{name}: expected at least {least} tokens, got {value:,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """A piece of a chunk, word for word."""

    chunk_id: str
    span: Span
    """Characters of the chunk's text as it came in."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One thing that was done to one chunk or message, and why."""

    stage: str
    """The stage that decided: 'dedupe', 'select', 'layout', 'window', …"""
    action: Action
    subject: str
    """Id of the chunk or message that it is about."""
    code: str
    """The reason for machines: 'exact-duplicate', 'conflict', 'over-budget', …"""
    reason: str
    """The reason for people, one sentence, complete without the other fields."""
    twin: str | None = None
    """Id of the chunk that made the subject redundant, or that it conflicts with."""
    score: float | None = None
    """What was measured (0..1 similarity unless the code says otherwise)."""
    threshold: float | None = None
    """What the score was compared with."""
    tokens_before: int | None = None
    tokens_after: int | None = None
    evidence: tuple[Quote, ...] = ()
    """Word-for-word support: for a conflict, the facts that differ, subject's first."""
    details: Mapping[str, JsonValue] = field(default_factory=dict[str, "JsonValue"])
    """More for machines: removed spans, differing facts, old and new position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A part of an answer that is judged, or not, as one: `answer[start:end] == text`.

    Of a field of structured output the text says what the field says, "notice period: 30 days", and
    the span is that of its value.
    """

    text: str
    span: Span
    """Characters of the answer."""
    kind: ClaimKind = "statement"
    pointer: str = ""
    """JSON Pointer (RFC 6901) of the field of structured output; blank in prose."""

    @property
    def is_checkable(self) -> bool:
        """Whether it states something that evidence can support or contradict."""
        return self.kind in ("statement", "row")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing in a claim that the evidence does not simply say."""

    code: str
    """The reason for machines: 'date-differs', 'name-not-found', 'derived', 'evidence-conflict'."""
    reason: str
    """The reason for people, one sentence, complete without the other fields."""
    span: Span
    """Characters of the answer that it is about."""
    text: str
    """Those characters."""
    label: Label
    """What it makes of the claim; 'supported': it is only worth knowing, a sum that fits."""
    certainty: float = 1.0
    """That it is so, 0 to 1."""
    evidence: tuple[Quote, ...] = ()
    """What it stands against, or was derived from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the evidence says of a claim."""

    claim: Claim
    label: Label
    score: float
    """That the evidence supports the claim, 0 to 1; 1 where nothing is judged."""
    code: str
    """The reason for machines: 'stated', 'date-differs', 'not-stated', 'question', …"""
    reason: str
    """The reason for people, one sentence."""
    findings: tuple[Finding, ...] = ()
    evidence: tuple[Quote, ...] = ()
    """The passages that it was judged by, best first."""

    @property
    def failed(self) -> bool:
        """Whether the evidence contradicts the claim, or does not hold it."""
        return self.label in ("contradicted", "not_found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What the evidence says of an answer, claim by claim."""

    answer: str
    claims: tuple[Verdict, ...] = ()
    """In the order of the answer; what custom checks said comes after."""
    question: str = ""

    @property
    def failed(self) -> tuple[Verdict, ...]:
        """The claims that the evidence contradicts or does not hold."""
        return tuple(verdict for verdict in self.claims if verdict.failed)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found in all claims, in their order."""
        return tuple(finding for verdict in self.claims for finding in verdict.findings)

    @property
    def grounded(self) -> bool | None:
        """Whether the evidence supports all that is claimed; None: it could not be told.

        An answer that claims nothing (a refusal, a question) is grounded.
        """
        if self.failed:
            return False
        if any(verdict.code == "scorer-failed" for verdict in self.claims):
            return None
        judged = any(verdict.label == "supported" for verdict in self.claims)
        open_ = any(
            verdict.label == "not_judged" and verdict.claim.is_checkable for verdict in self.claims
        )
        return None if open_ and not judged else True

    @property
    def score(self) -> float:
        """That all of it is supported, 0 to 1: the lowest score of a claim that was judged."""
        judged = [verdict.score for verdict in self.claims if verdict.label != "not_judged"]
        return min(judged, default=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A part of the prompt, in prompt order."""

    kind: SegmentKind
    label: str
    """What it is, for people: 'system message', a chunk's source, 'turn 3 (user)'."""
    tokens: int
    subject: str = ""
    """Id of the chunk or message, blank for tools and the reserve."""
    text: str = ""
    pinned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a stage works on: everything that could reach the model."""

    question: str = ""
    chunks: tuple[Chunk, ...] = ()
    """Best-ranked first; ids are unique."""
    history: tuple[Message, ...] = ()
    instructions: str = ""
    budget: Budget = field(default_factory=Budget)
    template: Template | None = None
    """How chunks will be written, so that it is counted; None: as their text."""
    previous: tuple[str, ...] = ()
    """Ids of the chunks that the prompt of the turn before held, in its order."""
    analyzer: Analyzer = field(default_factory=default_analyzer, repr=False, compare=False)
    """Counts tokens and finds sentences and facts, once per distinct text."""

    def __post_init__(self) -> None:
        """Reject duplicate ids: a Decision could not say which chunk it means."""
        seen: set[str] = set()
        for chunk in self.chunks:
            if chunk.id in seen:
                raise InputError(f"Context.chunks: the id {chunk.id!r} occurs twice")
            seen.add(chunk.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """What a stage hands on."""

    context: Context
    decisions: tuple[Decision, ...] = ()


class Stage(Protocol):
    """A pure function from Context to StageResult.

    Laws (tested for every stage): deterministic; idempotent; order-stable; never above the budget;
    each dropped id in exactly one Decision; survivors' text unchanged unless a Decision says trim.
    """

    name: ClassVar[str]

    def __call__(self, context: Context, /) -> StageResult:
        """Apply the stage; no clock, randomness, network, logging or tracing inside."""
        ...
