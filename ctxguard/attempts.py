"""One call of a model on a route: what it needs, what it may cost, and what came of it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING

from ctxguard.dispatcher import Answered
from ctxguard.ledger import Call, Reason
from ctxguard.models import ModelCard
from ctxguard.policy import Policy
from ctxguard.request import Request
from ctxguard.routing.failures import Failure
from ctxguard.routing.route import Load, Route, cost_of
from ctxguard.routing.state import Reservation
from ctxguard.run import Record
from ctxguard.verification import Verify
from ctxguard.verification.asks import Tier

if TYPE_CHECKING:
    from ctxguard.dispatching import Dispatching

__all__ = ["Attempt", "activate_attempt", "charge_of", "current_attempt", "verification_of"]

_attempt: ContextVar[Attempt | None] = ContextVar("ctxguard_attempt", default=None)
_GUESS = 300
"""Tokens of an answer that nobody has counted."""


def charge_of(route: Route, load: Load) -> float | None:
    """What tokens cost that are known: all of them, also beyond what the route lets one answer be.

    A model may have no field for a limit, or think beyond it, and an attempt may ask several.
    """
    return cost_of(replace(route, max_output=None), load)


def current_attempt() -> Attempt | None:
    """The attempt that this context is in, None outside of a routed call."""
    return _attempt.get()


@contextmanager
def activate_attempt(attempt: Attempt | None) -> Generator[None]:
    """Make it the attempt of this context while the block's own code runs."""
    token = _attempt.set(attempt)
    try:
        yield
    finally:
        _attempt.reset(token)


def verification_of(policy: Policy) -> Verify | None:
    """How an answer is verified in this context: as the policy says, and the route that it is on.

    Args:
        policy: whose `verification`; a route's level replaces what it says of whether and what for,
            and in a cascade an answer that fails is taken to a heavier route.
    """
    attempt = current_attempt()
    return policy.verification if attempt is None else attempt.verification(policy)


