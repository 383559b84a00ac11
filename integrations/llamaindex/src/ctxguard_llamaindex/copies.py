"""Copies of one object, made without its class: what is inside stays shared."""

from __future__ import annotations

from typing import Any, TypeAlias

__all__ = ["Value", "shallow_copy", "slots_of"]

Value: TypeAlias = Any
"""Whatever a user's object is made of."""

_PYDANTIC = ("__pydantic_private__", "__pydantic_extra__")


def shallow_copy(obj: object) -> Value:
    """A copy that shares every attribute, made without the class's own way of copying.

    A `__copy__` or `__getstate__` may drop or duplicate what is inside. The dictionaries in which
    pydantic keeps private and extra attributes are copied too.

    Raises:
        TypeError: the class is implemented in C and has a constructor of its own.
    """
    copy = object.__new__(type(obj))
    for name in slots_of(type(obj)):
        if hasattr(obj, name):
            value: Any = getattr(obj, name)
            object.__setattr__(copy, name, dict(value) if name in _PYDANTIC and value else value)
    if hasattr(obj, "__dict__"):
        object.__setattr__(copy, "__dict__", dict(obj.__dict__))
    return copy


def slots_of(kind: type[Any]) -> list[str]:
    """The names of the attributes that instances of a class hold outside of their `__dict__`."""
    names: list[str] = []
    for base in kind.__mro__:
        slots: Any = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else tuple(slots):
            private = name.startswith("__") and not name.endswith("__")
            names.append(f"_{base.__name__.lstrip('_')}{name}" if private else name)
    return [name for name in names if name not in ("__dict__", "__weakref__")]
