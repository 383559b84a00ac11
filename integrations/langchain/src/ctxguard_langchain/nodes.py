"""What an object refers to: one edge for each place in it that could hold something to guard.

Reading never runs code of the object: no properties, no iteration of its own, no `__getattr__`.
"""

from __future__ import annotations

import functools
import types
import weakref
from collections.abc import Iterator, Mapping, Set
from contextvars import ContextVar
from enum import Enum
from typing import Any, NamedTuple, cast

from langchain_core.runnables import RunnableParallel, RunnableSequence

from ctxguard_langchain.carrying import KEY, is_dynamic
from ctxguard_langchain.classes import slots_of
from ctxguard_langchain.dynamic import Dynamic, class_of, extends
from ctxguard_langchain.functions import References, imports, is_user_module, references
from ctxguard_langchain.kinds import UNDERLYING, Kind, holds_something, is_validated, kind_of

__all__ = ["Edge", "Place", "behind_foreign", "edges_of", "function_edges", "module_edges"]


class Place(Enum):
    """Where in its owner an edge is written back."""

    ATTRIBUTE = "attribute"
    SLOT = "slot"
    PRIVATE = "private"
    EXTRA = "extra"
    METHOD = "method"
    CELL = "cell"
    DEFAULT = "default"
    KEYWORD = "keyword"
    GLOBAL = "global"
    IMPORT = "import"
    ITEM = "item"
    SELF = "self"
    CALLEE = "callee"


class Edge(NamedTuple):
    """Something that an object holds."""

    place: Place
    name: Any
    """Attribute, index or key at that place."""
    label: str
    """How a path goes on over it."""
    value: Any


_CONSTRUCTORS = frozenset({"__init__", "__new__", "__post_init__", "model_post_init", "__del__"})


def edges_of(obj: Dynamic, kind: Kind) -> Iterator[Edge]:
    """What an object of this kind holds; of functions, what their closures and defaults hold."""
    reader = _READERS.get(kind)
    if reader is not None:
        yield from reader(obj)


# -- containers ---------------------------------------------------------------------------------


_Plain = dict[Any, Any]


def _mapping(obj: dict[Any, Any]) -> Iterator[Edge]:
    items = list(_Plain.items(obj))  # whatever a subclass makes of reading
    if holds_something(value for _, value in items):
        for key, value in items:
            yield Edge(Place.ITEM, key, f"[{key!r}]", value)


def _sequence(obj: Dynamic) -> Iterator[Edge]:
    items = list(obj)
    if holds_something(items):
        for index, value in enumerate(items):
            yield Edge(Place.ITEM, index, f"[{index}]", value)


# -- functions ----------------------------------------------------------------------------------


def _function(obj: types.FunctionType) -> Iterator[Edge]:
    names = obj.__code__.co_freevars
    for index, (name, cell) in enumerate(zip(names, obj.__closure__ or (), strict=True)):
        if name != "__class__":
            try:
                yield Edge(Place.CELL, index, f" → {name}", cell.cell_contents)
            except ValueError:  # a variable that is not assigned yet
                continue
    for index, value in enumerate(obj.__defaults__ or ()):
        yield Edge(Place.DEFAULT, index, f" → default {index + 1}", value)
    for name, value in (obj.__kwdefaults__ or {}).items():
        yield Edge(Place.KEYWORD, name, f" → {name}", value)
    for name, value in obj.__dict__.items():
        yield Edge(Place.ATTRIBUTE, name, f".{name}", value)


def function_edges(obj: types.FunctionType) -> tuple[References | None, list[Edge]]:
    """The globals that a user's function reads and the modules that it imports.

    The references are None for a function of a framework.
    """
    module = obj.__globals__
    if not is_user_module(obj.__module__ or module.get("__name__")):
        return None, []
    names = references(obj.__code__)
    edges = [
        Edge(Place.GLOBAL, name, f" → {name}", value)
        for name in sorted(names.read)
        if (value := _read(module, name)) is not None
        and (_interesting(value) or _makes(value, names))
        and _used(names, name, value)
    ]
    for imported in imports(names, str(module.get("__package__") or "")):
        if is_user_module(imported.__name__) or _makes(imported, names):
            label = f" → import {imported.__name__}"
            edges.append(Edge(Place.IMPORT, imported.__name__, label, imported))
    return names, edges


