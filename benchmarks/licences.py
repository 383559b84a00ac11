"""What the guard leaves out and what it keeps, on the licences of the installed distributions.

The demo's chain, plain and guarded, is asked some forty questions; nothing is shown, everything is
counted, and the counts are written to `results/licences.json`, one entry per configuration.

    python benchmarks/licences.py                          # no model: tokens are counted
    python benchmarks/licences.py --llm smollm2            # a small model reads and answers

What counts as a copy and as a fact is defined in `ctxguard/demo/measures.py`, which uses none of
ctxguard's own code. Intervals are 95 % percentile bootstrap intervals over the questions; ratios
compare plain and guarded within one run. The corpus is what is installed, so numbers of two
environments differ; the file says what was read.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

import ctxguard
from ctxguard.demo.chains import Setup, builder_for
from ctxguard.demo.corpus import Corpus, read_licences
from ctxguard.demo.measures import DEFINITIONS
from ctxguard.demo.questions import GENERAL, copyright_question, named_holders
from ctxguard.demo.run import Comparison, compare, open_model, policy_for, summarise

RESULTS = Path(__file__).parent / "results" / "licences.json"
TOPICS = (
    "patent licences",
    "warranties",
    "liability for damages",
    "redistribution of source code",
    "redistribution in binary form",
    "endorsement with the names of contributors",
    "contributions to the project",
    "trademarks",
    "termination of the licence",
    "modified files",
    "copyright notices",
    "sublicensing",
)
FORMS = ("What do the licences say about {}?", "Which conditions apply to {}?")
HOLDERS = 9
RESAMPLES = 10_000


def many_questions(corpus: Corpus, *, seed: int) -> tuple[str, ...]:
    """Forty questions: the demo's, two per topic, and holders of drawn distributions."""
    random = Random(seed)
    holders = list(named_holders(corpus))
    drawn = random.sample(holders, min(HOLDERS, len(holders)))
    asked = [*GENERAL, *(copyright_question(name) for name in drawn)]
    asked += [form.format(topic) for topic in TOPICS for form in FORMS]
    random.shuffle(asked)
    return tuple(asked)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """One configuration, measured."""
    corpus = read_licences()
    asked = many_questions(corpus, seed=options.seed)[: options.questions]
    build = builder_for(options.framework)
    with open_model(llm=options.llm) as model:
        pair = build(
            Setup(
                corpus=corpus,
                encoder=options.embeddings,
                endpoint=model.endpoint,
                policy=policy_for(options.policy, model),
                top_k=options.top_k,
            )
        )
        results = [
            compare(pair, question, model, number=number)
            for number, question in enumerate(asked, start=1)
        ]
    return {
        "setup": {
            "framework": options.framework,
            "llm": model.endpoint.model,
            "embeddings": pair.encoder,
            "tokenizer": model.tokenizer.name,
            "policy": options.policy,
            "top_k": options.top_k,
            "seed": options.seed,
            "python": platform.python_version(),
            "versions": _versions(options.framework),
        },
        "corpus": {
            "files": len(corpus.licences),
            "distributions": corpus.distributions,
            "characters": corpus.characters,
            "cut_or_left_out": len(corpus.notes),
            "chunks": pair.chunks,
            "chunks_distinct_in_words": pair.distinct,
        },
        "summary": dataclasses.asdict(summarise(results)),
        "intervals": intervals(results, seed=options.seed),
        "questions": [_row(result) for result in results],
    }


def _versions(framework: str) -> dict[str, str]:
    core = {"langchain": "langchain-core", "llama-index": "llama-index-core"}[framework]
    return {"ctxguard": ctxguard.__version__, core: metadata.version(core)}


def intervals(results: Sequence[Comparison], *, seed: int) -> dict[str, dict[str, float] | None]:
    """Each figure with its 95 % interval over questions; None where nothing was counted."""
    kept = [result.retained for result in results]
    pairs = {
        "copies_left_out": [(k.copies - k.copies_left, k.copies) for k in kept],
        "facts_kept": [(k.facts - len(k.facts_lost), k.facts) for k in kept],
        "wording_kept": [(k.wording, 1.0) for k in kept],
        "sources_named": [
            (len({*r.plain.sources} & {*r.guarded.sources}), len(r.plain.sources)) for r in results
        ],
        "prompt_tokens_ratio": [(r.guarded.prompt_tokens, r.plain.prompt_tokens) for r in results],
        "first_token_ratio": [
            (r.guarded.first_token or 0.0, r.plain.first_token or 0.0) for r in results
        ],
    }
    return {name: _interval(np.array(rows, dtype=float), seed) for name, rows in pairs.items()}


def _interval(rows: Any, seed: int) -> dict[str, float] | None:
    """Ratio of sums, and its percentile interval over resampled questions."""
    if not rows[:, 1].sum():
        return None
    draws = np.random.default_rng(seed).integers(len(rows), size=(RESAMPLES, len(rows)))
    sums = rows[draws].sum(axis=1)
    sums = sums[sums[:, 1] > 0]
    low, high = np.percentile(sums[:, 0] / sums[:, 1], (2.5, 97.5))
    value = rows[:, 0].sum() / rows[:, 1].sum()
    return {"value": round(value, 4), "low": round(low, 4), "high": round(high, 4)}


def _row(result: Comparison) -> dict[str, Any]:
    return {
        "question": result.question,
        "first": result.first,
        "chunks": [len(result.plain.passages), len(result.guarded.passages)],
        "copies": [result.retained.copies, result.retained.copies_left],
        "facts": result.retained.facts,
        "facts_lost": result.retained.facts_lost,
        "wording": round(result.retained.wording, 4),
        "prompt_tokens": [result.plain.prompt_tokens, result.guarded.prompt_tokens],
        "first_token": [result.plain.first_token, result.guarded.first_token],
        "as_sent": result.plain.in_prompt and result.guarded.in_prompt,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure one configuration and write it beside the others."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # pyright: ignore[reportOptionalMemberAccess] -- this file has a docstring
    add = parser.add_argument
    add("--framework", choices=("langchain", "llama-index"), default="langchain")
    add("--llm", choices=("none", "smollm2"), default="none")
    add("--embeddings", choices=("lsa", "minilm"), default="lsa")
    add("--policy", choices=("balanced", "lean"), default="balanced")
    add("--questions", type=int, default=40)
    add("--top-k", type=int, default=10)
    add("--seed", type=int, default=0)
    add("--output", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    measured = measure(options)
    name = f"{options.framework}, {options.embeddings}, {options.llm}, {options.policy}"
    known: dict[str, Any] = {}
    if options.output.exists():
        known = json.loads(options.output.read_text("utf-8"))["runs"]
    known[name] = measured
    options.output.parent.mkdir(parents=True, exist_ok=True)
    document = {"definitions": dict(DEFINITIONS), "runs": dict(sorted(known.items()))}
    options.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(name)
    for figure, interval in measured["intervals"].items():
        if interval:
            value, low, high = (interval[name] for name in ("value", "low", "high"))
            print(f"  {figure:<20} {value:.3f}  [{low:.3f}, {high:.3f}]")


if __name__ == "__main__":
    main()
