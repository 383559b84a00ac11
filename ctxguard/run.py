"""The run: what one guarded call has decided so far, carried from the retriever to the model.

One contextvar holds the run of the current context, so it follows the call through async tasks and
threads with copied contexts, and two concurrent calls never see each other.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from ctxguard.ledger import Ledger, Step
from ctxguard.types import Budget, Chunk, Decision

__all__ = ["Record", "Run", "activate", "current_run", "ledger_of"]

_current: ContextVar[Run | None] = ContextVar("ctxguard_run", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What one retrieval or one model call adds to a run."""

    step: Step
    """Its own `decisions` slice is set when it is added."""
    decisions: tuple[Decision, ...] = ()
    chunks: tuple[Chunk, ...] = ()
    """As they came in."""
    evidence: tuple[Chunk, ...] = ()
    """As they were handed on."""
    timings: Mapping[str, float] = field(default_factory=dict[str, float])
    question: str = ""
    model: str = ""
    tokenizer: str = ""
    budget: Budget = field(default_factory=Budget)


class Run:
    """Collects records; thread-safe, because chains retrieve in parallel."""

    def __init__(
        self,
        *,
        question: str = "",
        name: str = "",
        owner: object = None,
        parent: Run | None = None,
    ) -> None:
        """Start empty.

        Args:
            question: what was asked, as far as it is known when the run starts.
            name: what runs, usually the class of the guarded object.
            owner: the handle whose call this is.
            parent: the run that this one happens inside of; it gets every record too.
        """
        self.run_id = uuid.uuid4().hex
        self.name = name
        self.owner = owner
        self.parent = parent
        self.final: Ledger | None = None  # set by the handle, as is the next
        self.finished = False
        self._question = question
        self._lock = threading.Lock()
        self._records: list[Record] = []
        self._children: dict[str, Ledger] = {}
        self._error = ""

    @property
    def question(self) -> str:
        """What was asked; if the run started without a question, what was retrieved for first."""
        if self._question:
            return self._question
        with self._lock:
            return next((record.question for record in self._records if record.question), "")

    @property
    def evidence(self) -> tuple[Chunk, ...]:
        """Every chunk handed on so far, in the order in which it was, one per id."""
        if self.parent is not None:  # it has every record of this run, and what was found around it
            return self.parent.evidence
        with self._lock:
            chunks = [chunk for record in self._records for chunk in record.evidence]
        return tuple({chunk.id: chunk for chunk in chunks}.values())

    def known(self) -> Mapping[str, Chunk]:
        """Every chunk that came in so far, here or around it, by id."""
        if self.parent is not None:
            return self.parent.known()
        with self._lock:
            return {chunk.id: chunk for record in self._records for chunk in record.chunks}

    def add(self, record: Record) -> None:
        """Take a record, and hand it to the runs around this one."""
        with self._lock:
            self._records.append(record)
        if self.parent is not None:
            self.parent.add(record)

    def adopt(self, child: Ledger) -> None:
        """Take the ledger of a run that happened inside this one."""
        with self._lock:
            self._children[child.run_id] = child

    def end(self, error: BaseException | None = None) -> None:
        """Note how the run ended, as far as it has: it may go on after all."""
        with self._lock:
            self._error = "" if error is None else f"{type(error).__name__}: {error}"

    def ledger(self) -> Ledger:
        """What was decided so far, frozen."""
        with self._lock:
            records, error = tuple(self._records), self._error
            children = tuple(self._children.values())
        return ledger_of(
            records,
            run_id=self.run_id,
            question=self.question,
            name=self.name,
            children=children,
            error=error,
        )


def ledger_of(
    records: Iterable[Record],
    *,
    run_id: str,
    question: str = "",
    name: str = "",
    children: tuple[Ledger, ...] = (),
    error: str = "",
) -> Ledger:
    """The ledger that these records add up to."""
    decisions: list[Decision] = []
    steps: list[Step] = []
    chunks: dict[str, Chunk] = {}
    timings: dict[str, float] = {}
    last: Record | None = None
    for record in records:
        start = len(decisions)
        decisions.extend(record.decisions)
        step = record.step
        steps.append(
            Step(
                kind=step.kind,
                name=step.name,
                tokens_before=step.tokens_before,
                tokens_after=step.tokens_after,
                decisions=(start, len(decisions)),
                segments=step.segments,
            )
        )
        chunks.update((chunk.id, chunk) for chunk in record.chunks)
        for stage, seconds in record.timings.items():
            timings[stage] = timings.get(stage, 0.0) + seconds
        if last is None or record.step.kind == "model" or last.step.kind == "retrieval":
            last = record
    return Ledger(
        run_id=run_id,
        question=question,
        name=name,
        model=last.model if last else "",
        tokenizer=last.tokenizer if last else "",
        budget=last.budget if last else Budget(),
        decisions=tuple(decisions),
        segments=last.step.segments if last else (),
        steps=tuple(steps),
        chunks=tuple(chunks.values()),
        timings=timings,
        error=error,
        children=children,
    )


def current_run() -> Run | None:
    """The run of this context, None outside of a guarded call."""
    return _current.get()


@contextmanager
def activate(run: Run | None) -> Generator[Run | None]:
    """Make `run` the run of this context while the block's own code runs.

    A generator must not hold this open over a `yield` to its caller: step it with
    `contextvars.copy_context().run(next, iterator)` instead.
    """
    token = _current.set(run)
    try:
        yield run
    finally:
        _current.reset(token)
