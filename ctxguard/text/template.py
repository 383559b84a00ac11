"""Templates: what the model sees around the text of a chunk."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ctxguard.errors import PolicyError

__all__ = ["Template"]

_FIELDS = ("number", "id", "source", "title", "text", "also_in", "conflict")
_CONFLICT_FIELDS = ("number", "id", "source", "title", "rivals")


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """How chunks are written into a prompt: citations, source labels, notes on conflicts.

    Fields stand in single braces, `{{` and `}}` are braces. What is filled in is never read again,
    so that braces in a text stay as they are. By default a chunk is its text and nothing else.
    """

    chunk: str = "{text}"
    """One chunk; fields: number (from 1, in the order of the prompt), id, source (the id where it
    is blank), title, text, also_in (sources of its copies), conflict (the note below)."""
    conflict: str = ""
    """The note on a chunk that other chunks in the prompt contradict; fields: rivals (their
    numbers), number, id, source, title. It is written where `chunk` has `{conflict}`."""
    separator: str = "\n\n"
    """Stands between two chunks."""

    def __post_init__(self) -> None:
        """Check that every field exists; the message names it and those that do."""
        for name in ("chunk", "conflict", "separator"):
            if not isinstance(getattr(self, name), str):
                raise PolicyError(f"Template.{name}: expected a str, got {getattr(self, name)!r}")
        for name, known in (("chunk", _FIELDS), ("conflict", _CONFLICT_FIELDS)):
            for _, field in _parse(name, getattr(self, name)):
                if field and field not in known:
                    raise PolicyError(
                        f"Template.{name}: no field {{{field}}}; there are {', '.join(known)}"
                    )
        if "text" not in [field for _, field in _parse("chunk", self.chunk)]:
            raise PolicyError("Template.chunk: the field {text} is missing")

    def write(  # noqa: PLR0913 -- one argument per field
        self,
        *,
        text: str,
        number: int,
        id: str,  # noqa: A002 -- the name of the field
        source: str = "",
        title: str = "",
        also_in: Sequence[str] = (),
        rivals: Sequence[str] = (),
    ) -> str:
        """One chunk as the model sees it.

        Args:
            text: of the chunk.
            number: the place in the prompt, from 1.
            id: of the chunk.
            source: where it comes from; blank: the id stands for it.
            title: what it is called; may be blank.
            also_in: sources of its copies.
            rivals: numbers of the chunks in the prompt that say otherwise.
        """
        values = {
            "number": str(number),
            "id": id,
            "source": source or id,
            "title": title,
            "text": text,
            "also_in": ", ".join(also_in),
            "rivals": ", ".join(rivals),
        }
        values["conflict"] = _fill("conflict", self.conflict, values) if rivals else ""
        return _fill("chunk", self.chunk, values)

    def shows(self, field: str) -> bool:
        """Whether the model sees a field of every chunk."""
        return any(field == name for _, name in _parse("chunk", self.chunk))


@lru_cache(maxsize=64)
def _parse(name: str, template: str) -> tuple[tuple[str, str], ...]:
    """Literal text and the field after it, in order; no formats, conversions or attributes."""
    parts: list[tuple[str, str]] = []
    try:
        for literal, field, form, conversion in string.Formatter().parse(template):
            if field is not None and (not field.isidentifier() or form or conversion):
                raise PolicyError(
                    f"Template.{name}: expected a plain field such as {{text}}, got {{{field}…}}"
                )
            parts.append((literal, field or ""))
    except ValueError as error:
        raise PolicyError(f"Template.{name}: {error} in {template!r}") from error
    return tuple(parts)


def _fill(name: str, template: str, values: Mapping[str, str]) -> str:
    return "".join(
        literal + (values[field] if field else "") for literal, field in _parse(name, template)
    )
