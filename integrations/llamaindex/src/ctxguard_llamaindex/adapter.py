"""What `ctxguard.guard()` finds under the entry points `llama_index` and `workflows`."""

from __future__ import annotations

import warnings
from typing import TypeVar, cast

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.indices.base import BaseIndex
from llama_index.core.ingestion import IngestionPipeline

from ctxguard.adapters import Patched
from ctxguard.errors import PolicyError, UnsupportedObjectError
from ctxguard.guard import Guard
from ctxguard.handle import Coverage, CoverageWarning, Handle
from ctxguard.process import ProcessHandle
from ctxguard_llamaindex.blocks import patch
from ctxguard_llamaindex.classes import is_guarded
from ctxguard_llamaindex.leading import check_engines, lead
from ctxguard_llamaindex.postprocessor import CtxGuardPostprocessor
from ctxguard_llamaindex.routes import cover_routes
from ctxguard_llamaindex.scope import handle_of
from ctxguard_llamaindex.walk import Walk

__all__ = ["LlamaIndexAdapter", "adapter"]

T = TypeVar("T")

_ROOTS = ("llama_index", "workflows")
_INSTEAD: tuple[tuple[type[object], str], ...] = (
    (BaseIndex, "guard what the index makes: guard(index.as_query_engine())"),
    (BaseEmbedding, "embedding models see no prompt"),
    (IngestionPipeline, "ingestion sees no prompt; guard what retrieves from what it stored"),
)
_CALLER = 3
"""Frames from the warning to the line that called `ctxguard.guard()`."""


class LlamaIndexAdapter:
    """Guards LlamaIndex's objects, and classes of a user's own that are made from them."""

    name = "llama_index"

    def supports(self, obj: object, /) -> bool:
        """Whether one of the classes of an object is LlamaIndex's."""
        roots = {kind.__module__.partition(".")[0] for kind in type(obj).__mro__}
        return not roots.isdisjoint(_ROOTS) or isinstance(obj, CtxGuardPostprocessor)

    def guard(self, obj: T, guard: Guard, /) -> T:
        """A guarded copy of an object; the object itself when the same policy already guards it.

        Raises:
            UnsupportedObjectError: nothing in the object is a prompt's business, or it cannot be
                copied.
            PolicyError: a route can be none of its models, or cannot stand in for the object.
        """
        _refuse(obj)
        check_engines(obj, guard.policy)
        if isinstance(obj, CtxGuardPostprocessor):
            same = obj.policy == guard.policy
            return obj if same else cast("T", CtxGuardPostprocessor(policy=guard.policy))
        before = handle_of(obj) if is_guarded(obj) else None
        shared = isinstance(before, ProcessHandle)  # who asks for a copy wants one of its own
        if before is not None and not shared and before.policy == guard.policy:
            return obj
        handle = Handle(guard, obj if before is None or shared else before.original)
        walk = Walk(obj, handle, replaces=before)
        copy, found = walk.copy()
        handle.coverage = _with_routes(copy, handle, walk, found, before)
        _warn(type(obj).__name__, handle.coverage)
        return cast("T", copy)

    def guard_in_place(self, obj: T, guard: Guard, /) -> T:
        """The object itself, with every retriever and model in it guarded for whoever holds it.

        Whatever guards it already is replaced when its policy is another; when a copy's guard is,
        `unguard()` brings it back.

        Raises:
            UnsupportedObjectError: nothing in the object is a prompt's business, or its class
                cannot be changed.
            PolicyError: a route is an engine that cannot stand in for the object.
        """
        _refuse(obj)
        check_engines(obj, guard.policy)
        if isinstance(obj, CtxGuardPostprocessor):
            raise UnsupportedObjectError(
                'guard(scope="process"): a CtxGuardPostprocessor has a policy of its own'
            )
        before = handle_of(obj) if is_guarded(obj) else None
        if before is not None and before.policy == guard.policy:
            return obj
        if isinstance(before, ProcessHandle) and before.original is obj:
            before.unguard()
        handle = ProcessHandle(guard, obj)
        walk = Walk(obj, handle, replaces=before)
        found = walk.take(handle)
        try:
            handle.coverage = _with_routes(obj, handle, walk, found, before)
        except PolicyError:
            handle.unguard()
            raise
        _warn(type(obj).__name__, handle.coverage)
        return obj

    def patch(self) -> Patched:
        """Guard every retriever and model for the blocks that are open."""
        return patch()


def _refuse(obj: object) -> None:
    for kind, instead in _INSTEAD:
        if isinstance(obj, kind):
            raise UnsupportedObjectError(f"guard: {type(obj).__name__}: {instead}")


def _with_routes(
    guarded: object, handle: Handle, walk: Walk, found: Coverage, before: Handle | None
) -> Coverage:
    """What was found, and what the routes of the policy lead to.

    Args:
        guarded: the object; its routes are led to where they go.
        handle: its handle.
        walk: found it.
        found: what was reached.
        before: the handle that the object had, which may come back.

    Raises:
        PolicyError: a route leads nowhere.
    """
    covered = cover_routes(handle, found, walk.models)
    return covered.merged(lead(guarded, handle, walk.models, before))


def _warn(name: str, coverage: Coverage) -> None:
    if not coverage.reached and not coverage.unreached:
        message = f"guard({name}): nothing in it retrieves or asks a model"
    elif coverage.unreached:
        missing = "\n".join(f"  {u.path or '.'} ({u.type}) {u.reason}" for u in coverage.unreached)
        message = f"guard({name}): not guarded:\n{missing}"
    else:
        return
    warnings.warn(message, CoverageWarning, stacklevel=_CALLER + 1)


adapter = LlamaIndexAdapter()
