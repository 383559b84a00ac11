"""The command line: `ctxguard demo`, `ctxguard route`, `ctxguard verify`, `ctxguard --version`."""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import ctxguard
from ctxguard.errors import CtxguardError, InputError, MissingDependencyError
from ctxguard.types import Chunk

if TYPE_CHECKING:
    from ctxguard.routing import Router, Trace

__all__ = ["main"]

USAGE_ERROR = 2
NOT_GROUNDED = 1
READER_GONE = 141
"""What a shell reports for a command whose reader has gone away."""
INTERRUPTED = 130
"""What a shell reports for a command that Ctrl-C ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: without the program's name; None: those of this process.

    Returns:
        The exit code: 0, 1 when the command failed or an answer is not known to be grounded, 2 for
        a usage error or a missing package, 130 after Ctrl-C, 141 when nobody reads on.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 0
    commands: dict[str, Callable[[argparse.Namespace], int]] = {
        "demo": _demo,
        "route": _route,
        "verify": _verify,
    }
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # an ASCII terminal gets question marks
    try:
        code = commands[options.command](options)
        sys.stdout.flush()  # here, where a reader that is gone can still be told from a fault
    except (InputError, MissingDependencyError) as error:
        print(f"ctxguard {options.command}: {error}", file=sys.stderr)
        return USAGE_ERROR
    except CtxguardError as error:
        print(f"ctxguard {options.command}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # "| head" has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    except KeyboardInterrupt:
        print("\nstopped; nothing is left running", file=sys.stderr)
        return INTERRUPTED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ctxguard", description="The right context for a language model, and the reasons."
    )
    parser.add_argument("--version", action="version", version=f"ctxguard {ctxguard.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    demo = commands.add_parser(
        "demo",
        help="ask a small model on this machine the same questions with and without the guard",
        description="Ask about the licences of the software that is installed here, once by an "
        "ordinary chain and once by the same chain guarded, and compare: copies, tokens, time. "
        "Takes a few minutes; --llm none takes seconds.",
    )
    _add_demo(demo)
    verify = commands.add_parser(
        "verify",
        help="hold an answer against its evidence, claim by claim",
        description="Hold an answer against its evidence, claim by claim, with no model. Exit "
        "code 0: it is grounded; 1: it is not, or it could not be judged; 2: bad input.",
    )
    _add_verify(verify)
    route = commands.add_parser(
        "route",
        help="learn, judge and explain which questions need the heavy model",
        description="Which questions need the heavy model. A file of traces has a row per question "
        "and says whether the light and the heavy model got it right: CSV or JSON lines, gzipped "
        "or not, or Parquet.",
    )
    _add_route(route)
    return parser


def _add_demo(demo: argparse.ArgumentParser) -> None:
    add = demo.add_argument
    add(
        "--framework",
        choices=("langchain", "llama-index"),
        default="langchain",
        help="whose chain (default: %(default)s)",
    )
    add(
        "--llm",
        choices=("smollm2", "none"),
        default="smollm2",
        help="who answers; none: prompts are only counted (default: %(default)s)",
    )
    add(
        "--embeddings",
        choices=("lsa", "minilm"),
        default="lsa",
        help="how chunks are found: lsa by word statistics, minilm by all-MiniLM-L6-v2 "
        "(default: %(default)s)",
    )
    add(
        "--policy",
        choices=("lean", "balanced"),
        default="lean",
        help="the guard's preset: balanced leaves copies out; lean also shortens other versions "
        "of a text to what differs (default: %(default)s)",
    )
    add("--questions", type=int, default=8, metavar="N", help="ask the first N (default: all 8)")
    add("--top-k", type=int, default=8, metavar="K", help="chunks per question (default: 8)")
    add("--path", type=Path, metavar="DIR", help="read the distributions in this folder instead")
    add("--json", action="store_true", help="one JSON document on standard output, nothing else")


def _add_verify(verify: argparse.ArgumentParser) -> None:
    add = verify.add_argument
    add("answer", metavar="ANSWER", type=Path, help="a text file; - reads standard input")
    add(
        "--evidence",
        type=Path,
        metavar="PATH",
        nargs="+",
        action="extend",
        required=True,
        help="text files, or folders with some; may be repeated",
    )
    add("--question", default="", metavar="TEXT", help="what was asked")
    add(
        "--calibration",
        type=Path,
        metavar="FILE",
        help="a file of Calibration.save: scores become probabilities, with its threshold",
    )
    add(
        "--threshold",
        type=float,
        metavar="P",
        help="score under which a claim is not supported (default: the calibration's, else 0.5)",
    )
    add("--json", action="store_true", help="one JSON document on standard output, nothing else")


def _add_route(route: argparse.ArgumentParser) -> None:
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
    fit.add_argument(
        "--exploration",
        type=float,
        metavar="SHARE",
        help="least probability with which either route was taken, for a promise from a log that "
        "knows one route of each question",
    )
    judge = steps.add_parser("eval", help="how good a router is on traces")
    judge.add_argument("traces", type=Path, metavar="TRACES")
    explain = steps.add_parser("explain", help="why a question takes its route")
    explain.add_argument("question", metavar="QUESTION", help="the text; - reads standard input")
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
        step.add_argument(
            "--taken-with",
            default="",
            metavar="COLUMN",
            help="probability with which the route was taken whose label alone is known",
        )


def _demo(options: argparse.Namespace) -> int:
    from ctxguard.demo.chains import require

    require(options.framework)  # what follows imports it
    from rich.console import Console

    from ctxguard.demo.main import Options, demo

    console = Console(stderr=options.json, highlight=False)
    demo(
        Options(
            framework=options.framework,
            llm=options.llm,
            embeddings=options.embeddings,
            questions=options.questions,
            policy=options.policy,
            top_k=options.top_k,
            path=options.path,
            json=options.json,
        ),
        console,
    )
    return 0


def _text(path: Path) -> str:
    """The text of a file, or of standard input for "-".

    Raises:
        InputError: there is none, or it is not text.
    """
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file in UTF-8") from error
    if "\0" in text:
        raise InputError(f"{path}: not a text file in UTF-8")
    return text.replace("\r\n", "\n")


def _evidence(paths: Sequence[Path]) -> tuple[list[Chunk], list[Path]]:
    """The text of files and of what is in folders, and the files in folders that are not text.

    Names that begin with a dot are left alone; so is a second mention of a file.
    """
    files: dict[Path, bool] = {}
    for path in paths:
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        for one in inside:
            is_hidden = any(part.startswith(".") for part in one.relative_to(path).parts)
            if one == path or (one.is_file() and not is_hidden):
                files.setdefault(one, one != path)
    chunks: list[Chunk] = []
    skipped: list[Path] = []
    for one, is_inside in files.items():
        try:
            chunks.append(Chunk(id=str(one), text=_text(one), source=str(one)))
        except InputError:
            if not is_inside:
                raise
            skipped.append(one)
    if not chunks:
        raise InputError("--evidence: there is no text file")
    return chunks, skipped


def _verify(options: argparse.Namespace) -> int:
    from rich.console import Console

    from ctxguard.verification import Calibration, Verifier
    from ctxguard.view import verification_parts

    path: Path | None = options.calibration
    verifier = Verifier(
        threshold=options.threshold, calibration=None if path is None else Calibration.load(path)
    )
    answer = _text(options.answer)
    evidence, skipped = _evidence(options.evidence)
    for one in skipped:
        print(f"ctxguard verify: {one} is not text, it is left out", file=sys.stderr)
    verification = verifier(answer, evidence, options.question)
    if options.json:
        data = {"grounded": verification.grounded, "score": verification.score}
        data |= {"threshold": verifier.cut, "skipped": [str(one) for one in skipped]}
        print(json.dumps(data | asdict(verification), indent=2))
    else:
        console = Console(highlight=False, markup=False, emoji=False)
        for part in verification_parts(verification, threshold=verifier.cut):
            console.print(part)
    return 0 if verification.grounded else NOT_GROUNDED


def _route(options: argparse.Namespace) -> int:
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
        taken_with=[trace.taken_with for trace in learned],
        groups=[trace.group for trace in learned] if options.group else None,
        about=options.traces.name,
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


def _route_eval(options: argparse.Namespace) -> int:
    from ctxguard.reliability import reliability_of
    from ctxguard.routing import evaluate

    traces = _traces(options)
    router = _router(options)
    known = [
        (trace.prompt, trace.light_ok, trace.heavy_ok)
        for trace in traces
        if trace.light_ok is not None and trace.heavy_ok is not None
    ]
    if len(known) < len(traces):
        raise InputError(
            f"{options.traces}: {len(known):,} of {len(traces):,} traces have both labels; what a "
            "router would have done is judged where all have"
        )
    prompts, light, heavy = zip(*known, strict=True)
    found = evaluate(router.score(prompts), light, heavy)
    failed = [not one for one in light]
    reliability = reliability_of(router.light_fails(prompts).tolist(), failed)
    if options.json:
        print(json.dumps({**asdict(found), "light_fails": asdict(reliability)}, indent=2))
    else:
        print(f"{found}\nP(light fails), {reliability}")
    return 0


def _route_explain(options: argparse.Namespace) -> int:
    from ctxguard.routing import Route

    question = _text(Path("-")) if options.question == "-" else options.question
    routes = [Route(name=name, model=getattr(options, name)) for name in ("light", "heavy")]
    routing = _router(options).decide(question, routes)
    print(json.dumps(asdict(routing.decision()), indent=2) if options.json else routing)
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
        taken_with=options.taken_with,
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
