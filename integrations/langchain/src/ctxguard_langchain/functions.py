"""What a function refers to, and the same function with other references.

A node of a graph or a step of a chain often is a function that uses a retriever of its module. The
function is made anew from the same code, with globals that read through to the module's, live, but
for the names that stand for something guarded.
"""

from __future__ import annotations

import builtins
import dis
import functools
import importlib.util
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from ctxguard_langchain.dynamic import Dynamic

__all__ = [
    "FRAMEWORKS",
    "Globals",
    "ModuleView",
    "References",
    "imports",
    "is_user_module",
    "references",
    "remake",
]

FRAMEWORKS = ("langchain", "langgraph", "langsmith")
"""Beginnings of the names of packages whose code holds no user's objects in its globals."""
_CORE = frozenset(
    {
        *FRAMEWORKS,
        "langchain_classic",
        "langchain_community",
        "langchain_core",
        "langchain_protocol",
        "langchain_text_splitters",
        "langgraph_sdk",
    }
)
_LOADS = ("LOAD_FAST", "LOAD_DEREF", "LOAD_ATTR")
"""Steps beside which a NULL is a step of its own: before it in 3.11, after it since 3.13."""
_MOST_DOTS = 8
_NEVER = _CORE | sys.stdlib_module_names | {"ctxguard", "ctxguard_langchain", "pydantic"}


@dataclass(frozen=True, slots=True)
class References:
    """Names that a function's code, with the functions inside of it, uses."""

    read: frozenset[str]
    """Globals that it reads."""
    called: frozenset[str]
    """What it calls: names of globals and attributes, and of what it imports."""
    written: frozenset[str]
    """Globals that it assigns or deletes."""
    attributes: frozenset[str]
    """Attributes and methods that it asks something for."""
    constants: frozenset[object]
    """Its constants, with the names of keywords in its calls."""
    imported: frozenset[tuple[str, int, bool]]
    """Modules that it imports when it runs: name, level, and whether names are taken from it."""


@functools.lru_cache(maxsize=4096)
def references(code: types.CodeType) -> References:
    """The names in a function's code."""
    read: set[str] = set()
    called: set[str] = set()
    written: set[str] = set()
    attributes: set[str] = set()
    constants: set[object] = set()
    imported: set[tuple[str, int, bool]] = set()
    aliases: dict[str, str] = {}
    for part in _codes(code):
        constants.update(_constants(part.co_consts))
        steps = list(dis.get_instructions(part))
        called.update(_called(steps, aliases))
        for position, step in enumerate(steps):
            if "ATTR" in step.opname or step.opname in ("LOAD_METHOD", "IMPORT_FROM"):
                attributes.add(step.argval)
            elif step.opname == "IMPORT_NAME":
                level, taken = steps[position - 2 : position]
                imported.add((step.argval, level.argval, taken.argval is not None))
            elif step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                read.add(step.argval)
            elif step.opname in ("STORE_GLOBAL", "DELETE_GLOBAL"):
                written.add(step.argval)
    return References(
        read=frozenset(read),
        called=frozenset(called),
        written=frozenset(written),
        attributes=frozenset(attributes),
        constants=frozenset(constants),
        imported=frozenset(imported),
    )


def _called(steps: list[dis.Instruction], aliases: dict[str, str]) -> Iterator[str]:
    """What is called, and the attributes that lead to it: a call needs a NULL beside its callee.

    Args:
        steps: of one code.
        aliases: local names of what is imported; those that are found are added.
    """
    for position, step in enumerate(steps):
        beside = {other.opname for other in steps[max(position - 1, 0) : position + 2]}
        name = str(step.argval)
        if step.opname == "IMPORT_FROM":
            aliases[str(steps[position + 1].argval)] = name
        elif "NULL" in step.argrepr or step.opname == "LOAD_METHOD":
            yield name
        elif step.opname.startswith(_LOADS) and "PUSH_NULL" in beside:
            yield aliases.get(name, name)
        else:
            continue
        for after in steps[position + 1 : position + 1 + _MOST_DOTS]:
            if after.opname != "LOAD_ATTR":
                break
            yield str(after.argval)


def _constants(constants: Iterable[object]) -> Iterator[object]:
    """Constants and those in their tuples, where the names of keywords stand."""
    for constant in constants:
        if isinstance(constant, tuple):
            yield from _constants(cast("tuple[object, ...]", constant))
        else:
            yield constant


def imports(names: References, package: str) -> Iterator[types.ModuleType]:
    """The modules that a function's import statements give, as far as they are loaded already."""
    for name, level, taken in sorted(names.imported):
        try:
            full = importlib.util.resolve_name("." * level + name, package)
        except ImportError:  # relative, in a module that is in no package
            continue
        module = sys.modules.get(full if taken else full.partition(".")[0])
        if module is not None:
            yield module


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    pending = [code]
    while pending:
        part = pending.pop()
        yield part
        pending.extend(const for const in part.co_consts if isinstance(const, types.CodeType))


