"""Query engines: response modes, and engines around engines."""

from __future__ import annotations

from typing import Any

from llama_index.core.evaluation import GuidelineEvaluator, RelevancyEvaluator
from llama_index.core.indices.query.query_transform import HyDEQueryTransform
from llama_index.core.indices.query.query_transform.base import StepDecomposeQueryTransform
from llama_index.core.objects import ObjectIndex
from llama_index.core.postprocessor import LLMRerank, LongContextReorder, SimilarityPostprocessor
from llama_index.core.query_engine import (
    CitationQueryEngine,
    CustomQueryEngine,
    FLAREInstructQueryEngine,
    MultiStepQueryEngine,
    RetrieverQueryEngine,
    RetryGuidelineQueryEngine,
    RetryQueryEngine,
    RetrySourceQueryEngine,
    RouterQueryEngine,
    SubQuestionQueryEngine,
    ToolRetrieverRouterQueryEngine,
    TransformQueryEngine,
)
from llama_index.core.question_gen import LLMQuestionGenerator
from llama_index.core.response_synthesizers import BaseSynthesizer, get_response_synthesizer
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.selectors import (
    EmbeddingSingleSelector,
    LLMMultiSelector,
    LLMSingleSelector,
    PydanticSingleSelector,
)

from ctxguard_llamaindex.testing import checksum
from integrations.llamaindex.tests.matrix.scripts import calling, obliging
from integrations.llamaindex.tests.matrix.ways import QUERY, QUERY_WHOLE, Clause
from integrations.llamaindex.tests.matrix.world import Shape, World

__all__ = ["SHAPES"]

_STREAMING = ("refine", "compact", "tree_summarize", "simple_summarize", "generation")
_WHOLE = ("accumulate", "compact_accumulate", "no_text", "context_only")
_UNASKED = ("no_text", "context_only")


class Own(CustomQueryEngine):
    """An engine as a user writes it, with its parts as fields."""

    retriever: BaseRetriever
    synthesizer: BaseSynthesizer

    def custom_query(self, query_str: str) -> Any:
        return self.synthesizer.synthesize(query_str, self.retriever.retrieve(query_str))


def own(world: World) -> Any:
    return Own(retriever=world.retriever(), synthesizer=get_response_synthesizer(llm=world.llm))


def router(selector: Any) -> Any:
    def make(world: World) -> Any:
        tools = [world.engine_tool(), world.engine_tool("other", mode="refine")]
        return RouterQueryEngine.from_defaults(tools, llm=world.llm, selector=selector(world.llm))

    return make


def selecting(messages: Any) -> Any:
    """A selector's choice as a tool call, a checksum of every other prompt."""
    if "choices are given below" in (messages[-1].content or ""):
        return calling("SingleSelection", index=0, reason="it fits")(messages)
    return checksum(messages)


def sub_question(world: World) -> Any:
    return SubQuestionQueryEngine.from_defaults(
        [world.engine_tool(streaming=False)],
        llm=world.llm,
        question_gen=LLMQuestionGenerator.from_defaults(llm=world.llm),
        response_synthesizer=get_response_synthesizer(llm=world.llm, streaming=world.streaming),
        verbose=False,
        use_async=False,
    )


def sub_question_async(world: World) -> Any:
    return SubQuestionQueryEngine.from_defaults(
        [world.engine_tool()],
        llm=world.llm,
        question_gen=LLMQuestionGenerator.from_defaults(llm=world.llm),
        verbose=False,
    )


def citation(world: World) -> Any:
    return CitationQueryEngine.from_args(
        world.index, llm=world.llm, similarity_top_k=4, streaming=world.streaming
    )


def hyde(world: World) -> Any:
    return TransformQueryEngine(world.engine(), HyDEQueryTransform(llm=world.llm))


def retry(world: World) -> Any:
    return RetryQueryEngine(world.engine(), RelevancyEvaluator(llm=world.llm), max_retries=1)


def retry_guideline(world: World) -> Any:
    evaluator = GuidelineEvaluator(llm=world.llm, guidelines="Be short.")
    return RetryGuidelineQueryEngine(world.engine(), evaluator, max_retries=1)


def guided(messages: Any) -> str:
    text = "\n".join(message.content or "" for message in messages)
    if "guidelines" in text.lower():
        passing = "true" if "previous bad answer" in text else "false"
        return f'{{"passing": {passing}, "feedback": "too long"}}'
    return checksum(messages)


