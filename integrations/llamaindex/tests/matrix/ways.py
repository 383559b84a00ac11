"""The ways in which callers use LlamaIndex's objects."""

from __future__ import annotations

from typing import Any

from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.core.schema import MetadataMode, QueryBundle
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

from integrations.llamaindex.tests.matrix.world import Outcome, Way, World, sources_of

__all__ = [
    "CHAT",
    "LLM",
    "POSTPROCESSOR",
    "PROGRAM",
    "QUERY",
    "QUERY_WHOLE",
    "RETRIEVER",
    "STRUCTURED",
    "SYNTHESIZER",
    "TOOL",
    "WORKFLOW",
    "Clause",
]


def _kind(obj: Any) -> str:
    return type(obj).__name__


def _answer(response: Any) -> Outcome:
    nodes = sources_of(response.source_nodes)
    return Outcome(kind=_kind(response), text=str(response), sources=nodes)


def _streamed(response: Any, parts: list[str]) -> Outcome:
    nodes = sources_of(response.source_nodes)
    return Outcome(kind=_kind(response), text="".join(parts), parts=tuple(parts), sources=nodes)


# -- query engines ---------------------------------------------------------------------------------


def _query(engine: Any, world: World) -> Outcome:
    return _answer(engine.query(world.corpus.question))


async def _aquery(engine: Any, world: World) -> Outcome:
    return _answer(await engine.aquery(world.corpus.question))


def _query_stream(engine: Any, world: World) -> Outcome:
    response = engine.query(world.corpus.question)
    return _streamed(response, list(response.response_gen))


async def _aquery_stream(engine: Any, world: World) -> Outcome:
    response = await engine.aquery(world.corpus.question)
    if hasattr(response, "async_response_gen"):
        return _streamed(response, [part async for part in response.async_response_gen()])
    return _streamed(response, list(response.response_gen))


QUERY_WHOLE = (Way(name="query", call=_query), Way(name="aquery", call=_aquery))
QUERY = (
    *QUERY_WHOLE,
    Way(name="query, streaming", call=_query_stream, streaming=True),
    Way(name="aquery, streaming", call=_aquery_stream, streaming=True),
)


# -- retrievers, postprocessors, synthesizers ------------------------------------------------------


def _retrieve(retriever: Any, world: World) -> Outcome:
    return Outcome(sources=sources_of(retriever.retrieve(world.corpus.question)))


async def _aretrieve(retriever: Any, world: World) -> Outcome:
    return Outcome(
        sources=sources_of(await retriever.aretrieve(QueryBundle(world.corpus.question)))
    )


RETRIEVER = (Way(name="retrieve", call=_retrieve), Way(name="aretrieve", call=_aretrieve))


def _postprocess(postprocessor: Any, world: World) -> Outcome:
    found = world.retriever().retrieve(world.corpus.question)
    kept = postprocessor.postprocess_nodes(found, query_str=world.corpus.question)
    return Outcome(sources=sources_of(kept))


async def _apostprocess(postprocessor: Any, world: World) -> Outcome:
    found = await world.retriever().aretrieve(world.corpus.question)
    kept = await postprocessor.apostprocess_nodes(found, query_str=world.corpus.question)
    return Outcome(sources=sources_of(kept))


POSTPROCESSOR = (
    Way(name="postprocess_nodes", call=_postprocess),
    Way(name="apostprocess_nodes", call=_apostprocess),
)


def _synthesize(synthesizer: Any, world: World) -> Outcome:
    found = world.retriever().retrieve(world.corpus.question)
    return _answer(synthesizer.synthesize(world.corpus.question, found))


async def _asynthesize(synthesizer: Any, world: World) -> Outcome:
    found = await world.retriever().aretrieve(world.corpus.question)
    return _answer(await synthesizer.asynthesize(world.corpus.question, found))


def _get_response(synthesizer: Any, world: World) -> Outcome:
    texts = [node.get_content(MetadataMode.LLM) for node in world.nodes]
    return Outcome(text=str(synthesizer.get_response(world.corpus.question, texts)))


async def _aget_response(synthesizer: Any, world: World) -> Outcome:
    texts = [node.get_content(MetadataMode.LLM) for node in world.nodes]
    return Outcome(text=str(await synthesizer.aget_response(world.corpus.question, texts)))


def _synthesize_stream(synthesizer: Any, world: World) -> Outcome:
    found = world.retriever().retrieve(world.corpus.question)
    response = synthesizer.synthesize(world.corpus.question, found)
    return _streamed(response, list(response.response_gen))


