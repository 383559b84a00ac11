"""A store gets one ledger per call of a guarded object, however it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import TextNode

from ctxguard import guard, guarded
from ctxguard.telemetry import LedgerStore, record_to

pytestmark = pytest.mark.anyio


async def test_a_query_engine(tmp_path: Path, corpus: Any) -> None:
    texts = (corpus.notice, corpus.notice, corpus.other_notice)
    index = VectorStoreIndex([TextNode(text=text, id_=str(n)) for n, text in enumerate(texts)])
    engine: Any = guard(index.as_query_engine(similarity_top_k=3))
    streaming: Any = guard(index.as_query_engine(similarity_top_k=3, streaming=True))
    store = LedgerStore(tmp_path / "traces.sqlite3", content=True)
    with record_to(store):
        engine.query(corpus.question)
        await engine.aquery(corpus.question)
        assert "".join(streaming.query(corpus.question).response_gen)
    assert store.count() == 3
    for run in store.list():
        ledger = store.get(run.run_id)
        assert ledger.question == corpus.question
        assert [step.kind for step in ledger.steps] == ["retrieval", "model"]
        assert run.dropped == 1
    plain = index.as_query_engine(similarity_top_k=3)
    with record_to(store), guarded():
        plain.query(corpus.question)
    assert store.count() == 4
    store.close()
