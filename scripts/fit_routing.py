"""Write ctxguard/routing/prior.json: what a router knows before it has seen a trace.

    python scripts/fit_routing.py --data FILE [--write]

FILE is `mmlu_even_subjects.csv.gz`: questions of MMLU (MIT) of a part of the subjects, and whether
Mixtral-8x7B-Instruct and GPT-4-1106 answered them correctly (lm-sys/RouteLLM, Apache-2.0). Prints
the figures of subjects that were left out, one by one. Takes half a minute.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ctxguard.routing import Columns, evaluate, read_traces  # noqa: E402 -- of this clone
from ctxguard.routing.features import signals_of  # noqa: E402 -- of this clone
from ctxguard.routing.fitting import fit_model  # noqa: E402 -- of this clone
from ctxguard.routing.labels import Labels, labels_of  # noqa: E402 -- of this clone
from ctxguard.text.analysis import default_analyzer  # noqa: E402 -- of this clone

OUT = ROOT / "ctxguard" / "routing" / "prior.json"
COLUMNS = Columns(light_ok="mixtral_correct", heavy_ok="gpt4_correct", group="subject")
ABOUT = "MMLU, 25 subjects: Mixtral-8x7B-Instruct and GPT-4-1106 (lm-sys/RouteLLM, Apache-2.0)"
CHANCE = 0.25
"""How often a guess among four options is right."""


def understood(labels: Labels, groups: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Whether each question is of a subject to learn from.

    In one (`high_school_mathematics`), the heavy model is right in 3 % of the cases. Whoever
    answers is right more often by guessing; those answers were not understood when they were
    judged, and their labels say nothing.
    """
    right = {group: labels.heavy[groups == group].mean() for group in np.unique(groups)}
    return np.array([right[group] >= CHANCE for group in groups])


def main() -> None:
    """Fit, print the figures of left-out subjects, and write."""
    parser = argparse.ArgumentParser(description="Fit the prior of routing.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    traces = read_traces(options.data, COLUMNS)
    analyse = default_analyzer().analyse
    signals = np.stack([signals_of(analyse(trace.prompt)) for trace in traces])
    labels = labels_of(traces)
    groups = np.array([trace.group for trace in traces])
    known = understood(labels, groups)
    unseen = np.zeros(len(traces))
    for group in np.unique(groups):
        rest = known & (groups != group)
        model = fit_model(signals[rest], labels.at(rest), groups=groups[rest].tolist())
        unseen[groups == group] = model.gains(signals[groups == group])
    print(evaluate(unseen, labels.light > 0, labels.heavy > 0))
    if options.write:
        model = fit_model(
            signals[known], labels.at(known), groups=groups[known].tolist(), about=ABOUT
        )
        OUT.write_text(model.to_json(), encoding="utf-8")
        print(f"wrote {OUT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
