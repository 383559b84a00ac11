"""What a tenant may spend: reserved before a call, and settled with the real cost after it.

Reserving and counting are one step in the store. So however many calls come at once, what is spent
or reserved stays within the limit; it is exceeded only by what calls cost beyond what was reserved
for them, and after that no call is let through.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

from pydantic import ConfigDict

from ctxguard.errors import InputError
from ctxguard.routing.state.store import LARGEST, StateStore, Window, key_of

__all__ = ["Budgets", "Reservation", "SpendLimit", "Standing"]

Period = Literal["hour", "day"]
_SECONDS: Mapping[str, int] = {"hour": 3600, "day": 86400}
_NANO = 1_000_000_000
"""Spend is counted in billionths of a dollar; a token costs some hundreds of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendLimit:
    """No more than so much in each hour, or each day, of UTC."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    usd: float
    per: Period

    def __post_init__(self) -> None:
        """Check both fields.

        Raises:
            InputError: naming the field.
        """
        _nano(self.usd, "SpendLimit.usd")
        if self.per not in get_args(Period):
            raise InputError(f"SpendLimit.per: expected 'hour' or 'day', got {self.per!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a tenant stands in the running hour or day."""

    per: Period
    usd: float
    """Spent or reserved."""
    limit: float
    ends: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What was set aside for one call, or why nothing was."""

    tenant: str
    at_most: float
    """Dollars that were asked for."""
    admitted: bool
    reason: str
    """How the tenant stands; of a refusal, the limit that stands against it."""
    retry_after: float = 0.0
    """Seconds until the limit that stands against it begins anew; 0 when admitted."""
    hold: str = ""
    windows: tuple[Window, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """The limits of every tenant, counted in a store.

    Each call is `reserve`, then, if it was admitted, `commit` with its cost or `release`. What is
    neither committed nor released, because a process was killed, stays counted until its hour or
    day is over: the call may have been made.
    """

    store: StateStore
    limits: Sequence[SpendLimit] = ()
    """Of each tenant that has none of its own; several hold together."""
    tenants: Mapping[str, Sequence[SpendLimit]] = field(
        default_factory=dict[str, Sequence[SpendLimit]]
    )
    """The limits of single tenants, instead of `limits`."""

    def __post_init__(self) -> None:
        """Check that no tenant has two limits of one period.

        Raises:
            InputError: naming the tenant.
        """
        for tenant, limits in (("everybody", self.limits), *self.tenants.items()):
            periods = [limit.per for limit in limits]
            if len(set(periods)) < len(periods):
                raise InputError(f"Budgets: two limits of one period for {tenant}: {periods}")

    def reserve(self, tenant: str, at_most: float) -> Reservation:
        """Set dollars aside for a call, or refuse to.

        Args:
            tenant: who pays.
            at_most: the most that the call can cost: the prompt as counted, and an answer that is
                as long as its limit lets it be.

        Raises:
            InputError: `at_most` is no amount of money.
        """
        amount = _nano(at_most, "Budgets.reserve: at_most", math.ceil)
        limits = self.tenants.get(tenant, self.limits)
        if not limits:
            return Reservation(
                tenant=tenant, at_most=at_most, admitted=True, reason="no limit is set"
            )
        now = self.store.now()
        windows = tuple(_window(tenant, limit, now) for limit in limits)
        hold = key_of("hold", tenant, uuid.uuid4().hex)
        found = self.store.reserve(hold, windows, amount)
        if found.admitted:
            rooms = [w.limit - used for used, w in zip(found.used, windows, strict=True)]
            at = rooms.index(min(rooms))
            reason = f"{_spent(found.used[at], limits[at])} this {limits[at].per} with this call"
            return Reservation(
                tenant=tenant,
                at_most=at_most,
                admitted=True,
                reason=reason,
                hold=hold,
                windows=windows,
            )
        return _refused(tenant, at_most, now, limits, found.used)

    def commit(self, reservation: Reservation, cost: float) -> bool:
        """Count what the call cost, in the hour and day that it was reserved in.

        Returns:
            Whether it was counted now; False for a second time.

        Raises:
            InputError: `cost` is no amount of money.
        """
        amount = _nano(cost, "Budgets.commit: cost", math.ceil)
        if not reservation.windows:
            return False
        return self.store.settle(reservation.hold, reservation.windows, amount) is not None

    def release(self, reservation: Reservation) -> bool:
        """Give back what was set aside for a call that cost nothing."""
        return self.commit(reservation, 0.0)

    def standing(self, tenant: str) -> tuple[Standing, ...]:
        """How a tenant stands in each of its limits."""
        limits = self.tenants.get(tenant, self.limits)
        now = self.store.now()
        used = self.store.totals([_window(tenant, limit, now).key for limit in limits])
        return tuple(
            Standing(per=limit.per, usd=n / _NANO, limit=limit.usd, ends=_ends(limit, now))
            for limit, n in zip(limits, used, strict=True)
        )


def _window(tenant: str, limit: SpendLimit, now: float) -> Window:
    length = _SECONDS[limit.per]
    return Window(
        key=key_of("spend", tenant, limit.per, str(int(now // length))),
        limit=_nano(limit.usd, "SpendLimit.usd"),
        ttl=2.0 * length,  # a process whose clock is an hour behind still counts in it
    )


def _ends(limit: SpendLimit, now: float) -> float:
    length = _SECONDS[limit.per]
    return (now // length + 1) * length


def _refused(
    tenant: str, at_most: float, now: float, limits: Sequence[SpendLimit], used: Sequence[int]
) -> Reservation:
    """A refusal; of several limits that stand against it, the one that does so longest."""
    amount = _nano(at_most, "Budgets.reserve: at_most", math.ceil)
    against = [
        (_ends(limit, now), n, limit)
        for n, limit in zip(used, limits, strict=True)
        if n + amount > _nano(limit.usd, "SpendLimit.usd")
    ]
    ends, spent, limit = max(against, key=lambda one: one[0])
    reason = (
        f"{_spent(spent, limit)} this {limit.per}; a call of up to {_dollars(at_most)} exceeds it"
    )
    return Reservation(
        tenant=tenant,
        at_most=at_most,
        admitted=False,
        reason=reason,
        retry_after=ends - now,
    )


def _spent(used: int, limit: SpendLimit) -> str:
    return f"{_dollars(used / _NANO)} of {_dollars(limit.usd)} spent or reserved"


def _dollars(usd: float) -> str:
    """Four decimals, and more where the amount would not show in them."""
    return f"${usd:.4f}" if usd == round(usd, 4) else f"${usd:.6f}"


def _nano(usd: float, name: str, whole: Callable[[float], int] = math.floor) -> int:
    """Billionths of a dollar: costs round up and limits down, but for the noise of floats."""
    if not 0 <= usd <= LARGEST / _NANO / 2:
        raise InputError(f"{name}: expected dollars, from 0 to 4.5 million, got {usd!r}")
    return whole(round(usd * _NANO, 3))
