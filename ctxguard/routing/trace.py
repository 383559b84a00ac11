"""Traces: questions of which somebody knows whether a route got them right."""

from __future__ import annotations

import csv
import gzip
import importlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, cast

from ctxguard.errors import InputError, MissingDependencyError
from ctxguard.ledger import Ledger
from ctxguard.routing.surroundings import surroundings_in
from ctxguard.routing.weighing import check_known

__all__ = ["Asked", "Columns", "Trace", "read_traces"]

Asked: TypeAlias = str | Mapping[str, float]
"""A question, or its signals by name where its text was not kept."""

_YES = frozenset({"true", "1", "1.0", "yes"})
_NO = frozenset({"false", "0", "0.0", "no"})
_UNKNOWN = frozenset({"", "nan", "none", "null"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A question, and how the routes did, of which at least one is known."""

    prompt: str
    light_ok: bool | None
    """Whether the light route was right; None: nobody knows, the other one was taken."""
    heavy_ok: bool | None
    """Whether the heavy one was."""
    group: str = ""
    """What it belongs to (a subject, a customer); blank: nothing but itself."""
    around: Mapping[str, float] = field(default_factory=dict[str, float], hash=False)
    """What surrounded it, as `surroundings_of` gives it; blank: it is not known."""
    signals: Mapping[str, float] = field(default_factory=dict[str, float], hash=False)
    """Those of the question, by name; they stand for it where `prompt` is blank."""
    taken_with: float | None = None
    """Where one label is known: the probability with which that route was taken, exploration
    included; None: not known."""

    def __post_init__(self) -> None:
        """Reject what says nothing, and what is no probability."""
        if self.light_ok is None and self.heavy_ok is None:
            raise InputError("Trace: light_ok or heavy_ok has to be known")
        if self.taken_with is not None and not 0 < self.taken_with <= 1:
            raise InputError(
                f"Trace.taken_with: expected a probability above 0, got {self.taken_with!r}"
            )

    @classmethod
    def of(cls, ledger: Ledger, *, light_ok: bool, heavy_ok: bool, group: str = "") -> Trace:
        """The question of a run and what surrounded it.

        Raises:
            InputError: the ledger has no question; one that was stored without content has none.
        """
        if not ledger.question.strip():
            raise InputError(f"ledger {ledger.run_id}: it has no question to learn from")
        return cls(
            prompt=ledger.question,
            light_ok=light_ok,
            heavy_ok=heavy_ok,
            group=group,
            around=surroundings_in(ledger),
        )

    @property
    def asked(self) -> Asked:
        """What a router learns from: the question, or its signals."""
        return self.prompt or self.signals


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Names of the columns, or keys, of a file of traces."""

    prompt: str = "prompt"
    light_ok: str = "light_ok"
    heavy_ok: str = "heavy_ok"
    group: str = ""
    """Blank: there is none."""
    around: str = ""
    """Of surroundings: an object, or its JSON where cells are text; blank: there are none."""
    taken_with: str = ""
    """Probability with which the route was taken. Blank: there is none."""


def read_traces(path: str | Path, columns: Columns | None = None) -> list[Trace]:
    """The traces of a file: CSV or JSON lines, gzipped or not, or Parquet.

    Raises:
        InputError: naming the file, and the row and column that cannot be used.
        MissingDependencyError: Parquet is read by pyarrow, which is not installed.
    """
    where, names = Path(path), columns or Columns()
    try:
        rows = _rows(where)
        traces = [_trace(row, names, f"{where}, row {number}") for number, row in rows]
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"traces {where}: {reason}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"traces {where}: not a text file in UTF-8") from error
    except csv.Error as error:
        raise InputError(f"traces {where}: not CSV ({error})") from error
    if not traces:
        raise InputError(f"traces {where}: there is no row")
    return traces


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    kinds = [ending for ending in path.suffixes if ending != ".gz"]
    kind = kinds[-1].lower() if kinds else ""
    if kind == ".parquet":
        return enumerate(_parquet(path), 1)
    if kind == ".csv":
        return enumerate(_csv(path), 1)
    if kind in (".jsonl", ".ndjson"):
        return enumerate(_json_lines(path), 1)
    raise InputError(f"traces {path}: expected .csv, .jsonl (either with .gz) or .parquet")


def _lines(path: Path) -> Iterator[str]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as lines:
        yield from lines


def _csv(path: Path) -> Iterator[Mapping[str, object]]:
    for number, row in enumerate(csv.DictReader(_lines(path)), 1):
        # A cell that is missing is not one that is blank: the line was cut short.
        if None in row.values():
            raise InputError(f"traces {path}, row {number}: fewer cells than columns")
        yield row


def _json_lines(path: Path) -> Iterator[Mapping[str, object]]:
    for number, line in enumerate(_lines(path), 1):
        if line.strip():
            try:
                row: object = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InputError(f"traces {path}, line {number}: not JSON ({error})") from error
            if not isinstance(row, dict):
                raise InputError(f"traces {path}, line {number}: expected an object")
            yield cast("dict[str, object]", row)


def _parquet(path: Path) -> Sequence[Mapping[str, object]]:
    try:
        # By name, so that a type checker does not need the package either.
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingDependencyError(
            "Parquet is read by pyarrow:\n  pip install pyarrow"
        ) from error
    return parquet.read_table(path).to_pylist()


def _trace(row: Mapping[str, object], names: Columns, where: str) -> Trace:
    prompt = _cell(row, names.prompt, where)
    if not isinstance(prompt, str) or not prompt.strip():
        raise InputError(f"traces {where}, {names.prompt}: expected a text, got {prompt!r:.80}")
    light, heavy = (_label(row, name, where) for name in (names.light_ok, names.heavy_ok))
    if light is None and heavy is None:
        raise InputError(
            f"traces {where}: {names.light_ok} and {names.heavy_ok} are blank; one is needed"
        )
    return Trace(
        prompt=prompt,
        light_ok=light,
        heavy_ok=heavy,
        group=str(_cell(row, names.group, where)) if names.group else "",
        around=_around(row, names.around, where) if names.around else {},
        taken_with=_share(row, names.taken_with, where) if names.taken_with else None,
    )


def _around(row: Mapping[str, object], name: str, where: str) -> dict[str, float]:
    """The surroundings of a row; a cell that is blank has none, a null in them is not known."""
    given = _cell(row, name, where)
    try:
        value: object = json.loads(given or "{}") if isinstance(given, str) else given
    except (ValueError, RecursionError) as error:
        raise InputError(f"traces {where}, {name}: not JSON ({error})") from error
    value = {} if value is None else value
    if not isinstance(value, dict):
        raise InputError(f"traces {where}, {name}: expected an object, got {given!r:.80}")
    table = cast("dict[str, object]", value)
    check_known(table, f"traces {where}, {name}")
    found: dict[str, float] = {}
    for signal, number in table.items():
        if isinstance(number, int | float) and not isinstance(number, bool):
            found[signal] = float(number)
        elif number is not None:
            raise InputError(
                f"traces {where}, {name}.{signal}: expected a number, got {number!r:.80}"
            )
    return found


def _label(row: Mapping[str, object], name: str, where: str) -> bool | None:
    value = _cell(row, name, where)
    said = _said(value)
    if said not in _YES | _NO | _UNKNOWN:
        raise InputError(
            f"traces {where}, {name}: expected true, false or nothing, got {value!r:.80}"
        )
    return None if said in _UNKNOWN else said in _YES


def _share(row: Mapping[str, object], name: str, where: str) -> float | None:
    value = _cell(row, name, where)
    said = _said(value)
    if said in _UNKNOWN:
        return None
    try:
        share = float(said)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise InputError(
            f"traces {where}, {name}: expected a probability above 0, got {value!r:.80}"
        )
    return share


def _said(value: object) -> str:
    return "" if value is None else str(value).strip().lower()


def _cell(row: Mapping[str, object], name: str, where: str) -> object:
    if name not in row:
        raise InputError(f"traces {where}: no column {name!r}, there are {_listed(row)}")
    return row[name]


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(repr, names)) or "none"
