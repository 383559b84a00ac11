"""The run: what one guarded call has decided so far, carried from the retriever to the model.

One contextvar holds the run of the current context, so it follows the call through async tasks and
threads with copied contexts, and two concurrent calls never see each other.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TypeVar, cast

from ctxguard.ledger import Call, Ledger, Step
from ctxguard.types import Budget, Chunk, Decision, Verification

__all__ = ["Outcome", "Record", "Run", "Source", "activate", "current_run", "ledger_of"]

T = TypeVar("T")
_current: ContextVar[Run | None] = ContextVar("ctxguard_run", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What one retrieval, one model call or the check of an answer adds to a run."""

    step: Step | None = None
    """Its own `decisions` slice is set when it is added; None: nothing came in or went out."""
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
    verifications: tuple[Verification, ...] = ()
    """What the evidence says of answers, the one that was given last."""
    calls: tuple[Call, ...] = ()
    """Of models on routes."""
    complete: Callable[[Record], Record] | None = None
    """Adds, when the ledger is read, what nothing was decided by: tokens, and a keep for whatever
    nobody asked to leave out; None: all is there."""

    def completed(self) -> Record:
        """The record with everything that a ledger says."""
        return self if self.complete is None else self.complete(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Something that can be searched again, for claims that what it found does not hold."""

    name: str
    search: Callable[[str], Sequence[Chunk]]
    asearch: Callable[[str], Awaitable[Sequence[Chunk]]]


class Outcome:
    """What a run came to, once it has ended; the ledger is made when it is first read.

    Most ledgers are never read, and counting for them would cost more than the call that is
    guarded. It holds no run, so whoever waits for an outcome keeps no guarded object alive.
    """

    __slots__ = ("_ledger", "_lock", "_make", "_making", "ended")

    def __init__(self, make: Callable[[], Ledger] | None = None) -> None:
        """Start open, or settled with what makes the ledger."""
        self.ended = make is not None
        self._make = make
        self._ledger: Ledger | None = None
        self._lock = threading.Lock()
        self._making = threading.Lock()

    def settle(self, make: Callable[[], Ledger]) -> None:
        """End it, or end it anew; what `make` reads must not change any more."""
        with self._lock:
            self._make, self._ledger, self.ended = make, None, True

    @property
    def ledger(self) -> Ledger:
        """The ledger, the same object each time; of a run that has ended."""
        with self._making:  # not `_lock`: a call that settles anew waits for no reader
            with self._lock:
                ledger, make = self._ledger, self._make
            if ledger is None:
                if make is None:
                    raise RuntimeError("Outcome.ledger: the run has not ended yet")
                ledger = make()
                with self._lock:
                    if self._make is make:  # nobody settled it anew meanwhile
                        self._ledger, self._make = ledger, None  # lets go of the records
            return ledger

    def __reduce__(self) -> tuple[Callable[[Ledger], Outcome], tuple[Ledger]]:
        """Pickles, and copies, as its ledger."""
        return _settled, (self.ledger,)


def _settled(ledger: Ledger) -> Outcome:
    return Outcome(lambda: ledger)


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
        self.outcome = Outcome()
        self.finished = False  # set by the handle
        self._question = question
        self._lock = threading.Lock()
        self._records: list[Record] = []
        self._children: list[Outcome] = []
        self._sources: dict[str, Source] = {}
        self._kept: dict[object, object] = {}
        self._error = ""

    @property
    def question(self) -> str:
        """What was asked; if the run started without a question, what was retrieved for first."""
        if self._question:
            return self._question
        with self._lock:
            return _first_question(self._records)

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

    @property
    def searched(self) -> bool:
        """Whether anything was retrieved for, here or around it."""
        if self.parent is not None:
            return self.parent.searched
        with self._lock:
            steps = (record.step for record in self._records)
            return any(step is not None and step.kind == "retrieval" for step in steps)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """What was decided so far, here or around it, without what is only told in the ledger."""
        if self.parent is not None:
            return self.parent.decisions
        with self._lock:
            return tuple(decision for record in self._records for decision in record.decisions)

    def keep(self, key: object, make: Callable[[], T]) -> T:
        """What is kept under a key for the outermost run around this one; made when first asked.

        Args:
            key: nobody else's.
            make: quick, and asks for nothing that is kept.
        """
        if self.parent is not None:
            return self.parent.keep(key, make)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = make()
            return cast("T", self._kept[key])

    @property
    def sources(self) -> tuple[Source, ...]:
        """What evidence came from so far, here or around it, one per name."""
        if self.parent is not None:
            return self.parent.sources
        with self._lock:
            return tuple(self._sources.values())

    def offer(self, source: Source) -> None:
        """Let a source be searched again in this run; the newest of a name stands."""
        if self.parent is not None:
            self.parent.offer(source)
            return
        with self._lock:
            self._sources[source.name] = source

    def adopt(self, child: Outcome) -> None:
        """Take what a run that happened inside this one came to."""
        with self._lock:
            self._children.append(child)

    def end(self, error: BaseException | None = None) -> None:
        """Settle what the run came to, as far as it has: it may go on after all."""
        with self._lock:
            self._error = "" if error is None else f"{type(error).__name__}: {error}"
        self.outcome.settle(self._so_far())

    def ledger(self) -> Ledger:
        """What was decided so far, frozen."""
        return self._so_far()()

    def _so_far(self) -> Callable[[], Ledger]:
        """What makes the ledger of now, whenever it is called."""
        with self._lock:
            records, children, error = tuple(self._records), tuple(self._children), self._error
        run_id, name, asked = self.run_id, self.name, self._question

        def make() -> Ledger:
            return ledger_of(
                records,
                run_id=run_id,
                question=asked or _first_question(records),
                name=name,
                children=tuple(child.ledger for child in children),
                error=error,
            )

        return make


def _first_question(records: Iterable[Record]) -> str:
    return next((record.question for record in records if record.question), "")


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
    verifications: list[Verification] = []
    steps: list[Step] = []
    calls: list[Call] = []
    chunks: dict[str, Chunk] = {}
    timings: dict[str, float] = {}
    last = Record()
    for record in (given.completed() for given in records):
        start = len(decisions)
        decisions.extend(record.decisions)
        verifications.extend(record.verifications)
        calls.extend(record.calls)
        chunks.update((chunk.id, chunk) for chunk in record.chunks)
        for stage, seconds in record.timings.items():
            timings[stage] = timings.get(stage, 0.0) + seconds
        step = record.step
        if step is None:
            continue
        steps.append(replace(step, decisions=(start, len(decisions))))
        if step.kind == "model" or (last.step is None or last.step.kind == "retrieval"):
            last = record
    return Ledger(
        run_id=run_id,
        question=question,
        name=name,
        model=last.model,
        tokenizer=last.tokenizer,
        budget=last.budget,
        decisions=tuple(decisions),
        segments=last.step.segments if last.step else (),
        verifications=tuple(verifications),
        steps=tuple(steps),
        calls=tuple(calls),
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
