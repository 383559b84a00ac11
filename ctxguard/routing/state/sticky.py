"""The route that a conversation keeps: switching would forfeit what the provider has cached of it.

Whether a switch is worth that is for the router to say; here is who had which route, and since
when, for every process that the conversation's calls reach.
"""

from __future__ import annotations

from dataclasses import dataclass

from ctxguard.routing.state.store import StateStore, key_of

__all__ = ["Held", "Stickiness"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The route that a conversation has."""

    route: str
    age: float
    """Seconds since its last call: a prompt cache lasts for minutes."""
    raw: str
    """As the store has it, to tell whether somebody else changed it meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stickiness:
    """Which conversation has which route, in a store."""

    store: StateStore
    ttl: float = 3600.0
    """Seconds after its last call for which a conversation keeps its route."""

    def held(self, conversation: str) -> Held | None:
        """The route that a conversation has, None when it has none, or none any more."""
        return _held(self.store.get(_key(conversation)), self.store.now(), self.ttl)

    def keep(self, conversation: str, route: str, *, over: Held | None = None) -> str:
        """Give a conversation a route, unless another call gave it one since `over` was read.

        Args:
            conversation: whose route it is.
            route: what was decided.
            over: what it was decided over: the conversation's route as `held` returned it.

        Returns:
            The route that the conversation has now: of calls at the same time, the first one's.
        """
        key, now = _key(conversation), self.store.now()
        raw = None if over is None else over.raw
        if self.store.swap(key, raw, f"{now:.3f} {route}", ttl=self.ttl):
            return route
        found = self.store.get(key)
        theirs = _held(found, now, self.ttl)
        if theirs is not None:
            return theirs.route
        # It ran out meanwhile, or is of a time to come: a clock was set back.
        self.store.swap(key, found, f"{now:.3f} {route}", ttl=self.ttl)
        return route

    def forget(self, conversation: str) -> None:
        """Let the next call of a conversation choose anew."""
        key = _key(conversation)
        self.store.swap(key, self.store.get(key), None, ttl=self.ttl)


def _key(conversation: str) -> str:
    return key_of("sticky", conversation)


def _held(raw: str | None, now: float, ttl: float) -> Held | None:
    """What the store has, unless it says that it was set in `ttl` seconds or later."""
    at, _, route = (raw or "").partition(" ")
    try:
        age = now - float(at)
    except ValueError:
        return None
    if raw is None or not -ttl < age < ttl:
        return None
    return Held(route=route, age=max(0.0, age), raw=raw)
