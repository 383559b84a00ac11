"""Tools and structured output for whichever model a route takes, each in its provider's own way.

A provider's `bind_tools` makes of tools what its own API takes. What it was made of goes along with
it, so that the model of another route can bind the same tools itself.
"""

from __future__ import annotations

import functools
import inspect
import pickle
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableBinding

from ctxguard.errors import InputError
from ctxguard_langchain.carrying import due, plain_class
from ctxguard_langchain.dynamic import Dynamic, class_of

__all__ = ["BoundTools", "Origin", "Rebound", "alike", "rebound", "refusal", "remembering"]

Kwargs = Mapping[str, Any]
_MARKS = ("ls_structured_output_format", "structured_output_format")
_BY_TOOLS = ("function_calling", None)
"""Methods of structured output whose parser reads any provider's tool calls."""
_OF_TOOLS = ("tools", "tool_choice", "parallel_tool_calls", "strict")
"""Arguments that `bind_tools` makes for OpenAI's API and its like."""
_OF_ALL = frozenset({"stop", *_MARKS})
"""Arguments that every model takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What `bind_tools` was called with, and what it made of it."""

    tools: tuple[Any, ...]
    arguments: Kwargs
    others: Kwargs
    """What it made beside the tools: a choice among them, for instance."""


class BoundTools(list[Any]):
    """A provider's tools, and what they were made from."""

    origin: Origin | None = None

    def __reduce_ex__(self, _protocol: Dynamic) -> tuple[Any, ...]:
        """Pickle with the originals where they can be; a function of a notebook cannot."""
        plain, origin = list(self), self.origin
        if origin is None:
            return list, (plain,)
        given = (plain, origin.tools, origin.arguments, origin.others)
        try:
            pickle.dumps(given)
        except Exception:
            return list, (plain,)
        return _remembered, given

    def __copy__(self) -> BoundTools:
        """The same tools, from the same originals."""
        made = BoundTools(self)
        made.origin = self.origin
        return made

    def __deepcopy__(self, _memo: Dynamic) -> BoundTools:
        """As a copy: neither schemas nor tools are ever written to."""
        return self.__copy__()


def _remembered(
    plain: list[Any], tools: Iterable[Any], arguments: Kwargs, others: Kwargs
) -> BoundTools:
    made = BoundTools(plain)
    made.origin = Origin(tools=tuple(tools), arguments=dict(arguments), others=dict(others))
    return made


def remembering(base: Callable[..., Any]) -> Callable[..., Any]:
    """`bind_tools` of a model whose calls are routed: what it binds knows what it was made from."""

    @functools.wraps(base)
    def bind_tools(self: Dynamic, tools: Dynamic, **kwargs: Any) -> Dynamic:
        bound = base(self, tools, **kwargs)
        handle = due(self)
        if handle is None or handle.policy.routing is None:
            return bound
        made = _kwargs_of(bound)
        plain: object = made.get("tools")
        if not isinstance(plain, list):
            return bound
        others = {name: value for name, value in made.items() if name != "tools"}
        mark = _remembered(cast("list[Any]", plain), tools, kwargs, others)
        return bound.model_copy(update={"kwargs": {**made, "tools": mark}})

    return bind_tools


def _kwargs_of(bound: Dynamic) -> Kwargs:
    """What a binding calls its model with; nothing for what is no binding."""
    return bound.kwargs if isinstance(bound, RunnableBinding) else {}


# -- for another model ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebound:
    """The arguments of a call for another model."""

    kwargs: Kwargs
    dropped: tuple[str, ...] = ()
    """Arguments that it does not take."""


def alike(model: object, other: object) -> bool:
    """Whether two models are of one class, or of one and its subclass."""
    first, second = plain_class(class_of(model)), plain_class(class_of(other))
    return issubclass(first, second) or issubclass(second, first)


def refusal(target: object, model: object, kwargs: Kwargs) -> str:
    """Why a model cannot take a call that another one was meant for; blank: it can."""
    if target is model:
        return ""
    name = plain_class(class_of(target)).__name__
    if issubclass(class_of(target), BaseChatModel) != issubclass(class_of(model), BaseChatModel):
        return f"{name} is of another kind: one chats, the other completes text"
    return "" if alike(target, model) else _foreign(target, name, kwargs)


