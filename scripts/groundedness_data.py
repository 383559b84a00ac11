"""What learned groundedness is fitted on: answers as the signs of their words."""

from __future__ import annotations

import difflib
import gzip
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from ctxguard.text.sentences import split_sentences
from ctxguard.text.words import words_of
from ctxguard.verification import Support, Verifier
from ctxguard.verification._reading import Reading
from ctxguard.verification._relations import Relations
from ctxguard.verification._wordsigns import Signs, read_signs

__all__ = ["Example", "in_first_half", "read_examples", "read_variants"]

VARIANTS = 3
"""Consistent summaries of the same document that an answer is held against."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """An answer, the signs of its words, and whether it is wrong."""

    domain: str
    group: str
    """What a bootstrap resamples: the document, the question, the contract."""
    wrong: bool
    rows: np.ndarray
    vectors: np.ndarray
    nearest: np.ndarray
    claim: np.ndarray
    """For each word, the number of its claim."""
    changed: np.ndarray | None = None
    """For each word, whether the editor put it there; None: not known."""
    facts: np.ndarray | None = None
    """For each claim, P(supported) by its facts alone."""
    is_variant: bool = False


def in_first_half(group: str) -> bool:
    """Whether a group is of the half that is learned from."""
    return hashlib.sha256(group.encode()).digest()[0] % 2 == 0


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


class _Probe:
    """A scorer that supports everything and keeps the signs."""

    def __init__(self, relations: Relations) -> None:
        self._relations = relations
        self._last: tuple[Sequence[str], Reading] = ((), Reading(()))
        self.signs: list[Signs] = []

    def score(self, claims: Sequence[str], passages: Sequence[str]) -> Sequence[Support]:
        if self._last[0] != passages:
            self._last = passages, Reading(passages)
        self.signs = [read_signs(claim, self._last[1], self._relations) for claim in claims]
        return [Support(probability=1.0) for _ in claims]


def read_examples(folder: Path, relations: Relations) -> Iterator[Example]:
    """The answers of all three sets, beside their evidence, with what their facts say."""
    probe = _Probe(relations)
    verifier = Verifier(scorer=probe)
    for name in ("summedits", "claims", "contracts"):
        for row in rows_of(folder / f"{name}.jsonl.gz"):
            probe.signs = []
            answer, wrong = row.get("answer") or row["claim"], row.get("wrong")
            found = verifier(answer, [row["evidence"]] if row["evidence"] else [])
            judged = [verdict for verdict in found.claims if verdict.code != "no-evidence"]
            judged = [verdict for verdict in judged if verdict.claim.is_checkable]
            judged = [one for one in judged if any(map(str.isalnum, one.claim.text))]
            if not probe.signs or len(judged) != len(probe.signs):
                continue
            starts = [verdict.claim.span[0] for verdict in judged]
            yield _example(
                probe.signs,
                starts,
                row,
                domain=row.get("domain", name),
                facts=np.array([verdict.score for verdict in judged]),
                wrong=bool(wrong if wrong is not None else 1 - row["grounded"]),
            )


def read_variants(folder: Path, relations: Relations) -> Iterator[Example]:
    """Summaries of SummEdits beside consistent summaries of the same document."""
    rows, rng = rows_of(folder / "summedits.jsonl.gz"), Random(0)  # noqa: S311 -- a seeded draw
    consistent: defaultdict[str, list[str]] = defaultdict(list)
    readings: dict[str, Reading] = {}
    for row in rows:
        if row["grounded"]:
            consistent[row["evidence"]].append(row["answer"])
    for row in rows:
        others = [text for text in consistent[row["evidence"]] if text != row["answer"]]
        spans = split_sentences(row["answer"])
        for text in rng.sample(others, min(VARIANTS, len(others))):
            if text not in readings:
                readings[text] = Reading([text[slice(*span)] for span in split_sentences(text)])
            signs = [
                read_signs(row["answer"][slice(*span)], readings[text], relations) for span in spans
            ]
            yield _example(
                signs,
                [start for start, _ in spans],
                row,
                domain=row["domain"],
                wrong=not row["grounded"],
                is_variant=True,
            )


def _example(
    signs: Sequence[Signs], starts: Sequence[int], row: dict[str, Any], **known: Any
) -> Example:
    changed: list[bool] = []
    edited = _edited(row["original_answer"], row["answer"]) if "original_answer" in row else None
    for start, one in zip(starts, signs, strict=True):
        changed += [start + first in (edited or ()) for first, _ in one.words.spans]
    return Example(
        group=row.get("group") or row["evidence"],
        rows=np.concatenate([one.rows for one in signs]).astype(np.float16),
        vectors=np.concatenate([one.vectors for one in signs]).astype(np.float16),
        nearest=np.concatenate([one.nearest for one in signs]).astype(np.float16),
        claim=np.repeat(np.arange(len(signs)), [len(one.words) for one in signs]),
        changed=None if edited is None else np.array(changed, dtype=bool),
        **known,
    )


def _edited(before: str, after: str) -> set[int]:
    """Where the words begin that an editor put in."""
    words = words_of(after)
    matcher = difflib.SequenceMatcher(None, words_of(before).keys, words.keys, autojunk=False)
    return {
        words.spans[place][0]
        for tag, _, _, start, end in matcher.get_opcodes()
        if tag in ("replace", "insert")
        for place in range(start, end)
    }
