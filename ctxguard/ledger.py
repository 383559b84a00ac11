"""The Ledger: what one call put in the context window, what it left out, and why.

Frozen data. It prints itself (one line, a text bar with a table, static HTML), survives JSON, and
holds what is needed to undo every drop.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from pydantic import TypeAdapter, ValidationError

from ctxguard.errors import InputError
from ctxguard.types import Action, Budget, Chunk, Decision, Segment, Verification

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from ctxguard.routing.report import Savings

__all__ = ["SCHEMA_VERSION", "Call", "Ledger", "Reason", "Step", "route_numbers"]

SCHEMA_VERSION = 3
"""Written into every JSON ledger; from_json refuses a newer one instead of misreading it. Version 1
knew no verifications, version 2 no calls of routes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One retrieval or one model call inside a run."""

    kind: Literal["retrieval", "model"]
    name: str
    """Class of the retriever or name of the model."""
    tokens_before: int
    """What came in: of a retrieval its chunks, of a model call the whole prompt."""
    tokens_after: int
    """What was handed on."""
    decisions: tuple[int, int] = (0, 0)
    """Slice `(start, end)` of the ledger's decisions that belong to this step."""
    segments: tuple[Segment, ...] = ()


Reason: TypeAlias = Literal["routed", "shadow", "fallback", "escalated", "repair"]
"""Why a model was called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a model on a route, and what it cost."""

    route: str
    model: str
    """As its card names it; blank if unknown."""
    reason: Reason
    """Why it was made: 'shadow': as configured, while another route would have been taken."""
    input: int
    """Tokens of the prompt, with those below."""
    output: int
    cache_read: int = 0
    """Of the prompt, read from the provider's cache."""
    cache_write: int = 0
    """Of the prompt, written to it."""
    measured: bool = False
    """Whether the provider said so; False: counted or estimated here."""
    cost: float | None = None
    """In dollars, or the currency of the routes' prices; None: no price is known."""
    heavy_cost: float | None = None
    """What the same tokens cost on the heaviest route, for a call that 'all heavy' would make as
    well; 0 for one that it would not (a repair, an escalation, an attempt that failed)."""
    error: str = ""
    """The type of what ended it, blank when it answered."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Ledger:
    """Everything that one guarded call decided."""

    run_id: str
    question: str = ""
    name: str = ""
    """What ran: the class of the guarded object, or 'prepare'."""
    model: str = ""
    """The model's name, blank when no model was involved."""
    tokenizer: str = ""
    """What counted: an encoding's name, or 'estimate' (conservative, not exact)."""
    budget: Budget = field(default_factory=Budget)
    decisions: tuple[Decision, ...] = ()
    """In the order in which they were taken."""
    segments: tuple[Segment, ...] = ()
    """The prompt of the last model call; without one, the prepared evidence."""
    steps: tuple[Step, ...] = ()
    chunks: tuple[Chunk, ...] = ()
    """Every chunk that came in, as it came in: the other half of 'nothing lost'."""
    verifications: tuple[Verification, ...] = ()
    """What the evidence says of each answer that was verified, attempts of a repair included."""
    calls: tuple[Call, ...] = ()
    """Calls of models on routes, in their order; none where the policy routes nothing."""
    timings: Mapping[str, float] = field(default_factory=dict[str, float])
    """Seconds per stage, summed over the run."""
    error: str = ""
    """What ended the run early, blank when it ended well."""
    children: tuple[Ledger, ...] = ()
    """Ledgers of guards that ran inside this one."""
    schema_version: int = SCHEMA_VERSION

    # -- reading ------------------------------------------------------------------------------

    def of(self, *actions: Action) -> tuple[Decision, ...]:
        """The decisions with one of these actions, in order."""
        return tuple(decision for decision in self.decisions if decision.action in actions)

    @property
    def conflicts(self) -> tuple[Decision, ...]:
        """Pairs of versions that differ in a fact: both were kept."""
        return tuple(decision for decision in self.decisions if decision.code == "conflict")

    @property
    def errors(self) -> tuple[Decision, ...]:
        """Stages that failed; their input was handed on unchanged."""
        return self.of("error")

    @property
    def verification(self) -> Verification | None:
        """What the evidence says of the last answer that was verified."""
        return self.verifications[-1] if self.verifications else None

    @property
    def route(self) -> str:
        """The route that answered last, blank where nothing was routed.

        An escalation is noted before the call that it puts right has ended.
        """
        made = [call for call in self.calls if not call.error and call.reason != "repair"]
        raised = [call for call in made[-2:-1] if call.reason == "escalated"]
        return (raised or made)[-1].route if made else ""

    @property
    def savings(self) -> Savings:
        """What routing saved in this run, and what is known of the quality beside it."""
        from ctxguard.routing.savings import savings_of

        return savings_of((self,))

    @property
    def tokens_in(self) -> int:
        """Evidence tokens that the retrievers brought."""
        return sum(step.tokens_before for step in self.steps if step.kind == "retrieval")

    @property
    def tokens_kept(self) -> int:
        """Evidence tokens that were handed on."""
        return sum(step.tokens_after for step in self.steps if step.kind == "retrieval")

    @property
    def tokens_used(self) -> int:
        """Tokens of the prompt as it was sent, the reserve for the answer not included."""
        return sum(segment.tokens for segment in self.segments if segment.kind != "reserve")

    @property
    def citations(self) -> dict[int, str]:
        """The chunk's id for each number by which a template lets the model cite it.

        Those of the last retrieval: each numbers its chunks from 1, in the order of the prompt.
        """
        found = [step.segments for step in self.steps if step.kind == "retrieval"]
        return {n: each.subject for n, each in enumerate(found[-1] if found else (), start=1)}

    def chunk(self, chunk_id: str) -> Chunk:
        """The chunk as it came in: undoes a drop or a trim.

        Raises:
            InputError: when no chunk with this id came in.
        """
        for chunk in self.chunks:
            if chunk.id == chunk_id:
                return chunk
        raise InputError(f"chunk_id: no chunk {chunk_id!r} came into this run")

    def dropped(self) -> tuple[Chunk, ...]:
        """Every chunk that was left out, as it came in, in the order of the decisions."""
        by_id = {chunk.id: chunk for chunk in self.chunks}
        gone = (d.subject for d in self.of("drop") if d.subject in by_id)
        return tuple(by_id[subject] for subject in dict.fromkeys(gone))

    def walk(self) -> Iterator[Ledger]:
        """This ledger and every one nested in it, outermost first."""
        yield self
        for child in self.children:
            yield from child.walk()

    # -- JSON ---------------------------------------------------------------------------------

    def to_json(self, *, content: bool = True, indent: int | None = None) -> str:
        """The ledger as JSON, ASCII only, so that lone surrogates survive.

        Args:
            content: False leaves out every text (chunks, segments, quotes, question), keeps ids,
                counts, reasons' codes, calls of routes and the `route_numbers` of a decision for
                one: for logs that may not hold content.
            indent: as in `json.dumps`.
        """
        data = dataclasses.asdict(self)
        if not content:
            _strip_content(data)
        return json.dumps(data, indent=indent, ensure_ascii=True, allow_nan=True, default=str)

    @classmethod
    def from_json(cls, text: str) -> Ledger:
        """The ledger that `to_json` wrote.

        Raises:
            InputError: when the text is no ledger, or one of a newer schema.
        """
        try:
            data: Any = json.loads(text)
        except ValueError as error:
            raise InputError(f"ledger: not JSON ({error})") from error
        if not isinstance(data, dict):
            raise InputError("ledger: expected a JSON object")
        version: object = data.get("schema_version")  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]
        if not isinstance(version, int) or not 1 <= version <= SCHEMA_VERSION:
            raise InputError(
                f"ledger.schema_version: {version!r} is not known here (1 to {SCHEMA_VERSION}); "
                "update ctxguard-core"
            )
        try:
            return _ledger_adapter().validate_python({**data, "schema_version": SCHEMA_VERSION})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InputError(f"ledger.{where}: {first['msg']}") from error

    # -- showing (the view is a floor above; it is imported when something is shown) -------------

    def __repr__(self) -> str:
        """One line: what came in, what was kept, what conflicts."""
        from ctxguard.view.text import one_line

        return one_line(self)

    def __str__(self) -> str:
        """The text bar and the table of decisions, without colour."""
        from ctxguard.view.text import to_text

        return to_text(self)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The text bar and the table of decisions, for `rich.print`."""
        from ctxguard.view.text import renderables

        yield from renderables(self, width=options.max_width)

    def to_html(self) -> str:
        """The ledger as a static HTML fragment: literal styles, tables, no script."""
        from ctxguard.view.html import to_html

        return to_html(self)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        """What a notebook shows: HTML where it can, text everywhere."""
        return {"text/plain": str(self), "text/html": self.to_html()}


@lru_cache(maxsize=1)
def _ledger_adapter() -> TypeAdapter[Ledger]:
    return TypeAdapter(Ledger)


_CONTENT_KEYS = frozenset(
    {
        *(
            "text",
            "answer",
            "question",
            "metadata",
            "embedding",
            "label",
            "reason",
            "details",
            "rendered",
        ),
        *("source", "also_in", "pointer"),  # paths and titles tell what a document is about
    }
)


def _strip_content(data: object) -> None:
    """Blank every value that may hold content, in place, at any depth."""
    if isinstance(data, dict):
        fields = cast("dict[str, object]", data)
        is_route = fields.get("stage") == "route" and fields.get("action") == "route"
        for key, value in fields.items():
            if key == "calls" and "run_id" in fields:  # names and numbers, and types of errors
                continue
            if key == "details" and is_route and isinstance(value, Mapping):
                fields[key] = route_numbers(cast("Mapping[str, object]", value))
            elif key in _CONTENT_KEYS:
                fields[key] = _blank(value)
            elif key == "error" and isinstance(value, str):
                fields[key] = value.partition(":")[0]  # its type; a message may quote the prompt
            else:
                _strip_content(value)
    elif isinstance(data, list | tuple):
        for item in cast("Sequence[object]", data):
            _strip_content(item)


_SIGNAL = re.compile(r"[a-z][a-z0-9_]{0,39}")
_LONGEST_NAME = 64
"""Characters of a route's name."""


