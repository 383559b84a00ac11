"""What an object is made of, and how a copy of it is made with some of that replaced.

A shape knows one kind of object: its parts, an empty or shallow copy, and how to put a part into
it. Copies of mutable objects are made first and filled afterwards, so cycles close by themselves.
"""

from __future__ import annotations

import collections
import copy
import functools
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from pydantic import BaseModel

from ctxguard_llamaindex.copies import Value, shallow_copy, slots_of

__all__ = ["Part", "Shape", "shape_of"]

Key: TypeAlias = tuple[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """Something inside of an object."""

    key: Key
    """Where, for the shape's `put` and `build`."""
    label: str
    """Where, for people, to be appended to the path of the object: '.llm', '[0]', ':retriever'."""
    value: Any


@dataclass(frozen=True, slots=True)
class Shape:
    """How to read and rebuild one kind of object."""

    parts: Callable[[Any], Iterator[Part]]
    copy: Callable[[Any], Any] | None = None
    """Of a mutable object: a copy whose parts are replaced with `put`."""
    put: Callable[[Any, Key, Any], None] | None = None
    build: Callable[[Any, Mapping[Key, Any]], Any] | None = None
    """Of an immutable object: a new one, from the parts that are replaced. Beside `put`: from those
    that can only be given at once, the cells of a function; the others are put into it."""

    @property
    def closed(self) -> bool:
        """Whether parts can be seen and not replaced."""
        return self.copy is None and self.build is None


def shape_of(obj: object) -> Shape | None:
    """The shape of an object, None when it has no parts that could matter.

    By exact type where it counts: a proxy claims to be an instance of what it wraps.
    """
    kind = type(obj)
    if kind in _EXACT:
        return _EXACT[kind]
    for base, shape in _DERIVED:
        if issubclass(kind, base):
            return _SEEN_ONLY if base is tuple and not hasattr(kind, "_make") else shape
    if hasattr(kind, "__wrapped__") or "__wrapped__" in getattr(obj, "__dict__", {}):
        return _METHOD if _instance_of(obj) is not None else _WRAPPER
    return _OBJECT if hasattr(obj, "__dict__") or slots_of(kind) else None


# -- objects with attributes ---------------------------------------------------------------------


def _object_parts(obj: object) -> Iterator[Part]:
    for name, value in list(getattr(obj, "__dict__", {}).items()):
        yield Part(("attribute", name), f".{name}", value)
    for name in slots_of(type(obj)):
        if not name.startswith("__") and hasattr(obj, name):
            yield Part(("slot", name), f".{name}", getattr(obj, name))
    for space in ("__pydantic_private__", "__pydantic_extra__"):
        found: Value = getattr(obj, space, None) if isinstance(obj, BaseModel) else None
        for name, value in list(cast("dict[str, Any]", found or {}).items()):
            yield Part((space, name), f".{name}", value)


def _object_put(new: Value, key: Key, value: object) -> None:
    space, name = key
    if space == "slot":
        object.__setattr__(new, name, value)
    elif space == "attribute":
        vars(new)[name] = value
    else:
        getattr(new, space)[name] = value


# -- containers ----------------------------------------------------------------------------------


def _mapping_parts(obj: Value) -> Iterator[Part]:
    for key, value in list(obj.items()):
        yield Part(("item", key), f"[{key!r}]", value)


def _sequence_parts(obj: Value) -> Iterator[Part]:
    for index, value in enumerate(list(obj)):
        yield Part(("item", index), f"[{index}]", value)


def _set_parts(obj: Value) -> Iterator[Part]:
    for value in list(obj):
        yield Part(("member", id(value)), "{}", value)


def _item_put(new: Value, key: Key, value: object) -> None:
    new[key[1]] = value


def _set_put(new: Value, key: Key, value: object) -> None:
    old = next(member for member in new if id(member) == key[1])
    new.remove(old)
    new.add(value)


def _tuple_build(obj: Value, new: Mapping[Key, Any]) -> Value:
    values = [new.get(("item", index), value) for index, value in enumerate(obj)]
    kind = type(cast("object", obj))
    make: Any = getattr(kind, "_make", kind)  # a named tuple takes its fields one by one
    return make(values)


def _frozenset_build(obj: Value, new: Mapping[Key, Any]) -> Value:
    return type(obj)(new.get(("member", id(value)), value) for value in obj)


# -- callables -----------------------------------------------------------------------------------


def _function_parts(obj: types.FunctionType) -> Iterator[Part]:
    for name, cell in zip(obj.__code__.co_freevars, obj.__closure__ or (), strict=True):
        yield Part(("cell", name), f":{name}", cell)
    first = obj.__code__.co_argcount - len(obj.__defaults__ or ())
    for index, value in enumerate(obj.__defaults__ or ()):
        yield Part(("default", index), f":{obj.__code__.co_varnames[first + index]}", value)
    for name, value in (obj.__kwdefaults__ or {}).items():
        yield Part(("keyword", name), f":{name}", value)
    for name, value in vars(obj).items():
        yield Part(("attribute", name), f".{name}", value)


def _function_put(new: types.FunctionType, key: Key, value: Value) -> None:
    space, name = key
    if space == "default":
        defaults = list(new.__defaults__ or ())
        defaults[name] = value
        new.__defaults__ = tuple(defaults)
    elif space == "keyword":
        new.__kwdefaults__ = {**(new.__kwdefaults__ or {}), name: value}
    elif space == "attribute":
        vars(new)[name] = value


def _function_build(obj: types.FunctionType, new: Mapping[Key, Any]) -> types.FunctionType:
    """A function over new cells, which are its only parts that cannot be put in later."""
    names = obj.__code__.co_freevars
    closure = zip(names, obj.__closure__ or (), strict=True)
    cells = tuple(new.get(("cell", name), cell) for name, cell in closure)
    code, space = obj.__code__, obj.__globals__
    made = types.FunctionType(code, space, obj.__name__, obj.__defaults__, cells)
    made.__kwdefaults__ = dict(obj.__kwdefaults__) if obj.__kwdefaults__ else obj.__kwdefaults__
    made.__qualname__, made.__module__ = obj.__qualname__, obj.__module__
    made.__doc__, made.__annotations__ = obj.__doc__, dict(obj.__annotations__)
    vars(made).update(vars(obj))
    return made


def _cell_parts(obj: types.CellType) -> Iterator[Part]:
    try:
        yield Part(("cell", 0), "", obj.cell_contents)
    except ValueError:  # a name that has not been given a value yet
        return


def _cell_put(new: types.CellType, _key: Key, value: object) -> None:
    new.cell_contents = value


def _partial_parts(obj: functools.partial[Any]) -> Iterator[Part]:
    yield Part(("func", 0), ".func", obj.func)
    for index, value in enumerate(obj.args):
        yield Part(("args", index), f".args[{index}]", value)
    for name, value in obj.keywords.items():
        yield Part(("keywords", name), f".{name}", value)


def _partial_copy(obj: functools.partial[Any]) -> functools.partial[Any]:
    new = type(obj)(obj.func, *obj.args, **obj.keywords)
    vars(new).update(vars(obj))
    return new


def _partial_put(new: Value, key: Key, value: object) -> None:
    func, args, keywords = new.func, list(new.args), dict(new.keywords)
    if key[0] == "func":
        func = value
    elif key[0] == "args":
        args[key[1]] = value
    else:
        keywords[key[1]] = value
    new.__setstate__((func, tuple(args), keywords, vars(new)))


def _instance_of(obj: Value) -> Value:
    """The instance that a method is bound to, None for a class or for what is no method."""
    found: Value = getattr(obj, "__self__", None)
    return None if isinstance(found, type | types.ModuleType) else found


def _method_parts(obj: Value) -> Iterator[Part]:
    # A method that was stored in an attribute would go on calling the original.
    yield Part(("self", 0), ".__self__", _instance_of(obj))


def _method_build(obj: Value, new: Mapping[Key, Any]) -> Value:
    """The method of the new instance: by name, because its class may have replaced it."""
    instance = new.get(("self", 0))
    name: str = obj.__name__
    own = isinstance(obj, types.MethodType)
    if own and _class_attribute(type(obj.__self__), name) is not obj.__func__:
        return types.MethodType(obj.__func__, instance)
    return getattr(instance, name)


def _class_attribute(kind: type[Any], name: str) -> object:
    return next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None)


