"""What routing saved, read from the ledgers of runs and from what feedback says of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from ctxguard.ledger import Call, Ledger
from ctxguard.routing.explanation import Explanation, explanation_of
from ctxguard.routing.report import Quality, RouteUse, Savings, Shadow, Share
from ctxguard.routing.state.feedback import Counts

__all__ = ["savings_of"]


def savings_of(ledgers: Iterable[Ledger], *, judged: Mapping[str, Counts] | None = None) -> Savings:
    """What routing saved in runs, and what is known of their quality.

    Args:
        ledgers: of the runs; one that is nested in another is counted with that, and once.
        judged: what feedback says of each route's answers; they may be of other runs as well.
    """
    runs = [_Run(ledger) for ledger in _outermost(ledgers) if ledger.calls]
    acted = [run for run in runs if not run.is_shadow]
    priced = [run for run in acted if not run.unpriced]
    calls = [call for run in acted for call in run.calls]
    paid = [call for run in priced for call in run.calls]
    beside = [call for call in paid if _is_beside(call)]
    routes = _uses(acted, judged or {})
    shadowed = [run for run in runs if run.is_shadow]
    return Savings(
        runs=len(acted),
        calls=len(calls),
        measured=sum(call.measured for call in calls),
        estimated=sum(_is_guessed(call) for call in calls),
        unpriced_runs=len(acted) - len(priced),
        unpriced=tuple(dict.fromkeys(name for run in acted for name in run.unpriced)),
        cost=_cost(paid),
        heavy_cost=math.fsum(call.heavy_cost or 0.0 for call in paid),
        beside=_cost(beside),
        beside_calls=len(beside),
        heavy_calls=sum(call.route == run.heaviest for run in acted for call in run.calls),
        explored=sum(run.is_explored for run in acted),
        routes=routes,
        quality=_quality(acted, routes),
        shadow=_shadow(shadowed) if shadowed else None,
    )


class _Run:
    """A ledger, read for what its route cost."""

    def __init__(self, ledger: Ledger) -> None:
        self.calls = ledger.calls
        self.answered = ledger.route
        verification = ledger.verification
        self.grounded = None if verification is None else verification.grounded
        choices = [one for one in ledger.decisions if explanation_of(one) is not None]
        self.choice: Explanation | None = explanation_of(choices[-1]) if choices else None
        self.is_explored = any(one.code == "explored" for one in choices)
        self.is_shadow = any(call.reason == "shadow" for call in ledger.calls)

    @property
    def heaviest(self) -> str:
        """The heaviest route; of a run that had no choice the one that it has."""
        return self.choice.heaviest if self.choice else self.calls[-1].route

    @property
    def unpriced(self) -> list[str]:
        """Routes of calls of which it is not known what they cost, or would have cost heavy."""
        found = [one.route for one in self.calls if one.cost is None and _used(one)]
        known = any(one.heavy_cost is None for one in self.calls)
        return [*found, self.heaviest] if known else found

    def ok(self, route: str) -> tuple[float, float] | None:
        """P(ok) of a route, and of the heaviest; None: nothing was estimated."""
        if self.choice is None:
            return None
        taken, heavy = self.choice.ok(route), self.choice.ok(self.choice.heaviest)
        return None if taken is None or heavy is None else (taken, heavy)


def _outermost(ledgers: Iterable[Ledger]) -> list[Ledger]:
    """Each run once, by its last ledger, without those that ran inside another of them."""
    given = {ledger.run_id: ledger for ledger in ledgers}
    inner = {one.run_id for ledger in given.values() for one in ledger.walk() if one is not ledger}
    return [ledger for ledger in given.values() if ledger.run_id not in inner]


def _is_beside(call: Call) -> bool:
    return bool(call.error) or call.reason in ("repair", "escalated")


def _is_guessed(call: Call) -> bool:
    return not call.measured and _used(call)


def _used(call: Call) -> bool:
    return bool(call.input or call.output)


def _cost(calls: Iterable[Call]) -> float:
    return math.fsum(call.cost or 0.0 for call in calls)


def _uses(runs: Sequence[_Run], judged: Mapping[str, Counts]) -> tuple[RouteUse, ...]:
    names = dict.fromkeys(call.route for run in runs for call in run.calls)
    return tuple(_use(name, runs, judged.get(name)) for name in dict.fromkeys((*names, *judged)))


def _use(name: str, runs: Sequence[_Run], said: Counts | None) -> RouteUse:
    calls = [call for run in runs for call in run.calls if call.route == name]
    answered = [run for run in runs if run.answered == name]
    verdicts = [run.grounded for run in answered if run.grounded is not None]
    unpriced = any(call.cost is None and _used(call) for call in calls)
    return RouteUse(
        route=name,
        runs=len(answered),
        calls=len(calls),
        cost=None if unpriced else _cost(calls),
        grounded=Share(hits=sum(verdicts), count=len(verdicts)),
        ok=Share(hits=said.ok, count=said.ok + said.not_ok) if said else Share(hits=0, count=0),
    )


def _quality(runs: Sequence[_Run], routes: Sequence[RouteUse]) -> Quality:
    answered = [run for run in runs if run.answered]
    expected, estimates = _expected([run.ok(run.answered) for run in answered])
    choices = [run.choice for run in runs if run.choice is not None]
    return Quality(
        expected=expected,
        estimates=estimates,
        promised=tuple(dict.fromkeys(str(one.promise) for one in choices if one.promise)),
        uncovered=sum(
            run.choice is not None
            and run.choice.promise is not None
            and run.choice.is_lighter(run.answered)
            for run in answered
        ),
        routes=tuple(one for one in routes if one.ok.count or one.grounded.count),
    )


def _expected(pairs: Iterable[tuple[float, float] | None]) -> tuple[float | None, int]:
    """Of answers on the routes that were taken, how many are right for one that heavy gets right.

    A ratio of sums and no mean of ratios: that is what quality beside all heavy means. A lighter
    route that is expected to do better counts as equal: that is a line read beyond its data.
    """
    known = [pair for pair in pairs if pair is not None]
    heavy = math.fsum(pair[1] for pair in known)
    return (math.fsum(map(min, known)) / heavy if heavy else None), len(known)


def _shadow(runs: Sequence[_Run]) -> Shadow:
    routed = [_would_cost(run) for run in runs]
    known = [(run, cost) for run, cost in zip(runs, routed, strict=True) if cost is not None]
    choices = [(run, run.choice) for run in runs if run.choice is not None]
    return Shadow(
        runs=len(runs),
        heavy=sum(choice.route == choice.heaviest for _, choice in choices),
        cost=math.fsum(_cost(run.calls) for run, _ in known),
        routed=math.fsum(cost for _, cost in known),
        unpriced=len(runs) - len(known),
        expected=_expected([run.ok(choice.route) for run, choice in choices])[0],
    )


def _would_cost(run: _Run) -> float | None:
    """What all heavy costs, by how much cheaper the route is for the request as it was expected."""
    if run.choice is None or run.unpriced:
        return None
    taken, heavy = (run.choice.costs.get(one) for one in (run.choice.route, run.choice.heaviest))
    if taken is None or not heavy:
        return None
    return math.fsum(call.heavy_cost or 0.0 for call in run.calls) * taken / heavy
