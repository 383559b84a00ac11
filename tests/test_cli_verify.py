"""`ctxguard verify`: exit codes, what a person reads, what a program reads."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from ctxguard.cli import READER_GONE, main
from ctxguard.verification import Labelled, Verifier

FEE = "The fee is $500 per month."
LEASE = (
    "The lease is for the whole of the year, and it is with the tenant that the landlord made it."
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Evidence in a folder, and something in it that is not text."""
    docs = tmp_path / "docs"
    (docs / "deep").mkdir(parents=True)
    (docs / "a.md").write_text(f"{FEE} Cats sleep all day.\r\n", encoding="utf-8")
    (docs / "lease.md").write_text(LEASE, encoding="utf-8")
    (docs / "deep" / "b.txt").write_text("Acme Corp. signed on 8 May 2014.", encoding="utf-8-sig")
    (docs / ".hidden").write_text("The fee is $600 per month.", encoding="utf-8")
    (docs / "photo.jpg").write_bytes(b"\xff\xd8\x00")
    (docs / "zero.bin").write_bytes(b"a\0b")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


def answer(folder: Path, text: str) -> str:
    (folder / "answer.txt").write_text(text, encoding="utf-8")
    return "answer.txt"


def test_a_grounded_answer(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = answer(folder, f"{FEE} Acme Corp. signed on 2014-05-08.")
    assert main(["verify", said, "--evidence", "docs", "--question", "Who signed?"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("grounded · 2 supported · score ")
    assert "docs/photo.jpg is not text" in shown.err
    assert "docs/zero.bin is not text" in shown.err
    assert ".hidden" not in shown.err


def test_an_answer_that_is_not_grounded_is_shown_with_quotes(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = answer(folder, "The fee is $600 per month. Is it so? Bob \x1b[31mlikes tea.")
    assert main(["verify", said, "--evidence", "docs/a.md"]) == 1
    shown = capsys.readouterr().out
    assert shown.startswith("not grounded · 1 contradicted · 1 not found · 1 not judged")
    assert "the claim says '$600 per month' where the evidence says '$500 per month'" in shown
    assert f"docs/a.md: “{FEE}”" in shown
    assert "a question claims nothing" in shown
    assert "\x1b" not in shown


def test_what_could_not_be_judged_is_not_known_to_be_grounded(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = answer(folder, "Срок аренды составляет три года.")
    assert main(["verify", said, "--evidence", "docs/lease.md"]) == 1
    assert capsys.readouterr().out.startswith("could not be judged")


def test_long_claims_are_cut(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = answer(folder, f"Dogs {'bark and ' * 200}run.")
    assert main(["verify", said, "--evidence", "docs/a.md"]) == 1
    assert "…" in capsys.readouterr().out


def test_an_empty_answer_claims_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", answer(folder, ""), "--evidence", "docs/a.md"]) == 0
    assert capsys.readouterr().out.strip() == "grounded · score 1.00 · threshold 0.50"


def test_json_is_one_document(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = io.TextIOWrapper(io.BytesIO(b"The fee is $600 per month."), encoding="ascii")
    monkeypatch.setattr(sys, "stdin", text)
    command = ["verify", "-", "--evidence", "docs", "docs/a.md", "--threshold", "0.4", "--json"]
    assert main(command) == 1
    data = json.loads(capsys.readouterr().out)
    assert (data["grounded"], data["threshold"]) == (False, 0.4)
    assert data["skipped"] == ["docs/photo.jpg", "docs/zero.bin"]
    (claim,) = data["claims"]
    assert claim["code"] == "amount-differs"
    assert claim["findings"][0]["evidence"][0]["chunk_id"] == "docs/a.md"


def test_a_calibration_is_applied(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    examples = [
        *[Labelled(answer=FEE, evidence=[FEE], grounded=True)] * 60,
        *[Labelled(answer="The fee is $6.", evidence=[FEE], grounded=False)] * 20,
    ]
    made = Verifier().calibrate(examples)
    made.save(folder / "c.json")
    command = ["verify", answer(folder, FEE), "--evidence", "docs", "--calibration", "c.json"]
    assert main([*command, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["score"], data["threshold"]) == (made.curve(1.0), made.threshold)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.txt", "--evidence", "docs"], "none.txt: No such file"),
        (["docs/a.md", "--evidence", "none"], "none: No such file"),
        (["docs/a.md", "--evidence", "docs/photo.jpg"], "docs/photo.jpg: not a text file"),
        (["docs/zero.bin", "--evidence", "docs"], "docs/zero.bin: not a text file"),
        (["docs", "--evidence", "docs"], "docs: Is a directory"),
        (["docs/a.md", "--evidence", "empty"], "--evidence: there is no text file"),
        (["docs/a.md", "--evidence", "docs", "--threshold", "4"], "Verifier.threshold"),
        (
            ["docs/a.md", "--evidence", "docs", "--calibration", "docs/a.md"],
            "calibration: not JSON",
        ),
    ],
)
def test_bad_input(
    arguments: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "empty").mkdir()
    assert main(["verify", *arguments]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.out == ""


def test_evidence_is_asked_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["verify", "docs/a.md"])
    assert caught.value.code == 2
    assert "--evidence" in capsys.readouterr().err


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_fault(folder: Path) -> None:
    answer(folder, f"{FEE} " * 2_000)  # more than a pipe holds
    command = [sys.executable, "-m", "ctxguard", "verify", "answer.txt", "--evidence", "docs"]
    with subprocess.Popen(
        [*command, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        said = process.stderr.read().decode()
    assert process.returncode == READER_GONE
    assert "Traceback" not in said
    assert "BrokenPipe" not in said
