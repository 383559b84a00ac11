"""Promises of the packages as a whole: exports, versions, licences, what an import brings along."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import cast

import pytest

import ctxguard
import ctxguard_langchain
import ctxguard_llamaindex

ROOT = Path(__file__).resolve().parent.parent
PROJECTS = {
    "ctxguard-core": ROOT,
    "ctxguard-langchain": ROOT / "integrations/langchain",
    "ctxguard-llamaindex": ROOT / "integrations/llamaindex",
}
PACKAGES = (ctxguard, ctxguard_langchain, ctxguard_llamaindex)
FRAMEWORKS = {
    "anthropic", "haystack", "langchain", "langchain_classic", "langchain_community",
    "langchain_core", "langchain_openai", "langgraph", "llama_index", "openai",
    "sentence_transformers", "torch", "transformers", "workflows", "xllamacpp",
}  # fmt: skip


def modules_of(package: ModuleType) -> Iterator[str]:
    """Every module of a package by name, the package first."""
    yield package.__name__
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not info.name.endswith("__main__"):
            yield info.name


MODULES = [name for package in PACKAGES for name in modules_of(package)]
CORE = [name for name in MODULES if name.startswith("ctxguard.") or name == "ctxguard"]
CORE = [name for name in CORE if not name.startswith("ctxguard.demo")]
INNER = {
    "ctxguard.cli", "ctxguard.fitting", "ctxguard.intake", "ctxguard.localfile",
    "ctxguard.logistic", "ctxguard.pipeline", "ctxguard.verifying",
}  # fmt: skip
"""Modules of core that only its own parts import; they have no reference page."""


@cache
def project(name: str) -> dict[str, object]:
    """The `[project]` table of a distribution."""
    path = PROJECTS[name] / "pyproject.toml"
    table: dict[str, object] = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    return table


@cache
def tracked_files() -> tuple[Path, ...]:
    """Every file that is, or would be, committed."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    paths = (ROOT / line for line in listed.stdout.splitlines())
    return tuple(path for path in paths if path.is_file() and path.name != "LICENSE")


# -- exports ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODULES)
def test_what_is_public_is_in_all(name: str) -> None:
    module = importlib.import_module(name)
    exported: list[str] = list(getattr(module, "__all__", ()))
    missing = [public for public in exported if not hasattr(module, public)]
    defined = {
        public
        for public, value in vars(module).items()
        if not public.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == name
    }
    assert not missing, f"{name}.__all__ names what is not there"
    assert len(exported) == len(set(exported))
    assert not defined - set(exported), f"public in {name}, but not in its __all__"


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_a_package_offers_nothing_but_its_all(package: ModuleType) -> None:
    offered = {
        name
        for name, value in vars(package).items()
        if not name.startswith("_")
        and not inspect.ismodule(value)
        and name not in ("Any", "TYPE_CHECKING", "annotations")
    }
    assert offered <= set(package.__all__)


# -- what an import brings along --------------------------------------------------------------

