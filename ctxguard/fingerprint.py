"""A short name for a value that says what it does: equal for equal settings, in every process.

What decides is told apart in full: data by its values, dataclasses by their fields, functions by
their code, defaults and closures. An object with a `name`, as tokenizers and encoders have, is told
by its class, its name and its public attributes; private ones are taken for caches, which fill up
while it is used. What cannot be looked into (a lock, a socket) is like nothing, itself included: a
cache that is asked for it finds nothing, which costs a call and is never wrong.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import types
import uuid
from collections.abc import Iterable, Iterator, Mapping, Set as AbstractSet
from enum import Enum
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

__all__ = ["fingerprint_of"]

Value: TypeAlias = Any
"""Whatever a policy holds."""
Around: TypeAlias = tuple[int, ...]
"""The ids of what a value is part of, the outermost first."""

_DEEPEST = 40
"""What is nested deeper is taken for something that cannot be looked into."""


def fingerprint_of(value: object) -> str:
    """16 hexadecimal digits, BLAKE2b of everything that tells the value from others."""
    return hashlib.blake2b(_told(value, ()), digest_size=8).hexdigest()


def _told(value: object, around: Around) -> bytes:
    """A value as bytes; each part has its length before it, so that no two lists are the same."""
    return b"".join(b"%d:%b" % (len(part), part) for part in _parts(value, around))


def _parts(value: object, around: Around) -> Iterator[bytes]:
    kind = type(value)
    yield _name(kind)
    if value is None or isinstance(value, str | bytes | int | float | complex):
        yield repr(value).encode("utf-8", "surrogatepass")
    elif id(value) in around:
        yield b"%d around" % around[::-1].index(id(value))
    elif len(around) > _DEEPEST:
        yield _unlike_any()
    else:
        yield from _inside(value, (*around, id(value)))


def _inside(value: Value, around: Around) -> Iterator[bytes]:
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        yield from sorted(_told(item, around) for item in items)
    elif isinstance(value, AbstractSet):
        yield from sorted(_all(cast("Iterable[object]", value), around))
    elif isinstance(value, list | tuple):
        yield from _all(cast("Iterable[object]", value), around)
    elif isinstance(value, Enum):
        yield value.name.encode()
    elif isinstance(value, np.ndarray):
        array = cast("NDArray[Any]", value)
        yield f"{array.dtype} {array.shape}".encode()
        yield array.tobytes()
    elif callable(value) and not hasattr(value, "name"):
        yield from _callable(value, around)
    elif isinstance(value, types.CodeType):
        yield value.co_code
        yield from _all((value.co_consts, value.co_names, value.co_varnames), around)
    else:
        yield from _object(value, around)


def _all(values: Iterable[object], around: Around) -> Iterator[bytes]:
    return (_told(value, around) for value in values)


def _name(named: Value) -> bytes:
    return f"{named.__module__}.{named.__qualname__}".encode("utf-8", "surrogatepass")


def _callable(value: Value, around: Around) -> Iterator[bytes]:
    """What a call does: closures and defaults are part of it, globals are not."""
    if isinstance(value, type):
        yield _name(value)
    elif isinstance(value, types.FunctionType):
        yield _name(value)
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        parts = (value.__code__, value.__defaults__, value.__kwdefaults__, cells)
        yield from _all(parts, around)
    elif isinstance(value, types.MethodType):
        yield from _all((value.__self__, value.__func__), around)
    elif isinstance(value, types.BuiltinFunctionType):
        yield value.__qualname__.encode()
        owner = value.__self__
        yield _told(owner.__name__ if isinstance(owner, types.ModuleType) else owner, around)
    elif isinstance(value, functools.partial):
        yield from _all((value.func, value.args, value.keywords), around)
    else:
        yield from _object(value, around)


def _object(value: Value, around: Around) -> Iterator[bytes]:
    """An object by its attributes; one without any as pickle would take it."""
    name: object = getattr(value, "name", None)
    state = _state(value)
    if isinstance(name, str) and not dataclasses.is_dataclass(value):
        yield _told(name, around)
        state = {key: part for key, part in state.items() if not key.startswith("_")}
        yield _told(state, around)
    elif state or type(value) is object:
        yield _told(state, around)
    else:
        yield from _reduced(value, around)


def _state(value: Value) -> dict[str, object]:
    """The attributes of an object, those in slots as well."""
    state: dict[str, object] = dict(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        slots: Any = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else tuple(slots):
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                state[name] = getattr(value, name)
    return state


def _reduced(value: object, around: Around) -> Iterator[bytes]:
    try:
        reduced = value.__reduce_ex__(2)
    except Exception:  # a lock, a socket, a pointer
        yield _unlike_any()
        return
    if isinstance(reduced, tuple):
        yield from _all(cast("tuple[object, ...]", reduced), around)


def _unlike_any() -> bytes:
    return uuid.uuid4().bytes
