"""Ledgers as real calls leave them, for the tests of the views and for looking at them."""

from __future__ import annotations

from typing import Any, Literal

from ctxguard.ledger import Call, Ledger, Step
from ctxguard.types import Action, Budget, Chunk, Decision, Quote, Segment, SegmentKind

QUESTION = "What is the notice period for ending the support contract?"

_TEXTS = (
    (
        "c1",
        "contracts/support-2024.pdf",
        "Either party may end this agreement in writing. The notice period is 60 days from the end "
        "of the month. Fees already paid are refunded pro rata.",
    ),
    (
        "c2",
        "contracts/support-2021.pdf",
        "Either party may end this agreement in writing. The notice period is 30 days from the end "
        "of the month. Fees already paid are refunded pro rata.",
    ),
    (
        "c3",
        "wiki/offboarding.md",
        "Before a contract ends, legal asks the account owner for open tickets and invoices.",
    ),
    (
        "c4",
        "mail/2024-03-05-signed-copy.eml",
        "Either party may end this agreement in writing.  The notice period is 60 days from the "
        "end of the month. Fees already paid are refunded pro rata.",
    ),
    (
        "c5",
        "https://intranet.example.com/legal/library/support/contracts/2024/notice-and-termination",
        "Both parties can end the agreement in writing, with 60 days' notice from the month's end.",
    ),
    ("c6", "wiki/onboarding.md", "A new contract is signed by two people and stored in the vault."),
    ("c7", "", "The cafeteria is open from 11:30 to 14:00; contractors pay the guest price."),
    (
        "c8",
        "contracts/hosting-2023.pdf",
        "The hosting agreement renews for twelve months unless it is ended before 1 November.",
    ),
)
_TOKENS = {"c1": 214, "c2": 212, "c3": 184, "c4": 214, "c5": 188, "c6": 176, "c7": 160, "c8": 212}


def chunks() -> tuple[Chunk, ...]:
    return tuple(Chunk(id=i, source=source, text=text) for i, source, text in _TEXTS)


def quote(chunk_id: str, text: str) -> Quote:
    whole = next(c.text for c in chunks() if c.id == chunk_id)
    start = whole.index(text)
    return Quote(chunk_id=chunk_id, span=(start, start + len(text)), text=text)


def _drop(subject: str, code: str, reason: str, **more: object) -> Decision:
    tokens = _TOKENS[subject]
    return Decision(
        stage="select" if code == "over-budget" else "dedupe",
        action="drop",
        subject=subject,
        code=code,
        reason=reason,
        tokens_before=tokens,
        tokens_after=0,
        **more,  # pyright: ignore[reportArgumentType] -- twin, score and threshold only
    )


def _keep(subject: str, rank: int) -> Decision:
    return Decision(
        stage="select",
        action="keep",
        subject=subject,
        code="fits",
        reason=f"ranked {rank} and fits the budget",
        tokens_before=_TOKENS[subject],
        tokens_after=_TOKENS[subject],
    )


def conflict() -> Decision:
    return Decision(
        stage="dedupe",
        action="flag",
        subject="c1",
        code="conflict",
        reason="support-2024 and support-2021 share 96 % of their wording but differ in a number",
        twin="c2",
        score=0.96,
        threshold=0.8,
        evidence=(quote("c1", "60 days"), quote("c2", "30 days")),
    )


def decisions() -> tuple[Decision, ...]:
    return (
        conflict(),
        _drop(
            "c4",
            "exact-duplicate",
            "same text as contracts/support-2024.pdf but for white space",
            twin="c1",
            score=1.0,
        ),
        _drop(
            "c5",
            "near-duplicate",
            "says nothing that contracts/support-2024.pdf does not say, with the same facts",
            twin="c1",
            score=0.87,
            threshold=0.8,
        ),
        _drop("c8", "over-budget", "ranked 6; the budget of 800 tokens was used up by rank 3"),
        _drop("c6", "over-budget", "ranked 7; the budget of 800 tokens was used up by rank 3"),
        _drop("c7", "over-budget", "ranked 8; the budget of 800 tokens was used up by rank 3"),
        _keep("c1", 1),
        _keep("c2", 2),
        _keep("c3", 3),
        Decision(
            stage="layout",
            action="move",
            subject="c1",
            code="edge",
            reason="moved from place 1 to place 3: the best evidence stands next to the question",
        ),
    )


