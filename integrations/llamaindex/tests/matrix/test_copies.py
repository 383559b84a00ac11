"""Copies of a guarded object are guarded, whatever kind it is and however it was copied.

What pickling makes of each kind is compared in `test_contracts`: LlamaIndex leaves out what cannot
be pickled, a script of the tests too, so not every pickle can be called.
"""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import SummaryIndex
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import TextNode

import ctxguard
from ctxguard_llamaindex.testing import ScriptedLLM
from integrations.llamaindex.tests.matrix.test_contracts import SHAPES
from integrations.llamaindex.tests.matrix.world import Shape, World, wait_for

guard: Any = ctxguard.guard  # its result has `.ctxguard`, which its type does not say

pytestmark = [
    pytest.mark.slow,  # each shape is made and called once for each way to copy it
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ctxguard.CoverageWarning"),
]


def model_copy(obj: Any) -> Any:
    return obj.model_copy()


def deep_model_copy(obj: Any) -> Any:
    return obj.model_copy(deep=True)


WAYS_TO_COPY: tuple[Callable[[Any], Any], ...] = (
    copy.copy,
    copy.deepcopy,
    model_copy,
    deep_model_copy,
)


def can(how: Callable[[Any], Any], obj: Any) -> bool:
    """Whether LlamaIndex's own objects of this kind can be copied so."""
    try:
        how(obj)
    except Exception:
        return False
    return True


def decided(guarded: Any, calls: int) -> list[Any]:
    """Steps and decisions of the last calls."""
    return [
        ([step.kind for step in ledger.steps], [d.code for d in ledger.of("drop")], ledger.error)
        for ledger in guarded.ctxguard.ledgers[-calls:]
    ]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_copies(shape: Shape, corpus: Any, nodes: Any, index: Any, tmp_path: Path) -> None:
    way = next(way for way in shape.ways if not way.streaming)

    def make() -> tuple[World, Any]:
        """New ones each time: calls change a memory."""
        (folder := tmp_path / str(len(list(tmp_path.iterdir())))).mkdir()
        llm = ScriptedLLM(script=shape.script)
        world = World(corpus=corpus, nodes=nodes, index=index, llm=llm, folder=folder)
        return world, shape.make(world)

    world, obj = make()
    guarded = guard(obj)
    wait_for(way.call(guarded, world))
    expected = decided(guarded, way.calls)
    copied = [how for how in WAYS_TO_COPY if can(how, make()[1])]
    assert copy.copy in copied
    for how in copied:
        world, obj = make()
        new = how(guard(obj))
        wait_for(way.call(new, world))
        assert decided(new, way.calls) == expected, how.__name__
        assert type(new).__mro__[1] is type(obj)


_ANOTHER = """
import pickle, sys
from llama_index.core.utils import get_tokenizer
get_tokenizer()  # with the tables in LlamaIndex's package; a pickle alone would download them
engine = pickle.load(sys.stdin.buffer)
response = engine.query("What is the notice period?")
steps = [step.kind for step in engine.ctxguard.last.steps]
print(type(engine).__name__, len(response.source_nodes), *steps)
"""


def test_another_process(corpus: Any) -> None:
    """What a worker does that was spawned, and has imported nothing yet."""
    nodes = [TextNode(text=corpus.notice) for _ in range(2)]
    retriever = SummaryIndex(nodes).as_retriever()
    engine = guard(RetrieverQueryEngine.from_args(retriever, llm=MockLLM(max_tokens=3)))
    command = [sys.executable, "-c", _ANOTHER]
    done = subprocess.run(
        command, input=pickle.dumps(engine), capture_output=True, timeout=120, check=False
    )
    assert done.stdout.split() == [b"RetrieverQueryEngine", b"1", b"retrieval", b"model"], (
        done.stderr
    )
