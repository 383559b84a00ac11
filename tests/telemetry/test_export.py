"""A store as a file for other tools."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ctxguard.errors import InputError, MissingDependencyError
from ctxguard.ledger import Ledger
from ctxguard.telemetry import LedgerStore, export
from tests.telemetry.made import ledger

Make = Callable[..., LedgerStore]


def test_json_lines(make: Make, tmp_path: Path) -> None:
    store = make(content=True)
    for name in "ab":
        store.append(ledger(name))
    store.feedback("b", ok=False, by="reviewer", comment="wrong year")
    out = tmp_path / "out.jsonl"
    assert store.export(out) == 2
    first, second = map(json.loads, out.read_text().splitlines())
    assert (first["run_id"], first["ok"], first["feedback"]) == ("a", None, [])
    assert Ledger.from_json(json.dumps(first["ledger"])) == ledger("a")
    (mark,) = second["feedback"]
    assert (second["ok"], mark["by"], mark["comment"]) == (False, "reviewer", "wrong year")
    assert [one.name for one in tmp_path.glob("out*")] == ["out.jsonl"]


def test_a_format_that_is_not_known(store: LedgerStore, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected one of jsonl, parquet, got 'csv'"):
        store.export(tmp_path / "x", "csv")  # type: ignore[arg-type]


def test_a_file_that_cannot_be_written(store: LedgerStore, tmp_path: Path) -> None:
    store.append(ledger("a"))
    with pytest.raises(InputError, match="No such file"):
        store.export(tmp_path / "none" / "x.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(InputError, match="folder"):
        store.export(tmp_path / "folder.jsonl")
    assert not list(tmp_path.glob("*.part"))


def test_parquet(store: LedgerStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # By name: the package has no types.
    parquet: Any = importlib.import_module("pyarrow.parquet")
    monkeypatch.setattr(export, "_GROUP", 2)
    for name in "abc":
        store.append(ledger(name))
    store.feedback("b", ok=True)
    assert store.export(tmp_path / "x.parquet", "parquet") == 3
    with parquet.ParquetFile(tmp_path / "x.parquet") as file:
        assert file.num_row_groups == 2
        rows = file.read().to_pylist()
    assert [(row["run_id"], row["ok"]) for row in rows] == [("a", None), ("b", True), ("c", None)]
    assert Ledger.from_json(rows[0]["ledger"]).run_id == "a"


def test_parquet_needs_a_package(
    store: LedgerStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # as where it is not installed
    with pytest.raises(MissingDependencyError, match="pip install pyarrow"):
        store.export(tmp_path / "x.parquet", "parquet")
    assert not list(tmp_path.glob("x*"))
