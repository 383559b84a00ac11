"""What a user's own code reaches for that no copy can hold: globals, class attributes, `Settings`.

It is read from the code, not run: names that a function loads from its module, and what they are
bound to at the time of the walk.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

from llama_index.core import Settings
from llama_index.core.workflow import Workflow

from ctxguard.handle import Unreached
from ctxguard_llamaindex.classes import is_guarded, plain_type
from ctxguard_llamaindex.kinds import (
    acts_alone,
    is_guarded_type,
    is_users,
    is_working_type,
    why_not,
    works,
)
from ctxguard_llamaindex.names import Name, codes_of, names_of

__all__ = ["Held", "Surroundings"]

_AS_SETTINGS = "is looked up when it is used; give the object a model of its own (llm=…)"
_SHOWN = 1000
"""Elements of a global container that are looked at."""
_MAKES = "is made while it runs; make it before, and hand it in as an attribute or in a closure"
_MAKERS = ("as_retriever", "as_query_engine", "as_chat_engine")
_MAKING_MODULES = ("llama_index.llms.", "llama_index.retrievers.")
"""What is called from these makes models and retrievers, even before they are loaded."""
# They run while an object is built, before guard() sees it.
_BUILDERS = ("__init__", "__new__", "__post_init__", "__init_subclass__", "model_post_init")


@dataclass(frozen=True, slots=True)
class Held(Unreached):
    """Something that only a guard in place reaches."""

    value: Any = None


class Surroundings:
    """Finds what functions and classes reach for; each is looked at once."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._seen: set[int] = set()

    def of(self, obj: object, path: str) -> Iterator[Unreached]:
        """What the code of an object reaches for, when it is a user's function or instance."""
        if isinstance(obj, types.FunctionType):
            yield from self._function(obj, path)
            return
        holds_index = any(why_not(value) for value in getattr(obj, "__dict__", {}).values())
        for kind in type(obj).__mro__:
            if is_users(kind.__module__) and id(kind) not in self._seen:
                self._seen.add(id(kind))
                yield from self._class(kind, path, holds_index=holds_index)
        if reason := acts_alone(obj):
            yield Unreached(path, plain_type(obj).__name__, reason)
        if isinstance(obj, Workflow):
            yield from _resources(obj, path)
        if not is_users(type(obj).__module__):
            yield from self._without_model(obj, path)

    def _without_model(self, obj: object, path: str) -> Iterator[Unreached]:
        """LlamaIndex's objects that have no model and look it up in `Settings` at each call."""
        attributes = getattr(obj, "__dict__", {})
        for name in ("llm", "_llm"):
            if name in attributes and attributes[name] is None and _looks_up_model(type(obj)):
                yield _settings(_join(path, f".{name}"))

    def _class(self, kind: type[Any], path: str, *, holds_index: bool) -> Iterator[Unreached]:
        for name, value in vars(kind).items():
            function = getattr(value, "__func__", value)
            if isinstance(function, property):
                function = function.fget
            if isinstance(function, types.FunctionType):
                if not _builds(name):
                    where = _join(path, f".{name}")
                    yield from self._function(function, where, closed=True, holds_index=holds_index)
            else:
                where = f"is an attribute of the class {kind.__name__}; make it one of the object"
                yield from _held(value, _join(path, f".{name}"), where)

    def _function(
        self,
        function: types.FunctionType,
        path: str,
        *,
        closed: bool = False,
        holds_index: bool = False,
    ) -> Iterator[Unreached]:
        """What a user's function reaches for, and what it makes.

        Args:
            function: LlamaIndex's own are skipped.
            path: where it is.
            closed: its closure cannot be replaced, so what is in there counts too.
            holds_index: the index that it makes its retrievers from is reported already.
        """
        if id(function) in self._seen or not is_users(function.__module__):
            return
        self._seen.add(id(function))
        names = function.__code__.co_freevars
        cells = zip(names, map(_contents, function.__closure__ or ()), strict=True)
        for name, value in cells:
            holds_index = holds_index or bool(why_not(value))
            if closed:
                where = "is closed over by a method; make it an attribute of the object"
                yield from _held(value, f"{path}:{name}", where)
        yield from self._globals_of(function, path, holds_index=holds_index)

    def _globals_of(
        self, function: types.FunctionType, path: str, *, holds_index: bool
    ) -> Iterator[Unreached]:
        for used in names_of(function):
            holds_index = holds_index or bool(why_not(used.value))
            yield from self._name(used, function.__module__, path)
        makers = {name for code in codes_of(function.__code__) for name in code.co_names}
        if not holds_index:
            yield from (Unreached(path, name, _MAKES) for name in _MAKERS if name in makers)

    def _name(self, used: Name, module: str, path: str) -> Iterator[Unreached]:
        """What a name stands for, or what is made by calling it."""
        value, inside = used.value, f"{path}:{used.name}"
        if used.called and (is_guarded_type(value) or _will_make(used)):
            yield Unreached(path, used.name, _MAKES)
        elif value is Settings and "llm" in used.attributes:
            yield _settings(path)
        elif isinstance(value, types.FunctionType):
            yield from self._function(value, inside, closed=True)
        elif isinstance(value, types.ModuleType):
            for name in sorted(used.attributes & vars(value).keys()):
                called = name in used.methods
                part = Name(name, vars(value)[name], value.__name__, called=called)
                yield from self._name(part, module, inside)
        else:
            where = f"is a global of {used.module or module}"
            where += "; hand it in as an attribute or in a closure"
            yield from _held(value, inside, where)


