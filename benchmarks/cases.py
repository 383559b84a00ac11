"""Cases: what a filter is shown, and what is right to remove and to keep of it.

Every case is a ranked list of texts. Contract cases come from `pools.py`. RAMDocs cases are the
documents that were retrieved for an ambiguous question, with copies added. A swapped case is a
document, the same document with another answer in the place of its own, and a copy of each.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.pools import COPIES, pool_of

__all__ = [
    "Case",
    "Item",
    "contract_cases",
    "fingerprint",
    "ramdocs_cases",
    "shape",
    "swapped_cases",
]

COPIES_PER_CASE = 5
EDITS_PER_CASE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A text of a case."""

    text: str
    role: Literal["original", "copy", "version", "document"]
    """An original and a version stay, a copy goes; of a document only its answers are judged."""
    kind: str
    of: str = ""
    """The text that a copy copies, or that a version is a version of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Texts in the order of a retriever, best-ranked first."""

    items: tuple[Item, ...]
    answers: tuple[str, ...] = ()
    """Each must still stand in one of the texts afterwards; all of them stand there before."""

    @property
    def texts(self) -> list[str]:
        """What a filter is shown."""
        return [item.text for item in self.items]


def fingerprint(cases: Sequence[Case]) -> str:
    """The first digits of the SHA-256 of all texts: were two runs shown the same?"""
    digest = hashlib.sha256()
    for case in cases:
        for item in case.items:
            digest.update(item.text.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()[:12]


def contract_cases(rows: Sequence[Mapping[str, Any]], number: int) -> list[Case]:
    """A clause first; up to five copies, up to eight one-fact edits and an unrelated clause after.

    Args:
        rows: `clauses` {category: [clause]} per contract.
        number: how many; clauses of 25 to 180 words, drawn with a fixed seed.
    """
    found = sorted(
        {
            text
            for row in rows
            for texts in row["clauses"].values()
            for text in texts
            if 25 <= len(text.split()) <= 180
        }
    )
    random.Random(1).shuffle(found)
    chosen = found[:number]
    return [_contract_case(text, seed, chosen[seed - 1]) for seed, text in enumerate(chosen)]


def _contract_case(clause: str, seed: int, other: str) -> Case:
    rng = random.Random(seed)
    pool = pool_of(clause, seed)
    chosen = [
        *_drawn(pool.of("copy"), COPIES_PER_CASE, rng),
        *_drawn(pool.of("version"), EDITS_PER_CASE, rng),
    ]
    items = [
        Item(
            text=passage.text,
            role="copy" if passage.role == "copy" else "version",
            kind=passage.kind,
            of=clause,
        )
        for passage in chosen
    ]
    items.append(Item(text=other, role="version", kind="unrelated"))
    rng.shuffle(items)
    return Case(items=(Item(text=clause, role="original", kind="original"), *items))


def _drawn(passages: Sequence[Any], number: int, rng: random.Random) -> Sequence[Any]:
    """At most `number`, no text twice."""
    distinct = list({passage.text: passage for passage in passages}.values())
    return rng.sample(distinct, min(number, len(distinct)))


def ramdocs_cases(rows: Sequence[Mapping[str, Any]], number: int) -> list[Case]:
    """The documents of a question, and copies of five of them somewhere behind their originals."""
    return [_ramdocs_case(row, seed) for seed, row in enumerate(rows[:number])]


def _ramdocs_case(row: Mapping[str, Any], seed: int) -> Case:
    rng = random.Random(seed)
    documents = [document["text"] for document in row["documents"]]
    places: list[tuple[float, Item]] = [
        (float(place), Item(text=text, role="document", kind=row["documents"][place]["type"]))
        for place, text in enumerate(documents)
    ]
    for place in rng.sample(range(len(documents)), min(COPIES_PER_CASE, len(documents))):
        copy = _copy_of(documents[place], rng)
        if copy is not None and copy.text not in documents:
            places.append((place + rng.uniform(0.1, len(documents)), copy))
    places.sort(key=lambda placed: placed[0])
    items = tuple(item for _, item in places)
    answers = dict.fromkeys([*row["gold_answers"], *row["wrong_answers"]])
    standing = " \n ".join(documents).casefold()
    return Case(items=items, answers=tuple(a for a in answers if a.casefold() in standing))


def _copy_of(text: str, rng: random.Random) -> Item | None:
    """A copy of a kind that finds something to change in the text."""
    for kind in rng.sample(sorted(COPIES), len(COPIES)):
        changed = COPIES[kind](text, rng)
        if changed is not None and changed != text:
            return Item(text=changed, role="copy", kind=kind, of=text)
    return None


def shape(answer: str) -> str:
    """What two answers of the same kind share: '3,559 people' is '9,9 a', 'Anne Lee' is 'A A'."""
    found = re.sub(r"\d+", "9", answer)
    found = re.sub(r"[^\W\d_]*[A-Z][^\W\d_]*", "A", found)
    return re.sub(r"[^\W\d_A][^\W\d_]*", "a", found)


def swapped_cases(rows: Sequence[Mapping[str, Any]], number: int) -> list[Case]:
    """A document and itself with another question's answer of the same shape; a copy of each.

    Up to three documents of other questions stand among them, so that no number of texts is right
    for all cases.
    """
    found = list(_swaps(rows))
    random.Random(2).shuffle(found)
    return [
        _swapped_case(*swap, seed, [found[seed - back][0] for back in range(1, 1 + seed % 4)])
        for seed, swap in enumerate(found[:number])
    ]


def _swaps(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """One document of each question that holds its answer, and its swapped twin."""
    by_shape: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        for answer in (*row["gold_answers"], *row["wrong_answers"]):
            by_shape[shape(answer)].append(answer)
    rng = random.Random(3)
    for row in rows:
        own = {answer.casefold() for answer in (*row["gold_answers"], *row["wrong_answers"])}
        for document in row["documents"]:
            answer = document["answer"]
            others = [a for a in by_shape[shape(answer)] if a.casefold() not in own]
            if answer in document["text"] and others:
                text = document["text"]
                yield text, text.replace(answer, rng.choice(others))
                break


def _swapped_case(passage: str, swapped: str, seed: int, others: Sequence[str]) -> Case:
    rng = random.Random(seed)
    first = Item(text=passage, role="original", kind="original")
    items = [Item(text=swapped, role="version", kind="swapped", of=passage)]
    items += [Item(text=text, role="version", kind="unrelated") for text in dict.fromkeys(others)]
    items += [copy for text in (passage, swapped) if (copy := _copy_of(text, rng)) is not None]
    rng.shuffle(items)
    return Case(items=(first, *items))
