"""Streams of guarded models: what may be shown, when, and what listeners are told."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.llm import LLMChatInProgressEvent
from llama_index.core.prompts import PromptTemplate
from llama_index_instrumentation import get_dispatcher
from pydantic import BaseModel, Field

import ctxguard
from ctxguard import Policy, UngroundedAnswerError
from ctxguard.verification import Verify
from ctxguard_llamaindex import AnswerCorrected, AnswerVerified
from ctxguard_llamaindex.testing import ScriptedLLM, call_tool

guard: Any = ctxguard.guard  # its result has `.ctxguard`, which its type does not say

NOTICE = "The notice period is thirty days."
FEE = "The fee is $500 per month."
WRONG = "The fee is $600 per month."
DRAFT = f"{NOTICE} {WRONG} {NOTICE}"
REST = f"{FEE} {NOTICE}"
TOOL = ChatMessage(
    role=MessageRole.TOOL,
    content=f"{NOTICE} {FEE}",
    additional_kwargs={"tool_call_id": "call-1"},
)
PROMPT = [ChatMessage(content="What is the fee?"), TOOL]


class Pieces(ScriptedLLM):
    """Streams its answer in pieces of one's own, each with thinking and raw data of its own."""

    pieces: list[str] = Field(default_factory=list)
    fails: bool = False
    cumulative: bool = True
    states_deltas: bool = True

    def _parts(self) -> Iterator[ChatResponse]:
        said = ""
        for number, piece in enumerate(self.pieces):
            said += piece
            blocks = [ThinkingBlock(content="hm"), TextBlock(text=said)]
            yield ChatResponse(
                message=ChatMessage(role="assistant", blocks=blocks),
                delta=piece if self.states_deltas else None,
                raw={"number": number},
                additional_kwargs={"thinking_delta": "hm"},
            )
        if self.fails:
            raise ConnectionError("cut off")

    def stream_chat(self, messages: Any, **_kwargs: Any) -> Generator[ChatResponse, None, None]:
        self._reply(messages)
        yield from self._parts()

    async def astream_chat(
        self, messages: Any, **_kwargs: Any
    ) -> AsyncGenerator[ChatResponse, None]:
        self._reply(messages)

        async def parts() -> AsyncGenerator[ChatResponse, None]:
            for part in self._parts():
                await asyncio.sleep(0)
                yield part

        return parts()


def pieces_of(pieces: Sequence[str], repaired: str = REST, **options: Any) -> Pieces:
    return Pieces(pieces=list(pieces), script=lambda _: repaired, **options)


def policy(mode: Any = "after", on_fail: Any = "flag", **more: Any) -> Policy:
    return Policy(verification=Verify(mode=mode, on_fail=on_fail, **more))


def sync_parts(llm: Any, prompt: Any = PROMPT) -> list[ChatResponse]:
    return list(llm.stream_chat(prompt))


def async_parts(llm: Any, prompt: Any = PROMPT) -> list[ChatResponse]:
    async def read() -> list[ChatResponse]:
        return [part async for part in await llm.astream_chat(prompt)]

    return asyncio.run(read())


READERS = [sync_parts, async_parts]
CUTS = {
    "words": [f"{word} " for word in DRAFT.split()[:-1]] + DRAFT.split()[-1:],
    "characters": list(DRAFT),
    "at once": [DRAFT],
    "with empty ones": ["", *itertools.chain.from_iterable(("", c) for c in DRAFT), ""],
}


def check_consistent(parts: Sequence[ChatResponse]) -> str:
    """The text of a stream, whose deltas and contents say the same at every part."""
    said = ""
    for part in parts:
        said += part.delta or ""
        assert (part.message.content or "") == said
    return said


def codes(llm: Any) -> list[tuple[str, str]]:
    decisions = llm.ctxguard.last.decisions
    return [(one.action, one.code) for one in decisions if one.stage == "verify"]


class Ear(BaseEventHandler):
    """Keeps LlamaIndex's events, in order."""

    heard: list[Any] = Field(default_factory=list)

    def handle(self, event: Any, **kwargs: Any) -> None:
        self.heard.append(event)


@pytest.fixture
def heard() -> Iterator[list[Any]]:
    ear = Ear()
    dispatcher = get_dispatcher()
    dispatcher.add_event_handler(ear)
    yield ear.heard
    dispatcher.event_handlers.remove(ear)