def evidence_segments() -> tuple[Segment, ...]:
    kept = {"c1", "c2", "c3"}
    return tuple(
        Segment(
            kind="evidence", label=c.source or c.id, tokens=_TOKENS[c.id], subject=c.id, text=c.text
        )
        for c in chunks()
        if c.id in kept
    )


def retrieval() -> Ledger:
    """Retrieval only: five of eight chunks are left out, two kept ones conflict."""
    found = decisions()
    return Ledger(
        run_id="r-1",
        question=QUESTION,
        name="prepare",
        tokenizer="o200k_base",
        budget=Budget(context_tokens=800),
        decisions=found,
        segments=evidence_segments(),
        steps=(
            Step(
                kind="retrieval",
                name="prepare",
                tokens_before=sum(_TOKENS.values()),
                tokens_after=610,
                decisions=(0, len(found)),
                segments=evidence_segments(),
            ),
        ),
        chunks=chunks(),
        timings={"dedupe": 0.0041, "select": 0.0006, "layout": 0.00002},
    )


def _segment(kind: SegmentKind, label: str, tokens: int, subject: str = "") -> Segment:
    return Segment(kind=kind, label=label, tokens=tokens, subject=subject)


def prompt_segments() -> tuple[Segment, ...]:
    return (
        _segment("tools", "tool schemas", 640),
        _segment("instructions", "system message", 412, "message-0"),
        _segment("history", "message 4 (user)", 118, "message-3"),
        _segment("history", "message 5 (assistant)", 1310, "message-4"),
        _segment("question", "question", 31, "message-5"),
        *evidence_segments(),
        _segment("question", "opening of the answer", 3),
        _segment("reserve", "reserved for the answer", 1024),
    )


def model_call() -> Ledger:
    """A chain: retrieval, then a model call that had to leave out two old messages."""
    found = decisions()
    window = tuple(
        Decision(
            stage="window",
            action="drop",
            subject=f"message-{number}",
            code="over-window",
            reason="left out with its exchange of the history: the prompt may use 7,168 tokens",
            tokens_before=tokens,
            tokens_after=0,
            details={"role": role, "text": f"An old message of the {role}."},
        )
        for number, role, tokens in ((1, "user", 190), (2, "assistant", 4870))
    )
    segments = prompt_segments()
    used = sum(s.tokens for s in segments if s.kind != "reserve")
    retrieved = retrieval()
    return Ledger(
        run_id="r-2",
        question=QUESTION,
        name="RunnableSequence",
        model="gpt-4o-mini",
        tokenizer="o200k_base",
        budget=Budget(window=8192, reserve_output=1024, context_tokens=800),
        decisions=found + window,
        segments=segments,
        steps=(
            *retrieved.steps,
            Step(
                kind="model",
                name="gpt-4o-mini",
                tokens_before=used + 5060,
                tokens_after=used,
                decisions=(len(found), len(found) + 2),
                segments=segments,
            ),
        ),
        chunks=chunks(),
        timings={"dedupe": 0.0041, "select": 0.0006, "layout": 0.00002, "window": 0.0023},
    )


def model_only() -> Ledger:
    """A model call of which neither the window nor the exact tokenizer is known."""
    segments = (
        _segment("instructions", "system message", 96, "message-0"),
        _segment("question", "question", 24, "message-1"),
    )
    return Ledger(
        run_id="r-3",
        question="Who are you?",
        model="acme-lm-7b",
        tokenizer="estimate",
        segments=segments,
        steps=(
            Step(
                kind="model",
                name="acme-lm-7b",
                tokens_before=120,
                tokens_after=120,
                segments=segments,
            ),
        ),
    )


def failed() -> Ledger:
    """Two stages failed, then the run ended with an exception."""
    found = tuple(
        Decision(
            stage=stage,
            action="error",
            subject=stage,
            code="stage-failed",
            reason=f"{stage} failed and handed its input on unchanged: {error}",
        )
        for stage, error in (("dedupe", "KeyError: 'ids'"), ("select", "TimeoutError: no result"))
    )
    kept = tuple(
        Decision(
            stage="guard",
            action="keep",
            subject=chunk.id,
            code="kept",
            reason="nothing asked for it to be left out",
        )
        for chunk in chunks()[:3]
    )
    return Ledger(
        run_id="r-4",
        question=QUESTION,
        name="RetrievalQA",
        tokenizer="estimate",
        decisions=found + kept,
        segments=evidence_segments(),
        steps=(
            Step(
                kind="retrieval",
                name="VectorStoreRetriever",
                tokens_before=610,
                tokens_after=610,
                decisions=(0, 5),
                segments=evidence_segments(),
            ),
        ),
        chunks=chunks()[:3],
        error="RateLimitError: 429 Too Many Requests",
    )


