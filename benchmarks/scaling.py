"""How the cost of deduplication grows with the pool, and what an index by MinHash would change.

Per chunk of 1,000 characters, relative to a pool of 1,000 chunks. Nine of ten chunks are distinct
passages; the tenth is a copy or another version of one of them. Beside it, the same for the
quadratic matrix of cosines that LangChain community's `EmbeddingsRedundantFilter` computes, where
it is installed, with vectors that cost nothing.

    python benchmarks/scaling.py [--sizes 1000 10000 100000] [--output …/scaling.json]
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.report import environment, write
from ctxguard.stages import Deduplicate
from ctxguard.stages._shingles import candidates, containment, shingles_of
from ctxguard.text.analysis import Analyzer
from ctxguard.text.lexicon import hash_words
from ctxguard.text.tokens import tokenizer_for
from ctxguard.types import Chunk, Context

CHARACTERS = 1000
VOCABULARY = 20_000
QUADRATIC_LIMIT = 10_000
"""Chunks beyond which the matrix of cosines would take more than 800 MB."""
_ONSETS = (*"bcdfghlmnprstv", "br", "cr", "dr", "fr", "gr", "pl", "pr", "sp", "st", "tr")
_RHYMES = (
    *"aeiou",
    "al",
    "an",
    "ar",
    "ed",
    "el",
    "en",
    "er",
    "in",
    "is",
    "or",
    "um",
    "ment",
    "tion",
)
_SYLLABLES = [onset + rhyme for onset in _ONSETS for rhyme in _RHYMES]


def passages(count: int, seed: int = 11) -> list[str]:
    """Made-up clauses of `CHARACTERS` characters: words by Zipf's law, numbers, full stops."""
    rng = random.Random(seed)
    words = [
        "".join(rng.choices(_SYLLABLES, k=1 + min(3, rank // 300) + rng.randrange(2)))
        for rank in range(VOCABULARY)
    ]
    weights = list(accumulate(1 / (rank + 10) for rank in range(VOCABULARY)))
    return [_passage(rng, words, weights) for _ in range(count)]


def _passage(rng: random.Random, words: Sequence[str], weights: Sequence[float]) -> str:
    said: list[str] = []
    for number, word in enumerate(rng.choices(words, cum_weights=weights, k=CHARACTERS // 5)):
        if number % 19 == 0:
            said += [f"{rng.randrange(1, 400)} days.", word.capitalize()]
        else:
            said.append(word)
    return " ".join(said)[:CHARACTERS]


def pool(count: int) -> list[str]:
    """Distinct passages, and one in ten a copy (wrapped otherwise) or a version of one of them."""
    rng = random.Random(count)
    distinct = passages(count - count // 10)
    others = [_variation(rng.choice(distinct), rng) for _ in range(count // 10)]
    found = distinct + others
    rng.shuffle(found)
    return found


def _variation(passage: str, rng: random.Random) -> str:
    words = passage.split()
    if rng.random() < 0.5:
        words[rng.randrange(len(words))] = str(rng.randrange(1000))
    return "\n".join(" ".join(words[at : at + 9]) for at in range(0, len(words), 9))


def seconds(work: Callable[[], object]) -> float:
    """Seconds of this process's own time, so that neighbours on the machine count less."""
    started = time.process_time()
    work()
    return time.process_time() - started


def deduplicate(texts: Sequence[str]) -> tuple[float, float]:
    """Seconds for tokenising, then for Deduplicate with an analyzer that knows the tokens."""
    chunks = tuple(Chunk(id=str(place), text=text) for place, text in enumerate(texts))
    analyzer = Analyzer(tokenizer_for("o200k_base"))
    held: list[object] = []
    tokenising = seconds(lambda: held.append(analyzer.analyse_all(texts)))
    stage = seconds(lambda: Deduplicate()(Context(chunks=chunks, analyzer=analyzer)))
    return tokenising, stage


def measured(sizes: Sequence[int]) -> dict[str, Any]:
    """Microseconds per chunk, and what that is relative to the first size."""
    results: dict[str, Any] = {}
    first = 0.0
    for size in sizes:
        texts = pool(size)
        tokenising, stage = min(deduplicate(texts) for _ in range(3 if size < 50_000 else 1))
        per_chunk = (tokenising + stage) / size
        first = first or per_chunk
        results[str(size)] = {
            "microseconds_per_chunk": round(per_chunk * 1e6, 1),
            "to_tokenising": round((tokenising + stage) / tokenising, 2),
            "to_first": round(per_chunk / first, 2),
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }
    return results


# -- others ---------------------------------------------------------------------------------------


def quadratic(sizes: Sequence[int]) -> dict[str, Any]:
    """The same of LangChain community's filter, with vectors of 64 numbers that are at hand."""
    try:
        transformers = import_module("langchain_community.document_transformers")
        from langchain_core.documents import Document
        from langchain_core.embeddings import Embeddings
    except ImportError:
        return {"note": "langchain-community is not installed"}

    class AtHand(Embeddings):
        """Random vectors: no two are near, so that nothing is filtered."""

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            rng = random.Random(len(texts))
            return [[rng.gauss(0, 1) for _ in range(64)] for _ in texts]

        def embed_query(self, text: str) -> list[float]:
            return self.embed_documents([text])[0]

    def per_chunk(size: int) -> float:
        documents = [Document(page_content=str(number)) for number in range(size)]
        work = transformers.EmbeddingsRedundantFilter(embeddings=AtHand())
        vectors = seconds(lambda: AtHand().embed_documents([""] * size))
        return (seconds(lambda: work.transform_documents(documents)) - vectors) / size

    results: dict[str, Any] = {}
    first = 0.0
    for size in sizes:
        if size > QUADRATIC_LIMIT:
            results[str(size)] = {"note": f"not run: a matrix of {size * size * 8 / 1e9:.0f} GB"}
            continue
        taken = per_chunk(size)
        first = first or taken
        results[str(size)] = {
            "microseconds_per_chunk": round(taken * 1e6, 1),
            "to_first": round(taken / first, 2),
        }
    return results


def indexes(size: int) -> dict[str, Any]:
    """Ways to find candidates: the exact index against MinHash LSH, on one pool.

    For each the microseconds per chunk from text to candidates, and the share of the pairs found
    that have at least half the smaller text's shingles in common.
    """
    texts = pool(size)
    ways = {"exact": exact_index, "datasketch": datasketch_index, "rensa": rensa_index}
    truth = set(exact_index(texts, least=0.5))
    results: dict[str, Any] = {}
    for name, way in ways.items():
        found: set[tuple[int, int]] = set()
        try:
            taken = seconds(lambda way=way, found=found: found.update(way(texts)))
        except ImportError:
            results[name] = {"note": f"{name} is not installed"}
            continue
        results[name] = {
            "microseconds_per_chunk": round(taken / size * 1e6, 1),
            "pairs_found": round(len(truth & found) / max(1, len(truth)), 4),
        }
    return results


def exact_index(texts: Sequence[str], least: float = 0.0) -> Iterator[tuple[int, int]]:
    """Pairs by what Deduplicate uses; with `least` those whose containment is at least that."""
    words = [found.hashes for found in hash_words(texts)]
    for worse, found in enumerate(candidates(words, 5, most=16)):
        for better, at_most in found:
            if at_most >= least and (not least or _containment(words, worse, better) >= least):
                yield worse, better


def _containment(words: Sequence[Any], worse: int, better: int) -> float:
    return containment(shingles_of(words[worse], 5), shingles_of(words[better], 5))


def _shingles(text: str) -> set[str]:
    words = text.lower().split()
    return {" ".join(words[at : at + 5]) for at in range(max(1, len(words) - 4))}


def datasketch_index(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """MinHash LSH of datasketch, 128 permutations, for a Jaccard index of 0.4."""
    library: Any = import_module("datasketch")
    index = library.MinHashLSH(threshold=0.4, num_perm=128)
    for place, text in enumerate(texts):
        sketch = library.MinHash(num_perm=128)
        sketch.update_batch([shingle.encode() for shingle in _shingles(text)])
        yield from ((place, int(better)) for better in index.query(sketch))
        index.insert(place, sketch)


def rensa_index(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """R-MinHash LSH of rensa, 128 permutations in 32 bands."""
    library: Any = import_module("rensa")
    index = library.RMinHashLSH(threshold=0.4, num_perm=128, num_bands=32)
    for place, text in enumerate(texts):
        sketch = library.RMinHash(num_perm=128, seed=42)
        sketch.update(list(_shingles(text)))
        yield from ((place, int(better)) for better in index.query(sketch))
        index.insert(place, sketch)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/scaling.json"))
    options = parser.parse_args(arguments)
    write(
        options.output,
        {
            "what": "deduplication per chunk of 1,000 characters, relative to the first size",
            "environment": environment(),
            "deduplicate": measured(options.sizes),
            "redundant_filter": quadratic(options.sizes),
            "indexes": indexes(min(10_000, max(options.sizes))),
        },
    )


if __name__ == "__main__":
    main()