# -- what is shown ---------------------------------------------------------------------------------


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("cut", CUTS)
def test_a_gate_shows_what_passed_and_then_the_repaired_rest(cut: str, read: Any) -> None:
    guarded = guard(pieces_of(CUTS[cut]), policy("gate", "repair"))
    parts = read(guarded)
    assert check_consistent(parts) == f"{NOTICE} {REST}"
    assert len(parts) == len(CUTS[cut]) + 1


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("cut", CUTS)
def test_a_gate_that_flags_shows_all_but_what_failed(cut: str, read: Any) -> None:
    guarded = guard(pieces_of(CUTS[cut]), policy("gate"))
    assert check_consistent(read(guarded)) == f"{NOTICE} {NOTICE}"
    assert codes(guarded) == [("flag", "amount-differs"), ("drop", "withheld")]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("mode", ["after", "annotate"])
def test_what_flows_is_what_the_model_said(mode: str, cut: str, read: Any) -> None:
    guarded = guard(pieces_of(CUTS[cut]), policy(mode))
    parts = read(guarded)
    assert check_consistent(parts) == DRAFT
    assert [part.delta for part in parts] == CUTS[cut]
    assert codes(guarded) == [("flag", "amount-differs")]


@pytest.mark.parametrize("read", READERS)
def test_contents_alone_are_read_too(read: Any) -> None:
    llm = pieces_of(CUTS["words"], states_deltas=False)
    guarded = guard(llm, policy("gate", "repair"))
    assert read(guarded)[-1].message.content == f"{NOTICE} {REST}"


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("pieces", [[], [""], ["", " ", ""]])
@pytest.mark.parametrize("mode", ["after", "gate", "annotate"])
def test_nothing_said_is_nothing_shown(mode: str, pieces: list[str], read: Any) -> None:
    guarded = guard(pieces_of(pieces), policy(mode, "raise"))
    assert "".join(part.delta for part in read(guarded)) == "".join(pieces)


def test_a_reader_waits_for_one_sentence_at_most() -> None:
    """Each sentence is shown with the first word of the next one."""
    guarded = guard(pieces_of(CUTS["words"]), policy("gate", "repair"))
    shown = [part.delta or "" for part in sync_parts(guarded)]
    first = next(number for number, text in enumerate(shown) if text)
    assert shown[first].startswith(NOTICE)
    assert first == len(NOTICE.split())


@pytest.mark.parametrize("read", READERS)
def test_thinking_and_raw_data_pass_at_once(read: Any) -> None:
    pieces = CUTS["words"]
    parts = read(guard(pieces_of(pieces), policy("gate", "repair")))
    assert [part.raw["number"] for part in parts[: len(pieces)]] == list(range(len(pieces)))
    assert all(isinstance(part.message.blocks[0], ThinkingBlock) for part in parts)
    thoughts = [part.additional_kwargs.get("thinking_delta") for part in parts]
    assert thoughts == ["hm"] * len(pieces) + [None]


@pytest.mark.parametrize("way", ["stream_complete", "astream_complete"])
def test_completions_are_gated_too(way: str) -> None:
    llm = ScriptedLLM(script=lambda messages: REST if len(messages) > 1 else DRAFT)
    with ctxguard.guarded(policy("gate", "repair")) as block:
        block.guard.prepare("What is the fee?", [NOTICE, FEE])
        parts = completed(llm, way)
    said = ""
    for part in parts:
        said += part.delta or ""
        assert part.text == said
    assert said == f"{NOTICE} {REST}"


def completed(llm: Any, way: str) -> list[CompletionResponse]:
    if way == "stream_complete":
        return list(llm.stream_complete("What is the fee?"))

    async def read() -> list[CompletionResponse]:
        return [part async for part in await llm.astream_complete("What is the fee?")]

    return asyncio.run(read())


# -- tools -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("mode", ["after", "gate", "annotate"])
def test_calls_of_tools_pass_with_what_is_said_beside_them(mode: str, read: Any) -> None:
    call = call_tool("search", query="fee").blocks
    said = ChatMessage(role="assistant", blocks=[TextBlock(text=WRONG), *call])
    llm = ScriptedLLM(script=lambda _: said)
    parts = read(guard(llm, policy(mode, "raise")))
    assert check_consistent(parts) == WRONG
    assert [type(block) for block in parts[-1].message.blocks] == [TextBlock, ToolCallBlock]