def _wrapped_parts(obj: Value) -> Iterator[Part]:
    yield Part(("wrapped", 0), ".__wrapped__", obj.__wrapped__)


_OBJECT = Shape(_object_parts, shallow_copy, _object_put)
_WRAPPER = Shape(_wrapped_parts)
_METHOD = Shape(_method_parts, build=_method_build)
_TUPLE = Shape(_sequence_parts, build=_tuple_build)
_SEEN_ONLY = Shape(_sequence_parts)  # how a tuple of one's own is made, only its class knows
_MAPPING = Shape(_mapping_parts, copy.copy, _item_put)
_SEQUENCE = Shape(_sequence_parts, copy.copy, _item_put)
_SET = Shape(_set_parts, copy.copy, _set_put)
_EXACT: Mapping[type[Any], Shape] = {
    types.FunctionType: Shape(_function_parts, None, _function_put, _function_build),
    types.CellType: Shape(_cell_parts, lambda _: types.CellType(), _cell_put),
    types.MethodType: _METHOD,
    tuple: _TUPLE,
    frozenset: Shape(_set_parts, build=_frozenset_build),
    types.SimpleNamespace: Shape(_object_parts, copy.copy, _object_put),
}
_DERIVED: tuple[tuple[type[Any], Shape], ...] = (
    (dict, _MAPPING),
    (collections.UserDict, _OBJECT),
    (list, _SEQUENCE),
    (collections.deque, _SEQUENCE),
    (tuple, _TUPLE),
    (set, _SET),
    (functools.partial, Shape(_partial_parts, _partial_copy, _partial_put)),
)
