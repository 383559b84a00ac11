"""The two fits of learned groundedness; both need torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch  # pyright: ignore[reportMissingImports] -- only to build
from groundedness_data import Example
from torch.nn import functional as nn  # pyright: ignore[reportMissingImports] -- only to build

from ctxguard.verification._network import SOFTNESS
from ctxguard.verification._wordsigns import telling_words

__all__ = ["Arrays", "Batch", "Judged", "Settings", "calibrate", "fit_network", "merge", "stack"]

Arrays = dict[str, np.ndarray]
HELD = 1e-3
"""How strongly the weights of the calibration are held to zero."""

torch.set_num_threads(1)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the network is fitted."""

    hidden: int = 32
    rank: int = 4
    epochs: int = 8
    rate: float = 3e-3
    decay: float = 1e-2
    dropout: float = 0.3
    edited: float = 8.0
    """Weight of a word that an editor changed, beside one that was there."""
    networks: int = 3
    """How many, from other starts, are merged into one."""
    words: float = 2.0
    """Weight of the loss over words beside that over answers."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """All examples as arrays, one after the other."""

    rows: torch.Tensor
    vectors: torch.Tensor
    products: torch.Tensor
    labels: torch.Tensor
    """Of words: 1 lacks support, 0 has it."""
    weights: torch.Tensor
    """Of words: 0 where it is not known."""
    telling: torch.Tensor
    """Of words: whether they say something."""
    wrong: torch.Tensor
    ends: np.ndarray


def stack(examples: Sequence[Example], edited: float) -> Batch:
    """The arrays of examples."""
    labels, weights = [], []
    for one in examples:
        size = len(one.rows)
        known = one.changed is not None
        changed = one.changed if one.changed is not None else np.zeros(size, bool)
        labels.append(changed & one.wrong)
        # A right answer has only words with support, whether or not its edits are known.
        weights.append(np.where(changed, edited, 1.0) * (known or not one.wrong))
    vectors = np.concatenate([one.vectors for one in examples]).astype(np.float32)
    nearest = np.concatenate([one.nearest for one in examples]).astype(np.float32)
    rows = np.concatenate([one.rows for one in examples]).astype(np.float32)
    return Batch(
        rows=torch.tensor(rows),
        telling=torch.tensor(telling_words(rows)),
        vectors=torch.tensor(vectors),
        products=torch.tensor(vectors * nearest),
        labels=torch.tensor(np.concatenate(labels).astype(np.float32)),
        weights=torch.tensor(np.concatenate(weights).astype(np.float32)),
        wrong=torch.tensor(np.array([one.wrong for one in examples], dtype=np.float32)),
        ends=np.cumsum([0, *(len(one.rows) for one in examples)]),
    )


class _Model(torch.nn.Module):
    def __init__(self, mean: torch.Tensor, spread: torch.Tensor, settings: Settings) -> None:
        super().__init__()
        self.mean, self.spread, self.scale = mean, spread, 3.0
        self.own = torch.nn.Linear(128, settings.rank, bias=False)
        self.product = torch.nn.Linear(128, settings.rank, bias=False)
        self.hidden = torch.nn.Linear(len(mean) + 2 * settings.rank, settings.hidden)
        self.out = torch.nn.Linear(settings.hidden, 1)
        self.drop = torch.nn.Dropout(settings.dropout)
        self.answer = torch.nn.Parameter(torch.tensor([1.0, -1.0]))

    def forward(self, batch: Batch, at: torch.Tensor) -> torch.Tensor:
        scaled = ((batch.rows[at] - self.mean) / self.spread).clamp(-4, 4)
        own = self.drop(self.own(batch.vectors[at]) * self.scale)
        product = self.drop(self.product(batch.products[at]) * self.scale)
        inputs = self.drop(torch.cat([scaled, own, product], dim=1))
        return self.out(self.drop(torch.relu(self.hidden(inputs)))).squeeze(1)

    def pool(self, words: torch.Tensor, owner: torch.Tensor, size: int) -> torch.Tensor:
        most = torch.full((size,), -9.0).scatter_reduce(0, owner, words.detach(), "amax")
        share = torch.exp((words - most[owner]) / SOFTNESS)
        total = torch.zeros(size).scatter_add(0, owner, share)
        return (most + SOFTNESS * torch.log(total + 1e-9)) * self.answer[0].abs() + self.answer[1]


def fit_network(batch: Batch, learn: np.ndarray, seed: int, settings: Settings) -> Arrays:
    """The arrays of a network, fitted on some examples.

    Args:
        batch: all examples.
        learn: the numbers of those to learn from.
        seed: of the start and the order.
        settings: how.
    """
    torch.manual_seed(seed)
    rng, order = np.random.default_rng(seed), learn.copy()
    spots = _words_of(batch, learn)
    mean, spread = batch.rows[spots].mean(0), batch.rows[spots].std(0) + 1e-4
    model = _Model(mean, spread, settings)
    optimiser = torch.optim.AdamW(model.parameters(), settings.rate, weight_decay=settings.decay)
    steps = settings.epochs * -(-len(order) // 64)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.01, steps)
    for _ in range(settings.epochs):
        rng.shuffle(order)
        for start in range(0, len(order), 64):
            loss = _loss(model, batch, order[start : start + 64], settings)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return _arrays(model)


def _words_of(batch: Batch, chosen: np.ndarray) -> np.ndarray:
    """The numbers of the words of some examples."""
    ends: list[int] = batch.ends.tolist()
    return np.concatenate([np.arange(ends[i], ends[i + 1]) for i in chosen.tolist()])


def _loss(model: _Model, batch: Batch, chosen: np.ndarray, settings: Settings) -> torch.Tensor:
    sizes = batch.ends[chosen + 1] - batch.ends[chosen]
    at = torch.tensor(_words_of(batch, chosen))
    owner = torch.tensor(np.repeat(np.arange(len(chosen)), sizes))
    words = model(batch, at)
    telling = batch.telling[at]
    each = nn.binary_cross_entropy_with_logits(words, batch.labels[at], reduction="none")
    answers = model.pool(words[telling], owner[telling], len(chosen))
    whole = nn.binary_cross_entropy_with_logits(answers, batch.wrong[torch.tensor(chosen)])
    return settings.words * (each * batch.weights[at]).mean() + whole


def _arrays(model: _Model) -> Arrays:
    read = {
        "mean": model.mean,
        "spread": model.spread,
        "own": model.own.weight * model.scale,
        "product": model.product.weight * model.scale,
        "hidden": model.hidden.weight,
        "hidden_bias": model.hidden.bias,
        "out": model.out.weight[0],
        "pooling": torch.cat([model.out.bias, model.answer[:1].abs(), model.answer[1:]]),
    }
    return {name: array.detach().numpy().astype(np.float32) for name, array in read.items()}


def merge(networks: Sequence[Arrays]) -> Arrays:
    """One network whose odds are the mean of several: their hidden layers side by side."""
    count, signs, rank = len(networks), len(networks[0]["mean"]), len(networks[0]["own"])
    hidden = [one["hidden"] for one in networks]
    size = len(hidden[0])
    wide = np.zeros((count * size, signs + 2 * count * rank), dtype=np.float32)
    for number, one in enumerate(hidden):
        rows = slice(number * size, (number + 1) * size)
        own = signs + number * rank
        product = own + count * rank
        wide[rows, :signs] = one[:, :signs]
        wide[rows, own : own + rank] = one[:, signs : signs + rank]
        wide[rows, product : product + rank] = one[:, signs + rank :]
    joined = {
        name: np.concatenate([one[name] for one in networks])
        for name in ("own", "product", "hidden_bias", "out")
    }
    return {
        **networks[0],
        **joined,
        "hidden": wide,
        "out": joined["out"] / count,
        "pooling": np.mean([one["pooling"] for one in networks], axis=0),
    }


@dataclass(frozen=True, kw_only=True)
class Judged:
    """An answer as its claims, with what is said of each, and whether it is wrong."""

    columns: np.ndarray
    """Odds by words, findings, findings times share; shape `(claims, 3)`."""
    wrong: bool


def calibrate(parts: Sequence[Sequence[Judged]], importance: Sequence[float]) -> np.ndarray:
    """Weights of the columns, none below zero, and an intercept: P(wrong) of the worst claim.

    A logistic fit (Platt 1999) in which each answer is judged by its worst claim.

    Args:
        parts: answers by where they are from.
        importance: of each part, whatever its size.
    """
    answers = [one for part in parts for one in part]
    share = [weight / len(part) for part, weight in zip(parts, importance, strict=True)]
    weights = torch.tensor(np.repeat(share, [len(part) for part in parts]).astype(np.float32))
    weights /= weights.sum()
    truth = torch.tensor(np.array([one.wrong for one in answers], dtype=np.float32))
    rows = torch.tensor(np.concatenate([one.columns for one in answers]).astype(np.float32))
    owner = torch.tensor(np.repeat(np.arange(len(answers)), [len(one.columns) for one in answers]))
    fit = torch.nn.Parameter(torch.tensor([0.5, 0.5, 0.5, -0.5]))
    optimiser = torch.optim.LBFGS([fit], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        odds = rows @ fit[:3].abs() + fit[3]
        worst = torch.full((len(answers),), -99.0).scatter_reduce(0, owner, odds, "amax")
        each = nn.binary_cross_entropy_with_logits(worst, truth, reduction="none")
        loss = (each * weights).sum() + HELD * (fit[:3] ** 2).sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    found = fit.detach().numpy()
    return np.concatenate([np.abs(found[:3]), found[3:]])
