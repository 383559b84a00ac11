"""Messages as OpenAI's and Anthropic's SDKs write them, read into Messages and written back."""

from ctxguard.wire.prompt import FittedMessages, Prompt, Shape, listed, read_prompt
from ctxguard.wire.records import Item, tools_text

__all__ = ["FittedMessages", "Item", "Prompt", "Shape", "listed", "read_prompt", "tools_text"]