async def _asynthesize_stream(synthesizer: Any, world: World) -> Outcome:
    found = await world.retriever().aretrieve(world.corpus.question)
    response = await synthesizer.asynthesize(world.corpus.question, found)
    return _streamed(response, [part async for part in response.async_response_gen()])


SYNTHESIZER = (
    Way(name="synthesize", call=_synthesize),
    Way(name="asynthesize", call=_asynthesize),
    Way(name="get_response", call=_get_response),
    Way(name="aget_response", call=_aget_response),
    Way(name="synthesize, streaming", call=_synthesize_stream, streaming=True),
    Way(name="asynthesize, streaming", call=_asynthesize_stream, streaming=True),
)


# -- chat engines: two turns, because the second has a history -------------------------------------

TURNS = 2


def _turns(world: World) -> tuple[str, ...]:
    return (world.corpus.question, "And when is payment due?")


def _joined(outcomes: list[Outcome]) -> Outcome:
    return Outcome(
        kind=outcomes[0].kind,
        text="\n".join(outcome.text for outcome in outcomes),
        parts=tuple(part for outcome in outcomes for part in outcome.parts),
        sources=tuple(source for outcome in outcomes for source in outcome.sources),
    )


def _chat(engine: Any, world: World) -> Outcome:
    return _joined([_answer(engine.chat(text)) for text in _turns(world)])


async def _achat(engine: Any, world: World) -> Outcome:
    return _joined([_answer(await engine.achat(text)) for text in _turns(world)])


def _stream_chat(engine: Any, world: World) -> Outcome:
    outcomes: list[Outcome] = []
    for text in _turns(world):
        response = engine.stream_chat(text)
        outcomes.append(_streamed(response, list(response.response_gen)))
        if response.write_response_to_history_thread is not None:
            response.write_response_to_history_thread.join()
    return _joined(outcomes)


async def _astream_chat(engine: Any, world: World) -> Outcome:
    outcomes: list[Outcome] = []
    for text in _turns(world):
        response = await engine.astream_chat(text)
        parts = [part async for part in response.async_response_gen()]
        outcomes.append(_streamed(response, parts))
    return _joined(outcomes)


CHAT = (
    Way(name="chat", call=_chat, calls=TURNS),
    Way(name="achat", call=_achat, calls=TURNS),
    Way(name="stream_chat", call=_stream_chat, calls=TURNS, streaming=True, ordered=False),
    Way(name="astream_chat", call=_astream_chat, calls=TURNS, streaming=True, ordered=False),
)


# -- agents and workflows --------------------------------------------------------------------------


async def _run(workflow: Any, world: World) -> Outcome:
    result = await workflow.run(**_asked(workflow, world))
    return Outcome(kind=_kind(result), text=str(result))


async def _run_and_listen(workflow: Any, world: World) -> Outcome:
    handler = workflow.run(**_asked(workflow, world))
    names = [_kind(event) async for event in handler.stream_events()]
    result = await handler
    return Outcome(kind=_kind(result), text=str(result), parts=tuple(names))


def _asked(workflow: Any, world: World) -> dict[str, Any]:
    agent = hasattr(workflow, "early_stopping_method") or hasattr(workflow, "agents")
    return {"user_msg" if agent else "question": world.corpus.question}


WORKFLOW = (
    Way(name="run", call=_run),
    Way(name="run, streaming", call=_run, streaming=True),
    Way(name="run and stream_events", call=_run_and_listen),
    Way(name="run and stream_events, streaming", call=_run_and_listen, streaming=True),
)


# -- tools -----------------------------------------------------------------------------------------


def _output(output: Any) -> Outcome:
    return Outcome(kind=_kind(output), text=str(output))


def _tool(tool: Any, world: World) -> Outcome:
    return _output(tool(world.corpus.question))


def _call(tool: Any, world: World) -> Outcome:
    return _output(tool.call(world.corpus.question))


async def _acall(tool: Any, world: World) -> Outcome:
    return _output(await tool.acall(world.corpus.question))


TOOL = (
    Way(name="()", call=_tool),
    Way(name="call", call=_call),
    Way(name="acall", call=_acall),
)


# -- models and programs ---------------------------------------------------------------------------


class Clause(BaseModel):
    """What the structured calls ask for."""

    days: int


TEMPLATE = PromptTemplate("Answer shortly: {question}")
LOOKUP = FunctionTool.from_defaults(
    lambda query: query, name="search", description="Finds clauses."
)


def _messages(world: World) -> list[ChatMessage]:
    return [
        ChatMessage(role="system", content="Answer from the contract."),
        ChatMessage(role="user", content=world.corpus.question),
    ]


