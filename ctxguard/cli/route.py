"""`ctxguard route`: learn which questions need the heavy model, judge it, explain it."""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ctxguard.cli.reading import is_store, open_store, read_text
from ctxguard.errors import InputError

if TYPE_CHECKING:
    from ctxguard.routing import Router, Trace
    from ctxguard.types import Decision

__all__ = ["add_route", "run_route"]


def add_route(route: argparse.ArgumentParser) -> None:
    """Add its steps and their options."""
    steps = route.add_subparsers(dest="step", metavar="STEP", required=True)
    fit = steps.add_parser("fit", help="learn from traces, and write a router")
    fit.add_argument("--output", "-o", type=Path, required=True, metavar="FILE")
    fit.add_argument(
        "--target",
        type=float,
        metavar="SHARE",
        help="promise this share of the quality of all heavy: half of the traces are kept for it",
    )
    fit.add_argument(
        "--budget",
        type=float,
        metavar="SHARE",
        help="promise at most this share of heavy calls: half of the traces are kept for it",
    )
    fit.add_argument("--confidence", type=float, default=0.95, metavar="P")
    fit.add_argument(
        "--exploration",
        type=float,
        metavar="SHARE",
        help="least probability with which either route was taken, for a promise from a log that "
        "knows one route of each question",
    )
    judge = steps.add_parser("eval", help="how good a router is on traces")
    explain = steps.add_parser("explain", help="why a question takes its route")
    explain.add_argument(
        "question",
        metavar="QUESTION",
        nargs="?",
        help="the text; - reads standard input; with --store a run: how its id begins is enough",
    )
    explain.add_argument(
        "--ledger", type=Path, metavar="FILE", help="a file of Ledger.to_json, not a question"
    )
    explain.add_argument("--light", default="", metavar="MODEL", help="for its price")
    explain.add_argument("--heavy", default="", metavar="MODEL", help="for its price")
    for step in (judge, explain):
        step.add_argument(
            "--router", type=Path, metavar="FILE", help="a file of `fit` (default: what ships)"
        )
        step.add_argument("--json", action="store_true", help="one JSON document, nothing else")
    for step in (fit, judge):
        _add_columns(step)
    for step in (fit, judge, explain):
        step.add_argument(
            *("--store", "-s"),
            type=Path,
            nargs="?",
            const=Path(),
            metavar="PATH",
            help="a store of traces (without PATH: the user's own)",
        )


def _add_columns(step: argparse.ArgumentParser) -> None:
    step.add_argument("traces", type=Path, metavar="TRACES", nargs="?")
    step.add_argument("--prompt", default="prompt", metavar="COLUMN", help="(%(default)s)")
    for name in ("light", "heavy"):
        step.add_argument(
            f"--{name}",
            metavar="COLUMN",
            help=f"({name}_ok); of a store, the name of the route ({name})",
        )
    step.add_argument("--group", default="", metavar="COLUMN", help="what a question is of")
    step.add_argument("--around", default="", metavar="COLUMN", help="what surrounded it, JSON")
    step.add_argument(
        "--taken-with",
        default="",
        metavar="COLUMN",
        help="probability with which the route was taken whose label alone is known",
    )


def run_route(options: argparse.Namespace) -> int:
    """Run its step."""
    steps: dict[str, Callable[[argparse.Namespace], int]] = {
        "fit": _fit,
        "eval": _eval,
        "explain": _explain,
    }
    return steps[options.step](options)


def _fit(options: argparse.Namespace) -> int:
    from ctxguard.routing import Router

    if options.target is not None and options.budget is not None:
        raise InputError("--target and --budget: a router promises one of them")
    traces = _traces(options)
    promises = options.target is not None or options.budget is not None
    # Every second one, of traces in an order of its own: files are often sorted.
    dealt = random.Random(0).sample(traces, len(traces))  # noqa: S311 -- no secret
    learned, kept = (dealt[::2], dealt[1::2]) if promises else (dealt, [])
    around = [trace.around for trace in learned]
    router = Router.fit(
        [trace.asked for trace in learned],
        [trace.light_ok for trace in learned],
        [trace.heavy_ok for trace in learned],
        groups=[trace.group for trace in learned] if options.group else None,
        taken_with=[trace.taken_with for trace in learned],
        around=around if any(around) else None,
        about=(options.traces or options.store).name or "the user's store",
    )
    if promises:
        router = router.calibrate(
            kept,
            target=options.target,
            budget=options.budget,
            confidence=options.confidence,
            exploration=options.exploration,
        )
    try:
        router.save(options.output)
    except OSError as error:
        raise InputError(f"--output {options.output}: {error.strerror or error}") from error
    print(f"learned from {len(learned):,} questions; wrote {options.output}")
    if router.promise is not None:
        print(router.promise)
    return 0


