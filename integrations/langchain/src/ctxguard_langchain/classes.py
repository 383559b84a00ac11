"""Dynamic subclasses that pass for their base, and the copies that wear them.

A guarded object is a shallow copy whose class is a subclass of its own class with the same name.
`isinstance`, field access and serialisation see what they saw before; only a few methods differ.
"""

from __future__ import annotations

import copy
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, cast
from weakref import WeakValueDictionary

from pydantic import BaseModel

from ctxguard.handle import Handle
from ctxguard.process import ProcessHandle
from ctxguard_langchain.carrying import (
    BASE,
    DERIVED,
    KEY,
    LEAF,
    REWRITTEN,
    ROOT,
    VIEW,
    give,
    handle_of,
    is_leaf,
    is_root,
    own_handle,
    plain_class,
)
from ctxguard_langchain.dynamic import Dynamic, class_of, state_of

__all__ = [
    "Derived",
    "Override",
    "adopt",
    "is_view",
    "overridden",
    "part",
    "plain",
    "raw_copy",
    "rewritten",
    "slots_of",
    "subclass",
    "view_of",
]

T = TypeVar("T")


class Derived:
    """Makes, once per class, the dynamic subclass that `namespace` describes."""

    def __init__(
        self,
        namespace: Callable[[type[Any]], Mapping[str, Any]],
        *,
        root: bool = False,
        leaf: bool = False,
        derived: bool = False,
        view: bool = False,
        metaclass: Callable[[type[Any]], type[type]] | None = None,
    ) -> None:
        """Start without classes.

        Args:
            namespace: the methods that differ, for one base class.
            root: whether instances are what guard() returns, rather than parts of it.
            leaf: whether instances retrieve or ask a model themselves.
            derived: whether instances are made by methods of what guard() returned.
            view: whether instances share the original's `__dict__` (see `view_of`).
            metaclass: of the subclass of one base; None: that of the base.
        """
        self._metaclass = metaclass
        self._view = view
        self._namespace = namespace
        self._marks = {ROOT: root, LEAF: leaf, DERIVED: derived}
        # Weak, because notebooks and tests redefine classes; a class that nobody uses can go.
        self._made: WeakValueDictionary[type[Any], type[Any]] = WeakValueDictionary()

    def __call__(self, base: type[Any]) -> type[Any]:
        """The subclass of `base`.

        Raises:
            TypeError: or whatever else the class raises when it is subclassed.
        """
        made = self._made.get(base)
        if made is None:
            metaclass = self._metaclass(base) if self._metaclass else None
            space = {**self._namespace(base), **self._marks}
            made = subclass(base, space, view=self._view, metaclass=metaclass)
            self._made[base] = made
        return made


def subclass(
    base: type[Any],
    namespace: Mapping[str, Any],
    *,
    view: bool = False,
    metaclass: type[type] | None = None,
) -> type[Any]:
    """A subclass of `base` with its name, module and documentation, and the guard's manners."""
    body = {**_manners(base), **({"__slots__": (KEY,)} if view else {})}
    options = {"metaclass": metaclass} if metaclass else {}
    made = types.new_class(base.__name__, (base,), options, lambda ns: ns.update(body))
    for name, value in namespace.items():
        # After creation, because pydantic reads a new class's namespace as fields of a model.
        setattr(made, name, value)
    if issubclass(base, BaseModel):
        # A parametrised generic ("RunnableParallel[dict]") is named by its origin.
        made.__pydantic_generic_metadata__ = base.__pydantic_generic_metadata__
    return made


def _manners(base: type[Any]) -> dict[str, Any]:
    space: dict[str, Any] = {
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
        "__reduce_ex__": _reduce_ex,
        BASE: plain_class(base),
        "ctxguard": property(_handle_property),
    }
    if base.__eq__ is not object.__eq__:
        space["__eq__"] = _equals
        space["__hash__"] = base.__hash__
    if not hasattr(base, "__deepcopy__"):
        space["__copy__"] = _copy
        space["__deepcopy__"] = _deepcopy
    if hasattr(base, "__del__"):
        # The original owns what its finaliser closes, and the handle keeps the original alive.
        space["__del__"] = _keep_open
    return space


# -- copying ------------------------------------------------------------------------------------


def raw_copy(obj: T, kind: type[Any]) -> T:
    """A shallow copy that has the class `kind`, made without running code of the object's class.

    Raises:
        TypeError: the class does not allow it (it is written in C, or abstract).
    """
    new: Any = _bare(kind)
    if hasattr(obj, "__dict__"):
        state_of(new).update(state_of(obj))
    for name in slots_of(class_of(obj)):
        try:
            value = object.__getattribute__(obj, name)
        except AttributeError:
            continue
        if isinstance(obj, BaseModel):  # its private attributes, extras and the set of fields set
            value = copy.copy(value)
        object.__setattr__(new, name, value)
    return new


def _bare(kind: type[Any]) -> Dynamic:
    try:
        return object.__new__(kind)
    except TypeError:  # a class written in C makes its own, as SimpleNamespace does
        return cast("Any", kind).__new__(kind)


