"""Retrievers and models that arrive with a call: in a graph's context, in a config.

Nobody can see them when guard() looks, so they are guarded when the call brings them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

from ctxguard.handle import Handle
from ctxguard_langchain.dynamic import Dynamic, class_of, extends
from ctxguard_langchain.kinds import holds_something

__all__ = ["with_guarded"]

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


def with_guarded(handle: Handle, obj: Dynamic, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
    """The arguments of an entry point, with what they bring guarded.

    Args:
        handle: whose call it is.
        obj: what is called.
        args: by position; the second is the config.
        kwargs: by name; of a graph, `context` is for its nodes.
    """
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
