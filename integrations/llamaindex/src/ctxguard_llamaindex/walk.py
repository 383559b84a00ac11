"""The walk: everything inside an object that retrieves or asks a model, and a copy with it guarded.

Breadth first, so that a thing that can be reached in several ways is reported under its shortest
path; without recursion, so that depth does not matter. Only what holds something guarded is copied.
"""

from __future__ import annotations

import contextlib
import types
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.llms.structured_llm import StructuredLLM
from llama_index.core.objects import ObjectRetriever

from ctxguard.errors import UnsupportedObjectError
from ctxguard.handle import Coverage, Handle, Reached, Unreached
from ctxguard.process import ProcessHandle, goes_past
from ctxguard_llamaindex.classes import attach, is_guarded, plain_type, take
from ctxguard_llamaindex.copies import Value
from ctxguard_llamaindex.graph import Key, Part, Shape, shape_of
from ctxguard_llamaindex.hooks import choke_points
from ctxguard_llamaindex.kinds import (
    is_left_alone,
    is_users,
    kind_of,
    starts_calls,
    takes_part,
    wants_copy,
    why_not,
)
from ctxguard_llamaindex.scope import handle_of, own_handle
from ctxguard_llamaindex.surroundings import Held, Surroundings

__all__ = ["Walk"]

_GUARDED_KINDS = ("retriever", "model")
_HANDED_IN = "is handed in with the call; guard it first, or make it an attribute"
_CLOSED = "wraps something to be guarded and cannot be rebuilt; hand in what it wraps"


@dataclass(slots=True)
class _Place:
    """An object that the walk came by."""

    value: Any
    path: str
    shape: Shape
    users: bool
    """Belongs to the user's own code, so an index in it is there to be used."""
    parts: dict[Key, int] = field(default_factory=dict[Key, int])
    """Identity of what is inside, for each part that the walk went into."""
    holders: list[int] = field(default_factory=list[int])
    obstacle: str = ""
    """Why it cannot be copied, blank while nothing speaks against it."""
    copied: bool = False


