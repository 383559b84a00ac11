"""Retrieval depth: as many documents per search as the route of a question says.

A retriever is shared by calls that run at once, so its depth is set on a shallow copy, for one
search. Of retrievers inside of retrievers every one has to find as many; one that follows what
another has found keeps its own, or each document would bring as many again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Sized
from typing import Any, TypeAlias, cast

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.retrievers import RecursiveRetriever

from ctxguard.attempts import current_attempt
from ctxguard.dispatching import Dispatching, dispatching
from ctxguard.handle import Handle
from ctxguard.run import Record, current_run
from ctxguard.types import Decision
from ctxguard_llamaindex.copies import shallow_copy
from ctxguard_llamaindex.requests import search_of

__all__ = ["adepth_of", "at_depth", "depth_of"]

Value: TypeAlias = Any
"""Whatever a retriever holds."""
Deepen: TypeAlias = Callable[[BaseRetriever], BaseRetriever]
_NAMES = (
    "similarity_top_k",
    "_similarity_top_k",
    "_sparse_top_k",
    "_hybrid_top_k",
    "_max_top_k",
    "_choice_top_k",
    "num_chunks_per_query",
    "top_k",
    "_top_k",
)
"""Attributes that say how many documents a retriever finds, in LlamaIndex and its integrations."""


def depth_of(handle: Handle, question: str) -> int | None:
    """Documents per search, by the route of this context; None: as configured."""
    found = _known(handle)
    return found.depth(search_of(handle, question)) if isinstance(found, Dispatching) else found


async def adepth_of(handle: Handle, question: str) -> int | None:
    """As `depth_of`; shared state is asked in a thread."""
    found = _known(handle)
    if not isinstance(found, Dispatching):
        return found
    return await found.dispatcher.off_loop(lambda: found.depth(search_of(handle, question)))


def _known(handle: Handle) -> int | Dispatching | None:
    """The depth, where an engine's route is taken already; else what decides on it."""
    attempt = current_attempt()
    if attempt is not None:
        return attempt.route.top_k if attempt.acts else None
    return dispatching(handle.guard.dispatcher)


def at_depth(retriever: BaseRetriever, depth: int | None) -> BaseRetriever:
    """A retriever for one search: a copy that finds as many documents, or itself.

    Where no depth is known of it, the ledger says so, once for each class.
    """
    if depth is None:
        return retriever
    unset: list[str] = []
    copy = _deepened(retriever, depth, unset, ())
    for name in dict.fromkeys(unset):
        _note(name)
    return copy


def _deepened(
    retriever: BaseRetriever, depth: int, unset: list[str], around: tuple[int, ...]
) -> BaseRetriever:
    """A copy of a retriever, and of those that it asks, at a depth.

    Args:
        retriever: stays as it is.
        depth: documents per search.
        unset: takes the names of those of which no depth is known.
        around: the ids of the retrievers that this one is a part of.
    """
    own = {name: depth for name in _NAMES if _counts(vars(retriever).get(name))}
    corpus = vars(retriever).get("corpus")
    if own and isinstance(corpus, Sized) and len(corpus):
        own = dict.fromkeys(own, min(depth, len(corpus)))  # BM25's refuses to find more
    known = (*around, id(retriever))

    def deepen(inner: BaseRetriever) -> BaseRetriever:
        return inner if id(inner) in known else _deepened(inner, depth, unset, known)

    inside = _inside(retriever, deepen)
    if not own and not inside:
        unset.append(type(retriever).__name__)
        return retriever
    copy = shallow_copy(retriever)
    for name, value in {**own, **inside}.items():
        object.__setattr__(copy, name, value)
    return copy


def _counts(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _inside(retriever: BaseRetriever, deepen: Deepen) -> dict[str, Value]:
    """The attributes in which a retriever holds those that it asks, with others in their place."""
    parts: dict[str, Value] = vars(retriever)
    if isinstance(retriever, RecursiveRetriever):
        held, first = parts["_retriever_dict"], parts["_root_id"]
        return {"_retriever_dict": {**held, first: deepen(held[first])}}
    replaced = ((name, _replaced(value, deepen)) for name, value in parts.items())
    return {name: new for name, new in replaced if new is not parts[name]}


def _replaced(value: Value, deepen: Deepen) -> Value:
    """A retriever, or a collection that holds some, with others in their place; else the value."""
    if isinstance(value, BaseRetriever):
        return deepen(value)
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value)
        if any(isinstance(one, BaseRetriever) for one in items.values()):
            return {key: _replaced(one, deepen) for key, one in items.items()}
    elif isinstance(value, list | tuple):
        several = cast("Sequence[Any]", value)
        if any(isinstance(one, BaseRetriever) for one in several):
            deep = [_replaced(one, deepen) for one in several]
            return deep if isinstance(value, list) else tuple(deep)
    return cast("Value", value)


def _note(name: str) -> None:
    """Let the ledger say that a retriever finds as many as it is made for, once in a run."""
    run = current_run()
    if run is None:
        return
    told = run.keep("depth-not-set", cast("Callable[[], set[str]]", set))
    if name in told:
        return
    told.add(name)
    reason = f"{name} has no depth that is known, and finds what it is made for"
    decision = Decision(
        stage="route", action="flag", subject=name, code="depth-not-set", reason=reason
    )
    run.add(Record(decisions=(decision,)))
