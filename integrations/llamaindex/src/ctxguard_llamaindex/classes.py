"""Guarded classes: a subclass of an object's class, alike but for the methods that guard.

The class of a copy is set to it, so `isinstance`, names, fields and prompts stay what they were.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any, Literal, SupportsIndex, cast

from llama_index.core.workflow import Workflow

from ctxguard.handle import Handle
from ctxguard.process import Carrying, ProcessHandle
from ctxguard_llamaindex.copies import Value, shallow_copy
from ctxguard_llamaindex.hooks import replacements
from ctxguard_llamaindex.scope import handle_of, own_handle, set_handle
from ctxguard_llamaindex.targets import set_targets

__all__ = [
    "attach",
    "guarded_type",
    "is_guarded",
    "is_guarded_class",
    "plain_class",
    "plain_type",
    "take",
]

_PLAIN = "__ctxguard_plain__"
_STEPS = "_step_functions"


def is_guarded(obj: object) -> bool:
    """Whether an object is guarded; not any more, after a guard in place was taken off."""
    own = own_handle(obj) if _PLAIN in vars(type(obj)) else None
    return own is not None and own.live()


def plain_type(obj: object) -> type[Any]:
    """The class that an object had before it was guarded."""
    return plain_class(type(obj))


def plain_class(kind: type[Any]) -> type[Any]:
    """The class that a guarded class stands for; any other class itself."""
    return cast("type[Any]", vars(kind).get(_PLAIN, kind))


def is_guarded_class(kind: type[Any]) -> bool:
    """Whether a class was made here."""
    return _PLAIN in vars(kind)


def attach(obj: object, handle: Handle) -> None:
    """Make an object, a copy that nobody else holds, a guarded one.

    Raises:
        TypeError: its instances cannot change their class.
        Exception: whatever its class raises when it is subclassed.
    """
    object.__setattr__(obj, "__class__", guarded_type(plain_type(obj)))
    set_handle(obj, handle)


def take(obj: object, handle: ProcessHandle, *, root: bool) -> None:
    """Guard an object in place, for everybody who holds it.

    Args:
        obj: what is guarded.
        handle: whose the object is now.
        root: whether this is what was handed to guard().

    Raises:
        TypeError: its instances cannot change their class.
        Exception: whatever its class raises when it is subclassed.
    """
    handle.take(obj, guarded_type(plain_type(obj)), _CARRYING, root=root)


def guarded_type(plain: type[Any]) -> type[Any]:
    """The guarded subclass of a class: the living one, or a new one.

    Its methods are set after it was made: LlamaIndex decorates those that a class is made with, and
    would report a span of theirs beside the one of the method they replace.
    """
    for kind in plain.__subclasses__():
        if vars(kind).get(_PLAIN) is plain:
            return kind
    names = {
        "__module__": plain.__module__,
        "__qualname__": plain.__qualname__,
        "__doc__": plain.__doc__,
        "__slots__": (),
        "__init__": _plain_init(plain),
    }
    guarded: Any = types.new_class(plain.__name__, (plain,), {}, lambda body: body.update(names))
    for name, method in replacements(plain).items():
        setattr(guarded, name, method)
    guarded.ctxguard = property(handle_of, doc="Coverage, ledgers, policy, and the way back.")
    guarded.__reduce_ex__ = _reduce_ex
    guarded.__setstate__ = _setstate
    if issubclass(plain, Workflow):
        # Steps that are free functions are registered with the class; the metaclass started anew.
        setattr(guarded, _STEPS, getattr(plain, _STEPS))
    setattr(guarded, _PLAIN, plain)  # last, because another thread may be looking for it
    return guarded


def _plain_init(plain: type[Any]) -> Callable[..., None]:
    """The constructor: what is made anew, by `from_dict` or `type(obj)(…)`, is a plain object."""

    @functools.wraps(plain.__init__)
    def init(self: object, *args: Any, **kwargs: Any) -> None:
        # A pickle runs the constructor again, on what is guarded already.
        if own_handle(self) is None:
            object.__setattr__(self, "__class__", plain)
        plain.__init__(self, *args, **kwargs)

    # Else pydantic makes its instances without the constructor, as it does for its own.
    vars(init).pop("__pydantic_base_init__", None)
    return init


# -- pickling: as the plain object, then guarded again -------------------------------------------


def _reduce_ex(self: object, protocol: SupportsIndex) -> tuple[Any, ...] | str:
    plain = shallow_copy(self)
    set_handle(plain, None)
    object.__setattr__(plain, "__class__", plain_type(self))
    reduced = plain.__reduce_ex__(protocol)
    handle = handle_of(self)
    if isinstance(reduced, str):
        return reduced
    make, args, *rest = reduced
    place = "root" if handle.original is self else "part"
    return (_revive, (make, args, handle if handle.live() else None, place), *rest)


def _revive(
    make: Callable[..., object],
    args: tuple[Any, ...],
    handle: Handle | None,
    place: Literal["root", "part"],
) -> object:
    obj = make(*args)
    if isinstance(handle, ProcessHandle):
        take(obj, handle, root=place == "root")
    elif handle is not None:
        attach(obj, handle)
    return obj


def _setstate(self: object, state: Value) -> None:
    """Restore the state as the plain class does, and the handle, which pydantic drops with it."""
    handle = handle_of(self)
    restore = getattr(plain_type(self), "__setstate__", None)
    if restore is not None:
        restore(self, state)
    else:
        # Attributes, or a pair of attributes and slots: what `object.__getstate__` returns.
        parts = cast("tuple[Any, ...]", state) if isinstance(state, tuple) else (state,)
        for part in parts:
            for name, value in cast("dict[str, Any]", part or {}).items():
                object.__setattr__(self, name, value)
    set_handle(self, handle)


def _keep(obj: object, handle: Handle | None) -> None:
    set_handle(obj, handle)
    if handle is None:
        set_targets(obj, None)


_CARRYING = Carrying(owner=own_handle, keep=_keep, plain=plain_class)
