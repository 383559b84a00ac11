"""`ctxguard demo`."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["add_demo", "run_demo"]


def add_demo(demo: argparse.ArgumentParser) -> None:
    """Add its options."""
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


def run_demo(options: argparse.Namespace) -> int:
    """Run it."""
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
