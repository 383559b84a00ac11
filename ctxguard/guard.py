"""The guard: the pipeline, and the one line around an existing object.

`Guard` is framework-free. `guard()` finds the adapter of the object's framework among the entry
points `ctxguard.adapters` and hands it a Guard.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, TypeVar, overload

from ctxguard.adapters import Adapter, SupportsProcess, find_adapter
from ctxguard.answers import Answers
from ctxguard.dispatcher import Dispatcher
from ctxguard.errors import InputError, PolicyError, UnsupportedObjectError
from ctxguard.fitting import ModelCall, fit_call, uncounted
from ctxguard.handle import Handle
from ctxguard.intake import coerce_chunks, identify_chunks
from ctxguard.ledger import Ledger
from ctxguard.models import ModelCard
from ctxguard.pipeline import Pipeline
from ctxguard.policy import Policy, choose
from ctxguard.request import Request
from ctxguard.routing.choice import Routing
from ctxguard.run import Outcome, Record, Run, current_run, ledger_of
from ctxguard.stages.layout import write_chunks
from ctxguard.text.analysis import Analyzer, shared_analyzer
from ctxguard.text.template import Template
from ctxguard.text.tokens import Tokenizer
from ctxguard.types import Budget, Chunk, Decision, Message
from ctxguard.verification import Verify
from ctxguard.window import Fitted
from ctxguard.wire import FittedMessages, Item, Shape, listed, read_prompt, tools_text

__all__ = ["Adapter", "Guard", "Prepared", "guard"]

T = TypeVar("T")
M = TypeVar("M", bound=Item)
S = TypeVar("S")
SCOPES = ("copy", "process")
SEPARATOR = "\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The evidence for one question, ready for a prompt."""

    chunks: tuple[Chunk, ...]
    """Kept, in the order in which they should stand in the prompt."""
    positions: tuple[int, ...]
    """Index in the input of each kept chunk."""
    outcome: Outcome = field(compare=False, repr=False)
    """Makes the ledger when it is first read."""
    template: Template | None = None
    """How `text` writes the chunks; None: as their text."""

    @property
    def ledger(self) -> Ledger:
        """What was decided and counted."""
        return self.outcome.ledger

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Those of the ledger, in the order in which they were taken."""
        return self.ledger.decisions

    @property
    def text(self) -> str:
        """The kept chunks as the template writes them, by default one blank line between two."""
        separator = SEPARATOR if self.template is None else self.template.separator
        return separator.join(write_chunks(self.chunks, self.template))

    @property
    def citations(self) -> dict[int, str]:
        """The chunk's id for each number by which a template lets the model cite it."""
        return {number: chunk.id for number, chunk in enumerate(self.chunks, start=1)}


