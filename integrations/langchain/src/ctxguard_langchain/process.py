"""Guarding in place: the objects themselves change their class, for everybody who holds them.

A copy stands beside the original, so whatever cannot be handed the copy goes on with the original.
Here there is no copy: a closure, a global list or a bound method that somebody keeps leads to the
same object as before. What the classes do is the same (`hooks`, `scope`).
"""

from __future__ import annotations

from langchain_core.vectorstores import VectorStore
from pydantic import BaseModel

from ctxguard.errors import InputError, UnsupportedObjectError
from ctxguard.guard import Guard
from ctxguard.handle import Handle
from ctxguard.process import Carrying, ProcessHandle, goes_past
from ctxguard_langchain.caches import take_graph_cache
from ctxguard_langchain.carrying import (
    KEY,
    is_dynamic,
    is_guarded,
    is_root,
    own_handle,
    plain_class,
)
from ctxguard_langchain.covering import cover_routes
from ctxguard_langchain.dynamic import Dynamic, class_of, state_of
from ctxguard_langchain.hooks import choke_points, hooked, is_hookable
from ctxguard_langchain.kinds import Kind
from ctxguard_langchain.late import late
from ctxguard_langchain.schemas import note_schemas, schemas_in
from ctxguard_langchain.scope import scoped
from ctxguard_langchain.stepping import ends_well
from ctxguard_langchain.walk import Node, Survey, makes_late

__all__ = ["retake", "take"]


def take(obj: Dynamic, guard: Guard) -> Handle:
    """Guard an object in place, with everything inside of it that is not guarded on its own.

    Whatever guards the object already is replaced when its policy is another; when a copy's guard
    is, `unguard()` brings it back.

    Raises:
        UnsupportedObjectError: the object's own class cannot be changed.
    """
    old = own_handle(obj) if is_guarded(obj) else None
    if old is not None and old.policy == guard.policy:
        return old
    if isinstance(old, ProcessHandle) and old.original is obj:
        old.unguard()
    handle = ProcessHandle(guard, obj, ends_well=ends_well)
    survey = Survey(obj, replaced=old, in_place=handle)
    for node in list(survey.leaves):
        if not _attempt(node, handle, root=node is survey.root):
            survey.leaves.remove(node)
    root = survey.root
    if own_handle(obj) is not handle and not _attempt(root, handle, root=True):
        handle.unguard()
        raise UnsupportedObjectError(f'guard(scope="process"): {root.type}: {root.refusal}')
    for node in survey.dirty:
        take_graph_cache(node.obj, handle)
    for node in survey.reach:
        _report_bound(node, handle, survey)
    note_schemas(handle, schemas_in(node.obj for node in survey.reach))
    handle.coverage = survey.coverage()
    try:
        handle.coverage = cover_routes(handle, handle.coverage, survey.models)
    except InputError:
        handle.unguard()
        raise
    return handle


def _report_bound(node: Node, handle: ProcessHandle, survey: Survey) -> None:
    """Report a method that was bound before, and goes past the one that its class has now."""
    if node.kind is not Kind.METHOD or own_handle(node.obj.__self__) is not handle:
        return
    if not is_hookable(class_of(node.obj.__self__)):
        return
    names = choke_points(plain_class(class_of(node.obj.__self__)))
    if goes_past(node.obj, names):
        name = node.obj.__name__
        survey.report(node, f"{name} was bound before it was guarded; hold the object instead")


def _attempt(node: Node, handle: ProcessHandle, *, root: bool) -> bool:
    try:
        retake(node.obj, handle, root=root)
    except Exception as error:  # whatever a class does when it is subclassed
        node.refusal = f"its class cannot be changed: {error}"
        return False
    return True


def retake(obj: Dynamic, handle: ProcessHandle, *, root: bool) -> None:
    """Guard one object in place, plain or guarded by a handle that this one takes the place of.

    Args:
        obj: what is guarded.
        handle: whose the object is now.
        root: whether calls of the object open a run.

    Raises:
        TypeError: its instances cannot change their class.
    """
    handle.take(obj, _class_for(obj, class_of(obj), root=root), _CARRYING, root=root)


def _class_for(obj: Dynamic, before: type, *, root: bool) -> type:
    wanted = before
    if not is_dynamic(before):
        if is_hookable(before):
            wanted = hooked(before, in_place=True)
        elif makes_late(obj):
            wanted = late(before)
    if not root or is_root(obj) or issubclass(before, VectorStore):
        return wanted
    return scoped(wanted)


def _keep(obj: Dynamic, handle: Handle | None) -> None:
    """Let an object keep a handle; None takes it away.

    Written into the dictionary that is there: somebody may be writing to it at the same time.
    """
    if KEY in getattr(class_of(obj), "__slots__", ()):
        object.__setattr__(obj, KEY, handle)
    elif not issubclass(class_of(obj), BaseModel):
        _write(state_of(obj), handle)
    else:
        private: dict[str, object] | None = obj.__pydantic_private__
        if private is None:
            private = {}
            object.__setattr__(obj, "__pydantic_private__", private)
        _write(private, handle)
        if not private and not class_of(obj).__private_attributes__:
            object.__setattr__(obj, "__pydantic_private__", None)


def _write(state: dict[str, object], handle: Handle | None) -> None:
    if handle is None:
        state.pop(KEY, None)
    else:
        state[KEY] = handle


_CARRYING = Carrying(owner=own_handle, keep=_keep, plain=plain_class)
