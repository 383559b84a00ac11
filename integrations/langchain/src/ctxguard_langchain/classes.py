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

from ctxguard.block import ambient
from ctxguard.handle import Handle
from ctxguard.process import ProcessHandle
from ctxguard.run import current_run
from ctxguard_langchain.dynamic import Dynamic, class_of, state_of

__all__ = [
    "KEY",
    "Derived",
    "Override",
    "adopt",
    "due",
    "give",
    "handle_of",
    "is_derived",
    "is_dynamic",
    "is_guarded",
    "is_leaf",
    "is_root",
    "is_view",
    "overridden",
    "own_handle",
    "part",
    "plain",
    "plain_class",
    "raw_copy",
    "rewritten",
    "slots_of",
    "subclass",
    "view_of",
]

T = TypeVar("T")
KEY = "__ctxguard__"
"""What a guarded instance keeps its Handle under (see `give`); a view has a slot of this name."""
_BASE = "__ctxguard_base__"
_ROOT = "__ctxguard_root__"
_LEAF = "__ctxguard_leaf__"
_VIEW = "__ctxguard_view__"
_DERIVED = "__ctxguard_derived__"
_REWRITTEN = "__ctxguard_rewritten__"


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
        self._marks = {_ROOT: root, _LEAF: leaf, _DERIVED: derived}
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
        _BASE: plain_class(base),
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


# -- telling and finding ------------------------------------------------------------------------


def plain_class(kind: type[Any]) -> type[Any]:
    """The class that a dynamic subclass stands for; any other class itself."""
    base = getattr(kind, _BASE, kind)
    return base if isinstance(base, type) else kind


def is_dynamic(kind: type[Any]) -> bool:
    """Whether this class was made by `subclass`."""
    return _BASE in vars(kind)


def is_guarded(obj: object) -> bool:
    """Whether this very object carries a Handle, and one that still guards it."""
    own = own_handle(obj) if hasattr(class_of(obj), _BASE) else None
    return own is not None and own.live()


def is_root(obj: object) -> bool:
    """Whether this is what a guard() returned, or was derived from it."""
    return is_guarded(obj) and bool(getattr(class_of(obj), _ROOT, False))


def is_derived(obj: object) -> bool:
    """Whether a method of what guard() returned made this; it may hold what no guard() saw."""
    return is_guarded(obj) and bool(getattr(class_of(obj), _DERIVED, False))


def is_leaf(obj: object) -> bool:
    """Whether this object retrieves or asks a model itself, and is hooked."""
    return is_guarded(obj) and bool(getattr(class_of(obj), _LEAF, False))


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
    own = handle_of(obj) if hasattr(class_of(obj), _BASE) else None
    return own or ambient()


def own_handle(obj: Dynamic) -> Handle | None:
    """The Handle that an object itself carries."""
    found: object = None
    if KEY in getattr(class_of(obj), "__slots__", ()):  # a view shares the state of another object
        return cast("Handle | None", getattr(obj, KEY, None))
    if issubclass(class_of(obj), BaseModel):
        found = _private(obj).get(KEY)
    elif hasattr(obj, "__dict__"):
        found = state_of(obj).get(KEY)
    return found if isinstance(found, Handle) else None


def give(obj: Dynamic, handle: Handle | None) -> None:
    """Let an object keep a handle; None takes it away.

    A pydantic model keeps it among its private attributes: what else is in its `__dict__` is taken
    for a field that should not be there when it is serialised inside of another model.
    """
    if not issubclass(class_of(obj), BaseModel):
        state_of(obj).pop(KEY, None)
        if handle is not None:
            state_of(obj)[KEY] = handle
        return
    private = {name: value for name, value in _private(obj).items() if name != KEY}
    if handle is not None:
        private[KEY] = handle
    declared = bool(class_of(obj).__private_attributes__)
    object.__setattr__(obj, "__pydantic_private__", private if private or declared else None)


def _private(model: Dynamic) -> dict[str, Any]:
    return cast("dict[str, Any]", getattr(model, "__pydantic_private__", None) or {})


def _handle_property(self: object) -> Handle:
    found = handle_of(self)
    if found is None:
        raise AttributeError(
            f"{class_of(self).__name__}.ctxguard: made by its class, not by guard()"
        )
    return found


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
    return subclass(kind, {**methods, _REWRITTEN: True})


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

    return subclass(kind, {"__copy__": settled, "__deepcopy__": deepcopy, _VIEW: True})


def is_view(obj: object) -> bool:
    """Whether this shares the state of an original, and its attributes are overridden."""
    return bool(getattr(class_of(obj), _VIEW, False))


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


def _equals(self: Dynamic, other: object) -> bool:
    """Equal when the plain objects are: the guard is not part of the value."""
    base: Any = plain_class(class_of(self))
    if not isinstance(other, base):
        return NotImplemented
    return base.__eq__(plain(self), plain(other) if hasattr(class_of(other), _BASE) else other)


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
    anew = not is_leaf(self) or getattr(kind, _REWRITTEN, False)
    if is_root(self) and anew and not getattr(kind, _DERIVED, False):
        return reguard, (handle.original, handle)
    return restore, (plain(self), handle, is_root(self))


def _itself(obj: T) -> T:
    """What pickle calls for an object that is guarded no more."""
    return obj
