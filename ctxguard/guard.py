"""The guard: the pipeline, and the one line around an existing object.

`Guard` is framework-free. `guard()` finds the adapter of the object's framework among the entry
points `ctxguard.adapters` and hands it a Guard.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from ctxguard.adapters import Adapter, SupportsProcess, find_adapter
from ctxguard.errors import BudgetExceededError, InputError, PolicyError, UnsupportedObjectError
from ctxguard.intake import asked, coerce_chunks, identify_chunks
from ctxguard.ledger import Ledger, Step
from ctxguard.models import ModelCard
from ctxguard.pipeline import Pipeline, failed, within
from ctxguard.policy import Policy, choose
from ctxguard.run import Record, current_run, ledger_of
from ctxguard.stages.layout import write_chunks
from ctxguard.text.analysis import Analyzer
from ctxguard.text.template import Template
from ctxguard.text.tokens import Tokenizer
from ctxguard.types import Budget, Chunk, Decision, Message
from ctxguard.window import Fitted, fit_messages

__all__ = ["Adapter", "Guard", "Prepared", "guard"]

T = TypeVar("T")
SCOPES = ("copy", "process")
SEPARATOR = "\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The evidence for one question, ready for a prompt."""

    chunks: tuple[Chunk, ...]
    """Kept, in the order in which they should stand in the prompt."""
    positions: tuple[int, ...]
    """Index in the input of each kept chunk."""
    decisions: tuple[Decision, ...]
    ledger: Ledger
    template: Template | None = None
    """How `text` writes the chunks; None: as their text."""

    @property
    def text(self) -> str:
        """The kept chunks as the template writes them, by default one blank line between two."""
        separator = SEPARATOR if self.template is None else self.template.separator
        return separator.join(write_chunks(self.chunks, self.template))

    @property
    def citations(self) -> dict[int, str]:
        """The chunk's id for each number by which a template lets the model cite it."""
        return {number: chunk.id for number, chunk in enumerate(self.chunks, start=1)}


