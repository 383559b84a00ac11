"""What guarding costs, as ratios within one run.

1. `prepare` of 50 and of 500 chunks of 1,000 characters, nothing cached, against encoding the same
   chunks once with tiktoken. Pools: made-up clauses, which need no data; of licences, distinct
   passages, passages as they come (a third share long runs of words with another), and passages
   of which half are copies or versions of the other half.
2. `guard()` of a `create_agent` graph with two tools, in milliseconds and against an `invoke`.

    python benchmarks/overhead.py [--runs 40] [--output benchmarks/results/overhead.json]

The licences are those of the installed distributions: real, and present on every machine. Time is
the process's own, the least of several runs in a row for either side of a pair.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import tiktoken

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.report import environment, interval, write
from benchmarks.scaling import passages as made_up
from ctxguard import Guard, Policy
from ctxguard.demo.corpus import read_licences
from ctxguard.text.tokens import tokenizer_for

CHUNKS = 50
MANY = 500
CHARACTERS = 1000


def passages(seed: int) -> dict[str, list[str]]:
    """Pools of passages of `CHARACTERS` characters, the easiest first."""
    rng = random.Random(seed)
    text = "\n\n".join(sorted({licence.text for licence in read_licences().licences}))
    starts = [rng.randrange(len(text) - CHARACTERS) for _ in range(CHUNKS * 20)]
    found = [text[start : start + CHARACTERS] for start in starts]
    distinct = _distinct(found)[:CHUNKS]
    half = distinct[: CHUNKS // 2]
    mixed = [*half, *(_other_version(passage, rng) for passage in half)]
    rng.shuffle(mixed)
    return {
        "made-up clauses": made_up(CHUNKS, seed),
        "made-up clauses, 500": made_up(MANY, seed),
        "distinct passages": distinct,
        "passages of licences as they come": found[:CHUNKS],
        "half copies and versions": mixed,
    }


def _distinct(passages: Sequence[str]) -> list[str]:
    """Those of whose word pairs at most a third stood in an earlier one."""
    kept: list[str] = []
    seen: set[tuple[str, str]] = set()
    for passage in passages:
        words = passage.split()
        pairs = set(pairwise(words))
        if pairs and len(pairs & seen) <= len(pairs) / 3:
            kept.append(passage)
            seen |= pairs
    return kept


def _other_version(passage: str, rng: random.Random) -> str:
    """A copy, wrapped otherwise, of which every second differs in one word."""
    words = passage.split()
    if rng.random() < 0.5:
        words[rng.randrange(len(words))] = str(rng.randrange(1000))
    return "\n".join(" ".join(words[at : at + 9]) for at in range(0, len(words), 9))


def seconds(work: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def least(work: Callable[[], object]) -> float:
    """Seconds of this process's own time, the least of three calls."""
    times: list[float] = []
    for _ in range(3):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)


def ratio_to_encoding(runs: int) -> dict[str, Any]:
    """Guard against tiktoken, in pairs, on the same chunks."""
    policy = Policy(tokenizer=tokenizer_for("o200k_base"))  # finds tables where they are
    encoding = tiktoken.get_encoding("o200k_base")
    results: dict[str, Any] = {}
    for name, pool in passages(seed=7).items():
        for share in (None, 0.25):
            tokens = sum(len(encoding.encode(text)) for text in pool)
            budget = None if share is None else int(tokens * share)
            ratios: list[float] = []
            encode: list[float] = []
            for _ in range(runs + 3):
                once = least(lambda pool=pool: [encoding.encode(text) for text in pool])
                guarded = least(
                    lambda pool=pool, budget=budget: Guard(policy).prepare(
                        "Which warranty is given for the work?", pool, budget=budget
                    )
                )
                ratios.append(guarded / once)
                encode.append(once)
            results[name if share is None else f"{name}, a quarter kept"] = {
                "ratio": interval(ratios[3:]),
                "encode_ms": round(statistics.median(encode[3:]) * 1000, 2),
            }
    return results


def guarding_an_agent(runs: int) -> dict[str, Any]:
    """guard() on a create_agent graph, and what one call of the plain agent takes."""
    from benchmarks.fakes import agent
    from ctxguard import guard

    plain = agent()
    guard(plain)  # dynamic classes are made once per class
    times = [seconds(lambda: guard(plain)) * 1000 for _ in range(runs)]
    first_in_process = seconds(lambda: guard(agent())) * 1000
    call = [
        seconds(lambda: plain.invoke({"messages": [("user", "q")]})) * 1000 for _ in range(runs)
    ]
    return {
        "guard_ms": interval(times),
        "new_agent_ms": round(first_in_process, 2),
        "plain_call_ms": interval(call),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/overhead.json"))
    options = parser.parse_args(arguments)
    write(
        options.output,
        {
            "what": "guard overhead; ratio: prepare / tiktoken encode of the same chunks",
            "environment": environment(),
            "runs": options.runs,
            "prepare": ratio_to_encoding(options.runs),
            "guard_create_agent": guarding_an_agent(options.runs),
        },
    )


if __name__ == "__main__":
    main()
