"""The policy applied to what passes a choke point.

Whatever fails in here, conversion included, is the guard's fault and not the call's: with
`on_error="pass"` the input goes on unchanged and the ledger gets an error Decision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage

from ctxguard.errors import BudgetExceededError
from ctxguard.handle import Handle
from ctxguard.ledger import Step
from ctxguard.models import ModelCard
from ctxguard.run import Record, current_run
from ctxguard.types import Decision
from ctxguard.window import apply_cuts
from ctxguard_langchain import convert
from ctxguard_langchain.dynamic import Dynamic, class_of

__all__ = [
    "fit_input",
    "fit_messages",
    "fit_prompt",
    "fit_prompts",
    "prepare_documents",
    "prepare_scored",
    "safely",
]

T = TypeVar("T")


def prepare_documents(handle: Handle, name: str, question: str, documents: T) -> T:
    """A retriever's documents after the policy's stages; anything else as it is."""
    if not convert.are_documents(documents):
        return _foreign(name, documents)

    def work() -> Dynamic:
        prepared = handle.guard.prepare(question, convert.chunks_of(documents), name=name)
        return convert.apply_prepared(documents, prepared)

    return cast("T", safely(handle, "retrieval", name, work, otherwise=documents))


def prepare_scored(
    handle: Handle, name: str, question: str, pairs: list[tuple[Document, float]]
) -> list[tuple[Document, float]]:
    """A vector store's pairs; their score may be a distance, so it decides nothing."""

    def work() -> list[tuple[Document, float]]:
        documents = [document for document, _ in pairs]
        prepared = handle.guard.prepare(question, convert.chunks_of(documents), name=name)
        kept = convert.apply_prepared(documents, prepared)
        scores = (pairs[position][1] for position in prepared.positions)
        return list(zip(kept, scores, strict=True))

    return safely(handle, "retrieval", name, work, otherwise=pairs)


def fit_messages(
    handle: Handle, model: object, messages: list[BaseMessage], kwargs: Mapping[str, Any]
) -> list[BaseMessage]:
    """A chat model's messages, made to fit its window.

    Raises:
        BudgetExceededError: what is pinned does not fit.
    """

    def work() -> list[BaseMessage]:
        card = convert.card_of(model, kwargs)
        fitted = handle.guard.fit(
            convert.messages_of(messages, _counter(handle, card)),
            tools=convert.tools_text(kwargs),
            card=card,
            name=card.name or class_of(model).__name__,
            counts=False,
        )
        return convert.apply_fitted(messages, fitted)

    return safely(handle, "model", class_of(model).__name__, work, otherwise=messages)


def fit_prompt(handle: Handle, model: object, prompt: str, kwargs: Mapping[str, Any]) -> str:
    """The prompt of a model that completes text, made to fit its window.

    Raises:
        BudgetExceededError: what is pinned does not fit.
    """

    def work() -> str:
        card = convert.card_of(model, kwargs)
        fitted = handle.guard.fit(
            [convert.prompt_message(prompt)],
            card=card,
            name=card.name or class_of(model).__name__,
            counts=False,
        )
        return apply_cuts(prompt, fitted.cuts.get(0, ()))

    return safely(handle, "model", class_of(model).__name__, work, otherwise=prompt)


def fit_prompts(
    handle: Handle, model: object, prompts: list[str], kwargs: Mapping[str, Any]
) -> list[str]:
    """The prompts of one batch, each made to fit on its own."""
    return [fit_prompt(handle, model, prompt, kwargs) for prompt in prompts]


def fit_input(handle: Handle, model: Dynamic, value: Dynamic, kwargs: Mapping[str, Any]) -> Dynamic:
    """What a model is invoked with, made to fit its window; as it came where nothing had to go.

    For models whose own `invoke` never comes to the methods below it.

    Raises:
        BudgetExceededError: what is pinned does not fit.
    """

    def work() -> Dynamic:
        asked = model._convert_input(value)  # noqa: SLF001 -- how a model reads what it is given
        if issubclass(class_of(model), BaseChatModel):
            messages: list[BaseMessage] = asked.to_messages()
            fitted = fit_messages(handle, model, messages, kwargs)
            same = [id(message) for message in fitted] == [id(message) for message in messages]
            return value if same else fitted
        prompt: str = asked.to_string()
        text = fit_prompt(handle, model, prompt, kwargs)
        return value if text == prompt else text

    return safely(handle, "model", class_of(model).__name__, work, otherwise=value)


# -- when something fails -----------------------------------------------------------------------


def safely(handle: Handle, kind: str, name: str, work: Callable[[], T], *, otherwise: T) -> T:
    """What the work comes to; what fails in it is noted, and what came in is handed on."""
    try:
        return work()
    except BudgetExceededError:
        raise
    except Exception as error:
        if handle.policy.on_error == "raise":
            raise
        _note(kind, name, "adapter-failed", f"{type(error).__name__}: {error}")
        return otherwise


def _foreign(name: str, result: T) -> T:
    _note(
        "retrieval", name, "not-documents", f"it returned a {type(result).__name__}, not documents"
    )
    return result


def _note(kind: str, name: str, code: str, why: str) -> None:
    run = current_run()
    if run is None:
        return
    decision = Decision(
        stage="langchain",
        action="error",
        subject=name,
        code=code,
        reason=f"what passed {name} was handed on unchanged: {why}",
    )
    step = Step(
        kind="model" if kind == "model" else "retrieval",
        name=name,
        tokens_before=0,
        tokens_after=0,
    )
    run.add(Record(step=step, decisions=(decision,)))


def _counter(handle: Handle, card: ModelCard) -> Callable[[str], int]:
    tokenizer = handle.policy.resolve_tokenizer() or card.resolve_tokenizer()
    return lambda text: len(tokenizer.encode(text))
