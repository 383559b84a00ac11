"""What a failed call of a model says of its route: whether another one may answer, and when.

Providers' errors have no common class. They are told by what all SDKs put on them (a status code,
a response with headers) and by the names of their classes; anything else is not the route's fault.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

__all__ = ["Failure", "FailureKind", "failure_of"]

FailureKind: TypeAlias = Literal["rate-limited", "unreachable", "too-long", "other"]
"""Too many requests; the route does not answer, to anybody or to this key; the prompt is longer
than its window; something that would fail on any route."""

_RATE_LIMITED = (429,)
_UNREACHABLE = (401, 402, 403, 404, 408, 409, 500, 502, 503, 504, 529)
_NAMES: tuple[tuple[str, FailureKind], ...] = (
    ("RateLimit", "rate-limited"),
    ("ResourceExhausted", "rate-limited"),
    ("TooManyRequests", "rate-limited"),
    ("ContextOverflow", "too-long"),
    ("ContextWindowExceeded", "too-long"),
    ("ServiceUnavailable", "unreachable"),
    ("InternalServer", "unreachable"),
    ("Overloaded", "unreachable"),
    ("Connection", "unreachable"),
    ("ConnectError", "unreachable"),
    ("Timeout", "unreachable"),
    ("TransportError", "unreachable"),
)
"""Parts of the names of classes, where an error has no status."""
_TOO_LONG = ("context_length_exceeded", "context_window_exceeded")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a call failed."""

    kind: FailureKind
    retry_after: float | None = None
    """Seconds, as the provider says; None: it does not."""
    charged: bool = False
    """Whether the provider may have worked for it, and so charge for it: a call that was refused
    costs nothing, one that broke off may cost all of it."""

    @property
    def elsewhere(self) -> bool:
        """Whether another route may answer."""
        return self.kind != "other"


def failure_of(error: BaseException, around: BaseException | None = None) -> Failure:
    """What an error of a call says of its route, by the error itself or what caused it.

    Args:
        error: that ended the call.
        around: what was being handled when the call began, and did not cause what failed in it.
    """
    for one in _causes(error, around):
        status = _status(one)
        if _says_too_long(one):
            return Failure(kind="too-long")
        if status in _RATE_LIMITED:
            return Failure(kind="rate-limited", retry_after=_retry_after(one))
        if status is not None:
            kind: FailureKind = "unreachable" if status in _UNREACHABLE else "other"
            return Failure(kind=kind, charged=status >= 500)
        found = _by_name(one)
        if found == "unreachable":
            return Failure(kind=found, charged=not _never_arrived(one))
        if found is not None:
            return Failure(kind=found, retry_after=_retry_after(one))
    return Failure(kind="other", charged=True)


def _causes(error: BaseException, around: BaseException | None) -> Iterator[BaseException]:
    """An error and what it was raised from, each once, up to what was there before."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and current is not around and id(current) not in seen:
        seen.add(id(current))
        yield current
        implied = None if current.__suppress_context__ else current.__context__
        current = current.__cause__ or implied


def _status(error: Any) -> int | None:  # noqa: ANN401 -- of any SDK
    response = getattr(error, "response", None)
    found = (getattr(error, "status_code", None), getattr(response, "status_code", None))
    return next((code for code in found if isinstance(code, int)), None)


def _says_too_long(error: Any) -> bool:  # noqa: ANN401 -- of any SDK
    return getattr(error, "code", None) in _TOO_LONG


def _retry_after(error: Any) -> float | None:  # noqa: ANN401 -- of any SDK
    """Seconds of the header; a date in it is left out, a provider's clock is not ours."""
    headers = getattr(getattr(error, "response", None), "headers", None)
    with contextlib.suppress(Exception):
        milliseconds = headers.get("retry-after-ms") if headers else None
        if milliseconds is not None:
            return float(milliseconds) / 1000
        return float(headers.get("retry-after")) if headers else None
    return None


def _by_name(error: BaseException) -> FailureKind | None:
    for base in type(error).__mro__:
        for part, kind in _NAMES:
            if part in base.__name__:
                return kind
    return None


def _never_arrived(error: BaseException) -> bool:
    """Whether no provider can have seen the request."""
    names = {base.__name__ for base in type(error).__mro__}
    return bool(names & {"ConnectionRefusedError", "ConnectError", "ConnectTimeout"})
