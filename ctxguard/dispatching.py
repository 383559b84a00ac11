"""Routing at work: which route a call of a model takes, and what happens when it fails there.

An adapter describes a call (`Request`) and hands in what asks a model (a function from an
`Attempt`); which routes are tried, in which order and whether they may be, what it costs and what
the ledger says of it is decided here, once for calls, streams and both frameworks.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from ctxguard.attempts import Attempt, activate_attempt, charge_of, current_attempt
from ctxguard.choosing import EXPECTED, Choosing
from ctxguard.dispatcher import Dispatcher
from ctxguard.errors import InputError, SpendLimitError
from ctxguard.ledger import Reason
from ctxguard.request import Request
from ctxguard.routing.caller import current_caller
from ctxguard.routing.failures import failure_of
from ctxguard.routing.route import Load, Route, ordered
from ctxguard.routing.settings import Routes
from ctxguard.routing.state import Reservation
from ctxguard.run import Run, current_run
from ctxguard.types import Action

if TYPE_CHECKING:
    from ctxguard.types import JsonValue

__all__ = ["Dispatching", "EndsWell", "dispatching"]

T = TypeVar("T")
EndsWell = Callable[[BaseException], bool]
_CONFIGURED = Route(name="configured")
"""What shadow mode calls."""


def dispatching(dispatcher: Dispatcher | None) -> Dispatching | None:
    """What routes the run of now; None: the policy names no routes, or there is no run.

    Nor is there within a call that is routed already.

    Args:
        dispatcher: `Guard.dispatcher` of the guard whose policy applies.
    """
    run = current_run()
    if dispatcher is None or run is None or current_attempt() is not None:
        return None
    own = _routed_run(run, dispatcher)
    key = ("dispatching", id(dispatcher), own.run_id)
    return run.keep(key, lambda: Dispatching(dispatcher, own))


def _routed_run(run: Run, dispatcher: Dispatcher) -> Run:
    """The outermost run of what is routed: two that follow each other in another's are two."""
    found, around = run, run
    while True:
        guard = getattr(around.owner, "guard", None)  # of a Handle, which is a floor above
        if guard is not None and guard.dispatcher is dispatcher:
            found = around
        if around.parent is None:
            return found
        around = around.parent


