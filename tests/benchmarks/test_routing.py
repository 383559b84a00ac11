"""The benchmark of routing runs, on questions that are made up."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import pytest

from benchmarks import routing
from tests.routing.made import made


@pytest.mark.slow
def test_all_of_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "OWN", 60)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["prompt", "mixtral_correct", "gpt4_correct", "subject"])
    writer.writerows([[one.prompt, one.light_ok, one.heavy_ok, one.group] for one in made(8 * 350)])
    folder = tmp_path / "routing"
    folder.mkdir()
    (folder / "mmlu_even_subjects.csv.gz").write_bytes(gzip.compress(out.getvalue().encode()))
    output = tmp_path / "found.json"
    routing.main(["--data", str(tmp_path), "--quick", "--output", str(output)])
    found = json.loads(output.read_text("utf-8"))
    ours = found["protocols"]["subjects left out"]["ctxguard"]
    assert ours["APGR"]["value"] > 0.6
    assert ours["APGR"]["low"] <= ours["APGR"]["value"] <= ours["APGR"]["high"]
    assert ours["ECE"]["value"] < 0.1
    assert all(one["missed"] <= 0.2 for one in found["promises"].values())
    assert found["cost"]["deciding"]["value"] > 0