def retry_source(world: World) -> Any:
    evaluator = RelevancyEvaluator(llm=world.llm)
    return RetrySourceQueryEngine(world.engine(), evaluator, llm=world.llm, max_retries=1)


def multi_step(world: World) -> Any:
    return MultiStepQueryEngine(
        world.engine(streaming=False),
        StepDecomposeQueryTransform(llm=world.llm, verbose=False),
        response_synthesizer=get_response_synthesizer(llm=world.llm, streaming=world.streaming),
        num_steps=2,
        early_stopping=False,
    )


def flare(world: World) -> Any:
    return FLAREInstructQueryEngine(world.engine(), llm=world.llm, max_iterations=2)


def looking_ahead(messages: Any) -> str:
    """FLARE's words: search once, then done."""
    text = messages[-1].content or ""
    if "Existing Answer: \n" in text and "Search API" in text:
        return "The period is [Search(What is the notice period?)]."
    return "done" if "Search API" in text else checksum(messages)


def tool_router(world: World) -> Any:
    tools = ObjectIndex.from_objects([world.engine_tool()])
    return ToolRetrieverRouterQueryEngine(tools.as_retriever())


def around_itself(world: World) -> Any:
    return RetrieverQueryEngine.from_args(
        world.retriever(), llm=world.llm, streaming=world.streaming
    )


def postprocessed(world: World) -> Any:
    return world.engine(
        node_postprocessors=[SimilarityPostprocessor(similarity_cutoff=0.0), LongContextReorder()]
    )


def reranked(world: World) -> Any:
    return world.engine(node_postprocessors=[LLMRerank(llm=world.llm, top_n=4)])


def structured(world: World) -> Any:
    return world.index.as_query_engine(
        llm=world.llm.as_structured_llm(Clause), similarity_top_k=4, response_mode="compact"
    )


def typed(world: World) -> Any:
    return world.engine("tree_summarize", output_cls=Clause, streaming=False)


def shape(name: str, make: Any, **options: Any) -> Shape:
    options.setdefault("ways", QUERY)
    options.setdefault("script", obliging)
    return Shape(name=name, make=make, **options)


def mode(name: str) -> Shape:
    return shape(
        f"engine, {name}",
        lambda world: world.engine(name),
        ways=QUERY if name in _STREAMING else QUERY_WHOLE,
        models=name not in _UNASKED,
        # It answers without looking anything up, and still retrieves.
        twins=None,
    )


SHAPES: tuple[Shape, ...] = (
    *(mode(name) for name in (*_STREAMING, *_WHOLE)),
    shape("engine around a retriever", around_itself),
    shape(
        "engine, async inside", lambda w: w.engine("accumulate", use_async=True), ways=QUERY_WHOLE
    ),
    shape("engine, multimodal", lambda w: w.engine(multimodal=True)),
    shape("engine with postprocessors", postprocessed),
    shape("engine with a reranking model", reranked),
    shape("engine of a user's own", own, ways=QUERY_WHOLE),
    shape(
        "engine of a structured model",
        structured,
        script=calling("Clause", days=30),
        ways=QUERY_WHOLE,
    ),
    shape(
        "engine with an output class", typed, script=calling("Clause", days=30), ways=QUERY_WHOLE
    ),
    shape("router, LLM", router(lambda llm: LLMSingleSelector.from_defaults(llm=llm))),
    shape("router, several", router(lambda llm: LLMMultiSelector.from_defaults(llm=llm))),
    shape("router, embeddings", router(lambda _: EmbeddingSingleSelector.from_defaults())),
    shape(
        "router, pydantic",
        router(lambda llm: PydanticSingleSelector.from_defaults(llm=llm)),
        script=selecting,
    ),
    shape("router that retrieves its tools", tool_router, ways=QUERY_WHOLE),
    shape("sub-questions", sub_question),
    shape("sub-questions, async inside", sub_question_async, ways=QUERY_WHOLE),
    shape("citation", citation),
    shape("HyDE", hyde),
    shape("retry", retry, retrievals=2, ways=QUERY_WHOLE),
    shape("retry, guideline", retry_guideline, script=guided, retrievals=2, ways=QUERY_WHOLE),
    shape("retry, source", retry_source, ways=QUERY_WHOLE, unreached=("",)),
    shape("multi-step", multi_step, retrievals=2),
    shape("FLARE", flare, script=looking_ahead, ways=QUERY_WHOLE),
)
