"""`ctxguard route`: learn, judge, explain."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ctxguard.cli import main
from ctxguard.routing import Router
from tests.routing.made import made
from tests.view import samples


@pytest.fixture
def traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    rows = [
        {"q": one.prompt, "light_ok": one.light_ok, "heavy_ok": one.heavy_ok, "who": one.group}
        for one in made(1200)
    ]
    (tmp_path / "traces.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.chdir(tmp_path)
    return "traces.jsonl"


def test_fit_eval_explain(traces: str, capsys: pytest.CaptureFixture[str]) -> None:
    fit = ["route", "fit", traces, "--prompt", "q", "--group", "who", "-o", "router.json"]
    assert main([*fit, "--target", "0.85"]) == 0
    out = capsys.readouterr().out
    assert "learned from 600 questions; wrote router.json" in out
    assert "quality at least 85.0% of all heavy (confidence 95%, 600 traces)" in out
    assert Router.load("router.json").promise is not None
    judge = ["route", "eval", traces, "--prompt", "q", "--router", "router.json"]
    assert main(judge) == 0
    assert "1,200 questions: light" in capsys.readouterr().out
    assert main([*judge, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["apgr"] > 0.6
    assert found["light_fails"]["ece"] < 0.1
    explain = ["route", "explain", "What is the fee?", "--light", "gpt-4o-mini"]
    assert main([*explain, "--heavy", "gpt-4o", "--router", "router.json"]) == 0
    assert "P(light fails)" in capsys.readouterr().out
    assert main([*explain, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["details"]["route"] == "light"


def test_what_surrounded_a_question_is_learned_too(
    traces: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [json.loads(line) for line in Path(traces).read_text().splitlines()]
    seen = [{**row, "seen": {"conflicts": 0.0 if row["light_ok"] else 1.5}} for row in rows]
    Path(traces).write_text("".join(json.dumps(row) + "\n" for row in seen))
    columns = ["--prompt", "q", "--around", "seen"]
    assert main(["route", "fit", traces, *columns, "-o", "r.json", "--target", "0.9"]) == 0
    router = Router.load("r.json")
    assert router.surroundings["conflicts"].gain > Router().surroundings["conflicts"].gain
    assert router.promise is not None
    assert router.promise.around
    capsys.readouterr()
    found: list[float] = []
    for read in (columns, columns[:2]):
        assert main(["route", "eval", traces, *read, "--router", "r.json", "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out)["apgr"])
    assert found[0] > found[1] + 0.1


def test_fit_without_a_promise_learns_from_all(
    traces: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["route", "fit", traces, "--prompt", "q", "-o", "r.json"]) == 0
    assert capsys.readouterr().out == "learned from 1,200 questions; wrote r.json\n"


def test_explain_shows_the_routes_of_a_saved_ledger(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    path = tmp_path / "ledger.json"
    path.write_text(samples.routed().to_json())
    explain = ["route", "explain", "--ledger", str(path)]
    assert main(explain) == 0
    out = capsys.readouterr().out
    assert "light (failed) → light → heavy" in out
    assert "promised" in out
    assert main([*explain, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["decisions"][0]["code"] == "cascade"
    assert len(found["calls"]) == 3
    assert found["savings"]["share"] < 0
    path.write_text(samples.empty().to_json())
    assert main(explain) == 0
    assert capsys.readouterr().out == "nothing was routed in this run\n"


def test_a_log_that_knows_one_route_of_each_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [
        f'"{one.prompt}",{one.light_ok},,0.5' if place % 2 else f'"{one.prompt}",,{one.heavy_ok},.5'
        for place, one in enumerate(made(1200))
    ]
    Path("log.csv").write_text("prompt,light_ok,heavy_ok,p\n" + "\n".join(rows))
    fit = ["route", "fit", "log.csv", "--taken-with", "p", "-o", "r.json", "--target", "0.8"]
    assert main(fit) == 2
    assert "0 of 600 have both labels" in capsys.readouterr().err
    assert main([*fit, "--exploration", "0.5"]) == 0
    assert "quality at least 80.0% of all heavy" in capsys.readouterr().out
    assert main(["route", "eval", "log.csv", "--router", "r.json"]) == 2
    assert "0 of 1,200 traces have both labels" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["explain"], "QUESTION and --ledger: one of them"),
        (["explain", "x", "--ledger", "traces.jsonl"], "QUESTION and --ledger: one of them"),
        (["explain", "--ledger", "traces.jsonl"], "ledger: not JSON"),
        (["fit", "none.csv", "-o", "r.json"], "No such file"),
        (["fit", "traces.jsonl", "-o", "r.json"], "no column 'prompt'"),
        (["fit", "traces.jsonl", "-o", "r", "--target", ".9", "--budget", ".3"], "one of them"),
        (["fit", "traces.jsonl", "--prompt", "q", "-o", "no/r.json"], "--output no/r.json"),
        (["explain", "x", "--router", "none.json"], "No such file"),
    ],
)
def test_bad_input_is_exit_code_2(
    traces: str, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(["route", *arguments]) == 2
    assert said in capsys.readouterr().err
