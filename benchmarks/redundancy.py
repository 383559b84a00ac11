"""Copies out, versions kept: ours and the peers on the same pools, in one run.

    python benchmarks/redundancy.py [--data DIR] [--pools 300]

Pools: clauses of contracts (CUAD, CC BY 4.0, The Atticus Project) with copies and one-fact edits
made here (`pools.py`). Data is read from `--data`, else CTXGUARD_DATA, else ../shared/data;
`redundancy/cuad_clauses.jsonl.gz` holds a contract per row: contract, clauses {category: [clause]}.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.pools import Pool, pool_of
from benchmarks.report import environment, interval, write
from ctxguard import Chunk, Guard, Policy
from ctxguard.stages import Deduplicate

Filter = Callable[[Sequence[str]], set[int]]
"""From texts, best-ranked first, to the indices of those that stay."""


def clauses(folder: Path, number: int) -> list[str]:
    """Clauses of 25 to 180 words, one contract after the other, shuffled with a fixed seed."""
    path = folder / "redundancy" / "cuad_clauses.jsonl.gz"
    if not path.exists():
        sys.exit(
            f"{path} is missing. Point --data or CTXGUARD_DATA to a folder that holds "
            "redundancy/cuad_clauses.jsonl.gz (CUAD v1, CC BY 4.0, The Atticus Project)."
        )
    found: list[str] = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            for texts in json.loads(line)["clauses"].values():
                found += [text for text in texts if 25 <= len(text.split()) <= 180]
    found = sorted(set(found))
    random.Random(1).shuffle(found)
    return found[:number]


def ctxguard_filter(texts: Sequence[str]) -> set[int]:
    """Ours, as it comes."""
    chunks = [Chunk(id=str(index), text=text) for index, text in enumerate(texts)]
    prepared = Guard(Policy(select=None, layout=None)).prepare("", chunks)
    return {int(chunk.id) for chunk in prepared.chunks}


def containment(texts: Sequence[str]) -> set[int]:
    """The classic: word 5-shingles, containment of 0.8 and more is a copy."""
    shingles = [_shingles(text) for text in texts]
    kept: list[int] = []
    for index, own in enumerate(shingles):
        if all(len(own & shingles[k]) < 0.8 * min(len(own), len(shingles[k])) for k in kept):
            kept.append(index)
    return set(kept)


def _shingles(text: str) -> set[tuple[str, ...]]:
    words = text.lower().split()
    return {tuple(words[at : at + 5]) for at in range(max(1, len(words) - 4))}


FILTERS: Mapping[str, Filter] = {"ctxguard": ctxguard_filter, "containment .8": containment}


def score(pools: Sequence[Pool], keep: Filter) -> dict[str, Any]:
    """Shares over pools, with bootstrap intervals over pools."""
    removed, right, original = [], [], []
    kept: dict[str, list[float]] = defaultdict(list)
    left: dict[str, list[float]] = defaultdict(list)
    for pool in pools:
        stays = keep([passage.text for passage in pool.passages])
        gone = {index for index in range(len(pool.passages)) if index not in stays}
        wrong = 0
        for index, passage in enumerate(pool.passages):
            if passage.role == "copy":
                left[passage.kind].append(float(index in gone))
                removed.append(float(index in gone))
                wrong += index not in gone
            elif passage.role == "version":
                kept[passage.kind].append(float(index in stays))
                wrong += index in gone
        original.append(float(0 in stays))
        right.append(float(wrong == 0 and 0 in stays))
    mean = statistics.fmean
    versions = [value for values in kept.values() for value in values]
    return {
        "copies removed": interval(removed, of=mean),
        "versions kept": interval(versions, of=mean),
        "pools entirely right": interval(right, of=mean),
        "better-ranked copy kept": interval(original, of=mean),
        "by copy": {kind: round(mean(values), 3) for kind, values in sorted(left.items())},
        "by edit": {kind: round(mean(values), 3) for kind, values in sorted(kept.items())},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description="Copies out, versions kept.")
    default = os.environ.get("CTXGUARD_DATA", "../shared/data")
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--pools", type=int, default=300)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/redundancy.json"))
    options = parser.parse_args(arguments)
    texts = clauses(options.data, options.pools)
    pools = [pool_of(text, seed, (texts[seed - 1],)) for seed, text in enumerate(texts)]
    write(
        options.output,
        {
            "what": "contract pools: a clause, copies of it, one-fact edits of it",
            "data": "CUAD v1 clauses, developers' half (tuned on)",
            "environment": environment(),
            "pools": len(pools),
            "results": {name: score(pools, keep) for name, keep in FILTERS.items()},
            "dedupe": repr(Deduplicate()),
        },
    )


if __name__ == "__main__":
    main()