def _eval(options: argparse.Namespace) -> int:
    from ctxguard.reliability import reliability_of
    from ctxguard.routing import evaluate

    traces = _traces(options)
    router = _router(options)
    known = [
        (trace, trace.light_ok, trace.heavy_ok)
        for trace in traces
        if trace.light_ok is not None and trace.heavy_ok is not None
    ]
    if len(known) < len(traces):
        raise InputError(
            f"{options.traces}: {len(known):,} of {len(traces):,} traces have both labels; what a "
            "router would have done is judged where all have"
        )
    judged, light, heavy = zip(*known, strict=True)
    asked, around = [trace.asked for trace in judged], [trace.around for trace in judged]
    found = evaluate(router.score(asked, around), light, heavy)
    failed = [not one for one in light]
    reliability = reliability_of(router.light_fails(asked, around).tolist(), failed)
    if options.json:
        print(json.dumps({**asdict(found), "light_fails": asdict(reliability)}, indent=2))
    else:
        print(f"{found}\nP(light fails), {reliability}")
    return 0


def _explain(options: argparse.Namespace) -> int:
    from ctxguard.routing import Route
    from ctxguard.routing.explanation import said_of

    if (options.question is None) == (options.ledger is None):
        raise InputError("QUESTION and --ledger: one of them is explained")
    if options.ledger is not None:
        return _explain_ledger(options)
    if options.store is not None:
        decision = _decided(options)
        print(json.dumps(asdict(decision), indent=2) if options.json else said_of(decision))
        return 0
    question = read_text(Path("-")) if options.question == "-" else options.question
    routes = [Route(name=name, model=getattr(options, name)) for name in ("light", "heavy")]
    routing = _router(options).decide(question, routes)
    print(json.dumps(asdict(routing.decision()), indent=2) if options.json else routing)
    return 0


def _explain_ledger(options: argparse.Namespace) -> int:
    """The routes of a saved run: each decision, each call, what was saved."""
    from rich.console import Console

    from ctxguard.ledger import Ledger
    from ctxguard.view import routing_parts

    ledger = Ledger.from_json(read_text(options.ledger))
    if options.json:
        chosen = [asdict(one) for one in ledger.decisions if one.stage == "route"]
        calls = [asdict(call) for call in ledger.calls]
        found = {"decisions": chosen, "calls": calls, "savings": ledger.savings.to_dict()}
        print(json.dumps(found, indent=2))
        return 0
    console = Console(highlight=False, markup=False, emoji=False)
    for part in list(routing_parts(ledger, width=console.width)) or [
        "nothing was routed in this run"
    ]:
        console.print(part)
    return 0


def _decided(options: argparse.Namespace) -> Decision:
    """What was decided of the route of a stored run, the last time."""
    ledger = open_store(options.store).get(options.question)
    routes = [one for one in ledger.decisions if one.stage == "route" and one.action == "route"]
    if not routes:
        raise InputError(f"run {ledger.run_id}: there was no route to choose in it")
    return routes[-1]


def _router(options: argparse.Namespace) -> Router:
    from ctxguard.routing import Router

    return Router() if options.router is None else Router.load(options.router)


def _traces(options: argparse.Namespace) -> list[Trace]:
    """The traces of a file or a store, read, with a bar for whoever looks on."""
    from rich.console import Console
    from rich.progress import track

    from ctxguard.routing import Router

    if (options.traces is None) == (options.store is None):
        raise InputError("TRACES: give a file of traces, or --store")
    stored = options.store is not None or is_store(options.traces)
    traces = _stored(options) if stored else _filed(options)
    console, router = Console(stderr=True), Router()
    bar = track(
        traces,
        description="reading questions",
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    for trace in bar:
        router.score([trace.asked])  # what is read stays with the analyzer
    return traces


def _filed(options: argparse.Namespace) -> list[Trace]:
    from ctxguard.routing import Columns, read_traces

    columns = Columns(
        prompt=options.prompt,
        light_ok=options.light or "light_ok",
        heavy_ok=options.heavy or "heavy_ok",
        group=options.group,
        around=options.around,
        taken_with=options.taken_with,
    )
    return read_traces(options.traces, columns)


def _stored(options: argparse.Namespace) -> list[Trace]:
    from rich.console import Console
    from rich.progress import track

    from ctxguard.telemetry import traces_of

    for name in ("group", "around", "taken-with"):
        if getattr(options, name.replace("-", "_")):
            raise InputError(f"--{name}: a store has no columns")
    store = open_store(options.store or options.traces)
    console = Console(stderr=True)
    bar = track(
        store.judged(),
        total=store.count(judged=True),
        description="reading runs",
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    light, heavy = options.light or "light", options.heavy or "heavy"
    traces = traces_of(bar, light=light, heavy=heavy)
    if options.step == "fit":
        return traces
    both = [one for one in traces if one.light_ok is not None and one.heavy_ok is not None]
    if not both:
        raise InputError(
            f"{store.path}: no question was judged on both routes, {light} and {heavy} "
            f"({len(traces):,} on one of them); `ctxguard traces feedback` judges a run"
        )
    if len(both) < len(traces):
        print(
            f"{len(traces) - len(both):,} questions were judged on one route only: left out",
            file=sys.stderr,
        )
    return both
