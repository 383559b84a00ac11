"""Finding everything in an object that retrieves or asks a model.

The survey follows every reference breadth-first, without a depth limit; an object is visited once,
so cycles end. What holds something to guard, directly or through others, has to be copied, so that
the original stays as it is; what cannot be copied is reported with everything behind it.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from langchain_core.language_models import BaseLanguageModel
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable
from langchain_core.runnables.configurable import RunnableConfigurableAlternatives
from langchain_core.vectorstores import VectorStore, VectorStoreRetriever

from ctxguard.handle import Coverage, Handle, Reached, Unreached
from ctxguard.process import ProcessHandle
from ctxguard_langchain.carrying import handle_of, is_guarded, is_leaf, plain_class
from ctxguard_langchain.dynamic import Dynamic, class_of
from ctxguard_langchain.functions import References
from ctxguard_langchain.hooks import SEARCHES, bypasses
from ctxguard_langchain.kinds import Kind, is_bare, kind_of, viewable
from ctxguard_langchain.nodes import (
    Edge,
    behind_foreign,
    edges_of,
    function_edges,
    module_edges,
)

__all__ = ["MOST_NODES", "Node", "Survey", "makes_late"]

MOST_NODES = 100_000
"""Objects looked at; a graph of a hundred nodes has about 2,000."""
_LEAVES = (Kind.RETRIEVER, Kind.MODEL, Kind.STORE, Kind.LATE, Kind.MAKER)
_DISPATCHING: object = cast("Any", functools.singledispatch(print)).__code__
_SEARCH_TYPES = {*VectorStoreRetriever.allowed_search_types, "search_type"}


@dataclass(slots=True, eq=False)
class Node:
    """An object that was found."""

    obj: Any
    path: str
    kind: Kind
    edges: list[tuple[Edge, Node]] = field(default_factory=list["tuple[Edge, Node]"])
    refusal: str = ""
    """Why it cannot be copied, blank when it can."""
    guarded: bool = False
    """Guarded already, by a guard of its own that stays."""

    @property
    def type(self) -> str:
        """What it is, for people."""
        if self.kind is Kind.MAKER:
            return f"{self.obj.__name__}()"
        if self.kind in (Kind.FUNCTION, Kind.CLASS, Kind.MODULE):
            return f"{self.kind.value} {getattr(self.obj, '__name__', '')}"
        return plain_class(class_of(self.obj)).__name__


class Survey:
    """Everything that is reachable from one object."""

    def __init__(
        self,
        root: object,
        *,
        replaced: Handle | None = None,
        refused: Iterable[tuple[object, str]] = (),
        in_place: ProcessHandle | None = None,
    ) -> None:
        """Look at everything.

        Args:
            root: what is to be guarded.
            replaced: the handle of a guard that this one takes the place of.
            refused: objects that turned out not to be copyable, and why.
            in_place: the handle with which the objects themselves are guarded, and nothing copied.
        """
        self._replaced = replaced
        self._in_place = in_place
        self._refused = {id(obj): reason for obj, reason in refused}
        self._nodes: dict[int, Node] = {}
        self._pending: deque[Node] = deque()
        self._searching: list[Node] = []
        self._asked: dict[int, set[str]] = {}
        self.problems: list[Unreached] = []
        self.root = self._node(root, "")
        self._explore()
        self.reach = dict.fromkeys(self._from(self.root))
        self.leaves = self._leaves()
        self.dirty = self._holders()

    # -- looking --------------------------------------------------------------------------------

    def _node(self, obj: Dynamic, path: str) -> Node:
        node = self._nodes.get(id(obj))
        if node is None:
            node = Node(obj, path, Kind.LATE if makes_late(obj) else kind_of(obj))
            # The node keeps its object alive, so an id stays the id of one object.
            self._nodes[id(obj)] = node
            self._pending.append(node)
        return node

    def _explore(self) -> None:
        while self._pending:
            if len(self._nodes) > MOST_NODES:
                self.report(
                    self.root,
                    f"it refers to more than {MOST_NODES:,} objects; the rest was not looked at",
                )
                return
            node = self._pending.popleft()
            if node.kind is Kind.FUNCTION:
                self._look_into_function(node)
            elif self._keeps_its_guard(node):
                node.guarded = True
                continue
            for edge in edges_of(node.obj, node.kind):
                self._connect(node, edge)
            if self._in_place:
                self._look_behind(node)
            else:
                node.refusal = self._refused.get(id(node.obj)) or node.refusal or _refusal(node)
            self._check(node)

    def _keeps_its_guard(self, node: Node) -> bool:
        own = handle_of(node.obj) if is_guarded(node.obj) else None
        if own is None or own is self._replaced:
            return False
        return self._in_place is None or not self._in_place.shares_with(own)

    def _connect(self, node: Node, edge: Edge) -> None:
        kind = kind_of(edge.value)
        if kind is not Kind.NOTHING and not is_bare(edge.value, kind):
            node.edges.append((edge, self._node(edge.value, node.path + edge.label)))

    def _look_into_function(self, node: Node) -> None:
        if node.obj.__code__ is _DISPATCHING:
            node.refusal = "it keeps the functions that it chose in a cache of its own"
        names, edges = function_edges(node.obj)
        if names is None:
            return
        for edge in edges:
            self._connect(node, edge)
            if kind_of(edge.value) is Kind.MODULE:
                self._ask_module(node.edges[-1][1], names)
        if names.written and node.edges:
            written = ", ".join(sorted(names.written))
            node.refusal = f"it assigns the global {written}; hand it over as an argument instead"
        if names.attributes & SEARCHES.keys():
            self._searching.append(node)

    def _look_behind(self, node: Node) -> None:
        """What only matters where objects are guarded in place: that they cannot be copied."""
        node.refusal = ""
        if node.kind is Kind.FOREIGN:
            for edge in behind_foreign(node.obj):
                self._connect(node, edge)
        elif node.kind is Kind.MAKER:
            node.refusal = "what it makes is not there yet; use it inside of `with guarded(policy)`"

    def _ask_module(self, module: Node, names: References) -> None:
        """Follow the attributes of a module that a function asks for, submodules included."""
        asked = self._asked.setdefault(id(module.obj), set())
        for edge in list(module_edges(module.obj, names, asked)):
            asked.add(edge.name)
            self._connect(module, edge)
            if kind_of(edge.value) is Kind.MODULE:
                self._ask_module(module.edges[-1][1], names)

    # -- judging --------------------------------------------------------------------------------

    def _from(self, start: Node, *, through: tuple[Kind, ...] = ()) -> Iterator[Node]:
        """Nodes reached over what can be copied, in the order of the code.

        Args:
            start: where to start; it comes first.
            through: kinds behind which nothing is looked at.
        """
        seen: set[Node] = set()
        pending = [start]
        while pending:
            node = pending.pop()
            if node in seen:
                continue
            seen.add(node)
            yield node
            if not node.refusal and node.kind not in through:
                pending.extend(child for _, child in reversed(node.edges))

    def _leaves(self) -> list[Node]:
        """What is to be guarded, in the order of the code.

        A vector store inside of a retriever is the retriever's business; one that a function or an
        object searches itself is guarded, too.
        """
        searched = set(self._from(self.root, through=(Kind.RETRIEVER,)))
        for node in self._searching:  # it may ask the store of a retriever: `r.vectorstore`
            if node in self.reach:
                searched.update(self._from(node))
        return [
            node
            for node in self.reach
            if node.kind in _LEAVES
            and not node.guarded
            and not node.refusal
            and (node.kind is not Kind.STORE or node in searched)
        ]

    def _holders(self) -> list[Node]:
        """The leaves and everything that refers to them."""
        owners: dict[Node, list[Node]] = {}
        for node in self.reach:
            if not node.refusal:
                for _, child in node.edges:
                    owners.setdefault(child, []).append(node)
        dirty, pending = set(self.leaves), list(self.leaves)
        while pending:
            for owner in owners.get(pending.pop(), ()):
                if owner not in dirty:
                    dirty.add(owner)
                    pending.append(owner)
        return [node for node in self.reach if node in dirty]

    @property
    def models(self) -> list[object]:
        """The models among the leaves, in the order of the code."""
        return [node.obj for node in self.leaves if node.kind is Kind.MODEL]

    # -- reporting ------------------------------------------------------------------------------

    def coverage(self) -> Coverage:
        """What is guarded and what is not, both in the order of the code."""
        reached: list[Reached] = []
        leaves = set(self.leaves)
        for node in self.reach:
            if node in leaves:
                reached.append(Reached(_shown(node.path), node.type, _role(node)))
            elif node.guarded:
                reached += _inner(node)
        self._report_blocked()
        self._report_searches()
        return Coverage(tuple(reached), tuple(dict.fromkeys(self.problems)))

    def report(self, node: Node, reason: str) -> None:
        """Add a problem to the coverage."""
        self.problems.append(Unreached(_shown(node.path), node.type, reason))

    def _report_blocked(self) -> None:
        """Whatever cannot be copied and holds something to guard."""
        for node in self.reach:
            if not node.refusal:
                continue
            behind = [
                child for child in _behind(node) if child.kind in _LEAVES and not child.guarded
            ]
            if node.kind in _LEAVES:
                self.report(node, node.refusal)
            elif behind:
                names = ", ".join(dict.fromkeys(child.type for child in behind))
                self.report(node, f"it uses {names}, but {node.refusal}")

    def _report_searches(self) -> None:
        """Functions that search a vector store which nobody can see from here."""
        for node in self._searching:
            names = _searches(node)
            if names and node in self.reach and not any(map(_is_store, self._from(node))):
                called = ", ".join(sorted(names))
                self.report(node, f"it calls {called} of something that could not be found")

    def _check(self, node: Node) -> None:
        """Report what a node is, as far as that cannot be guarded whatever holds it."""
        kind = class_of(node.obj)
        if node.kind is Kind.OBJECT and issubclass(kind, BaseLanguageModel):
            self.report(
                node, "it is neither a BaseChatModel nor a BaseLLM; its prompts are not seen"
            )
        elif node.kind is Kind.MODEL:
            for name in bypasses(plain_class(kind), ("generate", "agenerate")):
                self.report(node, f"it overrides {name} without calling its base class: not seen")
        elif node.kind is Kind.FOREIGN and _stands_in(node.obj):
            self.report(node, "it stands in for a retriever or a model, but is none")
        elif node.kind is Kind.OBJECT and kind.__name__ == "RemoteGraph":
            self.report(node, "it runs on a server")


def makes_late(obj: Dynamic) -> bool:
    """Whether this makes what it runs when it is called."""
    if not issubclass(class_of(obj), RunnableConfigurableAlternatives):
        return kind_of(obj) is Kind.LATE
    alternatives: Iterable[object] = obj.alternatives.values()
    return not all(isinstance(made, Runnable) for made in alternatives)


def _shown(path: str) -> str:
    return path.removeprefix(".").strip()


def _role(node: Node) -> Literal["retriever", "model"]:
    finds = (Kind.RETRIEVER, Kind.STORE)
    if node.kind is Kind.MAKER and isinstance(node.obj, type):
        return "retriever" if issubclass(node.obj, BaseRetriever | VectorStore) else "model"
    return "retriever" if node.kind in finds else "model"


def _behind(node: Node) -> Iterable[Node]:
    seen, pending = {node}, [node]
    while pending:
        for _, child in pending.pop().edges:
            if child not in seen:
                seen.add(child)
                pending.append(child)
                yield child


def _searches(node: Node) -> frozenset[str]:
    """The methods by which a function searches a vector store, as far as their names tell.

    Much else has a method `search`; that of a vector store is told how to.
    """
    names, _ = function_edges(node.obj)
    if names is None:
        return frozenset()
    searches = names.attributes & SEARCHES.keys()
    return searches if names.constants & _SEARCH_TYPES else searches - {"search", "asearch"}


def _is_store(node: Node) -> bool:
    """Whether this is a vector store, or makes one."""
    made = node.kind is Kind.MAKER and isinstance(node.obj, type)
    return node.kind is Kind.STORE or (made and issubclass(node.obj, VectorStore))


def _inner(node: Node) -> list[Reached]:
    """What a guarded object inside of this one guards itself."""
    own = handle_of(node.obj)
    path = _shown(node.path)
    if own is None or is_leaf(node.obj):
        return [Reached(path, node.type, _role(node))]
    return [Reached(f"{path}.{r.path}", r.type, r.kind) for r in own.coverage.reached]


def _refusal(node: Node) -> str:
    """Why an object cannot be copied, blank when it can."""
    if node.kind is Kind.CLASS:
        return "that belongs to a class; hold it in an instance"
    if node.kind is Kind.FOREIGN:
        return f"a {class_of(node.obj).__module__} object cannot be copied safely"
    if (
        node.kind is Kind.OBJECT
        and hasattr(class_of(node.obj), "__del__")
        and not viewable(node.obj)
    ):
        return "its finaliser (__del__) would close what the original uses"
    return ""


def _stands_in(obj: object) -> bool:
    """Whether a proxy or a mock claims to be of a class that it is not of."""
    claims = any("__class__" in vars(base) for base in class_of(obj).__mro__[:-1])
    return claims and isinstance(obj, BaseRetriever | BaseLanguageModel | VectorStore)
