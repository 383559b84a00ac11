"""`ctxguard verify`: an answer against its evidence."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ctxguard.cli.reading import read_text
from ctxguard.errors import InputError
from ctxguard.types import Chunk

__all__ = ["NOT_GROUNDED", "add_verify", "run_verify"]

NOT_GROUNDED = 1


def add_verify(verify: argparse.ArgumentParser) -> None:
    """Add its options."""
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


def run_verify(options: argparse.Namespace) -> int:
    """Run it; the exit code says how it went."""
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