def view_of(obj: T, kind: type[Any], handle: Handle | None = None) -> T:
    """A second object with the state of the first: what is written to one is found in the other.

    A vector store, or an application's own object, is written to while it is used; a copy would
    soon differ from it.
    """
    new: Any = object.__new__(kind)
    object.__setattr__(new, "__dict__", state_of(obj))
    for name in slots_of(class_of(obj)):
        if hasattr(obj, name):
            object.__setattr__(new, name, getattr(obj, name))
    if handle is not None:
        object.__setattr__(new, KEY, handle)
    return new


class Override:
    """An attribute of a view: the guarded value, while the original holds what it stands for."""

    def __init__(self, name: str, original: object, value: object) -> None:
        self._name = name
        self._original = original
        self._value = value

    def __get__(self, obj: object, owner: type | None = None) -> object:
        """The guarded value, or what the attribute was set to since."""
        current = (
            state_of(obj).get(self._name, self._original) if obj is not None else self._original
        )
        return self._value if current is self._original and obj is not None else current

    def __set__(self, obj: object, value: object) -> None:
        """Set it for the original, too."""
        state_of(obj)[self._name] = value


def rewritten(kind: type[Any], methods: Mapping[str, Any]) -> type[Any]:
    """A subclass for one object, some of whose methods were made anew."""
    return subclass(kind, {**methods, REWRITTEN: True})


def overridden(kind: type[Any]) -> type[Any]:
    """A subclass for one view, whose attributes can be overridden without touching its state."""

    def settled(self: Dynamic) -> Dynamic:
        new = raw_copy(self, kind)
        overrides = {
            n: getattr(self, n) for n, v in vars(class_of(self)).items() if isinstance(v, Override)
        }
        state_of(new).update(overrides)
        return new

    def deepcopy(self: Dynamic, memo: dict[int, Any]) -> Dynamic:
        new = settled(self)
        memo[id(self)] = new
        state_of(new).update(copy.deepcopy(state_of(new), memo))
        return new

    return subclass(kind, {"__copy__": settled, "__deepcopy__": deepcopy, VIEW: True})


def is_view(obj: object) -> bool:
    """Whether this shares the state of an original, and its attributes are overridden."""
    return bool(getattr(class_of(obj), VIEW, False))


def slots_of(kind: type[Any]) -> Iterator[str]:
    """Names of a class's slots, private ones mangled as they are stored."""
    for base in kind.__mro__:
        declared: Any = base.__dict__.get("__slots__", ())
        for name in (declared,) if isinstance(declared, str) else declared:
            if name in ("__dict__", "__weakref__"):
                continue
            private = name.startswith("__") and not name.endswith("__")
            yield f"_{base.__name__.lstrip('_')}{name}" if private else name


def adopt(obj: T, kind: type[Any], handle: Handle) -> T:
    """Turn an object that nobody else holds into a guarded one, in place."""
    object.__setattr__(obj, "__class__", kind)
    give(obj, handle)
    return obj


def plain(obj: T) -> T:
    """A shallow copy of a guarded object as its plain class; parts of it may still be guarded."""
    new = raw_copy(obj, plain_class(class_of(obj)))
    give(new, None)
    return new


def part(obj: T) -> T:
    """A shallow copy of a chain that guard() returned, as it would be inside of another."""
    new = raw_copy(obj, class_of(obj).__mro__[1])
    give(new, None)
    return new


# -- manners ------------------------------------------------------------------------------------


def _handle_property(self: object) -> Handle:
    found = handle_of(self)
    if found is None:
        raise AttributeError(
            f"{class_of(self).__name__}.ctxguard: made by its class, not by guard()"
        )
    return found


def _equals(self: Dynamic, other: object) -> bool:
    """Equal when the plain objects are: the guard is not part of the value."""
    base: Any = plain_class(class_of(self))
    if not isinstance(other, base):
        return NotImplemented
    return base.__eq__(plain(self), plain(other) if hasattr(class_of(other), BASE) else other)


def _copy(self: Dynamic) -> Dynamic:
    return raw_copy(self, class_of(self))


def _deepcopy(self: Dynamic, memo: dict[int, Any]) -> Dynamic:
    new = raw_copy(self, class_of(self))
    memo[id(self)] = new
    state_of(new).update(copy.deepcopy(state_of(new), memo))
    return new


def _keep_open(self: object) -> None:
    """Close nothing."""


def _reduce_ex(self: Dynamic, _protocol: Dynamic) -> tuple[Any, ...]:
    """Pickle as a plain object and the handle: no import finds a dynamic class by its name.

    A chain pickles as its original, which is guarded again when it is loaded: functions and methods
    that were rewritten have no name to be found by either.
    """
    from ctxguard_langchain.adapter import reguard, restore

    handle = own_handle(self)
    if handle is None:
        return restore, (plain(self), None, False)
    if not handle.live():
        return _itself, (plain(self),)
    if isinstance(handle, ProcessHandle):  # the original is the object itself
        return restore, (plain(self), handle, is_root(self))
    kind = class_of(self)
    anew = not is_leaf(self) or getattr(kind, REWRITTEN, False)
    if is_root(self) and anew and not getattr(kind, DERIVED, False):
        return reguard, (handle.original, handle)
    return restore, (plain(self), handle, is_root(self))


def _itself(obj: T) -> T:
    """What pickle calls for an object that is guarded no more."""
    return obj
