"""LlamaIndex's types to ctxguard's, and back; no other module here knows both.

Nothing that is handed in is changed: a node or a message that has to differ is a copy.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.base.llms.types import (
    AudioBlock,
    BaseRecursiveContentBlock,
    ChatMessage,
    DocumentBlock,
    ImageBlock,
    LLMMetadata,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)
from llama_index.core.constants import DEFAULT_CONTEXT_WINDOW, DEFAULT_NUM_OUTPUTS
from llama_index.core.schema import (
    BaseNode,
    ImageNode,
    IndexNode,
    MetadataMode,
    Node,
    NodeRelationship,
    NodeWithScore,
    QueryBundle,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.tools import BaseTool
from llama_index.core.workflow import StartEvent
from pydantic import BaseModel

from ctxguard.guard import Prepared
from ctxguard.models import ModelCard, model_card
from ctxguard.types import Chunk, JsonValue, Message, Role
from ctxguard.window import Fitted, apply_cuts

__all__ = [
    "ALSO_IN",
    "QUESTION_NAMES",
    "calls_of",
    "card_of",
    "chunks_of",
    "cut_prompt",
    "messages_of",
    "nodes_of",
    "prompt_of",
    "question_of",
    "tools_of",
    "with_fitted",
]

Count = Callable[[str], int]

ALSO_IN = "ctxguard_also_in"
"""Metadata key, on a copy of the node: where copies of it stood. The model does not see it."""

QUESTION_NAMES = (
    "str_or_query_bundle",
    "query_bundle",
    "query",
    "query_str",
    "question",
    "message",
    "user_msg",
    "input",
)
"""Parameters and fields of events that hold what is asked."""

_TEMPLATES = ("{key}: {value}", "{metadata_str}\n\n{content}")
"""LlamaIndex's defaults: of a line of metadata, and of a node with its metadata."""
_SOURCES = ("file_path", "file_name", "url")
_ROLES: Mapping[MessageRole, Role] = {
    MessageRole.SYSTEM: "system",
    MessageRole.DEVELOPER: "system",
    MessageRole.USER: "user",
    MessageRole.ASSISTANT: "assistant",
    MessageRole.CHATBOT: "assistant",
    MessageRole.MODEL: "assistant",
    MessageRole.TOOL: "tool",
    MessageRole.FUNCTION: "tool",
}
# Tokens of what is not text, LlamaIndex's own fallbacks (`aestimate_tokens` of its blocks). They
# are not asked for their estimates, because those download what a block only links to.
_BLOCK_TOKENS: Sequence[tuple[type[BaseModel], int]] = (
    (ImageBlock, 2125),
    (AudioBlock, 256),
    (VideoBlock, 2048),
    (DocumentBlock, 512),
)
_LOW_DETAIL_IMAGE = 85


# -- nodes ---------------------------------------------------------------------------------------


def chunks_of(nodes: Sequence[object]) -> tuple[list[Chunk], list[int]]:
    """The chunks of the nodes that are text, and the index in `nodes` of each.

    Images, index nodes, blank nodes and nodes that carry media beside their text are not text:
    leaving one out because its words stand elsewhere would lose more than words.
    """
    chunks: list[Chunk] = []
    places: list[int] = []
    for index, item in enumerate(nodes):
        if not isinstance(item, NodeWithScore) or _has_more(item.node):
            continue
        text, rendered = _texts(item.node)
        if text:
            chunks.append(_chunk(item, text, rendered, index))
            places.append(index)
    return chunks, places


def nodes_of(
    nodes: Sequence[Any], chunks: Sequence[Chunk], places: Sequence[int], prepared: Prepared
) -> Sequence[Any]:
    """The nodes that were prepared, in their new order.

    Args:
        nodes: as retrieved. Returned as they are when nothing about them changed.
        chunks: what `chunks_of` made of them.
        places: index in `nodes` of each of `chunks`.
        prepared: what became of the chunks.

    Returns:
        A kept node is the object that came in; one that was trimmed or stands for its copies is a
        copy. What is not text keeps its place between the texts around it.
    """
    untouched = len(prepared.chunks) == len(chunks) == len(nodes)
    if untouched and all(map(operator.is_, prepared.chunks, chunks)):
        return nodes
    kept = [
        (places[position], _kept(nodes[places[position]], chunks[position], chunk))
        for position, chunk in zip(prepared.positions, prepared.chunks, strict=True)
    ]
    texts = set(places)
    others = [index for index in range(len(nodes)) if index not in texts]
    out = [node for _, node in kept]
    for already, index in enumerate(others):
        before = sum(place < index for place, _ in kept)
        out.insert(before + already, nodes[index])
    unchanged = len(out) == len(nodes) and all(a is b for a, b in zip(out, nodes, strict=True))
    return nodes if unchanged else out


