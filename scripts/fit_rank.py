"""Fit the weights of Rank, and report how they do on questions that they were not fitted on.

    python scripts/fit_rank.py [--data FOLDER] [--write]

Needs `selection/{hotpot,musique,cuad,contracts}.jsonl.gz` in the folder (or in the one that
CTXGUARD_DATA names): questions, their chunks and the texts that support the answer. Five folds by
question, for contracts by contract; without --write nothing is changed. Takes a minute or two.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ctxguard.logistic import fit_layer
from ctxguard.reliability import reliability_of
from ctxguard.stages._divide import spans_of
from ctxguard.stages._index import Floats, Index, Ints, index_of
from ctxguard.stages._linking import link_features
from ctxguard.stages._matching import (
    Postings,
    Query,
    features_of,
    postings_of,
    query_of,
)
from ctxguard.stages._meaning import Meaning, feedback_features, meaning_features, meaning_of
from ctxguard.stages._rank_model import (
    ALONE_VECTORS,
    ALONE_WORDS,
    CHUNK,
    LINKED_VECTORS,
    LINKED_WORDS,
    Layers,
    RankModel,
)
from ctxguard.stages._relevance import chunk_features, cover_of
from ctxguard.text.encoders import static_encoder
from ctxguard.types import Chunk, Context, Span

TARGET = Path(__file__).parents[1] / "ctxguard" / "stages" / "rank.json"
KINDS = ("hotpot", "musique", "cuad")
FOREIGN = "foreign"
FOLDS = 5
CONTRACT_QUESTIONS = 700
"""Enough for intervals of ±.02; more pieces than that take gigabytes."""
CHUNK_SIZE = 1000
SHARE = 0.25
"""Of all tokens, what a selection may use in the report."""
UNTITLED = 0.3
"""How much a question's second reading counts, without titles: not every loader keeps them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A question, its chunks in pieces, and which pieces support its answer."""

    kind: str
    group: str
    context: Context
    spans: tuple[tuple[Span, ...], ...]
    support: tuple[tuple[int, ...], ...]
    """Per supporting text, the pieces that hold it."""
    weight: float

    @property
    def labels(self) -> Floats:
        """1 for each piece that supports the answer."""
        labels = np.zeros(sum(map(len, self.spans)))
        labels[[piece for pieces in self.support for piece in pieces]] = 1
        return labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the layers see of an example."""

    example: Example
    index: Index
    postings: Postings
    query: Query
    meaning: Meaning | None
    match: Floats
    labels: Floats


# -- examples -------------------------------------------------------------------------------------


def examples(folder: Path) -> list[Example]:
    """All examples, weighted so that each of the three sets counts the same."""
    found = [*_passages(folder, "hotpot"), *_passages(folder, "musique"), *_contracts(folder)]
    total: dict[str, float] = defaultdict(float)
    for example in found:
        total[example.kind] += example.weight
    return [
        replace(example, weight=100 * example.weight / total[example.kind]) for example in found
    ]


def foreign(found: Sequence[Example]) -> list[Example]:
    """Questions with the chunks of another set, where nothing is relevant."""
    kinds = {kind: [one for one in found if one.kind == kind] for kind in KINDS}
    pairs = [
        (asked, given)
        for kind, other in zip(KINDS, (*KINDS[1:], KINDS[0]), strict=True)
        for asked, given in zip(kinds[kind], kinds[other][::-1], strict=False)
    ]
    return [
        Example(
            kind=FOREIGN,
            group=asked.group,
            context=Context(question=asked.context.question, chunks=given.context.chunks),
            spans=given.spans,
            support=(),
            weight=UNTITLED * min(asked.weight, given.weight),
        )
        for asked, given in pairs
    ]


def _read(folder: Path, name: str) -> list[dict[str, Any]]:
    with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _passages(folder: Path, kind: str) -> Iterator[Example]:
    for row in _read(folder, kind):
        spans = tuple(_spans_of(chunk["text"], chunk["sentences"]) for chunk in row["chunks"])
        texts = [
            _plain(chunk["text"][start:end])
            for chunk, pieces in zip(row["chunks"], spans, strict=True)
            for start, end in pieces
        ]
        support = tuple(
            tuple(place for place, text in enumerate(texts) if _plain(wanted) in text)
            for wanted in row["support"]
        )
        for titled in (True, False):
            chunks = tuple(
                Chunk(
                    id=str(place),
                    text=chunk["text"],
                    metadata={"title": chunk["title"]} if titled else {},
                )
                for place, chunk in enumerate(row["chunks"])
            )
            yield Example(
                kind=kind,
                group=row["id"],
                context=Context(question=row["question"], chunks=chunks),
                spans=spans,
                support=support,
                weight=1.0 if titled else UNTITLED,
            )


def _contracts(folder: Path) -> Iterator[Example]:
    texts = {row["contract"]: row["text"] for row in _read(folder, "contracts")}
    rows = sorted(_read(folder, "cuad"), key=lambda row: _digest(row["id"]))
    for row in rows[:CONTRACT_QUESTIONS]:
        name, text = row["chunks"], texts[row["chunks"]]
        parts = cut(text)
        named = _digest(row["id"]) % 2
        chunks = tuple(
            Chunk(id=str(place), text=text[start:end], source=name if named else "")
            for place, (start, end) in enumerate(parts)
        )
        context = Context(question=row["question"], chunks=chunks)
        spans = tuple(spans_of(context))
        flat = np.array(
            [
                (begin + start, begin + end)
                for (begin, _), pieces in zip(parts, spans, strict=True)
                for start, end in pieces
            ]
        )
        yield Example(
            kind="cuad",
            group=name,
            context=context,
            spans=spans,
            support=tuple(_pieces_with(flat, text, wanted) for wanted in row["support"]),
            weight=1.0,
        )


def cut(text: str) -> list[Span]:
    """A text in chunks of about CHUNK_SIZE characters, at paragraph ends where there are any."""
    ends = [match.end() for match in re.finditer(r"\n\s*\n", text)] + [len(text)]
    parts: list[Span] = []
    start = last = 0
    for end in ends:
        while end - start > 1.5 * CHUNK_SIZE:
            if last == start:
                stop = text.rfind(". ", start, start + CHUNK_SIZE)
                last = stop + 2 if stop > start + 200 else start + CHUNK_SIZE
            parts.append((start, last))
            start = last
        if end - start > CHUNK_SIZE and last > start:
            parts.append((start, last))
            start = last
        last = max(end, start)
    parts.append((start, len(text)))
    return [(begin, end) for begin, end in parts if text[begin:end].strip()]


def _spans_of(text: str, sentences: Sequence[str]) -> tuple[Span, ...]:
    spans: list[Span] = []
    at = 0
    for sentence in map(str.strip, sentences):
        start = text.find(sentence, at)
        if sentence and start >= 0:
            at = start + len(sentence)
            spans.append((start, at))
    return tuple(spans) or ((0, len(text)),)


def _pieces_with(flat: Ints, text: str, wanted: str) -> tuple[int, ...]:
    """The pieces that a supporting text, found but for punctuation and spaces, reaches into."""
    words = re.findall(r"\w+", wanted)
    found = re.search(r"\W+".join(map(re.escape, words)), text, re.IGNORECASE) if words else None
    if found is None:
        return ()
    inside = (flat[:, 0] < found.end()) & (flat[:, 1] > found.start())
    return tuple(np.flatnonzero(inside).tolist())


def _plain(text: str) -> str:
    return re.sub(r"\W+", " ", text).strip().lower()


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


# -- fitting --------------------------------------------------------------------------------------


def see(example: Example, *, with_vectors: bool) -> Seen:
    """What the first layer sees of an example."""
    index = index_of(example.context, example.spans)
    postings = postings_of(index)
    query = query_of(index, postings)
    match, meaning = features_of(index, postings, query), None
    if with_vectors:
        meaning = meaning_of(example.context, example.spans, index, static_encoder())
        close = meaning_features(meaning, index, postings, query)
        match = np.concatenate([match, close], axis=1)
    return Seen(
        example=example,
        index=index,
        postings=postings,
        query=query,
        meaning=meaning,
        match=match,
        labels=example.labels,
    )


def fit(everything: Sequence[Seen]) -> Layers:
    """Both piece layers; the chunk layer on their own output.

    Pieces are ordered within a question, so foreign chunks teach only P of chunks.
    """
    seen = [each for each in everything if each.example.kind != FOREIGN]
    vectors = seen[0].meaning is not None
    labels = np.concatenate([each.labels for each in seen])
    rows = np.concatenate([np.full(each.labels.size, each.example.weight) for each in seen])
    names = ALONE_VECTORS if vectors else ALONE_WORDS
    alone = fit_layer(names, np.concatenate([each.match for each in seen]), labels, weights=rows)
    linked = [_linked(each, alone.probability(each.match)) for each in seen]
    names = LINKED_VECTORS if vectors else LINKED_WORDS
    last = fit_layer(names, np.concatenate(linked), labels, weights=rows)
    pieces = [last.probability(_linked(each, alone.probability(each.match))) for each in everything]
    return Layers(alone=alone, linked=last, chunk=fit_chunks(everything, pieces))


def fit_chunks(seen: Sequence[Seen], pieces: Sequence[Floats]) -> Any:  # noqa: ANN401 -- a Layer
    """The chunk layer, from the P of pieces."""
    found = [_chunk_features(each, p) for each, p in zip(seen, pieces, strict=True)]
    labels = [chunk_labels(each) for each in seen]
    rows = [
        np.full(held.size, each.example.weight) for each, held in zip(seen, labels, strict=True)
    ]
    return fit_layer(
        CHUNK, np.concatenate(found), np.concatenate(labels), weights=np.concatenate(rows)
    )


def _chunk_features(each: Seen, pieces: Floats) -> Floats:
    return chunk_features(each.index.chunk, pieces, cover_of(each.index, each.query))


def chunk_labels(each: Seen) -> Floats:
    """1 for each chunk with a supporting piece."""
    counts = np.bincount(each.index.chunk, weights=each.labels, minlength=each.index.chunks)
    return (counts > 0).astype(float)


def _linked(each: Seen, alone: Floats) -> Floats:
    link, _ = link_features(each.index, each.postings, each.query, alone)
    found = [each.match, link]
    if each.meaning is not None:
        found.append(feedback_features(each.meaning, each.index, alone))
    return np.concatenate(found, axis=1)


def cross_validated(seen: Sequence[Seen]) -> tuple[list[Floats], list[Floats]]:
    """P of the pieces and of the chunks of every example, from layers fitted without its group."""
    pieces = [np.zeros(0)] * len(seen)
    chunks = [np.zeros(0)] * len(seen)
    folds = [_digest(each.example.group) % FOLDS for each in seen]
    for fold in range(FOLDS):
        layers = fit([each for each, own in zip(seen, folds, strict=True) if own != fold])
        for place, each in enumerate(seen):
            if folds[place] == fold:
                p = layers.linked.probability(_linked(each, layers.alone.probability(each.match)))
                pieces[place] = p
                chunks[place] = layers.chunk.probability(_chunk_features(each, p))
    return pieces, chunks


# -- reporting ------------------------------------------------------------------------------------


def kept(each: Seen, pieces: Floats, power: float) -> tuple[float, bool] | None:
    """Share of supporting texts kept at SHARE of the tokens, and whether all are."""
    example = each.example
    analyses = [example.context.analyzer.analyse(chunk.text) for chunk in example.context.chunks]
    tokens = np.concatenate(
        [analysis.tokens_of(spans) for analysis, spans in zip(analyses, example.spans, strict=True)]
    )
    room = SHARE * sum(analysis.tokens for analysis in analyses)
    chosen = np.zeros(pieces.size, dtype=np.bool_)
    for piece in np.argsort(-pieces / np.maximum(tokens, 1) ** power, kind="stable"):
        if tokens[piece] <= room:
            chosen[piece] = True
            room -= tokens[piece]
    held = [bool(chosen[list(wanted)].all()) for wanted in example.support if wanted]
    return (float(np.mean(held)), all(held)) if held else None


def report(seen: Sequence[Seen], pieces: Sequence[Floats], chunks: Sequence[Floats]) -> None:
    """Print what was reached on each set, with 95 % intervals over groups."""
    for kind in KINDS:
        places = [
            place
            for place, each in enumerate(seen)
            if each.example.kind == kind and each.example.weight == _most(seen, kind)
        ]
        for power in (0.0, 0.5):
            found = [kept(seen[place], pieces[place], power) for place in places]
            values = np.array([value for value in found if value is not None], dtype=float)
            share, whole = _interval(values[:, 0]), _interval(values[:, 1])
            print(f"{kind:8} score/tokens**{power}: {share} all {whole}")
        for name, p, held in (
            ("pieces", pieces, [each.labels for each in seen]),
            ("chunks", chunks, [chunk_labels(each) for each in seen]),
        ):
            _reliability(
                f"{kind:8} {name}",
                np.concatenate([p[place] for place in places]),
                np.concatenate([held[place] for place in places]),
            )


def report_nothing(seen: Sequence[Seen], chunks: Sequence[Floats]) -> None:
    """Print how often the best chunk is under a bar, with nothing relevant and with some."""
    for bar in (0.02, 0.05, 0.1, 0.15, 0.2, 0.3):
        line = [f"best chunk under {bar}:"]
        for kind in (FOREIGN, *KINDS):
            pairs = list(zip(seen, chunks, strict=True))
            best = [p.max() for each, p in pairs if each.example.kind == kind]
            line.append(f"{kind} {np.mean(np.array(best) < bar):.3f}")
        print("  ".join(line))


def _most(seen: Sequence[Seen], kind: str) -> float:
    return max(each.example.weight for each in seen if each.example.kind == kind)


def _interval(values: Floats) -> str:
    draws = np.random.default_rng(0).integers(0, values.size, (2000, values.size))
    low, high = np.percentile(values[draws].mean(axis=1), [2.5, 97.5])
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


def _reliability(label: str, p: Floats, held: Floats) -> None:
    found = reliability_of(p.tolist(), (held > 0).tolist())
    base = float(held.mean() * (1 - held.mean()))
    print(f"{label}: ECE {found.ece:.4f}, Brier {found.brier:.4f} (always the share: {base:.4f})")


def main() -> None:
    """Cross-validate, report, and with --write fit on everything."""
    parser = argparse.ArgumentParser(description="Fit the weights of Rank.")
    parser.add_argument("--data", default=os.environ.get("CTXGUARD_DATA", ""))
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    found = examples(Path(arguments.data) / "selection")
    found += foreign(found)
    layers: dict[str, Layers] = {}
    for name in ("words", "vectors"):
        seen = [see(example, with_vectors=name == "vectors") for example in found]
        pieces, chunks = cross_validated(seen)
        print(f"== {name}")
        report(seen, pieces, chunks)
        report_nothing(seen, chunks)
        fitted = fit(seen)
        # On P of pieces that no layer was fitted on: on its own they would look too sure.
        layers[name] = Layers(
            alone=fitted.alone, linked=fitted.linked, chunk=fit_chunks(seen, pieces)
        )
    if arguments.write:
        RankModel(words=layers["words"], vectors=layers["vectors"]).save(TARGET)
        print(f"wrote {TARGET.name}")


if __name__ == "__main__":
    main()
