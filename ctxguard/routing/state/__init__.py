"""What the processes of an application share while they route: spend, stickiness, feedback, rests.

Everything works on a `StateStore`: a SQLite file by default, a Redis server for several machines.
"""

from __future__ import annotations

from ctxguard.routing.state.budget import Budgets, Reservation, SpendLimit, Standing
from ctxguard.routing.state.cooldown import CoolDown, CoolDowns
from ctxguard.routing.state.feedback import Counts, Drift, Feedback
from ctxguard.routing.state.memory import MemoryStore
from ctxguard.routing.state.redis import RedisStore
from ctxguard.routing.state.shared import SharedState, open_state
from ctxguard.routing.state.sqlite import SqliteStore
from ctxguard.routing.state.sticky import Held, Stickiness
from ctxguard.routing.state.store import Admission, StateStore, SteadyClock, Window

__all__ = [
    "Admission",
    "Budgets",
    "CoolDown",
    "CoolDowns",
    "Counts",
    "Drift",
    "Feedback",
    "Held",
    "MemoryStore",
    "RedisStore",
    "Reservation",
    "SharedState",
    "SpendLimit",
    "SqliteStore",
    "Standing",
    "StateStore",
    "SteadyClock",
    "Stickiness",
    "Window",
    "open_state",
]
