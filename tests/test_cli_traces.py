"""`ctxguard traces`, and `ctxguard route` on a store."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ctxguard.cli import main
from ctxguard.routing import Router
from ctxguard.telemetry import LedgerStore, record_to
from tests.routing.made import made
from tests.telemetry.made import call, ledger, routed


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LedgerStore]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CTXGUARD_TRACES", "")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    store = LedgerStore("t.db", content=True)
    yield store
    store.close()


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main([*arguments]) == 0
    return capsys.readouterr().out


def test_list_and_show(
    store: LedgerStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    with record_to(store):
        run_id = call("What is the fee?")
    store.append(replace(ledger("bad"), error="ValueError: no", name="agent"))
    store.feedback(run_id, ok=False, comment="wrong year")
    store.flush()
    out = told(capsys, "traces", "list", "--store", "t.db")
    assert re.search(rf"^{run_id[:12]} +\d\d:.* chain .* → .* not ok *$", out, re.M)
    assert re.search(r"^bad .* agent .* error ValueError: no *$", out, re.M)
    assert "2 of 2 runs" in out
    out = told(capsys, "traces", "list", "-s", "t.db", "--errors", "--json")
    assert [run["run_id"] for run in json.loads(out)] == ["bad"]
    assert told(capsys, "traces", "list", "-s", "t.db", "--since", "2099-01-01").startswith("run")
    assert "0 of 2" in told(capsys, "traces", "list", "-s", "t.db", "--since", "0s")
    assert "2 of 2" in told(capsys, "traces", "list", "-s", "t.db", "--since", "1.5h")
    out = told(capsys, "traces", "show", run_id[:6], "-s", "t.db")
    assert "exact-duplicate" in out or "What is the fee?" in out
    assert re.search(r"^user, \d\d:.*: not ok: wrong year$", out, re.M)
    out = told(capsys, "traces", "show", run_id[:6], "-s", "t.db", "--json")
    assert json.loads(out)["run_id"] == run_id


def test_feedback_and_export(store: LedgerStore, capsys: pytest.CaptureFixture[str]) -> None:
    store.append(ledger("abc"))
    store.close()
    assert told(capsys, "traces", "feedback", "ab", "ok", "-s", "t.db") == "abc: ok\n"
    assert store.list()[0].ok is True
    told(capsys, "traces", "feedback", "ab", "not-ok", "--by", "judge", "-s", "t.db")
    assert [(mark.by, mark.ok) for mark in store.marks("abc")] == [("user", True), ("judge", False)]
    out = told(capsys, "traces", "export", "out.jsonl", "-s", "t.db")
    assert out == "wrote 1 runs to out.jsonl\n"
    assert json.loads(Path("out.jsonl").read_text())["run_id"] == "abc"


def test_feedback_lets_no_run_go(
    store: LedgerStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that holds more than one holds by default stays as it is."""
    for name in "abc":
        store.append(ledger(name))
    store.close()
    defaults = {**(LedgerStore.__init__.__kwdefaults__ or {}), "max_ledgers": 2}
    monkeypatch.setattr(LedgerStore.__init__, "__kwdefaults__", defaults)
    told(capsys, "traces", "feedback", "a", "ok", "-s", "t.db")
    assert store.count() == 3


def test_the_store_is_that_of_the_environment_or_the_users_own(
    store: LedgerStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append(ledger("there"))
    store.close()
    monkeypatch.setenv("CTXGUARD_TRACES", "t.db")
    assert "there" in told(capsys, "traces", "list")
    monkeypatch.delenv("CTXGUARD_TRACES")
    own = LedgerStore()
    own.append(ledger("own"))
    own.close()
    assert "own" in told(capsys, "traces", "tail", "--no-follow")


def test_tail(store: LedgerStore, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "abc":
        store.append(ledger(name))
    store.close()
    out = told(capsys, "traces", "tail", "--no-follow", "-n", "2", "-s", "t.db")
    assert [line.split()[0] for line in out.splitlines()] == ["b", "c"]
    out = told(capsys, "traces", "tail", "--no-follow", "--json", "-s", "t.db")
    assert [json.loads(line)["run_id"] for line in out.splitlines()] == ["a", "b", "c"]


@pytest.mark.slow
def test_a_tail_that_follows_ends_with_its_reader(store: LedgerStore) -> None:
    store.append(ledger("a"))
    store.flush()
    command = [sys.executable, "-m", "ctxguard", "traces", "tail", "-s", "t.db"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ)) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"a ")
        store.append(ledger("b"))
        store.flush()
        assert process.stdout.readline().startswith(b"b ")
        process.stdout.close()
        store.append(ledger("c"))
        store.flush()
        assert process.wait(timeout=30) == 141


def judge_all(store: LedgerStore, count: int = 400) -> int:
    """Runs of made questions on both routes, judged as they were made."""
    rows = {row.prompt: row for row in made(count)}
    for number, row in enumerate(rows.values()):
        for route, ok in (("light", row.light_ok), ("heavy", row.heavy_ok)):
            store.append(routed(f"{number}-{route}", row.prompt, route))
            store.feedback(f"{number}-{route}", ok=bool(ok))
        if number % 100 == 0:
            store.flush()
    store.close()
    return len(rows)


