"""What two words are to each other, learned from WordNet by their static vectors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from random import Random

import torch  # pyright: ignore[reportMissingImports] -- only to build
from torch.nn import functional as nn  # pyright: ignore[reportMissingImports] -- only to build

from ctxguard.text.encoders import static_encoder
from ctxguard.text.thesaurus import default_thesaurus
from ctxguard.verification._relations import KINDS, Relations

__all__ = ["fit_relations"]

RANK, EPOCHS, BATCH, RATE = 96, 5, 1024, 2e-3
MOST = {"synonym": 140_000, "opposite": 40_000, "sibling": 60_000}
"""Pairs of each kind; as many unrelated ones as siblings."""
OPPOSITES = 2.0
"""Weight of an opposite: there are few of them."""

Pair = tuple[int, int]


def fit_relations() -> Relations:
    """The relations that fit best, with the agreement on held-out words on stdout."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rng = Random(0)  # noqa: S311 -- a seeded draw
    words, pairs = _pairs(rng)
    vectors = torch.tensor(static_encoder().encode_words(words))
    at = torch.tensor([pair for pair, _ in pairs])
    kinds = torch.tensor([kind for _, kind in pairs])
    held = set(rng.sample(range(len(words)), len(words) // 10))
    away = torch.tensor([one in held or other in held for (one, other), _ in pairs])
    model = _Model()
    optimiser = torch.optim.Adam(model.parameters(), RATE, weight_decay=1e-5)
    weights = torch.tensor([1.0, OPPOSITES, 1.0, 1.0])
    learn = torch.nonzero(~away).squeeze(1)
    for _ in range(EPOCHS):
        order = learn[torch.randperm(len(learn))]
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            sides = at[batch] if rng.random() < 0.5 else at[batch].flip(1)
            odds = model(vectors[sides[:, 0]], vectors[sides[:, 1]])
            loss = nn.cross_entropy(odds, kinds[batch], weight=weights)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    with torch.no_grad():
        sides = at[away]
        right = model(vectors[sides[:, 0]], vectors[sides[:, 1]]).argmax(1) == kinds[away]
    print(f"relations: {float(right.float().mean()):.3f} of {len(sides):,} held-out pairs right")
    return Relations(
        projection=model.project.weight.detach().numpy(),
        weights=model.out.weight.detach().numpy(),
        bias=model.out.bias.detach().numpy(),
    )


class _Model(torch.nn.Module):
    """`Relations.between`, one pair per row."""

    def __init__(self) -> None:
        super().__init__()
        self.project = torch.nn.Linear(128, RANK, bias=False)
        self.out = torch.nn.Linear(2 * RANK + 2, len(KINDS))

    def forward(self, ones: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        left, right = self.project(ones), self.project(others)
        cosine = (ones * others).sum(1, keepdim=True)
        return self.out(torch.cat([left * right, (left - right).abs(), cosine, cosine**2], dim=1))


def _pairs(rng: Random) -> tuple[list[str], list[tuple[Pair, int]]]:
    """Words, and pairs of their numbers with what they are to each other."""
    thesaurus = default_thesaurus()
    words = sorted(word for word in thesaurus.words() if word.isalpha())
    meanings = [thesaurus.meanings(word) for word in words]
    having: defaultdict[int, list[int]] = defaultdict(list)
    under: defaultdict[int, list[int]] = defaultdict(list)
    for number, means in enumerate(meanings):
        for sense in sorted(means.own):
            having[sense].append(number)
        for sense in sorted(means.parents):
            under[sense].append(number)
    found: dict[str, set[Pair]] = {
        "synonym": {p for group in having.values() for p in combinations(group, 2)}
        | {
            (n, o)
            for s, group in under.items()
            for n in group[:40]
            for o in having[s][:5]
            if n != o
        },
        "opposite": {
            (min(n, o), max(n, o))
            for n, means in enumerate(meanings)
            for sense in means.opposites
            for o in having[sense]
            if n != o
        },
        "sibling": _siblings(under, rng),
    }
    found["synonym"] -= found["opposite"]
    found["sibling"] -= found["opposite"] | found["synonym"]
    chosen = [
        (pair, KINDS.index(kind)) for kind in MOST for pair in _some(found[kind], MOST[kind], rng)
    ]
    unrelated = [
        ((rng.randrange(len(words)), rng.randrange(len(words))), KINDS.index("none"))
        for _ in range(MOST["sibling"])
    ]
    return words, chosen + unrelated


def _siblings(under: Mapping[int, Sequence[int]], rng: Random) -> set[Pair]:
    """Pairs under one sense, a few of each."""
    found: set[Pair] = set()
    for group in under.values():
        for _ in range(min(40, 2 * len(group)) if 2 < len(group) < 60 else 0):
            one, other = sorted(rng.sample(group, 2))
            found.add((one, other))
    return found


def _some(pairs: set[Pair], most: int, rng: Random) -> list[Pair]:
    ordered = sorted(pairs)
    return rng.sample(ordered, min(most, len(ordered)))
