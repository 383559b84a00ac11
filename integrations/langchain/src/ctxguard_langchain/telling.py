"""Events for whoever listens: corrections of what was shown, and the verdict on an answer.

They are LangChain's custom events: `on_custom_event` of a handler, `astream_events`, and inside of
a graph its stream mode "custom". Data is made only where somebody listens.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from langchain_core.callbacks import AsyncCallbackManager, CallbackManager
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config

from ctxguard.answering import Settled
from ctxguard.types import JsonValue, Quote, Verdict, Verification
from ctxguard.verification import Correction
from ctxguard_langchain.dynamic import Dynamic

__all__ = ["CORRECTION", "VERIFICATION", "Telling"]

CORRECTION = "ctxguard.correction"
"""Name of the event for a claim that was shown and that failed."""
VERIFICATION = "ctxguard.verification"
"""Name of the event that ends an answer which was verified."""
Event = tuple[str, dict[str, JsonValue]]


class Telling:
    """Tells the listeners of one call."""

    def __init__(self, model: Dynamic, callbacks: Dynamic, manager: Dynamic) -> None:
        """Find nobody yet.

        Args:
            model: the one that is called; it may have handlers of its own.
            callbacks: those that the call brings.
            manager: the run manager that the model is handed, if it is.
        """
        self._model = model
        self._given = callbacks
        self._manager = manager

    @property
    def config(self) -> RunnableConfig:
        """For calls that belong beside this one: who hears of it hears of them."""
        callbacks = self._callbacks()
        return {} if callbacks is None else {"callbacks": callbacks}

    def tell(self, corrections: Iterable[Correction], settled: Settled | None = None) -> None:
        """Tell of what is known to be wrong, and of how it ended."""
        for name, data in self._events(corrections, settled):
            self._write(name, data)
            manager = CallbackManager.configure(self._callbacks(), self._own())
            manager.on_custom_event(name, data, run_id=self._run_id(manager))

    async def atell(
        self, corrections: Iterable[Correction], settled: Settled | None = None
    ) -> None:
        """As `tell`."""
        for name, data in self._events(corrections, settled):
            self._write(name, data)
            manager = AsyncCallbackManager.configure(self._callbacks(), self._own())
            await manager.on_custom_event(name, data, run_id=self._run_id(manager))

    def _events(
        self, corrections: Iterable[Correction], settled: Settled | None
    ) -> Sequence[Event]:
        corrections = tuple(corrections)
        verified = settled is not None and settled.verification is not None
        if not (corrections or verified) or not self._heard():
            return ()
        events: list[Event] = [(CORRECTION, _correction(one)) for one in corrections]
        if settled is not None and settled.verification is not None:
            events.append((VERIFICATION, _ended(settled, settled.verification)))
        return events

    # -- who listens ------------------------------------------------------------------------------

    def _callbacks(self) -> Dynamic:
        """Handlers, or a manager of them; None: nobody's."""
        around: Mapping[str, Any] = var_child_runnable_config.get() or {}
        return self._given or around.get("callbacks") or _handlers(self._manager)

    def _own(self) -> Dynamic:
        return getattr(self._model, "callbacks", None)

    def _heard(self) -> bool:
        callbacks = self._callbacks()
        return bool(getattr(callbacks, "handlers", callbacks) or self._own() or _writer())

    def _run_id(self, manager: CallbackManager | AsyncCallbackManager) -> Dynamic:
        return manager.parent_run_id or getattr(self._manager, "run_id", None)

    @staticmethod
    def _write(name: str, data: Mapping[str, JsonValue]) -> None:
        writer = _writer()
        if writer is not None:
            writer({"event": name, "data": data})


def _handlers(manager: Dynamic) -> list[Any] | None:
    return list(manager.handlers) if manager is not None else None


def _writer() -> Callable[[Any], None] | None:
    """What writes to the stream of the graph that runs; None outside of one."""
    config: Any = sys.modules.get("langgraph.config")
    if config is None:
        return None
    try:
        return cast("Callable[[Any], None]", config.get_stream_writer())
    except (RuntimeError, LookupError):
        return None


# -- what they say ------------------------------------------------------------------------------


def _correction(correction: Correction) -> dict[str, JsonValue]:
    return {"offset": correction.offset, **_verdict(correction.verdict)}


def _ended(settled: Settled, verification: Verification) -> dict[str, JsonValue]:
    labels = [verdict.label for verdict in verification.claims]
    counts: dict[str, JsonValue] = {label: labels.count(label) for label in sorted(set(labels))}
    told: dict[str, JsonValue] = {
        "grounded": verification.grounded,
        "score": verification.score,
        "counts": counts,
        "ending": settled.ending,
        "failed": [_verdict(verdict) for verdict in verification.failed],
    }
    if settled.repaired is not None:
        told["repaired"] = settled.repaired.answer
    return told


def _verdict(verdict: Verdict) -> dict[str, JsonValue]:
    against = [quote for finding in verdict.findings for quote in finding.evidence]
    quotes = dict.fromkeys((*against, *verdict.evidence))
    return {
        "claim": verdict.claim.text,
        "span": list(verdict.claim.span),
        "label": verdict.label,
        "code": verdict.code,
        "reason": verdict.reason,
        "score": verdict.score,
        "quotes": [_quote(quote) for quote in quotes],
    }


def _quote(quote: Quote) -> dict[str, JsonValue]:
    return {"chunk_id": quote.chunk_id, "span": list(quote.span), "text": quote.text}
