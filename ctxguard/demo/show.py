"""What the demo prints for a person; `document.py` has what it prints for a program."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.bar import Bar
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from ctxguard.demo.chains import ANSWER_TOKENS, Pair
from ctxguard.demo.corpus import Corpus
from ctxguard.demo.measures import DEFINITIONS
from ctxguard.demo.run import (
    Answer,
    Comparison,
    Model,
    PolicyName,
    Side,
    Summary,
    Watch,
    flagged,
    judged,
)
from ctxguard.ledger import Ledger
from ctxguard.types import Decision
from ctxguard.verification import Outcome, grade

__all__ = ["answering", "comparison", "introduction", "one_ledger", "summary"]

REASON = 110
"""Characters of a reason that are shown beside a question; the ledger has all of it."""
COLOURS = {"plain": "magenta", "guarded": "green"}
VERDICTS: Mapping[Outcome, tuple[str, str]] = {
    "grounded": ("✓ supported", "green"),
    "contradicted": ("✗ contradicted", "red"),
    "not_found": ("✗ not found", "red"),
    "abstained": ("· claims nothing", "dim"),
    "not_judged": ("· not judged", "dim"),
}
"""What the evidence says of an answer: mark, word and colour."""
NEXT = (
    ("docs/concepts/decisions.md", "what is left out, what is kept, and how that is decided"),
    ("docs/how-to/budget.md", "a token budget for the evidence and for the whole prompt"),
    ("docs/how-to/route.md", "which questions a lighter model would have answered as well"),
    ("ctxguard demo --framework llama-index", "the same for a LlamaIndex query engine"),
    ("ctxguard demo --help", "another embedding, more chunks, JSON, no model at all"),
)
OWN_CHAIN = """\
from ctxguard import guard
chain = guard(chain)            # your chain, retriever, agent or query engine
print(chain.ctxguard.last)      # after a question: what was left out, and why
"""


POLICIES: Mapping[PolicyName, str] = {
    "lean": "lean, without its token limit: copies are left out, other versions of a text "
    "shortened to what differs",
    "balanced": "balanced, the default: copies are left out",
}


# -- the beginning ------------------------------------------------------------------------------


def introduction(
    corpus: Corpus, pair: Pair, model: Model, *, framework: str, policy: PolicyName, top_k: int
) -> RenderableType:
    """What is asked, of what, by which chain, and how it is counted."""
    name = "LangChain chain" if framework == "langchain" else "LlamaIndex query engine"
    head = Text.assemble(
        ("ctxguard demo\n", "bold"),
        f"The licences of the software that is installed here, asked about twice: by an ordinary "
        f"{name}, and by the same one with one line around it."
        + (" This takes a few minutes." if model.answers else ""),
    )
    made = "chain = make_chain(retriever, llm)"
    if framework == "llama-index":
        made = "chain = make_engine(index, llm, k)"
    return Group(
        head,
        _below(_grid(_facts_of_the_run(corpus, pair, model, policy=policy, top_k=top_k))),
        _below(_python(pair.code)),
        _below(_python(f"{made}\nchain = guard(chain, policy)    # the one line")),
        _below(Text("What is counted, without ctxguard's own code:", style="dim")),
        _grid([(word, Text(meaning, style="dim")) for word, meaning in DEFINITIONS]),
        "",
    )


def _facts_of_the_run(
    corpus: Corpus, pair: Pair, model: Model, *, policy: PolicyName, top_k: int
) -> list[tuple[str, Text]]:
    read = Text(
        f"{len(corpus.licences):,} licence files of {corpus.distributions:,} distributions, "
        f"{corpus.characters / 1e6:.1f} million characters"
    )
    for note in corpus.notes[:3]:
        read.append(f"\n{note}", style="dim")
    if len(corpus.notes) > 3:
        read.append(f"\nand {len(corpus.notes) - 3:,} more notes: --json", style="dim")
    index = Text(
        f"{pair.chunks:,} chunks of about 1,000 characters, {pair.distinct:,} of them different "
        f"in their words; {pair.encoder}; the best {top_k} per question"
    )
    if model.answers:
        asked = Text(
            f"{model.endpoint.model} on this machine, one thread, no prompt cache; answers of at "
            f"most {ANSWER_TOKENS} tokens. It is small: look at the prompts, not at its wisdom"
        )
    else:
        asked = Text("none: prompts are counted and not answered")
    chosen = Text(
        f"{POLICIES[policy]}; tokens counted by {model.tokenizer.name}, "
        f"in a window of {model.endpoint.window:,}"
    )
    return [("corpus", read), ("index", index), ("model", asked), ("policy", chosen)]


# -- one question -------------------------------------------------------------------------------


@contextmanager
def answering(console: Console, question: str, *, number: int, of: int) -> Generator[Watch]:
    """A line that shows who is answering and for how long; it is gone at the end."""
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    console.print(Text(f"{number}/{of}  {question}", style="bold"))
    with progress:
        task = progress.add_task("", total=None)
        asked: list[Side] = []

        def watch(side: Side, text: str) -> None:
            if side not in asked:
                asked.append(side)
                progress.reset(task)
            what = f"answers: {text[-40:]}" if text else "reads its prompt"
            progress.update(task, description=f"{side:<8} {' '.join(what.split())}")

        yield watch


def comparison(result: Comparison) -> RenderableType:
    """One question: what each prompt held, how long it took, what was answered."""
    kept = result.retained
    timed = result.plain.first_token is not None
    table = _table("", "prompt", "tokens", *(["first token"] if timed else []))
    for name in ("chunks", "copies", "sources", "facts"):
        table.add_column(name, no_wrap=True, justify="right")
    table.columns[1].ratio = 1  # the bar takes what the terminal leaves
    widest = max(result.plain.prompt_tokens, result.guarded.prompt_tokens, 1)
    for side, answer, copies, facts in (
        ("plain", result.plain, kept.copies, kept.facts),
        ("guarded", result.guarded, kept.copies_left, kept.facts - len(kept.facts_lost)),
    ):
        colour = COLOURS[side]
        table.add_row(
            Text(side, style=colour),
            Bar(widest, 0, answer.prompt_tokens, color=colour),
            f"{answer.prompt_tokens:,}",
            *([_seconds(answer.first_token)] if timed else []),
            *(f"{n}" for n in (len(answer.passages), copies, len(answer.sources), facts)),
        )
    items: list[RenderableType] = [table]
    items += _answers(result)
    decided = _decided(result.ledger)
    if decided:
        items.append(_below(_grid([(what, Text(why, style="dim")) for what, why in decided])))
    items += [Text(f"! {warning}", style="yellow") for warning in _warnings(result)]
    return Padding(Group(*items), (0, 0, 1, 2))


def _answers(result: Comparison) -> list[RenderableType]:
    """Both answers with what their evidence says of them, and how many claims were flagged."""
    sides = {"plain": result.plain, "guarded": result.guarded}
    said = {side: answer for side, answer in sides.items() if answer.text}
    if not said:
        return []
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for side, answer in said.items():
        verdict, why = _verdict(answer)
        table.add_row(side, verdict, Text(_quoted(answer)))
        if why:
            table.add_row("", "", Text(why, style="dim"))
    counts = [f"{side} {flagged(one)} of {judged(one)}" for side, one in said.items()]
    line = Text(f"claims flagged by their own evidence: {', '.join(counts)}", style="dim")
    return [_below(table), line]


def _verdict(answer: Answer) -> tuple[Text, str]:
    """What an answer's evidence says of it, and of what failed the first reason."""
    if answer.verification is None:
        return Text(""), ""
    outcome = grade(answer.verification).outcome
    word, style = VERDICTS[outcome]
    failed = answer.verification.failed
    worst = [one for one in failed if one.label == outcome][:1]
    reason = " ".join(f"{one.reason}" for one in worst)
    more = f"; {len(failed) - 1} more" if len(failed) > 1 else ""
    return Text(word, style=style), f"{_cut(reason)}{more}"


