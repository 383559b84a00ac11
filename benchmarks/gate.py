"""What a gate adds to the time to the first sentence of a stream: a part of verification.py.

A model of 50 tokens per second is simulated by the clock of its tokens: token n comes at n / 50
seconds. A sentence can be read when its last token has come; a gate releases it with the first word
of the next one, and after the time that its own work takes, which is measured.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.report import interval
from benchmarks.texts import encoding
from ctxguard.verification import Evidence, Gate, Verifier

__all__ = ["SPEED", "Waited", "first_release", "gated", "pieces"]

SPEED = 50
"""Tokens per second of the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waited:
    """Until the first sentence of one answer."""

    plain: int
    """Tokens after which the model has written it."""
    gated: int
    """Tokens after which the gate releases it."""
    work: float
    """Seconds of the gate's own work until then."""

    @property
    def share(self) -> float:
        """The gate's own work, as a share of the time that the model takes for the sentence."""
        return self.work / (self.plain / SPEED)


def gated(answers: Sequence[str], evidence: Sequence[str]) -> dict[str, Any]:
    """What a gate adds until the first sentence, over answers that it lets through.

    Args:
        answers: of two sentences or more.
        evidence: texts; they are read once, as they can be while the model reads its prompt.
    """
    known = Verifier().session(evidence).evidence
    first_release(pieces(answers[0]), known)  # what is loaded at the first call is no cost of one
    found = [one for answer in answers if (one := first_release(pieces(answer), known))]
    return {
        "answers": len(found),
        "sentence": interval([one.plain for one in found]),
        "waited": interval([one.gated - one.plain for one in found]),
        "work": interval([one.share for one in found]),
    }


def pieces(answer: str) -> list[str]:
    """An answer as a model streams it: token by token."""
    table = encoding()
    return [table.decode([token]) for token in table.encode_ordinary(answer)]


def first_release(answer: Sequence[str], evidence: Evidence | Iterable[str]) -> Waited | None:
    """How long a reader waits for the first sentence; None: nothing is released.

    Reading the evidence counts where it is handed in as texts; an Evidence has been read, as it
    can be while the model reads its prompt.
    """
    started = time.perf_counter()
    gate = Gate(Verifier(), evidence, closes=False)
    work = time.perf_counter() - started
    released, written = 0, ""
    for number, text in enumerate(answer, start=1):
        written += text
        started = time.perf_counter()
        releases = gate.push(text)
        work += time.perf_counter() - started
        if releases:
            released = number
            end = len(releases[0].text.rstrip()) + releases[0].span[0]
            break
    else:
        return None
    lengths = [sum(map(len, answer[:number])) for number in range(len(answer) + 1)]
    plain = next(number for number, length in enumerate(lengths) if length >= end)
    return Waited(plain=plain, gated=released, work=work)
