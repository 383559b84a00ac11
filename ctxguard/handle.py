"""The handle on a guarded object: what is guarded, what it decided, and the way back."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, cast

from ctxguard.dispatcher import Dispatcher
from ctxguard.errors import InputError, UnsupportedObjectError
from ctxguard.ledger import Ledger
from ctxguard.listeners import tell
from ctxguard.policy import Policy
from ctxguard.routing.report import Savings
from ctxguard.routing.savings import savings_of
from ctxguard.routing.state import Drift
from ctxguard.run import Outcome, Run, activate, current_run

if TYPE_CHECKING:
    from ctxguard.guard import Guard

__all__ = ["Coverage", "CoverageWarning", "Handle", "Reached", "Unreached", "handle"]

T = TypeVar("T")
Kind: TypeAlias = Literal["retriever", "model", "agent", "postprocessor"]
KEPT_LEDGERS = 64
"""How many ledgers a handle keeps; the oldest leave first."""

# Per context, the newest ledger of each of the last few handles: "the last call" of one asyncio
# task or thread must not be another's. Bounded, because a context can live as long as the process.
_last: ContextVar[tuple[tuple[object, Outcome], ...]] = ContextVar("ctxguard_last", default=())
_LAST_HANDLES = 16


class CoverageWarning(UserWarning):
    """Something that retrieves or asks a model could not be guarded; the message says why."""


@dataclass(frozen=True, slots=True)
class Reached:
    """Something that is guarded."""

    path: str
    """Where it is, from the guarded object on: 'steps[0].context'."""
    type: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Unreached:
    """Something that retrieves or asks a model, and is not guarded."""

    path: str
    type: str
    reason: str
    """Why not, and what would help."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What guard() reached and what it could not."""

    reached: tuple[Reached, ...] = ()
    unreached: tuple[Unreached, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether something was reached and nothing is known to be missing."""
        return bool(self.reached) and not self.unreached

    def merged(self, other: Coverage) -> Coverage:
        """What either lists, once; for what is found when it is called."""
        return Coverage(
            tuple(dict.fromkeys((*self.reached, *other.reached))),
            tuple(dict.fromkeys((*self.unreached, *other.unreached))),
        )

    def __str__(self) -> str:
        """A table: guarded things first, then what could not be reached and why."""
        rows = [("guarded", r.path or ".", f"{r.type} ({r.kind})") for r in self.reached]
        rows += [("NOT guarded", u.path or ".", f"{u.type}: {u.reason}") for u in self.unreached]
        if not rows:
            return "nothing here retrieves or asks a model"
        width = max(len(path) for _, path, _ in rows)
        return "\n".join(f"{state:<12}{path:<{width}}  {what}" for state, path, what in rows)


class Handle:
    """`guarded.ctxguard`: coverage, ledgers, policy, and the original object."""

    def __init__(
        self,
        guard: Guard,
        original: object,
        coverage: Coverage | None = None,
        ends_well: Callable[[BaseException], bool] | None = None,
    ) -> None:
        """Made by an adapter.

        Args:
            guard: applies the policy.
            original: what was handed to guard(), untouched.
            coverage: what was reached; may be set once the walk is done.
            ends_well: tells a framework's control flow, which is raised too, from errors; it is
                pickled with the handle.
        """
        self.guard = guard
        self._original = original
        self.coverage = coverage or Coverage()
        self._ends_well = ends_well
        self._outcomes: deque[Outcome] = deque(maxlen=KEPT_LEDGERS)
        self._lock = threading.Lock()
        self._key = object()
        self._kept: dict[str, object] = {}
        if "CTXGUARD_TRACES" in os.environ:
            from ctxguard.telemetry.recording import record_from_environment

            record_from_environment()

    @property
    def original(self) -> Any:  # noqa: ANN401 -- whatever was handed to guard()
        """What was handed to guard(), untouched."""
        return self._original

    @property
    def policy(self) -> Policy:
        """What is done to every call."""
        return self.guard.policy

    @property
    def last(self) -> Ledger | None:
        """The ledger of the last call in this context (task, thread); else of the newest call."""
        for key, outcome in _last.get():
            if key is self._key and outcome.ended:
                return outcome.ledger
        with self._lock:
            newest = self._outcomes[-1] if self._outcomes else None
        return newest and newest.ledger

    @property
    def ledgers(self) -> tuple[Ledger, ...]:
        """The ledgers of the newest calls, oldest first, at most `KEPT_LEDGERS`."""
        with self._lock:
            outcomes = tuple(self._outcomes)
        return tuple(outcome.ledger for outcome in outcomes)

    def feedback(self, run_id: str, *, ok: bool) -> Drift | None:
        """Say whether the answer of a run was right: counted for its route, by any process.

        Args:
            run_id: `Ledger.run_id` of the run.
            ok: whether somebody who can tell was content with the answer.

        Returns:
            Whether the route got worse than it was expected to be; None: nothing was expected.

        Raises:
            InputError: the policy routes nothing, or no route is known to have answered the run.
        """
        return self._dispatcher("feedback").feedback(run_id, ok=ok)

    def savings(self) -> Savings:
        """What routing saved in `ledgers`, beside the quality that is known of it.

        With what feedback said of each route in the last one to two weeks, in any process. Shared
        state is asked; in async code call it in a thread.

        Raises:
            InputError: the policy routes nothing.
        """
        counts = self._dispatcher("savings").counts()
        return savings_of(self.ledgers, judged=counts)

    def _dispatcher(self, caller: str) -> Dispatcher:
        found = self.guard.dispatcher
        if found is None:
            raise InputError(
                f"Handle.{caller}: the policy routes nothing: Policy(routing=Routes(…))"
            )
        return found

    def keep(self, name: str, make: Callable[[], T]) -> T:
        """What an adapter keeps for what is guarded, as long as it is; made when first asked for.

        Args:
            name: nobody else's.
            make: quick, and asks for nothing that is kept.
        """
        with self._lock:
            if name not in self._kept:
                self._kept[name] = make()
            return cast("T", self._kept[name])

    def unguard(self) -> Any:  # noqa: ANN401 -- the type that guard() was given, not known here
        """The original object; the guarded copy goes on working for whoever holds it."""
        return self.original

    def live(self) -> bool:
        """Whether a call that begins now is guarded; a copy's always is."""
        return True

    def start(self, question: str = "", name: str = "") -> Run:
        """A new run that is not active yet, a child of the run of this context, if any.

        For streams: step the stream inside `activate(run)`, all of it inside `finishing(run)`.
        """
        run = Run(question=question, name=name, owner=self, parent=current_run())
        # A stream may end in another thread, and still be this context's last call.
        self._note(run.outcome)
        return run

    def finish(self, run: Run, error: BaseException | None = None) -> None:
        """End a run, once: its ledger becomes `last`, and a child of the run around it."""
        if run.finished:
            return
        run.finished = True
        self.publish(run, error)
        if run.parent is not None:
            run.parent.adopt(run.outcome)

    def publish(self, run: Run, error: BaseException | None = None) -> None:
        """Show the ledger of a run so far: of one that may end where nobody sees it.

        Whatever is published or finished of the run later takes its place.
        """
        run.end(error if error is not None and self.is_error(error) else None)
        with self._lock:
            if run.outcome in self._outcomes:
                self._outcomes.remove(run.outcome)
            self._outcomes.append(run.outcome)
        self._note(run.outcome)
        if run.parent is None:  # the ledger of another is nested in its parent's
            tell(run.outcome)

    def is_error(self, error: BaseException) -> bool:
        """Whether this ends a call badly; a stream that its reader closes ends well."""
        if isinstance(error, GeneratorExit):
            return False
        return self._ends_well is None or not self._ends_well(error)

    def _note(self, outcome: Outcome) -> None:
        noted = _last.get()
        if noted and noted[0][1] is outcome:
            return
        others = [pair for pair in noted if pair[1] is not outcome]
        _last.set(((self._key, outcome), *others[: _LAST_HANDLES - 1]))

    @contextmanager
    def run(self, question: str = "", name: str = "") -> Generator[Run]:
        """A new run for one logical call: for the entry points of a guarded object.

        An error that passes through is noted in `Ledger.error` and raised on. Not for generators:
        the run stays active until the block ends.
        """
        run = self.start(question, name)
        with self.finishing(run), activate(run):
            yield run

    @contextmanager
    def finishing(self, run: Run) -> Generator[None]:
        """Finish a run with the block, which may be a generator's; it is not active inside."""
        error: BaseException | None = None
        try:
            yield
        except BaseException as caught:
            error = caught
            raise
        finally:
            self.finish(run, error)

    @contextmanager
    def join(self, question: str = "", name: str = "") -> Generator[Run]:
        """The run of this context when it is this handle's, else a new one: for inner hooks."""
        active = current_run()
        if active is not None and active.owner is self:
            yield active
            return
        with self.run(question, name) as run:
            yield run

    def __copy__(self) -> Handle:
        """Itself: copies of a guarded object share its handle."""
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Handle:
        """Itself: copies of a guarded object share its handle."""
        return self

    def __reduce__(self) -> tuple[Callable[..., Handle], tuple[Any, ...]]:
        """Pickles as its guard, original and coverage; ledgers stay behind."""
        return Handle, (self.guard, self.original, self.coverage, self._ends_well)

    def __repr__(self) -> str:
        """What is guarded and what is not."""
        missing = f", {len(self.coverage.unreached)} not reached" if self.coverage.unreached else ""
        kinds = ", ".join(item.type for item in self.coverage.reached) or "nothing"
        return f"<Handle guards {kinds}{missing}; {len(self._outcomes)} calls>"


def handle(guarded: object) -> Handle:
    """The handle on a guarded object, typed: the same as `guarded.ctxguard`.

    Raises:
        UnsupportedObjectError: when the object is not guarded.
    """
    found = getattr(guarded, "ctxguard", None)
    if not isinstance(found, Handle):
        raise UnsupportedObjectError(
            f"handle: {type(guarded).__name__} is not guarded; pass it through guard() first"
        )
    return found
