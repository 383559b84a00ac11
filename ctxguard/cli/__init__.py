"""The command line: `ctxguard demo`, `ctxguard route`, `ctxguard verify`, `ctxguard --version`."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import ctxguard
from ctxguard.cli.reading import read_text
from ctxguard.cli.route import add_route, route
from ctxguard.errors import CtxguardError, InputError, MissingDependencyError
from ctxguard.types import Chunk

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
        "route": route,
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
    routes = commands.add_parser(
        "route",
        help="learn, judge and explain which questions need the heavy model",
        description="Which questions need the heavy model. A file of traces has a row per question "
        "and says whether the light and the heavy model got it right: CSV or JSON lines, gzipped "
        "or not, or Parquet.",
    )
    add_route(routes)
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
            chunks.append(Chunk(id=str(one), text=read_text(one), source=str(one)))
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
    answer = read_text(options.answer)
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