def _will_make(used: Name) -> bool:
    """Whether this is imported, when it is called, from a package of models or retrievers."""
    return used.value is None and used.module.startswith(_MAKING_MODULES)


def _settings(path: str) -> Unreached:
    """The model that is looked up there; without one, LlamaIndex makes one when it is asked."""
    model: object = getattr(Settings, "_llm", None)
    if model is None:
        return Unreached(path, "Settings.llm", _AS_SETTINGS)
    return Held(path, "Settings.llm", _AS_SETTINGS, model)


def _resources(workflow: Workflow, path: str) -> Iterator[Unreached]:
    """What factories hand to the steps of a workflow while it runs."""
    for name, config in workflow._step_configs().items():  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] -- there is no public way
        for resource in config.resources:
            kind: object = resource.type_annotation
            if isinstance(kind, type) and is_working_type(kind):
                reason = (
                    "is made by a resource factory while the workflow runs; make it an attribute"
                )
                yield Unreached(_join(path, f".{name}:{resource.name}"), kind.__name__, reason)


def _held(value: object, path: str, where: str) -> Iterator[Unreached]:
    """What a name holds that retrieves or asks a model, directly or as an element."""
    if reason := why_not(value):
        yield Unreached(path, type(value).__name__, reason)
    elif works(value):
        if not is_guarded(value):
            reason = f"{where}, or guard it where it is made"
            yield Held(path, type(value).__name__, reason, value)
    else:
        for label, inner in _inside(value):
            if works(inner) or why_not(inner):
                yield from _held(inner, f"{path}{label}", where)


def _inside(value: object) -> Iterator[tuple[str, object]]:
    """What a container or a user's object holds, one level deep."""
    if isinstance(value, dict):
        for key, inner in islice(cast("dict[object, object]", value).items(), _SHOWN):
            yield f"[{key!r}]", inner
    elif isinstance(value, list | tuple | set | frozenset):
        for number, inner in enumerate(islice(cast("Iterable[object]", value), _SHOWN)):
            yield f"[{number}]", inner
    elif is_users(type(value).__module__):
        for name, inner in list(getattr(value, "__dict__", {}).items()):
            yield f".{name}", inner


def _looks_up_model(kind: type[Any]) -> bool:
    """Whether a method of a class, other than those that build it, reads `Settings.llm`."""
    for base in kind.__mro__:
        for name, value in vars(base).items():
            function = getattr(value, "__func__", value)
            function = getattr(function, "__wrapped__", function)
            known = isinstance(function, types.FunctionType) and not _builds(name)
            if known and function.__globals__.get("Settings") is Settings:
                found = [used for used in names_of(function) if used.value is Settings]
                if any("llm" in used.attributes for used in found):
                    return True
    return False


def _builds(name: str) -> bool:
    return name in _BUILDERS or name.startswith("from_")


def _contents(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # a name that has not been given a value yet
        return None


def _join(path: str, label: str) -> str:
    return f"{path}{label}" if path else label.lstrip(".")
