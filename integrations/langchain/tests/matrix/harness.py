"""The matrix: shapes of code, times ways to call them, times what has to be true of both.

A shape is a row of a table: how it is made, what it is asked, and how often it retrieves and asks a
model. Every way to call it is a cell, in which two things are checked: that a policy which does
nothing changes nothing that the caller or a callback can see, and that a policy is applied exactly
once to each retrieval and each call of a model.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.runnables import Runnable

from ctxguard import CoverageWarning, Ledger, Policy, guard, handle
from ctxguard.handle import Handle
from integrations.langchain.tests.matrix.observing import Recorder, blurred, events_tree, tree

__all__ = [
    "DOCUMENTS",
    "MODES",
    "QUESTION",
    "STREAM_EVENTS",
    "TEXTS",
    "V3_UNSUPPORTED",
    "Mode",
    "Observed",
    "Shape",
    "cells",
    "check_applied",
    "check_coverage",
    "check_once",
    "check_same",
    "guarded",
    "observe",
]

QUESTION = "What is the notice period?"
TEXTS = (
    "The notice period for ending the supply agreement is thirty days, given in writing.",
    "Payment is due within fourteen days after the invoice has been received by the buyer.",
)
DOCUMENTS = [Document(page_content=text, id=str(n)) for n, text in enumerate(TEXTS * 2)]
"""Four, of which the last two are copies of the first two: a guard leaves out two."""
_PARALLEL = ("RunnableParallel", "EnsembleRetriever", "MultiQueryRetriever")


# -- ways to call ---------------------------------------------------------------------------------

Config = Any


@dataclass(frozen=True, slots=True)
class Mode:
    """A way to call a runnable."""

    name: str
    call: Callable[[Any, list[Any], list[Config], Shape], Awaitable[Any]]
    """From a runnable, its inputs and their configs to all that comes out, as plain data."""
    items: int = 1
    """How many calls it makes at once."""
    needs: tuple[str, str] | None = None
    """The module and the attribute in it that LangChain has since it can be called so."""


async def _invoke(runnable: Any, given: list[Any], configs: list[Config], shape: Shape) -> Any:
    return blurred(runnable.invoke(given[0], configs[0]))


async def _ainvoke(runnable: Any, given: list[Any], configs: list[Config], shape: Shape) -> Any:
    return blurred(await runnable.ainvoke(given[0], configs[0]))


async def _stream(runnable: Any, given: list[Any], configs: list[Config], shape: Shape) -> Any:
    return shape.ordered(blurred(list(runnable.stream(given[0], configs[0]))))


async def _astream(runnable: Any, given: list[Any], configs: list[Config], shape: Shape) -> Any:
    return shape.ordered([blurred(part) async for part in runnable.astream(given[0], configs[0])])


async def _batch(runnable: Any, given: list[Any], configs: list[Config], shape: Shape) -> Any:
    return blurred(runnable.batch(given, configs))


async def _one_by_one(runnable: Any, given: list[Any], configs: list[Config], shape: Shape) -> Any:
    return blurred(Runnable.batch(runnable, given, configs))


async def _abatch(runnable: Any, given: list[Any], configs: list[Config], shape: Shape) -> Any:
    return blurred(await runnable.abatch(given, configs))


async def _aone_by_one(runnable: Any, given: list[Any], configs: list[Config], shape: Shape) -> Any:
    return blurred(await Runnable.abatch(runnable, given, configs))


async def _events(runnable: Any, given: list[Any], configs: list[Config], shape: Shape) -> Any:
    stream = runnable.astream_events(given[0], configs[0], version="v2")
    return events_tree([event async for event in stream], shape.parallel)


async def _protocol(runnable: Any, given: list[Any], configs: list[Config], shape: Shape) -> Any:
    return shape.ordered(blurred(list(runnable.stream_events(given[0], configs[0], version="v3"))))


async def _aprotocol(runnable: Any, given: list[Any], configs: list[Config], shape: Shape) -> Any:
    stream: AsyncIterator[Any] = await runnable.astream_events(given[0], configs[0], version="v3")
    return shape.ordered([blurred(event) async for event in stream])


STREAM_EVENTS = ("langchain_core.language_models", "BaseChatModel.stream_events")
MODES = (
    Mode("invoke", _invoke),
    Mode("ainvoke", _ainvoke),
    Mode("stream", _stream),
    Mode("astream", _astream),
    Mode("batch", _batch, items=2),
    Mode("abatch", _abatch, items=2),
    Mode("events", _events),
    Mode("stream_events v3", _protocol, needs=STREAM_EVENTS),
    Mode("astream_events v3", _aprotocol, needs=STREAM_EVENTS),
)
_QUICK = ("invoke", "astream")
"""The modes that are tried while something is being written; CI tries all."""
_ONE_BY_ONE = {
    "batch": Mode("batch, one by one", _one_by_one, items=2),
    "abatch": Mode("abatch, one by one", _aone_by_one, items=2),
}
V3_UNSUPPORTED: Mapping[str, type[Exception]] = {
    "stream_events v3": NotImplementedError,
    "astream_events v3": NotImplementedError,
}
"""What LangChain itself says of most runnables: only models and graphs stream by the protocol."""


# -- shapes ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A row of the table. Numbers are of one call."""

    make: Callable[[], Any]
    """Makes it anew for each cell."""
    given: Any = QUESTION
    then: tuple[Any, ...] = ()
    """What it is given afterwards, with the same config: to resume, or to go on talking."""
    config: Callable[[], Config] = dict
    """Called once per item of a batch."""
    retrievals: int = 1
    models: int = 1
    dropped: int = 2
    runs: int = 1
    """Ledgers; more than one where a call leaves its context."""
    children: int = 0
    """Ledgers of guards inside of this one, as far down as they go."""
    evidence: bool = True
    """Whether what was retrieved is found again in the prompt of the last model."""
    kinds: Mapping[str, int] | None = None
    """What coverage says was reached, counted by kind; None: whatever the numbers above ask for."""
    unreached: tuple[str, ...] = ()
    """A part of each reason that coverage has to give for what cannot be guarded."""
    warns: str = ""
    """A part of the warning of a guarded call that brings what is not guarded; blank: there is
    none. `test_arriving` says when it comes."""
    raises: Mapping[str, type[Exception]] = field(default_factory=lambda: V3_UNSUPPORTED)
    """Modes that LangChain itself does not have for this shape, and what it raises."""
    parallel: tuple[str, ...] = _PARALLEL
    """Beginnings of the names of runs that work in parallel."""
    item_by_item: str = ""
    """Why a batch is told to callbacks like separate calls, where LangChain's own is not."""
    one_batch: bool = False
    """Whether a batch of it is one call, with one ledger."""
    unordered: bool = False
    """Whether its own parts come out of a stream in any order."""
    needs: Mapping[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    """Per mode, the module and the attribute in it that LangChain has since the mode works."""
    xfail: Mapping[str, str] = field(default_factory=dict[str, str])
    """Per mode, or `mode: same` or `mode: once`, the upstream reference of what cannot work."""

    def ordered(self, parts: list[Any]) -> list[Any]:
        """The parts of a stream, sorted where they come in any order."""
        return sorted(parts, key=repr) if self.unordered else parts


def cells(
    shapes: Mapping[str, Shape],
    check: str = "same",
    modes: Sequence[Mode] = MODES,
    quick: Collection[str] = _QUICK,
) -> list[Any]:
    """The cells of a table, to parametrize a test of `(shape, mode)` with.

    Args:
        shapes: the rows.
        check: `same`, or `once`, which leaves out the modes that LangChain does not have.
        modes: the columns.
        quick: the names of those that are tested every time, and not only with the slow tests.
    """
    found: list[Any] = []
    for name, shape in shapes.items():
        for mode in modes:
            if check == "once" and mode.name in shape.raises:
                continue
            reason = shape.xfail.get(mode.name) or shape.xfail.get(f"{mode.name}: {check}")
            marks: list[Any] = [pytest.mark.xfail(strict=True, reason=reason)] if reason else []
            if mode.name not in quick:
                marks.append(pytest.mark.slow)
            needs = mode.needs or shape.needs.get(mode.name)
            if needs:
                marks.append(pytest.mark.needs(*needs))
            found.append(pytest.param(shape, mode, id=f"{name}-{mode.name}", marks=marks))
    return found


def guarded(shape: Shape, policy: Policy | None = None) -> Any:
    """A guarded object of this shape; a warning comes only where the table says so."""
    with warnings.catch_warnings():
        if shape.unreached:
            warnings.simplefilter("ignore", CoverageWarning)
        return guard(shape.make(), policy)


# -- what is checked ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """Everything that one cell lets its caller and its callbacks see."""

    outputs: Sequence[Any]
    callbacks: Sequence[Any]
    error: BaseException | None
    recorder: Recorder = field(compare=False)


async def observe(runnable: Any, shape: Shape, mode: Mode) -> Observed:
    """Call it in this mode, with every input of the shape."""
    recorder = Recorder()
    outputs: list[Any] = []
    error: BaseException | None = None
    # Metadata is handed down, so that a part of a shape can tell the items of a batch apart.
    configs = [
        {**shape.config(), "callbacks": [recorder], "metadata": {"item": number}}
        for number in range(mode.items)
    ]
    for given in (shape.given, *shape.then):
        try:
            with _warning(shape):
                outputs.append(await mode.call(runnable, [given] * mode.items, configs, shape))
        except Exception as raised:  # compared, and expected or raised on by the checks
            error = raised
            break
    told = tree(recorder.entries, shape.parallel)
    return Observed(outputs=outputs, callbacks=told, error=error, recorder=recorder)


@contextmanager
def _warning(shape: Shape) -> Iterator[None]:
    """Warnings are errors in tests, but for the one that the table says."""
    with warnings.catch_warnings():
        if shape.warns:
            message = f"(?s).*{re.escape(shape.warns)}"
            warnings.filterwarnings("ignore", message, CoverageWarning)
        yield


async def check_same(shape: Shape, mode: Mode) -> None:
    """A policy that does nothing changes nothing: output, parts, events, callbacks, errors."""
    plain = await observe(shape.make(), shape, mode)
    off = await observe(guarded(shape, Policy.off()), shape, mode)
    expected = shape.raises.get(mode.name)
    if plain.error is not None and (expected is None or not isinstance(plain.error, expected)):
        raise plain.error
    assert (expected is None) == (plain.error is None)
    assert blurred(off.error) == blurred(plain.error)
    assert off.outputs == plain.outputs
    if shape.item_by_item and mode.name in _ONE_BY_ONE:
        plain = await observe(shape.make(), shape, _ONE_BY_ONE[mode.name])
        assert off.outputs == plain.outputs
    if plain.error is None or mode.name == "invoke":  # else what runs in parallel may be halfway
        assert off.callbacks == plain.callbacks


async def check_once(shape: Shape, mode: Mode) -> None:
    """The policy is applied once per retrieval and once per call of a model."""
    runnable = guarded(shape)
    seen = await observe(runnable, shape, mode)
    check_applied(handle(runnable), seen, shape, mode)


def check_applied(guarding: Handle, seen: Observed, shape: Shape, mode: Mode) -> None:
    """What this handle's ledgers say is what was called, once each."""
    if seen.error is not None:
        raise seen.error
    ledgers = guarding.ledgers
    calls = 1 if shape.one_batch else mode.items
    assert len(ledgers) == calls * shape.runs * (1 + len(shape.then))
    kinds = Counter(step.kind for ledger in ledgers for step in ledger.steps)
    assert kinds["retrieval"] == mode.items * shape.retrievals
    assert kinds["model"] == mode.items * shape.models
    assert sum(len(ledger.of("drop")) for ledger in ledgers) == mode.items * shape.dropped
    inside = sum(len(list(ledger.walk())) - 1 for ledger in ledgers)
    assert inside == mode.items * shape.children
    for ledger in ledgers:
        _check_ledger(ledger)
    if shape.retrievals and shape.models and shape.evidence:
        evidence = [any(s.kind == "evidence" for s in ledger.segments) for ledger in ledgers]
        assert all(evidence)
    if not shape.unreached:
        _check_models(seen.recorder, mode.items * shape.models, once=shape.dropped > 0)


def _check_ledger(ledger: Ledger) -> None:
    assert not ledger.error
    assert not ledger.errors
    for step in ledger.steps:
        decisions = ledger.decisions[slice(*step.decisions)]
        decided = Counter((decision.action, decision.subject) for decision in decisions)
        twice = [key for key, count in decided.items() if count > 1 and key[0] == "drop"]
        assert not twice


def _check_models(recorder: Recorder, models: int, *, once: bool) -> None:
    """As many models were really asked, and none of them read a text twice."""
    starts = ("on_chat_model_start", "on_llm_start")
    # The prompt alone: the description of the model beside it may tell what it saw before.
    asked = [str(_read(entry.what[0][1])) for entry in recorder.entries if entry.kind in starts]
    assert len(asked) == models
    if once:
        assert max((prompt.count(text) for prompt in asked for text in TEXTS), default=0) <= 1


def _read(value: Any) -> Any:
    """What a model reads of its messages: not the artifact that travels with a tool's."""
    if isinstance(value, Mapping):
        return {key: _read(item) for key, item in value.items() if key != "artifact"}
    return [_read(item) for item in value] if isinstance(value, list | tuple) else value


async def check_coverage(shape: Shape) -> None:
    """What is guarded is said to be, and what is not is said at guard() time, with its reason."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        plain = shape.make()
        made = guard(plain)
    coverage = handle(made).coverage
    said = [str(w.message) for w in caught if issubclass(w.category, CoverageWarning)]
    assert isinstance(made, type(plain))
    assert type(made).__name__ == type(plain).__name__
    assert repr(type(made)) == repr(type(plain))
    assert made.get_name() == plain.get_name()
    assert handle(made).unguard() is plain
    await observe(plain, shape, MODES[1])
    assert handle(made).ledgers == ()  # the original stays as it was
    assert not hasattr(plain, "ctxguard")
    for reason in shape.unreached:
        assert any(reason in item.reason for item in coverage.unreached)
        assert any(reason in line for line in said)
    assert len(coverage.unreached) == len(shape.unreached)
    found = Counter(item.kind for item in coverage.reached)
    if shape.kinds is not None:
        assert found == shape.kinds
    else:
        assert (found["retriever"] > 0) == (shape.retrievals > 0)
        assert (found["model"] > 0) == (shape.models > 0)
    assert bool(said) == (not coverage.complete)