class Walk:
    """One walk from an object through everything inside of it."""

    def __init__(self, root: object, handle: Handle, *, replaces: Handle | None = None) -> None:
        """Prepare; `copy` does it.

        Args:
            root: what is guarded.
            handle: what the guarded copy carries.
            replaces: the handle of an earlier guard whose objects are to be guarded anew. What was
                guarded on its own keeps its own.
        """
        self.root = root
        self.handle = handle
        self.replaces = replaces
        self.places: dict[int, _Place] = {}
        self.copies: dict[int, Any] = {}
        self.unreached: list[Unreached] = []

    def take(self, handle: ProcessHandle) -> Coverage:
        """Guard everything in place, the root last, and say what is guarded.

        Raises:
            UnsupportedObjectError: the root itself cannot change its class.
        """
        self._look_around(in_place=True)
        for place in self.places.values():
            place.obstacle = ""  # nothing has to be copied
        self._mark()
        for place in reversed(self.places.values()):
            needed = place.value is self.root or self._is_guarded_here(place)
            if place.copied and (needed or self._has_calls(place.value)):
                self._take(place, handle, needed=needed)
        for place in self.places.values():
            self._report_bound(place, handle)
        return self._report()

    def _report_bound(self, place: _Place, handle: ProcessHandle) -> None:
        """Report a method that was bound before, and goes past the one that its class has now."""
        method = place.value
        if not isinstance(method, types.MethodType) or own_handle(method.__self__) is not handle:
            return
        if goes_past(method, choke_points(plain_type(method.__self__))):
            reason = "was bound before its object was guarded; hold the object instead"
            self.unreached.append(Unreached(place.path, method.__name__, reason))

    def _take(self, place: _Place, handle: ProcessHandle, *, needed: bool) -> None:
        try:
            take(place.value, handle, root=place.value is self.root)
        except Exception as error:  # whatever a class does when it is subclassed
            place.copied = False
            name = type(place.value).__name__
            if place.value is self.root:
                handle.unguard()
                message = f'guard(scope="process"): {name}: its class cannot be changed: {error}'
                raise UnsupportedObjectError(message) from error
            if needed:
                reason = f"its class cannot be changed: {error}"
                self.unreached.append(Unreached(place.path, name, reason))

    def copy(self, name: str = "") -> tuple[Any, Coverage]:
        """The guarded copy, and what is guarded in it.

        Args:
            name: of the root, for the paths.

        Raises:
            UnsupportedObjectError: the root itself cannot be copied or change its class.
        """
        self._look_around(name)
        while True:  # an object that turns out not to be copyable changes what needs a copy
            self._mark()
            if self._make_copies():
                break
        self._fill()
        return self.copies[id(self.root)], self._report()

    @property
    def models(self) -> list[tuple[str, BaseLLM]]:
        """The models that are guarded and take a route, with their paths; once they are guarded."""
        places = self._from(id(self.root), lambda place: not place.obstacle)
        return [
            (place.path, self.copies.get(id(place.value), place.value))
            for place in places
            if isinstance(place.value, BaseLLM)
            and not isinstance(place.value, StructuredLLM)
            and (place.copied or place.value is self.root)
        ]

    def unguarded(self, name: str) -> list[Unreached]:
        """What would be guarded if the root were, and what could not be; nothing is copied.

        Args:
            name: of the root, for the paths.
        """
        self._look_around(name)
        found = [
            Unreached(place.path, plain_type(place.value).__name__, _HANDED_IN)
            for place in self.places.values()
            if self._is_guarded_here(place)
        ]
        return [*found, *self.unreached]

    # -- looking ---------------------------------------------------------------------------------

    def _look_around(self, path: str = "", *, in_place: bool = False) -> None:
        surroundings = Surroundings()
        waiting = deque([self._arrive(self.root, path, users=False)])
        while waiting:
            place = waiting.popleft()
            if place is None:
                continue
            for found in surroundings.of(place.value, place.path):
                if in_place and isinstance(found, Held):
                    waiting.append(self._enter_held(place, found))
                else:
                    self.unreached.append(Unreached(found.path, found.type, found.reason))
            waiting.extend(self._enter(place, part) for part in place.shape.parts(place.value))

    def _enter(self, place: _Place, part: Part) -> _Place | None:
        """The place that a part leads to when the walk has not been there before."""
        value = part.value
        path = f"{place.path}{part.label}" if place.path else part.label.lstrip(".")
        if (place.users or not is_left_alone(value)) and (reason := why_not(value)):
            self.unreached.append(Unreached(path, type(value).__name__, reason))
        if is_left_alone(value) or _finds_tools(place.value, part):
            return None
        new = None if id(value) in self.places else self._arrive(value, path, users=place.users)
        if id(value) in self.places:
            place.parts[part.key] = id(value)
            self.places[id(value)].holders.append(id(place.value))
        return new

    def _enter_held(self, place: _Place, held: Held) -> _Place | None:
        """The place of what code reaches for, which counts where nothing has to be copied."""
        known = id(held.value) in self.places
        new = None if known else self._arrive(held.value, held.path, users=False)
        if id(held.value) in self.places:
            place.parts["held", held.path] = id(held.value)
        return new

    def _arrive(self, value: Value, path: str, *, users: bool) -> _Place | None:
        shape = shape_of(value)
        if shape is None:
            return None
        function = isinstance(value, types.FunctionType)
        module: str = value.__module__ if function else type(value).__module__
        # What a retriever makes of an index is inside of it; what it finds is guarded.
        own = not isinstance(value, BaseRetriever) and is_users(module)
        place = _Place(value, path, shape, users if module == "builtins" else own)
        place.obstacle = _CLOSED if shape.closed else ""
        self.places[id(value)] = place
        return place

    def _keeps_own_guard(self, place: _Place) -> bool:
        own = handle_of(place.value) if is_guarded(place.value) else None
        if own is None or own is self.replaces:
            return False
        return not isinstance(self.handle, ProcessHandle) or not self.handle.shares_with(own)

    # -- marking ---------------------------------------------------------------------------------

    def _mark(self) -> None:
        """Mark what is copied: the root, what is to be guarded, and whatever holds either."""
        for place in self.places.values():
            place.copied = False
        self._mark_up(id(self.root))
        # What was guarded on its own is looked through for the report, and stays as it is.
        for place in self._from(id(self.root), lambda place: not self._keeps_own_guard(place)):
            wanted = self._is_guarded_here(place) or wants_copy(place.value)
            if wanted and not place.obstacle and not self._keeps_own_guard(place):
                self._mark_up(id(place.value))

    def _mark_up(self, identity: int) -> None:
        waiting = [identity]
        while waiting:
            place = self.places[waiting.pop()]
            if not place.copied and not place.obstacle and not self._keeps_own_guard(place):
                place.copied = True
                waiting.extend(place.holders)

    def _is_guarded_here(self, place: _Place) -> bool:
        return kind_of(place.value) in _GUARDED_KINDS and not self._keeps_own_guard(place)

    def _has_calls(self, value: object) -> bool:
        """Whether methods of an object that only holds others are guarded too."""
        verifies = self.handle.policy.verifies
        return starts_calls(value) or (verifies and takes_part(value))

    # -- copying ---------------------------------------------------------------------------------

    def _make_copies(self) -> bool:
        """Copy every mutable object that is marked; False when one cannot be copied after all."""
        self.copies.clear()
        for identity, place in self.places.items():
            make = place.shape.copy
            if place.copied and make is not None and not self._make_copy(identity, place, make):
                return False
        for identity, place in self.places.items():
            if place.copied and place.shape.put is not None and place.shape.build is not None:
                ready = {key: self.copies[i] for key, i in place.parts.items() if i in self.copies}
                self.copies[identity] = place.shape.build(place.value, ready)
        return True

    def _make_copy(self, identity: int, place: _Place, make: Callable[[Any], Any]) -> bool:
        needed = place.value is self.root or self._is_guarded_here(place)
        try:
            self.copies[identity] = copy = make(place.value)
            if needed:
                attach(copy, self.handle)
        except Exception as error:  # whatever a class does when it is copied or subclassed
            if place.value is self.root:
                name = type(place.value).__name__
                raise UnsupportedObjectError(f"guard: {name}: {error}") from error
            place.obstacle = f"cannot be copied: {type(error).__name__}: {error}"
            return False
        if not needed and self._has_calls(place.value):
            with contextlib.suppress(Exception):  # its parts are guarded all the same
                attach(copy, self.handle)
        return True

    def _fill(self) -> None:
        for identity, place in self.places.items():
            if place.copied and place.shape.put is not None:
                for key, inside in place.parts.items():
                    if self.places[inside].copied:
                        place.shape.put(self.copies[identity], key, self._new(inside))

    def _new(self, identity: int) -> Value:
        """The copy of an object; immutable ones are built when they are asked for, inside first."""
        if identity not in self.copies:
            place = self.places[identity]
            parts = {k: self._new(i) for k, i in place.parts.items() if self.places[i].copied}
            build = place.shape.build
            self.copies[identity] = build(place.value, parts) if build else place.value
        return self.copies[identity]

    # -- reporting -------------------------------------------------------------------------------

    def _report(self) -> Coverage:
        """What the copy leads to, and what only something leads to that could not be copied."""
        reached: list[Reached] = []
        for place in self._from(id(self.root), lambda place: not place.obstacle):
            kind = kind_of(place.value)
            name = plain_type(place.value).__name__
            if place.obstacle:
                below = self._from(id(place.value), lambda _: True)
                if any(self._is_guarded_here(inner) for inner in below):
                    self.unreached.append(Unreached(place.path, name, place.obstacle))
            elif kind == "postprocessor" or (
                kind is not None and (place.copied or self._keeps_own_guard(place))
            ):
                reached.append(Reached(place.path, name, kind))
        return Coverage(tuple(reached), tuple(dict.fromkeys(self.unreached)))

    def _from(self, start: int, enters: Callable[[_Place], bool]) -> Iterator[_Place]:
        """Every place reached from one, nearest first, going on from those that `enters` admits."""
        seen = {start}
        waiting = deque([start])
        while waiting:
            place = self.places[waiting.popleft()]
            yield place
            if enters(place):
                new = [i for i in dict.fromkeys(place.parts.values()) if i not in seen]
                seen.update(new)
                waiting.extend(new)


def _finds_tools(holder: object, part: Part) -> bool:
    """Whether a part is a retriever of tools: its nodes name tools, they are no evidence."""
    return isinstance(holder, ObjectRetriever) and part.key == ("attribute", "_retriever")
