# ruff: noqa: RUF001 -- a range has an en dash, a ratio a multiplication sign
"""The tables and plots of docs/benchmarks.md, from the results; nothing is typed there by hand.

    python benchmarks/page.py          # after a run: rewrite what stands between the page's marks

A table stands between `<!-- results: NAME -->` and `<!-- end -->`. A test makes sure that the page
says what the results say.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.plot import recall_plot, versions_plot

__all__ = ["figure", "filled", "plots", "results", "tables"]

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
ASSETS = ROOT / "docs" / "assets"
QUALITY = ("redundancy", "selection")
_MARK = re.compile(r"(<!-- results: (?P<name>[\w -]+) -->\n).*?(<!-- end -->)", re.DOTALL)
Results = Mapping[str, Any]


def results() -> dict[str, Results]:
    """What is committed of the benchmarks of quality and of cost."""
    folder = ROOT / "benchmarks" / "results"
    return {
        name: json.loads((folder / f"{name}.json").read_text("utf-8"))
        for name in (*QUALITY, "verification", "routing", "overhead", "adapters")
    }


def figure(found: Mapping[str, float] | None) -> str:
    """'.83 [.79, .87]'; a dash where there is none."""
    if found is None:
        return "–"
    value, low, high = (_short(found[name]) for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _short(value: float) -> str:
    return f"{value:.2f}".removeprefix("0") if value < 1 else f"{value:.2f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _ours_first(systems: Mapping[str, Any]) -> list[tuple[str, Any]]:
    ordered = sorted(systems.items(), key=lambda item: item[0] != "ctxguard")
    return [(f"**{name}**" if name == "ctxguard" else name, found) for name, found in ordered]


def _cost(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.1f} ×" if value < 100 else f"{value:,.0f} ×"


def _pools(measured: Mapping[str, Any], columns: Sequence[str]) -> str:
    rows = [
        [name, *(figure(found.get(column)) for column in columns), _cost(found["cost"])]
        for name, found in _ours_first(measured["systems"])
    ]
    return _table(["system", *columns, "cost"], rows)


def _kinds(measured: Mapping[str, Any]) -> str:
    """Ours by kind: how many of each kind there were."""
    found = measured["systems"]["ctxguard"]
    rows = [
        [what, kind.replace("_", " "), _short(share), str(number)]
        for what, by in (("removed", "by copy"), ("kept", "by edit"))
        for kind, (share, number) in found[by].items()
    ]
    return _table(["", "kind", "share", "of"], rows)


def _pairs(sets: Mapping[str, Any]) -> str:
    sick, msrp = sets["SICK"]["systems"], sets["MSRP"]["systems"]
    head = ["system", "contradictions dropped", "F1 of entailments dropped"]
    head += ["paraphrases: precision", "at recall", "precision at recall ≥ .35"]
    rows: list[list[str]] = []
    for name, _ in _ours_first({**sick, **msrp}):
        plain = name.strip("*")
        of_sick, of_msrp = sick.get(plain, {}), msrp.get(plain, {})
        default = of_msrp.get("paraphrases", {})
        rows.append(
            [
                name,
                figure(of_sick.get("contradictions dropped")),
                figure(of_sick.get("entailments", {}).get("F1")),
                figure(default.get("precision")),
                figure(default.get("recall")),
                figure(of_msrp.get("precision at recall .35")),
            ]
        )
    return _table(head, rows)


def _selection(measured: Mapping[str, Any]) -> str:
    head = ["system", "recall, 25 %", "all kept, 25 %", "recall, 12.5 %", "all kept, 12.5 %"]
    has_answers = any(found["at"]["25.0%"]["answer kept"] for found in measured["systems"].values())
    head += (["answer kept, 25 %"] if has_answers else []) + ["over budget", "cost"]
    rows: list[list[str]] = []
    for name, found in _ours_first(measured["systems"]):
        quarter, eighth = found["at"]["25.0%"], found["at"]["12.5%"]
        cells = [
            figure(at[column])
            for at in (quarter, eighth)
            for column in ("support recall", "all support kept")
        ]
        cells += [figure(quarter["answer kept"])] if has_answers else []
        over = max(quarter["over budget"], eighth["over budget"])
        rows.append([name, *cells, f"{over:.0%}", _cost(found["cost"])])
    return _table(head, rows)


def _left_out(found: Sequence[Results]) -> str:
    missing = {name: why for one in found for name, why in one["left out"].items()}
    return "".join(f"- {name}: {why}\n" for name, why in missing.items())


def tables(found: Mapping[str, Results]) -> dict[str, str]:
    """Every table of the page, by its mark."""
    redundancy, selection = found["redundancy"]["sets"], found["selection"]["sets"]
    removed, right = "copies removed", "pools entirely right"
    return {
        "contracts": _pools(
            redundancy["contracts"], (removed, "versions kept", "better-ranked copy kept", right)
        ),
        "kinds": _kinds(redundancy["contracts"]),
        "ramdocs": _pools(redundancy["RAMDocs"], (removed, "every answer survives", right)),
        "swapped": _pools(redundancy["answer-swapped"], (removed, "versions kept", right)),
        "pairs": _pairs(redundancy),
        "hotpot": _selection(selection["HotpotQA"]),
        "musique": _selection(selection["MuSiQue"]),
        "clauses": _selection(selection["contracts"]),
        "numbers": _numbers([found[name] for name in QUALITY]),
        "overhead": _overhead(found["overhead"]),
        "adapters": _adapters(found["adapters"]),
        "verified contracts": _verified(
            found["verification"], lambda one: one["contracts"]["recall"]
        ),
        "verified answers": _verified(found["verification"], _answers),
        "verified cost": _verified_cost(found["verification"]["cost"]),
        "gate": _gate(found["verification"]["gate"]),
        "routed": _routed(found["routing"]["protocols"]),
        "promised": _promised(found["routing"]["promises"]),
        "routing cost": _table(
            ["", "µs"], [[what, _whole(one)] for what, one in found["routing"]["cost"].items()]
        ),
        "left out": _left_out([found[name] for name in QUALITY]),
    }


def _verified(
    found: Mapping[str, Any], figures: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> str:
    """A row for each figure, a column for each system."""
    systems = [(name, figures(one)) for name, one in _ours_first(found["systems"])]
    rows = [[row, *(figure(one[row]) for _, one in systems)] for row in systems[0][1]]
    return _table(["", *(name for name, _ in systems)], rows)


def _answers(measured: Mapping[str, Any]) -> Mapping[str, Any]:
    edits, claims, sums = (measured[name] for name in ("contracts", "claims", "SummEdits"))
    domains = {
        f"SummEdits, {name}: balanced accuracy": one["balanced accuracy"]
        for name, one in sums["domains"].items()
    }
    return {
        "contracts: mean recall at 2 % false alarms by kind": edits["mean recall"],
        "contracts: recall at one cut": edits["one cut: recall"],
        "contracts: false alarms at that cut": edits["one cut: false alarms"],
        "claims: AUROC": claims["AUROC"],
        "claims: balanced accuracy": claims["balanced accuracy"],
        "claims: right ones flagged by default": claims["false alarms at .5"],
        **domains,
        "SummEdits, mean: balanced accuracy": sums["balanced accuracy"],
        "SummEdits: calibration error (ECE)": sums["ECE"],
    }


def _verified_cost(found: Mapping[str, Any]) -> str:
    row = [str(found["words"]), str(found["tokens"]), _times(found["ratio"])]
    return _table(["words of the answer", "tokens of the evidence", "verifying"], [row])


def _gate(found: Mapping[str, Any]) -> str:
    head = ["answers", "tokens of the first sentence", "tokens waited for", "work of the gate"]
    tokens = [_whole(found[name]) for name in ("sentence", "waited")]
    work = "{value:.1%} [{low:.1%}, {high:.1%}]".format(**found["work"])
    return _table(head, [[str(found["answers"]), *tokens, work]])


def _routed(protocols: Mapping[str, Any]) -> str:
    head = ["questions", "routed by", "APGR", "heavy calls for half of the gap"]
    head += ["calibration error (ECE)"]
    rows = [
        [protocol, name, *(figure(one.get(what)) for what in ("APGR", "CPT50", "ECE"))]
        for protocol, systems in protocols.items()
        for name, one in _ours_first(systems)
    ]
    return _table(head, rows)


def _promised(promises: Mapping[str, Any]) -> str:
    head = ["promise", "traces", "may be missed in", "missed in", "heavy calls", "too few traces"]
    rows = [
        [
            what,
            str(one["traces"]),
            f"{1 - one['confidence']:.0%}",
            f"{one['missed']:.1%}",
            f"{one['heavy calls']:.0%}",
            f"{one['refused']:.0%}",
        ]
        for what, one in promises.items()
    ]
    return _table(head, rows)


def _overhead(found: Mapping[str, Any]) -> str:
    quarter = ", a quarter kept"
    measured = found["prepare"]
    rows = [
        [pool, _times(one["ratio"]), _times(measured[pool + quarter]["ratio"])]
        for pool, one in measured.items()
        if not pool.endswith(quarter)
    ]
    return _table(["pool", "no limit", "a quarter of the tokens kept"], rows)


def _adapters(found: Mapping[str, Any]) -> str:
    head = ["call", "plain, µs", "policy that does nothing, µs more", "guarded : plain"]
    head += ["default policy, µs more"]
    rows = [
        [
            call,
            _whole(by["off"]["plain_us"]),
            _whole(by["off"]["overhead_us"]),
            _times(by["off"]["ratio"]),
            _whole(by["default"]["overhead_us"]),
        ]
        for call, by in found["calls"].items()
    ]
    return _table(head, rows)


def _whole(found: Mapping[str, float]) -> str:
    return f"{found['value']:.0f} [{found['low']:.0f}, {found['high']:.0f}]"


def _times(found: Mapping[str, float]) -> str:
    return f"{found['value']:.1f} × [{found['low']:.1f}, {found['high']:.1f}]"


def _numbers(found: Sequence[Results]) -> str:
    rows = [
        [name, str(measured["cases"]), str(measured.get("tuning cases", 0)), str(one["encoder"])]
        for one in found
        for name, measured in one["sets"].items()
    ]
    return _table(["set", "cases measured", "cases for tuning peers", "vectors"], rows)


def plots(found: Mapping[str, Results]) -> dict[str, str]:
    """Every plot of the page, by file name."""
    return {
        "redundancy.svg": versions_plot(found["redundancy"]["sets"]["contracts"]),
        "selection.svg": recall_plot(found["selection"]["sets"]),
    }


def filled(page: str, found: Mapping[str, Results]) -> str:
    """The page with every table as the results give it."""
    made = tables(found)
    return _MARK.sub(lambda mark: f"{mark[1]}\n{made[mark['name']]}\n{mark[3]}", page)


def main() -> None:
    """Rewrite the page and the plots."""
    found = results()
    PAGE.write_text(filled(PAGE.read_text("utf-8"), found), encoding="utf-8")
    ASSETS.mkdir(exist_ok=True)
    for name, text in plots(found).items():
        (ASSETS / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