def _has_more(node: BaseNode) -> bool:
    """Whether a node is more than its text."""
    if type(node) is TextNode:  # pydantic's isinstance is slow to say no
        return False
    if isinstance(node, ImageNode | IndexNode):
        return True
    if not isinstance(node, Node):
        return False
    media = (node.image_resource, node.audio_resource, node.video_resource)
    return any(resource is not None for resource in media)


def _texts(node: BaseNode) -> tuple[str, str]:
    """A node's own text, and that with its metadata, which a model reads.

    Stripped, as synthesizers do before they join a node's text to the others. Where neither the
    class nor the node says otherwise, it is written here as `get_content` does: a third of the time
    of `str.format`, which is most of what a retrieval costs that nothing is done to.
    """
    kind = type(node)
    if (
        not isinstance(node, TextNode)
        or kind.get_content is not TextNode.get_content
        or kind.get_metadata_str is not BaseNode.get_metadata_str
        or (node.metadata_template, node.text_template) != _TEMPLATES
    ):
        text = node.get_content(MetadataMode.NONE).strip()
        return text, node.get_content(MetadataMode.LLM).strip()
    hidden = node.excluded_llm_metadata_keys
    lines = [f"{key}: {value!s}" for key, value in node.metadata.items() if key not in hidden]
    header = node.metadata_separator.join(lines).strip()
    whole = node.text
    text = whole.strip()
    return text, f"{header}\n\n{whole}".strip() if header else text


def _chunk(item: NodeWithScore, text: str, rendered: str, index: int) -> Chunk:
    node = item.node
    return Chunk(
        id=node.node_id or f"node-{index + 1}",
        text=text,
        rendered="" if rendered == text else rendered,
        source=_source(node),
        score=item.score,
        metadata=_metadata(node),
        embedding=node.embedding,
    )


def _source(node: BaseNode) -> str:
    for key in _SOURCES:
        value = node.metadata.get(key)
        if isinstance(value, str) and value:
            return value
    origin = node.relationships.get(NodeRelationship.SOURCE)
    return origin.node_id if isinstance(origin, RelatedNodeInfo) else ""


def _metadata(node: BaseNode) -> Mapping[str, JsonValue]:
    """The node's metadata with its place in its document, in characters, when that is known."""
    if not isinstance(node, TextNode):  # the others have no such fields, and are slow to say so
        return dict(node.metadata)
    found: dict[str, JsonValue] = {}
    if node.start_char_idx is not None:
        found["start_char_idx"] = node.start_char_idx
    if node.end_char_idx is not None:
        found["end_char_idx"] = node.end_char_idx
    found.update(node.metadata)
    return found


def _kept(item: NodeWithScore, given: Chunk, chunk: Chunk) -> NodeWithScore:
    """The item itself, or a copy with a copied node when the chunk was trimmed or has copies."""
    update: dict[str, Any] = {}
    node = item.node
    if chunk.text != given.text:
        update.update(_text_update(node, chunk.text))
    if chunk.also_in:
        update["metadata"] = {**node.metadata, ALSO_IN: list(chunk.also_in)}
        for field in ("excluded_llm_metadata_keys", "excluded_embed_metadata_keys"):
            update[field] = list(dict.fromkeys([*getattr(node, field), ALSO_IN]))
    if not update:
        return item
    return item.model_copy(update={"node": node.model_copy(update=update)})


def _text_update(node: BaseNode, text: str) -> dict[str, Any]:
    if isinstance(node, Node) and node.text_resource is not None:
        return {"text_resource": node.text_resource.model_copy(update={"text": text})}
    return {"text": text} if isinstance(node, TextNode) else {}


# -- messages ------------------------------------------------------------------------------------


def messages_of(messages: Sequence[ChatMessage], count: Count) -> list[Message]:
    """The messages in ctxguard's terms.

    Args:
        messages: text blocks become the text; what is not text is counted in `extra_tokens`.
        count: tokens of a text.
    """
    unanswered: list[str] = []  # made-up ids of calls that came without one, oldest first
    return [_message(index, message, unanswered, count) for index, message in enumerate(messages)]


def prompt_of(prompt: str) -> list[Message]:
    """A completion prompt as the one message of a user."""
    return [Message(role="user", text=prompt)]


def cut_prompt(prompt: str, fitted: Fitted) -> str:
    """The prompt without what did not fit; the prompt itself when everything did."""
    cuts = fitted.cuts.get(0)
    return apply_cuts(prompt, cuts) if cuts else prompt


def with_fitted(messages: Sequence[ChatMessage], fitted: Fitted) -> Sequence[ChatMessage]:
    """The messages that fit: those that were handed in, copies where text was cut."""
    everything = tuple(range(len(messages)))
    if not fitted.cuts and fitted.positions == everything:
        return messages
    return [_cut(messages[index], fitted, index) for index in fitted.positions]


