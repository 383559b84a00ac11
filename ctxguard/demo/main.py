"""`ctxguard demo` from its options to its last line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from rich.console import Console

from ctxguard.demo import show
from ctxguard.demo.chains import Framework, Pair, Setup, builder_for
from ctxguard.demo.corpus import Corpus, read_licences
from ctxguard.demo.document import to_json
from ctxguard.demo.questions import questions
from ctxguard.demo.run import (
    Comparison,
    Model,
    PolicyName,
    compare,
    open_model,
    policy_for,
    summarise,
)
from ctxguard.errors import InputError

__all__ = ["Options", "demo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says."""

    framework: Framework = "langchain"
    llm: Literal["smollm2", "none"] = "smollm2"
    embeddings: Literal["lsa", "minilm"] = "lsa"
    questions: int = 8
    policy: PolicyName = "lean"
    top_k: int = 8
    path: Path | None = None
    """A folder of installed distributions; None: this environment."""
    json: bool = False

    def __post_init__(self) -> None:
        """Reject numbers that ask for nothing."""
        for name, value in (("questions", self.questions), ("top-k", self.top_k)):
            if value < 1:
                raise InputError(f"--{name}: expected at least 1, got {value}")


def demo(options: Options, console: Console) -> None:
    """Run the demo.

    Args:
        options: the command line's.
        console: where it is shown; with `options.json` only the document goes to standard output.

    Raises:
        MissingDependencyError: when packages are missing; the message has the install line.
        InputError: when no licence is found.
        ServerError: when the model's server does not start.
    """
    build = builder_for(options.framework)
    with console.status("reading the licences of what is installed"):
        corpus = read_licences(_distributions(options.path))
    asked = questions(corpus)[: options.questions]
    with open_model(llm=options.llm) as model:
        with console.status("indexing them"):
            pair = build(_setup(options, corpus, model))
        if not options.json:
            console.print(_introduction(options, corpus, pair, model))
        results = _ask(options, pair, asked, model, console)
    result = summarise(results)
    if options.json:
        run = {
            "framework": options.framework,
            "llm": model.endpoint.model,
            "embeddings": pair.encoder,
            "tokenizer": model.tokenizer.name,
            "top_k": options.top_k,
            "chunks": pair.chunks,
            "chunks_distinct_in_words": pair.distinct,
        }
        print(to_json(results, result, run=run, corpus=corpus))  # noqa: T201 -- the document is the result
        return
    console.print(show.one_ledger(_telling(results).ledger))
    console.print(show.summary(result, framework=options.framework))


def _distributions(path: Path | None) -> Iterable[metadata.Distribution] | None:
    return None if path is None else metadata.distributions(path=[str(path)])


def _setup(options: Options, corpus: Corpus, model: Model) -> Setup:
    return Setup(
        corpus=corpus,
        encoder=options.embeddings,
        endpoint=model.endpoint,
        policy=policy_for(options.policy, model),
        top_k=options.top_k,
    )


def _introduction(
    options: Options, corpus: Corpus, pair: Pair, model: Model
) -> show.RenderableType:
    return show.introduction(
        corpus,
        pair,
        model,
        framework=options.framework,
        policy=options.policy,
        top_k=options.top_k,
    )


def _ask(
    options: Options, pair: Pair, asked: tuple[str, ...], model: Model, console: Console
) -> list[Comparison]:
    results: list[Comparison] = []
    for number, question in enumerate(asked, start=1):
        with show.answering(console, question, number=number, of=len(asked)) as watch:
            result = compare(pair, question, model, number=number, watch=watch)
        if not options.json:
            console.print(show.comparison(result))
        results.append(result)
    return results


def _telling(results: list[Comparison]) -> Comparison:
    """The question whose ledger leaves something out and is the shortest to read."""
    return min(results, key=lambda r: (not r.ledger.of("drop"), len(str(r.ledger).splitlines())))
