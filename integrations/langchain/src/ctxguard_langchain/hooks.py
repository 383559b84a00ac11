"""The choke points: where a retriever's documents and a model's messages pass the guard.

Every public way into a retriever or a model ends in one of a few methods. A hooked class overrides
those, and only those that its base has of its own: LangChain tells by comparing methods whether a
class streams or is natively async.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.language_models import BaseChatModel, BaseLLM
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore

from ctxguard.attempts import verification_of
from ctxguard.handle import Handle
from ctxguard.run import Run, current_run
from ctxguard_langchain.apply import (
    fit_input,
    fit_messages,
    fit_prompt,
    fit_prompts,
    prepare_documents,
    prepare_scored,
)
from ctxguard_langchain.asking import source_of
from ctxguard_langchain.binding import remembering
from ctxguard_langchain.caches import CacheField, salt_of
from ctxguard_langchain.calls import entries
from ctxguard_langchain.carrying import due
from ctxguard_langchain.checking import Checking
from ctxguard_langchain.classes import Derived
from ctxguard_langchain.convert import question_of, short
from ctxguard_langchain.depth import adepth_of, deeper, depth_of
from ctxguard_langchain.dynamic import Dynamic, class_of
from ctxguard_langchain.entering import SHAPES, routed
from ctxguard_langchain.flags import asking, retrieving
from ctxguard_langchain.functions import is_user_module
from ctxguard_langchain.metering import Meter, current_meter
from ctxguard_langchain.planning import model_due, model_plan
from ctxguard_langchain.quiet import quiets
from ctxguard_langchain.stepping import (
    adrive,
    astream_in_run,
    closed,
    drive,
    flagged,
    never,
    stream_in_run,
)
from ctxguard_langchain.structured import structuring

__all__ = [
    "SEARCHES",
    "bypasses",
    "choke_points",
    "hooked",
    "is_hookable",
    "routed_entries",
]

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Choke:
    """What happens around one method."""

    busy: ContextVar[Handle | None]
    before: Callable[[Handle, Any, Args, Kwargs], tuple[Args, Kwargs]]
    """The arguments to call the method with."""
    after: Callable[[Handle, Any, str, Any], Any]
    """The result to hand on, from the question and the method's result."""
    answers: bool = True
    """Whether what comes out is a reply of a model."""


