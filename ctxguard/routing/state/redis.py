"""State in a Redis server, for processes on several machines (extra `redis`).

Each change is one Lua script, which the server runs as a whole. All times are the server's: clocks
of the machines that share it need not agree.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from ctxguard.errors import InputError, MissingDependencyError, StateStoreError
from ctxguard.routing.state.store import Admission, SteadyClock, Window

__all__ = ["RedisStore"]

T = TypeVar("T")
Client = Any
"""A client of the optional package."""
Script = Callable[..., Any]
_PREFIX = "{ctxguard}:"
"""Begins every key; in a cluster the braces keep all of them on one server, as scripts need it."""
_CLOCK_LASTS = 60.0
"""Seconds after which the server is asked for the time again."""

_SWAP = """
local value = redis.call('GET', KEYS[1])
local wanted = ARGV[1] == '1' and ARGV[2] or false
if value ~= wanted then return 0 end
if ARGV[3] == '1' then redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5])
else redis.call('DEL', KEYS[1]) end
return 1
"""
_ADD = """
local total = redis.call('INCRBY', KEYS[1], ARGV[1])
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return total
"""
# KEYS: the hold, then the windows. ARGV: the amount, how long the hold lasts, then the limit and
# the time to live of each window.
_RESERVE = """
local used, fits = {}, 1
for i = 2, #KEYS do
  used[i - 1] = tonumber(redis.call('GET', KEYS[i]) or '0')
  if used[i - 1] + tonumber(ARGV[1]) > tonumber(ARGV[2 * i - 1]) then fits = 0 end
end
if redis.call('EXISTS', KEYS[1]) == 1 then return {1, unpack(used)} end
if fits == 0 then return {0, unpack(used)} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
for i = 2, #KEYS do
  used[i - 1] = redis.call('INCRBY', KEYS[i], ARGV[1])
  if redis.call('PTTL', KEYS[i]) < 0 then redis.call('PEXPIRE', KEYS[i], ARGV[2 * i]) end
end
return {1, unpack(used)}
"""
_SETTLE = """
local held = redis.call('GET', KEYS[1])
if not held then return false end
redis.call('DEL', KEYS[1])
local change = string.format('%.0f', tonumber(ARGV[1]) - tonumber(held))
for i = 2, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then redis.call('INCRBY', KEYS[i], change) end
end
return held
"""


class RedisStore:
    """Keeps state in a Redis server, version 5 or later; connects when it is first used."""

    def __init__(self, url_or_client: str | Client, *, timeout: float = 0.5) -> None:
        """Name the server.

        Args:
            url_or_client: `redis://host:6379/0`, `rediss://…`, `unix://…`, or a `redis.Redis` of
                your own with its own time-outs.
            timeout: seconds to wait for a connection, and for each answer.

        Raises:
            MissingDependencyError: a URL was given and the package `redis` is not installed.
            InputError: it is no URL of a Redis server.
        """
        self._url = url_or_client if isinstance(url_or_client, str) else None
        self._timeout = timeout
        self._redis = _package()
        client: Client = cast("Client", url_or_client)
        self._client: Client = client if self._url is None else self._connect(self._url)
        self._swap: Script = self._client.register_script(_SWAP)
        self._add: Script = self._client.register_script(_ADD)
        self._reserve: Script = self._client.register_script(_RESERVE)
        self._settle: Script = self._client.register_script(_SETTLE)
        self._clock: SteadyClock | None = None
        self._clock_until = 0.0
        self._ticks = SteadyClock(wall=lambda: 0.0)

    def __reduce__(self) -> tuple[type[RedisStore], tuple[str | Client]]:
        """Pickles as its URL; a client of one's own pickles if it can."""
        return RedisStore, (self._url or self._client,)

    @property
    def name(self) -> str:
        """The kind of the store, and its server; never the password."""
        settings: dict[str, Any] = self._client.connection_pool.connection_kwargs
        where = settings.get("path") or f"{settings.get('host')}:{settings.get('port', 6379)}"
        return f"redis {where}/{settings.get('db') or 0}"

    def now(self) -> float:
        """Seconds since the epoch by the server's clock, which is asked once a minute."""
        clock = self._clock
        if clock is None or self._ticks() >= self._clock_until:
            try:
                seconds, micros = self._run(self._client.time)
            except StateStoreError:
                if clock is None:
                    raise
            else:
                server = seconds + micros / 1e6
                clock = self._clock = SteadyClock(wall=lambda: server)
            self._clock_until = self._ticks() + _CLOCK_LASTS
        return clock()

    def get(self, key: str) -> str | None:
        """The value of a key, None when there is none or its time is over."""
        found = self._run(lambda: self._client.get(_PREFIX + key))
        return None if found is None else _text(found)

    def swap(self, key: str, old: str | None, new: str | None, *, ttl: float) -> bool:
        """Make the value `new` if it is `old`, and say whether it was."""
        args = [int(old is not None), old or "", int(new is not None), new or "", _millis(ttl)]
        return bool(self._run(lambda: self._swap(keys=[_PREFIX + key], args=args)))

    def add(self, key: str, amount: int, *, ttl: float) -> int:
        """Add to a counter, and return what it is now."""
        args = [amount, _millis(ttl)]
        return int(self._run(lambda: self._add(keys=[_PREFIX + key], args=args)))

    def totals(self, keys: Sequence[str]) -> tuple[int, ...]:
        """The counters of these keys, all at one moment; 0 for one that there is not."""
        if not keys:
            return ()
        found: list[Any] = self._run(lambda: self._client.mget([_PREFIX + key for key in keys]))
        return tuple(int(one or 0) for one in found)

    def reserve(self, hold: str, windows: Sequence[Window], amount: int) -> Admission:
        """Reserve an amount in all windows, or in none if any of them would exceed its limit."""
        args = [amount, _millis(max(window.ttl for window in windows))]
        for window in windows:
            args += [window.limit, _millis(window.ttl)]
        keys = _keys(hold, windows)
        admitted, *used = self._run(lambda: self._reserve(keys=keys, args=args))
        return Admission(admitted=bool(admitted), used=tuple(int(one) for one in used))

    def settle(self, hold: str, windows: Sequence[Window], cost: int) -> int | None:
        """Replace a reservation by its real cost; returns what was reserved, None: no such hold."""
        held = self._run(lambda: self._settle(keys=_keys(hold, windows), args=[cost]))
        return None if held is None else int(held)

    def close(self) -> None:
        """Close the connections; the next use connects again."""
        self._client.close()

    def _connect(self, url: str) -> Client:
        redis = self._redis
        # An answer that was lost is not asked for again: the call goes on without the store.
        retry = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
        try:
            return redis.Redis.from_url(
                url, socket_timeout=self._timeout, socket_connect_timeout=self._timeout, retry=retry
            )
        except ValueError as error:
            raise InputError(f"RedisStore.url: {error}") from error

    def _run(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except (self._redis.exceptions.RedisError, OSError, ValueError) as error:
            raise StateStoreError(f"{self.name}: {error}") from error


def _package() -> Any:  # noqa: ANN401 -- a module of an optional package
    try:
        package = importlib.import_module("redis")
        importlib.import_module("redis.backoff")
        importlib.import_module("redis.retry")
    except ImportError as error:
        raise MissingDependencyError(
            'RedisStore needs redis:\n  pip install "ctxguard-core[redis]"'
        ) from error
    return package


def _keys(hold: str, windows: Sequence[Window]) -> list[str]:
    return [_PREFIX + hold, *(_PREFIX + window.key for window in windows)]


def _millis(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _text(found: str | bytes) -> str:
    return found if isinstance(found, str) else found.decode()
