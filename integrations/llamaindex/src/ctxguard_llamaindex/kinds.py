"""What matters among LlamaIndex's objects, and what is left alone."""

from __future__ import annotations

import collections
import enum
import functools
import sys
import types
from typing import Any, Literal, TypeAlias

from llama_index.core.agent.react.formatter import BaseAgentChatFormatter
from llama_index.core.agent.workflow import AgentWorkflow, BaseWorkflowAgent
from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.base.llms.types import BaseContentBlock, ChatMessage
from llama_index.core.callbacks import CallbackManager
from llama_index.core.chat_engine.types import BaseChatEngine
from llama_index.core.indices.base import BaseIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.memory import VectorMemory, VectorMemoryBlock
from llama_index.core.multi_modal_llms.base import MultiModalLLM
from llama_index.core.node_parser import NodeParser
from llama_index.core.prompts.mixin import PromptMixin
from llama_index.core.query_engine import (
    ComposableGraphQueryEngine,
    KnowledgeGraphQueryEngine,
    RetrySourceQueryEngine,
)
from llama_index.core.response_synthesizers import BaseSynthesizer
from llama_index.core.schema import BaseNode, NodeWithScore
from llama_index.core.tools import BaseTool
from llama_index.core.workflow import Context, Event, Workflow

from ctxguard_llamaindex.asides import ASKS_ASIDE
from ctxguard_llamaindex.postprocessor import CtxGuardPostprocessor
from ctxguard_llamaindex.targets import Targets

__all__ = [
    "Kind",
    "acts_alone",
    "is_guarded_type",
    "is_left_alone",
    "is_users",
    "is_working_type",
    "kind_of",
    "starts_calls",
    "takes_part",
    "wants_copy",
    "why_not",
    "works",
]

Kind: TypeAlias = Literal["retriever", "model", "agent", "postprocessor"]

# Libraries whose objects hold no retriever or model of LlamaIndex, and are large or costly to read.
_FOREIGN = frozenset(
    {
        "PIL",
        "aiohttp",
        "anthropic",
        "boto3",
        "botocore",
        "cohere",
        "google",
        "grpc",
        "httpcore",
        "httpx",
        "huggingface_hub",
        "llama_cpp",
        "mistralai",
        "nltk",
        "numpy",
        "ollama",
        "openai",
        "opentelemetry",
        "pandas",
        "pydantic_core",
        "requests",
        "scipy",
        "sentence_transformers",
        "sklearn",
        "sqlalchemy",
        "tiktoken",
        "tokenizers",
        "torch",
        "transformers",
    }
)
_NOT_USERS = (
    _FOREIGN
    | sys.stdlib_module_names
    | {
        "ctxguard",
        "ctxguard_llamaindex",
        "llama_index",
        "llama_index_instrumentation",
        "pydantic",
        "workflows",
    }
)
_ATOMS = (str, bytes, bytearray, int, float, complex, type, types.ModuleType, enum.Enum)
# What Python itself defines and the walk goes through, subclasses included.
_WALKED = (
    dict,
    list,
    tuple,
    set,
    frozenset,
    collections.deque,
    collections.UserDict,
    functools.partial,
    types.CellType,
    types.FunctionType,
    types.MethodType,
    types.SimpleNamespace,
)
# Data, stores, embeddings and machinery: shared between the original and the copy.
_LEFT_ALONE: tuple[type[Any], ...] = (
    BaseContentBlock,
    BaseEmbedding,
    BaseIndex,
    BaseNode,
    CallbackManager,
    ChatMessage,
    Context,
    Event,
    IngestionPipeline,
    NodeParser,
    NodeWithScore,
    Targets,
)
_LEFT_ALONE_MODULES = (
    "llama_index.core.data_structs",
    "llama_index.core.graph_stores",
    "llama_index.core.instrumentation",
    "llama_index.core.storage",
    "llama_index.core.vector_stores",
    "llama_index.embeddings",
    "llama_index.graph_stores",
    "llama_index.readers",
    "llama_index.storage",
    "llama_index.vector_stores",
    "llama_index_instrumentation",
    "workflows.plugins",
    "workflows.resource",
    "workflows.runtime",
)
# What retrieves or asks past every part that could be guarded, and why.
_ACT_ALONE: tuple[tuple[tuple[type[Any], ...], str], ...] = (
    (
        (KnowledgeGraphQueryEngine,),
        "reads its graph store by itself, and no policy sees what it finds",
    ),
    (
        (RetrySourceQueryEngine,),
        "makes an engine with Settings.llm when an answer is rejected; RetryQueryEngine asks the "
        "one that it was given",
    ),
    (
        (VectorMemory, VectorMemoryBlock),
        "recalls old messages by itself; they count in the window, and pass no policy",
    ),
)
_STARTS_CALLS = (BaseRetriever, BaseQueryEngine, BaseChatEngine, BaseLLM, Workflow)
_TAKES_PART = (BaseSynthesizer, *(kind for kind, _ in ASKS_ASIDE))
_WORKS = (*_STARTS_CALLS, BaseSynthesizer, BaseTool)


