"""Names for what only the run knows: values and classes that are the user's."""

from __future__ import annotations

from typing import Any, TypeAlias, cast

__all__ = ["Dynamic", "class_of", "extends", "state_of"]

Dynamic: TypeAlias = Any
"""A value of any type: an argument or a result of a method that is wrapped, a part of an object
that is walked. `object` would promise that nothing is done with it."""


def class_of(obj: object) -> type[Any]:
    """An object's own class; `__class__`, which a stand-in may fake, is not asked."""
    kind: type[Any] = type(obj)  # no cast: asked ten times for each object that guard() looks at
    return kind


def state_of(obj: object) -> dict[str, Any]:
    """The `__dict__` of an object that has one, to read and to write."""
    return cast("dict[str, Any]", object.__getattribute__(obj, "__dict__"))


def extends(kind: type[Any], base: type[Any] | tuple[type[Any], ...]) -> bool:
    """`issubclass`, for a class of which a type checker should believe no more than before."""
    return issubclass(kind, base)
