"""LangChain's standard test suites: a guarded class passes whatever the plain one passes."""

from __future__ import annotations

import collections
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
SUITES = Path(__file__).with_name("standard_suites.py")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """The outcome of every test, by class and name."""
    report = tmp_path_factory.mktemp("standard") / "report.xml"
    options = ["-q", "-o", "addopts=--benchmark-disable", "-o", "filterwarnings=default"]
    command = [sys.executable, "-m", "pytest", str(SUITES), *options, f"--junitxml={report}"]
    subprocess.run([*command, "--import-mode=importlib", "-o", "asyncio_mode=auto"], check=False)
    found: dict[str, dict[str, str]] = collections.defaultdict(dict)
    for case in ET.parse(report).getroot().iter("testcase"):  # noqa: S314 -- pytest's own report
        result = next((child.tag for child in case if child.tag != "properties"), "passed")
        found[case.attrib["classname"].rpartition(".")[2]][case.attrib["name"]] = result
    return found


SUITE_NAMES = (
    "Unit",
    "Integration",
    "Schema",
    "Retriever",
    "Store",
    "Tool",
    "ToolUnit",
)


@pytest.mark.parametrize("suite", SUITE_NAMES)
def test_a_guarded_class_has_the_outcomes_of_the_plain_one(
    outcomes: dict[str, dict[str, str]], suite: str
) -> None:
    plain, guarded = outcomes[f"TestPlain{suite}"], outcomes[f"TestGuarded{suite}"]
    assert guarded == plain
    assert "failure" not in plain.values()
    assert "error" not in plain.values()
    assert len(plain) > 3
    assert {name.partition("[")[0] for name, outcome in plain.items() if outcome == "skipped"} <= {
        "test_init_from_env",
        "test_serdes",
        "test_stream_time",
    }
