"""The command line: `ctxguard demo`, `route`, `traces`, `verify`, and `ctxguard --version`."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence

import ctxguard
from ctxguard.cli.demo import add_demo, run_demo
from ctxguard.cli.route import add_route, run_route
from ctxguard.cli.traces import add_traces, run_traces
from ctxguard.cli.verify import add_verify, run_verify
from ctxguard.errors import CtxguardError, InputError, MissingDependencyError

__all__ = ["main"]

USAGE_ERROR = 2
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
        "demo": run_demo,
        "route": run_route,
        "traces": run_traces,
        "verify": run_verify,
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
    add_demo(demo)
    verify = commands.add_parser(
        "verify",
        help="hold an answer against its evidence, claim by claim",
        description="Hold an answer against its evidence, claim by claim, with no model. Exit "
        "code 0: it is grounded; 1: it is not, or it could not be judged; 2: bad input.",
    )
    add_verify(verify)
    route = commands.add_parser(
        "route",
        help="learn, judge and explain which questions need the heavy model",
        description="Which questions need the heavy model. A file of traces has a row per question "
        "and says whether the light and the heavy model got it right: CSV or JSON lines, gzipped "
        "or not, or Parquet. A store (--store, or a file .sqlite3 or .db) gives the runs whose "
        "answers were judged by `ctxguard traces feedback`.",
    )
    add_route(route)
    traces = commands.add_parser(
        "traces",
        help="look at what guarded calls decided, in a local store",
        description="What guarded calls decided, in a store that CTXGUARD_TRACES or "
        "ctxguard.telemetry.record_to filled.",
    )
    add_traces(traces)
    return parser
