"""Who is told when the run of a guarded object has come to something.

Nobody, unless somebody asks to be told, for all handles of the process. What is told is an Outcome,
whose ledger is not made yet: making it is for who reads it, in a thread of its own at best.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import TypeAlias

from ctxguard.run import Outcome

__all__ = ["Listener", "listen", "tell", "unlisten"]

Listener: TypeAlias = Callable[[Outcome], object]
"""Is called in the thread of the guarded call, which waits for it; what it raises is a warning."""

_lock = threading.Lock()
_listeners: tuple[Listener, ...] = ()


def listen(listener: Listener) -> None:
    """Tell a listener of every outcome from now on, each time that it is told."""
    global _listeners  # noqa: PLW0603 -- one for the process; replaced whole, so that reading takes no lock
    with _lock:
        if listener not in _listeners:
            _listeners = (*_listeners, listener)


def unlisten(listener: Listener) -> None:
    """Tell a listener nothing more."""
    global _listeners  # noqa: PLW0603 -- as above
    with _lock:
        _listeners = tuple(one for one in _listeners if one != listener)


def tell(outcome: Outcome) -> None:
    """Tell every listener of an outcome; once more when there is more to it."""
    for listener in _listeners:
        try:
            listener(outcome)
        except Exception as error:  # it is no reason for the call to fail
            _warn(listener, error)


def _warn(listener: Listener, error: Exception) -> None:
    said = f"{listener!r} failed when it was told of a run: {type(error).__name__}: {error}"
    try:
        warnings.warn(said, RuntimeWarning, stacklevel=4)
    except RuntimeWarning:  # warnings are errors here, and this one may not end a call
        return
