"""What every benchmark writes: medians with intervals, the environment, JSON."""

from __future__ import annotations

import json
import platform
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "tiktoken", "langchain-core", "langgraph", "llama-index-core")
PEERS = ("bm25s", "datasketch", "headroom-ai", "langchain-community", "semhash", "torch")


def interval(
    values: Sequence[float],
    *,
    of: Callable[[Sequence[float]], float] = statistics.median,
    level: float = 0.95,
    resamples: int = 2000,
) -> dict[str, float]:
    """A statistic with its percentile bootstrap interval (Efron 1979), fixed seed.

    Args:
        values: one number per independent unit (a run, a question), shape `(units,)`.
        of: the statistic.
        level: coverage of the interval.
        resamples: bootstrap samples.
    """
    rng = random.Random(0)
    found = sorted(of(rng.choices(values, k=len(values))) for _ in range(resamples))
    low = found[int(resamples * (1 - level) / 2)]
    high = found[int(resamples * (1 + level) / 2) - 1]
    return {"value": round(of(values), 3), "low": round(low, 3), "high": round(high, 3)}


def environment(*more: str) -> Mapping[str, str]:
    """What ran it: versions, never paths or names of machines; of `more` packages as well."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in (*PACKAGES, *more):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def write(path: Path, result: Mapping[str, Any], *, quiet: bool = False) -> None:
    """Write JSON, and print it unless it is long."""
    text = json.dumps(result, indent=2, ensure_ascii=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")
    print(f"wrote {path.name}" if quiet else text)