def _makes(module: Dynamic, names: References) -> bool:
    """Whether a function makes a retriever or a model with a class or function of this module."""
    return kind_of(module) is Kind.MODULE and any(module_edges(module, names))


def _used(names: References, name: str, value: Dynamic) -> bool:
    """Whether a function does more with a class of models than to compare with it."""
    if kind_of(value) is not Kind.MAKER:
        return True
    constructors = any(name.startswith("from_") for name in names.attributes)
    return constructors or bool(names.called & {name, value.__name__})


def _read(module: dict[str, Any], name: str) -> Dynamic:
    try:
        return module[name]
    except KeyError:
        return None


def _interesting(value: Dynamic) -> bool:
    kind = kind_of(value)
    if kind is Kind.FUNCTION:
        return is_user_module(value.__module__)
    if kind is Kind.MODULE:
        return is_user_module(value.__name__)
    if kind is Kind.CLASS:
        return is_user_module(value.__module__)
    if kind is Kind.FOREIGN:
        return any(_foreign(value))
    return kind is not Kind.NOTHING


def module_edges(
    module: types.ModuleType, names: References, known: Set[str] = frozenset()
) -> Iterator[Edge]:
    """The attributes of a module that a function may ask for; of a framework's, what it calls."""
    own = is_user_module(module.__name__)
    for name in sorted((names.attributes - known) & vars(module).keys()):
        value = vars(module)[name]
        wanted = _interesting(value) if own else kind_of(value) is Kind.MAKER
        if wanted and _used(names, name, value):
            yield Edge(Place.ATTRIBUTE, name, f".{name}", value)


def _method(obj: types.MethodType) -> Iterator[Edge]:
    if not isinstance(obj.__self__, type):
        yield Edge(Place.SELF, None, ".__self__", obj.__self__)
    yield Edge(Place.CALLEE, None, "", obj.__func__)


def _partial(obj: functools.partial[Any]) -> Iterator[Edge]:
    yield Edge(Place.CALLEE, None, ".func", obj.func)
    for index, value in enumerate(obj.args):
        yield Edge(Place.ITEM, index, f".args[{index}]", value)
    for name, value in obj.keywords.items():
        yield Edge(Place.KEYWORD, name, f" → {name}", value)
    for name, value in obj.__dict__.items():
        yield Edge(Place.ATTRIBUTE, name, f".{name}", value)


def _cached(obj: Dynamic) -> Iterator[Edge]:
    yield Edge(Place.CALLEE, None, "", obj.__wrapped__)


# -- objects ------------------------------------------------------------------------------------


def _object(obj: Dynamic) -> Iterator[Edge]:
    state = _state(obj)
    kind = class_of(obj)
    if extends(kind, RunnableSequence):
        yield from _sequence_steps(state)
    elif extends(kind, RunnableParallel):
        yield from _parallel_steps(state)
    else:
        for name, value in state.items():
            yield Edge(Place.ATTRIBUTE, name, f".{name}", value)
    yield from _slots(obj)
    yield from _class_parts(kind, state, without=_CONSTRUCTORS)  # it is made already


def _state(obj: Dynamic) -> dict[str, Any]:
    """The instance's `__dict__`, whatever its class says."""
    try:
        state = object.__getattribute__(obj, "__dict__")
    except AttributeError:
        return {}
    return {name: value for name, value in state.items() if name != KEY}


def _sequence_steps(state: Mapping[str, Any]) -> Iterator[Edge]:
    """The steps under the names that `chain.steps[i]` finds them by."""
    last = len(state.get("middle", ())) + 1
    labels = {"first": ".steps[0]", "middle": ".steps[1:-1]", "last": f".steps[{last}]"}
    for name, value in state.items():
        yield Edge(Place.ATTRIBUTE, name, labels.get(name, f".{name}"), value)


def _parallel_steps(state: Mapping[str, Any]) -> Iterator[Edge]:
    for name, value in state.items():
        label = "" if name == "steps__" else f".{name}"
        yield Edge(Place.ATTRIBUTE, name, label, value)


def _slots(obj: Dynamic) -> Iterator[Edge]:
    for name in slots_of(class_of(obj)):
        try:
            value = object.__getattribute__(obj, name)
        except AttributeError:
            continue
        if name in ("__pydantic_private__", "__pydantic_extra__"):
            place = Place.PRIVATE if name == "__pydantic_private__" else Place.EXTRA
            for key, item in (cast("dict[str, Any] | None", value) or {}).items():
                yield Edge(place, key, f".{key}", item)
        elif name not in ("__pydantic_fields_set__", KEY):
            yield Edge(Place.SLOT, name, f".{name}", value)


