"""Routes that said "too many requests" rest for a while, for every process; a fallback never loops.

A walk over routes tries each at most once, so a call ends after as many attempts as there are
routes, whatever their providers answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ctxguard.routing.state.store import StateStore, key_of

__all__ = ["CoolDown", "CoolDowns"]

_ATTEMPTS = 8
"""Others that may change a rest before ours is given up: theirs is as new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoolDown:
    """How long a route rests, and after how many rate limits in a row."""

    route: str
    left: float
    """Seconds; 0: it may be used."""
    strikes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CoolDowns:
    """Which route rests until when, in a store."""

    store: StateStore
    first: float = 1.0
    """Seconds after the first rate limit, unless the provider says how long; then doubled."""
    longest: float = 300.0
    """Seconds; what a provider asks for beyond that is cut to it."""

    def of(self, route: str) -> CoolDown:
        """How long a route still rests."""
        return self._read(route, self.store.get(_key(route)))

    def rate_limited(self, route: str, *, retry_after: float | None = None) -> CoolDown:
        """Let a route rest, because its provider said that it had too many requests.

        Of calls that are refused at once only the first doubles the rest, and the others lengthen
        it at most to what the provider asks for.

        Args:
            route: its name.
            retry_after: seconds, as the provider's header has them; None, or no number of seconds:
                it did not say.
        """
        key, asked = _key(route), _seconds(retry_after)
        found = CoolDown(route=route, left=0.0, strikes=0)
        for _ in range(_ATTEMPTS):
            raw = self.store.get(key)
            before = self._read(route, raw)
            found = self._longer(before, asked)
            if found == before:
                break
            now = self.store.now()
            value = f"{now:.3f} {now + found.left:.3f} {found.strikes}"
            if self.store.swap(key, raw, value, ttl=found.left + 2 * self.longest):
                break
        return found

    def succeeded(self, route: str) -> None:
        """Forget the rate limits of a route that answered; a rest that is under way stays."""
        key = _key(route)
        raw = self.store.get(key)
        if raw is not None and not self._read(route, raw).left:
            self.store.swap(key, raw, None, ttl=self.longest)

    def walk(self, routes: Sequence[str]) -> Iterator[str]:
        """The routes to try, in order, each at most once; those that rest are left out.

        If all of them rest, the one that is free first is tried, once: the refusal of a provider
        says more than none. A route is looked up when it is its turn, so one that was refused
        meanwhile, by whichever process, is left out as well.
        """
        resting: list[CoolDown] = []
        for route in dict.fromkeys(routes):
            state = self.of(route)
            if state.left:
                resting.append(state)
            else:
                yield route
        if resting and len(resting) == len(set(routes)):
            yield min(resting, key=lambda state: state.left).route

    def _longer(self, found: CoolDown, asked: float | None) -> CoolDown:
        """The rest after one more rate limit."""
        if found.left:
            left = max(found.left, min(asked or 0.0, self.longest))
            return CoolDown(route=found.route, left=left, strikes=found.strikes)
        doubled = self.first * 2.0 ** min(found.strikes, 64)
        left = min(self.longest, doubled if asked is None else max(asked, self.first))
        return CoolDown(route=found.route, left=left, strikes=found.strikes + 1)

    def _read(self, route: str, raw: str | None) -> CoolDown:
        """What the store has; a rest from a time to come, or longer than any, has no effect."""
        try:
            at, until, strikes = (raw or "").split()
            began, ends, count = float(at), float(until), int(strikes)
        except ValueError:
            return CoolDown(route=route, left=0.0, strikes=0)
        left = ends - self.store.now()
        if left > self.longest + 1 or ends < began:  # a clock was set back
            return CoolDown(route=route, left=0.0, strikes=0)
        return CoolDown(route=route, left=max(0.0, left), strikes=count)


def _key(route: str) -> str:
    return key_of("cooldown", route)


def _seconds(retry_after: float | None) -> float | None:
    if retry_after is None or not math.isfinite(retry_after) or retry_after < 0:
        return None
    return retry_after