def _foreign(target: object, name: str, kwargs: Kwargs) -> str:
    """Why a model of another class cannot take a call."""
    method = _method(kwargs)
    if method not in _BY_TOOLS:
        return (
            f"the reply is read as its provider's {method}; {name} can give one where "
            "with_structured_output is called of the guarded model"
        )
    if kwargs.get("response_format") and method is None and not _structures(target):
        return f"{name} does not say that it takes a response_format"
    if kwargs.get("tools"):
        try:
            _bound(target, kwargs)
        except Exception as error:
            return f"{name} cannot bind the tools ({type(error).__name__}: {error})"
    return ""


def rebound(target: object, model: object, kwargs: Kwargs) -> Rebound:
    """The arguments of a call as a target takes them.

    Args:
        target: the model of the route.
        model: the one that the arguments were made for.
        kwargs: all but those of LangChain's own (config, callbacks, tags and so on).

    Raises:
        InputError: it does not take them.
    """
    if target is model:
        return Rebound(kwargs=kwargs)
    why = refusal(target, model, kwargs)
    if why:
        raise InputError(f"Route.model: {why}")
    given = {name: value for name, value in kwargs.items() if name not in ("model", "model_name")}
    origin = _origin(given)
    if alike(target, model) and origin is None:
        return Rebound(kwargs=given)
    tools: Kwargs = _bound(target, given) if given.get("tools") else {}
    rest = {name: value for name, value in given.items() if not _is_bound(name, value, origin)}
    if not alike(target, model):
        rest = {name: value for name, value in rest.items() if _takes(target, name)}
    dropped = given.keys() - rest.keys() - tools.keys() - {*_OF_TOOLS} - _bound_names(origin)
    return Rebound(kwargs={**tools, **rest}, dropped=tuple(sorted(dropped)))


def _origin(kwargs: Kwargs) -> Origin | None:
    tools = kwargs.get("tools")
    return tools.origin if isinstance(tools, BoundTools) else None


def _bound_names(origin: Origin | None) -> frozenset[str]:
    return frozenset(origin.others if origin is not None else ())


def _is_bound(name: str, value: object, origin: Origin | None) -> bool:
    """Whether an argument is what `bind_tools` made, and nobody has replaced it since."""
    if origin is None:
        return name in _OF_TOOLS
    return name == "tools" or (name in origin.others and origin.others[name] == value)


def _bound(target: Dynamic, kwargs: Kwargs) -> Kwargs:
    """What a target's own `bind_tools` makes of the tools of a call."""
    origin = _origin(kwargs)
    if origin is not None:
        tools, arguments = list(origin.tools), dict(origin.arguments)
    else:
        tools = list(kwargs["tools"])
        arguments = {name: kwargs[name] for name in _OF_TOOLS[1:] if kwargs.get(name) is not None}
    if "tool_choice" in arguments:
        arguments["tool_choice"] = _choice(arguments["tool_choice"])
    names = inspect.signature(target.bind_tools).parameters
    taken = {n: v for n, v in arguments.items() if n in names or _takes(target, n)}
    made: object = target.bind_tools(tools, **taken)
    if not isinstance(made, RunnableBinding):
        raise TypeError(f"it gives a {type(made).__name__}")
    return _kwargs_of(cast("Dynamic", made))


def _choice(choice: object) -> object:
    """A choice of tools as `bind_tools` of every provider takes it: a name or a word."""
    if not isinstance(choice, Mapping):
        return choice
    known = cast("Mapping[str, Any]", choice)
    inner: Mapping[str, Any] = known.get("function") or known
    word = str(known.get("type", ""))
    return inner.get("name") or (word if word in ("any", "auto", "none") else known)


def _takes(target: Dynamic, name: str) -> bool:
    """Whether a model takes an argument of this name in a call: it has a field that is called so.

    Whatever else is handed to it goes to its provider's client, which refuses what it does not
    know.
    """
    if name in _OF_ALL:
        return True
    if name == "response_format":
        return _structures(target)
    fields: Mapping[str, Any] = class_of(target).model_fields
    return name in fields or any(field.alias == name for field in fields.values())


def _structures(target: Dynamic) -> bool:
    profile: object = getattr(target, "profile", None)
    known = cast("Mapping[str, Any]", profile if isinstance(profile, Mapping) else {})
    return bool(known.get("structured_output"))


def _method(kwargs: Kwargs) -> str | None:
    """How a structured answer is asked for; None: no chain around the model reads one."""
    for name in _MARKS:
        mark = kwargs.get(name)
        if isinstance(mark, Mapping):
            inner: Mapping[str, Any] = cast("Mapping[str, Any]", mark).get("kwargs") or {}
            return str(inner.get("method") or "function_calling")
    return None
