"""Where the data of the benchmarks is, and reading it.

The folder is `--data`, else CTXGUARD_DATA, else ../shared/data. It holds `redundancy/`,
`selection/` and `verification/`, whose files are JSON lines, gzipped, and `routing/`, a table;
`FILES` says what each is and where it is from.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["FILES", "folder_option", "located", "read"]

FILES: Mapping[str, str] = {
    "redundancy/cuad_clauses": "clauses of CUAD v1 (The Atticus Project, CC BY 4.0)",
    "redundancy/ramdocs": "RAMDocs (github.com/HanNight/RAMDocs, MIT)",
    "redundancy/sick_train": "SICK, train and trial (believed CC BY-NC-SA 3.0; measured only)",
    "redundancy/msrp_train": "MSRP, train and val (Microsoft Research licence; measured only)",
    "selection/hotpot": "HotpotQA, distractor setting (CC BY-SA 4.0)",
    "selection/musique": "MuSiQue (CC BY 4.0)",
    "selection/cuad": "questions about contracts and their clauses (CUAD v1, CC BY 4.0)",
    "selection/contracts": "the contracts' text (CUAD v1, CC BY 4.0)",
    "verification/contracts": "statements on clauses of CUAD v1 (CC BY 4.0), and wrong ones",
    "verification/claims": "answers of RAMDocs (MIT) beside a document that states the right one",
    "verification/summedits": "SummEdits, four domains (salesforce/factualNLG, Apache-2.0)",
    "routing/mmlu_even_subjects": "MMLU, 26 subjects: answers of Mixtral-8x7B-Instruct and "
    "GPT-4-1106 (lm-sys/RouteLLM, Apache-2.0)",
}


def folder_option(parser: argparse.ArgumentParser) -> None:
    """Add `--data`."""
    default = os.environ.get("CTXGUARD_DATA") or "../shared/data"
    parser.add_argument("--data", type=Path, default=Path(default), help="folder of the data sets")


def read(folder: Path, name: str) -> Sequence[Mapping[str, Any]]:
    """The rows of one of `FILES`; where it is missing, says what to get and ends the process."""
    path = located(folder, name, ".jsonl.gz")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def located(folder: Path, name: str, ending: str) -> Path:
    """The file of one of `FILES`; where it is missing, says what to get and ends the process."""
    path = folder / f"{name}{ending}"
    if not path.exists():
        sys.exit(
            f"{path} is missing: {FILES[name]}. "
            "Point --data or CTXGUARD_DATA to a folder that holds it."
        )
    return path
