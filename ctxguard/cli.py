"""The command line: `ctxguard demo`, `ctxguard --version`."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import ctxguard
from ctxguard.errors import CtxguardError, InputError, MissingDependencyError

__all__ = ["main"]

USAGE_ERROR = 2
INTERRUPTED = 130
"""What a shell reports for a command that Ctrl-C ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: without the program's name; None: those of this process.

    Returns:
        The exit code: 0, 1 when the command failed, 2 for a usage error or a missing package,
        130 after Ctrl-C.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 0
    try:
        _demo(options)
    except (InputError, MissingDependencyError) as error:
        print(f"ctxguard {options.command}: {error}", file=sys.stderr)
        return USAGE_ERROR
    except CtxguardError as error:
        print(f"ctxguard {options.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; nothing is left running", file=sys.stderr)
        return INTERRUPTED
    return 0


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
    return parser


def _demo(options: argparse.Namespace) -> None:
    from ctxguard.demo.chains import require

    require(options.framework)  # what follows imports it
    from rich.console import Console

    from ctxguard.demo.main import Options, demo

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # an ASCII terminal gets question marks
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
