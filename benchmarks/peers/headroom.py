"""headroom (`headroom-ai`) without the model that it would download."""

from __future__ import annotations

import json
import logging
import os
from importlib import import_module
from typing import Any

from benchmarks.peers.base import Question, SelectorPeer
from benchmarks.texts import tokens

__all__ = ["headroom"]


def headroom() -> SelectorPeer:
    """`compress` of a tool's result, a JSON array of sentences: plain text it returns unchanged."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    module: Any = import_module("headroom")
    logging.getLogger("headroom").setLevel(logging.ERROR)

    def select(question: Question, budget: int) -> list[str]:
        evidence = [sentence for chunk in question.chunks for sentence in chunk.sentences]
        share = budget / tokens("\n\n".join(chunk.text for chunk in question.chunks))
        call = {"name": "search", "arguments": "{}"}
        messages = [
            {"role": "user", "content": question.text},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "1", "type": "function", "function": call}],
            },
            {
                "role": "tool",
                "tool_call_id": "1",
                "content": json.dumps(evidence, ensure_ascii=False),
            },
        ]
        result = module.compress(
            messages,
            model="gpt-4o",
            target_ratio=share,
            protect_recent=0,
            min_tokens_to_compress=20,
        )
        return [str(result.messages[-1]["content"])]

    return SelectorPeer(
        name="headroom",
        select=select,
        note="a tool's result, a JSON array of sentences; target_ratio: the budget's share",
    )