def _decided(ledger: Ledger) -> list[tuple[str, str]]:
    """What was done, its first reason, and how many more there are."""
    groups = (
        ("left out", ledger.of("drop")),
        ("shortened", ledger.of("trim")),
        ("both kept", ledger.conflicts),
    )
    return [(what, _why(ledger, decisions)) for what, decisions in groups if decisions]


def _why(ledger: Ledger, decisions: Sequence[Decision]) -> str:
    first, more = decisions[0], len(decisions) - 1
    source = ledger.chunk(first.subject).source
    rest = f"; {more} more" if more else ""
    return f"{source}: {_cut(first.reason)}{rest}"


def _cut(reason: str) -> str:
    words = " ".join(reason.split())
    return f"{words[:REASON]}{'…' if len(words) > REASON else ''}"


def _warnings(result: Comparison) -> list[str]:
    found = [
        f"{side}: a passage was changed between the retriever and the prompt"
        for side, answer in (("plain", result.plain), ("guarded", result.guarded))
        if not answer.in_prompt
    ]
    lost = [value for _, value in result.retained.facts_lost]
    if lost:
        found.append(f"no longer in the prompt: {', '.join(lost)}")
    return found + [f"error: {decision.reason}" for decision in result.ledger.errors]


def _quoted(answer: Answer) -> str:
    text = " ".join(answer.text.split())
    return f"“{text[:160]}{'…' if len(text) > 160 else ''}”"


