"""Write docs/reference/shapes.md: what is guarded, from the tables that the adapters' tests run.

    python scripts/shapes.py            # rewrite the page
    python scripts/shapes.py --check    # fail where the page is not what this would write

Names and numbers come from the tables; nothing is typed into the page by hand.
"""

from __future__ import annotations

import difflib
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from integrations.langchain.tests.matrix import (
    graph_modes,
    harness,
    test_agents,
    test_chains,
    test_graphs,
    test_nesting,
    test_ours,
)
from integrations.langchain.tests.matrix.shapes_agents import AGENTS
from integrations.langchain.tests.matrix.shapes_chains import CHAINS
from integrations.langchain.tests.matrix.shapes_classic import CLASSIC
from integrations.langchain.tests.matrix.shapes_functions import FUNCTIONS
from integrations.langchain.tests.matrix.shapes_graphs import GRAPHS
from integrations.langchain.tests.matrix.shapes_middleware import MIDDLEWARE
from integrations.langchain.tests.matrix.shapes_models import MODELS
from integrations.langchain.tests.matrix.shapes_nested import NESTED
from integrations.langchain.tests.matrix.shapes_objects import OBJECTS
from integrations.langchain.tests.matrix.shapes_tools import TOOLS
from integrations.langchain.tests.matrix.shapes_unreached import UNREACHED
from integrations.llamaindex.tests.matrix import (
    agents,
    beyond,
    chats,
    engines,
    models,
    retrievers,
    test_matrix,
    world,
)
from scripts.shapes_unreached import chains_in_three_ways, engines_in_three_ways

__all__ = ["PAGE", "Group", "Row", "page"]

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "shapes.md"
FRAMEWORKS = (
    *("langchain-core", "langchain", "langchain-classic", "langgraph"),
    *("llama-index-core", "llama-index-workflows"),
)
WAYS = {"events": "astream_events v2", "()": "__call__"}
"""Ways to call, where a table's name is no method's."""
WORDS = {
    "alternative model, made late": "`configurable_alternatives` with a function that makes it",
    "assign": "`RunnablePassthrough.assign(context=retriever \\| joined)`",
    "batch of one": "the function calls `retriever.batch([question])`",
    "bind": "`retriever.bind(k=3)`",
    "bound invoke": "`RunnableLambda(retriever.invoke)`",
    "callable data": "a dataclass with `__call__`",
    "configurable fields of a model": "`model.configurable_fields(…)`",
    "each": "`retriever.map()`",
    "fan-out": "`Send`, one branch for each question",
    "import": "of the retriever, inside of the function",
    "import of a module": "inside of the function, which takes the retriever from it",
    "message history": "`RunnableWithMessageHistory`",
    "pick": '`(…).pick("answer")`',
    "sources and answer": "both come out, as LangChain's guides write it",
    "task": "the function starts an asyncio task",
    "thread": "a bare `threading.Thread`, in which a run of its own begins",
    "traced function": "`@traceable` of LangSmith",
    "tool emulation": "`LLMToolEmulator`: a model stands in for the tool",
    "workflow in parallel": "two steps retrieve at once",
}
"""What some names do not say."""

HEAD = """\
# What works

<!-- Written by scripts/shapes.py from the tables that the adapters' tests run. Do not edit. -->

Each row is a shape: a way to write a chain, an engine, an agent. Each is called in every way that
its framework has, and two things are checked. With a policy that does nothing, outputs, streams,
events, callbacks and errors are those of the plain object. And the default policy is applied
exactly once to each retrieval and each model call that is reached; what is
[not reached](#not-reached), `guard()` has to report.

{totals}

{versions}
*Retrievals* and *model calls* are those of one call: so often the policy is applied. *Ways* says
which of the ways above the table are left out. There the framework itself raises an error or has
no such method, and the guarded object does the same.
"""
NOT_REACHED = """\
## Not reached

Where no copy can go, `guard()` warns with a `CoverageWarning`, and `coverage.unreached` has the
reason; most reasons say what to change. There are two other ways to guard:
[in place and in a block](../how-to/reach.md). The last three columns say which calls each of the
three was seen to guard in these very shapes. What is missing there works, unguarded.
"""
NO_TABLE = """\
## Tested, and in no table

- Interrupts, and resuming from a checkpointer in memory and in SQLite, in a graph, in a subgraph
  and in a function of the functional API; breakpoints; going back to an earlier checkpoint.
- Retrievers, models and vector stores that come with a call, in the context of a LangGraph runtime
  or in `config["configurable"]`: they are guarded as they come. A LlamaIndex workflow's `run`
  warns of those that it is given.
- Copies, pickles, other processes, caches, tracers, a thousand runs at once, and real clients
  against a server that fails.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A shape, as a reader looks for it."""

    name: str
    retrievals: int
    models: str
    ways: tuple[str, ...]
    """The ways to call it that its framework has."""
    reported: bool
    """Whether `guard()` reports a part of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A section of the page."""

    title: str
    about: str
    ways: tuple[str, ...]
    """Every way to call something of this kind."""
    rows: tuple[Row, ...]


