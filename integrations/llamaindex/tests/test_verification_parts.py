"""The parts of verification: replies, what of them is an answer, what a repair asks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.llms import CustomLLM, LLMMetadata
from llama_index.core.llms.callbacks import llm_completion_callback
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, TextNode
from pydantic import Field
from workflows.errors import WorkflowCancelledByUser

from ctxguard import Guard, Handle
from ctxguard.types import Message
from ctxguard.verification import Ask, Reply
from ctxguard_llamaindex.asking import Asking, ends_well, source_of
from ctxguard_llamaindex.reading import Reader, read_fields, read_whole
from ctxguard_llamaindex.reasoning import Piece, Reasoning
from ctxguard_llamaindex.replies import (
    delta_of,
    follows,
    is_fields,
    reply_of,
    results_of,
    with_text,
)
from ctxguard_llamaindex.testing import ScriptedLLM

# -- what of a reply is an answer ------------------------------------------------------------------

ACTION = 'Action: search\nAction Input: {"query": "fee"}'
REPLIES: dict[str, tuple[str, list[Piece]]] = {
    "plain": ("The fee is $5.", [("answer", "The fee is $5.")]),
    "thought and answer": (
        "Thought: I know.\nAnswer: It is $5.",
        [("aside", "Thought: I know.\nAnswer:"), ("answer", " It is $5.")],
    ),
    "thought and action": (
        f"Thought: I must search.\n{ACTION}",
        [("aside", "Thought: I must search.\n"), ("call", ACTION)],
    ),
    "action alone": (ACTION, [("call", ACTION)]),
    "thought that has not ended": ("Thought: hm. Act", [("aside", "Thought: hm. Act")]),
    "code": (
        "I run it.\n<execute>\nx = 1\n</execute>",
        [("answer", "I run it.\n"), ("call", "<execute>\nx = 1\n</execute>")],
    ),
    "less than": ("It is <exact>.", [("answer", "It is <exact>.")]),
    "a mark's beginning": ("Thought", [("answer", "Thought")]),
    "blank": ("  \n", [("answer", "  \n")]),
    "empty": ("", []),
}


def merged(pieces: Sequence[Piece]) -> list[Piece]:
    found: list[Piece] = []
    for kind, text in pieces:
        if found and found[-1][0] == kind:
            found[-1] = (kind, found[-1][1] + text)
        else:
            found.append((kind, text))
    return found


@pytest.mark.parametrize("name", REPLIES)
@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_what_is_an_answer_does_not_depend_on_how_it_is_cut(name: str, size: int) -> None:
    text, expected = REPLIES[name]
    reasoning = Reasoning()
    pieces = [
        piece
        for start in range(0, len(text), size)
        for piece in reasoning.read(text[start : start + size])
    ]
    pieces += reasoning.read("", is_last=True)
    assert merged(pieces) == expected


def test_what_nobody_follows_stays_as_it_is() -> None:
    reply = chat(TextBlock(text="$5"))
    assert result_of(read_whole(reply, lambda _: None)) == (reply, None)
    assert result_of(read_fields(reply, lambda _: None)) is None
    reader = Reader(lambda _: None, flows=False)
    assert list(reader.take(reply).parts) == [reply]
    assert result_of(reader.end()).settled is None


def result_of(asks: Any) -> Any:
    """Of a generator that asks for nothing."""
    with pytest.raises(StopIteration) as end:
        next(asks)
    return end.value.value


# -- replies ---------------------------------------------------------------------------------------


def chat(*blocks: Any, **more: Any) -> ChatResponse:
    return ChatResponse(message=ChatMessage(role="assistant", blocks=list(blocks)), **more)


def test_another_text_leaves_the_rest_of_a_message() -> None:
    thought, call = ThinkingBlock(content="hm"), ToolCallBlock(tool_name="x", tool_kwargs={})
    reply = chat(thought, TextBlock(text="a"), call, TextBlock(text="b"), raw={"id": 1})
    other: Any = with_text(reply, "c")
    assert other.message.blocks == [thought, TextBlock(text="c"), call]
    assert other.raw is reply.raw
    assert reply.message.content == "a\nb"
    assert with_text(chat(thought, call), "c").message.blocks[1] == TextBlock(text="c")  # type: ignore[union-attr]


def test_parts_say_what_they_add_or_all_so_far() -> None:
    assert delta_of(chat(TextBlock(text="ab")), "a") == "b"
    assert delta_of(chat(TextBlock(text="x")), "a") == "x"
    assert delta_of(CompletionResponse(text="ab", delta="b"), "ignored") == "b"
    assert delta_of("b", "a") == "b"


def test_a_part_that_follows_thinks_nothing_again() -> None:
    last = chat(TextBlock(text="a"), additional_kwargs={"thinking_delta": "hm", "other": 1})
    more: Any = follows(last, "ab", "b")
    assert (more.message.content, more.delta, more.additional_kwargs) == ("ab", "b", {"other": 1})
    assert follows(CompletionResponse(text="a"), "ab", "b") == CompletionResponse(
        text="ab", delta="b"
    )
    assert with_text("a", "b") == "b"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"fee": 5}', True),
        ('```json\n[{"choice": 1}]\n```', True),
        ("[1] says so.", False),
        ("{not json}", False),
        ("5", False),
        ("[" * 100_000, False),
        ("The fee is $5.", False),
    ],
)
def test_json_is_told_from_words(text: str, expected: bool) -> None:
    assert is_fields(text) is expected


def test_results_of_tools_are_found_in_a_prompt() -> None:
    messages = [
        ChatMessage(role="user", content="What is the fee?"),
        ChatMessage(role="tool", content="$5", additional_kwargs={"tool_call_id": "call-7"}),
        ChatMessage(role="function", content="$6"),
        ChatMessage(role="user", content="Observation: $7"),
        ChatMessage(role="tool", content=""),
    ]
    found = [(chunk.id, chunk.text) for chunk in results_of(messages)]
    assert found == [("call-7", "$5"), ("tool-2", "$6"), ("tool-3", "Observation: $7")]


class Usage:
    """As an SDK's object."""

    total_tokens = 12


