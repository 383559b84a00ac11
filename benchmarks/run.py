"""Every benchmark, one after the other; what each measures stands in its own file.

    make bench                              all of them, ours and the peers, about an hour
    make bench ARGS=--quick                 few cases, no torch and no small model, minutes
    make bench ARGS='--only ctxguard'       ours anew, the peers' results kept
    make bench ARGS='--data DIR'            where the data is, else CTXGUARD_DATA or ../shared/data

Results go to benchmarks/results/, as JSON, and from there to the tables and plots of the docs.
`--quick` writes to a temporary folder: what is committed comes from full runs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
LICENCES = tuple(
    ("licences.py", "--framework", framework, "--policy", policy)
    for framework in ("langchain", "llama-index")
    for policy in ("balanced", "lean")
)
COST = (("overhead.py",), ("adapters.py",))
QUALITY = ("redundancy.py", "selection.py", "verification.py", "routing.py")
"""Need the data."""
WITH_PEERS = ("redundancy.py", "selection.py")
"""Take long for their peers, so one system may be measured alone."""
NEEDS_MODEL = (("licences.py", "--policy", "lean", "--llm", "smollm2", "--questions", "12"),)


def chosen(options: argparse.Namespace) -> list[tuple[str, ...]]:
    """The commands to run, in order."""
    quality: list[tuple[str, ...]] = []
    for script in QUALITY:
        command = [script]
        command += ["--data", str(options.data)] if options.data else []
        command += ["--only", options.only] if options.only and script in WITH_PEERS else []
        if options.quick:
            folder = Path(tempfile.gettempdir()) / "ctxguard-bench"
            command += ["--quick", "--output", str(folder / f"{Path(script).stem}.json")]
        quality.append(tuple(command))
    if options.quick:
        return [*COST, *quality]
    if options.only:
        return [*quality, ("page.py",)]
    return [*COST, *LICENCES, *quality, *NEEDS_MODEL, ("page.py",)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run them; the exit code is the number of benchmarks that failed."""
    parser = argparse.ArgumentParser(description="Run the benchmarks.")
    parser.add_argument("--quick", action="store_true", help="few cases; results not kept")
    parser.add_argument("--only", default="", help="measure one system, keep the other results")
    parser.add_argument("--data", default="", help="folder of the data sets")
    options = parser.parse_args(arguments)
    failed = 0
    for script, *rest in chosen(options):
        print(f"== {script} {' '.join(rest)}", flush=True)
        started = time.monotonic()
        done = subprocess.run([sys.executable, str(HERE / script), *rest], check=False)  # noqa: S603 -- our own scripts
        failed += done.returncode != 0
        print(f"== {script}: {time.monotonic() - started:.0f} s", flush=True)
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
