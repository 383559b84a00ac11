"""The copy: everything that holds something to guard, made anew around it.

Copies are made first, as they are; then every reference from a copy to something that was copied is
put in its place. So a cycle needs no care, and a bound method that an object keeps of itself is
bound to the copy.
"""

from __future__ import annotations

import copy
import functools
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from ctxguard.handle import Handle
from ctxguard_langchain.caches import separate_graph_cache
from ctxguard_langchain.carrying import give, plain_class
from ctxguard_langchain.classes import Override, is_view, overridden, raw_copy, rewritten, view_of
from ctxguard_langchain.dynamic import Dynamic, class_of, extends, state_of
from ctxguard_langchain.functions import Globals, ModuleView, remake
from ctxguard_langchain.hooks import hooked
from ctxguard_langchain.kinds import UNDERLYING, Kind, viewable
from ctxguard_langchain.late import guarding, late, making
from ctxguard_langchain.nodes import Edge, Place
from ctxguard_langchain.scope import scoped
from ctxguard_langchain.walk import Node, Survey

__all__ = ["CannotCopyError", "Rebuild"]

# A subclass may do something else when it is read or written.
_Dict, _Tuple = dict[Any, Any], tuple[Any, ...]
_IMMUTABLE = (Kind.TUPLE, Kind.METHOD, Kind.CACHED)


