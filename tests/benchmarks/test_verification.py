"""The benchmark of the verifier: figures that are known beforehand."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import verification
from benchmarks.gate import first_release, pieces
from benchmarks.verification import Answered, auroc, balanced, ece, recall_at


def answers(risk: list[float], wrong: list[int], kinds: list[str] | None = None) -> Answered:
    return Answered(
        groups=np.arange(len(risk)),
        wrong=np.asarray(wrong, dtype=bool),
        kinds=np.asarray(kinds or ["x"] * len(risk)),
        risk=np.asarray(risk),
    )


def test_auroc_counts_pairs_and_a_tie_half() -> None:
    assert auroc(answers([0.1, 0.9], [0, 1])) == 1.0
    assert auroc(answers([0.9, 0.1], [0, 1])) == 0.0
    assert auroc(answers([0.5, 0.5, 0.5], [0, 1, 0])) == 0.5
    assert auroc(answers([0.1, 0.4, 0.3, 0.9], [0, 0, 1, 1])) == 0.75


def test_recall_is_above_the_right_answers_of_the_same_kind() -> None:
    kinds = ["law", "law", "law negated", "law negated", "date"]
    found = answers([0.1, 0.3, 0.3, 0.4, 0.9], [0, 0, 1, 1, 0], kinds)
    assert recall_at(found, "law negated") == 0.5
    assert recall_at(found, "law negated", rate=0.5) == 1.0
    assert np.isnan(recall_at(found, "period unit"))


def test_balanced_accuracy_weighs_right_and_wrong_alike() -> None:
    assert balanced(answers([0.1, 0.2, 0.9, 0.8], [0, 0, 0, 1]), 0.5) == pytest.approx(5 / 6)
    assert np.isnan(balanced(answers([0.1], [0]), 0.5))


def test_a_risk_that_is_a_probability_has_no_calibration_error() -> None:
    assert ece(answers([0.5] * 4, [0, 1, 0, 1])) == 0.0
    assert ece(answers([1.0] * 4, [0, 0, 0, 0])) == 1.0


def test_all_of_it_runs(tmp_path: Path) -> None:
    folder = tmp_path / "verification"
    folder.mkdir()
    contract, claim, summary = [], [], []
    for number in range(24):
        fee = 1000 + 7 * number
        evidence = f"The fee of project {number} is ${fee} per month. It ends in May."
        for wrong in (0, 1):
            text = f"The fee of project {number} is ${fee + 500 * wrong} per month."
            row = {"group": str(number), "evidence": evidence, "claim": text, "wrong": wrong}
            kind = "amount digit" if wrong else "amount"
            contract.append({**row, "kind": kind})
            contract.append({**row, "kind": "statement negated" if wrong else "statement"})
            claim.append({**row, "kind": "x"})
            domain = "ab"[number % 2]
            name = f"{number}"
            summary.append(
                {
                    "domain": domain,
                    "id": name,
                    "evidence": evidence,
                    "answer": text,
                    "grounded": 1 - wrong,
                }
            )
    for name, rows in (("contracts", contract), ("claims", claim), ("summedits", summary)):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    output = tmp_path / "found.json"
    verification.main(["--data", str(tmp_path), "--quick", "--output", str(output)])
    found = json.loads(output.read_text("utf-8"))
    ours = found["systems"]["ctxguard"]
    assert ours["contracts"]["mean recall"]["value"] == 1.0
    assert ours["contracts"]["one cut: false alarms"]["value"] == 0.0
    assert ours["claims"]["AUROC"]["value"] == 1.0
    assert ours["SummEdits"]["balanced accuracy"]["value"] == 1.0
    assert found["systems"]["words that are new"]["claims"]["AUROC"]["value"] > 0.5
    assert found["cost"]["ratio"]["value"] > 0
    assert found["gate"]["sentence"]["value"] > found["gate"]["waited"]["value"] > 0


def test_a_gate_waits_for_the_first_word_of_the_next_sentence() -> None:
    evidence = ["The fee is $500 per month. Notice is thirty days."]
    found = first_release(["The fee is $500 ", "per month", ".", " No", "tice", " is"], evidence)
    assert found is not None
    assert (found.plain, found.gated) == (3, 6)
    assert found.share == found.work / (3 / 50) > 0
    assert first_release(["The fee is $600. ", "Notice "], evidence) is None
    assert "".join(pieces("The fee, in full.")) == "The fee, in full."