def test_a_router_from_a_store(store: LedgerStore, capsys: pytest.CaptureFixture[str]) -> None:
    count = judge_all(store)
    out = told(capsys, "route", "fit", "t.db", "-o", "r.json")
    assert out == f"learned from {count:,} questions; wrote r.json\n"
    rows = {row.prompt: row for row in made(400)}
    lines = [
        json.dumps({"prompt": row.prompt, "light_ok": row.light_ok, "heavy_ok": row.heavy_ok})
        for row in rows.values()
    ]
    Path("rows.jsonl").write_text("\n".join(lines))
    told(capsys, "route", "fit", "rows.jsonl", "-o", "same.json")
    assert Router.load("r.json").score(["What is 3?"]) == Router.load("same.json").score(
        ["What is 3?"]
    )
    judge = ("--router", "r.json", "--json")
    assert told(capsys, "route", "eval", "--store", "t.db", *judge) == told(
        capsys, "route", "eval", "rows.jsonl", *judge
    )


def test_a_question_on_one_route_is_learned_from_and_left_out_of_a_judgement(
    store: LedgerStore, capsys: pytest.CaptureFixture[str]
) -> None:
    count = judge_all(store, 100)
    store.append(routed("alone", "Is it?", "heavy"))
    store.feedback("alone", ok=True)
    store.close()
    assert main(["route", "fit", "--store", "t.db", "-o", "r.json"]) == 0
    said = capsys.readouterr()
    assert f"learned from {count + 1:,}" in said.out
    assert not said.err
    assert main(["route", "eval", "--store", "t.db", "--router", "r.json"]) == 0
    assert capsys.readouterr().err == "1 questions were judged on one route only: left out\n"


@pytest.mark.parametrize("content", [True, False])
def test_why_a_run_took_its_route(
    store: LedgerStore, capsys: pytest.CaptureFixture[str], content: bool
) -> None:
    store = LedgerStore("why.db", content=content)
    store.append(routed("ab12", "What is 3 % of 200, if the fee is 4?", "light"))
    store.close()
    out = told(capsys, "route", "explain", "ab", "--store", "why.db")
    assert out.splitlines()[0].startswith("light: expected gain" if content else "light: light")
    assert "P(light fails)" in out
    assert re.search(r"numbers [+-]0\.\d+", out)
    assert "heavy: price unknown" in out
    out = told(capsys, "route", "explain", "ab", "--json", "--store", "why.db")
    assert json.loads(out)["details"]["route"] == "light"


def test_a_signal_of_another_release_is_shown_by_its_name(
    store: LedgerStore, capsys: pytest.CaptureFixture[str]
) -> None:
    given = routed("ab12", "What is the fee?", "light")
    (decision,) = given.decisions
    details = {**decision.details, "moved": {"of_tomorrow": 0.25}}
    store.append(replace(given, decisions=(replace(decision, details=details),)))
    store.close()
    assert "of_tomorrow +0.250" in told(capsys, "route", "explain", "ab", "--store", "t.db")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["traces", "list", "-s", "none.db"], "there is no store of traces"),
        (["traces", "list"], "there is no store of traces"),
        (["traces", "list", "-s", "t.db", "--limit", "0"], "--limit: expected at least 1"),
        (["traces", "list", "-s", "t.db", "--since", "soon"], "--since: expected"),
        (["traces", "show", "zz", "-s", "t.db"], "there is none"),
        (["traces", "tail", "-s", "t.db", "-n", "-1"], "--last: expected at least 0"),
        (["traces", "export", "no/x.jsonl", "-s", "t.db"], "No such file"),
        (["traces", "feedback", "zz", "ok", "-s", "t.db"], "there is none"),
        (["traces", "list", "-s", "text.db"], "file is not a database"),
        (["route", "fit", "-o", "r.json"], "give a file of traces, or --store"),
        (["route", "fit", "x.csv", "-s", "t.db", "-o", "r.json"], "or --store"),
        (["route", "fit", "t.db", "--group", "who", "-o", "r.json"], "a store has no columns"),
        (["route", "fit", "t.db", "-o", "r.json"], "a fit takes 50 labelled questions, got 0"),
        (["route", "eval", "t.db"], "judged on both routes, light and heavy (0 on"),
        (["route", "eval", "t.db", "--light", "a", "--heavy", "b"], "both routes, a and b"),
        (["route", "explain", "a", "-s", "t.db"], "there was no route to choose"),
    ],
)
def test_bad_input_is_exit_code_2(
    store: LedgerStore, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    store.append(ledger("a"))
    store.close()
    Path("text.db").write_text("not a database, but some text " * 50)
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


def test_feedback_that_cannot_be_written(
    store: LedgerStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append(ledger("a"))
    store.close()
    monkeypatch.setattr(LedgerStore, "flush", lambda self, timeout=None: False)
    assert main(["traces", "feedback", "a", "ok", "-s", "t.db"]) == 2
    assert "could not be written" in capsys.readouterr().err
