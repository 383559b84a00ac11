from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from ctxguard.errors import InputError
from ctxguard.guard import Guard
from ctxguard.ledger import SCHEMA_VERSION, Ledger, Step
from ctxguard.policy import Policy
from ctxguard.stages import Layout
from ctxguard.text.template import Template
from ctxguard.types import Budget, Chunk, Decision, JsonValue, Quote, Segment
from tests.view import samples

everything = pytest.mark.parametrize("name", samples.ALL)

json_values: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


# -- JSON -----------------------------------------------------------------------------------------


@everything
def test_json_brings_back_the_same_ledger(name: str) -> None:
    ledger = samples.ALL[name]()
    text = ledger.to_json()
    assert text.isascii()
    assert Ledger.from_json(text) == ledger
    assert Ledger.from_json(ledger.to_json(indent=2)) == ledger


@given(st.text(st.characters()), st.dictionaries(st.text(), json_values, max_size=3))
def test_any_text_and_metadata_survive(text: str, metadata: dict[str, JsonValue]) -> None:
    chunk = Chunk(id=f"c{text}", text=text, source=text, metadata=metadata, embedding=[0.25, -1.0])
    decision = Decision(
        stage="s",
        action="flag",
        subject=chunk.id,
        code="conflict",
        reason=text,
        score=0.5,
        evidence=(Quote(chunk_id=chunk.id, span=(0, len(text)), text=text),),
        details=metadata,
    )
    ledger = Ledger(
        run_id="r",
        question=text,
        budget=Budget(window=100, floors={"history": 5}),
        chunks=(chunk,),
        decisions=(decision,),
        segments=(Segment(kind="evidence", label=text, tokens=3),),
        steps=(Step(kind="retrieval", name=text, tokens_before=3, tokens_after=3),),
        timings={text: 0.5},
        children=(Ledger(run_id="inner"),),
    )
    assert Ledger.from_json(ledger.to_json()) == ledger


def test_a_score_that_is_no_number_survives() -> None:
    chunk = Chunk(id="c", text="", score=math.nan)
    again = Ledger.from_json(Ledger(run_id="r", chunks=(chunk,)).to_json())
    assert math.isnan(again.chunks[0].score or 0.0)


def test_metadata_that_json_does_not_know_is_written_as_text() -> None:
    chunk = Chunk(id="c", text="", metadata={"path": object()})  # pyright: ignore[reportArgumentType] -- what frameworks hand in
    again = Ledger.from_json(Ledger(run_id="r", chunks=(chunk,)).to_json())
    assert str(again.chunks[0].metadata["path"]).startswith("<object")


@everything
def test_without_content_no_text_is_written(name: str) -> None:
    ledger = samples.ALL[name]()
    text = ledger.to_json(content=False)
    texts = [chunk.text for chunk in ledger.chunks]
    texts += [d.reason for d in ledger.decisions]
    texts += [segment.text for segment in ledger.segments]
    texts += [quote.text for d in ledger.decisions for quote in d.evidence]
    texts += [ledger.question]
    if name != "hostile":  # there, even ids and names are the text
        assert not [t for t in texts if t and json.dumps(t)[1:-1] in text]
    assert "Too Many Requests" not in text
    again = Ledger.from_json(text)
    assert [d.code for d in again.decisions] == [d.code for d in ledger.decisions]
    assert [d.subject for d in again.decisions] == [d.subject for d in ledger.decisions]
    assert again.tokens_in == ledger.tokens_in
    assert again.tokens_used == ledger.tokens_used
    assert ledger.error == "" or again.error


def test_without_content_details_and_metadata_are_gone_at_any_depth() -> None:
    inner = Ledger(
        run_id="i",
        chunks=(Chunk(id="c", text="secret", rendered="secret", metadata={"a": ["secret"]}),),
        decisions=(
            Decision(
                stage="s",
                action="drop",
                subject="c",
                code="k",
                reason="secret",
                details={"text": "secret", "removed": [[0, 6]]},
            ),
        ),
    )
    assert "secret" not in Ledger(run_id="r", children=(inner,)).to_json(content=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "ledger: not JSON"),
        ("{", "ledger: not JSON"),
        ("[]", "ledger: expected a JSON object"),
        ("{}", "ledger.schema_version: None"),
        ('{"schema_version": 99}', "update ctxguard-core"),
        ('{"schema_version": "1"}', "ledger.schema_version: '1'"),
        ('{"schema_version": 1}', "ledger.run_id"),
        ('{"schema_version": 1, "run_id": "r", "decisions": 3}', "ledger.decisions"),
        (
            '{"schema_version": 1, "run_id": "r", "segments": [{"kind": "x"}]}',
            "ledger.segments.0.kind",
        ),
    ],
)
def test_what_is_no_ledger_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        Ledger.from_json(text)
    assert message in str(caught.value)


