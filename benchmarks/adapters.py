"""What a guarded call costs over the plain one, in microseconds and as a ratio within one run.

1. A retrieval and a model call of either framework, plain and guarded in turn, every question and
   prompt new, so that nothing is found in a cache: with `Policy.off()`, which changes nothing, and,
   for information, with the default policy. The retrievers and models are fakes that do nothing,
   so the ratio is the worst that there is.
2. `guard()` of a `create_agent` graph with eight tools, in milliseconds.

    python benchmarks/adapters.py [--runs 30] [--output benchmarks/results/adapters.json]

Time is the process's own, so that other work on the machine counts little. A run is the median of
100 calls of either side; the interval is over runs.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.fakes import large_agent
from benchmarks.report import environment, interval, write
from ctxguard import Policy, guard

DOCUMENTS = 4
"""LangChain's default; LlamaIndex's is 2."""
CHARACTERS = 1000
CALLS = 100
POLICIES: Mapping[str, Policy] = {"off": Policy.off(), "default": Policy()}
Pair = tuple[str, Any, Callable[[Any, int], object]]
"""Its name, the plain object, and a call of it or of its guarded copy."""


def texts() -> list[str]:
    """Passages that say different things."""
    return [
        " ".join(f"clause {n} of part {part} holds." for n in range(CHARACTERS))[:CHARACTERS]
        for part in range(DOCUMENTS)
    ]


def question(number: int) -> str:
    """A question that was not asked before."""
    return f"What does clause {number} say? " * 4


def langchain() -> Iterator[Pair]:
    """A retriever and a chat model of LangChain."""
    from langchain_core.documents import Document
    from langchain_core.messages import HumanMessage, SystemMessage

    from benchmarks.fakes import IdleModel
    from ctxguard_langchain.testing import FixedRetriever

    documents = [
        Document(text, id=str(n), metadata={"source": "a.pdf", "page": n})
        for n, text in enumerate(texts())
    ]
    yield "LangChain, retrieval", FixedRetriever(documents=documents), _invoke
    prompt = SystemMessage("\n\n".join(texts()))
    yield (
        "LangChain, model call",
        IdleModel(),
        lambda model, number: model.invoke([prompt, HumanMessage(question(number))]),
    )


def _invoke(retriever: Any, number: int) -> object:
    return retriever.invoke(question(number))


def llamaindex() -> Iterator[Pair]:
    """A retriever and a chat model of LlamaIndex."""
    from llama_index.core.base.llms.types import ChatMessage
    from llama_index.core.schema import TextNode

    from benchmarks.fakes import IdleLLM, IdleRetriever

    nodes = [
        TextNode(id_=str(n), text=text, metadata={"file_name": "a.pdf", "page": n})
        for n, text in enumerate(texts())
    ]
    yield (
        "LlamaIndex, retrieval",
        IdleRetriever(nodes),
        lambda retriever, number: retriever.retrieve(question(number)),
    )
    prompt = ChatMessage(role="system", content="\n\n".join(texts()))
    yield (
        "LlamaIndex, model call",
        IdleLLM(max_tokens=1),
        lambda model, number: model.chat([prompt, ChatMessage(content=question(number))]),
    )


def microseconds(work: Callable[[], object]) -> float:
    """Microseconds of this process's own time that one call takes."""
    started = time.process_time_ns()
    work()
    return (time.process_time_ns() - started) / 1000


def overhead(pair: Pair, policy: Policy, runs: int) -> dict[str, Any]:
    """Guarded against plain, one call of either in turn."""
    _, plain, call = pair
    guarded = guard(plain, policy)
    numbers = itertools.count()
    before: list[float] = []
    more: list[float] = []
    ratios: list[float] = []
    for _ in range(runs + 1):  # the first run warms up
        both = [
            (
                microseconds(lambda: call(plain, next(numbers))),
                microseconds(lambda: call(guarded, next(numbers))),
            )
            for _ in range(CALLS)
        ]
        one = statistics.median(each for each, _ in both)
        other = statistics.median(each for _, each in both)
        before.append(one)
        more.append(other - one)
        ratios.append(other / one)
    return {
        "overhead_us": interval(more[1:]),
        "ratio": interval(ratios[1:]),
        "plain_us": interval(before[1:]),
    }


def guarding(runs: int) -> dict[str, Any]:
    """guard() on a new agent each time, as an application does at its start."""
    guard(large_agent())  # dynamic classes are made once per class
    agents = [large_agent() for _ in range(runs)]
    times = [microseconds(lambda agent=agent: guard(agent)) / 1000 for agent in agents]
    return {"guard_ms": interval(times)}


def measured(runs: int) -> dict[str, Any]:
    """Overhead by what is called and by policy."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of what the frameworks import
        pairs = [*langchain(), *llamaindex()]
    return {
        pair[0]: {name: overhead(pair, policy, runs) for name, policy in POLICIES.items()}
        for pair in pairs
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/adapters.json"))
    options = parser.parse_args(arguments)
    write(
        options.output,
        {
            "what": "overhead of a guarded call over the plain call of a fake that does nothing",
            "environment": environment(),
            "runs": options.runs,
            "calls": measured(options.runs),
            "guard_create_agent": guarding(options.runs),
        },
    )


if __name__ == "__main__":
    main()
