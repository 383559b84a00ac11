"""A fingerprint is equal for what does the same, and only then."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import fields, replace
from enum import Enum
from typing import Any

import numpy as np
import pytest

from ctxguard import Budget, Guard, Policy
from ctxguard.fingerprint import fingerprint_of
from ctxguard.stages import Compress, Deduplicate, Layout, Rank, Select
from ctxguard.text.template import Template
from ctxguard.text.tokens import tokenizer_for
from ctxguard.verification import Verify

STAGES: dict[str, Any] = {
    "dedupe": Deduplicate,
    "rank": Rank,
    "compress": Compress,
    "select": Select,
    "layout": Layout,
    "verification": Verify,
}


class Words:
    """A tokenizer with a setting, and a cache that fills up."""

    name = "words"
    exact = False

    def __init__(self, separator: str = " ") -> None:
        self.separator = separator
        self._seen: dict[str, list[int]] = {}

    def encode(self, text: str) -> list[int]:
        return self._seen.setdefault(text, list(range(len(text.split(self.separator)))))


class Judge:
    """A cross-encoder that is made of something."""

    def __init__(self, made_of: object) -> None:
        self._made_of = made_of

    def predict(self, pairs: list[tuple[str, str]]) -> list[float]:
        return [0.5 for _ in pairs]


class Colour(Enum):
    RED = 1
    BLUE = 2


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


def adds(number: int) -> Callable[[int], int]:
    return lambda value: value + number


def changed(value: object) -> object:
    """Another value of the same kind, None where there is no telling."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return type(value)(value * 2 + 1) if isinstance(value, int) else value / 2
    return f"{value} " if isinstance(value, str) else 0.5


@pytest.mark.parametrize("stage", STAGES)
def test_every_setting_of_every_stage_counts(stage: str) -> None:
    plain = STAGES[stage]()
    off: dict[str, Any] = {stage: None}
    seen = {Policy(**off).fingerprint(), Policy(**{stage: plain}).fingerprint()}
    for number, field in enumerate(fields(plain), start=3):
        other = STAGES[stage]()
        value = changed(getattr(plain, field.name))
        object.__setattr__(other, field.name, value)  # whether it is a sensible one does not matter
        seen.add(Policy(**{stage: other}).fingerprint())
        assert len(seen) == number, field.name


def test_every_other_setting_of_a_policy_counts() -> None:
    policies = [
        Policy(),
        Policy(budget=5),
        Policy(budget=Budget(window=5000)),
        Policy(budget=Budget(window=5000, floors={"history": 10})),
        Policy(budget=Budget(window=5000, ceilings={"history": 10})),
        Policy(template=Template()),
        Policy(template=Template(separator="\n")),
        Policy(window=False),
        Policy(tokenizer="cl100k_base"),
        Policy(tokenizer=tokenizer_for("cl100k_base")),
        Policy(tokenizer=tokenizer_for("o200k_base")),
        Policy(tokenizer=Words()),
        Policy(tokenizer=Words(separator=",")),
        Policy(on_error="raise"),
        Policy(deadline=1.0),
        Policy(rank=Rank(encoder=None)),
        Policy(rank=Rank(cross_encoder=Judge(adds(1)))),
        Policy(rank=Rank(cross_encoder=Judge(adds(2)))),
    ]
    assert len({policy.fingerprint() for policy in policies}) == len(policies)


def test_a_tokenizer_that_was_used_is_still_the_same() -> None:
    used = Words()
    used.encode("some text")
    assert Policy(tokenizer=used).fingerprint() == Policy(tokenizer=Words()).fingerprint()


VALUES: list[Callable[[], object]] = [
    lambda: None,
    lambda: 1,
    lambda: 1.0,
    lambda: True,
    lambda: "1",
    lambda: b"1",
    lambda: "\ud800",
    lambda: [1, [2]],
    lambda: [[1], 2],
    lambda: (1, 2),
    lambda: {1, "x", None},
    lambda: {"a": 1, "b": {"x"}},
    lambda: {"a": 1, "b": {"y"}},
    lambda: Colour.RED,
    lambda: Colour.BLUE,
    lambda: np.arange(3),
    lambda: np.arange(3.0),
    lambda: adds(1),
    lambda: adds(2),
    lambda: lambda value, by=1: value + by,
    lambda: lambda value, by=2: value + by,
    lambda: lambda value: value in {"a", "b", "c"},
    lambda: functools.partial(adds, 1),
    lambda: functools.partial(adds, 2),
    lambda: len,
    lambda: [1].append,
    lambda: [2].append,
    lambda: Words().encode,
    lambda: Words(",").encode,
    lambda: Words,
    lambda: Slotted(1),
    lambda: Slotted(2),
    lambda: Slotted(Slotted(1)),
    object,
    lambda: range(3),
    lambda: range(4),
]


def test_values_are_told_apart_and_equal_ones_are_not() -> None:
    found = [fingerprint_of(make()) for make in VALUES]
    assert len(set(found)) == len(found)
    assert found == [fingerprint_of(make()) for make in VALUES]


def test_what_contains_itself_has_a_fingerprint() -> None:
    around: dict[str, Any] = {}
    around["inside"] = [around]
    other: dict[str, Any] = {}
    other["inside"] = [[other]]
    assert fingerprint_of(around) != fingerprint_of(other)


def test_what_cannot_be_looked_into_is_like_nothing() -> None:
    lock = threading.Lock()
    assert fingerprint_of(lock) != fingerprint_of(lock)
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    assert fingerprint_of(deep) != fingerprint_of(deep)
    guard = Guard(Policy(rank=Rank(cross_encoder=Judge(lock))))
    assert guard.fingerprint == guard.fingerprint, "one guard's cache still serves itself"


SCRIPT = """
from ctxguard import Policy
from ctxguard.fingerprint import fingerprint_of
from ctxguard.stages import Rank
from ctxguard.text.tokens import tokenizer_for
class Judge:
    def predict(self, pairs):
        return [len({"a", "b", "c", *pair}) for pair in pairs]
policy = Policy(tokenizer=tokenizer_for("o200k_base"), rank=Rank(cross_encoder=Judge()))
print(fingerprint_of(Judge().predict))
print(policy.fingerprint(), fingerprint_of({"x", "y", "z"}))
"""


@pytest.mark.slow
def test_it_is_the_same_in_every_process() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_a_replaced_policy_differs_until_it_is_replaced_back() -> None:
    policy = Policy.lean()
    other = replace(policy, budget=10)
    assert other.fingerprint() != policy.fingerprint()
    assert replace(other, budget=policy.budget).fingerprint() == policy.fingerprint()
