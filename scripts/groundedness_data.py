"""What learned groundedness is fitted on: answers as the signs of their words."""

from __future__ import annotations

import difflib
import gzip
import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from ctxguard.text.sentences import split_sentences
from ctxguard.text.words import words_of
from ctxguard.types import Chunk, Verdict
from ctxguard.verification import Evidence, Support, Verifier
from ctxguard.verification._align import Case
from ctxguard.verification._findings import holds_against
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
    against: np.ndarray
    """For each claim, what findings say against it, in nats."""
    share: np.ndarray
    """For each claim, the share of it that the best passage has."""
    changed: np.ndarray | None = None
    """For each word, whether the editor put it there; None: not known."""
    is_variant: bool = False


def in_first_half(group: str) -> bool:
    """Whether a group is of the half that is learned from: `benchmarks` measures on the other."""
    return hashlib.sha1(group.encode(), usedforsecurity=False).digest()[0] % 2 == 0


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


class _Probe:
    """A scorer that supports everything and keeps the signs."""

    threshold = 0.5

    def __init__(self, relations: Relations) -> None:
        self._relations = relations
        self.seen: list[tuple[Case, Signs]] = []

    def score_cases(self, cases: Sequence[Case]) -> Sequence[Support]:
        reading = Reading(cases[0].evidence)
        self.seen += [(case, read_signs(case.text, reading, self._relations)) for case in cases]
        return [Support(probability=1.0) for _ in cases]

    def score(self, claims: Sequence[str], passages: Sequence[str]) -> Sequence[Support]:
        raise NotImplementedError("a verifier asks for cases")


def read_examples(folder: Path, relations: Relations) -> Iterator[Example]:
    """The answers of all three sets, beside their evidence, with what their facts say.

    Claims that the evidence states word for word are left out: no scorer is asked of them.
    """
    probe = _Probe(relations)
    verifier = Verifier(scorer=probe)
    for name in ("summedits", "claims", "contracts"):
        for row in rows_of(folder / f"{name}.jsonl.gz"):
            probe.seen.clear()
            answer, wrong = row.get("answer") or row["claim"], row.get("wrong")
            found = verifier(answer, [row["evidence"]] if row["evidence"] else [])
            if not probe.seen:
                continue
            verdicts = {verdict.claim.span: verdict for verdict in found.claims}
            judged = [verdicts[case.claim.span] for case, _ in probe.seen]
            yield _example(
                [signs for _, signs in probe.seen],
                [verdict.claim.span[0] for verdict in judged],
                row,
                domain=row.get("domain", name),
                against=np.array([against(verdict) for verdict in judged]),
                share=np.array([case.best for case, _ in probe.seen]),
                wrong=bool(wrong if wrong is not None else 1 - row["grounded"]),
            )


def against(verdict: Verdict) -> float:
    """What the findings of a claim say against it, in nats."""
    return sum(
        -math.log(max(1 - one.certainty, 1e-3)) for one in verdict.findings if holds_against(one)
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
                readings[text] = Reading(Evidence([Chunk(id="1", text=text)]))
            signs = [
                read_signs(row["answer"][slice(*span)], readings[text], relations) for span in spans
            ]
            yield _example(
                signs,
                [start for start, _ in spans],
                row,
                domain=row["domain"],
                against=np.zeros(len(spans)),
                share=np.zeros(len(spans)),
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