# -- whose code it is ---------------------------------------------------------------------------


@functools.lru_cache(maxsize=4096)
def is_user_module(name: str | None) -> bool:
    """Whether a module's code may hold somebody's retrievers and models.

    An installed package may, too, if it knows LangChain: applications are deployed as packages.
    """
    root = (name or "").partition(".")[0]
    if root in _NEVER and root != "__main__":
        return False
    module = sys.modules.get(name or "")
    path = getattr(module, "__file__", None) or ""
    if "site-packages" not in path and "dist-packages" not in path:
        return True  # whatever it is called: a project may well be named langchain_something
    if root.startswith(FRAMEWORKS):
        return False
    return any(_is_framework(value) for value in list(vars(module).values()))


def _is_framework(value: object) -> bool:
    if isinstance(value, types.ModuleType):
        return value.__name__.startswith(FRAMEWORKS)
    named = value if isinstance(value, type | types.FunctionType) else type(value)
    return str(named.__module__).startswith(FRAMEWORKS)


# -- the same code, other references ------------------------------------------------------------


class Globals(dict[str, Any]):
    """The globals of rewritten functions: the module's, live, but for some names.

    Such a name stands for something else as long as the module holds what it held when it was
    guarded. Python reads globals of this class through `__getitem__`, except in the bodies of
    classes that a function defines: those read the dict itself, which is why it starts as a copy.
    """

    def __init__(self, module: Mapping[str, Any]) -> None:
        super().__init__(module)
        self.module = module
        self._own: dict[str, tuple[object, object]] = {}
        self._modules: dict[str, tuple[object, object]] = {}

    def watch_imports(self) -> None:
        """Let what functions with these globals import be a module that stands for another.

        A function reads its builtins from its globals, once, when it is made.
        """
        super().__setitem__("__builtins__", {**vars(builtins), "__import__": self._import})

    def replace_module(self, original: types.ModuleType, value: object) -> None:
        """Let a module that is imported stand for something else than the original."""
        self._modules[original.__name__] = (original, value)

    def _import(self, *args: Any, **kwargs: Any) -> object:
        made = builtins.__import__(*args, **kwargs)
        return _standing_in(self._modules.get(made.__name__), made)

    def replace(self, name: str, original: object, value: object) -> None:
        """Let a name stand for something else than the original."""
        self._own[name] = (original, value)
        super().__setitem__(name, value)

    def __getitem__(self, name: str) -> Dynamic:
        """The value of a global variable.

        Raises:
            KeyError: there is none; Python looks among the builtins then.
        """
        return _standing_in(self._own.get(name), self.module[name])


class ModuleView(types.ModuleType):
    """A module, but for the attributes that stand for something guarded; writing goes through."""

    def __init__(self, module: types.ModuleType) -> None:
        super().__init__(module.__name__, module.__doc__)
        vars(self).update(_module=module, _own={})

    def replace(self, name: str, original: object, value: object) -> None:
        """Let an attribute stand for something else than the original."""
        vars(self)["_own"][name] = (original, value)

    def __getattr__(self, name: str) -> Dynamic:
        """An attribute of the module itself, as it is now."""
        return _standing_in(vars(self)["_own"].get(name), getattr(vars(self)["_module"], name))

    def __setattr__(self, name: str, value: object) -> None:
        """Set it on the module itself."""
        setattr(vars(self)["_module"], name, value)


def _standing_in(own: tuple[object, object] | None, current: object) -> object:
    """What a name stands for: the guarded value, unless it was set to something else since."""
    return own[1] if own is not None and own[0] is current else current


def remake(
    function: types.FunctionType,
    module: dict[str, Any],
    cells: tuple[types.CellType, ...] | None,
) -> types.FunctionType:
    """A function of the same code, name and signature, with other globals and closure."""
    new = types.FunctionType(
        function.__code__, module, function.__name__, function.__defaults__, cells
    )
    new.__kwdefaults__ = cast(
        "dict[str, Any]", function.__kwdefaults__ and dict(function.__kwdefaults__)
    )
    new.__qualname__ = function.__qualname__
    new.__module__ = function.__module__
    new.__doc__ = function.__doc__
    new.__dict__.update(function.__dict__)
    # From Python 3.14 on, annotations are evaluated when they are read, which may fail.
    late = hasattr(function, "__annotate__")
    for name in ("__annotate__" if late else "__annotations__", "__type_params__"):
        if hasattr(function, name):
            setattr(new, name, getattr(function, name))
    return new
