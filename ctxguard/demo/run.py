"""The run: every question to the plain and to the guarded chain, timed, counted and compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal, TypeAlias

import httpx

from ctxguard.demo.chains import ANSWER_TOKENS, Chain, Endpoint, Pair, Passage
from ctxguard.demo.measures import Retained, retained, words
from ctxguard.demo.server import model_server
from ctxguard.demo.wire import NoModel, Wire
from ctxguard.guard import Guard
from ctxguard.ledger import Ledger
from ctxguard.policy import Policy
from ctxguard.text.tokens import Tokenizer, tokenizer_for
from ctxguard.types import Budget, Verification

__all__ = [
    "Answer",
    "Comparison",
    "Model",
    "PolicyName",
    "Side",
    "Summary",
    "Watch",
    "compare",
    "flagged",
    "judged",
    "open_model",
    "policy_for",
    "summarise",
]

PolicyName: TypeAlias = Literal["lean", "balanced"]
Side: TypeAlias = Literal["plain", "guarded"]
Watch: TypeAlias = Callable[[Side, str], None]
"""Told which side is asked and what it has answered so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What the chains talk to, and what recorded it."""

    endpoint: Endpoint
    wire: Wire
    tokenizer: Tokenizer
    answers: bool
    """False: there is no model; prompts are counted and not read."""


def policy_for(name: PolicyName, model: Model) -> Policy:
    """A preset for this model: its tokenizer, its window, room for a short answer.

    Without the preset's own token limit: what is shown here leaves nothing out for want of room.
    """
    base = {"lean": Policy.lean, "balanced": Policy.balanced}[name]()
    budget = Budget(window=model.endpoint.window, reserve_output=ANSWER_TOKENS)
    return replace(base, tokenizer=model.tokenizer, budget=budget)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One question to one chain."""

    text: str
    passages: tuple[Passage, ...]
    """What the prompt was filled with, in order."""
    prompt_tokens: int
    """As the server counted them."""
    first_token: float | None
    """Seconds from the call to the first piece of the answer; None without a model."""
    seconds: float
    """From the call to the end of the answer: retrieval and guard included."""
    sources: tuple[str, ...]
    """Distributions that the passages name, those of copies that were left out included."""
    in_prompt: bool
    """Whether every passage stands in the prompt that was sent: measured is what was read."""
    verification: Verification | None = None
    """What the passages say of the answer; None without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One question to both chains."""

    question: str
    first: Side
    """Which side was asked first."""
    plain: Answer
    guarded: Answer
    retained: Retained
    ledger: Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All questions together; each pair is (plain, guarded)."""

    questions: int
    chunks: tuple[int, int]
    copies: tuple[int, int]
    sources: tuple[int, int]
    """Distinct sources per question, summed: retrieved, and still named."""
    facts: tuple[int, int]
    """Distinct facts per question, summed: retrieved, and still there."""
    wording: float
    """Mean share of the distinct five-word sequences that is still there, 0..1."""
    prompt_tokens: tuple[int, int]
    median_prompt_tokens: tuple[float, float]
    first_token: tuple[float, float] | None
    """Seconds, summed; None without a model."""
    median_first_token: tuple[float, float] | None
    seconds: tuple[float, float]
    """Whole answers, summed."""
    claims: tuple[int, int] = (0, 0)
    """Claims of the answers that were judged."""
    flagged: tuple[int, int] = (0, 0)
    """Those that the passages contradict or do not hold."""


@contextmanager
def open_model(*, llm: Literal["smollm2", "none"]) -> Generator[Model]:
    """The model for the time of the `with` block; its server ends with it.

    Raises:
        MissingDependencyError: when the model's packages are missing.
        ServerError: when its server does not start.
    """
    if llm == "none":
        tokenizer = tokenizer_for()
        with _client(NoModel(tokenizer)) as (client, wire):
            endpoint = Endpoint(
                base_url="http://127.0.0.1/v1", model="none", window=8192, client=client
            )
            yield Model(endpoint=endpoint, wire=wire, tokenizer=tokenizer, answers=False)
        return
    with model_server() as server, _client(httpx.HTTPTransport()) as (client, wire):
        endpoint = Endpoint(
            base_url=f"{server.address}/v1",
            model=server.model,
            window=server.window,
            client=client,
        )
        yield Model(endpoint=endpoint, wire=wire, tokenizer=server.tokenizer, answers=True)


@contextmanager
def _client(transport: httpx.BaseTransport) -> Generator[tuple[httpx.Client, Wire]]:
    wire = Wire(transport)
    with httpx.Client(transport=wire) as client:
        yield client, wire


def compare(
    pair: Pair, question: str, model: Model, *, number: int, watch: Watch | None = None
) -> Comparison:
    """Ask both chains the question, one after the other.

    Args:
        pair: the chains.
        question: what is asked.
        model: what the chains talk to.
        number: of the question; plain goes first at odd numbers, guarded at even ones.
        watch: told about the progress.
    """
    order: tuple[Side, Side] = ("plain", "guarded") if number % 2 else ("guarded", "plain")
    answers: dict[Side, Answer] = {}
    for side in order:
        chain = pair.plain if side == "plain" else pair.guarded
        answers[side] = _ask(chain, question, model, side=side, watch=watch)
    plain, guarded = answers["plain"], answers["guarded"]
    return Comparison(
        question=question,
        first=order[0],
        plain=plain,
        guarded=guarded,
        retained=retained(
            [passage.text for passage in plain.passages],
            [passage.text for passage in guarded.passages],
        ),
        ledger=_ledger(pair.guarded),
    )


def _ledger(chain: Chain) -> Ledger:
    ledger = chain.ledger()
    if ledger is None:
        raise RuntimeError("the guarded chain left no ledger")
    return ledger


def _ask(chain: Chain, question: str, model: Model, *, side: Side, watch: Watch | None) -> Answer:
    model.wire.exchanges.clear()
    tell: Watch = watch or _ignore
    tell(side, "")
    text, first = "", None
    start = time.perf_counter()
    for piece in chain.stream(question):
        if piece and first is None:
            first = time.perf_counter() - start
        text += piece
        tell(side, text)
    seconds = time.perf_counter() - start
    prompt = words("\n".join(exchange.prompt for exchange in model.wire.exchanges))
    passages = chain.evidence()
    text = text.strip()
    return Answer(
        text=text,
        passages=passages,
        sources=_sources(passages),
        prompt_tokens=sum(
            exchange.usage("prompt_tokens") or 0 for exchange in model.wire.exchanges
        ),
        first_token=first if model.answers else None,
        seconds=seconds,
        in_prompt=all(words(passage.text) in prompt for passage in passages),
        verification=_verified(text, passages, question) if text else None,
    )


def _verified(answer: str, passages: Sequence[Passage], question: str) -> Verification:
    """The answer held against what its prompt was filled with."""
    evidence = [
        {"id": f"passage-{number}", "text": passage.text, "source": passage.source}
        for number, passage in enumerate(passages, start=1)
    ]
    return Guard().verify(answer, evidence, question=question)


def _sources(passages: Sequence[Passage]) -> tuple[str, ...]:
    named = (name for passage in passages for name in (passage.source, *passage.also_in))
    return tuple(dict.fromkeys(named))


def _ignore(_side: Side, _text: str, /) -> None:
    """Watch nothing."""


def summarise(comparisons: Sequence[Comparison]) -> Summary:
    """The totals and medians of at least one comparison."""
    plain = [item.plain for item in comparisons]
    guarded = [item.guarded for item in comparisons]
    kept = [item.retained for item in comparisons]
    firsts = [
        (item.plain.first_token, item.guarded.first_token)
        for item in comparisons
        if item.plain.first_token is not None and item.guarded.first_token is not None
    ]
    facts = sum(item.facts for item in kept)
    return Summary(
        questions=len(comparisons),
        chunks=(sum(len(a.passages) for a in plain), sum(len(a.passages) for a in guarded)),
        copies=(sum(item.copies for item in kept), sum(item.copies_left for item in kept)),
        sources=(
            sum(len(a.sources) for a in plain),
            sum(len({*p.sources} & {*g.sources}) for p, g in zip(plain, guarded, strict=True)),
        ),
        facts=(facts, facts - sum(len(item.facts_lost) for item in kept)),
        wording=sum(item.wording for item in kept) / len(kept),
        prompt_tokens=(sum(a.prompt_tokens for a in plain), sum(a.prompt_tokens for a in guarded)),
        median_prompt_tokens=(
            median(a.prompt_tokens for a in plain),
            median(a.prompt_tokens for a in guarded),
        ),
        first_token=(sum(p for p, _ in firsts), sum(g for _, g in firsts)) if firsts else None,
        median_first_token=(
            (median(p for p, _ in firsts), median(g for _, g in firsts)) if firsts else None
        ),
        seconds=(sum(a.seconds for a in plain), sum(a.seconds for a in guarded)),
        claims=(sum(map(judged, plain)), sum(map(judged, guarded))),
        flagged=(sum(map(flagged, plain)), sum(map(flagged, guarded))),
    )


def judged(answer: Answer) -> int:
    """How many claims of an answer were judged."""
    claims = answer.verification.claims if answer.verification else ()
    return sum(verdict.label != "not_judged" for verdict in claims)


def flagged(answer: Answer) -> int:
    """How many claims of an answer its passages contradict or do not hold."""
    return len(answer.verification.failed) if answer.verification else 0