class Rebuild:
    """One guarded copy of what a survey found."""

    def __init__(self, survey: Survey, handle: Handle, *, scope: bool = True) -> None:
        """Prepare.

        Args:
            survey: what holds what.
            handle: what the hooks apply and report to.
            scope: whether the root opens a run for each call.
        """
        self._survey = survey
        self._handle = handle
        self._scope = scope
        self._new: dict[Node, Any] = {}
        self._globals: dict[int, Globals] = {}
        self._cells: dict[int, types.CellType] = {}
        self._dirty = set(survey.dirty)

    def run(self) -> Dynamic:
        """The guarded copy of the root.

        Raises:
            CannotCopyError: naming the node that has to be refused.
        """
        nodes = self._survey.dirty
        for node in nodes:  # methods of a rewritten class are functions, so these come first
            if node.kind is Kind.FUNCTION:
                self._new[node] = self._function(node)
        for node in nodes:
            if node.kind is not Kind.FUNCTION and node.kind not in _IMMUTABLE:
                self._new[node] = self._attempt(node, self._copy)
        self._make_immutables([node for node in nodes if node.kind in _IMMUTABLE])
        for node in nodes:
            if node.kind not in _IMMUTABLE:
                self._attempt(node, self._fill)
        root = self._survey.root
        return self._new[root] if root in self._new else self._bare_root(root.obj)

    def _bare_root(self, obj: Dynamic) -> Dynamic:
        """A copy of a root in which there was nothing to do; as a part, itself."""
        if not self._scope:
            return obj
        new = raw_copy(obj, scoped(plain_class(class_of(obj))))
        give(new, self._handle)
        return new

    # -- copies as they are ----------------------------------------------------------------------

    def _attempt(self, node: Node, step: Callable[[Node], Any]) -> Dynamic:
        try:
            return step(node)
        except Exception as error:
            raise CannotCopyError(node, f"it cannot be copied ({error})") from error

    def _copy(self, node: Node) -> Dynamic:
        obj, kind = node.obj, node.kind
        if kind is Kind.STORE:
            return view_of(obj, hooked(plain_class(class_of(obj))), self._handle)
        if kind is Kind.MODULE:
            return ModuleView(obj)
        if kind is Kind.MAKER:
            return making(obj) if isinstance(obj, type) else guarding(obj, self._handle)
        if kind is Kind.PARTIAL:
            return class_of(obj)(obj.func)
        if kind in (Kind.MAPPING, Kind.SEQUENCE, Kind.SET):
            return copy.copy(obj)  # a subclass may know how
        return self._copy_object(node)

    def _copy_object(self, node: Node) -> Dynamic:
        wanted = self._rewritten(node)
        if node.kind is Kind.OBJECT and node is not self._survey.root and viewable(node.obj):
            return view_of(node.obj, overridden(wanted))
        leaf = node.kind in (Kind.RETRIEVER, Kind.MODEL)
        if leaf:
            wanted = hooked(wanted)
        elif node.kind is Kind.LATE:
            wanted = late(wanted)
        root = node is self._survey.root and self._scope
        if root:
            wanted = scoped(wanted)
        new = raw_copy(node.obj, wanted)
        separate_graph_cache(new, self._handle)
        if root or leaf or node.kind is Kind.LATE:
            give(new, self._handle)
        return new

    def _rewritten(self, node: Node) -> type[Any]:
        """The object's class, or a subclass with the methods that had to be made anew."""
        kind = plain_class(class_of(node.obj))
        methods = {
            edge.name: _like(_declared(kind, edge.name), edge.name, self._new[child])
            for edge, child in node.edges
            if edge.place is Place.METHOD and child in self._dirty
        }
        return rewritten(kind, methods) if methods else kind

    def _function(self, node: Node) -> types.FunctionType:
        function: types.FunctionType = node.obj
        module: dict[str, Any] = function.__globals__
        cells: list[types.CellType] = list(function.__closure__ or ())
        for edge, child in node.edges:
            if child not in self._dirty:
                continue
            if edge.place is Place.CELL:
                # Functions that share a variable go on sharing it.
                index: int = edge.name
                cells[index] = self._cell_for(cells[index])
            elif edge.place is Place.GLOBAL:
                module = self._module_of(function)
            elif edge.place is Place.IMPORT:
                module = self._module_of(function)
                module.watch_imports()
        return remake(function, module, tuple(cells) if function.__closure__ else None)

    def _cell_for(self, old: types.CellType) -> types.CellType:
        return self._cells.setdefault(id(old), types.CellType())

    def _module_of(self, function: types.FunctionType) -> Globals:
        module = function.__globals__
        source = module.module if isinstance(module, Globals) else module
        if id(source) not in self._globals:
            self._globals[id(source)] = Globals(source)
        return self._globals[id(source)]

    # -- what cannot be filled in afterwards -----------------------------------------------------

    def _make_immutables(self, pending: list[Node]) -> None:
        """Tuples and methods, those that hold others last."""
        pending = pending[::-1]
        while pending:
            ready = [n for n in pending if all(self._is_made(child) for _, child in n.edges)]
            for node in ready:
                self._new[node] = self._immutable(node)
            if not ready:  # a cycle of tuples and methods alone cannot be built in Python
                raise CannotCopyError(pending[0], "it contains itself")
            pending = [node for node in pending if node not in self._new]

    def _is_made(self, node: Node) -> bool:
        return node not in self._dirty or node in self._new

    def _get(self, node: Node) -> Dynamic:
        return self._new.get(node, node.obj) if node in self._dirty else node.obj

    def _immutable(self, node: Node) -> Dynamic:
        parts = {(edge.place, edge.name): self._get(child) for edge, child in node.edges}
        if node.kind is Kind.TUPLE:
            items = list(cast("Iterable[Any]", node.obj))
            for (_, index), value in parts.items():
                items[index] = value
            kind = class_of(node.obj)
            return kind(items) if extends(kind, frozenset) else _Tuple.__new__(kind, items)
        if node.kind is Kind.CACHED:
            return _cached_like(node.obj, parts[Place.CALLEE, None])
        return _bind(node.obj, parts.get((Place.SELF, None)), parts.get((Place.CALLEE, None)))

    # -- putting references in their places ------------------------------------------------------

    def _fill(self, node: Node) -> None:
        new = self._new[node]
        writer = _WRITERS.get(node.kind, _write_object)
        changes = [(edge, self._get(child)) for edge, child in node.edges if child in self._dirty]
        if node.kind is Kind.PARTIAL:
            _write_partial(new, node.obj, changes)
        elif node.kind is Kind.FUNCTION:
            self._write_function(new, changes)
        else:
            for edge, value in changes:
                writer(new, edge, value)

    def _write_function(self, new: types.FunctionType, changes: list[tuple[Edge, Any]]) -> None:
        defaults = list(new.__defaults__ or ())
        for edge, value in changes:
            if edge.place is Place.CELL:
                cast("tuple[types.CellType, ...]", new.__closure__)[edge.name].cell_contents = value
            elif edge.place is Place.GLOBAL:
                cast("Globals", new.__globals__).replace(edge.name, edge.value, value)
            elif edge.place is Place.IMPORT:
                cast("Globals", new.__globals__).replace_module(edge.value, value)
            elif edge.place is Place.DEFAULT:
                defaults[edge.name] = value
            elif edge.place is Place.KEYWORD:
                cast("dict[str, Any]", new.__kwdefaults__)[edge.name] = value
            else:
                new.__dict__[edge.name] = value
        new.__defaults__ = tuple(defaults) or None