# -- the tables -----------------------------------------------------------------------------------


def _chains(
    title: str, about: str, shapes: Mapping[str, harness.Shape], modes: Sequence[harness.Mode]
) -> Group:
    rows = tuple(
        Row(
            name=name,
            retrievals=shape.retrievals,
            models=str(shape.models),
            ways=tuple(mode.name for mode in modes if mode.name not in shape.raises),
            reported=bool(shape.unreached),
        )
        for name, shape in shapes.items()
    )
    return Group(title=title, about=about, ways=tuple(mode.name for mode in modes), rows=rows)


def _engines(title: str, about: str, shapes: Iterable[world.Shape]) -> Group:
    rows = tuple(
        Row(
            name=shape.name,
            retrievals=shape.retrievals,
            models="yes" if shape.models else "no",
            ways=tuple(way.name for way in shape.ways),
            reported=bool(shape.unreached),
        )
        for shape in shapes
    )
    ways = dict.fromkeys(way for row in rows for way in row.ways)
    return Group(title=title, about=about, ways=tuple(ways), rows=rows)


def _langchain() -> Iterator[Group]:
    modes, graph = harness.MODES, graph_modes.GRAPH_MODES
    tools = {name: shape for name, shape in CHAINS.items() if "tool" in name}
    others = {name: shape for name, shape in CHAINS.items() if name not in tools}
    alone = {name: shape for name, shape in others.items() if not shape.models}
    chains = {name: shape for name, shape in others.items() if shape.models}
    ready = "LangChain's own; the retrievers among them stand in a chain with a model."
    how = (
        "A `RunnableLambda` in a chain, whose function comes to its retriever or model in this way."
    )
    inside = "As for functions: the retriever or the model is in an object of your own."
    graphs = (
        "What the nodes are, and how they lead on. `messages` is a stream of that mode, "
        "`everything` one of values, updates, messages, custom and tasks; both with subgraphs."
    )
    yield _chains("Chains", "Composed with `|` and the methods of runnables.", chains, modes)
    yield _chains("Retrievers", "Alone.", alone, modes)
    yield _chains("Ready-made chains and retrievers", ready, CLASSIC, modes)
    yield _chains("Functions", how, FUNCTIONS, modes)
    yield _chains("Objects", inside, OBJECTS, modes)
    yield _chains("Models", "Alone, and at the end of a chain.", MODELS, modes)
    yield _chains("Tools", "That retrieve, called as runnables.", tools, modes)
    yield _chains("Graphs", graphs, GRAPHS, graph)
    yield _chains("Tools in graphs", "A `ToolNode` and its tools.", TOOLS, graph)
    yield _chains("Agents", "`create_agent`, unless the name says otherwise.", AGENTS, graph)
    yield _chains("Agents with middleware", "`create_agent` with middleware:", MIDDLEWARE, graph)
    nested = "In a guarded chain, the named part is guarded already, and keeps its own policy."
    yield _chains("Guards in guards", nested, NESTED, modes)


def _named(shapes: Iterable[world.Shape], *beginnings: str) -> list[world.Shape]:
    return [shape for shape in shapes if shape.name.startswith(beginnings)]


def _llamaindex() -> Iterator[Group]:
    flows = _named(agents.SHAPES, "workflow")
    acting = [shape for shape in agents.SHAPES if shape not in flows]
    memories = [shape for shape in chats.SHAPES if "memory" in shape.name]
    talking = [shape for shape in chats.SHAPES if shape not in memories]
    modes = "Response modes, and engines around engines."
    talk = "Two turns each, the second with a history; the numbers are of one turn."
    yield _engines("Query engines", modes, engines.SHAPES)
    yield _engines("Retrievers", "Alone.", retrievers.SHAPES)
    yield _engines("Chat engines", talk, talking)
    yield _engines("Memory", "A chat engine with this memory.", memories)
    yield _engines("Agents", "With a tool that retrieves.", acting)
    yield _engines("Workflows", "Of your own.", flows)
    yield _engines("Models", "", _named(models.SHAPES, "model", "structured model"))
    yield _engines("Programs", "", _named(models.SHAPES, "program"))
    yield _engines("Synthesizers", "", _named(models.SHAPES, "synthesizer"))
    yield _engines("Postprocessors", "That ask a model.", _named(models.SHAPES, "postprocessor"))
    yield _engines("Tools", "", _named(models.SHAPES, "tool"))


# -- the page -------------------------------------------------------------------------------------


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _way(name: str) -> str:
    return f"`{WAYS.get(name, name)}`"


def _listed(ways: Iterable[str]) -> str:
    return ", ".join(map(_way, ways))