@pytest.mark.parametrize(
    ("more", "tokens"),
    [
        ({"raw": {"usage": {"total_tokens": 12}}}, 12),
        ({"raw": {"usage": Usage()}}, 12),
        ({"raw": {"usage": {"input_tokens": 5, "output_tokens": 7}}}, 12),
        ({"additional_kwargs": {"prompt_tokens": 5, "completion_tokens": 7}}, 12),
        ({"raw": {"id": "x"}}, None),
        ({}, None),
    ],
)
def test_tokens_are_the_providers_own_count(more: Any, tokens: int | None) -> None:
    assert reply_of(chat(TextBlock(text="a"), **more)) == Reply(text="a", tokens=tokens)


def test_what_is_no_reply_is_an_error() -> None:
    assert reply_of("a") == "a"
    assert reply_of(None) is None
    with pytest.raises(TypeError, match="expected a reply of a model, got int"):
        reply_of(5)


# -- what a repair asks ----------------------------------------------------------------------------

ASK = Ask(
    messages=(Message(role="system", text="Be brief."), Message(role="user", text="Fee?")),
    max_tokens=50,
    seconds=3.0,
)


class Bounded(ScriptedLLM):
    """Has fields for its bounds, and keeps what it is called with."""

    max_tokens: int | None = None
    timeout: float = 60.0
    refuses: bool = False
    calls: list[dict[str, Any]] = Field(default_factory=list)

    def chat(self, messages: Any, **kwargs: Any) -> ChatResponse:
        self.calls.append(kwargs)
        if self.refuses and kwargs:
            raise TypeError("unexpected keyword argument 'timeout'")
        return ChatResponse(message=self._reply(messages))

    async def achat(self, messages: Any, **kwargs: Any) -> ChatResponse:
        return self.chat(messages, **kwargs)


def asked(model: object, way: str, ask: Ask = ASK) -> Any:
    asking = Asking(Handle(Guard(), model), model, None)
    return asking.ask(ask) if way == "ask" else asyncio.run(asking.aask(ask))


@pytest.mark.parametrize("way", ["ask", "aask"])
@pytest.mark.parametrize(("own", "expected"), [(None, 50), (20, 20), (90, 50)])
def test_a_model_is_asked_within_the_bounds(own: int | None, expected: int, way: str) -> None:
    model = Bounded(max_tokens=own, script=lambda _: "$5")
    assert asked(model, way) == Reply(text="$5")
    assert model.calls == [{"max_tokens": expected, "timeout": 3.0}]
    assert [(m.role.value, m.content) for m in model.prompts[0]] == [
        ("system", "Be brief."),
        ("user", "Fee?"),
    ]


@pytest.mark.parametrize("way", ["ask", "aask"])
def test_a_model_that_takes_no_bounds_is_asked_without(way: str) -> None:
    model = Bounded(refuses=True, script=lambda _: "$5")
    assert asked(model, way) == Reply(text="$5")
    assert model.calls[-1] == {}


class Completes(CustomLLM):
    """A model of one's own that only completes."""

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata()

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return CompletionResponse(text="$5")

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize("way", ["ask", "aask"])
def test_a_model_that_only_completes_is_asked_too(way: str) -> None:
    assert asked(Completes(), way) == Reply(text="$5")


@pytest.mark.parametrize("way", ["ask", "aask"])
def test_without_a_model_nobody_is_asked(way: str) -> None:
    assert asked(None, way) is None


def test_an_async_call_ends_with_the_time_that_is_left() -> None:
    async def slow(ask: Ask) -> str:
        await asyncio.sleep(5)
        return "late"

    with pytest.raises(TimeoutError):
        asked(slow, "aask", Ask(messages=ASK.messages, seconds=0.01))


def test_how_a_workflow_waits_is_no_failure() -> None:
    waiting = type("WaitingForEvent", (Exception,), {"__module__": "workflows.runtime"})
    assert ends_well(waiting())
    assert ends_well(WorkflowCancelledByUser())
    assert not ends_well(ValueError())


class Fixed(BaseRetriever):
    """Finds the same whatever is asked."""

    def _retrieve(self, query_bundle: Any) -> list[NodeWithScore]:
        return [NodeWithScore(node=TextNode(id_="f", text=f"on {query_bundle.query_str}"))]


def test_a_retriever_can_be_searched_again() -> None:
    source = source_of(Fixed())
    assert [(chunk.id, chunk.text) for chunk in source.search("fee")] == [("f", "on fee")]
    found = asyncio.run(as_list(source.asearch("term")))
    assert [chunk.text for chunk in found] == ["on term"]


async def as_list(found: Any) -> list[Any]:
    return list(await found)