# -- the end ------------------------------------------------------------------------------------


def one_ledger(ledger: Ledger) -> RenderableType:
    """The whole ledger of one question, as `print(chain.ctxguard.last)` shows it."""
    title = Text("chain.ctxguard.last", style="bold").append(
        " explains every decision; here after one of the questions:", style="not bold"
    )
    return Group(Rule(style="dim"), title, Padding(ledger, (1, 0, 1, 2)))


def summary(result: Summary, *, framework: str) -> RenderableType:
    """What was saved next to what was retained, and where to go from here."""
    table = _table(f"{result.questions} questions", "plain", "guarded", "")
    for name, (plain, guarded), shown in _saved(result):
        table.add_row(name, shown(plain), shown(guarded), Text(_ratio(plain, guarded)))
    table.add_section()
    copies, facts = result.copies, result.facts
    table.add_row("chunks in the prompts", *(f"{n:,}" for n in result.chunks))
    table.add_row("copies among them", *(f"{n:,}" for n in copies), _removed(*copies))
    table.add_row("sources named", *(f"{n:,}" for n in result.sources), _kept(*result.sources))
    table.add_row("facts in the prompts", *(f"{n:,}" for n in facts), _kept(*facts))
    table.add_row("wording, mean", "", "", f"{100 * result.wording:.1f} % of it kept")
    if any(result.claims):
        table.add_section()
        table.add_row("claims of the answers", *(f"{n:,}" for n in result.claims), "judged")
        by = "by the evidence of their own prompts"
        table.add_row("flagged among them", *(f"{n:,}" for n in result.flagged), by)
    others = [line for line in NEXT if framework not in line[0]]
    return Group(
        Rule(Text("Summary", style="bold"), style="dim"),
        Padding(table, (1, 0, 1, 2)),
        Rule(Text("Next", style="bold"), style="dim"),
        Padding(_python(OWN_CHAIN), (1, 0, 1, 2)),
        Padding(_grid([(where, Text(what, style="dim")) for where, what in others]), (0, 0, 0, 2)),
    )


def _saved(result: Summary) -> list[tuple[str, tuple[float, float], Any]]:
    rows: list[tuple[str, tuple[float, float], Any]] = [
        ("prompt tokens", result.prompt_tokens, "{:,.0f}".format),
        ("  median question", result.median_prompt_tokens, "{:,.0f}".format),
    ]
    if result.first_token is not None and result.median_first_token is not None:
        rows += [
            ("time to first token", result.first_token, _seconds),
            ("  median question", result.median_first_token, _seconds),
            ("time to whole answer", result.seconds, _seconds),
        ]
    return rows


def _ratio(plain: float, guarded: float) -> str:
    return f"{100 * guarded / plain:.0f} % of plain" if plain else ""


def _removed(plain: int, guarded: int) -> str:
    return f"{100 - 100 * guarded / plain:.0f} % of them left out" if plain else ""


def _kept(plain: int, guarded: int) -> str:
    return (
        f"{100 * guarded / plain:.{0 if guarded == plain else 1}f} % of them kept" if plain else ""
    )


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f} s" if value < 100 else f"{value:.0f} s"


# -- pieces -------------------------------------------------------------------------------------


def _table(first: str, *columns: str) -> Table:
    table = Table(
        box=None,
        expand="prompt" in columns,
        header_style="dim",
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    table.add_column(first, no_wrap=True)
    for name in columns:
        left = name in {"prompt", ""}
        table.add_column(name, no_wrap=True, justify="left" if left else "right")
    return table


def _python(code: str) -> Syntax:
    return Syntax(code.rstrip(), "python", theme="ansi_dark", background_color="default")


def _grid(rows: list[tuple[str, Text]]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    for name, text in rows:
        grid.add_row(name, text)
    return grid


def _below(item: RenderableType) -> RenderableType:
    return Padding(item, (1, 0, 0, 0))