def _message(index: int, message: ChatMessage, unanswered: list[str], count: Count) -> Message:
    role = _ROLES.get(message.role, "user")
    calls = calls_of(message)
    ids = tuple(call_id or f"call-{index}-{i}" for i, (call_id, _) in enumerate(calls))
    unanswered.extend(new for new, (old, _) in zip(ids, calls, strict=True) if not old)
    answers: str | None = None
    if role == "tool":
        stated = message.additional_kwargs.get("tool_call_id")
        answers = str(stated) if stated else (unanswered.pop(0) if unanswered else None)
    return Message(
        role=role,
        text="".join(block.text for block in message.blocks if isinstance(block, TextBlock)),
        id=f"message-{index}",
        tool_calls=ids,
        tool_call_id=answers,
        extra_tokens=sum(count(text) for _, text in calls)
        + sum(_block_tokens(block, count) for block in message.blocks),
    )


def calls_of(message: ChatMessage) -> list[tuple[str, str]]:
    """Id (blank if it has none) and written form of each call of a message, in order."""
    blocks = [block for block in message.blocks if isinstance(block, ToolCallBlock)]
    if blocks:
        return [(block.tool_call_id or "", block.model_dump_json()) for block in blocks]
    # Before there were blocks, integrations passed the provider's own objects on.
    stated: Any = message.additional_kwargs.get("tool_calls")
    calls = cast("list[Any]", stated) if isinstance(stated, list) else []
    return [(_call_id(call), _written(call)) for call in calls]


def _call_id(call: object) -> str:
    if isinstance(call, Mapping):
        found = cast("Mapping[str, object]", call).get("id")
    else:
        found = getattr(call, "id", None)
    return found if isinstance(found, str) else ""


def _block_tokens(block: object, count: Count) -> int:
    if isinstance(block, ThinkingBlock):
        return block.num_tokens or count(block.content or "")
    if isinstance(block, ImageBlock) and block.detail == "low":
        return _LOW_DETAIL_IMAGE
    if isinstance(block, BaseRecursiveContentBlock):
        inner = block.nested_blocks
        texts = sum(count(part.text) for part in inner if isinstance(part, TextBlock))
        return texts + sum(_block_tokens(part, count) for part in inner)
    return next((tokens for kind, tokens in _BLOCK_TOKENS if isinstance(block, kind)), 0)


def _cut(message: ChatMessage, fitted: Fitted, index: int) -> ChatMessage:
    cuts = fitted.cuts.get(index)
    if not cuts:
        return message
    blocks: list[object] = []
    offset = 0
    for block in message.blocks:
        if not isinstance(block, TextBlock):
            blocks.append(block)
            continue
        text = apply_cuts(block.text, cuts, offset)
        offset += len(block.text)
        # Providers reject empty text blocks, so one that was emptied leaves with its text.
        if text or not block.text:
            blocks.append(block if text == block.text else block.model_copy(update={"text": text}))
    return message.model_copy(update={"blocks": blocks})


# -- models and calls ----------------------------------------------------------------------------


def card_of(llm: BaseLLM) -> ModelCard:
    """What LlamaIndex knows of a model, its window looked up by name where it only has a default.

    `LLMMetadata.context_window` is 3,900 for every model whose integration does not say; taking
    that for a fact would cut prompts that fit.
    """
    metadata = llm.metadata
    name = "" if metadata.model_name == "unknown" else metadata.model_name
    window, output = metadata.context_window, metadata.num_output
    stated = window > 0 and (window != DEFAULT_CONTEXT_WINDOW or _states_window(llm, metadata))
    return model_card(
        name,
        window=window if stated else None,
        max_output=output if output > 0 and output != DEFAULT_NUM_OUTPUTS else None,
        source="LlamaIndex metadata" if stated else "",
    )


def _states_window(llm: BaseLLM, metadata: LLMMetadata) -> bool:
    """Whether someone wrote the default window down, in the model's field where it has one."""
    name = "context_window"
    field = name in type(llm).model_fields
    return name in metadata.model_fields_set and (not field or name in llm.model_fields_set)


def tools_of(tools: object) -> str:
    """The schemas of the tools that a call hands to its model, as JSON; blank without any."""
    if not tools or not isinstance(tools, Iterable) or isinstance(tools, str):
        return ""
    return "\n".join(_written(tool) for tool in cast("Iterable[object]", tools))


def _written(value: object) -> str:
    if isinstance(value, BaseTool):
        return json.dumps(value.metadata.to_openai_tool(skip_length_check=True), default=str)
    if isinstance(value, BaseModel):
        return value.model_dump_json()
    return json.dumps(value, default=str, ensure_ascii=False)


def question_of(*values: object) -> str:
    """What is asked, by the first of the values that says so; blank when none does."""
    for value in values:
        if isinstance(value, StartEvent):
            return question_of(*(value.get(name, None) for name in QUESTION_NAMES))
        if isinstance(value, QueryBundle):
            return value.query_str
        if isinstance(value, ChatMessage):
            return value.content or ""
        if isinstance(value, str):
            return value
    return ""