def _class_parts(
    kind: type[Any], state: Mapping[str, Any], *, without: frozenset[str] = frozenset()
) -> Iterator[Edge]:
    """What a user's class holds for its instances: methods, and attributes that they may shadow."""
    seen: set[str] = {*state, *without}
    for base in kind.__mro__:
        if is_dynamic(base) or not is_user_module(base.__module__):
            continue
        for name, value in list(vars(base).items()):
            if name in seen:
                continue
            seen.add(name)
            function = _underlying(value)
            if function is not None:
                yield Edge(Place.METHOD, name, f".{name}", function)
            elif not name.startswith("__") and _holds(value):
                yield Edge(Place.ATTRIBUTE, name, f".{name}", value)


def _holds(value: Dynamic) -> bool:
    """Whether a class attribute is a value that its instances use, and not a description."""
    return not hasattr(class_of(value), "__get__") and _interesting(value)


def _underlying(value: Dynamic) -> types.FunctionType | None:
    """The function of a method, static method, class method or property, cached or not."""
    kind = class_of(value)
    for wrapper, attribute in UNDERLYING.items():
        if issubclass(kind, wrapper):
            value = getattr(value, attribute)
            break
    return value if isinstance(value, types.FunctionType) else None


def _class(obj: type[Any]) -> Iterator[Edge]:
    yield from _class_parts(obj, {})
    # The schema of a tool's arguments holds their defaults, and hands them to the function.
    for name, field in getattr(obj, "__pydantic_fields__", {}).items():
        yield Edge(Place.ATTRIBUTE, name, f".{name}", field.default)


def _foreign(obj: Dynamic) -> Iterator[Edge]:
    """Only what the object itself and its containers hold: is there something to report?"""
    if is_validated(class_of(obj)):
        yield Edge(Place.ATTRIBUTE, "function", ".function", obj.function)
        return
    for name, value in _held(obj).items():
        held = {Kind.MAPPING: _mapping, Kind.SEQUENCE: _sequence, Kind.TUPLE: _sequence}
        reader = held.get(kind_of(value))
        inside = reader(value) if reader else [Edge(Place.ATTRIBUTE, name, "", value)]
        for edge in inside:
            if kind_of(edge.value) in (Kind.RETRIEVER, Kind.MODEL, Kind.STORE):
                yield Edge(Place.ATTRIBUTE, name, f".{name}{edge.label}", edge.value)


def _held(obj: Dynamic) -> Mapping[str, Any]:
    """What an object that is not copied holds, those that Python keeps no `__dict__` for too."""
    if isinstance(obj, ContextVar):
        try:
            return {"get()": cast("ContextVar[object]", obj).get()}
        except LookupError:
            return {}
    if isinstance(obj, weakref.ref):
        return {"()": cast("weakref.ref[Any]", obj)()}
    if isinstance(obj, types.MappingProxyType):
        return {"items": dict(cast("Mapping[Any, Any]", obj))}
    return _state(obj)


def behind_foreign(obj: Dynamic) -> Iterator[Edge]:
    """What a foreign object holds that may hold something itself, but for other foreign objects.

    Those are clients, sessions and pools, and thousands of them hold nothing.
    """
    for name, value in _state(obj).items():
        if kind_of(value) not in (Kind.NOTHING, Kind.FOREIGN, Kind.MODULE, Kind.CLASS):
            yield Edge(Place.ATTRIBUTE, name, f".{name}", value)


_READERS: Mapping[Kind, Any] = {
    Kind.RETRIEVER: _object,
    Kind.MODEL: _object,
    Kind.LATE: _object,
    Kind.OBJECT: _object,
    Kind.FUNCTION: _function,
    Kind.METHOD: _method,
    Kind.PARTIAL: _partial,
    Kind.CACHED: _cached,
    Kind.MAPPING: _mapping,
    Kind.SEQUENCE: _sequence,
    Kind.TUPLE: _sequence,
    Kind.SET: _sequence,
    Kind.CLASS: _class,
    Kind.FOREIGN: _foreign,
}
