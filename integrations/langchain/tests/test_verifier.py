"""GroundednessChecker in chains and graphs, GroundednessEvaluator in LangSmith and classic."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypedDict

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langgraph.graph import END, START, StateGraph
from langsmith import Client, evaluate
from langsmith.evaluation import run_evaluator
from langsmith.schemas import Example, LangSmithInfo, Run
from pydantic import BaseModel

from ctxguard import InputError, guard
from ctxguard.types import Verification
from ctxguard.verification import Verifier
from ctxguard_langchain import GroundednessChecker, GroundednessEvaluator
from ctxguard_langchain.testing import FixedRetriever

pytestmark = pytest.mark.anyio

QUESTION = "What is the fee?"
FEE = Document(page_content="The fee is $500 per month.", metadata={"source": "fees.md"}, id="fee")
RIGHT, WRONG = "The fee is $500 per month.", "The fee is $600 per month."
TURN = [
    HumanMessage("What is the notice?"),
    ToolMessage("Notice is ninety days.", tool_call_id="0"),
    AIMessage("Ninety days."),
    HumanMessage(QUESTION),
]


class State(BaseModel):
    question: str
    documents: list[Any]
    generation: str


@dataclass
class Result:
    query: str
    source_documents: list[Document]
    result: str


def spoken(answer: str) -> dict[str, Any]:
    tool = ToolMessage("found one", artifact=[FEE], tool_call_id="1")
    return {"messages": [*TURN, tool, AIMessage(answer)]}


def loose(answer: str) -> dict[str, Any]:
    tool = {"role": "tool", "content": FEE.page_content, "tool_call_id": "1"}
    said = {"role": "assistant", "content": answer}
    return {"messages": [{"role": "user", "content": QUESTION}, tool, said]}


SHAPES: dict[str, Any] = {
    "documents": lambda a: {"question": QUESTION, "context": [FEE], "answer": a},
    "message": lambda a: {"documents": [FEE], "answer": AIMessage([{"type": "text", "text": a}])},
    "one document": lambda a: {"context": FEE, "output": a},
    "a string": lambda a: {"context": FEE.page_content, "output": a},
    "strings": lambda a: {"contexts": [FEE.page_content, FEE], "response": a},
    "messages as evidence": lambda a: {"context": [HumanMessage(RIGHT)], "answer": a},
    "JSON": lambda a: {"context": [{"page_content": RIGHT, "metadata": {}}], "answer": a},
    "a chunk's fields": lambda a: {"context": [{"text": RIGHT, "source": "x"}], "answer": a},
    "pydantic": lambda a: State(question=QUESTION, documents=[FEE], generation=a),
    "dataclass": lambda a: Result(query=QUESTION, source_documents=[FEE], result=a),
    "artifacts of tools": spoken,
    "messages as dicts": loose,
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_every_shape_every_way(shape: str) -> None:
    checker, made = GroundednessChecker(), SHAPES[shape]
    right, wrong = made(RIGHT), made(WRONG)
    assert checker.invoke(right).grounded
    found = checker.invoke(wrong)
    assert [one.code for one in found.findings] == ["amount-differs"]
    assert await checker.ainvoke(wrong) == found
    assert checker.batch([right, wrong])[1] == found
    assert (await checker.abatch([right, wrong]))[1] == found
    assert list(checker.stream(wrong)) == [found]
    assert [one async for one in checker.astream(wrong)] == [found]


def test_the_question_and_the_names_of_documents_arrive() -> None:
    found = GroundednessChecker().invoke(SHAPES["documents"](WRONG))
    assert found.question == QUESTION
    assert found.findings[0].evidence[0].chunk_id == "fee"
    assert GroundednessChecker().invoke(spoken(WRONG)).question == QUESTION


def test_evidence_of_earlier_questions_does_not_count() -> None:
    assert GroundednessChecker().invoke(spoken("Notice is ninety days.")).grounded is False


def test_keys_can_be_named() -> None:
    checker = GroundednessChecker(answer="said", evidence="held", question="asked")
    found = checker.invoke({"said": WRONG, "held": [FEE], "asked": QUESTION, "context": "none"})
    assert found.grounded is False
    assert found.question == QUESTION
    with pytest.raises(InputError, match=r"no answer: expected 'said', and there is 'answer'"):
        checker.invoke({"answer": RIGHT, "held": []})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"context": [FEE]}, r"no answer: expected 'answer' or 'output' or .*there is 'context'"),
        ({"answer": RIGHT}, r"no evidence: expected 'context' or .*there is 'answer'"),
        ({}, "there is nothing"),
        ({"answer": {"fee": 500}, "context": [FEE]}, "answer: expected a str or a message"),
        ({"answer": RIGHT, "context": 7}, "context: expected Documents or strings, got int"),
        ({"answer": RIGHT, "context": [7]}, "expected a str, a mapping or a Chunk, got int"),
        ({"messages": [HumanMessage("Hi")], "context": []}, "none of them is the model's"),
        ({"messages": [7], "context": []}, "messages: "),
        ("text", "expected a mapping with an answer and its evidence, got str"),
    ],
)
def test_what_is_missing_is_named(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        GroundednessChecker().invoke(given)


def test_no_evidence_supports_nothing() -> None:
    for empty in ([], "", " "):
        found = GroundednessChecker().invoke({"answer": RIGHT, "context": empty})
        assert [one.code for one in found.claims] == ["no-evidence"]


class Watch(BaseCallbackHandler):
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        self.seen.append((kwargs["name"], kwargs["tags"]))

    def on_chain_end(self, outputs: Any, **kwargs: Any) -> None:
        self.seen.append(outputs)

    def on_chain_error(self, error: BaseException, **kwargs: Any) -> None:
        self.seen.append(type(error))


def test_callbacks_see_it_as_any_step() -> None:
    watch, checker = Watch(), GroundednessChecker()
    config: Any = {"callbacks": [watch], "tags": ["mine"]}
    found = checker.invoke(SHAPES["documents"](RIGHT), config)
    assert watch.seen == [("GroundednessChecker", ["mine"]), found]
    with pytest.raises(InputError):
        checker.invoke({}, config)
    assert watch.seen[-1] is InputError


def test_it_composes_in_a_chain() -> None:
    ask = RunnableLambda[Any, Any](lambda found: found | {"answer": WRONG})
    chain = ask | RunnablePassthrough.assign(verification=GroundednessChecker())
    given = {"question": QUESTION, "context": [FEE]}
    state = chain.invoke(given)
    assert state["answer"] == WRONG
    assert state["verification"].grounded is False
    parts = list(chain.stream(given))
    assert [part["verification"].grounded for part in parts if "verification" in part] == [False]
    word = ask | GroundednessChecker() | (lambda verification: verification.grounded)
    assert word.invoke(given) is False


class Graph(TypedDict, total=False):
    question: str
    documents: list[Document]
    answer: str
    verification: Verification


def test_it_is_a_node_and_an_edge_of_a_graph() -> None:
    graph: Any = StateGraph(Graph)  # its nodes are typed more narrowly than a Runnable is
    checker = GroundednessChecker()
    graph.add_node("answer", lambda state: {"answer": WRONG if "answer" not in state else RIGHT})
    graph.add_node("verify", RunnablePassthrough.assign(verification=checker))
    graph.add_edge(START, "answer")
    graph.add_edge("answer", "verify")
    graph.add_conditional_edges(
        "verify", lambda state: END if state["verification"].grounded else "answer"
    )
    final = graph.compile().invoke({"question": QUESTION, "documents": [FEE]})
    assert final["answer"] == RIGHT
    assert final["verification"].grounded


@pytest.mark.filterwarnings("error")
def test_in_a_guarded_chain_the_run_has_the_evidence_and_the_ledger_the_verdicts() -> None:
    retriever = FixedRetriever(documents=[FEE])
    plain = retriever | RunnableLambda(lambda _: {"answer": WRONG}) | GroundednessChecker()
    chain: Any = guard(plain)  # `.ctxguard` is no part of its type
    found = chain.invoke(QUESTION)
    assert found.grounded is False
    ledger = chain.ctxguard.last
    assert ledger.verification == found
    assert [one.code for one in ledger.of("flag")] == ["amount-differs"]
    with pytest.raises(InputError, match="no evidence"):
        plain.invoke(QUESTION)


# -- evaluators ----------------------------------------------------------------------------------

CASES = [
    (RIGHT, "grounded", "supports the claim"),
    (WRONG, "contradicted", "“The fee is $500 per month.”"),
    ("The fee goes to Zebulon Quark Ltd.", "not found", "Zebulon"),
    ("I don't know.", "abstained", "nothing is claimed"),
]


def example(**outputs: Any) -> Example:
    return Example(id=uuid.uuid4(), inputs={"question": QUESTION}, outputs=outputs)


@pytest.mark.parametrize(("answer", "value", "comment"), CASES)
def test_langsmith_takes_it_as_a_run_evaluator(answer: str, value: str, comment: str) -> None:
    graded: Any = GroundednessEvaluator()  # typed by the names of its arguments, as LangSmith reads
    evaluator = run_evaluator(graded)
    run = Run(
        id=uuid.uuid4(),
        trace_id=uuid.uuid4(),
        name="chain",
        run_type="chain",
        start_time=datetime.now(UTC),
        inputs={"question": QUESTION},
        outputs={"answer": answer, "context": [FEE]},
    )
    found: Any = evaluator.evaluate_run(run, example())
    assert (found.key, found.value) == ("groundedness", value)
    assert comment in found.comment
    assert (found.score is None) == (value == "abstained")
    assert found.score is None or (found.score >= 0.5) == (value == "grounded")


@pytest.mark.filterwarnings("ignore:'upload_runs' parameter is in beta")
def test_langsmith_evaluates_without_its_service() -> None:
    texts = {"right": RIGHT, "wrong": WRONG}
    examples = [
        Example(
            id=uuid.uuid4(),
            dataset_id=uuid.uuid4(),
            inputs={"question": name},
            outputs={"context": RIGHT},
        )
        for name in texts
    ]

    def target(inputs: dict[str, Any]) -> Any:
        return texts[inputs["question"]]

    results: Any = evaluate(
        target,
        data=examples,
        evaluators=[GroundednessEvaluator()],
        client=Client(api_key="none", info=LangSmithInfo(), auto_batch_tracing=False),
        upload_results=False,
        blocking=True,
    )
    found = {
        row["example"].inputs["question"]: row["evaluation_results"]["results"][0]
        for row in results
    }
    assert {name: one.value for name, one in found.items()} == {
        "right": "grounded",
        "wrong": "contradicted",
    }
    assert {one.key for one in found.values()} == {"groundedness"}


def test_evidence_is_looked_for_in_outputs_then_inputs_then_reference() -> None:
    evaluator = GroundednessEvaluator()
    said, held, other = {"answer": RIGHT}, {"context": [FEE]}, {"context": ["Nothing at all."]}
    assert evaluator(other, {**said, **held})["value"] == "grounded"
    assert evaluator(held, said, other)["value"] == "grounded"
    assert evaluator({}, said, held)["value"] == "grounded"
    assert evaluator(held, {"messages": [AIMessage(RIGHT)]})["value"] == "grounded"
    with pytest.raises(InputError, match="no evidence"):
        evaluator({"question": QUESTION}, said)


@pytest.mark.parametrize(("answer", "value", "comment"), CASES)
async def test_it_has_the_methods_of_a_string_evaluator(
    answer: str, value: str, comment: str
) -> None:
    evaluator = GroundednessEvaluator(Verifier(threshold=0.4))
    found = evaluator.evaluate_strings(prediction=answer, reference=[FEE], input=QUESTION)
    assert found["value"] == value
    assert comment in found["reasoning"]
    assert set(found) == {"score", "value", "reasoning"}
    awaited = await evaluator.aevaluate_strings(prediction=answer, reference=[FEE], input=QUESTION)
    assert awaited == found
    with pytest.raises(InputError, match="no evidence"):
        evaluator.evaluate_strings(prediction=answer)


async def test_it_can_stand_in_for_classic_s_own() -> None:
    from langchain_classic.evaluation import StringEvaluator

    class Ours(GroundednessEvaluator, StringEvaluator):
        def _evaluate_strings(self, **given: Any) -> dict[str, Any]:
            return self.evaluate_strings(**given)

    ours: StringEvaluator = Ours()
    assert ours.evaluation_name == "groundedness"
    assert ours.requires_reference
    found = ours.evaluate_strings(prediction=WRONG, reference=RIGHT, input=QUESTION)
    assert found["value"] == "contradicted"
    assert (await ours.aevaluate_strings(prediction=RIGHT, reference=RIGHT))["score"] == 1.0