@pytest.mark.parametrize("method", ["chat", "achat"])
def test_a_whole_reply_that_calls_tools_is_the_same_object(method: str) -> None:
    call = call_tool("search", query="$600")
    llm = ScriptedLLM(script=lambda _: call)
    guarded = guard(llm, policy("gate", "raise"))
    reply = guarded.chat(PROMPT) if method == "chat" else asyncio.run(guarded.achat(PROMPT))
    assert reply.message is call


def test_what_tools_returned_is_evidence() -> None:
    guarded = guard(ScriptedLLM(script=lambda _: f"{NOTICE} {FEE}"), policy())
    guarded.chat(PROMPT)
    verification = guarded.ctxguard.last.verification
    assert verification.grounded
    assert {quote.chunk_id for one in verification.claims for quote in one.evidence} == {"call-1"}


def test_without_evidence_the_ledger_says_so() -> None:
    guarded = guard(ScriptedLLM(script=lambda _: WRONG), policy("gate", "raise"))
    assert guarded.chat(PROMPT[:1]).message.content == WRONG
    assert codes(guarded) == [("flag", "not-verified")]


# -- ends ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("mode", ["after", "gate", "annotate"])
def test_an_error_of_the_model_reaches_the_reader(mode: str, read: Any) -> None:
    guarded = guard(pieces_of(CUTS["words"], fails=True), policy(mode, "repair"))
    with pytest.raises(ConnectionError, match="cut off"):
        read(guarded)
    assert "ConnectionError" in guarded.ctxguard.last.error
    assert codes(guarded) == []


def test_who_stops_reading_closes_the_model() -> None:
    llm = pieces_of(CUTS["words"])
    guarded = guard(llm, policy("gate", "repair"))
    stream = guarded.stream_chat(PROMPT)
    next(stream)
    stream.close()
    assert len(guarded.ctxguard.ledgers) == 1
    assert codes(guarded) == []
    assert len(llm.prompts) == 1  # nothing was asked for a rest that nobody reads


def test_an_async_reader_may_stop_too() -> None:
    guarded = guard(pieces_of(CUTS["words"]), policy("gate", "repair"))

    async def read() -> None:
        stream = await guarded.astream_chat(PROMPT)
        await anext(stream)
        await stream.aclose()

    asyncio.run(read())
    assert len(guarded.ctxguard.ledgers) == 1


def test_two_streams_that_are_read_in_turn_never_mix() -> None:
    guarded = guard(pieces_of(CUTS["characters"]), policy("gate", "repair"))
    other = [ChatMessage(content="And now?"), ChatMessage(role="tool", content=f"{NOTICE} {WRONG}")]
    pairs = itertools.zip_longest(guarded.stream_chat(PROMPT), guarded.stream_chat(other))
    first, second = zip(*pairs, strict=True)
    assert check_consistent([part for part in first if part]) == f"{NOTICE} {REST}"
    assert check_consistent([part for part in second if part]) == DRAFT
    assert [ledger.verification.grounded for ledger in guarded.ctxguard.ledgers] == [True, True]


@pytest.mark.parametrize("read", READERS)
def test_the_reader_of_a_stream_is_told_by_an_error(read: Any) -> None:
    guarded = guard(pieces_of(CUTS["words"], repaired=WRONG), policy("gate", "raise"))
    with pytest.raises(UngroundedAnswerError):
        read(guarded)


def test_a_failure_of_the_verifier_is_not_the_readers() -> None:
    def fails(*_: object) -> list[Any]:
        raise ValueError("broken")

    from ctxguard.verification import Verifier

    guarded = guard(
        pieces_of(CUTS["words"]), policy("gate", "repair", verifier=Verifier(checks=[fails]))
    )
    assert NOTICE in check_consistent(sync_parts(guarded))