def empty() -> Ledger:
    """Nothing happened."""
    return Ledger(run_id="r-5")


def crowd(count: int = 500) -> Ledger:
    """Hundreds of chunks from a few sources: most are copies, the rest goes over the budget."""
    pool = tuple(
        Chunk(
            id=f"{number:08x}-5d2c-4f7e-9b1a-{number * 7919 % 10**9:012x}",
            source=f"licences/package-{number % 40:02d}/LICENSE.txt",
            text=f"Permission is hereby granted, free of charge, to person {number}. " * 12,
        )
        for number in range(count)
    )
    actions: tuple[Action, ...] = ("keep", "drop", "drop", "drop", "trim")
    found = tuple(
        Decision(
            stage="dedupe",
            action=actions[number % 5],
            subject=chunk.id,
            code="near-duplicate",
            reason=f"shares {80 + number % 20} % of its wording with a chunk that ranks better, "
            "and differs in no number, date, party or negation",
            twin=pool[number - number % 5].id if actions[number % 5] == "drop" else None,
            score=0.8 + number % 20 / 100,
            threshold=0.8,
            tokens_before=150,
            tokens_after={"keep": 150, "drop": 0, "trim": 90}[actions[number % 5]],
        )
        for number, chunk in enumerate(pool)
    )
    segments = tuple(
        Segment(kind="evidence", label=c.source, tokens=d.tokens_after or 0, subject=c.id)
        for c, d in zip(pool, found, strict=True)
        if d.action != "drop"
    )
    return Ledger(
        run_id="r-6",
        question="Which licences allow commercial use?",
        name="EnsembleRetriever",
        tokenizer="o200k_base",
        decisions=found,
        segments=segments,
        steps=(
            Step(
                kind="retrieval",
                name="EnsembleRetriever",
                tokens_before=150 * count,
                tokens_after=sum(s.tokens for s in segments),
                decisions=(0, count),
                segments=segments,
            ),
        ),
        chunks=pool,
    )


def agent() -> Ledger:
    """An agent: two retrievals and three model calls, one of the retrievers guarded by itself."""
    inner = retrieval()
    segments = prompt_segments()
    used = sum(s.tokens for s in segments if s.kind != "reserve")
    calls = tuple(
        Step(kind="model", name="gpt-4o-mini", tokens_before=n, tokens_after=n, segments=segments)
        for n in (1083, 2140, used)
    )
    second = Step(
        kind="retrieval",
        name="WikipediaRetriever",
        tokens_before=0,
        tokens_after=0,
        decisions=(len(inner.decisions), len(inner.decisions)),
    )
    return Ledger(
        run_id="r-7",
        question=QUESTION,
        name="CompiledStateGraph",
        model="gpt-4o-mini",
        tokenizer="o200k_base",
        budget=Budget(window=2400, reserve_output=600),
        decisions=inner.decisions,
        segments=segments,
        steps=(calls[0], *inner.steps, calls[1], second, calls[2]),
        chunks=inner.chunks,
        timings=inner.timings,
        children=(inner, empty()),
    )


HOSTILE = (
    "<script>alert('x')</script><img src=x onerror=alert(1)> </td></table> & &amp; "
    "\x1b[31mred\x1b]0;title\x07 \x9b2J \r overwritten "
    "\u202egnp.exe\u202c \u2066isolated\u2069 zero\u200bwidth \ufeff "
    "[bold red]markup[/] [link=https://evil.example]here[/link] :smiley: "
    "{{ 7*7 }} {% raw %} ${HOME} $x^2$ and \\(y\\) `code` *star* \ud800 \udfff \x00 "
    "\U000e0041\U000e0042 日本語の長い文章 👩‍👩‍👧 مرحبا"
)


