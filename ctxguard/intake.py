"""What callers hand in, made into chunks with ids that mean one text in the whole run."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from ctxguard.errors import InputError
from ctxguard.types import Chunk, Decision, Message

__all__ = ["asked", "coerce_chunks", "identify_chunks"]


def coerce_chunks(chunks: Iterable[str | Mapping[str, Any] | Chunk]) -> list[Chunk]:
    """Chunks from strings, mappings with the fields of Chunk, and Chunks.

    Raises:
        InputError: naming the item and the field, for anything else.
    """
    if isinstance(chunks, str | bytes | Mapping):
        kind = type(cast("object", chunks)).__name__
        raise InputError(f"chunks: expected a list of chunks, got one {kind}")
    try:
        items = list(chunks)
    except TypeError as error:
        raise InputError(f"chunks: expected a list of chunks, got {chunks!r}") from error
    return [_chunk(index, item) for index, item in enumerate(items)]


def _chunk(index: int, item: object) -> Chunk:
    if isinstance(item, Chunk):
        return item
    if isinstance(item, str):
        return Chunk(id=f"chunk-{index + 1}", text=item)
    if not isinstance(item, Mapping):
        raise InputError(
            f"chunks[{index}]: expected a str, a mapping or a Chunk, got {type(item).__name__}"
        )
    fields = dict(cast("Mapping[str, Any]", item))
    known = {field.name for field in dataclasses.fields(Chunk)}
    for key in fields:
        if key not in known:
            raise InputError(
                f"chunks[{index}].{key}: no such field of Chunk; put it into 'metadata'"
            )
    if not isinstance(fields.get("text"), str):
        raise InputError(
            f"chunks[{index}].text: expected a str, got {type(fields.get('text')).__name__}"
        )
    fields["id"] = str(fields.get("id") or f"chunk-{index + 1}")
    return Chunk(**fields)


def identify_chunks(
    chunks: Sequence[Chunk], known: Mapping[str, Chunk]
) -> tuple[list[Chunk], list[Decision]]:
    """Chunks with ids that are unique in this call and mean one text in the whole run."""
    seen: set[str] = set()
    out: list[Chunk] = []
    decisions: list[Decision] = []
    for index, chunk in enumerate(chunks):
        new_id = _free_id(chunk, seen, known)
        score = chunk.score
        if chunk.id in seen:
            came = f"chunk {index + 1} came with the id {chunk.id!r} of another"
            decisions.append(_flag(new_id, "duplicate-id", f"{came}; it is {new_id!r} here"))
        if score is not None and math.isnan(score):
            reason = "its score is not a number; it keeps the place in which it was retrieved"
            decisions.append(_flag(new_id, "no-score", reason))
            score = None
        seen.add(new_id)
        changed = new_id != chunk.id or score is not chunk.score
        out.append(replace(chunk, id=new_id, score=score) if changed else chunk)
    return out, decisions


def _free_id(chunk: Chunk, seen: set[str], known: Mapping[str, Chunk]) -> str:
    name, number = chunk.id, 1
    while name in seen or (name in known and known[name].text != chunk.text):
        number += 1
        name = f"{chunk.id}#{number}"
    return name


def _flag(subject: str, code: str, reason: str) -> Decision:
    return Decision(stage="input", action="flag", subject=subject, code=code, reason=reason)


def asked(messages: Sequence[Message]) -> str:
    """The last user message when it is short enough to be a question and not a filled template."""
    texts = [message.text for message in messages if message.role == "user"]
    return texts[-1] if texts and len(texts[-1]) <= 500 else ""