# -- events ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["stream_chat", "astream_chat"])
def test_a_correction_follows_what_it_is_about(way: str, heard: list[Any]) -> None:
    llm = ScriptedLLM(script=lambda _: DRAFT)
    guarded = guard(llm, policy("annotate"))
    read = sync_parts if way == "stream_chat" else async_parts
    parts = read(guarded)
    assert check_consistent(parts) == DRAFT
    kinds = (LLMChatInProgressEvent, AnswerCorrected, AnswerVerified)
    order = [type(event) for event in heard if isinstance(event, kinds)]
    at = order.index(AnswerCorrected)
    words = len(f"{NOTICE} {WRONG}".split())
    assert order[:at] == [LLMChatInProgressEvent] * (words + 1)  # the next sentence's first word
    assert order[-1] is AnswerVerified
    corrected = next(event for event in heard if isinstance(event, AnswerCorrected))
    assert corrected.claim == WRONG
    assert DRAFT[slice(*corrected.span)] == WRONG
    assert corrected.offset >= corrected.span[1]
    assert (corrected.label, corrected.code) == ("contradicted", "amount-differs")
    assert FEE in [quote.text for quote in corrected.quotes]
    assert corrected.model_dump(mode="json")["class_name"] == "AnswerCorrected"


def test_the_end_tells_of_a_better_answer(heard: list[Any]) -> None:
    guarded = guard(pieces_of(CUTS["words"]), policy("after", "repair"))
    sync_parts(guarded)
    (verified,) = [event for event in heard if isinstance(event, AnswerVerified)]
    assert (verified.grounded, verified.ending) == (False, "repaired")
    assert verified.answer == DRAFT
    assert verified.repaired == f"{NOTICE} {REST}"
    assert verified.counts == {"contradicted": 1, "supported": 2}
    assert [e.claim for e in heard if isinstance(e, AnswerCorrected)] == [WRONG]
    assert verified.model_dump(mode="json")["class_name"] == "AnswerVerified"


@pytest.mark.parametrize("method", ["chat", "achat"])
def test_a_whole_answer_has_one_event(method: str, heard: list[Any]) -> None:
    llm = ScriptedLLM(script=lambda m: REST if "BEGIN" in (m[-1].content or "") else DRAFT)
    guarded = guard(llm, policy("after", "repair"))
    reply = guarded.chat(PROMPT) if method == "chat" else asyncio.run(guarded.achat(PROMPT))
    assert reply.message.content == f"{NOTICE} {REST}"
    events = [event for event in heard if isinstance(event, AnswerCorrected | AnswerVerified)]
    assert [getattr(event, "ending", None) for event in events] == ["repaired"]


# -- objects ---------------------------------------------------------------------------------------


class Terms(BaseModel):
    """What was agreed."""

    fee: str


class Caller(ScriptedLLM):
    """Streams a call as integrations did before there were blocks for it."""

    def _part(self) -> ChatResponse:
        call = call_tool("Terms", fee=WRONG)
        return ChatResponse(
            message=call.model_copy(update={"additional_kwargs": {"tool_calls": [{"id": "1"}]}}),
            delta="",
        )

    def stream_chat(self, messages: Any, **_kwargs: Any) -> Generator[ChatResponse, None, None]:
        self._reply(messages)
        yield self._part()

    async def astream_chat(
        self, messages: Any, **_kwargs: Any
    ) -> AsyncGenerator[ChatResponse, None]:
        self._reply(messages)

        async def parts() -> AsyncGenerator[ChatResponse, None]:
            yield self._part()

        return parts()


@pytest.mark.parametrize("way", ["stream_structured_predict", "astream_structured_predict"])
def test_objects_flow_and_are_checked_at_the_end(way: str, heard: list[Any]) -> None:
    llm = Caller()
    with ctxguard.guarded(policy("gate", "repair")) as block:
        block.guard.prepare("What is the fee?", [NOTICE, FEE])
        objects = predicted(llm, way)
    assert objects[-1] == Terms(fee=WRONG)
    (verified,) = [event for event in heard if isinstance(event, AnswerVerified)]
    assert (verified.grounded, verified.ending) == (False, "flagged")


def predicted(llm: Any, way: str) -> list[Any]:
    prompt = PromptTemplate("What is the fee?")
    if way == "stream_structured_predict":
        return list(llm.stream_structured_predict(Terms, prompt))

    async def read() -> list[Any]:
        return [one async for one in await llm.astream_structured_predict(Terms, prompt)]

    return asyncio.run(read())


@pytest.mark.parametrize("read", READERS)
def test_json_is_written_for_a_program_and_stays(read: Any) -> None:
    text = '{"fee": "The fee is $600 per month."}'
    guarded = guard(pieces_of(list(text)), policy("gate", "repair"))
    assert check_consistent(read(guarded)) == text
    assert not guarded.ctxguard.last.verification.grounded
