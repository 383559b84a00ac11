"""The page of shapes says what the tables of the adapters' tests say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow  # imports both frameworks, and guards what no copy reaches
def test_the_page_is_what_the_script_writes() -> None:
    command = [sys.executable, "scripts/shapes.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