IMPORT_WITHOUT_NETWORK = """
import sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        raise RuntimeError(f"an import may not use the network: {event}{arguments}")
sys.addaudithook(refuse)
import importlib
for name in sys.argv[1:]:
    importlib.import_module(name)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_core_imports_no_framework_and_takes_no_network() -> None:
    command = [sys.executable, "-W", "error", "-c", IMPORT_WITHOUT_NETWORK, *CORE]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert not FRAMEWORKS & set(done.stdout.split())
    assert not done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "other"),
    [("ctxguard_langchain", "llama_index"), ("ctxguard_llamaindex", "langchain_core")],
)
def test_an_adapter_does_not_import_the_other_framework(package: str, other: str) -> None:
    command = [sys.executable, "-c", IMPORT_WITHOUT_NETWORK, package]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert other not in done.stdout.split()


# -- distributions ----------------------------------------------------------------------------


def test_the_three_distributions_share_one_version() -> None:
    versions = {name: project(name)["version"] for name in PROJECTS}
    assert len(set(versions.values())) == 1, versions
    assert {package.__version__ for package in PACKAGES} == set(versions.values())
    installed = {name: importlib.metadata.version(name) for name in PROJECTS}
    assert installed == versions, "run `make install`"


def test_the_changelog_knows_this_version() -> None:
    version = project("ctxguard-core")["version"]
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert version in headings


@pytest.mark.parametrize("name", ["ctxguard-langchain", "ctxguard-llamaindex"])
def test_an_adapter_asks_for_the_core_it_was_made_with(name: str) -> None:
    major, minor, _ = str(project("ctxguard-core")["version"]).split(".")
    dependencies = project(name)["dependencies"]
    assert isinstance(dependencies, list)
    assert f"ctxguard-core>={major}.{minor},<{major}.{int(minor) + 1}" in dependencies


@pytest.mark.parametrize("file", ["LICENSE", "NOTICE"])
def test_every_distribution_carries_the_same_licence(file: str) -> None:
    texts = {(folder / file).read_text("utf-8") for folder in PROJECTS.values()}
    assert len(texts) == 1


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_every_package_says_that_it_is_typed(package: ModuleType) -> None:
    assert (Path(package.__path__[0]) / "py.typed").is_file()


def test_every_entry_point_loads_to_an_adapter() -> None:
    found = importlib.metadata.entry_points(group="ctxguard.adapters")
    assert {"langchain_core", "langgraph", "llama_index", "workflows"} <= found.names
    for entry in found:
        adapter = entry.load()
        assert isinstance(adapter.name, str)
        assert not adapter.supports(object())
        assert callable(adapter.guard)


# -- what is committed ------------------------------------------------------------------------

HOSTS = [".".join(parts) for parts in (
    ("pypi", "org"), ("files", "pythonhosted", "org"), ("registry", "npmjs", "org"),
    ("deb", "debian", "org"),
)]  # fmt: skip
FOREIGN = re.compile(
    "|".join([*map(re.escape, HOSTS), r"(?<![\w.~)}/-])/(?:root|home|work|Users|tmp)/\w+"])
)


def test_no_machine_path_or_registry_host_is_committed() -> None:
    found: list[str] = []
    for path in tracked_files():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {hit}" for hit in FOREIGN.findall(text)]
    assert not found


def pins_of(name: str) -> list[str]:
    """The lines of a list of constraints."""
    lines = (ROOT / name).read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-lowest.txt"])
def test_constraints_hold_names_and_versions_only(name: str) -> None:
    pins = pins_of(name)
    odd = [line for line in pins if not re.fullmatch(r"[a-z0-9-]+==[0-9]+(\.[a-z0-9]+)*", line)]
    assert pins == sorted(pins, key=lambda pin: pin.partition("==")[0])
    assert not odd


@pytest.mark.parametrize("name", ["ctxguard-langchain", "ctxguard-llamaindex"])
def test_the_lowest_versions_are_the_lower_bounds(name: str) -> None:
    pins = dict(pin.split("==") for pin in pins_of("constraints-lowest.txt"))
    extras = cast("dict[str, list[str]]", project(name).get("optional-dependencies", {}))
    dependencies = cast("list[str]", project(name)["dependencies"])
    bounds = (text.partition(",")[0].split(">=") for text in chain(dependencies, *extras.values()))
    frameworks = {key: bound for key, bound in bounds if key not in PROJECTS}
    assert frameworks
    for key, bound in frameworks.items():
        assert f"{pins[key]}.".startswith(f"{bound}."), "run `make constraints`"


# -- documentation ----------------------------------------------------------------------------


def test_every_public_module_has_a_reference_page() -> None:
    pages = "\n".join(
        path.read_text("utf-8") for path in sorted((ROOT / "docs/reference").glob("*.md"))
    )
    documented = set(re.findall(r"^::: ([\w.]+)$", pages, re.M))
    assert documented <= set(MODULES)
    public = {name for name in CORE if name.count(".") == 1} - INNER
    covered = {
        name for name in public if any(d == name or d.startswith(f"{name}.") for d in documented)
    }
    assert covered == public


def test_every_code_of_a_decision_is_documented() -> None:
    page = (ROOT / "docs/concepts/decisions.md").read_text("utf-8")
    documented = set(re.findall(r"^\| `([a-z-]+)` \| (?:[a-z]+(?:, )?)+ \|", page, re.M))
    literals: set[str] = set()
    codes: set[str] = set()
    for name in MODULES:
        source = Path(str(importlib.import_module(name).__file__)).read_text("utf-8")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                literals.add(node.value)
            if isinstance(node, ast.keyword) and node.arg == "code":
                codes |= {
                    part.value
                    for part in ast.walk(node.value)
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                }
    assert codes <= documented, "in the code, but not on the page"
    assert documented <= literals, "on the page, but not in the code"
