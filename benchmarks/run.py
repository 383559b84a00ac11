"""Every benchmark, one after the other; what each measures stands in its own file.

    make bench                          all of them, about ten minutes
    python benchmarks/run.py --quick    those that need neither a model nor data

Results go to benchmarks/results/, as JSON. Times are ratios within one run; quality figures carry
95 % bootstrap intervals and name their data.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
LICENCES = tuple(
    ("licences.py", "--framework", framework, "--policy", policy)
    for framework in ("langchain", "llama-index")
    for policy in ("balanced", "lean")
)
QUICK = (("overhead.py",), *LICENCES)
NEEDS_DATA = (("redundancy.py",),)
NEEDS_MODEL = (("licences.py", "--policy", "lean", "--llm", "smollm2", "--questions", "12"),)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run them; the exit code is the number of benchmarks that failed."""
    parser = argparse.ArgumentParser(description="Run the benchmarks.")
    parser.add_argument(
        "--quick", action="store_true", help="only those that need neither a model nor data"
    )
    options = parser.parse_args(arguments)
    failed = 0
    chosen = QUICK if options.quick else QUICK + NEEDS_DATA + NEEDS_MODEL
    for script, *rest in chosen:
        print(f"== {script} {' '.join(rest)}", flush=True)
        started = time.monotonic()
        done = subprocess.run([sys.executable, str(HERE / script), *rest], check=False)  # noqa: S603 -- our own scripts
        failed += done.returncode != 0
        print(f"== {script}: {time.monotonic() - started:.0f} s", flush=True)
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