def _section(group: Group) -> str:
    none_has = [way for way in group.ways if not any(way in row.ways for row in group.rows)]
    ways = [way for way in group.ways if way not in none_has]
    kinds = {row.name.partition(", ")[0] for row in group.rows}
    kind = f"{kinds.pop()}, " if len(kinds) == 1 else ""
    rows = [
        [_shape(row.name, kind), str(row.retrievals), row.models, _which(row, ways)]
        for row in group.rows
    ]
    about = [f"### {group.title}", ""]
    if group.about:
        about += [group.about, ""]
    about += [f"{len(rows)} shapes, {len(ways)} ways: {_listed(ways)}."]
    if none_has:
        about += [f"LangChain itself has no {_listed(none_has)} for them."]
    about += [""]
    return "\n".join(about) + "\n" + _table(["shape", "retrievals", "model calls", "ways"], rows)


def _shape(name: str, kind: str) -> str:
    """A name without what all names of its table begin with, and what it does not say."""
    words = f" ({WORDS[name]})" if name in WORDS else ""
    return _escaped(name.removeprefix(kind)) + words


def _which(row: Row, ways: Sequence[str]) -> str:
    missing = [way for way in ways if way not in row.ways]
    if not missing:
        said = "all"
    elif len(missing) == len(ways):
        said = "raises its error in all"
    elif len(missing) * 2 > len(ways):
        said = f"only {_listed(way for way in ways if way in row.ways)}"
    else:
        said = f"not {_listed(missing)}"
    return f"{said}; partly [reported](#not-reached)" if row.reported else said


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("_", "\\_").replace("<", "&lt;")


def _cells() -> tuple[int, int, list[str]]:
    """How many cells there are, of which how many are for `CtxGuardMiddleware`, and the xfails."""
    graphs, modes = graph_modes.GRAPH_MODES, harness.MODES
    tables = [(test_chains.SHAPES, modes), (test_nesting.NESTED, modes)]
    tables += [(test_graphs.SHAPES, graphs), (test_agents.SHAPES, graphs)]
    found = [
        cell
        for shapes, columns in tables
        for check in ("same", "once")
        for cell in harness.cells(shapes, check, columns)
    ]
    found += [*test_matrix.CELLS * 2, *test_matrix.BEYOND]
    ours = harness.cells(test_ours.SHAPES, "once", graphs) * 2
    ours += harness.cells(test_ours.SHAPES, "once", test_ours.OUTPUTS)
    ours += harness.cells(test_ours.ALL, "once", graphs) * 2
    found += ours
    failing = [
        f"- {cell.id}: {mark.kwargs['reason']}"
        for cell in found
        for mark in cell.marks
        if mark.name == "xfail"
    ]
    return len(found), len(ours), failing


def _totals(groups: Sequence[Group]) -> str:
    cells, ours, failing = _cells()
    shapes = sum(len(group.rows) for group in groups) + len(UNREACHED) + len(beyond.SHAPES)
    text = (
        f"{shapes} shapes, {cells:,} cells (a shape, a way, a check); {ours:,} of these are agents "
        "with `CtxGuardMiddleware`, before other middleware and after it.\n"
    )
    if not failing:
        return f"{text}No cell is expected to fail."
    return f"{text}Expected to fail, because of the framework:\n\n" + "\n".join(failing)


def _versions() -> str:
    lowest, highest = (
        dict(line.split("==") for line in (ROOT / name).read_text("utf-8").split() if "==" in line)
        for name in ("constraints-lowest.txt", "constraints.txt")
    )
    rows = [[name, lowest[name], highest[name]] for name in FRAMEWORKS]
    return _table(["framework", "a part of the cells", "every cell"], rows)


def _unreached(rows: Iterable[Sequence[str]]) -> str:
    head = ["shape", "what `guard()` says of a part", "guarded by a copy", "in place", "in a block"]
    return _table(head, [[_escaped(row[0]), _escaped(row[1]), *row[2:]] for row in rows])


def page() -> str:
    """The page's text."""
    chains, others = list(_langchain()), list(_llamaindex())
    head = HEAD.format(totals=_totals([*chains, *others]), versions=_versions())
    parts = [
        head,
        "## LangChain and LangGraph\n",
        *map(_section, chains),
        "## LlamaIndex\n",
        "*Streaming* in the name of a way means that the object was made to stream.\n",
        *map(_section, others),
        NOT_REACHED,
        "### In LangChain and LangGraph\n",
        _unreached(chains_in_three_ways()),
        "### In LlamaIndex\n",
        _unreached(engines_in_three_ways()),
        NO_TABLE,
    ]
    return "\n".join(parts)


def main() -> None:
    """Write the page, or compare it."""
    warnings.simplefilter("ignore")  # of the frameworks' older classes, which the tables have, too
    made = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(made, encoding="utf-8")
        return
    differing = "\n".join(
        difflib.unified_diff(PAGE.read_text("utf-8").splitlines(), made.splitlines(), lineterm="")
    )
    if differing:
        sys.exit(f"python scripts/shapes.py would write something else:\n{differing}")


if __name__ == "__main__":
    main()
