"""What `make bench` runs."""

from __future__ import annotations

import argparse

from benchmarks.run import HERE, QUALITY, chosen


def commands(*, quick: bool = False, only: str = "", data: str = "") -> list[tuple[str, ...]]:
    return chosen(argparse.Namespace(quick=quick, only=only, data=data))


def test_all_of_it_ends_with_the_page() -> None:
    scripts = [script for script, *_ in commands()]
    assert scripts[-1] == "page.py"
    assert {"overhead.py", *QUALITY, "licences.py"} <= set(scripts)
    assert all((HERE / script).exists() for script in scripts)


def test_a_quick_run_leaves_the_committed_results_alone() -> None:
    found = commands(quick=True)
    assert "page.py" not in [script for script, *_ in found]
    quality = [command for command in found if command[0] in QUALITY]
    assert len(quality) == 4
    for command in quality:
        assert "--quick" in command
        assert str(HERE) not in command[command.index("--output") + 1]


def test_one_system_is_measured_on_the_same_data_and_the_page_is_made_anew() -> None:
    assert commands(only="ctxguard", data="d") == [
        ("redundancy.py", "--data", "d", "--only", "ctxguard"),
        ("selection.py", "--data", "d", "--only", "ctxguard"),
        ("verification.py", "--data", "d"),
        ("routing.py", "--data", "d"),
        ("page.py",),
    ]
