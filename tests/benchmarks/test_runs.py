"""The benchmarks themselves, on a handful of cases with peers that are easy to foresee."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import ours, redundancy, selection
from benchmarks.cases import contract_cases
from benchmarks.cost import Meter
from benchmarks.data import read
from benchmarks.embeddings import CachedEncoder
from benchmarks.merging import merged, options_for
from benchmarks.peers.base import Filter, FilterPeer, Question, SelectorPeer, Source
from benchmarks.peers.registry import filters, selectors
from benchmarks.peers.shingles import containment
from tests.benchmarks.test_cases import CONTRACTS

METER = Meter(None, repeats=1)
BREAD = "Bread is baked from flour, water, salt and yeast."
QUESTION = Question(
    id="1",
    group="1",
    text="When does the tenant give notice?",
    chunks=(
        Source(
            title="A",
            text="The tenant gives notice in May.",
            sentences=("The tenant gives notice in May.",),
        ),
        Source(
            title="B",
            text=BREAD,
            sentences=(BREAD,),
        ),
    ),
    support=("The tenant gives notice in May.",),
    answers=("May",),
)


def keep_all(texts: Sequence[str]) -> Mapping[int, str]:
    return dict(enumerate(texts))


def keep_first(texts: Sequence[str]) -> Mapping[int, str]:
    return {0: texts[0]}


def test_a_peer_that_keeps_all_keeps_every_version_and_removes_nothing() -> None:
    peer = FilterPeer(name="all", at=lambda _: keep_all)
    measured = redundancy.measure_cases(contract_cases(CONTRACTS, 4), [peer], METER)
    found = measured["systems"]["all"]
    assert measured["cases"] + measured["tuning cases"] == 4
    assert found["versions kept"]["value"] == 1.0
    assert found["copies removed"]["value"] == 0.0
    assert found["pools entirely right"]["value"] == 0.0
    assert all(share == 0.0 for share, _ in found["by copy"].values())


def test_a_sweep_runs_with_its_default_and_with_its_best() -> None:
    cases = contract_cases(CONTRACTS, 3)
    right = {
        tuple(case.texts): {
            i: item.text for i, item in enumerate(case.items) if item.role != "copy"
        }
        for case in cases
    }

    def at(value: float) -> Filter:
        return (lambda texts: right[tuple(texts)]) if value == 0.5 else keep_all

    peer = FilterPeer(name="p", setting="s", at=at, default=1.0, sweep=(0.0, 0.5, 1.0))
    assert redundancy.settings(peer, cases) == {"p 1 (default)": 1.0, "p 0.5 (tuned)": 0.5}
    measured = redundancy.measure_cases(cases, [peer], METER)["systems"]
    assert measured["p 0.5 (tuned)"]["pools entirely right"]["value"] == 1.0
    assert measured["p 1 (default)"]["pools entirely right"]["value"] == 0.0


def test_pairs_count_contradictions_and_entailments() -> None:
    pairs = [("a", "b", label) for label in ("entailment", "contradiction") * 10]
    peer = FilterPeer(name="first", at=lambda _: keep_first)
    found = redundancy.measure_sick(pairs, [peer])["systems"]["first"]
    assert found["contradictions dropped"]["value"] == 1.0
    assert found["entailments"]["recall"]["value"] == 1.0
    assert found["entailments"]["precision"]["value"] == 0.5


def test_ours_keeps_a_version_and_drops_a_copy() -> None:
    clause = "The tenant shall give notice of at least 30 days before the end of the month."
    kept = ours.filter_peer().at(0)([clause, clause.replace("30", "60"), f"{clause}\n"])
    assert set(kept) == {0, 1}
    similarity = ours.filter_peer().similarity
    assert similarity is not None
    same, other = similarity([(clause, clause + "\n"), (clause, clause.replace("30", "60"))])
    assert same > 0
    assert other == 0


def test_a_system_over_its_budget_is_counted_as_such() -> None:
    everything = SelectorPeer(name="all", select=lambda q, _: [c.text for c in q.chunks])
    found = selection.measure([QUESTION], everything, 0.5)
    assert found["over budget"] == 1.0
    assert found["tokens used"]["value"] > 1.9
    assert found["support recall"]["value"] == 1.0
    nothing = SelectorPeer(name="none", select=lambda *_: [])
    found = selection.measure([QUESTION], nothing, 0.5)
    assert found["over budget"] == 0.0
    assert found["all support kept"]["value"] == 0.0
    assert found["answer kept"]["value"] == 0.0


def test_ours_is_within_the_budget() -> None:
    found = selection.measure([QUESTION], ours.selector_peer(), 0.5)
    assert found["over budget"] == 0.0
    assert found["support recall"]["value"] == 1.0


def test_a_contract_s_questions_share_its_chunks() -> None:
    texts = [{"contract": name, "text": f"{name} is governed by law. " * 9} for name in "abc"]
    rows = [
        {"id": f"{name}{number}", "chunks": name, "question": "?", "support": ["law"]}
        for name in "abc"
        for number in range(3)
    ]
    found = selection.contracts(rows, texts, 2)
    assert len(found) == 4
    assert len({question.group for question in found}) == 2
    assert all(question.chunks for question in found)


def test_vectors_are_computed_once_until_forgotten() -> None:
    asked: list[str] = []

    def encode(texts: Sequence[str]) -> Any:
        asked.extend(texts)
        return [[3.0, 4.0]] * len(texts)

    encoder = CachedEncoder("two", encode)
    assert np.allclose(encoder(["a", "b", "a"]), [[0.6, 0.8]] * 3)
    encoder(["b"])
    assert asked == ["a", "b"]
    encoder.forget()
    encoder(["b"])
    assert asked == ["a", "b", "b"]


def test_cost_is_a_ratio_to_one_pass_and_keeps_the_cache() -> None:
    encoder = CachedEncoder("one", lambda texts: [[1.0]] * len(texts))
    encoder(["kept"])
    meter = Meter(encoder, repeats=1)
    assert (meter.ratio([["some text"]], encoder, list) or 0) > 0
    assert meter.ratio([], encoder, list) is None
    assert "kept" in encoder.known


def test_peers_that_cannot_run_say_why() -> None:
    found, left_out = filters(None)
    assert "5-shingle containment" in [peer.name for peer in found]
    assert "no encoder" in left_out["semhash"]
    _, left_out = selectors(None)
    assert "no encoder" in left_out["LangChain EmbeddingsFilter"]
    assert "downloads a model" in left_out["LLMLingua"]


def letters(texts: Sequence[str]) -> Any:
    return [[text.lower().count(letter) + 0.01 for letter in "abcdefgh"] for text in texts]


def test_every_filter_that_is_installed_keeps_one_of_two_copies_and_what_is_different() -> None:
    words = "the cat sat on the mat and looked at the bird in the hedge"
    texts = [words, "bread, flour, water, salt and yeast", f"{words} "]
    found, _ = filters(CachedEncoder("letters", letters))
    for peer in [peer for peer in found if peer.of_pairs]:
        kept = peer.at(peer.default)(texts)
        assert 1 in kept, peer.name
        assert len(kept) == 2, peer.name


def test_every_selector_that_is_installed_hands_on_texts_of_the_chunks() -> None:
    found, _ = selectors(CachedEncoder("letters", letters))
    assert "LlamaIndex SentenceEmbeddingOptimizer" in [peer.name for peer in found]
    allowed = {word for chunk in QUESTION.chunks for word in chunk.text.split()}
    for peer in found:
        kept = " ".join(peer.select(QUESTION, 12)).split()
        assert kept, peer.name
        assert peer.name == "headroom" or set(kept) <= allowed, peer.name


def test_containment_drops_the_worse_ranked_copy() -> None:
    words = "one two three four five six seven eight nine ten"
    assert set(containment().at(0.8)([words, "other words entirely", f"{words} eleven"])) == {0, 1}


def old_and_new(path: Path, shown: str) -> tuple[dict[str, Any], argparse.Namespace]:
    def of(name: str, value: int) -> dict[str, Any]:
        return {name: {"peer": name, "value": value}}

    old = {"sets": {"s": {"shown": "x", "systems": {**of("a", 1), **of("b", 1)}}}, "ctxguard": "1"}
    path.write_text(json.dumps(old), encoding="utf-8")
    new = {"sets": {"s": {"shown": shown, "systems": of("a", 2)}}, "ctxguard": "2"}
    return new, argparse.Namespace(only="a", output=path)


def test_only_replaces_one_system(tmp_path: Path) -> None:
    found = merged(*old_and_new(tmp_path / "old.json", "x"))
    systems = found["sets"]["s"]["systems"]
    assert (systems["a"]["value"], systems["b"]["value"]) == (2, 1)
    assert found["ctxguard"] == "2"


def test_only_measures_as_many_cases_as_before(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"sample": {"cases": 7}}), encoding="utf-8")

    def parsed(*arguments: str) -> argparse.Namespace:
        parser = argparse.ArgumentParser()
        parser.add_argument("--cases", type=int, default=3)
        parser.add_argument("--output", type=Path)
        return options_for(parser, ["--output", str(path), *arguments])

    assert parsed("--only", "ctxguard").cases == 7
    assert parsed().cases == 3


def test_only_refuses_other_cases(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="Measure everything again"):
        merged(*old_and_new(tmp_path / "old.json", "y"))


def test_missing_data_says_what_and_where(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"RAMDocs .*CTXGUARD_DATA"):
        read(tmp_path, "redundancy/ramdocs")


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("script", [redundancy, selection])
def test_the_scripts_run_on_the_data(script: Any, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    script.main(
        [
            *("--data", os.environ["CTXGUARD_DATA"], "--quick", "--only", "ctxguard"),
            *("--output", str(path)),
        ]
    )
    found = json.loads(path.read_text("utf-8"))
    assert all("ctxguard" in measured["systems"] for measured in found["sets"].values())