class Dispatching:
    """Routes the calls of one run: never to a lighter route than one that it has taken."""

    def __init__(self, dispatcher: Dispatcher, run: Run) -> None:
        """Start before the first call; `dispatching` makes one."""
        self.dispatcher = dispatcher
        self.run = run
        self.spent = 0.0
        """Of the run so far, as far as prices are known."""
        self.choosing = Choosing(dispatcher, run)
        self._lock = threading.Lock()
        self._spending = threading.Lock()

    @property
    def settings(self) -> Routes:
        """What the policy says."""
        return self.dispatcher.settings

    @property
    def fails(self) -> float | None:
        """P that the route of the run fails, as far as something was estimated."""
        return self.choosing.fails

    @property
    def route(self) -> str:
        """The route that the run is on, blank before its first call."""
        return self.choosing.name

    def spend(self, cost: float) -> None:
        """Add to what the run has spent."""
        with self._spending:
            self.spent += cost

    def resume(self, route: str) -> None:
        """Go on with the route that an earlier part of the run was on, if there still is one.

        Args:
            route: its name; only before the first call of this part.
        """
        with self._lock:
            if not self.choosing.name and any(r.name == route for r in self.settings.routes):
                self.choosing.name, self.choosing.asked = route, True

    # -- retrieval --------------------------------------------------------------------------------

    def depth(self, request: Request) -> int | None:
        """Documents per search, by what is known before one: the question. None: as configured."""
        if self.settings.mode == "shadow":
            return None
        with self._lock:
            return self.choosing.chosen(request, searching=True)[0].top_k

    # -- model calls ------------------------------------------------------------------------------

    def call(
        self, request: Request, ask: Callable[[Attempt], T], ends_well: EndsWell | None = None
    ) -> T:
        """What one of the routes answers.

        Args:
            request: what is known of the call.
            ask: asks the model of `attempt.route`, and may tell the attempt what was used.
            ends_well: tells a framework's control flow, which passes through, from errors.

        Raises:
            SpendLimitError: no route is within the tenant's limit.
            Exception: what the last route that was tried raised.
        """
        attempt, result = self.begun(request, ask, ends_well)
        attempt.succeeded()
        return result

    def begun(
        self, request: Request, ask: Callable[[Attempt], T], ends_well: EndsWell | None = None
    ) -> tuple[Attempt, T]:
        """As `call`, before it is known whether the attempt succeeds: of what is read later on."""
        attempt = self.begin(request)
        while True:
            try:
                with activate_attempt(attempt):
                    return attempt, ask(attempt)
            except BaseException as error:
                attempt = self.after(attempt, error, ends_well)

    async def acall(
        self,
        request: Request,
        ask: Callable[[Attempt], Awaitable[T]],
        ends_well: EndsWell | None = None,
    ) -> T:
        """As `call`; shared state is asked in a thread."""
        attempt, result = await self.abegun(request, ask, ends_well)
        await self.dispatcher.off_loop(attempt.succeeded)
        return result

    async def abegun(
        self,
        request: Request,
        ask: Callable[[Attempt], Awaitable[T]],
        ends_well: EndsWell | None = None,
    ) -> tuple[Attempt, T]:
        """As `begun`."""
        off_loop = self.dispatcher.off_loop
        around = sys.exc_info()[1]
        attempt = await off_loop(lambda: self.begin(request), Attempt.unused)
        attempt.around = around
        while True:
            try:
                with activate_attempt(attempt):
                    return attempt, await ask(attempt)
            except Exception as error:
                failed, cause = attempt, error
            except BaseException as error:  # cancelled: nothing may be awaited any more
                self.broken(attempt, error)
                raise
            attempt = await off_loop(
                lambda f=failed, c=cause: self.after(f, c, ends_well), Attempt.unused
            )

    def stream(
        self,
        request: Request,
        ask: Callable[[Attempt], Iterator[T]],
        ends_well: EndsWell | None = None,
        begun: tuple[Attempt, Iterator[T]] | None = None,
    ) -> Iterator[T]:
        """What one of the routes streams; another one is tried only while nothing was shown.

        Args:
            request: what is known of the call.
            ask: as for `call`.
            ends_well: as for `call`.
            begun: a stream that was asked for already, and not read; None: it is when this is read.
        """
        attempt, opened = begun or (self.begin(request), None)
        while True:
            shown, items, opened = False, opened, None
            try:
                with activate_attempt(attempt):
                    items = iter(ask(attempt) if items is None else items)
                while True:
                    with activate_attempt(attempt):
                        try:
                            item = next(items)
                        except StopIteration:
                            break
                    shown = True
                    yield item
            except BaseException as error:
                with activate_attempt(attempt):
                    _close(items)
                if shown:
                    self.broken(attempt, error)
                    raise
                attempt = self.after(attempt, error, ends_well)
            else:
                attempt.succeeded()
                return

    async def astream(
        self,
        request: Request,
        ask: Callable[[Attempt], AsyncIterator[T]],
        ends_well: EndsWell | None = None,
        begun: tuple[Attempt, AsyncIterator[T]] | None = None,
    ) -> AsyncIterator[T]:
        """As `stream`."""
        off_loop, around = self.dispatcher.off_loop, sys.exc_info()[1]
        attempt, opened = begun or (
            await off_loop(lambda: self.begin(request), Attempt.unused),
            None,
        )
        attempt.around = around
        while True:
            shown, items, opened = False, opened, None
            try:
                with activate_attempt(attempt):
                    items = ask(attempt) if items is None else items
                while True:
                    with activate_attempt(attempt):
                        try:
                            item = await anext(items)
                        except StopAsyncIteration:
                            break
                    shown = True
                    yield item
            except Exception as error:
                await _aclose(items, attempt)
                if shown:
                    await off_loop(lambda a=attempt, e=error: self.broken(a, e))
                    raise
                failed, cause = attempt, error
            except BaseException as error:
                await _aclose(items, attempt)
                self.broken(attempt, error)
                raise
            else:
                await off_loop(attempt.succeeded)
                return
            attempt = await off_loop(
                lambda f=failed, c=cause: self.after(f, c, ends_well), Attempt.unused
            )

    # -- one attempt after another ----------------------------------------------------------------

    def begin(self, request: Request) -> Attempt:
        """The first attempt of a call.

        Raises:
            SpendLimitError: no route is within the tenant's limit.
        """
        with self._lock:
            route, order = self.choosing.chosen(request)
        if self.settings.mode == "shadow":
            resolved = request.resolved(_CONFIGURED)
            return Attempt(self, request, _CONFIGURED, resolved, reason="shadow", walk=iter(()))
        wanted = [one.name for one in order] if self.settings.fallback else [route.name]
        attempt = self._next(request, self._walk(wanted), None, route=route.name)
        if attempt is None:  # without a limit, a walk has at least one
            raise InputError("Routes.routes: none of them takes this request")
        attempt.around = sys.exc_info()[1]
        return attempt

    def after(
        self, attempt: Attempt, error: BaseException, ends_well: EndsWell | None = None
    ) -> Attempt:
        """The next attempt of a call that failed.

        Raises:
            BaseException: the error itself, where no other route may do better.
        """
        failure = failure_of(error, attempt.around)
        well = ends_well is not None and ends_well(error)
        if well:
            attempt.passed()
            raise error
        limited = isinstance(error, SpendLimitError)
        if not isinstance(error, Exception) or limited or attempt.shown:
            self.broken(attempt, error)
            raise error
        attempt.failed(error, failure)
        if not failure.elsewhere or not attempt.acts:
            raise error
        try:
            following = self._next(attempt.request, attempt.walk, error, failure.kind == "too-long")
        except SpendLimitError:
            following = None
        except InputError as unknown:  # what the next one costs: the caller is to see both
            raise unknown from error
        if following is None:
            raise error
        following.around = attempt.around
        return following

    def broken(self, attempt: Attempt, error: BaseException) -> None:
        """Count what a call that ended in the middle may have cost."""
        attempt.failed(error, replace(failure_of(error, attempt.around), charged=True))

    def _next(
        self,
        request: Request,
        walk: Iterator[str],
        error: BaseException | None,
        larger: bool = False,  # noqa: FBT001, FBT002 -- only called here
        route: str = "",
    ) -> Attempt | None:
        """The next route of a walk that a tenant may pay for; the run is on `route`."""
        refused: Reservation | None = None
        routes = {route.name: route for route in self.settings.routes}
        for name in walk:
            resolved = request.resolved(routes[name])
            if larger and not resolved.fits(request.load(most=True)):
                continue
            reservation = self.reserve(resolved, request)
            if reservation is not None and not reservation.admitted:
                self.note("flag", "over-limit", f"{name} was not asked: {reservation.reason}")
                refused = reservation
                continue
            reason: Reason = "routed" if error is None else "fallback"
            if error is not None:
                said = f"{type(error).__name__}"
                self.note("route", "fallback", f"{name} was asked, because of {said} before")
            if error is not None or name != route:  # else a call beside this one may be above it
                with self._lock:
                    self.choosing.name = name
            return Attempt(
                self,
                request,
                routes[name],
                resolved,
                reason=reason,
                walk=walk,
                reservation=reservation,
            )
        if refused is not None:
            tenant = current_caller().tenant
            raise SpendLimitError(refused.reason, tenant=tenant, retry_after=refused.retry_after)
        return None

    def _walk(self, names: Sequence[str]) -> Iterator[str]:
        """The routes to try, each once, without those that rest; what is left out is noted."""
        if len(names) == 1:
            yield names[0]
            return
        known = {self.dispatcher.label(name): name for name in names}
        waiting = list(names)
        for label in self.dispatcher.rests.walk(list(known)):
            name = known[label]
            while waiting and waiting[0] != name and name in waiting:
                rests = waiting.pop(0)
                self.note("flag", "route-rests", f"{rests} rests after a rate limit")
            if name in waiting:
                waiting.remove(name)
            yield name
        for name in waiting:
            self.note("flag", "route-rests", f"{name} rests after a rate limit")

    def reserve(self, resolved: Route, request: Request) -> Reservation | None:
        """What is set aside of the tenant's budget for a call; None: nobody's spend is limited.

        Raises:
            InputError: what the call can cost at most is not known.
        """
        if not self.settings.limited:
            return None
        if not request.bounded(resolved):
            raise InputError(
                f"Route.max_output: how long an answer of {resolved.name} may become is not known, "
                "and spend is limited; set it"
            )
        at_most = charge_of(resolved, request.most(resolved))
        if at_most is None:
            raise InputError(
                f"Route.price: the price of {resolved.name} ({resolved.model_name or 'a model'}) "
                "is not known, and spend is limited; give the route price=Price(…)"
            )
        tenant = self.dispatcher.label(current_caller().tenant)
        return self.dispatcher.budgets.reserve(tenant, at_most)

    def ranked(self, request: Request) -> list[Route]:
        """The routes as the policy has them, the lightest first."""
        own = {route.name: route for route in self.settings.routes}
        resolved = [request.resolved(route) for route in self.settings.routes]
        load = request.load(output=EXPECTED)
        return [own[route.name] for route, _ in ordered(resolved, load)]

    def heaviest_cost(self, request: Request, load: Load) -> float | None:
        """What tokens cost on the heaviest route."""
        known = [request.resolved(route) for route in self.settings.routes]
        routes = [replace(route, max_output=None) for route in known]  # of the same tokens
        return ordered(routes, load)[-1][1] if routes else None

    def note(self, action: Action, code: str, reason: str, **details: JsonValue) -> None:
        """Let the ledger say something of the routing."""
        self.choosing.note(action, code, reason, **details)


def _close(items: object) -> None:
    close = getattr(items, "close", None)
    if close is not None:
        with contextlib.suppress(Exception):
            close()


async def _aclose(items: object, attempt: Attempt) -> None:
    close = getattr(items, "aclose", None)
    if close is not None:
        with contextlib.suppress(Exception), activate_attempt(attempt):
            await close()
