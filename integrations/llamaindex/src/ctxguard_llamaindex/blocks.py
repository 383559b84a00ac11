"""What a guarded block changes: LlamaIndex's classes, while a block is open anywhere.

The methods are those that a guarded copy overrides, and the replacements are the same; here they
are put on the plain classes themselves, where a class defines them. Every class of retrievers and
models that is loaded, or defined while a block is open, is patched itself. Query engines are, too:
one inside of a retriever hands its evidence to a model of its own, so its retrieval counts.
Where answers are verified, synthesizers give them, and others ask models for what is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.response_synthesizers import BaseSynthesizer

from ctxguard.adapters import Patched
from ctxguard.handle import Coverage, Reached
from ctxguard.patching import Patches, patch_classes
from ctxguard_llamaindex.asides import ASKS_ASIDE, asides_of
from ctxguard_llamaindex.classes import is_guarded_class
from ctxguard_llamaindex.engines import routed
from ctxguard_llamaindex.hooks import choke_points
from ctxguard_llamaindex.scope import Method, entry_points
from ctxguard_llamaindex.synthesizers import synthesizer_methods

__all__ = ["patch"]

_ASIDE = tuple(kind for kind, _ in ASKS_ASIDE)
_ROOTS: tuple[type[Any], ...] = (
    BaseRetriever,
    BaseLLM,
    BaseQueryEngine,
    BaseSynthesizer,
    *_ASIDE,
)


def patch() -> Patched:
    """Let every class of retrievers and models ask for the block around a call."""
    with Patches() as patches:
        for root in _ROOTS:
            patch_classes(patches, root, _methods)
    reached = (
        Reached("llama_index", "BaseRetriever", "retriever"),
        Reached("llama_index", "BaseLLM", "model"),
    )
    return Patched(undo=patches.undo, coverage=Coverage(reached))


def _methods(kind: type[Any]) -> Mapping[str, Method]:
    if is_guarded_class(kind):
        return {}
    if issubclass(kind, BaseQueryEngine):
        return dict(entry_points(kind, routed))
    if issubclass(kind, BaseSynthesizer):
        return synthesizer_methods(kind, {})
    if issubclass(kind, _ASIDE):
        return asides_of(kind, {})
    return choke_points(kind, in_block=True)