def kind_of(obj: object) -> Kind | None:
    """What an object is for coverage; None for what only holds others."""
    if isinstance(obj, BaseRetriever):
        return "retriever"
    if isinstance(obj, BaseLLM):
        return "model"
    if isinstance(obj, BaseWorkflowAgent | AgentWorkflow):
        return "agent"
    return "postprocessor" if isinstance(obj, CtxGuardPostprocessor) else None


def starts_calls(obj: object) -> bool:
    """Whether a run may begin with an object that was taken out of a guarded one."""
    return isinstance(obj, _STARTS_CALLS)


def takes_part(obj: object) -> bool:
    """Whether an object gives answers that models make, or asks models for what is none."""
    return isinstance(obj, _TAKES_PART) and not isinstance(obj, CtxGuardPostprocessor)


def why_not(obj: object) -> str:
    """Why an object that leads to prompts cannot be guarded, blank for all others."""
    if isinstance(obj, BaseIndex):
        return "makes retrievers and engines when it is used; hand in what it makes, or guard that"
    if isinstance(obj, MultiModalLLM):
        return "has an interface of its own; a chat model takes images too, and is guarded"
    return ""


def acts_alone(obj: object) -> str:
    """Why guarding the parts of an object does not guard all that it does, blank when it does."""
    if isinstance(obj, ComposableGraphQueryEngine):
        parts: dict[str, Any] = vars(obj)
        made = parts["_graph"].all_indices.keys() - parts["_custom_query_engines"].keys()
        return "makes engines of its indices; hand in custom_query_engines for all" if made else ""
    return next((reason for kinds, reason in _ACT_ALONE if isinstance(obj, kinds)), "")


def works(obj: object) -> bool:
    """Whether an object retrieves or asks a model, by itself or by what is inside of it."""
    return isinstance(obj, _WORKS)


def is_working_type(kind: type[object]) -> bool:
    """Whether the instances of a class do."""
    return issubclass(kind, _WORKS)


def is_guarded_type(obj: object) -> bool:
    """Whether it is a class of what is guarded itself: of retrievers or of models."""
    return isinstance(obj, type) and issubclass(obj, BaseRetriever | BaseLLM)


def wants_copy(obj: object) -> bool:
    """Whether an object is changed in place through a copy that holds it: by `update_prompts`."""
    return isinstance(obj, PromptMixin | BaseAgentChatFormatter)


def is_left_alone(obj: object) -> bool:
    """Whether the walk stops here: values, data, stores, indices, embeddings, other libraries."""
    if obj is None or isinstance(obj, (*_ATOMS, *_LEFT_ALONE)):
        return True
    kind = type(obj)
    if kind.__module__.startswith(_LEFT_ALONE_MODULES):
        return True
    wraps = hasattr(kind, "__wrapped__") or "__wrapped__" in getattr(obj, "__dict__", {})
    if wraps or issubclass(kind, _WALKED):
        return False
    root = kind.__module__.partition(".")[0]
    return root == "ctxguard" or root in _FOREIGN or root in sys.stdlib_module_names


def is_users(module: str | None) -> bool:
    """Whether a module is a user's own: not LlamaIndex, Python, or a library that is left alone."""
    root = (module or "").partition(".")[0]
    return bool(root) and root not in _NOT_USERS
