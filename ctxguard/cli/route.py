"""`ctxguard route`: learn, judge and explain which questions need the heavy model."""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ctxguard.cli.reading import read_text
from ctxguard.errors import InputError

if TYPE_CHECKING:
    from ctxguard.routing import Router, Trace

__all__ = ["add_route", "route"]


def add_route(route: argparse.ArgumentParser) -> None:
    """Add the steps of `ctxguard route` to its parser."""
    steps = route.add_subparsers(dest="step", metavar="STEP", required=True)
    fit = steps.add_parser("fit", help="learn from traces, and write a router")
    fit.add_argument("traces", type=Path, metavar="TRACES")
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
    judge = steps.add_parser("eval", help="how good a router is on traces")
    judge.add_argument("traces", type=Path, metavar="TRACES")
    explain = steps.add_parser(
        "explain", help="why a question takes its route, or what a saved run did"
    )
    explain.add_argument(
        "question", metavar="QUESTION", nargs="?", help="the text; - reads standard input"
    )
    explain.add_argument(
        "--ledger",
        type=Path,
        metavar="FILE",
        help="a file of Ledger.to_json, instead of a question",
    )
    explain.add_argument("--light", default="", metavar="MODEL", help="for its price")
    explain.add_argument("--heavy", default="", metavar="MODEL", help="for its price")
    for step in (judge, explain):
        step.add_argument(
            "--router", type=Path, metavar="FILE", help="a file of `fit` (default: what ships)"
        )
        step.add_argument("--json", action="store_true", help="one JSON document, nothing else")
    for step in (fit, judge):
        for name in ("prompt", "light", "heavy"):
            key = name if name == "prompt" else f"{name}_ok"
            step.add_argument(f"--{name}", default=key, metavar="COLUMN", help="(%(default)s)")
        step.add_argument("--group", default="", metavar="COLUMN", help="what a question is of")
        step.add_argument("--around", default="", metavar="COLUMN", help="what surrounded it, JSON")


def route(options: argparse.Namespace) -> int:
    """Run a step of `ctxguard route`, and return the exit code."""
    steps: dict[str, Callable[[argparse.Namespace], int]] = {
        "fit": _route_fit,
        "eval": _route_eval,
        "explain": _route_explain,
    }
    return steps[options.step](options)


def _route_fit(options: argparse.Namespace) -> int:
    from ctxguard.routing import Router

    if options.target is not None and options.budget is not None:
        raise InputError("--target and --budget: a router promises one of them")
    traces = _traces(options)
    promises = options.target is not None or options.budget is not None
    # Every second one, of traces in an order of its own: files are often sorted.
    dealt = random.Random(0).sample(traces, len(traces))  # noqa: S311 -- no secret
    learned, kept = (dealt[::2], dealt[1::2]) if promises else (dealt, [])
    router = Router.fit(
        [trace.prompt for trace in learned],
        [trace.light_ok for trace in learned],
        [trace.heavy_ok for trace in learned],
        groups=[trace.group for trace in learned] if options.group else None,
        around=[trace.around for trace in learned] if options.around else None,
        about=options.traces.name,
    )
    if promises:
        router = router.calibrate(
            kept, target=options.target, budget=options.budget, confidence=options.confidence
        )
    try:
        router.save(options.output)
    except OSError as error:
        raise InputError(f"--output {options.output}: {error.strerror or error}") from error
    print(f"learned from {len(learned):,} questions; wrote {options.output}")
    if router.promise is not None:
        print(router.promise)
    return 0


def _route_eval(options: argparse.Namespace) -> int:
    from ctxguard.reliability import reliability_of
    from ctxguard.routing import evaluate

    traces = _traces(options)
    router = _router(options)
    prompts, around = [trace.prompt for trace in traces], [trace.around for trace in traces]
    failed = [not trace.light_ok for trace in traces]
    found = evaluate(
        router.score(prompts, around),
        [trace.light_ok for trace in traces],
        [trace.heavy_ok for trace in traces],
    )
    reliability = reliability_of(router.light_fails(prompts, around).tolist(), failed)
    if options.json:
        print(json.dumps({**asdict(found), "light_fails": asdict(reliability)}, indent=2))
    else:
        print(f"{found}\nP(light fails), {reliability}")
    return 0


def _route_explain(options: argparse.Namespace) -> int:
    from ctxguard.routing import Route

    if (options.question is None) == (options.ledger is None):
        raise InputError("QUESTION and --ledger: one of them is explained")
    if options.ledger is not None:
        return _explain_ledger(options)
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
    parts = list(routing_parts(ledger, width=console.width))
    for part in parts or ["nothing was routed in this run"]:
        console.print(part)
    return 0


def _router(options: argparse.Namespace) -> Router:
    from ctxguard.routing import Router

    return Router() if options.router is None else Router.load(options.router)


def _traces(options: argparse.Namespace) -> list[Trace]:
    """The traces of a file, their questions read, with a bar for whoever looks on."""
    from rich.console import Console
    from rich.progress import track

    from ctxguard.routing import Columns, Router, read_traces

    columns = Columns(
        prompt=options.prompt,
        light_ok=options.light,
        heavy_ok=options.heavy,
        group=options.group,
        around=options.around,
    )
    traces = read_traces(options.traces, columns)
    console, router = Console(stderr=True), Router()
    bar = track(
        traces,
        description="reading questions",
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    for trace in bar:
        router.score([trace.prompt])  # what is read stays with the analyzer
    return traces
