"""The choice of a route for the calls of a run, by the router and all that speaks against it.

A run never goes to a lighter route than one that it has taken: its calls lead to one answer, and
half of it by a lighter model would be no saving.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from ctxguard.dispatcher import Dispatcher
from ctxguard.request import Request
from ctxguard.routing.caller import current_caller
from ctxguard.routing.choice import Routing
from ctxguard.routing.route import Route, cost_of
from ctxguard.routing.settings import Routes
from ctxguard.routing.surroundings import surroundings_of
from ctxguard.run import Record, Run
from ctxguard.types import Action, Decision

if TYPE_CHECKING:
    from ctxguard.types import JsonValue

__all__ = ["EXPECTED", "Choosing"]

_STAGE = "route"
EXPECTED = 300
"""Tokens of an answer that nobody has bounded, as candidates' costs are compared."""


class Choosing:
    """Chooses the routes of one run."""

    def __init__(self, dispatcher: Dispatcher, run: Run) -> None:
        """Start before the first call."""
        self.dispatcher = dispatcher
        self.run = run
        self.name = ""
        """Of the route that the run is on; blank before the first call."""
        self.asked = False
        """Whether a model was asked; until then, there were searches only."""
        self._drew = False
        self._routing: Routing | None = None

    @property
    def settings(self) -> Routes:
        """What the policy says."""
        return self.dispatcher.settings

    @property
    def fails(self) -> float | None:
        """P that the route of the run fails, as far as something was estimated."""
        routing = self._routing
        if routing is None or routing.estimate is None:
            return None
        light = self.name == routing.candidates[0].route.name
        return routing.estimate.light_fails if light else routing.estimate.heavy_fails

    def chosen(self, request: Request, *, searching: bool = False) -> tuple[Route, list[Route]]:
        """The route of a call, and the order in which routes are tried.

        Args:
            request: what is known of the call.
            searching: whether it is a search: what the prompt will be is not known yet.
        """
        settings, load = self.settings, request.load(output=EXPECTED)
        resolved = [request.resolved(route) for route in settings.routes]
        question = self.run.question or request.question
        around = self._around(request) if len(resolved) > 1 else None
        routing = settings.router.decide(question, resolved, load, around)
        names = [candidate.route.name for candidate in routing.candidates]
        place, code, note = names.index(routing.route.name), routing.code, ""
        own = {route.name: route for route in settings.routes}
        if len(names) > 1:
            place, code, note = self._adjusted(request, routing, names, place, searching=searching)
            self._tell_drift()
        refused = {name: why for name in names if (why := request.refuses(own[name]))}
        free = [i for i in range(len(names)) if names[i] not in refused]
        if names[place] in refused and free:
            taken = min(free, key=lambda i: (i < place, abs(i - place)))
            note += f"; {names[place]} does not take it: {refused[names[place]]}"
            place, code = taken, "route-unsuitable"
        if len(names) > 1 and (self._routing is None or names[place] != self.name):
            self._record(routing, own[names[place]], code, note, request)
        self._routing, self.name = routing, names[place]
        self.asked = self.asked or not searching
        usable = free or [place]
        above = [i for i in usable if i > place]
        below = [i for i in reversed(usable) if i < place]
        return own[names[place]], [own[names[i]] for i in (place, *above, *below)]

    def _around(self, request: Request) -> dict[str, float]:
        """What surrounds the question: what was found for it, and the conversation."""
        run = self.run
        found = run.evidence if run.searched else None
        came = tuple(run.known().values())
        return surroundings_of(found, run.decisions, came=came, messages=request.messages)

    def _adjusted(
        self, request: Request, routing: Routing, names: list[str], place: int, *, searching: bool
    ) -> tuple[int, str, str]:
        """The place of the route, after all that speaks for another one than the router's."""
        settings = self.settings
        fits = [i for i in range(len(names)) if routing.candidates[i].fits]
        light = min(fits, default=place)
        if self.name:
            before = names.index(self.name)
            if settings.cascade is not None:  # only a verdict takes an answer up
                place = light
            found = place, "raised", f"; the run was on {self.name}"
            if before >= place:
                found = before, routing.code if before == place else "kept-in-run", ""
            if searching or self.asked or self._drew or settings.cascade is not None:
                return found
            kept = self._kept(request, routing, names, found[0])  # a search knew no prompt
            return kept if kept[0] > found[0] else found
        if settings.mode == "act" and self._draw(0) < settings.explore:
            self._drew = True
            drawn = (fits or [place])[int(self._draw(1) * max(1, len(fits)))]
            return drawn, "explored", f"; drawn at random, as {settings.explore:.1%} of runs are"
        if settings.cascade is not None:
            return light, "cascade", f"; a cascade begins on {names[light]}"
        if searching:
            return place, routing.code, ""
        return self._kept(request, routing, names, place)

    def _kept(
        self, request: Request, routing: Routing, names: list[str], place: int
    ) -> tuple[int, str, str]:
        """What a conversation's cached prompt says to a change of routes."""
        settings, conversation = self.settings, current_caller().conversation
        if not settings.sticky or not conversation or settings.mode == "shadow":
            return place, routing.code, ""
        conversations = self.dispatcher.conversations
        label = self.dispatcher.label(conversation)
        held = conversations.held(label)
        code, note = routing.code, ""
        if held is not None and held.route in names and held.age < settings.cache_seconds:
            before = names.index(held.route)
            load = request.load(output=EXPECTED)
            cached = replace(load, cache_read=request.repeated)
            stay = cost_of(routing.candidates[before].route, cached)
            change = cost_of(routing.candidates[place].route, load)
            if before > place and (stay is None or change is None or stay <= change):
                place, code = before, "kept-for-cache"
                note = f"; {names[place]} has {request.repeated:,} tokens of it cached" + (
                    "" if stay is None or change is None else f": {stay:.6f} against {change:.6f}"
                )
            elif before != place and stay is not None and change is not None:
                note = f"; leaves the cache of {names[before]}: {change:.6f} against {stay:.6f}"
        given = conversations.keep(label, names[place], over=held)
        if given in names and names.index(given) > place:
            place, code, note = names.index(given), "kept-for-cache", "; another call chose it"
        return place, code, note

    def _draw(self, which: int) -> float:
        """A number from 0 to 1 that the run's id decides, so that the ledger can tell it again."""
        at = 8 * which
        return int(self.run.run_id[at : at + 8], 16) / 16**8

    # -- what the ledger says ---------------------------------------------------------------------

    def _record(
        self, routing: Routing, route: Route, code: str, note: str, request: Request
    ) -> None:
        decision = routing.decision(request.subject)
        shadow = self.settings.mode == "shadow"
        details: dict[str, JsonValue] = {
            **decision.details,
            "route": route.name,
            "decided": routing.route.name,
        }
        promise = self.settings.router.promise
        if promise is not None:
            details["promise"] = asdict(promise.promised)
        if self.settings.explore:
            share = self.settings.explore
            drawn, usual = self._usual(routing, route, code)
            details["propensity"] = share * drawn + (1 - share) * usual
        said = f"would take {route.name}, and calls what is configured: " if shadow else ""
        decision = replace(
            decision,
            code="shadow" if shadow else code,
            reason=f"{said}{decision.reason}{note}",
            details=details,
        )
        self.run.add(Record(decisions=(decision,)))

    def _usual(self, routing: Routing, route: Route, code: str) -> tuple[float, bool]:
        """P that a draw takes a route, and whether it is taken where nothing is drawn."""
        fitting = [one.route.name for one in routing.candidates if one.fits]
        names = fitting or [routing.route.name]
        drawn = (route.name in names) / len(names)
        if code != "explored":
            return drawn, True
        return drawn, route.name == (names[0] if self.settings.cascade else routing.route.name)

    def _tell_drift(self) -> None:
        for drift in self.dispatcher.drifted():
            self.note("flag", "drifted", f"{drift.reason}; calibrate the router anew")

    def note(self, action: Action, code: str, reason: str, **details: JsonValue) -> None:
        """Let the ledger say something of the routing."""
        self._add(action, "call", code, reason, details)

    def note_state(self) -> None:
        """Let the ledger say that shared state is gone, or back; each once."""
        if notice := self.dispatcher.notice():
            self._add("error", "state", "state", notice, {})

    def _add(
        self, action: Action, subject: str, code: str, reason: str, details: dict[str, JsonValue]
    ) -> None:
        decision = Decision(
            stage=_STAGE,
            action=action,
            subject=subject,
            code=code,
            reason=reason,
            details=details,
        )
        self.run.add(Record(decisions=(decision,)))
