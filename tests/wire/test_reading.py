"""What each shape's messages hold, what is said of it, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from llama_index.core.base.llms.types import ChatMessage

from ctxguard import Budget, Guard, InputError, Policy
from ctxguard.testing import WordTokenizer
from ctxguard.wire import FittedMessages, Shape, read_prompt, tools_text
from tests.wire.shapes import Item, guard_of, words

CHUNK = "The notice period of the lease is thirty days from receipt."
USER: Item = {"role": "user", "content": "What now?"}


def fit(messages: list[Item], **options: Any) -> FittedMessages[Item, Any]:
    return guard_of().fit(messages, **options)


def flags(messages: list[Item], shape: Shape) -> list[tuple[str, str]]:
    return [(d.code, d.reason) for d in fit(messages, shape=shape).decisions]


def block(kind: str, **fields: Any) -> Item:
    return {"role": "user", "content": [{"type": kind, **fields}]}


# -- what is counted -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "shape"),
    [
        ({"role": "assistant", "content": None, "refusal": "a b c"}, "openai"),
        ({"role": "assistant", "content": "", "reasoning_content": "a b c"}, "openai"),
        ({"role": "user", "content": "", "name": "a b c"}, "openai"),
        ({"role": "user", "content": [{"type": "text", "text": "a b c"}]}, "openai"),
        ({"role": "user", "content": [{"type": "input_text", "text": "a b c"}]}, None),
        ({"role": "assistant", "content": [{"type": "refusal", "refusal": "a"}]}, "openai"),
        ({"type": "function_call_output", "call_id": "1", "output": "a b c"}, None),
        ({"role": "user", "content": [{"type": "text", "text": "a b c"}]}, "anthropic"),
        ({"role": "system", "content": "a b c"}, "anthropic"),
        (block("document", source={"type": "text", "data": "a b c"}), None),
        (block("document", source={"type": "content", "content": "a b c"}), None),
        (block("search_result", title="a", source="b", content="c"), None),
        ({"role": "assistant", "content": [{"type": "thinking", "thinking": "a b c"}]}, None),
    ],
)  # fmt: skip
def test_all_that_is_text_is_counted(message: Item, shape: Shape | None) -> None:
    empty = guard_of().fit([{"role": "user", "content": ""}]).tokens_before
    assert fit([message], shape=shape).tokens_before >= empty + 3
    assert not fit([message], shape=shape).decisions


def test_an_image_is_counted_by_an_estimate_and_that_is_said() -> None:
    low = {"type": "image_url", "image_url": {"url": "u", "detail": "low"}}
    high = {"type": "image_url", "image_url": {"url": "u"}}
    message: Item = {"role": "user", "content": [low, high]}
    ((code, reason),) = flags([message], "openai")
    assert code == "estimated"
    assert "2 images are counted as 1,190 tokens" in reason
    assert fit([message]).tokens_before == fit([USER]).tokens_before - 3 + 1190
    source = {"type": "url", "url": "u"}
    assert (
        "an image is counted as 1,600" in flags([block("image", source=source)], "anthropic")[0][1]
    )
    assert "1,105" in flags([block("input_image", image_url="u")], "openai-responses")[0][1]
    shot = {"type": "computer_call_output", "call_id": "1", "output": {"image_url": "u"}}
    made = {"type": "image_generation_call", "id": "1", "result": "aGk=" * 999}
    assert [code for code, _ in flags([shot, made], "openai-responses")] == ["estimated"] * 2


@pytest.mark.parametrize(
    ("message", "shape", "what"),
    [
        (block("input_audio", input_audio={"data": "aGk=" * 999}), "openai", "audio"),
        (block("file", file={"file_id": "f"}), "openai", "a file"),
        ({"role": "assistant", "audio": {"id": "audio_1"}}, "openai", "audio"),
        (block("input_file", file_id="f"), "openai-responses", "a file"),
        (block("input_audio", input_audio={}), "openai-responses", "audio"),
        ({"type": "item_reference", "id": "msg_1"}, "openai-responses", "referred to"),
        ({"type": "reasoning", "summary": [], "encrypted_content": "x" * 999}, None, "reasoning"),
        ({"type": "compaction", "encrypted_content": "x" * 999}, None, "encrypted content"),
        (block("document", source={"type": "base64", "data": "aGk=" * 999}), None, "a document"),
        (block("redacted_thinking", data="x" * 999), None, "redacted thinking"),
        (block("container_upload", file_id="f"), "anthropic", "a file"),
    ],
)  # fmt: skip
def test_what_cannot_be_counted_is_said(message: Item, shape: Shape | None, what: str) -> None:
    fitted = fit([message], shape=shape)
    assert [d.code for d in fitted.decisions] == ["not-counted"]
    assert what in fitted.decisions[0].reason
    assert fitted.tokens_before < 30
    assert not fitted.changed
    assert fitted.messages[0] is message


def test_the_flags_are_in_the_ledger() -> None:
    guard = guard_of()
    with guard.run() as run:
        guard.fit([block("file", file={"file_id": "f"})])
    assert [d.code for d in run.ledger().decisions] == ["not-counted"]
    assert run.ledger().tokenizer == "words"


def test_arguments_of_a_call_are_counted_whole() -> None:
    arguments = {"id": words(40), "data": words(40)}
    use = {"type": "tool_use", "id": "1", "name": "find", "input": arguments}
    call = {"id": "1", "type": "custom", "custom": {"name": "find", "input": words(80)}}
    search = {"type": "server_tool_use", "id": "1", "name": "find", "input": arguments}
    for message in (
        {"role": "assistant", "content": [use]},
        {"role": "assistant", "content": [search]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"type": "custom_tool_call", "call_id": "1", "name": "find", "input": words(80)},
    ):
        assert fit([message]).tokens_before > 80


def test_a_block_of_an_unknown_type_is_counted_and_kept() -> None:
    new = {"type": "hologram", "scene": words(40), "id": "h" * 99}
    for shape in ("openai", "openai-responses", "anthropic"):
        fitted = fit([{"role": "user", "content": [new]}], shape=shape)
        assert 40 < fitted.tokens_before < 70
        assert fitted.messages[0]["content"][0] is new


# -- what leaves together ------------------------------------------------------------------------


def test_an_older_function_call_leaves_with_its_result() -> None:
    messages: list[Item] = [
        {"role": "user", "content": words(10)},
        {"role": "assistant", "function_call": {"name": "find", "arguments": "{}"}},
        {"role": "function", "name": "find", "content": words(40)},
        USER,
    ]
    fitted = guard_of(40).fit(messages)
    assert fitted.positions == (3,)
    messages.pop()
    assert guard_of(80).fit(messages).positions == (0, 1, 2)


def test_an_approval_leaves_with_its_request() -> None:
    messages: list[Item] = [
        {"role": "user", "content": words(3)},
        {"type": "mcp_approval_request", "id": "1", "name": "find", "arguments": words(40)},
        {"type": "mcp_approval_response", "approval_request_id": "1", "approve": True},
        {"type": "reasoning", "summary": []},
        {"type": "mcp_call", "id": "2", "name": "find", "arguments": "{}", "output": words(9)},
    ]
    assert guard_of(60).fit(messages).positions == (0, 3, 4)


def test_what_stands_for_earlier_turns_never_leaves() -> None:
    messages: list[Item] = [
        {"type": "compaction", "encrypted_content": "x"},
        {"role": "user", "content": words(30)},
        {"role": "assistant", "content": words(30)},
        USER,
    ]
    assert guard_of(40).fit(messages).positions == (0, 3)


def test_a_word_beside_tool_results_is_the_newest_question() -> None:
    use = {"type": "tool_use", "id": "1", "name": "find", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "1", "content": words(50)}
    reply: Item = {"role": "user", "content": [result, {"type": "text", "text": "Stop."}]}
    messages: list[Item] = [USER, {"role": "assistant", "content": [use]}, reply]
    fitted = guard_of(40).fit(messages)
    assert fitted.messages == [{"role": "user", "content": [{"type": "text", "text": "Stop."}]}]
    assert reply["content"][0] is result


def test_an_image_beside_tool_results_belongs_to_them() -> None:
    use = {"type": "tool_use", "id": "1", "name": "find", "input": {}}
    blocks = [
        {"type": "tool_result", "tool_use_id": "1"},
        {"type": "image", "source": {"type": "url", "url": "u"}},
    ]
    messages: list[Item] = [
        USER,
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": blocks},
    ]
    fitted = guard_of().fit(messages)
    assert [s.kind for s in fitted.segments] == ["question", "history", "history", "question"]


def test_a_result_of_several_blocks_is_shortened_across_them() -> None:
    mark = {"type": "ephemeral"}
    texts: list[Item] = [
        {"type": "text", "text": words(40, name)} for name in ("head", "middle", "tail")
    ]
    texts[1]["cache_control"] = mark
    messages: list[Item] = [
        USER,
        {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "f"}]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "1", "content": texts}],
        },
    ]
    fitted = guard_of(100).fit(messages)
    head, tail = fitted.messages[2]["content"][0]["content"]
    assert head["text"].startswith("head0 ")
    assert "left out by ctxguard" in head["text"]
    assert tail["text"].endswith(" tail39")
    assert head["cache_control"] == mark, "the emptied block's breakpoint goes to the one before"
    assert fitted.tokens_after <= 100


# -- evidence ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "left"),
    [
        ([{"type": "document", "source": {"type": "text", "data": CHUNK}}], []),
        ([{"type": "document", "source": {"type": "content", "content": CHUNK}}], []),
        ([{"type": "search_result", "content": [{"type": "text", "text": CHUNK}]}], []),
        (
            [{"type": "search_result", "content": [{"type": "text", "text": f"{CHUNK}\nAnd."}]}],
            [{"type": "search_result", "content": [{"type": "text", "text": "And."}]}],
        ),
    ],
)
def test_evidence_is_found_in_blocks_made_for_it(content: list[Item], left: list[Item]) -> None:
    guard = guard_of(20)
    question = {"type": "text", "text": words(8)}
    with guard.run():
        guard.prepare("notice period", [CHUNK], budget=Budget())
        fitted = guard.fit([{"role": "user", "content": [*content, question]}])
    assert fitted.messages == [{"role": "user", "content": [*left, question]}]
    assert [d.subject for d in fitted.decisions] == ["chunk-1"]


def test_what_the_model_said_is_not_cut_as_evidence() -> None:
    guard = guard_of(38)
    said: Item = {"role": "assistant", "content": CHUNK}
    with guard.run():
        guard.prepare("notice period", [CHUNK], budget=Budget())
        fitted = guard.fit([{"role": "user", "content": f"{CHUNK} {words(4)}"}, said])
    assert fitted.messages[1] is said
    assert fitted.messages[0]["content"] == words(4)


# -- when something is wrong ---------------------------------------------------------------------

CALL = {"type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("messages", "shape", "error"),
    [
        ("What?", None, r"messages: expected a list of messages, got str.*'role': 'user'"),
        (USER, None, r"messages: expected a list of messages, got dict"),
        ([USER, "What?"], None, r"messages\[1\]: expected a dict or an object .* got str; .*guard"),
        ([USER], "bedrock", r"shape: expected one of openai, openai-responses, anthropic"),
        ([{"content": "x"}], None, r"messages\[0\].role: expected one of system, .* got None"),
        ([{"role": "human", "content": "x"}], None, r"messages\[0\].role: .* got 'human'"),
        ([{"role": "user"}], "openai", r"messages\[0\].content: expected a str or a list"),
        ([{"role": "user", "content": 3}], "openai", r"messages\[0\].content: .* got int"),
        ([{"role": "user", "content": ["x"]}], "openai", r"content\[0\]: expected a content block"),
        ([block("text", text=None)], "openai", r"content\[0\].text: expected a str, got NoneType"),
        ([{"role": "tool", "content": "x"}], None, r"messages\[0\].tool_call_id: expected a non-e"),
        ([{"role": "function", "content": "x"}], None, r"messages\[0\].name: expected a non-empty"),
        ([{"role": "assistant", "tool_calls": [CALL]}], None, r"\.tool_calls\[0\].id: expected"),
        ([{"role": "tool", "tool_call_id": "1", "content": "x"}], "anthropic",
         r"messages\[0\].role: expected user, assistant or system; got 'tool'. Anthropic's tool"),
        ([block("tool_result", content="x")], None, r"content\[0\].tool_use_id: expected a non-"),
        ([block("tool_use", name="x")], None, r"messages\[0\].content\[0\].id: expected"),
        ([block("text", text=3)], "anthropic", r"content\[0\].text: expected a str, got int"),
        ([block("document", source={"type": "text"})], None, r"content\[0\].source.data: expected"),
        ([block("tool_result", tool_use_id="1", content=3)], None, r"content\[0\].content: exp"),
        ([block("input_text", text=3)], None, r"messages\[0\].content\[0\].text: expected a str"),
        ([{"role": "tool", "content": "x"}], "openai-responses", r"\[0\].role: .* has a 'type'"),
        (None, None, r"messages: expected a list of messages, got NoneType"),
        ([{"type": 3}], "openai-responses", r"messages\[0\].type: expected the type .* got 3"),
        ([{"type": "human", "content": "x"}], None, r"got 'human'; LangChain's messages are guard"),
        ([HumanMessage("What?")], None, r"got 'human'; LangChain's messages are guarded with guar"),
        ([{"type": "function_call", "name": "f"}], None, r"messages\[0\].call_id: expected a non-"),
        ([{"type": "function_call_output"}], None, r"messages\[0\].call_id: expected a non-empty"),
        ([{"type": "mcp_approval_response"}], None, r"messages\[0\].approval_request_id: expected"),
    ],
)  # fmt: skip
def test_a_malformed_message_is_named(messages: Any, shape: Any, error: str) -> None:
    with pytest.raises(InputError, match=error):
        Guard(Policy(on_error="pass")).fit(messages, shape=shape)


def test_malformed_tools_and_system_prompts_are_named() -> None:
    with pytest.raises(InputError, match=r"tools: expected a list of tool schemas, got dict"):
        fit([USER], tools={"name": "find"})
    with pytest.raises(InputError, match=r"tools\[0\]: expected a tool's schema as a dict, got s"):
        fit([USER], tools=["find"])
    with pytest.raises(InputError, match=r"system: expected a str or a list of content blocks"):
        fit([USER], system=3)
    assert tools_text([]) == tools_text(None) == ""


def test_an_object_that_cannot_be_cut_is_refused_and_not_sent_uncut() -> None:
    messages = [ChatMessage(role="user", content=f"{CHUNK} {words(4)}")]
    guard = guard_of(20)
    with guard.run():
        guard.prepare("notice period", [CHUNK], budget=Budget())
        with pytest.raises(InputError, match=r"'content' of a ChatMessage cannot be replaced"):
            guard.fit(messages)


class Broken:
    """Fails at a text that is no plain message's: at the arguments of a call."""

    name = "broken"
    exact = True

    def encode(self, text: str) -> list[int]:
        if text.startswith("{"):
            raise RuntimeError("no connection")
        return WordTokenizer().encode(text)


def test_a_tokenizer_that_fails_changes_nothing_and_is_noted() -> None:
    messages: list[Item] = [
        USER,
        {"role": "assistant", "tool_calls": [{"id": "1", **CALL}]},
        {"role": "tool", "tool_call_id": "1", "content": words(90)},
    ]
    fitted = Guard(Policy(tokenizer=Broken(), budget=Budget(window=30))).fit(messages)
    assert [d.code for d in fitted.decisions] == ["stage-failed"]
    assert all(new is old for new, old in zip(fitted.messages, messages, strict=True))
    with pytest.raises(RuntimeError, match="no connection"):
        Guard(Policy(tokenizer=Broken(), on_error="raise")).fit(messages)


def test_a_prompt_can_be_read_on_its_own() -> None:
    prompt = read_prompt([USER], system="Be brief.")
    assert [message.role for message in prompt.messages()] == ["system", "user"]
    assert [message.id for message in prompt.messages()] == ["system", "message-1"]
