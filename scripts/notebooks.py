"""Keep the notebooks' outputs free of what only one machine's run leaves behind.

Without an argument: name what is wrong with each notebook, and fail. With `--clean`: put right what
a run leaves (`make notebooks` runs them first). Outputs stay: a notebook can be read without being
run.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
MACHINE_PATH = re.compile(r"(?<![\w.~)}/-])/(?:root|home|work|Users|tmp|var)/\w+|\b[A-Z]:\\\\")


def clean(notebook: dict[str, Any]) -> dict[str, Any]:
    """The notebook with its sources and outputs only, cells counted from 1."""
    cells: list[dict[str, Any]] = []
    count = 0
    for cell in notebook["cells"]:
        tidy = {**cell, "metadata": {}}
        if cell["cell_type"] == "code":
            count += 1
            outputs = [dict(output) for output in cell["outputs"]]
            for output in outputs:
                if "execution_count" in output:
                    output["execution_count"] = count
            tidy |= {"execution_count": count, "outputs": outputs}
        cells.append(tidy)
    return {**notebook, "cells": cells, "metadata": METADATA}


def dumped(notebook: dict[str, Any]) -> str:
    """The notebook as Jupyter writes it."""
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def faults(text: str) -> Iterator[str]:
    """What is wrong with a notebook as it is stored."""
    notebook: dict[str, Any] = json.loads(text)
    for number, cell in enumerate(notebook["cells"], start=1):
        if cell["cell_type"] != "code":
            continue
        for output in cell["outputs"]:
            if output["output_type"] == "error" or output.get("name") == "stderr":
                yield f"cell {number} shows an error or a warning"
            if path := MACHINE_PATH.search(json.dumps(output)):
                yield f"cell {number} shows a path of one machine ({path[0]}…)"
    if text != dumped(clean(notebook)):
        yield "not as a clean run leaves it"


def main(arguments: list[str]) -> int:
    """Check every notebook, cleaned first or not; the number of faults is the exit code."""
    count = 0
    for path in sorted(ROOT.glob("notebooks/*.ipynb")):
        text = path.read_text(encoding="utf-8")
        if "--clean" in arguments:
            text = dumped(clean(json.loads(text)))
            path.write_text(text, encoding="utf-8")
        for fault in faults(text):
            count += 1
            print(f"{path.relative_to(ROOT)}: {fault}; see `make notebooks`")
    return count


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
