"""What an object carries when it is guarded: marks on its class, and its Handle.

Nothing here makes a class or a copy; `classes` does.
"""

from __future__ import annotations

from typing import Any, cast

from pydantic import BaseModel

from ctxguard.block import ambient
from ctxguard.handle import Handle
from ctxguard.run import current_run
from ctxguard_langchain.dynamic import Dynamic, class_of, state_of

__all__ = [
    "BASE",
    "DERIVED",
    "KEY",
    "LEAF",
    "REWRITTEN",
    "ROOT",
    "VIEW",
    "due",
    "give",
    "handle_of",
    "is_derived",
    "is_dynamic",
    "is_guarded",
    "is_leaf",
    "is_root",
    "keep",
    "kept",
    "own_handle",
    "plain_class",
]

KEY = "__ctxguard__"
"""What a guarded instance keeps its Handle under (see `give`); a view has a slot of this name."""
BASE = "__ctxguard_base__"
ROOT = "__ctxguard_root__"
LEAF = "__ctxguard_leaf__"
VIEW = "__ctxguard_view__"
DERIVED = "__ctxguard_derived__"
REWRITTEN = "__ctxguard_rewritten__"


def plain_class(kind: type[Any]) -> type[Any]:
    """The class that a dynamic subclass stands for; any other class itself."""
    base = getattr(kind, BASE, kind)
    return base if isinstance(base, type) else kind


def is_dynamic(kind: type[Any]) -> bool:
    """Whether this class was made by `subclass`."""
    return BASE in vars(kind)


def is_guarded(obj: object) -> bool:
    """Whether this very object carries a Handle, and one that still guards it."""
    own = own_handle(obj) if hasattr(class_of(obj), BASE) else None
    return own is not None and own.live()


def is_root(obj: object) -> bool:
    """Whether this is what a guard() returned, or was derived from it."""
    return is_guarded(obj) and bool(getattr(class_of(obj), ROOT, False))


def is_derived(obj: object) -> bool:
    """Whether a method of what guard() returned made this; it may hold what no guard() saw."""
    return is_guarded(obj) and bool(getattr(class_of(obj), DERIVED, False))


def is_leaf(obj: object) -> bool:
    """Whether this object retrieves or asks a model itself, and is hooked."""
    return is_guarded(obj) and bool(getattr(class_of(obj), LEAF, False))


def handle_of(obj: object) -> Handle | None:
    """The Handle of a guarded object.

    An instance that a guarded class made of itself during a call (a configurable field does that)
    has none of its own and belongs to the guard whose call this is. One whose guard in place was
    taken off belongs to none.
    """
    own = own_handle(obj)
    if own is not None:
        return own if own.live() else None
    run = current_run()
    return run.owner if run is not None and isinstance(run.owner, Handle) else None


def due(obj: object) -> Handle | None:
    """The handle whose policy an object follows: its guard's, else that of the block around it."""
    own = handle_of(obj) if hasattr(class_of(obj), BASE) else None
    return own or ambient()


def own_handle(obj: Dynamic) -> Handle | None:
    """The Handle that an object itself carries."""
    if KEY in getattr(class_of(obj), "__slots__", ()):  # a view shares the state of another object
        return cast("Handle | None", getattr(obj, KEY, None))
    found = kept(obj, KEY)
    return found if isinstance(found, Handle) else None


def kept(obj: Dynamic, key: str) -> Dynamic:
    """What an object keeps under a key, None without."""
    if issubclass(class_of(obj), BaseModel):
        return _private(obj).get(key)
    return state_of(obj).get(key) if hasattr(obj, "__dict__") else None


def give(obj: Dynamic, handle: Handle | None) -> None:
    """Let an object keep a handle; None takes it away."""
    keep(obj, KEY, handle)


def keep(obj: Dynamic, key: str, value: object) -> None:
    """Let an object keep something under a key; None takes it away.

    A pydantic model keeps it among its private attributes: what else is in its `__dict__` is taken
    for a field that should not be there when it is serialised inside of another model.
    """
    if not issubclass(class_of(obj), BaseModel):
        state_of(obj).pop(key, None)
        if value is not None:
            state_of(obj)[key] = value
        return
    private = {name: found for name, found in _private(obj).items() if name != key}
    if value is not None:
        private[key] = value
    declared = bool(class_of(obj).__private_attributes__)
    object.__setattr__(obj, "__pydantic_private__", private if private or declared else None)


def _private(model: Dynamic) -> dict[str, Any]:
    return cast("dict[str, Any]", getattr(model, "__pydantic_private__", None) or {})
