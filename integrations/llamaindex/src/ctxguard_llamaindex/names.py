"""What the names in a function's code stand for: globals of its module, and what it imports.

It is read from the code, not run, so a name stands for what it would now.
"""

from __future__ import annotations

import dis
import importlib.util
import sys
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

__all__ = ["Name", "codes_of", "names_of"]

_GLOBALS = ("LOAD_GLOBAL", "LOAD_NAME")
_LOCALS = ("LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_FAST_BORROW", "LOAD_DEREF")
_STORES = ("STORE_FAST", "STORE_DEREF", "STORE_GLOBAL", "STORE_NAME")
_ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD")
_NOTHING = ("CACHE", "PUSH_NULL")


@dataclass(slots=True)
class Name:
    """A name that code loads, and what it does with it."""

    name: str
    value: object = None
    """What it stands for, None while nobody knows."""
    module: str = ""
    """Of an import: the module that it is from, which may not be loaded yet."""
    called: bool = False
    attributes: set[str] = field(default_factory=set[str])
    """What is read off it."""
    methods: set[str] = field(default_factory=set[str])
    """Those of them that are called."""


def names_of(function: types.FunctionType) -> Iterator[Name]:
    """The globals that a function loads, and what it imports and loads, each once."""
    found: dict[str, Name] = {}
    imported: dict[str, Name] = {}
    space = function.__globals__
    for code in codes_of(function.__code__):  # the outer code first, whose imports are closed over
        steps = [step for step in dis.get_instructions(code) if step.opname != "CACHE"]
        imported.update(_imports(steps, str(space.get("__package__") or "")))
        last: Name | None = None
        for place, step in enumerate(steps):
            if step.opname in _GLOBALS:
                name = str(step.argval)
                last = imported.get(name) or found.setdefault(name, Name(name, space.get(name)))
                # Since 3.11 the lowest bit of the argument says that it is loaded to be called.
                last.called |= step.opname == "LOAD_GLOBAL" and bool((step.arg or 0) & 1)
            elif step.opname in _LOCALS:
                last = imported.get(str(step.argval))
                if last is not None:
                    last.called |= _is_called(steps, place)
            elif step.opname in _ATTRIBUTES and last is not None:
                last.attributes.add(str(step.argval))
                if _is_method(step):
                    last.methods.add(str(step.argval))
                last = None
            elif step.opname not in _NOTHING:
                last = None
    yield from found.values()
    yield from imported.values()


def codes_of(code: types.CodeType) -> Iterator[types.CodeType]:
    """A code object and those inside of it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes_of(constant)


def _is_called(steps: Sequence[dis.Instruction], place: int) -> bool:
    """Whether a local name is loaded to be called; before 3.13 the NULL comes first."""
    around = (*steps[max(place - 1, 0) : place], *steps[place + 1 : place + 2])
    return any(step.opname == "PUSH_NULL" for step in around)


def _is_method(step: dis.Instruction) -> bool:
    """Whether an attribute is loaded to be called; since 3.12 the lowest bit says so."""
    return step.opname == "LOAD_METHOD" or (
        sys.version_info >= (3, 12) and bool((step.arg or 0) & 1)
    )


def _imports(steps: Sequence[dis.Instruction], package: str) -> Iterator[tuple[str, Name]]:
    """What import statements give, under the names that it is stored in."""
    module, taken, part = "", False, ""
    for place, step in enumerate(steps):
        if step.opname == "IMPORT_NAME":
            level, names = steps[place - 2 : place]
            module, taken, part = _full(step.argval, level.argval, package), bool(names.argval), ""
        elif step.opname == "IMPORT_FROM":
            part = str(step.argval)
        elif step.opname in _STORES and module:
            name = str(step.argval)
            yield name, _imported(name, module, part, taken=taken)
            if not taken:
                module = ""
        elif step.opname == "POP_TOP" and taken:  # the module, when all was taken from it
            module = ""


def _imported(name: str, module: str, part: str, *, taken: bool) -> Name:
    # `import a.b` gives `a`; `import a.b as c` takes `b` from it, without saying so beforehand.
    source = module if taken or part else module.partition(".")[0]
    value: object = sys.modules.get(source)
    if taken and value is not None:
        value = vars(value).get(part) or sys.modules.get(f"{source}.{part}")
    return Name(name, value, source)


def _full(name: str, level: int, package: str) -> str:
    try:
        return importlib.util.resolve_name("." * level + name, package)
    except ImportError:  # relative, in a module that is in no package
        return ""
