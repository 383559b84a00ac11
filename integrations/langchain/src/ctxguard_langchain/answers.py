"""Where an answer, its evidence and its question stand in what chains and graphs return."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    ToolMessage,
    convert_to_messages,
)
from pydantic import BaseModel

from ctxguard.errors import InputError
from ctxguard.types import Chunk
from ctxguard_langchain.convert import are_documents, chunks_of, question_of, short
from ctxguard_langchain.dynamic import Dynamic

__all__ = ["Evidence", "Keys", "fields_of"]

Evidence: TypeAlias = list[str | Mapping[str, Any] | Chunk]
"""What a Verifier takes."""
Fields: TypeAlias = Mapping[str, Any]

_MESSAGES = "messages"
_ANSWERS = ("answer", "output", "response", "result", "generation", "prediction", _MESSAGES)
_EVIDENCE = ("context", "contexts", "documents", "source_documents", "docs", "evidence", _MESSAGES)
_QUESTIONS = ("question", "query", "input", _MESSAGES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The keys that are looked for, each kind in this order."""

    answers: tuple[str, ...] = _ANSWERS
    evidences: tuple[str, ...] = _EVIDENCE
    questions: tuple[str, ...] = _QUESTIONS

    @classmethod
    def of(cls, *, answer: str | None, evidence: str | None, question: str | None) -> Keys:
        """The usual keys, where none is given."""
        return cls(
            answers=(answer,) if answer else _ANSWERS,
            evidences=(evidence,) if evidence else _EVIDENCE,
            questions=(question,) if question else _QUESTIONS,
        )

    def answer(self, fields: Fields) -> str:
        """The answer's text.

        Raises:
            InputError: there is none, or it is no text and no message.
        """
        key, value = _first(fields, self.answers, "answer")
        if key == _MESSAGES and (messages := _messages(value)) is not None:
            return _last_answer(messages)
        if isinstance(value, BaseMessage):
            return question_of(value)
        if not isinstance(value, str):
            raise InputError(f"{key}: expected a str or a message, got {type(value).__name__}")
        return value

    def has_evidence(self, *sources: Fields) -> bool:
        """Whether there is evidence in one of these."""
        return any(True for _ in self._evidence(sources))

    def evidence(self, *sources: Fields) -> Evidence:
        """The evidence of the first of these that has some.

        Raises:
            InputError: none has, or it is neither documents nor text.
        """
        for key, value in self._evidence(sources):
            return _chunks(key, value)
        raise _missing("evidence", self.evidences, [key for fields in sources for key in fields])

    def question(self, *sources: Fields) -> str:
        """What was asked; blank where nothing says so."""
        found = (
            short(question_of(fields[key]))
            for fields in sources
            for key in self.questions
            if key in fields
        )
        return next((question for question in found if question), "")

    def _evidence(self, sources: Sequence[Fields]) -> Iterator[tuple[str, Dynamic]]:
        for fields in sources:
            for key in self.evidences:
                value = fields.get(key)
                if key == _MESSAGES and (messages := _messages(value)) is not None:
                    value = _of_tools(messages) or None
                if value is not None:
                    yield key, value


def fields_of(value: Dynamic) -> Fields:
    """The fields of a mapping, a dataclass or a pydantic model.

    Raises:
        InputError: it is none of them.
    """
    if isinstance(value, Mapping):
        return cast("Fields", value)
    if isinstance(value, BaseModel):
        return {name: getattr(value, name) for name in type(value).model_fields}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
    raise InputError(
        f"expected a mapping with an answer and its evidence, got {type(value).__name__}"
    )


def _first(fields: Fields, keys: Sequence[str], what: str) -> tuple[str, Dynamic]:
    for key in keys:
        if fields.get(key) is not None:
            return key, fields[key]
    raise _missing(what, keys, list(fields))


def _missing(what: str, keys: Sequence[str], known: Sequence[str]) -> InputError:
    there = ", ".join(map(repr, dict.fromkeys(map(str, known)))) or "nothing"
    return InputError(
        f"no {what}: expected {' or '.join(map(repr, keys))}, and there is {there}. "
        f"{what}=… names another key"
    )


# -- evidence ------------------------------------------------------------------------------------


def _chunks(key: str, value: Dynamic) -> Evidence:
    """Chunks of documents; strings and chunks as they are."""
    if isinstance(value, str):
        return [value] if value.strip() else []
    if isinstance(value, Document):
        return list(chunks_of([value]))
    if not isinstance(value, list | tuple):
        raise InputError(f"{key}: expected Documents or strings, got {type(value).__name__}")
    items = [_document(item) for item in cast("Sequence[object]", value)]
    documents = iter(chunks_of(item for item in items if isinstance(item, Document)))
    return [next(documents) if isinstance(item, Document) else item for item in items]


def _document(item: Dynamic) -> Dynamic:
    """A Document for one that was written as JSON, a message's text; anything else as it is."""
    if isinstance(item, BaseMessage):
        return question_of(item)
    if isinstance(item, Mapping):
        written = cast("Mapping[str, Any]", item)
        if isinstance(text := written.get("page_content"), str):
            return Document(page_content=text, metadata=written.get("metadata") or {})
        return written
    return item


# -- messages ------------------------------------------------------------------------------------


def _messages(value: Dynamic) -> list[BaseMessage] | None:
    """The messages of a list, written in any way that LangChain takes; None: it is no list."""
    if not isinstance(value, list):
        return None
    try:
        return convert_to_messages(cast("list[Any]", value))
    except (NotImplementedError, TypeError, ValueError) as error:
        raise InputError(f"messages: {error}") from error


def _last_answer(messages: Sequence[BaseMessage]) -> str:
    for message in reversed(messages):
        if isinstance(message, AIMessage):
            return question_of(message)
    raise InputError("messages: none of them is the model's")


def _of_tools(messages: Sequence[BaseMessage]) -> list[Document | str]:
    """What tools returned since the last question."""
    start = max(
        (place for place, one in enumerate(messages) if isinstance(one, HumanMessage)), default=0
    )
    found: list[Document | str] = []
    for message in messages[start:]:
        if isinstance(message, ToolMessage):
            artifact: object = message.artifact
            found += artifact if are_documents(artifact) and artifact else [question_of(message)]
    return found
