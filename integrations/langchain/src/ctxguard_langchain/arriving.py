"""Retrievers and models that arrive with a call: in a graph's context, in a config, in the input.

Nobody can see them when guard() looks, so they are guarded when the call brings them. What is in
the input stays as it is, and is reported: the state of a graph may be saved in a checkpoint, which
others go on from, with or without a guard.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

from ctxguard.handle import Coverage, CoverageWarning, Handle, Unreached
from ctxguard_langchain.dynamic import Dynamic, class_of, extends
from ctxguard_langchain.kinds import Kind, holds_something, is_bare, kind_of

__all__ = ["with_guarded"]

Args = tuple[Any, ...]
Kwargs = dict[str, Any]
_Plain = dict[Any, Any]  # a subclass may do something else when it is read
_IN_INPUT = (
    "arrives in the input, which is handed on as it is; guard it first, or let it arrive in the "
    "config or a graph's context"
)


def with_guarded(handle: Handle, obj: Dynamic, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
    """The arguments of an entry point, with what they bring guarded.

    Args:
        handle: whose call it is.
        obj: what is called.
        args: by position; the second is the config.
        kwargs: by name; of a graph, `context` is for its nodes.
    """
    _report(handle, args[0] if args else kwargs.get("input"))
    if kwargs.get("context") is not None and hasattr(class_of(obj), "context_schema"):
        kwargs = {**kwargs, "context": _guarded(handle, "context", kwargs["context"])}
    if len(args) > 1:
        return (args[0], _config(handle, args[1]), *args[2:]), kwargs
    if kwargs.get("config"):
        kwargs = {**kwargs, "config": _config(handle, kwargs["config"])}
    return args, kwargs


def _config(handle: Handle, config: Dynamic) -> Dynamic:
    """A config whose configurable values are guarded; itself when there is nothing to do."""
    if not extends(class_of(config), Mapping):
        return config  # a batch may have a list of them, one for each item
    known = cast("Mapping[str, Any]", config)
    values: Mapping[str, Any] = known.get("configurable") or {}
    # What begins with underscores is the framework's own, a checkpoint's or a graph's around.
    own = {name: value for name, value in values.items() if not name.startswith("__")}
    if not holds_something(own.values()):
        return config
    own = {name: _guarded(handle, f"config.{name}", value) for name, value in own.items()}
    return {**known, "configurable": {**values, **own}}


def _guarded(handle: Handle, name: str, value: Dynamic) -> Dynamic:
    """The guarded form of a value, which shares its state with the value if it is a user's own."""
    from ctxguard_langchain.adapter import cover_part

    made, found = cover_part(SimpleNamespace(**{name: value}), handle)
    handle.coverage = handle.coverage.merged(found)
    return getattr(made, name)


def _report(handle: Handle, value: Dynamic) -> None:
    """Warn of what an input holds that retrieves or asks a model without a guard, once for each."""
    if not _may_hold(value):
        return
    from ctxguard_langchain.walk import Survey

    survey = Survey(SimpleNamespace(input=value))
    leaves = [leaf for leaf in survey.leaves if leaf.kind is not Kind.MAKER]  # a class is a value
    found = [Unreached(leaf.path.removeprefix("."), leaf.type, _IN_INPUT) for leaf in leaves]
    new = [item for item in found if item not in handle.coverage.unreached]
    if new:
        handle.coverage = handle.coverage.merged(Coverage(unreached=tuple(new)))
        lines = "\n  ".join(f"{item.path} ({item.type}) {item.reason}" for item in new)
        # 1 _report, 2 with_guarded, 3 the entry point, 4 whoever called it
        warnings.warn(f"not guarded:\n  {lines}", CoverageWarning, stacklevel=4)


def _may_hold(value: Dynamic) -> bool:
    """Whether an input is worth a look: most are texts, messages and dictionaries of those."""
    if kind_of(value) is Kind.MAPPING:
        return any(not _is_plain(item) for item in _Plain.values(value))
    return not _is_plain(value)


def _is_plain(value: Dynamic) -> bool:
    kind = kind_of(value)
    return kind is Kind.NOTHING or is_bare(value, kind)
