"""What all routed calls of a guard have in common: spend, rests, conversations, feedback.

All of it lives in shared state, which is opened when it is first needed. A call never fails for it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

from ctxguard.errors import InputError
from ctxguard.routing.settings import Routes
from ctxguard.routing.state import (
    Budgets,
    CoolDowns,
    Counts,
    Drift,
    Feedback,
    MemoryStore,
    SharedState,
    Standing,
    Stickiness,
    open_state,
)
from ctxguard.routing.state.store import key_of

__all__ = ["Answered", "Dispatcher"]

T = TypeVar("T")
_REMEMBERED = 7 * 86400.0
"""Seconds for which a run may be given feedback."""
_LOOK_AGAIN = 60.0
"""Seconds after which other processes' feedback is looked at again."""
_MILLION = 1_000_000
_FEWEST = 1e-3
"""A share of failures that nobody promises less than: no forecast is that sure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """Which route answered a run, and how likely it was expected to fail."""

    route: str
    fails: float | None
    """None: nothing was estimated."""


async def _handed(work: Callable[[], T], undo: Callable[[T], None]) -> T:
    """What work in a thread returns, undone where nobody is there to take it."""
    made: list[T] = []
    lock, is_gone = threading.Lock(), False

    def working() -> None:
        result = work()
        with lock:
            if not is_gone:
                made.append(result)
                return
        undo(result)

    try:
        await asyncio.to_thread(working)
    except asyncio.CancelledError:
        with lock:
            is_gone = True
        for result in made:  # it was ready, and came too late
            undo(result)
        raise
    return made[0]


class Dispatcher:
    """Keeps what calls share; a `Guard` has one."""

    def __init__(self, routes: Routes) -> None:
        """Set up, without opening anything."""
        self.settings = routes
        self._lock = threading.Lock()
        self._opening = threading.Lock()
        self._state: SharedState | None = None
        self._drifted: tuple[Drift, ...] = ()
        self._looked = -_LOOK_AGAIN

    # -- state ------------------------------------------------------------------------------------

    @cached_property
    def state(self) -> SharedState:
        """Where it is kept."""
        with self._opening:  # from Python 3.12 on, two threads may get here
            if self._state is None:
                self._state = open_state(self.settings.state)
            return self._state

    def notice(self) -> str:
        """Why the state is not used, or that it is again; each once, then the empty string."""
        return self.state.notice() if "state" in vars(self) else ""

    @property
    def blocks(self) -> bool:
        """Whether asking the state may take longer than an event loop should wait."""
        return self.state.name != MemoryStore().name

    async def off_loop(self, work: Callable[[], T], undo: Callable[[T], None] | None = None) -> T:
        """What the work returns, done in a thread where the state may have to be waited for.

        Args:
            work: goes on where whoever waits for it is cancelled.
            undo: takes what it returned then; None: nothing has to be undone.
        """
        if not self.blocks:
            return work()
        if undo is None:
            return await asyncio.to_thread(work)
        return await _handed(work, undo)

    @cached_property
    def budgets(self) -> Budgets:
        """What tenants may spend."""
        space = self.settings.space
        return Budgets(
            store=self.state,
            limits=self.settings.limits,
            tenants={f"{space}/{one}": own for one, own in self.settings.tenants.items()},
        )

    @cached_property
    def rests(self) -> CoolDowns:
        """Which routes rest."""
        return CoolDowns(store=self.state)

    @cached_property
    def conversations(self) -> Stickiness:
        """Which conversation has which route."""
        return Stickiness(store=self.state)

    @cached_property
    def judged(self) -> Feedback:
        """What became of answers."""
        return Feedback(store=self.state)

    def standing(self, tenant: str = "") -> tuple[Standing, ...]:
        """How a tenant stands in each of its limits; blank: everybody who has no name."""
        return self.budgets.standing(self.label(tenant))

    def label(self, name: str) -> str:
        """A route, a tenant or a conversation by a name that others in the store do not have."""
        return f"{self.settings.space}/{name}"

    # -- feedback ---------------------------------------------------------------------------------

    def remember(self, run_id: str, answered: Answered) -> None:
        """Let feedback on a run find the route that answered it, from any process."""
        fails = "" if answered.fails is None else f"{answered.fails:.6f}"
        key, value = self._run_key(run_id), f"{fails} {answered.route}"
        before = self.state.get(key)
        if before != value:
            self.state.swap(key, before, value, ttl=_REMEMBERED)

    def answered(self, run_id: str) -> Answered | None:
        """Which route answered a run; None: it is not known here, or not any more."""
        fails, _, route = (self.state.get(self._run_key(run_id)) or "").partition(" ")
        if not route:
            return None
        return Answered(route=route, fails=float(fails) if fails else None)

    def feedback(self, run_id: str, *, ok: bool) -> Drift | None:
        """Count whether the answer of a run was ok.

        Returns:
            Whether its route is worse by now than it was expected to be; None: nothing was
            expected of it.

        Raises:
            InputError: no route is known to have answered this run.
        """
        found = self.answered(run_id)
        if found is None:
            raise InputError(
                f"run_id: no route is known to have answered {run_id!r} in the last "
                f"{_REMEMBERED / 86400:.0f} days; Ledger.run_id names a run"
            )
        self.judged.record(self.label(found.route), ok=ok)
        if found.fails is None:
            return None
        for part, amount in (("sum", round(found.fails * _MILLION)), ("count", 1)):
            self.state.add(self._forecast_key(found.route, part), amount, ttl=2 * _REMEMBERED)
        return self._drift(found.route)

    def counts(self) -> dict[str, Counts]:
        """What was said of each route's answers in this window of feedback and the one before."""
        found: dict[str, Counts] = {}
        for route in self.settings.routes:
            label = self.label(route.name)
            now, before = (self.judged.counts(label, back=back) for back in (0, 1))
            found[route.name] = Counts(ok=now.ok + before.ok, not_ok=now.not_ok + before.not_ok)
        return found

    def drifted(self) -> tuple[Drift, ...]:
        """The routes that are worse than expected, looked up once a minute."""
        with self._lock:
            if time.monotonic() - self._looked < _LOOK_AGAIN:
                return self._drifted
            self._looked = time.monotonic()
        found = (self._drift(route.name) for route in self.settings.routes)
        self._drifted = tuple(one for one in found if one is not None and one.drifted)
        return self._drifted

    def _drift(self, route: str) -> Drift | None:
        """By the mean of what was expected of the answers that were judged."""
        keys = [self._forecast_key(route, part) for part in ("sum", "count")]
        total, count = self.state.totals(keys)
        if not count:
            return None
        promised = min(1 - _FEWEST, max(_FEWEST, total / count / _MILLION))
        label = self.label(route)
        found = self.judged.drift(label, promised=promised)
        return replace(found, route=route, reason=found.reason.replace(label, route))

    def _forecast_key(self, route: str, part: str) -> str:
        window = str(int(self.state.now() // self.judged.window))
        return key_of("forecast", self.label(route), window, part)

    def _run_key(self, run_id: str) -> str:
        return key_of("run", self.settings.space, run_id)
