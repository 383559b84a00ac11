from __future__ import annotations

import importlib.util
import json
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ctxguard
from ctxguard.cli import main
from ctxguard.demo.server import ServerError

LICENCE = Path(__file__).parent.parent / "LICENSE"


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """Two distributions with the same licence and different notices."""
    for name, year in (("acorn", 2019), ("birch", 2021)):
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n")
        text = f"Copyright (c) {year} The {name} developers\n\n{LICENCE.read_text('utf-8')}"
        (folder / "LICENSE").write_text(text, encoding="utf-8")
        (folder / "RECORD").write_text(f"{folder.name}/LICENSE,,\n")
    return tmp_path


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"ctxguard {ctxguard.__version__}\n"


def test_without_a_command_prints_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "demo" in capsys.readouterr().out


def test_python_dash_m_is_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["ctxguard"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("ctxguard", run_name="__main__")
    assert caught.value.code == 0


@pytest.mark.parametrize(
    "arguments",
    [["--framework", "haystack"], ["--llm", "gpt"], ["--questions", "some"], ["--unknown"]],
)
def test_what_argparse_refuses_is_a_usage_error(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["demo", *arguments])
    assert caught.value.code == 2


@pytest.mark.parametrize("option", ["--questions", "--top-k"])
def test_a_number_that_asks_for_nothing_is_a_usage_error(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--llm", "none", option, "0"]) == 2
    assert f"{option}: expected at least 1, got 0" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:.langchain-community. is being sunset:DeprecationWarning")
@pytest.mark.parametrize("framework", ["langchain", "llama-index"])
def test_json_is_one_document_and_nothing_else(
    framework: str, environment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["demo", "--llm", "none", "--json", "--path", str(environment)]
    assert main([*arguments, "--framework", framework, "--questions", "3"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["corpus"]["files"] == 2
    assert document["run"]["framework"] == framework
    assert len(document["questions"]) == document["summary"]["questions"] == 3
    for item in document["questions"]:
        assert not [d for d in item["ledger"]["decisions"] if d["action"] == "error"]
        assert item["guarded"]["prompt_tokens"] <= item["plain"]["prompt_tokens"]
        assert item["plain"]["in_prompt"]
        assert item["guarded"]["in_prompt"]
        assert item["retained"]["copies"] > item["retained"]["copies_left"] == 0
        assert not item["retained"]["facts_lost"]
    assert [item["first"] for item in document["questions"]] == ["plain", "guarded", "plain"]


def test_a_person_gets_the_comparison_and_the_summary(
    environment: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["demo", "--llm", "none", "--questions", "2", "--path", str(environment)]) == 0
    shown = capsys.readouterr().out
    for part in ("2 licence files", "guard(chain, policy)", "1/2", "2/2", "Summary", "of plain"):
        assert part in shown
    assert all(len(line) <= 80 for line in shown.splitlines())


def test_a_folder_without_licences_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--llm", "none", "--path", str(tmp_path)]) == 2
    assert "no LICENSE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("framework", "missing"),
    [("langchain", "langchain_openai"), ("llama-index", "llama_index.llms.openai_like")],
)
def test_missing_packages_print_the_install_line(
    framework: str,
    missing: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> Any:
        if name == missing:
            raise ModuleNotFoundError(name)
        return real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    assert main(["demo", "--framework", framework]) == 2
    error = capsys.readouterr().err
    assert missing in error
    assert 'pip install "ctxguard-core[demo]"' in error


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "stopped; nothing is left running"),
        (ServerError("the model server did not answer"), 1, "did not answer"),
    ],
)
def test_how_a_run_that_ends_early_ends(
    raised: BaseException,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> None:
        raise raised

    monkeypatch.setattr("ctxguard.demo.main.demo", fail)
    assert main(["demo"]) == code
    assert said in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_while_the_model_reads_leaves_nothing_running(environment: Path) -> None:
    command = [sys.executable, "-m", "ctxguard", "demo", "--path", str(environment)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
        assert child.stdout is not None
        while not child.stdout.readline().startswith("1/"):
            assert child.poll() is None, child.stderr
        os.killpg(child.pid, signal.SIGINT)
        _, error = child.communicate(timeout=30)
    assert child.returncode == 130
    assert error.strip().endswith("nothing is left running")
    with pytest.raises(ProcessLookupError):
        os.killpg(child.pid, 0)  # nobody is left in the group
