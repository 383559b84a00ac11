"""The file of a store as its readers have it: read-only, one short look at a time.

No look lasts while somebody works on what it found: a reader that stays would keep the writer's log
from beginning anew.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from ctxguard.errors import InputError
from ctxguard.localfile import file_size
from ctxguard.telemetry.file import SCHEMA
from ctxguard.telemetry.judged import Judged
from ctxguard.telemetry.rows import Cell, Mark, StoredRun

__all__ = ["TraceReader"]

_SHOWN = (
    "runs.run_id, runs.at, name, model, error, tokens_in, tokens_kept, tokens_used, dropped, "
    "conflicts, errors, grounded, route, size"
)
_OK = "(SELECT ok FROM feedback WHERE run_id = runs.run_id ORDER BY at DESC LIMIT 1)"
_PAGE = 500
_WAIT = 2.0
"""Seconds to wait where the file is locked whole, while it is made or mended."""


class TraceReader:
    """Looks into a file; one that is not there is one without runs."""

    def __init__(self, path: Path) -> None:
        """Name the file."""
        self._path = path

    def text_of(self, run_id: str) -> str:
        """The JSON of the ledger of a run.

        Raises:
            InputError: no run, or more than one, begins like that.
        """
        found = self._begin_with(run_id)
        rows = self._rows("SELECT ledger FROM runs WHERE run_id = ?", (found,))
        if not rows:
            raise InputError(f"run {run_id!r}: it has just left {self._path}")
        return str(rows[0][0])

    def full_id(self, run_id: str) -> str:
        """The id that begins with these characters.

        Raises:
            InputError: no run, or more than one, begins like that.
        """
        return self._begin_with(run_id)

    def _begin_with(self, start: str) -> str:
        if not start:
            raise InputError("run: expected an id, or how one begins")
        rows = self._rows(
            "SELECT run_id FROM runs WHERE run_id >= ? AND substr(run_id, 1, ?) = ? "
            "ORDER BY run_id LIMIT 2",
            (start, len(start), start),
        )
        if not rows:
            raise InputError(f"run {start!r}: there is none in {self._path}")
        if len(rows) > 1 and rows[0][0] != start:
            raise InputError(f"run {start!r}: more than one in {self._path} begins like that")
        return str(rows[0][0])

    def newest(
        self, *, limit: int | None, since: float, name: str, errors_only: bool
    ) -> tuple[StoredRun, ...]:
        """The newest runs, newest first."""
        query = (
            f"SELECT {_SHOWN}, {_OK} FROM runs WHERE at >= ? AND (? = '' OR name = ?) "  # noqa: S608 -- constants only
            "AND (NOT ? OR error <> '' OR errors > 0) ORDER BY seq DESC LIMIT ?"
        )
        values = (since, name, name, errors_only, -1 if limit is None else limit)
        return tuple(_run(row) for row in self._rows(query, values))

    def last(self, back: int = 0) -> int:
        """The place of the newest run, or of the one so many before it; 0: there is none."""
        query = "SELECT seq FROM runs ORDER BY seq DESC LIMIT 1 OFFSET ?"
        rows = self._rows(query, (back,))
        return int(rows[0][0] or 0) if rows else 0

    def after(self, seq: int) -> tuple[int, tuple[StoredRun, ...]]:
        """The runs that were written after a place, oldest first, and the place of the last one.

        A place beyond the newest is of a file that is gone, so all of the new one comes.
        """
        query = (
            f"SELECT seq, {_SHOWN}, {_OK} FROM runs WHERE seq > "  # noqa: S608 -- constants only
            "CASE WHEN ?1 > (SELECT COALESCE(MAX(seq), 0) FROM sqlite_sequence) THEN 0 ELSE ?1 END "
            f"ORDER BY seq LIMIT {_PAGE}"
        )
        rows = self._rows(query, (seq,))
        place = int(rows[-1][0] or 0) if rows else seq
        return place, tuple(_run(row[1:]) for row in rows)

    def ledgers(self) -> Iterator[tuple[StoredRun, str]]:
        """Every run with the JSON of its ledger, oldest first, as far as it was when it began."""
        query = f"SELECT seq, ledger, {_SHOWN}, {_OK} FROM runs"  # noqa: S608 -- constants only
        for row in self._pages(query):
            yield _run(row[1:]), str(row[0])

    def judged(self) -> Iterator[Judged]:
        """Every run that somebody judged, oldest first."""
        query = f"SELECT seq, run_id, at, question, routing, route, {_OK} AS said FROM runs"  # noqa: S608 -- constants only
        for row in self._pages(query, "said IS NOT NULL"):
            yield _judged(row)

    def count(self, *, judged: bool = False) -> int:
        """How many runs there are, or how many of them somebody judged."""
        where = "WHERE run_id IN (SELECT run_id FROM feedback)" if judged else ""
        rows = self._rows(f"SELECT COUNT(*) FROM runs {where}", ())  # noqa: S608 -- constants only
        return int(rows[0][0] or 0) if rows else 0

    def marks(self, run_id: str) -> tuple[Mark, ...]:
        """What was said of a run, oldest first."""
        query = "SELECT run_id, at, ok, by, comment FROM feedback WHERE run_id = ? ORDER BY at"
        return tuple(
            Mark(run_id=str(run), at=float(at or 0), ok=bool(ok), by=str(by), comment=str(comment))
            for run, at, ok, by, comment in self._rows(query, (run_id,))
        )

    def _pages(self, query: str, more: str = "TRUE") -> Iterator[tuple[Cell, ...]]:
        """The rows of a query whose first column is `seq`, without it, by pages."""
        place, end = 0, self.last()
        paged = f"{query} WHERE seq > ? AND seq <= ? AND {more} ORDER BY seq LIMIT {_PAGE}"
        while rows := self._rows(paged, (place, end)):
            place = int(rows[-1][0] or 0)
            for row in rows:
                yield row[1:]

    def _rows(self, query: str, values: Sequence[Cell]) -> list[tuple[Cell, ...]]:
        """All rows of a query.

        Raises:
            InputError: the file is no store, damaged, locked, or of a later release.
        """
        if not self._path.exists():
            return []
        try:
            with closing(self._opened()) as db:
                return db.execute(query, values).fetchall() if SCHEMA.check(db) else []
        except sqlite3.Error as error:
            raise InputError(f"{self._path}: {error}") from error

    def _opened(self) -> sqlite3.Connection:
        """A connection that reads only, also where the folder cannot be written to."""
        uri = self._path.absolute().as_uri()
        db = sqlite3.connect(f"{uri}?mode=ro", uri=True, timeout=_WAIT, check_same_thread=False)
        try:
            db.execute("PRAGMA schema_version").fetchone()
        except sqlite3.OperationalError:
            db.close()
            if file_size(Path(f"{self._path}-wal")):
                raise
            # There is no log, and none can be made, so nobody writes to it.
            return sqlite3.connect(f"{uri}?mode=ro&immutable=1", uri=True)
        return db


def _run(row: Sequence[Cell]) -> StoredRun:
    run_id, at, name, model, error, *counts, grounded, route, size, ok = row
    came, kept, used, dropped, conflicts, errors = (int(count or 0) for count in counts)
    return StoredRun(
        run_id=str(run_id),
        at=float(at or 0),
        name=str(name),
        model=str(model),
        error=str(error),
        tokens_in=came,
        tokens_kept=kept,
        tokens_used=used,
        dropped=dropped,
        conflicts=conflicts,
        errors=errors,
        grounded=None if grounded is None else bool(grounded),
        route=str(route),
        size=int(size or 0),
        ok=None if ok is None else bool(ok),
    )


def _judged(row: Sequence[Cell]) -> Judged:
    run_id, at, question, routing, route, ok = row
    table: dict[str, Any] = json.loads(str(routing)) if routing else {}
    return Judged(
        run_id=str(run_id),
        at=float(at or 0),
        question=None if question is None else str(question),
        signals=table.get("signals", {}),
        around=table.get("around", {}),
        route=str(route),
        ok=bool(ok),
        propensity=table.get("propensity"),
    )