class CannotCopyError(Exception):
    """A node turned out not to be copyable; the survey has to do without it."""

    def __init__(self, node: Node, reason: str) -> None:
        super().__init__(reason)
        self.node = node
        self.reason = reason


def _declared(kind: type[Any], name: str) -> object:
    return next(vars(base)[name] for base in kind.__mro__ if name in vars(base))


def _like(declared: object, name: str, function: types.FunctionType) -> object:
    """The function in what it was wrapped in: a static method, a property, a cache."""
    kind = class_of(declared)
    if isinstance(declared, property):
        return property(function, declared.fset, declared.fdel, declared.__doc__)
    if kind not in UNDERLYING and not extends(kind, tuple(UNDERLYING)):
        return function
    if isinstance(declared, functools.cached_property):
        made = functools.cached_property(function)
        made.__set_name__(object, name)
        return made
    if extends(kind, (staticmethod, classmethod)):
        return kind(function)
    return _cached_like(declared, function)


def _cached_like(declared: Dynamic, function: Callable[..., Any]) -> Callable[..., Any]:
    """A cache of its own for another function, with the parameters of the one that was declared."""
    made = functools.lru_cache(**declared.cache_parameters())(function)
    return functools.update_wrapper(made, function)


def _bind(method: types.MethodType, owner: Dynamic, function: Dynamic) -> Dynamic:
    """The method of a new owner: what its class has under that name, if the old class had this."""
    old = method.__self__
    if owner is None or owner is old:
        return types.MethodType(function, old)
    name = getattr(method.__func__, "__name__", "")
    found = getattr(class_of(old), name, None) is method.__func__
    return getattr(owner, name) if found else types.MethodType(function, owner)


# -- writers ------------------------------------------------------------------------------------


def _write_object(new: Dynamic, edge: Edge, value: Dynamic) -> None:
    if edge.place is Place.ATTRIBUTE and is_view(new):
        setattr(class_of(new), edge.name, Override(edge.name, edge.value, value))
    elif edge.place is Place.ATTRIBUTE:
        state_of(new)[edge.name] = value
    elif edge.place is Place.SLOT:
        object.__setattr__(new, edge.name, value)
    elif edge.place in (Place.PRIVATE, Place.EXTRA):
        name = "__pydantic_private__" if edge.place is Place.PRIVATE else "__pydantic_extra__"
        object.__getattribute__(new, name)[edge.name] = value


def _write_mapping(new: dict[Any, Any], edge: Edge, value: Dynamic) -> None:
    _Dict.__setitem__(new, edge.name, value)


def _write_sequence(new: Dynamic, edge: Edge, value: Dynamic) -> None:
    new[edge.name] = value


def _write_module(new: ModuleView, edge: Edge, value: Dynamic) -> None:
    new.replace(edge.name, edge.value, value)


def _write_set(new: Dynamic, edge: Edge, value: Dynamic) -> None:
    new.remove(edge.value)
    new.add(value)


def _write_partial(new: Dynamic, old: Dynamic, changes: list[tuple[Edge, Any]]) -> None:
    function, args, keywords, state = (
        old.func,
        list(old.args),
        dict(old.keywords),
        dict(state_of(old)),
    )
    for edge, value in changes:
        if edge.place is Place.CALLEE:
            function = value
        elif edge.place is Place.ITEM:
            args[edge.name] = value
        elif edge.place is Place.KEYWORD:
            keywords[edge.name] = value
        else:
            state[edge.name] = value
    new.__setstate__((function, tuple(args), keywords, state))


_WRITERS: Mapping[Kind, Callable[[Any, Edge, Any], None]] = {
    Kind.MAPPING: _write_mapping,
    Kind.SEQUENCE: _write_sequence,
    Kind.SET: _write_set,
    Kind.MODULE: _write_module,
}
