"""`--only` and `--quick`, and putting one system's new figures into an old result."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["merged", "options_for"]


def options_for(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None
) -> argparse.Namespace:
    """Parse, with the options that both benchmarks of quality have.

    With `--only`, how many cases there are is what the old result says.
    """
    parser.add_argument("--only", default="", help="measure one system, keep the other results")
    parser.add_argument(
        "--vectors", choices=("minilm", "shipped"), default="minilm", help="the peers' encoder"
    )
    parser.add_argument("--quick", action="store_true", help="few cases, no model of torch's")
    options = parser.parse_args(arguments)
    if options.quick:
        options.vectors = "shipped"
    if options.only and options.output.exists():
        for name, value in json.loads(options.output.read_text("utf-8"))["sample"].items():
            setattr(options, name, value)
    return options


def merged(result: Mapping[str, Any], options: argparse.Namespace) -> Mapping[str, Any]:
    """The result, or with `--only` the old one with the systems of that name replaced.

    Ends the process when a set's cases are not those that the old result is about: figures of two
    different sets of cases must not stand side by side.
    """
    if not options.only or not options.output.exists():
        return result
    old = json.loads(options.output.read_text("utf-8"))
    for name, measured in result["sets"].items():
        known = old["sets"].get(name)
        if known is None or known["shown"] != measured["shown"]:
            sys.exit(
                f"{options.output}: the cases of {name!r} are other ones than before (the copies, "
                "the data or the options changed). Measure everything again, without --only."
            )
        others = {
            system: figures
            for system, figures in known["systems"].items()
            if figures["peer"] != options.only
        }
        measured["systems"] = {**measured["systems"], **others}
        old["sets"][name] = measured
    return {**old, "ctxguard": result["ctxguard"]}