class Guard:
    """Applies a policy: to retrieved chunks (`prepare`) and to a model's messages (`fit`)."""

    def __init__(self, policy: Policy | None = None, *, card: ModelCard | None = None) -> None:
        """Set up, without loading anything.

        Args:
            policy: None: `CTXGUARD_POLICY`'s file if that is set, else the balanced preset.
            card: the model that will read the evidence, when it is known.
        """
        self.policy = policy or Policy.from_env()
        self.card = card or ModelCard()
        self._analyzers: dict[str, Analyzer] = {}
        self._lock = threading.Lock()

    def with_card(self, card: ModelCard) -> Guard:
        """The same policy for another model."""
        return Guard(self.policy, card=card)

    # -- evidence -------------------------------------------------------------------------------

    def prepare(
        self,
        question: str,
        chunks: Iterable[str | Mapping[str, Any] | Chunk],
        *,
        budget: Budget | int | None = None,
        name: str = "prepare",
        previous: Sequence[str] = (),
    ) -> Prepared:
        """Run the policy's stages over retrieved chunks, best-ranked first.

        Args:
            question: what is asked; may be empty.
            chunks: strings, mappings with the fields of Chunk (`id` may be missing), or Chunks.
            budget: replaces the policy's budget for this call.
            name: what retrieved them, for the ledger.
            previous: ids of the chunks in the prompt of the turn before, in its order, for
                `Layout(order="cache-stable")`.

        Raises:
            InputError: naming the field, for input that is not text.
            Exception: what a stage raised, only with `on_error="raise"`.
        """
        limits = self.card.fill(self.policy.limits if budget is None else Budget.of(budget))
        if not isinstance(question, str):  # pyright: ignore[reportUnnecessaryIsInstance] -- values come from untyped callers
            raise InputError(f"question: expected a str, got {type(question).__name__}")
        run = current_run()
        given, decisions = identify_chunks(coerce_chunks(chunks), run.known() if run else {})
        pipeline = Pipeline(self.policy, self._analyzer(self.card))
        context = pipeline.run(question, given, limits, decisions, previous=previous)
        record = pipeline.record(context, given, question=question, name=name, card=self.card)
        if run is not None:
            run.add(record)
        places = {chunk.id: index for index, chunk in enumerate(given)}
        return Prepared(
            chunks=context.chunks,
            positions=tuple(places[chunk.id] for chunk in context.chunks),
            decisions=record.decisions,
            ledger=ledger_of((record,), run_id=uuid.uuid4().hex, question=question, name=name),
            template=self.policy.template,
        )

    # -- messages -------------------------------------------------------------------------------

    def fit(
        self,
        messages: Sequence[Message],
        *,
        tools: str = "",
        card: ModelCard | None = None,
        name: str = "",
    ) -> Fitted:
        """Make the messages of one model call fit its window; evidence is known from the run.

        Args:
            messages: the whole prompt, in order.
            tools: the tool schemas as JSON.
            card: the model that is called; None: the guard's.
            name: what calls, for the ledger; blank: the model's name.

        Raises:
            BudgetExceededError: what is pinned does not fit, whatever `on_error` says: sending it
                would only fail later and less clearly.
        """
        model = card or self.card
        budget = model.fill(self.policy.limits)
        run = current_run()
        evidence = run.evidence if run else ()
        started = time.perf_counter()
        fitted = self._fit(tuple(messages), evidence, tools, budget, model)
        record = Record(
            step=Step(
                kind="model",
                name=name or model.name,
                tokens_before=fitted.tokens_before,
                tokens_after=fitted.tokens_after,
                segments=fitted.segments,
            ),
            decisions=fitted.decisions,
            timings={"window": time.perf_counter() - started},
            model=model.name,
            tokenizer=self._tokenizer_name(model),
            budget=budget,
            question=asked(messages),
        )
        if run is not None:
            run.add(record)
        return fitted

    def _fit(
        self,
        messages: tuple[Message, ...],
        evidence: Sequence[Chunk],
        tools: str,
        budget: Budget,
        model: ModelCard,
    ) -> Fitted:
        if not self.policy.window:
            budget = Budget()  # count only
        try:
            analyzer = self._analyzer(model)
            return within(
                lambda: fit_messages(
                    messages, evidence=evidence, tools=tools, budget=budget, analyzer=analyzer
                ),
                analyzer.tokenizer,
                self.policy.deadline,
            )
        except BudgetExceededError:
            raise
        except Exception as error:
            if self.policy.on_error == "raise":
                raise
            return Fitted(
                messages=messages,
                positions=tuple(range(len(messages))),
                decisions=(failed("window", error),),
            )

    # -- counting -------------------------------------------------------------------------------

    def _tokenizer(self, card: ModelCard) -> Tokenizer:
        return self.policy.resolve_tokenizer() or card.resolve_tokenizer()

    def _tokenizer_name(self, card: ModelCard) -> str:
        return str(getattr(self._tokenizer(card), "name", "custom"))

    def _analyzer(self, card: ModelCard) -> Analyzer:
        tokenizer = self._tokenizer(card)
        key = f"{getattr(tokenizer, 'name', '')}:{id(tokenizer)}"
        with self._lock:
            if key not in self._analyzers:
                self._analyzers[key] = Analyzer(tokenizer)
            return self._analyzers[key]

    def __reduce__(self) -> tuple[Callable[..., Guard], tuple[Any, ...], dict[str, Any]]:
        """Pickles as its policy and card; caches stay behind."""
        return Guard, (self.policy,), {"card": self.card}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Restore the card."""
        self.card = state["card"]

    def __deepcopy__(self, memo: dict[int, object]) -> Guard:
        """Itself: it only holds frozen data and a cache."""
        return self


def guard(
    obj: T,
    policy: Policy | None = None,
    *,
    scope: Literal["copy", "process"] = "copy",
    **overrides: Any,
) -> T:
    """A guarded object of a framework: same type, same behaviour, better context.

    Args:
        obj: a retriever, model, chain, graph, query engine, chat engine, agent or workflow of a
            framework whose integration is installed (`ctxguard-langchain`, `ctxguard-llamaindex`).
        policy: None: `CTXGUARD_POLICY`'s file if that is set, else the balanced preset.
        scope: "copy": a guarded copy; the object stays as it is. "process": the object itself, in
            place, with every retriever, model and vector store inside of it; whoever holds one of
            them is guarded as well, until `.ctxguard.unguard()`.
        **overrides: fields of Policy that replace the policy's, as in `guard(x, budget=2000)`.

    Returns:
        What is guarded; `.ctxguard` on it is its Handle (`coverage`, `last`, `unguard()`).

    Raises:
        PolicyError: an override is no field of Policy, its value or the scope cannot be used.
        UnsupportedObjectError: no installed integration knows this object, or it cannot be guarded
            in place.
    """
    chosen = choose("guard", policy, overrides)
    if scope not in SCOPES:
        raise PolicyError(f"guard(scope={scope!r}): choose one of {', '.join(map(repr, SCOPES))}")
    adapter = find_adapter(obj)
    if scope == "copy":
        return adapter.guard(obj, Guard(chosen))
    if not isinstance(adapter, SupportsProcess):
        raise UnsupportedObjectError(
            f'guard(scope="process"): the integration {adapter.name} only makes guarded copies'
        )
    return adapter.guard_in_place(obj, Guard(chosen))
