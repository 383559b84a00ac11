"""A store as one file for other tools: JSON lines, or Parquet."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from ctxguard.errors import InputError, MissingDependencyError
from ctxguard.telemetry.reader import TraceReader

__all__ = ["Format", "export_runs"]

Format: TypeAlias = Literal["jsonl", "parquet"]
_GROUP = 1000
"""Rows of one row group of Parquet, which are in memory together."""


def export_runs(reader: TraceReader, path: Path, format: Format) -> int:  # noqa: A002 -- the word that everybody uses
    """Write every run to a file, oldest first, which is there when it is whole; count them.

    Raises:
        InputError: the format is not known, or the file cannot be written.
        MissingDependencyError: Parquet is written by pyarrow, which is not installed.
    """
    if format not in get_args(Format):
        raise InputError(f"format: expected one of {', '.join(get_args(Format))}, got {format!r}")
    part = path.with_name(f"{path.name}.part")
    try:
        count = _json_lines(reader, part) if format == "jsonl" else _parquet(reader, part)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise InputError(f"{path}: {error.strerror or error}") from error
    return count


def _json_lines(reader: TraceReader, path: Path) -> int:
    count = 0
    with path.open("w", encoding="utf-8") as lines:
        for run, ledger in reader.ledgers():
            said = [asdict(mark) for mark in reader.marks(run.run_id)] if run.ok is not None else []
            head = json.dumps({**asdict(run), "feedback": said})
            lines.write(f'{head[:-1]}, "ledger": {ledger}}}\n')
            count += 1
    return count


def _parquet(reader: TraceReader, path: Path) -> int:
    try:
        # By name, so that a type checker does not need the package either.
        arrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingDependencyError(
            "Parquet is written by pyarrow:\n  pip install pyarrow"
        ) from error
    kinds = {
        **dict.fromkeys(("run_id", "name", "model", "error", "route", "ledger"), arrow.string()),
        **dict.fromkeys(("tokens_in", "tokens_kept", "tokens_used", "size"), arrow.int64()),
        **dict.fromkeys(("dropped", "conflicts", "errors"), arrow.int64()),
        **dict.fromkeys(("grounded", "ok"), arrow.bool_()),
        "at": arrow.float64(),
    }
    schema, count = arrow.schema(list(kinds.items())), 0
    with parquet.ParquetWriter(path, schema) as writer:
        for rows in _groups(reader):
            writer.write_table(arrow.Table.from_pylist(rows, schema=schema))
            count += len(rows)
    return count


def _groups(reader: TraceReader) -> Iterator[list[dict[str, object]]]:
    rows: list[dict[str, object]] = []
    for run, ledger in reader.ledgers():
        rows.append({**asdict(run), "ledger": ledger})
        if len(rows) == _GROUP:
            yield rows
            rows = []
    if rows:
        yield rows
