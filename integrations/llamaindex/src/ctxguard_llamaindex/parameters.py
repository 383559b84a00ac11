"""The arguments of a model's method, as they came and as they go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["Arguments"]

Argument: TypeAlias = Any
"""Whatever the method that is replaced takes."""


@dataclass(slots=True)
class Arguments:
    """Positional and named ones; each goes on in the way in which it came."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def get(self, name: str, place: int) -> Argument:
        """The argument of a name and a place; None: it was not given."""
        return self.args[place] if len(self.args) > place else self.kwargs.get(name)

    def put(self, name: str, place: int, value: object) -> None:
        """Give another value for it."""
        if len(self.args) > place:
            self.args = (*self.args[:place], value, *self.args[place + 1 :])
        else:
            self.kwargs = {**self.kwargs, name: value}

    def rest(self, *names: str) -> dict[str, Any]:
        """The named ones, but for these."""
        return {name: value for name, value in self.kwargs.items() if name not in names}
