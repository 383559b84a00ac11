"""What makes retrievers and models when it runs.

`init_chat_model(configurable_fields=…)` makes its model from the call's config, an alternative may
be a function that makes a chain, and a node of a graph may make its model each time. What comes out
is guarded then, with the same handle.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast

from langchain_core.runnables.configurable import RunnableConfigurableAlternatives

from ctxguard.handle import Handle
from ctxguard_langchain.carrying import handle_of, is_dynamic, plain_class
from ctxguard_langchain.classes import Derived, adopt
from ctxguard_langchain.dynamic import Dynamic, class_of
from ctxguard_langchain.hooks import hooked

__all__ = ["guarding", "late", "making"]


def _guarded(obj: Dynamic, owner: object) -> Dynamic:
    from ctxguard_langchain.adapter import cover_part

    handle = handle_of(owner)
    return obj if handle is None else cover_part(obj, handle)[0]


def _alternatives(base: type[Any]) -> dict[str, Any]:
    prepare: Callable[..., tuple[Any, Any]] = base._prepare  # noqa: SLF001 -- where LangChain chooses

    @functools.wraps(prepare)
    def _prepare(self: Dynamic, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        chosen, config = prepare(self, *args, **kwargs)
        known = (self.default, *self.alternatives.values())
        if any(chosen is one for one in known):
            return chosen, config
        return _guarded(chosen, self), config

    return {"_prepare": _prepare}


def _configurable_model(base: type[Any]) -> dict[str, Any]:
    make: Callable[..., Any] = base._model  # noqa: SLF001 -- where LangChain makes the model
    get: Callable[..., Any] = base.__getattr__
    configure: Callable[..., Any] = base.with_config

    @functools.wraps(make)
    def _model(self: Dynamic, *args: Any, **kwargs: Any) -> Dynamic:
        return _guarded(make(self, *args, **kwargs), self)

    def keep(self: Dynamic, made: Dynamic) -> Dynamic:
        """What a method made of the configurable model goes on being guarded."""
        handle = handle_of(self)
        return adopt(made, class_of(self), handle) if class_of(made) is base and handle else made

    @functools.wraps(get)
    def __getattr__(self: Dynamic, name: str) -> Dynamic:  # noqa: N807 -- the method itself
        found = get(self, name)
        if not callable(found):
            return found

        @functools.wraps(found)
        def call(*args: Any, **kwargs: Any) -> Dynamic:
            return keep(self, found(*args, **kwargs))

        return call

    @functools.wraps(configure)
    def with_config(self: Dynamic, *args: Any, **kwargs: Any) -> Dynamic:
        return keep(self, configure(self, *args, **kwargs))

    return {"_model": _model, "__getattr__": __getattr__, "with_config": with_config}


def _metaclass(base: type[Any]) -> type[type]:
    """A metaclass with which `isinstance` says of plain instances what it says without a guard."""
    plain = plain_class(base)

    def __instancecheck__(cls: type[Any], obj: object) -> bool:  # noqa: N807 -- the method itself
        return (plain if _stands_for(cls, plain) else cls) in class_of(obj).__mro__

    def __subclasscheck__(cls: type[Any], kind: type[Any]) -> bool:  # noqa: N807 -- the method itself
        return (plain if _stands_for(cls, plain) else cls) in kind.__mro__

    checks = {"__instancecheck__": __instancecheck__, "__subclasscheck__": __subclasscheck__}
    return cast("type[type]", type(type(base).__name__, (type(base),), checks))


def _stands_for(cls: type[Any], plain: type[Any]) -> bool:
    """Whether this is the class made here, and not one that a function derives from it."""
    return is_dynamic(cls) and plain_class(cls) is plain


_MAKERS = Derived(lambda _: {}, leaf=True, metaclass=_metaclass)
_ALTERNATIVES = Derived(_alternatives)
_CONFIGURABLE = Derived(_configurable_model, leaf=True)


def making(kind: type[Any]) -> type[Any]:
    """A class of retrievers, models or vector stores whose instances are guarded.

    They have no handle of their own and belong to the guard in whose run they are used.
    """
    return _MAKERS(hooked(kind))


def guarding(make: Callable[..., Any], handle: Handle) -> Callable[..., Any]:
    """A function that makes models, and guards them with this handle."""
    from ctxguard_langchain.adapter import cover_part

    @functools.wraps(make)
    def made(*args: Dynamic, **kwargs: Dynamic) -> Dynamic:
        return cover_part(make(*args, **kwargs), handle)[0]

    return made


def late(kind: type[Any]) -> type[Any]:
    """The class of a guarded Runnable that makes what it runs when it is called."""
    alternatives = issubclass(kind, RunnableConfigurableAlternatives)
    return (_ALTERNATIVES if alternatives else _CONFIGURABLE)(kind)
