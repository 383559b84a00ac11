"""Models, and what asks one: programs, synthesizers, postprocessors, tools."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.llms.types import CompletionResponse, LLMMetadata
from llama_index.core.evaluation import RelevancyEvaluator
from llama_index.core.llms import CustomLLM
from llama_index.core.llms.callbacks import llm_completion_callback
from llama_index.core.postprocessor import LLMRerank
from llama_index.core.postprocessor.rankGPT_rerank import RankGPTRerank
from llama_index.core.postprocessor.structured_llm_rerank import StructuredLLMRerank
from llama_index.core.program import FunctionCallingProgram, LLMTextCompletionProgram
from llama_index.core.response_synthesizers import get_response_synthesizer
from llama_index.core.tools import FunctionTool
from llama_index.core.tools.eval_query_engine import EvalQueryEngineTool

from ctxguard_llamaindex.testing import ScriptedLLM, checksum
from integrations.llamaindex.tests.matrix.scripts import calling, obliging
from integrations.llamaindex.tests.matrix.ways import (
    LLM,
    POSTPROCESSOR,
    PROGRAM,
    STRUCTURED,
    SYNTHESIZER,
    TOOL,
    Clause,
)
from integrations.llamaindex.tests.matrix.world import Shape, Way, World

__all__ = ["SHAPES"]


def asked(name: str, make: Any, ways: tuple[Way, ...], script: Any) -> Shape:
    """The shape of something that asks a model and retrieves nothing."""
    return Shape(name=name, make=make, ways=ways, script=script, retrievals=0)


class Wrapped(CustomLLM):
    """A completion model as a user writes it, around another one."""

    inner: Any

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(context_window=8192)

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return CompletionResponse(text=self.inner.checksum(prompt))

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        text = self.inner.checksum(prompt)
        return (CompletionResponse(text=text, delta=word) for word in text.split())


class Provider:
    """A client as a provider's package has it: no model of LlamaIndex."""

    def __init__(self, llm: ScriptedLLM) -> None:
        self.prompts = llm.prompts

    def checksum(self, prompt: str) -> str:
        from llama_index.core.llms import ChatMessage

        messages = [ChatMessage(content=prompt)]
        self.prompts.append(messages)
        return checksum(messages)


def synthesizer(mode: Any) -> Any:
    return lambda world: get_response_synthesizer(
        llm=world.llm, response_mode=mode, streaming=world.streaming
    )


def ways_of(mode: str) -> tuple[Way, ...]:
    if mode in ("accumulate", "compact_accumulate"):
        return tuple(way for way in SYNTHESIZER if not way.streaming)
    return SYNTHESIZER


def closure(world: World) -> Any:
    retriever = world.retriever()

    def search(query: str) -> str:
        """Find clauses."""
        return "\n\n".join(item.get_content() for item in retriever.retrieve(query))

    async def asearch(query: str) -> str:
        """Find clauses."""
        return "\n\n".join(item.get_content() for item in await retriever.aretrieve(query))

    return FunctionTool.from_defaults(search, async_fn=asearch)


def evaluated(world: World) -> Any:
    return EvalQueryEngineTool.from_defaults(
        world.engine(), evaluator=RelevancyEvaluator(llm=world.llm), name="search"
    )


def function_program(world: World) -> Any:
    return FunctionCallingProgram.from_defaults(
        output_cls=Clause, prompt_template_str="{question}", llm=world.llm
    )


def text_program(world: World) -> Any:
    return LLMTextCompletionProgram.from_defaults(
        output_cls=Clause, prompt_template_str="{question}", llm=world.llm
    )


def chat_only(ways: tuple[Way, ...]) -> tuple[Way, ...]:
    return tuple(way for way in ways if "tools" not in way.name)


def whole(ways: tuple[Way, ...]) -> tuple[Way, ...]:
    return tuple(way for way in ways if "stream" not in way.name)


CALLS_CLAUSE = calling("Clause", days=30)
RANKS = calling(
    "DocumentRelevanceList",
    documents=[{"document_number": n, "relevance": 10 - n} for n in (1, 2, 3, 4)],
)

SHAPES: tuple[Shape, ...] = (
    asked(name="model", make=lambda w: w.llm, ways=LLM, script=obliging),
    asked(
        name="model, completion",
        make=lambda w: Wrapped(inner=Provider(w.llm)),
        ways=chat_only(LLM),
        script=obliging,
    ),
    asked(name="model, structure", make=lambda w: w.llm, ways=STRUCTURED, script=CALLS_CLAUSE),
    asked(
        name="structured model",
        make=lambda w: w.llm.as_structured_llm(Clause),
        ways=tuple(way for way in LLM[:8] if "stream_complete" not in way.name),
        script=CALLS_CLAUSE,
    ),
    asked(name="program, functions", make=function_program, ways=PROGRAM, script=CALLS_CLAUSE),
    asked(name="program, text", make=text_program, ways=PROGRAM, script=lambda _: '{"days": 30}'),
    *(
        asked(
            name=f"synthesizer, {mode}", make=synthesizer(mode), ways=ways_of(mode), script=obliging
        )
        for mode in (
            "refine",
            "compact",
            "tree_summarize",
            "simple_summarize",
            "accumulate",
            "compact_accumulate",
            "generation",
        )
    ),
    asked(
        name="postprocessor, LLM",
        make=lambda w: LLMRerank(llm=w.llm, top_n=4),
        ways=POSTPROCESSOR,
        script=obliging,
    ),
    asked(
        name="postprocessor, structured LLM",
        make=lambda w: StructuredLLMRerank(llm=w.llm, top_n=4),
        ways=POSTPROCESSOR,
        script=RANKS,
    ),
    asked(
        name="postprocessor, RankGPT",
        make=lambda w: RankGPTRerank(llm=w.llm, top_n=4),
        ways=POSTPROCESSOR,
        script=lambda _: "[2] > [1] > [3] > [4]",
    ),
    Shape(name="tool, engine", make=lambda w: w.engine_tool(), ways=TOOL, script=obliging),
    Shape(
        name="tool, retriever",
        make=lambda w: w.retriever_tool(),
        ways=TOOL,
        script=obliging,
        models=False,
    ),
    Shape(name="tool, function", make=closure, ways=TOOL, script=obliging, models=False),
    Shape(name="tool, evaluated engine", make=evaluated, ways=TOOL, script=lambda _: "YES"),
)