def _unchanged(_handle: Handle, _obj: Dynamic, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
    return args, kwargs


def _as_is(_handle: Handle, _obj: Dynamic, _question: str, result: Dynamic) -> Dynamic:
    return result


def _fit(name: str, fit: Callable[..., Any]) -> Callable[..., tuple[Args, Kwargs]]:
    def before(handle: Handle, obj: Dynamic, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
        if args:
            return (fit(handle, obj, args[0], kwargs), *args[1:]), kwargs
        return args, {**kwargs, name: fit(handle, obj, kwargs[name], kwargs)}

    return before


def _prepare(prepare: Callable[..., Any]) -> Callable[[Handle, Any, str, Any], Any]:
    def after(handle: Handle, obj: Dynamic, question: str, result: Dynamic) -> Dynamic:
        return prepare(handle, class_of(obj).__name__, question, result)

    return after


_DOCUMENTS = _Choke(retrieving, _unchanged, _prepare(prepare_documents), answers=False)
_SCORED = _Choke(retrieving, _unchanged, _prepare(prepare_scored), answers=False)
_MESSAGES = _Choke(asking, _fit("messages", fit_messages), _as_is)
_PROMPTS = _Choke(asking, _fit("prompts", fit_prompts), _as_is)
_INPUT = _Choke(asking, _fit("input", fit_input), _as_is)
_PROMPT = _Choke(asking, _fit("prompt", fit_prompt), _as_is)


# -- one method, four shapes --------------------------------------------------------------------


def _active(choke: _Choke, self: Dynamic) -> Handle | None:
    """The handle whose policy is due in this call, None when a call around this one applies it."""
    around, own = choke.busy.get(), due(self)
    applied = around is not None and own is not None and around.policy == own.policy
    return None if applied else own


def _question(args: Args, kwargs: Kwargs) -> str:
    return question_of(args[0] if args else next(iter(kwargs.values()), None))


def _asked(args: Args, kwargs: Kwargs) -> str:
    return short(_question(args, kwargs))


def _checking(
    choke: _Choke, handle: Handle, self: Dynamic, args: Args, kwargs: Kwargs
) -> Checking | None:
    """What verifies the replies of a call; None: the policy does not ask for it.

    What a model says inside of a retriever is a query, and no answer.
    """
    if verification_of(handle.policy) is None or not choke.answers or retrieving.get() is not None:
        return None
    return Checking(handle, self, args, kwargs)


def _meter(choke: _Choke) -> Meter | None:
    """What counts the tokens of a call; None: nothing does."""
    return current_meter() if choke.answers else None


def _searching(
    choke: _Choke, handle: Handle, run: Run | None, self: Dynamic, args: Args, kwargs: Kwargs
) -> AbstractContextManager[object]:
    """Lets a search bring as many documents as the run's route says."""
    if choke.answers or handle.policy.routing is None:
        return nullcontext()
    return depth_of(handle, run, self, _asked(args, kwargs))


async def _asearching(
    choke: _Choke, handle: Handle, run: Run | None, self: Dynamic, args: Args, kwargs: Kwargs
) -> AbstractContextManager[object]:
    """As `_searching`."""
    if choke.answers or handle.policy.routing is None:
        return nullcontext()
    return await adepth_of(handle, run, self, _asked(args, kwargs))


def _do(
    choke: _Choke, method: Callable[..., Any], self: Dynamic, args: Args, kwargs: Kwargs
) -> Dynamic:
    """Call the method; a search inside of another's call takes the number of that, too."""
    if not choke.answers:
        self, args, kwargs = deeper(self, method, args, kwargs)
    return method(self, *args, **kwargs)


def _offer(
    run: Run | None, handle: Handle, self: Dynamic, name: str, args: Args, kwargs: Kwargs
) -> None:
    """Let what found evidence be searched again, if the policy may want more of it."""
    if not handle.policy.repairs or run is None:
        return
    query = args[0] if args else kwargs.get("query")
    if isinstance(query, str):  # a search by a vector cannot be done for a claim
        given = {key: value for key, value in kwargs.items() if key != "query"}

        def enter() -> AbstractContextManager[object]:
            return flagged(retrieving, handle, run)

        run.offer(source_of(self, name, args[1:], given, enter))


def _call(base: Callable[..., Any], choke: _Choke) -> Callable[..., Any]:
    def apply(
        run: Run | None, handle: Handle, self: Dynamic, args: Args, kwargs: Kwargs
    ) -> Dynamic:
        args, kwargs = choke.before(handle, self, args, kwargs)
        checking, meter = _checking(choke, handle, self, args, kwargs), _meter(choke)
        method = base if meter is None else meter.call(base)
        with flagged(choke.busy, handle, run), _searching(choke, handle, run, self, args, kwargs):
            if checking is not None:
                return checking.call(method)
            result = _do(choke, method, self, args, kwargs)
        if not choke.answers:
            _offer(run, handle, self, base.__name__, args, kwargs)
        return choke.after(handle, self, _question(args, kwargs), result)

    @functools.wraps(base)
    def hook(self: Dynamic, *args: Any, **kwargs: Any) -> Dynamic:
        handle = _active(choke, self)
        if handle is None:
            args, kwargs = quiets(args, kwargs)
            return _do(choke, base, self, args, kwargs)
        run = current_run()
        if run is not None:
            return apply(run, handle, self, args, kwargs)
        with handle.run(_asked(args, kwargs), class_of(self).__name__) as run:
            return apply(run, handle, self, args, kwargs)

    return hook


def _acall(base: Callable[..., Any], choke: _Choke) -> Callable[..., Any]:
    async def apply(
        run: Run | None, handle: Handle, self: Dynamic, args: Args, kwargs: Kwargs
    ) -> Dynamic:
        args, kwargs = choke.before(handle, self, args, kwargs)
        checking, meter = _checking(choke, handle, self, args, kwargs), _meter(choke)
        method = base if meter is None else meter.acall(base)
        with (
            flagged(choke.busy, handle, run),
            await _asearching(choke, handle, run, self, args, kwargs),
        ):
            if checking is not None:
                return await checking.acall(method)
            result = await _do(choke, method, self, args, kwargs)
        if not choke.answers:
            _offer(run, handle, self, base.__name__, args, kwargs)
        return choke.after(handle, self, _question(args, kwargs), result)

    @functools.wraps(base)
    async def hook(self: Dynamic, *args: Any, **kwargs: Any) -> Dynamic:
        handle = _active(choke, self)
        if handle is None:
            args, kwargs = quiets(args, kwargs)
            return await _do(choke, base, self, args, kwargs)
        run = current_run()
        if run is not None:
            return await apply(run, handle, self, args, kwargs)
        with handle.run(_asked(args, kwargs), class_of(self).__name__) as run:
            return await apply(run, handle, self, args, kwargs)

    return hook


def _stream(
    base: Callable[..., Any], choke: _Choke, *, ends: Callable[[Any], bool] = never
) -> Callable[..., Any]:
    def apply(run: Run, handle: Handle, self: Dynamic, args: Args, kwargs: Kwargs) -> Iterator[Any]:
        def make() -> Iterator[Any]:
            fitted, rest = choke.before(handle, self, args, kwargs)
            checking, meter = _checking(choke, handle, self, fitted, rest), _meter(choke)
            method = base if meter is None else meter.stream(base)
            return method(self, *fitted, **rest) if checking is None else checking.stream(method)

        return drive(make, lambda: flagged(choke.busy, handle, run))

    @functools.wraps(base)
    def hook(self: Dynamic, *args: Any, **kwargs: Any) -> Iterator[Any]:
        handle, run = _active(choke, self), current_run()
        if handle is None:
            args, kwargs = quiets(args, kwargs)
            yield from base(self, *args, **kwargs)
        elif run is not None:
            yield from apply(run, handle, self, args, kwargs)
        else:
            asked, name = _asked(args, kwargs), class_of(self).__name__
            yield from stream_in_run(
                handle, asked, name, lambda run: apply(run, handle, self, args, kwargs), ends=ends
            )

    return hook


def _astream(
    base: Callable[..., Any], choke: _Choke, *, ends: Callable[[Any], bool] = never
) -> Callable[..., Any]:
    def apply(
        run: Run, handle: Handle, self: Dynamic, args: Args, kwargs: Kwargs
    ) -> AsyncIterator[Any]:
        def make() -> AsyncIterator[Any]:
            fitted, rest = choke.before(handle, self, args, kwargs)
            checking, meter = _checking(choke, handle, self, fitted, rest), _meter(choke)
            method = base if meter is None else meter.astream(base)
            return method(self, *fitted, **rest) if checking is None else checking.astream(method)

        return adrive(make, lambda: flagged(choke.busy, handle, run))

    @functools.wraps(base)
    async def hook(self: Dynamic, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        handle, run = _active(choke, self), current_run()
        items: AsyncIterator[Any]
        if handle is None:
            args, kwargs = quiets(args, kwargs)
            items = base(self, *args, **kwargs)
        elif run is not None:
            items = apply(run, handle, self, args, kwargs)
        else:
            asked, name = _asked(args, kwargs), class_of(self).__name__
            items = astream_in_run(
                handle, asked, name, lambda run: apply(run, handle, self, args, kwargs), ends=ends
            )
        async with closed(items):
            async for item in items:
                yield item

    return hook


# -- which methods ------------------------------------------------------------------------------


def _own(base: type[Any], name: str, root: type[Any]) -> Callable[..., Any] | None:
    """A class's own implementation, None where it has the framework's default."""
    found = getattr(base, name, None)
    return None if found is None or found is getattr(root, name, None) else found


def _retriever(base: type[Any]) -> dict[str, Any]:
    shapes = {
        "_get_relevant_documents": _call,
        "_aget_relevant_documents": _acall,
        # A class that overrides these (EnsembleRetriever does) never comes to those above.
        "invoke": _call,
        "ainvoke": _acall,
    }
    return {
        name: shape(own, _DOCUMENTS)
        for name, shape in shapes.items()
        if (own := _own(base, name, BaseRetriever)) is not None
    }


def bypasses(kind: type[Any], names: Iterable[str]) -> Iterator[str]:
    """Entry points of a model that its author wrote anew, without the method below them."""
    root = BaseChatModel if issubclass(kind, BaseChatModel) else BaseLLM
    for name in names:
        method = inspect.unwrap(getattr(kind, name))
        code = getattr(method, "__code__", None)
        if method is getattr(root, name) or code is None or not is_user_module(method.__module__):
            continue
        if not {"super", "_generate", "_agenerate", "_stream", "_astream"} & set(code.co_names):
            yield name


def _bypassing(base: type[Any]) -> dict[str, Any]:
    return {
        name: _ENTRY_SHAPES[name](getattr(base, name), _INPUT)
        for name in bypasses(base, _ENTRY_SHAPES)
    }


def _is_finish(event: Dynamic) -> bool:
    """Whether this is the last event that a consumer asks for; the producer is not asked again."""
    return isinstance(event, dict) and cast("Kwargs", event).get("event") == "message-finish"


_ENTRY_SHAPES = {"invoke": _call, "ainvoke": _acall, "stream": _stream, "astream": _astream}
_CHAT_SHAPES: Mapping[str, Callable[..., Callable[..., Any]]] = {
    "_generate": _call,
    "_agenerate": _acall,
    "_stream": _stream,
    "_astream": _astream,
    "_stream_chat_model_events": functools.partial(_stream, ends=_is_finish),
    "_astream_chat_model_events": functools.partial(_astream, ends=_is_finish),
}


def _chat_model(base: type[Any]) -> dict[str, Any]:
    space: dict[str, Any] = {
        name: shape(own, _MESSAGES)
        for name, shape in _CHAT_SHAPES.items()
        if (own := _own(base, name, BaseChatModel)) is not None
    }
    key: Callable[..., str] = base._get_llm_string  # noqa: SLF001 -- what a shared cache tells models apart by

    @functools.wraps(key)
    def _get_llm_string(self: Dynamic, *args: Any, **kwargs: Any) -> str:
        return key(self, *args, **kwargs) + salt_of(self)

    space |= {**entries(base), **_bypassing(base), "_get_llm_string": _get_llm_string}
    binds = _own(base, "bind_tools", BaseChatModel)  # LangChain asks whether a class has its own
    if binds is not None:
        space["bind_tools"] = remembering(binds)
    space["with_structured_output"] = structuring(base.with_structured_output)
    return {**space, **routed_entries(base, space)}


def routed_entries(base: type[Any], space: Mapping[str, Any]) -> dict[str, Any]:
    """The public methods of a class of models, which take a route before anything else.

    Args:
        base: the class.
        space: those that are hooked already.
    """
    ends = {"_iter_v2_events": _is_finish, "_aiter_v2_events": _is_finish}
    return {
        name: routed(shape, method, model_due, model_plan, ends.get(name, never))
        for name, shape in SHAPES.items()
        if (method := space.get(name) or _model_method(base, name)) is not None
    }


def _model_method(base: type[Any], name: str) -> Callable[..., Any] | None:
    """A method of a class of models; a stream of inputs is no call of one."""
    return None if name in ("transform", "atransform") else getattr(base, name, None)


def _completion_model(base: type[Any]) -> dict[str, Any]:
    space: dict[str, Any] = {}
    for name, shape, choke in (
        ("_generate", _call, _PROMPTS),
        ("_agenerate", _acall, _PROMPTS),
        ("_stream", _stream, _PROMPT),
        ("_astream", _astream, _PROMPT),
    ):
        own = _own(base, name, BaseLLM)
        if own is not None:
            space[name] = shape(own, choke)
    space |= {**entries(base), **_bypassing(base)}
    return {**space, **routed_entries(base, space), "cache": CacheField()}


SEARCHES: Mapping[str, Any] = {
    **{
        f"{prefix}{name}": (shape, _DOCUMENTS)
        for prefix, shape in (("", _call), ("a", _acall))
        for name in (
            "search",
            "similarity_search",
            "similarity_search_by_vector",
            "max_marginal_relevance_search",
            "max_marginal_relevance_search_by_vector",
        )
    },
    **{
        f"{prefix}{name}": (shape, _SCORED)
        for prefix, shape in (("", _call), ("a", _acall))
        for name in ("similarity_search_with_score", "similarity_search_with_relevance_scores")
    },
}
"""The methods of a vector store that return documents."""


def _vector_store(base: type[Any]) -> dict[str, Any]:
    return {
        name: shape(own, choke)
        for name, (shape, choke) in SEARCHES.items()
        if (own := getattr(base, name, None)) is not None
    }


# -- classes ------------------------------------------------------------------------------------

_SPACES: Mapping[type[Any], Callable[[type[Any]], dict[str, Any]]] = {
    BaseRetriever: _retriever,
    BaseChatModel: _chat_model,
    BaseLLM: _completion_model,
    VectorStore: _vector_store,
}
_HOOKED = {
    root: Derived(space, leaf=True, view=root is VectorStore) for root, space in _SPACES.items()
}
_STORES_IN_PLACE = Derived(_vector_store, leaf=True)


_KEYED_BY = ("_get_llm_string", "cache")
"""What tells a guarded model from a plain one in a cache; see `blocks` for a block's."""


def choke_points(kind: type[Any]) -> dict[str, Any]:
    """The hooked form of each method of a plain class that a call goes through."""
    make = next(make for root, make in _SPACES.items() if issubclass(kind, root))
    return {name: hook for name, hook in make(kind).items() if name not in _KEYED_BY}


def is_hookable(kind: type[Any]) -> bool:
    """Whether this is a class of retrievers, models or vector stores."""
    return issubclass(kind, tuple(_HOOKED))


def hooked(kind: type[Any], *, in_place: bool = False) -> type[Any]:
    """The class of a guarded retriever, model or vector store.

    Args:
        kind: the plain class.
        in_place: of the object itself, whose layout stays what it is; a view has a slot more.

    Raises:
        TypeError: for any other class.
    """
    for root, derived in _HOOKED.items():
        if issubclass(kind, root):
            return _STORES_IN_PLACE(kind) if in_place and root is VectorStore else derived(kind)
    raise TypeError(f"{kind.__name__} neither retrieves nor asks a model")