def _said(response: Any) -> Outcome:
    text = response.message.content if hasattr(response, "message") else response.text
    return Outcome(kind=_kind(response), text=text or "")


def _spoken(parts: list[Any]) -> Outcome:
    deltas = tuple(part if isinstance(part, str) else part.delta or "" for part in parts)
    return Outcome(kind=_kind(parts[-1]), text="".join(deltas), parts=deltas)


def _llm_way(name: str, how: Any) -> tuple[Way, ...]:
    """The four twins of a method: whole and streamed, sync and async.

    Args:
        name: of the one that is sync and whole.
        how: positional and keyword arguments of the call, from the world.
    """

    def whole(llm: Any, world: World) -> Outcome:
        args, kwargs = how(world)
        return _said(getattr(llm, name)(*args, **kwargs))

    async def awhole(llm: Any, world: World) -> Outcome:
        args, kwargs = how(world)
        return _said(await getattr(llm, f"a{name}")(*args, **kwargs))

    def stream(llm: Any, world: World) -> Outcome:
        args, kwargs = how(world)
        return _spoken(list(getattr(llm, f"stream_{name}")(*args, **kwargs)))

    async def astream(llm: Any, world: World) -> Outcome:
        args, kwargs = how(world)
        stream = await getattr(llm, f"astream_{name}")(*args, **kwargs)
        return _spoken([part async for part in stream])

    return (
        Way(name=name, call=whole),
        Way(name=f"a{name}", call=awhole),
        Way(name=f"stream_{name}", call=stream),
        Way(name=f"astream_{name}", call=astream),
    )


def _predict(llm: Any, world: World) -> Outcome:
    return Outcome(text=llm.predict(TEMPLATE, question=world.corpus.question))


async def _apredict(llm: Any, world: World) -> Outcome:
    return Outcome(text=await llm.apredict(TEMPLATE, question=world.corpus.question))


def _stream(llm: Any, world: World) -> Outcome:
    return _spoken(list(llm.stream(TEMPLATE, question=world.corpus.question)))


async def _astream(llm: Any, world: World) -> Outcome:
    stream = await llm.astream(TEMPLATE, question=world.corpus.question)
    return _spoken([part async for part in stream])


LLM = (
    *_llm_way("chat", lambda world: ((_messages(world),), {})),
    *_llm_way("complete", lambda world: ((world.corpus.question,), {})),
    *_llm_way(
        "chat_with_tools",
        lambda world: (([LOOKUP],), {"user_msg": world.corpus.question, "chat_history": []}),
    ),
    Way(name="predict", call=_predict),
    Way(name="apredict", call=_apredict),
    Way(name="stream", call=_stream),
    Way(name="astream", call=_astream),
)


def _predict_clause(llm: Any, world: World) -> Outcome:
    return _output(llm.structured_predict(Clause, TEMPLATE, question=world.corpus.question))


async def _apredict_clause(llm: Any, world: World) -> Outcome:
    question = world.corpus.question
    return _output(await llm.astructured_predict(Clause, TEMPLATE, question=question))


def _stream_clause(llm: Any, world: World) -> Outcome:
    stream = llm.stream_structured_predict(Clause, TEMPLATE, question=world.corpus.question)
    return Outcome(parts=tuple(str(part) for part in stream))


async def _astream_clause(llm: Any, world: World) -> Outcome:
    question = world.corpus.question
    stream = await llm.astream_structured_predict(Clause, TEMPLATE, question=question)
    return Outcome(parts=tuple([str(part) async for part in stream]))


def _as_structured(llm: Any, world: World) -> Outcome:
    return _said(llm.as_structured_llm(Clause).chat(_messages(world)))


async def _aas_structured(llm: Any, world: World) -> Outcome:
    return _said(await llm.as_structured_llm(Clause).achat(_messages(world)))


STRUCTURED = (
    Way(name="structured_predict", call=_predict_clause),
    Way(name="astructured_predict", call=_apredict_clause),
    Way(name="stream_structured_predict", call=_stream_clause),
    Way(name="astream_structured_predict", call=_astream_clause),
    Way(name="as_structured_llm, chat", call=_as_structured),
    Way(name="as_structured_llm, achat", call=_aas_structured),
)


def _program(program: Any, world: World) -> Outcome:
    return _output(program(question=world.corpus.question))


async def _aprogram(program: Any, world: World) -> Outcome:
    return _output(await program.acall(question=world.corpus.question))


PROGRAM = (Way(name="()", call=_program), Way(name="acall", call=_aprogram))
