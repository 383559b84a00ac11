"""The adapter that `guard()` finds for LangChain and LangGraph objects.

`walk` finds what retrieves or asks a model, `rebuild` copies what holds it, `hooks` are what the
copies do differently, `scope` opens a run for each call. `process` does the same to the objects
themselves, and `blocks` to every class while a block is open. What a copy does not guard, and not
all of it can be reported, because it is not there yet when guard() looks:

- what is put into an attribute, a global or a container afterwards (lists and dicts are copied),
  and what a function imports for the first time when it runs;
- documents that a function fetches or makes itself, without a retriever or a vector store;
- what other packages make when they run, and what arrives in the input (what arrives in a config or
  a graph's context is guarded when it comes, and of the rest, the call warns);
- what the cache of a plain graph keeps of a node whose function calls something guarded: LangGraph
  tells such nodes apart by the function's name alone (a guarded Runnable that is the node itself
  has a name of its own);
- retrieval and models behind a server (`RemoteGraph`) or in another process.

A batch of a guarded chain runs item by item, each with a run of its own; a completion model inside
of it is asked once per item then, not once for all.
"""

from __future__ import annotations

import warnings
from typing import TypeVar, cast

from langchain_core.runnables import Runnable
from langchain_core.vectorstores import VectorStore

from ctxguard.adapters import Patched
from ctxguard.errors import UnsupportedObjectError
from ctxguard.guard import Guard
from ctxguard.handle import Coverage, CoverageWarning, Handle
from ctxguard.process import ProcessHandle
from ctxguard_langchain.blocks import patch
from ctxguard_langchain.carrying import give, handle_of, is_derived, is_guarded, is_root
from ctxguard_langchain.classes import view_of
from ctxguard_langchain.covering import cover_routes
from ctxguard_langchain.dynamic import Dynamic, class_of
from ctxguard_langchain.hooks import hooked, is_hookable
from ctxguard_langchain.process import retake, take
from ctxguard_langchain.rebuild import CannotCopyError, Rebuild
from ctxguard_langchain.schemas import note_schemas, schemas_in
from ctxguard_langchain.scope import scoped
from ctxguard_langchain.stepping import ends_well
from ctxguard_langchain.walk import Survey

__all__ = ["LangChainAdapter", "adapter", "cover_part", "reguard", "restore"]

T = TypeVar("T")


class LangChainAdapter:
    """Guards whatever is a Runnable or a vector store."""

    name = "langchain"

    def supports(self, obj: object, /) -> bool:
        """Whether this is a chain, graph, agent, retriever, model, tool or vector store."""
        return issubclass(class_of(obj), Runnable | VectorStore)

    def guard(self, obj: T, guard: Guard, /) -> T:
        """A guarded copy: same type, its retrievers and models hooked, the original untouched.

        An object that is guarded already comes back as it is when the policy is the same, else
        guarded anew with this one.

        Raises:
            UnsupportedObjectError: the object's own class does not allow a copy.
        """
        old = handle_of(obj) if is_guarded(obj) else None
        shared = isinstance(old, ProcessHandle)  # who asks for a copy wants one of its own
        if is_derived(obj):  # `chain | guarded`: the chain was never looked at
            original: object = obj
        elif old is not None and not shared and is_root(obj) and old.policy == guard.policy:
            return obj
        else:
            original = obj if old is None or shared else old.original
        handle = Handle(guard, original, ends_well=ends_well)
        made, survey = _guarded(obj, handle, replaced=old)
        handle.coverage = cover_routes(handle, survey.coverage(), survey.models)
        _warn(obj, handle.coverage)
        return made

    def guard_in_place(self, obj: T, guard: Guard, /) -> T:
        """The object itself, its retrievers, models and searched vector stores hooked in place.

        Raises:
            UnsupportedObjectError: the object's own class cannot be changed.
        """
        _warn(obj, take(obj, guard).coverage)
        return obj

    def patch(self) -> Patched:
        """Guard every retriever, model and vector store for the blocks that are open."""
        return patch()


adapter = LangChainAdapter()


def cover_part(obj: T, handle: Handle) -> tuple[T, Coverage]:
    """A guarded copy that is part of something guarded, and so opens no run of its own."""
    made, survey = _guarded(obj, handle, scope=False)
    coverage = survey.coverage()
    return made if coverage.reached else obj, coverage


def _guarded(
    obj: T, handle: Handle, *, replaced: Handle | None = None, scope: bool = True
) -> tuple[T, Survey]:
    refused: list[tuple[object, str]] = []
    while True:
        survey = Survey(obj, replaced=replaced, refused=refused)
        try:
            made = Rebuild(survey, handle, scope=scope).run()
        except CannotCopyError as error:
            if error.node is survey.root:
                message = f"guard: {survey.root.type}: {error.reason}"
                raise UnsupportedObjectError(message) from error
            refused.append((error.node.obj, error.reason))
        else:
            note_schemas(handle, schemas_in(node.obj for node in survey.reach))
            return cast("T", made), survey


def _warn(obj: object, coverage: Coverage) -> None:
    if coverage.complete:
        return
    what = f"guard({type(obj).__name__})"
    missing = [f"{u.path or '.'} ({u.type}): {u.reason}" for u in coverage.unreached]
    lines = [f"{what} does not guard everything:", *missing] if missing else []
    if not coverage.reached:
        lines.insert(0, f"{what} found nothing that retrieves or asks a model.")
    # 1 _warn, 2 LangChainAdapter.guard, 3 ctxguard.guard, 4 whoever called guard()
    warnings.warn("\n  ".join(lines), CoverageWarning, stacklevel=4)


# -- pickling -----------------------------------------------------------------------------------


def restore(  # pickle calls by position
    obj: Dynamic,
    handle: Handle | None,
    root: bool,  # noqa: FBT001 -- of __reduce_ex__
) -> Dynamic:
    """The guarded form of an object that was pickled as a plain one."""
    if isinstance(handle, ProcessHandle):
        retake(obj, handle, root=root)
        return obj
    kind = class_of(obj)
    if issubclass(kind, VectorStore):
        return view_of(obj, hooked(kind), handle) if handle else obj
    if is_hookable(kind):
        kind = hooked(kind)
    object.__setattr__(obj, "__class__", scoped(kind) if root else kind)
    give(obj, handle)
    return obj


def reguard(original: Dynamic, handle: Handle) -> Dynamic:
    """The guarded form of a chain that was pickled as its original."""
    made, survey = _guarded(original, handle)
    handle.coverage = cover_routes(handle, survey.coverage(), survey.models)
    return made