def test_a_newer_ledger_is_refused_rather_than_misread() -> None:
    data = json.loads(samples.retrieval().to_json())
    data["schema_version"] = SCHEMA_VERSION + 1
    with pytest.raises(InputError, match="is not known here"):
        Ledger.from_json(json.dumps(data))


@pytest.mark.parametrize("version", [1, 2])
def test_a_ledger_of_an_older_schema_is_read(version: int) -> None:
    """As those versions wrote them: without the fields that came later."""
    data = json.loads(samples.retrieval().to_json())
    del data["calls"]
    if version == 1:
        del data["verifications"]
    ledger = Ledger.from_json(json.dumps({**data, "schema_version": version}))
    assert ledger == samples.retrieval()
    assert (ledger.calls, ledger.route) == ((), "")
    assert str(ledger.savings) == "nothing was routed"


# -- reading --------------------------------------------------------------------------------------


def test_of_keeps_the_order_of_the_decisions() -> None:
    ledger = samples.retrieval()
    assert [d.subject for d in ledger.of("drop")] == ["c4", "c5", "c8", "c6", "c7"]
    assert [d.subject for d in ledger.of("keep", "move")] == ["c1", "c2", "c3", "c1"]
    assert ledger.of() == ()


def test_every_drop_can_be_undone() -> None:
    ledger = samples.retrieval()
    assert [chunk.id for chunk in ledger.dropped()] == ["c4", "c5", "c8", "c6", "c7"]
    assert all(ledger.chunk(chunk.id) == chunk for chunk in samples.chunks())


def test_a_chunk_that_was_dropped_twice_is_listed_once() -> None:
    ledger = samples.retrieval()
    assert replace(ledger, decisions=ledger.decisions * 2).dropped() == ledger.dropped()


def test_dropped_messages_are_not_chunks() -> None:
    assert all(c.id.startswith("c") for c in samples.model_call().dropped())


def test_an_unknown_chunk_is_an_error_that_names_it() -> None:
    with pytest.raises(InputError, match="no chunk 'nope'"):
        samples.retrieval().chunk("nope")


def test_conflicts_and_errors_are_found() -> None:
    assert [d.twin for d in samples.retrieval().conflicts] == ["c2"]
    assert [d.stage for d in samples.failed().errors] == ["dedupe", "select"]


def test_tokens_are_those_of_the_steps_and_segments() -> None:
    ledger = samples.model_call()
    assert (ledger.tokens_in, ledger.tokens_kept) == (1560, 610)
    assert ledger.tokens_used == sum(s.tokens for s in ledger.segments) - 1024


def test_a_saved_ledger_says_what_was_cited() -> None:
    chunks = [
        Chunk(id=name, text=f"Fact {name} is {n} metres long.") for n, name in enumerate("abc")
    ]
    policy = Policy(template=Template(chunk="[{number}] {text}"), layout=Layout())
    prepared = Guard(policy).prepare("How long?", chunks)
    saved = Ledger.from_json(prepared.ledger.to_json(content=False))
    assert saved.citations == prepared.citations
    assert sorted(saved.citations.values()) == ["a", "b", "c"]
    assert Ledger(run_id="r").citations == {}


def test_walk_goes_through_nested_ledgers() -> None:
    assert [inner.run_id for inner in samples.agent().walk()] == ["r-7", "r-1", "r-5"]


# -- showing --------------------------------------------------------------------------------------


@everything
def test_a_notebook_gets_text_and_html(name: str) -> None:
    ledger = samples.ALL[name]()
    bundle = ledger._repr_mimebundle_(include=None, exclude=None)
    assert bundle == {"text/plain": str(ledger), "text/html": ledger.to_html()}
