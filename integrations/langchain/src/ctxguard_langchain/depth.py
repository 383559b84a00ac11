"""How many documents a search brings, as the route of the run says.

The number is set in a copy of the retriever, for one call. A retriever that only asks others has
none of its own: then theirs is set, inside of its call.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore

from ctxguard.attempts import current_attempt
from ctxguard.dispatching import dispatching
from ctxguard.handle import Handle
from ctxguard.request import Request
from ctxguard.run import Run
from ctxguard.types import Message
from ctxguard_langchain.calling import calling
from ctxguard_langchain.carrying import plain_class
from ctxguard_langchain.dynamic import Dynamic, class_of
from ctxguard_langchain.routes import card_for, note_in

__all__ = ["Depth", "adepth_of", "current_depth", "deeper", "depth_of"]

Args = tuple[Any, ...]
Kwargs = dict[str, Any]
_FIELDS = ("k", "top_k", "top_k_results", "max_results", "num_results")
"""How retrievers call the field that says how many documents they find."""
_FETCHED = 20
"""Documents that LangChain's stores choose from for maximal marginal relevance, unless told."""


class Depth:
    """The documents per search in one call of what retrieves."""

    def __init__(self, documents: int) -> None:
        """Start before anything searched."""
        self.documents = documents
        self.set = False
        """Whether something took the number."""


_depth: ContextVar[Depth | None] = ContextVar("ctxguard_depth", default=None)


def current_depth() -> Depth | None:
    """What the searches of this context take; None: as they are configured."""
    return _depth.get()


def depth_of(
    handle: Handle, run: Run | None, obj: object, question: str
) -> AbstractContextManager[None]:
    """Lets the searches of a block bring as many documents as the run's route says.

    Args:
        handle: whose policy has the routes.
        run: the one that the search is part of.
        obj: what is searched, for the ledger.
        question: what it is asked.
    """
    return _searching(run, obj, None if run is None else _documents(handle, question))


async def adepth_of(
    handle: Handle, run: Run | None, obj: object, question: str
) -> AbstractContextManager[None]:
    """As `depth_of`; shared state is asked in a thread."""
    dispatcher = handle.guard.dispatcher
    if run is None or dispatcher is None or not _sets_depth(handle):
        return nullcontext()
    found = await dispatcher.off_loop(lambda: _documents(handle, question))
    return _searching(run, obj, found)


@contextmanager
def _searching(run: Run | None, obj: object, documents: int | None) -> Generator[None]:
    if documents is None or run is None:
        yield
        return
    depth = Depth(documents)
    token = _depth.set(depth)
    try:
        yield
    finally:
        _depth.reset(token)
    if not depth.set:
        name = plain_class(class_of(obj)).__name__
        note_in(
            run, "depth-not-set", f"{name} has no field for the {documents} documents of the route"
        )


def _sets_depth(handle: Handle) -> bool:
    routing = handle.policy.routing
    return routing is not None and any(route.top_k is not None for route in routing.routes)


def _documents(handle: Handle, question: str) -> int | None:
    if not _sets_depth(handle):
        return None
    attempt = current_attempt()
    if attempt is not None:  # the search is inside of a chain that was chosen
        return attempt.route.top_k if attempt.acts else None
    with calling():
        found = dispatching(handle.guard.dispatcher)
        if found is None:
            return None
        messages = (Message(role="user", text=question),) if question else ()
        return found.depth(Request(messages=messages, card=card_for(handle)))


# -- setting it -----------------------------------------------------------------------------------


def deeper(
    obj: Dynamic, method: Callable[..., Any], args: Args, kwargs: Kwargs
) -> tuple[Dynamic, Args, Kwargs]:
    """What searches and its arguments, with the number of documents of this context.

    Args:
        obj: a retriever or a vector store.
        method: the one that is called.
        args: by position, the query first.
        kwargs: by name.
    """
    depth = _depth.get()
    if depth is None:
        return obj, args, kwargs
    if issubclass(class_of(obj), VectorStore):
        return (obj, *_numbered(depth, method, args, kwargs))
    update = _fields(obj, depth.documents) if issubclass(class_of(obj), BaseRetriever) else {}
    if not update:
        return obj, args, kwargs
    depth.set = True
    return obj.model_copy(update=update), args, kwargs


def _fields(retriever: Dynamic, documents: int) -> dict[str, Any]:
    fields: Mapping[str, Any] = class_of(retriever).model_fields
    if "search_kwargs" in fields:
        known: Mapping[str, Any] = retriever.search_kwargs or {}
        diverse = str(getattr(retriever, "search_type", "")).rpartition(".")[2] == "mmr"
        return {"search_kwargs": _numbers(known, documents, diverse=diverse)}
    return {name: documents for name in _FIELDS if name in fields}


def _numbers(known: Mapping[str, Any], documents: int, *, diverse: bool) -> dict[str, Any]:
    """A search's arguments with this many documents, chosen from no fewer than that."""
    made = {**known, "k": documents}
    fetched: object = known.get("fetch_k", _FETCHED if diverse else None)
    if isinstance(fetched, int) and fetched < documents:
        made["fetch_k"] = documents
    return made


def _numbered(
    depth: Depth, method: Callable[..., Any], args: Args, kwargs: Kwargs
) -> tuple[Args, Kwargs]:
    """The arguments of a store's search, with the number where the method takes it."""
    names = list(inspect.signature(method).parameters)[1:]  # without self
    takes = "k" in names or any(
        one.kind is inspect.Parameter.VAR_KEYWORD
        for one in inspect.signature(method).parameters.values()
    )
    if not takes:
        return args, kwargs
    depth.set = True
    numbers = _numbers(kwargs, depth.documents, diverse=_diverse(method, args, kwargs))
    place = names.index("k") if "k" in names else len(args)
    if place >= len(args):
        return args, numbers
    del numbers["k"]
    return (*args[:place], depth.documents, *args[place + 1 :]), numbers


def _diverse(method: Callable[..., Any], args: Args, kwargs: Kwargs) -> bool:
    kind: object = kwargs.get("search_type", args[1] if len(args) > 1 else None)
    return "max_marginal" in method.__name__ or kind == "mmr"