def hostile() -> Ledger:
    """Every text that comes from outside tries something."""
    pair = (
        Chunk(id="h1" + HOSTILE, source="s1 " + HOSTILE, text="Due in 30 days. " + HOSTILE),
        Chunk(id="h2" + HOSTILE, source="s2 " + HOSTILE, text="Due in 60 days. " + HOSTILE),
        Chunk(id="h3", source="", text=HOSTILE),
    )
    found = (
        Decision(
            stage="dedupe" + HOSTILE,
            action="flag",
            subject=pair[0].id,
            code="conflict",
            reason=HOSTILE,
            twin=pair[1].id,
            evidence=(
                Quote(chunk_id=pair[0].id, span=(7, 14), text="30 days"),
                Quote(chunk_id=pair[1].id, span=(0, len(pair[1].text)), text=pair[1].text),
            ),
        ),
        Decision(
            stage="dedupe",
            action="drop",
            subject="h3",
            code="near-duplicate",
            reason=HOSTILE,
            twin=pair[0].id,
            tokens_before=90,
            tokens_after=0,
        ),
        Decision(
            stage=HOSTILE, action="error", subject=HOSTILE, code="stage-failed", reason=HOSTILE
        ),
        Decision(
            stage="route",
            action="route",
            subject=HOSTILE,
            code=HOSTILE,
            reason=HOSTILE,
            score=0.5,
            threshold=0.1,
            details={
                "route": HOSTILE,
                "costs": {HOSTILE: 1e9},
                "flips": [HOSTILE],
                "light_fails": 0.5,
                "interval": [0.1, 0.9],
                "heavy_fails": 0.2,
                "moved": {HOSTILE: 0.3},
                "promise": {"target": 0.5},
            },
        ),
    )
    calls = (
        Call(
            route=HOSTILE, model=HOSTILE, reason="routed", input=10**9, output=10**9, error=HOSTILE
        ),
    )
    segments = tuple(
        Segment(kind="evidence", label=HOSTILE, tokens=90, subject=c.id, text=c.text)
        for c in pair[:2]
    )
    return Ledger(
        run_id=HOSTILE,
        question=HOSTILE,
        name=HOSTILE,
        model=HOSTILE,
        tokenizer=HOSTILE,
        decisions=found,
        segments=segments,
        steps=(
            Step(
                kind="retrieval",
                name=HOSTILE,
                tokens_before=270,
                tokens_after=180,
                decisions=(0, 3),
                segments=segments,
            ),
        ),
        chunks=pair,
        calls=calls,
        timings={HOSTILE: 0.1},
        error=HOSTILE,
        children=(empty(),),
    )


def _routed(code: str, reason: str, action: Action = "flag") -> Decision:
    return Decision(stage="route", action=action, subject="call", code=code, reason=reason)


def routed() -> Ledger:
    """A cascade: the light route was asked after a rate limit, and escalated; heavy repairs it."""
    choice = Decision(
        stage="route",
        action="route",
        subject="question",
        code="cascade",
        reason="expected gain of a heavier route 0.235, at or above the threshold 0.121; a cascade "
        "begins on light",
        score=0.235,
        threshold=0.121,
        details={
            "route": "light",
            "decided": "heavy",
            "costs": {"light": 0.000186, "middle": None, "heavy": 0.003097},
            "thresholds": [0.121],
            "flips": ["numbers", "conditions"],
            "too_small": ["middle"],
            "light_fails": 0.55,
            "interval": [0.31, 0.76],
            "heavy_fails": 0.31,
            "moved": {"numbers": 0.035, "conditions": 0.03, "of another release": -0.01},
            "promise": {"target": 0.95, "confidence": 0.9, "traces": 1500},
        },
    )
    light, heavy = ("light", "gpt-4o-mini"), ("heavy", "gpt-4o")
    return Ledger(
        run_id="r-7",
        question=QUESTION,
        name="RunnableSequence",
        model="gpt-4o",
        decisions=(
            choice,
            *[_routed("route-rests", "middle rests after a rate limit")] * 2,
            _routed("escalated", "from light to heavy", "escalate"),
        ),
        calls=(
            _call(light, "routed", error="APITimeoutError", measured=False),
            _call(light, "fallback", heavy_cost=0.00325, cache_read=1000),
            _call(heavy, "escalated", cost=0.0031),
        ),
    )


def _call(
    on: tuple[str, str], reason: Literal["routed", "fallback", "escalated"], **more: Any
) -> Call:
    more = {"cost": 0.0002, "measured": True, "heavy_cost": 0.0} | more
    return Call(route=on[0], model=on[1], reason=reason, input=1200, output=150, **more)


ALL = {
    "retrieval": retrieval,
    "model_call": model_call,
    "model_only": model_only,
    "failed": failed,
    "empty": empty,
    "crowd": crowd,
    "agent": agent,
    "hostile": hostile,
    "routed": routed,
}
"""Every sample by name."""
