"""The Python blocks of the documentation run, page by page, and print what they say they print.

The blocks of a page run in order and see each other's names. A block with `#>` lines prints exactly
those. A block that needs what is not here (an object of the reader's own, a paid model) has `skip`
or `{test="skip"}` after the language; it is only compiled, and so are the blocks in docstrings.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = ["*.md", "docs/**/*.md", "integrations/*/README.md"]
SOURCES = ["ctxguard/**/*.py", "integrations/*/src/**/*.py"]
BLOCK = re.compile(r"^(?P<indent> *)```python(?P<options>[^\n]*)\n(?P<code>.*?)^ *```", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """One block of Python, and where it stands."""

    path: Path
    line: int
    """Number of the first line of code in its file, from 1."""
    code: str
    runs: bool

    @property
    def prints(self) -> list[str]:
        """The lines that the block says it prints."""
        return [line.rstrip() for line in re.findall(r"^ *#> ?(.*)$", self.code, re.M)]

    def compiled(self) -> CodeType:
        """The code, with blank lines in front, so that a traceback gives the line in the page."""
        return compile("\n" * (self.line - 1) + self.code, str(self.path), "exec")


def blocks(path: Path) -> Iterator[Block]:
    """Every Python block of a file, in order."""
    text = path.read_text("utf-8")
    for found in BLOCK.finditer(text):
        yield Block(
            path=path,
            line=text.count("\n", 0, found.start("code")) + 1,
            code=textwrap.dedent(found["code"]),
            runs="skip" not in found["options"],
        )


def files(patterns: list[str]) -> list[str]:
    """The files with at least one Python block, relative to the project."""
    found = sorted(path for pattern in patterns for path in ROOT.glob(pattern))
    return [str(path.relative_to(ROOT)) for path in found if "```python" in path.read_text("utf-8")]


@pytest.mark.parametrize("page", files(PAGES))
def test_documented_code_runs(
    page: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(ROOT / page):
        code = block.compiled()
        if not block.runs:
            continue
        exec(code, names)  # noqa: S102 -- running the documentation is the test
        printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
        if block.prints:
            assert printed == block.prints, f"{page}:{block.line}"


@pytest.mark.parametrize("source", files(SOURCES))
def test_code_in_docstrings_compiles(source: str) -> None:
    for block in blocks(ROOT / source):
        block.compiled()
