from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from ctxguard.demo.chains import Framework, Pair, Setup, builder_for
from ctxguard.demo.corpus import read_licences
from ctxguard.demo.run import Model, compare, open_model
from ctxguard.policy import Policy

QUESTION = "Which warranties are there?"
pytestmark = [
    pytest.mark.filterwarnings("ignore:.langchain-community. is being sunset:DeprecationWarning"),
    pytest.mark.parametrize("framework", ["langchain", "llama-index"]),
]


def build(framework: Framework, environment: Path, model: Model, *, policy: Policy) -> Pair:
    setup = Setup(
        corpus=read_licences(metadata.distributions(path=[str(environment)])),
        encoder="lsa",
        endpoint=model.endpoint,
        policy=policy,
        top_k=6,
    )
    return builder_for(framework)(setup)


def test_the_guarded_chain_reads_less_and_keeps_every_fact(
    framework: Framework, environment: Path
) -> None:
    with open_model(llm="none") as model:
        pair = build(framework, environment, model, policy=Policy(tokenizer="o200k_base"))
        result = compare(pair, QUESTION, model, number=1)
    assert not result.ledger.errors
    assert pair.distinct < pair.chunks
    assert len(result.plain.passages) == 6
    assert result.retained.copies > result.retained.copies_left == 0
    assert not result.retained.facts_lost
    assert set(result.guarded.sources) == set(result.plain.sources)
    assert result.guarded.prompt_tokens < result.plain.prompt_tokens
    assert result.plain.in_prompt
    assert result.guarded.in_prompt
    assert result.plain.first_token is None
    assert pair.plain.ledger() is None
    assert result.ledger.question == QUESTION


def test_with_everything_switched_off_both_sides_send_the_same(
    framework: Framework, environment: Path
) -> None:
    with open_model(llm="none") as model:
        pair = build(framework, environment, model, policy=Policy.off())
        prompts: list[str] = []
        for chain in (pair.plain, pair.guarded):
            model.wire.exchanges.clear()
            assert "".join(chain.stream(QUESTION)) == ""
            prompts += [exchange.prompt for exchange in model.wire.exchanges]
    assert len(prompts) == 2
    assert prompts[0] == prompts[1]


def test_two_builds_retrieve_the_same(framework: Framework, environment: Path) -> None:
    found: list[object] = []
    for _ in range(2):
        with open_model(llm="none") as model:
            pair = build(framework, environment, model, policy=Policy(tokenizer="o200k_base"))
            result = compare(pair, QUESTION, model, number=2)
            found.append((result.plain.passages, result.guarded.passages, result.ledger.decisions))
    assert found[0] == found[1]
