"""`ctxguard traces`: what guarded calls decided, from a local store."""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ctxguard.cli.reading import open_store
from ctxguard.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ctxguard.telemetry import LedgerStore, StoredRun

__all__ = ["add_traces", "run_traces"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_AGO = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_SHORT = 12
"""Characters of a run's id that are shown: two of a million runs begin alike once in 500 stores."""
_WIDE = 500
_COLUMNS = ("run", "ended", "what", "tokens", "left out", "route", "notes")


def add_traces(traces: argparse.ArgumentParser) -> None:
    """Add its steps and their options."""
    steps = traces.add_subparsers(dest="step", metavar="STEP", required=True)
    shown = steps.add_parser("list", help="the newest runs")
    shown.add_argument("--limit", "-n", type=int, default=20, metavar="N", help="(%(default)s)")
    shown.add_argument(
        "--since", default="", metavar="WHEN", help="90s, 15m, 2h, 7d, or a date as 2026-01-31"
    )
    shown.add_argument("--name", default="", metavar="NAME", help="of what ran")
    shown.add_argument("--errors", action="store_true", help="runs with an error")
    show = steps.add_parser("show", help="the ledger of a run")
    tail = steps.add_parser("tail", help="the last runs, and those to come, until Ctrl-C")
    tail.add_argument("--last", "-n", type=int, default=10, metavar="N", help="(%(default)s)")
    tail.add_argument("--no-follow", action="store_true", help="do not wait for more")
    export = steps.add_parser("export", help="write all runs with their ledgers to a file")
    export.add_argument("output", type=Path, metavar="FILE", help=".jsonl or .parquet")
    export.add_argument(
        "--format", choices=("jsonl", "parquet"), help="(by the name of the file, else jsonl)"
    )
    feedback = steps.add_parser("feedback", help="say whether the answer of a run was right")
    for step in (show, feedback):
        step.add_argument("run", metavar="RUN", help="how its id begins is enough")
    feedback.add_argument("verdict", choices=("ok", "not-ok"))
    feedback.add_argument("--by", default="user", metavar="WHO", help="(%(default)s)")
    for step in (shown, show, tail):
        step.add_argument("--json", action="store_true", help="JSON, nothing else")
    for step in (shown, show, tail, export, feedback):
        step.add_argument(
            *("--store", "-s"),
            type=Path,
            default=Path(os.environ.get("CTXGUARD_TRACES") or ""),
            metavar="PATH",
            help="(CTXGUARD_TRACES, else the user's own)",
        )


def run_traces(options: argparse.Namespace) -> int:
    """Run its step."""
    steps: dict[str, Callable[[LedgerStore, argparse.Namespace], None]] = {
        "list": _list,
        "show": _show,
        "tail": _tail,
        "export": _export,
        "feedback": _feedback,
    }
    steps[options.step](open_store(options.store), options)
    return 0


def _list(store: LedgerStore, options: argparse.Namespace) -> None:
    if options.limit < 1:
        raise InputError(f"--limit: expected at least 1, got {options.limit}")
    runs = store.list(
        limit=options.limit,
        since=_since(options.since),
        name=options.name,
        errors_only=options.errors,
    )
    if options.json:
        print(json.dumps([asdict(run) for run in runs], indent=2))
        return
    table = _table()
    for run in runs:
        table.add_row(*_cells(run))
    console = _console()
    console.print(table)
    console.print(f"{len(runs):,} of {store.count():,} runs in {store.path}", soft_wrap=True)


def _show(store: LedgerStore, options: argparse.Namespace) -> None:
    ledger = store.get(options.run)
    if options.json:
        print(ledger.to_json(indent=2))
        return
    console = _console()
    console.print(ledger)
    for mark in store.marks(ledger.run_id):
        said = "ok" if mark.ok else "not ok"
        comment = f": {mark.comment}" if mark.comment else ""
        console.print(f"{mark.by}, {_when(mark.at)}: {said}{comment}")


def _tail(store: LedgerStore, options: argparse.Namespace) -> None:
    if options.last < 0:
        raise InputError(f"--last: expected at least 0, got {options.last}")
    console = _console()
    for run in store.tail(follow=not options.no_follow, last=options.last):
        if options.json:
            print(json.dumps(asdict(run)), flush=True)
        else:
            console.print("  ".join(cell for cell in _cells(run) if cell), soft_wrap=True)
            sys.stdout.flush()


def _export(store: LedgerStore, options: argparse.Namespace) -> None:
    by_name = "parquet" if options.output.suffix.lower() == ".parquet" else "jsonl"
    count = store.export(options.output, options.format or by_name)
    print(f"wrote {count:,} runs to {options.output}")


def _feedback(store: LedgerStore, options: argparse.Namespace) -> None:
    run_id = store.find(options.run)
    store.feedback(run_id, ok=options.verdict == "ok", by=options.by)
    if not store.flush(10) or store.dropped:
        raise InputError(f"{store.path}: it could not be written")
    print(f"{run_id}: {options.verdict}")


def _since(text: str) -> float | datetime | None:
    """Seconds since the epoch of "so long ago", or a date."""
    ago = _AGO.fullmatch(text.strip())
    if ago:
        return time.time() - float(ago[1]) * _UNITS[ago[2]]
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError as error:
        raise InputError(f"--since: expected 15m, 2h, 7d or a date, got {text!r:.80}") from error


def _console() -> Console:
    """A console that tells of a reader that is gone, and cuts nothing for one that is a program."""
    from rich.console import Console

    class Told(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    is_program = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    width = _WIDE if is_program else None
    return Told(highlight=False, markup=False, emoji=False, width=width)


def _table() -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in _COLUMNS:
        table.add_column(
            name,
            justify="right" if name in ("tokens", "left out") else "left",
            no_wrap=name in ("run", "ended", "tokens"),
        )
    return table


def _cells(run: StoredRun) -> tuple[str, ...]:
    """A run, a text for each of the columns."""
    notes = (
        f"error {run.error}" if run.error else "",
        f"{run.errors} failed" if run.errors else "",
        f"{run.conflicts} conflicts" if run.conflicts else "",
        {True: "grounded", False: "not grounded", None: ""}[run.grounded],
        {True: "ok", False: "not ok", None: ""}[run.ok],
    )
    tokens = str(run.tokens_used or "")
    if run.tokens_in:
        tokens = f"{run.tokens_in:,} → {run.tokens_kept:,}"
    return (
        run.run_id[:_SHORT],
        _when(run.at),
        " ".join(filter(None, (run.name, run.model))),
        tokens,
        str(run.dropped or ""),
        run.route,
        ", ".join(filter(None, notes)),
    )


def _when(at: float) -> str:
    """A moment in this machine's time zone; of today, the time."""
    if not math.isfinite(at):
        return "?"
    moment, now = datetime.fromtimestamp(at).astimezone(), datetime.now().astimezone()
    return moment.strftime("%H:%M:%S" if moment.date() == now.date() else "%Y-%m-%d %H:%M")