class Attempt:
    """A call on one route, from its reservation to its cost."""

    def __init__(  # noqa: PLR0913 -- by its maker only
        self,
        dispatching: Dispatching,
        request: Request,
        route: Route,
        resolved: Route,
        *,
        reason: Reason,
        walk: Iterator[str],
        reservation: Reservation | None = None,
        origin: Attempt | None = None,
        number: int = 1,
    ) -> None:
        """Made by `Dispatching`."""
        self.dispatching = dispatching
        self.request = request
        self.route = route
        """As the policy has it."""
        self.resolved = resolved
        """With its model by name, and its limits."""
        self.reason: Reason = reason
        self.walk = walk
        self.acts = reason != "shadow"
        """Whether the route is taken; False: what is configured is called."""
        self.shown = False
        """Whether a reader has some of its answer already; then no other route may begin anew."""
        self.around: BaseException | None = None
        """What was being handled when the call began."""
        self.confidence: float | None = None
        """Mean probability of the answer's tokens, as far as the model told."""
        self.number = number
        """Of models that were asked for one answer, this one included."""
        self.cost = 0.0
        """Of the answer so far, the attempts before it included."""
        self._origin = origin or self
        self._latest = self  # that asked a heavier model for the answer
        self._answerer = self  # the last of those that answered
        self._reservation = reservation
        self._instead = False  # whether something else than the route's model is asked
        self._own = resolved
        self._load: Load | None = None
        self._measured = False
        self._done = False

    # -- what it used -----------------------------------------------------------------------------

    def used(self, load: Load, *, measured: bool = True) -> None:
        """Take what a model of this attempt used; several add up.

        Args:
            load: tokens.
            measured: whether the provider says so.
        """
        first = self._load is None
        before = self._load or Load(input=0, output=0)
        self._load = Load(
            input=before.input + load.input,
            output=before.output + load.output,
            cache_read=before.cache_read + load.cache_read,
            cache_write=before.cache_write + load.cache_write,
        )
        self._measured = measured and (first or self._measured)

    def instead(self, card: ModelCard | None) -> None:
        """Take that a call asks another model than the route's, as somebody further in chose.

        Then the route is not acted on: what fails is not its fault, and it is not escalated from.

        Args:
            card: of the other model; None: it is the route's after all.
        """
        if card is not None and self.acts:
            asked = card.name or "another model"
            self.dispatching.note(
                "flag",
                "route-overridden",
                f"{asked} is asked instead of {self.route.name}: it was put into the call",
                route=self.route.name,
                model=card.name,
            )
        self._instead = card is not None
        self.acts = card is None and self.reason != "shadow"
        self.resolved = self._own
        if card is not None:
            self.resolved = Route(
                name=self.route.name,
                model=card.name,
                max_output=card.max_output,
                window=card.window,
            )

    def told(self, logprobs: Iterable[float]) -> None:
        """Take the natural logarithms of the probabilities of the answer's tokens."""
        known = [math.exp(min(0.0, one)) for one in logprobs]
        if known:
            self.confidence = sum(known) / len(known)

    # -- how it ended -----------------------------------------------------------------------------

    def succeeded(self) -> None:
        """It answered: count what that cost; once."""
        if self._done:
            return
        self._settle(self._load or self._guessed())
        shared = self.dispatching.dispatcher
        if self.acts and len(shared.settings.routes) > 1:
            shared.rests.succeeded(shared.label(self.route.name))
            self._origin.remember(self)  # an escalation may end before its origin does, or after
        self.dispatching.choosing.note_state()

    def remember(self, attempt: Attempt) -> None:
        """Let feedback on the run find the route that answered, of an escalated one the last.

        Args:
            attempt: of those for this one's answer, the one that has succeeded.
        """
        if attempt.reason == "escalated":
            self._answerer = attempt
        run, fails = self.dispatching.run, self.dispatching.fails
        name = self._answerer.route.name
        known = fails if self._answerer is self else None  # no forecast is of an escalation
        self.dispatching.dispatcher.remember(run.run_id, Answered(route=name, fails=known))

    def passed(self) -> None:
        """It gave way to a framework's control flow: count what it used so far; once."""
        if not self._done:
            self._settle(self._load or Load(input=0, output=0))

    def unused(self) -> None:
        """Nobody waits for it any more, before anything was asked: give back what was set aside."""
        self.failed(asyncio.CancelledError(), Failure(kind="other"))

    def failed(self, error: BaseException, failure: Failure) -> None:
        """It did not answer: count what that may have cost; once."""
        if self._done:
            return
        charged = failure.charged and self._reservation is not None
        nothing = Load(input=0, output=0)
        most = self.request.most(self.resolved) if charged else nothing
        self._settle(self._load or most, error=type(error).__name__)
        shared = self.dispatching.dispatcher
        if failure.kind == "rate-limited" and self.acts:
            shared.rests.rate_limited(
                shared.label(self.route.name), retry_after=failure.retry_after
            )
        if isinstance(error, Exception):
            self.dispatching.note(
                "error",
                failure.kind if failure.elsewhere else "route-failed",
                f"{self.route.name}: {type(error).__name__}: {error}",
            )
        self.dispatching.choosing.note_state()

    def _settle(self, load: Load, error: str = "") -> None:
        self._done = True
        cost = charge_of(self.resolved, load)
        self._origin.cost += cost or 0.0
        self.dispatching.spend(cost or 0.0)
        if self._reservation is not None:
            budgets = self.dispatching.dispatcher.budgets
            budgets.commit(self._reservation, self._reservation.at_most if cost is None else cost)
        beside = not error and self.reason in ("routed", "fallback", "shadow")
        heaviest = self.dispatching.heaviest_cost(self.request, load) if beside else 0.0
        call = Call(
            route=self.route.name,
            model=self.resolved.model_name,
            reason=self.reason,
            input=load.input,
            output=load.output,
            cache_read=load.cache_read,
            cache_write=load.cache_write,
            measured=self._measured,
            cost=cost,
            heavy_cost=cost if beside and self._instead else heaviest,  # that saves nothing
            error=error,
        )
        self.dispatching.run.add(Record(calls=(call,)))

    # -- verification -----------------------------------------------------------------------------

    @property
    def heavier(self) -> tuple[Route, ...]:
        """The routes above this one that take the call, the next one first."""
        if not self.acts or self.request.adds_up:  # the answer is a model's, the route an engine's
            return ()
        ranked = self.dispatching.ranked(self.request)
        names = [route.name for route in ranked]
        above = ranked[names.index(self.route.name) + 1 :]
        return tuple(route for route in above if not self.request.refuses(route))

    def verification(self, policy: Policy) -> Verify | None:
        """How its answer is verified: as the policy says, the route, and the cascade."""
        own, level = policy.verification, self.route.verification
        cascade = self.dispatching.settings.cascade if self.acts else None
        escalates = cascade is not None and self.heavier and cascade.attempts > self.number
        if level == "off" and not escalates:
            return None
        if level in ("flag", "repair"):
            own = own or Verify()
            kept = level == "repair" and own.on_fail != "flag"
            own = own if kept else replace(own, on_fail=level)
        if cascade is not None and escalates:
            own = own or Verify()
            up = min(len(self.heavier), cascade.attempts - self.number)
            on_fail = own.on_fail if own.on_fail in ("abstain", "raise") else "escalate"
            own = replace(
                own, on_fail=on_fail, tries=("escalate",) * up, attempts=up, hand_over=True
            )
        return own

    def doubt(self, score: float) -> str:
        """Why an answer of which no claim failed is taken to a heavier route all the same.

        Args:
            score: of its verification.
        """
        cascade = self.dispatching.settings.cascade
        if cascade is None or not self.heavier or cascade.attempts <= self.number:
            return ""
        if score < cascade.below:
            return f"score {score:.2f}, under {cascade.below:.2f}"
        sure, least = self.confidence, cascade.confidence
        if sure is not None and least is not None and sure < least:
            return f"mean probability of its tokens {sure:.2f}, under {least:.2f}"
        return ""

    # -- more of it -------------------------------------------------------------------------------

    def follow(self, tier: Tier, request: Request) -> Attempt | None:
        """The attempt that puts this one's answer right; None: there may be none.

        It does not matter which of the attempts for one answer is asked.

        Args:
            tier: 'light': the same model once more, 'heavy': one of the next heavier route.
            request: what will be asked.
        """
        if self._origin is not self:
            return self._origin.follow(tier, request)
        if not self.acts:
            return None
        if tier == "light":
            return self._more(self.route, request, "repair")
        cascade, latest = self.dispatching.settings.cascade, self._latest
        if cascade is not None and latest.number >= cascade.attempts:
            return self._stays(f"{cascade.attempts} models were asked, which is the limit")
        for route in latest.heavier:
            label = self.dispatching.dispatcher.label(route.name)
            rest = self.dispatching.dispatcher.rests.of(label)
            if rest.left:
                self._stays(f"{route.name} rests for {rest.left:.0f} s after a rate limit")
                continue
            return self._more(route, request, "escalated")
        return self._stays("there is no heavier route that takes it")

    def _more(self, route: Route, request: Request, reason: Reason) -> Attempt | None:
        resolved = request.resolved(route)
        if not resolved.fits(request.load(most=True)):
            return self._stays(f"the window of {route.name} is too small for it")
        cascade = self.dispatching.settings.cascade
        limit = None if cascade is None else cascade.max_cost
        most = charge_of(resolved, request.most(resolved))
        spent = self._spent()
        if limit is not None and (most is None or spent + most > limit):
            tokens = request.most(resolved).output
            price = (
                f"what {route.name} costs is not known"
                if most is None
                else f"{route.name} may cost {most:.6f}, for an answer of up to {tokens:,} tokens"
            )
            return self._stays(f"{price}, and {spent:.6f} of {limit:.6f} for one answer are spent")
        reservation = self.dispatching.reserve(resolved, request)
        if reservation is not None and not reservation.admitted:
            return self._stays(reservation.reason)
        up = reason == "escalated"
        if up:
            self.dispatching.note(
                "escalate",
                "escalated",
                f"from {self._latest.route.name} to {route.name}: what was accepted and what "
                "failed go along",
                route=route.name,
            )
        attempt = Attempt(
            self.dispatching,
            request,
            route,
            resolved,
            reason=reason,
            walk=iter(()),
            reservation=reservation,
            origin=self,
            number=self._latest.number + up,
        )
        if up:
            self._latest = attempt
        return attempt

    def _spent(self) -> float:
        """On the answer so far; one that is verified before it ends counts by what it told."""
        if self._done:
            return self.cost
        return self.cost + (charge_of(self.resolved, self._load or self._guessed()) or 0.0)

    def _guessed(self) -> Load:
        guess = min(_GUESS, self.resolved.max_output or _GUESS)
        load = self.request.load(output=guess)
        return replace(load, output=load.output * self.request.answers)

    def _stays(self, why: str) -> None:
        self.dispatching.note("flag", "not-escalated", f"the answer stays as it is: {why}")