def route_numbers(details: Mapping[str, object]) -> dict[str, object]:
    """What the details of a routing decision hold besides text, for a log without content.

    That is numbers, under the keys that routing itself writes; names of routes, if they have a
    cost; and names of signals, if they have a value. A stage of one's own that calls itself "route"
    is held to the same.
    """
    kept: dict[str, object] = {}
    for key in ("light_fails", "heavy_fails", "propensity"):
        if _is_number(details.get(key)):
            kept[key] = details[key]
    for key in ("interval", "thresholds"):
        value = details.get(key)
        if isinstance(value, list | tuple):
            kept[key] = [one for one in cast("Sequence[object]", value) if _is_number(one)]
    for key in ("signals", "around", "moved", "promise"):
        kept[key] = _table(details.get(key), lambda name: bool(_SIGNAL.fullmatch(name)))
    kept["costs"] = costs = _table(details.get("costs"), lambda name: len(name) <= _LONGEST_NAME)
    flips = details.get("flips")
    if isinstance(flips, list | tuple):
        known = cast("dict[str, object]", kept["moved"])
        kept["flips"] = [one for one in cast("Sequence[object]", flips) if one in known]
    small = details.get("too_small")
    if isinstance(small, list | tuple):
        kept["too_small"] = [one for one in cast("Sequence[object]", small) if one in costs]
    kept |= {key: details[key] for key in ("route", "decided") if details.get(key) in costs}
    return {key: value for key, value in kept.items() if value not in ({}, [])}


def _table(value: object, known: Callable[[str], bool]) -> dict[str, object]:
    """The numbers of a mapping, under the names that are known; None stands for one not known."""
    if not isinstance(value, Mapping):
        return {}
    pairs = cast("Mapping[object, object]", value).items()
    return {
        name: one
        for name, one in pairs
        if isinstance(name, str) and known(name) and (one is None or _is_number(one))
    }


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _blank(value: object) -> object:
    if isinstance(value, str):
        return ""
    if isinstance(value, Mapping):
        return {}
    return () if isinstance(value, list | tuple) else None
