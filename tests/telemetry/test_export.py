"""A store as a file for other tools."""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ctxguard.errors import InputError, MissingDependencyError
from ctxguard.ledger import Ledger
from ctxguard.telemetry import LedgerStore, export
from tests.telemetry.made import ledger

Make = Callable[..., LedgerStore]
HAS_ARROW = importlib.util.find_spec("pyarrow") is not None


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


class _Writer:
    """Stands in for pyarrow's; the package is not among the tests'."""

    rows: list[dict[str, Any]]

    def __init__(self, path: Path, schema: Any) -> None:
        path.write_text("parquet")
        type(self).rows = []
        self.schema = schema

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *given: object) -> None:
        return None

    def write_table(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            assert set(row) == set(self.schema)
        self.rows.extend(rows)


def test_parquet(store: LedgerStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what the store asks of pyarrow."""
    kinds = {name: (lambda: None) for name in ("string", "int64", "bool_", "float64")}
    table = types.SimpleNamespace(from_pylist=lambda rows, schema: rows)
    arrow = types.SimpleNamespace(**kinds, schema=dict, Table=table)
    parquet = types.SimpleNamespace(ParquetWriter=_Writer)
    monkeypatch.setitem(sys.modules, "pyarrow", arrow)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", parquet)
    monkeypatch.setattr(export, "_GROUP", 2)
    for name in "abc":
        store.append(ledger(name))
    assert store.export(tmp_path / "x.parquet", "parquet") == 3
    assert [row["run_id"] for row in _Writer.rows] == ["a", "b", "c"]
    assert Ledger.from_json(_Writer.rows[0]["ledger"]).run_id == "a"
    assert (tmp_path / "x.parquet").exists()


@pytest.mark.skipif(not HAS_ARROW, reason="pyarrow is not there")
def test_parquet_for_real(store: LedgerStore, tmp_path: Path) -> None:
    import pyarrow.parquet  # type: ignore[import-not-found]

    for name in "abc":
        store.append(ledger(name))
    store.feedback("b", ok=True)
    assert store.export(tmp_path / "x.parquet", "parquet") == 3
    rows = pyarrow.parquet.read_table(tmp_path / "x.parquet").to_pylist()
    assert [(row["run_id"], row["ok"]) for row in rows] == [("a", None), ("b", True), ("c", None)]
    assert Ledger.from_json(rows[0]["ledger"]).run_id == "a"


@pytest.mark.skipif(HAS_ARROW, reason="pyarrow is there")
def test_parquet_needs_a_package(store: LedgerStore, tmp_path: Path) -> None:
    with pytest.raises(MissingDependencyError, match="pip install pyarrow"):
        store.export(tmp_path / "x.parquet", "parquet")
    assert not list(tmp_path.glob("x*"))