class Guard(Answers):
    """Applies a policy to retrieved chunks (`prepare`) and a model's messages (`fit`).

    And holds what the model answered against them (`verify`, and what else `Answers` has).
    """

    def __init__(self, policy: Policy | None = None, *, card: ModelCard | None = None) -> None:
        """Set up, without loading anything.

        Args:
            policy: None: `CTXGUARD_POLICY`'s file if that is set, else the balanced preset.
            card: the model that will read the evidence, when it is known.
        """
        self.policy = policy or Policy.from_env()
        self.card = card or ModelCard()
        self._limits = self.policy.limits
        self._analyzers: dict[int, Analyzer] = {}
        routing = self.policy.routing
        self.dispatcher = None if routing is None else Dispatcher(routing)
        """What routed calls of this guard have in common; None: the policy routes nothing."""

    def with_card(self, card: ModelCard) -> Guard:
        """The same policy for another model."""
        return self._derived(self.policy, card)

    def with_verification(self, settings: Verify | None) -> Guard:
        """The same, but for how answers are verified."""
        if settings is self.policy.verification:
            return self
        return self._derived(replace(self.policy, verification=settings), self.card)

    def _derived(self, policy: Policy, card: ModelCard) -> Guard:
        made = Guard(policy, card=card)
        made.dispatcher = self.dispatcher  # one state for all of them
        return made

    @cached_property
    def fingerprint(self) -> str:
        """The policy's fingerprint, computed once: for keys of caches that are asked every call."""
        return self.policy.fingerprint()

    @contextmanager
    def run(self, question: str = "", name: str = "") -> Generator[Run]:
        """One call of an application of your own: `fit` in it knows the evidence of `prepare`.

        The run holds in this context: in this thread or task, and in the tasks that it starts. A
        thread of your own needs a copy of the context (`contextvars.copy_context().run`).

        Args:
            question: what is asked, for the ledger; blank: what was retrieved for first.
            name: what runs, for the ledger.

        Yields:
            The run; `run.ledger()` is what was decided so far, in the block and after it.
        """
        with Handle(self, self).run(question, name) as run:
            yield run

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
        limits = self.card.fill(self._limits if budget is None else Budget.of(budget))
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
            outcome=Outcome(
                lambda: ledger_of((record,), run_id=uuid.uuid4().hex, question=question, name=name)
            ),
            template=self.policy.template,
        )

    # -- routes ---------------------------------------------------------------------------------

    def route(self, question: str, request: Request | None = None) -> Routing:
        """Which route the router takes for a question, and why; no model is asked.

        What else speaks for another route (a conversation's cache, budgets, rests) is looked at
        when a model is called: `ctxguard.dispatching`.

        Args:
            question: what is asked.
            request: what is known of the call; None: nothing.

        Raises:
            InputError: the policy names no routes.
        """
        routing = self.policy.routing
        if routing is None:
            raise InputError("Policy.routing: there are no routes; give routing=Routes(routes=(…))")
        if not isinstance(question, str):  # pyright: ignore[reportUnnecessaryIsInstance] -- values come from untyped callers
            raise InputError(f"question: expected a str, got {type(question).__name__}")
        known = request or Request()
        resolved = [known.resolved(route) for route in routing.routes]
        return routing.router.decide(question, resolved, known.load(output=300))

    # -- messages -------------------------------------------------------------------------------

    @overload
    def fit(
        self,
        messages: Sequence[M],
        *,
        tools: str | Sequence[object] = "",
        shape: Shape | None = None,
        card: ModelCard | None = None,
        name: str = "",
    ) -> FittedMessages[M, None]: ...

    @overload
    def fit(
        self,
        messages: Sequence[M],
        *,
        system: S,
        tools: str | Sequence[object] = "",
        shape: Shape | None = None,
        card: ModelCard | None = None,
        name: str = "",
    ) -> FittedMessages[M, S]: ...

    @overload
    def fit(
        self,
        messages: Sequence[Message],
        *,
        tools: str | Sequence[object] = "",
        card: ModelCard | None = None,
        name: str = "",
        counts: bool = True,
    ) -> Fitted: ...

    def fit(  # noqa: PLR0913 -- what the SDKs take apart, and what is not theirs by name
        self,
        messages: Sequence[Any],
        *,
        system: Any = None,
        tools: str | Sequence[object] = "",
        shape: Shape | None = None,
        card: ModelCard | None = None,
        name: str = "",
        counts: bool = True,
    ) -> Fitted | FittedMessages[Any, Any]:
        """Make the messages of one model call fit its window; evidence is known from the run.

        Args:
            messages: the whole prompt, in order: Messages, or what the SDKs of OpenAI (chat
                completions, input items of the Responses API) and Anthropic take, dicts or objects.
            system: the system prompt where the SDK takes it apart: Anthropic's `system`, the
                `instructions` of the Responses API. Counted, and never cut but for evidence in it.
            tools: the tool schemas, as the SDK takes them or as JSON.
            shape: whose messages they are; None: as they look.
            card: the model that is called; None: the guard's.
            name: what calls, for the ledger; blank: the model's name.
            counts: whether the caller wants the tokens and segments of the result; if not, and
                nothing limits this call, they are counted when the run's ledger is read.

        Returns:
            Fitted for Messages; for those of an SDK FittedMessages, in the same shape.

        Raises:
            InputError: naming the field, for messages that no SDK takes.
            BudgetExceededError: what is pinned does not fit, whatever `on_error` says: sending it
                would only fail later and less clearly.
        """
        run, given = current_run(), listed(messages)
        call = ModelCall(
            read=lambda _: given,
            tools=tools_text(tools),
            evidence=run.evidence if run else (),
            card=card or self.card,
            name=name,
        )
        if system is None and shape is None and all(isinstance(m, Message) for m in given):
            return self._fit(call, counts=counts)
        prompt = read_prompt(given, system=system, shape=shape)
        call = replace(call, read=prompt.messages, notes=prompt.notes)
        return prompt.apply(self._fit(call, counts=counts))

    def _fit(self, call: ModelCall, *, counts: bool) -> Fitted:
        limits = call.card.fill(self._limits)
        limited = self.policy.window and limits.limited

        def work() -> tuple[Fitted, Record]:
            fitted, record = fit_call(call, self.policy, lambda: self._analyzer(call.card), limits)
            return fitted, replace(record, tokenizer=self._tokenizer_name(call.card))

        if counts or limited or self.policy.on_error == "raise":
            fitted, record = work()
        else:
            fitted, record = uncounted(call, complete=lambda _: work()[1])
        run = current_run()
        if run is not None:
            run.add(record)
        return fitted

    # -- counting -------------------------------------------------------------------------------

    def _count(self, text: str) -> int:
        return self._analyzer(self.card).count(text)

    def _tokenizer(self, card: ModelCard) -> Tokenizer:
        return self.policy.resolve_tokenizer() or card.resolve_tokenizer()

    def _tokenizer_name(self, card: ModelCard) -> str:
        return str(getattr(self._tokenizer(card), "name", "custom"))

    def _analyzer(self, card: ModelCard) -> Analyzer:
        tokenizer = self._tokenizer(card)
        found = self._analyzers.get(id(tokenizer))  # it is held by its analyzer
        if found is None:
            found = self._analyzers[id(tokenizer)] = shared_analyzer(tokenizer)
        return found

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
