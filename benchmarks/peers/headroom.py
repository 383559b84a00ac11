"""headroom (`headroom-ai`) without the model that it would download."""

from __future__ import annotations

import logging
import os
from importlib import import_module
from typing import Any

from benchmarks.peers.base import Question, SelectorPeer
from benchmarks.texts import tokens

__all__ = ["headroom"]


def headroom() -> SelectorPeer:
    """`compress` of a message per chunk, with the budget's share as its `target_ratio`."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    module: Any = import_module("headroom")
    logging.getLogger("headroom").setLevel(logging.ERROR)

    def select(question: Question, budget: int) -> list[str]:
        share = budget / tokens("\n\n".join(chunk.text for chunk in question.chunks))
        evidence = "\n\n".join(chunk.text for chunk in question.chunks)
        messages = [
            {"role": "user", "content": evidence},
            {"role": "user", "content": question.text},
        ]
        result = module.compress(
            messages,
            model="gpt-4o",
            compress_user_messages=True,
            target_ratio=share,
            protect_recent=0,
            min_tokens_to_compress=20,
        )
        return [str(message["content"]) for message in result.messages[:-1]]

    return SelectorPeer(
        name="headroom",
        select=select,
        note="target_ratio: the budget's share; user messages compressed, none protected",
    )
