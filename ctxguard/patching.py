"""Replacing methods of a framework's classes for a while, and putting them back.

For adapters: what `SupportsBlocks.patch` does while a guarded block is open.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

__all__ = ["Patches", "patch_classes"]

Methods = Callable[[type[Any]], Mapping[str, Any]]


class Patches:
    """Attributes of classes and modules that were replaced, and the way back; thread-safe.

    As a context manager it puts everything back when the block inside of it fails.
    """

    def __init__(self) -> None:
        """Start with nothing replaced."""
        self._lock = threading.Lock()
        self._done: list[tuple[Any, str, object, object]] = []

    def put(self, owner: object, name: str, value: object) -> None:
        """Replace an attribute of a class or a module."""
        with self._lock:
            self._done.append((owner, name, _own(owner, name), value))
            setattr(owner, name, value)

    def __enter__(self) -> Patches:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Put back what was replaced before something failed."""
        if kind is not None:
            self.undo()

    def undo(self) -> None:
        """Put back what was there, last first.

        What somebody else replaced since is left to them: what was put here lets a call through
        when no block is open.
        """
        with self._lock:
            done, self._done = self._done, []
            for owner, name, old, value in reversed(done):
                if _own(owner, name) is not value:
                    continue
                if old is _MISSING:
                    delattr(owner, name)
                else:
                    setattr(owner, name, old)


_MISSING = object()


def _own(owner: object, name: str) -> object:
    """What a class or module itself has under a name, not what it inherits."""
    return cast("Mapping[str, object]", vars(owner)).get(name, _MISSING)


def patch_classes(patches: Patches, root: type[Any], methods: Methods) -> None:
    """Replace methods of every class below a root, and of those that are defined meanwhile.

    Each class gets those that it defines itself, or has from a class that is no framework's: what
    it inherits is replaced where it is from, and comparisons of methods come out as before.

    Args:
        patches: takes the changes.
        root: the base class; its own methods are replaced, too, when `methods` has any for it.
        methods: the replacements for one class, by name; abstract methods are left alone.
    """
    _patch_new_classes(patches, root, methods)  # first, so that no class is between the two
    for kind in (root, *_subclasses(root)):
        _patch_class(patches, kind, root, methods)


def _subclasses(root: type[Any]) -> Iterator[type[Any]]:
    seen: set[type[Any]] = set()
    pending = type.__subclasses__(root)
    while pending:
        kind = pending.pop()
        if kind not in seen:
            seen.add(kind)
            yield kind
            pending += type.__subclasses__(kind)


def _patch_class(patches: Patches, kind: type[Any], root: type[Any], methods: Methods) -> None:
    for name, method in methods(kind).items():
        definer = next(base for base in kind.__mro__ if name in vars(base))
        abstract = getattr(vars(definer)[name], "__isabstractmethod__", False)
        foreign = root not in definer.__mro__ and definer not in root.__mro__
        if not abstract and (definer is kind or foreign):
            patches.put(kind, name, method)


def _patch_new_classes(patches: Patches, root: type[Any], methods: Methods) -> None:
    """Libraries are imported when they are used, and classes defined while a block is open."""
    own: Any = vars(root).get("__init_subclass__")

    def __init_subclass__(cls: type[Any], **kwargs: Any) -> None:  # noqa: N807 -- the method itself
        begin: Callable[..., None] = (
            own.__get__(None, cls) if own is not None else super(root, cls).__init_subclass__
        )
        begin(**kwargs)
        _patch_class(patches, cls, root, methods)

    patches.put(root, "__init_subclass__", classmethod(__init_subclass__))
