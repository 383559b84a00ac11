"""Copies out, versions kept: ours and the peers on the same cases, in one run.

    python benchmarks/redundancy.py [--data DIR] [--cases 100] [--only ctxguard]

Cases are clauses of contracts and documents of RAMDocs with copies and versions (`cases.py`), and
pairs of sentences (SICK, MSRP; `data.py` says what is read). A peer runs with its documented
setting and with the best of its sweep on a tuning slice; figures are of the other cases.
`--only` measures the systems of one name anew and keeps the others' results in the file.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import ours
from benchmarks.cases import Case, Item, contract_cases, fingerprint, ramdocs_cases, swapped_cases
from benchmarks.cost import Meter
from benchmarks.data import FILES, folder_option, read
from benchmarks.measures import Judgement, accuracy, best_precision, judge, share
from benchmarks.merging import merged, options_for
from benchmarks.peers.base import Filter, FilterPeer
from benchmarks.peers.registry import encoder_for, filters
from benchmarks.report import PEERS, environment, write
from ctxguard.stages import Deduplicate

RESULTS = Path(__file__).parent / "results" / "redundancy.json"
TUNING = 0.3
"""The share of the cases that a peer's setting is chosen on; nothing is measured there."""
Pair = tuple[str, str, str]


def figures(judged: Sequence[Judgement]) -> dict[str, Any]:
    """Shares with intervals over cases."""
    found = {
        "copies removed": share([_sum(one.gone) for one in judged]),
        "versions kept": share([_sum(one.kept) for one in judged]),
        "every answer survives": share(
            [(float(hits == of), 1.0) for hits, of in (one.answers for one in judged) if of]
        ),
        "better-ranked copy kept": share([one.originals for one in judged]),
        "pools entirely right": share([(float(one.right), 1.0) for one in judged]),
    }
    return {
        **{name: figure for name, figure in found.items() if figure is not None},
        "by copy": _by_kind([one.gone for one in judged]),
        "by edit": _by_kind([one.kept for one in judged]),
    }


def _sum(counts: Mapping[str, tuple[int, int]]) -> tuple[int, int]:
    return sum(hits for hits, _ in counts.values()), sum(of for _, of in counts.values())


def _by_kind(cases: Sequence[Mapping[str, tuple[int, int]]]) -> dict[str, list[float]]:
    """Share and number, by kind."""
    totals: dict[str, tuple[int, int]] = {}
    for counts in cases:
        for kind, (hits, of) in counts.items():
            known = totals.get(kind, (0, 0))
            totals[kind] = (known[0] + hits, known[1] + of)
    return {kind: [round(hits / of, 3), of] for kind, (hits, of) in sorted(totals.items())}


def _judged(cases: Sequence[Case], keep: Filter) -> list[Judgement]:
    return [judge(case, keep(case.texts)) for case in cases]


def _goodness(judged: Sequence[Judgement]) -> tuple[float, float]:
    """Pools entirely right; among equals, the mean of what is removed and what is kept."""
    right = sum(one.right for one in judged) / len(judged)
    gone = [_sum(one.gone) for one in judged]
    kept = [(*_sum(one.kept), *one.answers) for one in judged]
    removed = sum(hits for hits, _ in gone) / max(1, sum(of for _, of in gone))
    stayed = sum(row[0] + row[2] for row in kept) / max(1, sum(row[1] + row[3] for row in kept))
    return right, removed + stayed


def settings(peer: FilterPeer, tuning: Sequence[Case]) -> dict[str, float]:
    """The names of the runs of a peer, and the value of its setting in each."""
    if not peer.sweep:
        return {peer.name: peer.default}
    best = max(peer.sweep, key=lambda value: _goodness(_judged(tuning, peer.at(value))))
    runs = {f"{peer.name} {peer.default:g} (default)": peer.default}
    if best != peer.default:
        runs[f"{peer.name} {best:g} (tuned)"] = best
    return runs


def measure_cases(
    cases: Sequence[Case], peers: Sequence[FilterPeer], meter: Meter
) -> dict[str, Any]:
    """Every peer on one kind of cases."""
    slice_ = max(1, int(len(cases) * TUNING))
    tuning, rest = cases[:slice_], cases[slice_:]
    systems: dict[str, Any] = {}
    for peer in peers:
        for name, value in settings(peer, tuning).items():
            keep = peer.at(value)
            systems[name] = {
                "peer": peer.name,
                "setting": {peer.setting: value} if peer.setting else {},
                **figures(_judged(rest, keep)),
                "cost": meter.ratio([case.texts for case in rest[:5]], keep, list),
            }
            print(f"  {name}", flush=True)
    return {
        "cases": len(rest),
        "tuning cases": len(tuning),
        "shown": fingerprint(cases),
        "systems": systems,
    }


# -- pairs of sentences ----------------------------------------------------------------------------


def _pairs(rows: Sequence[Mapping[str, Any]], number: int) -> list[Pair]:
    found = [(row["a"], row["b"], str(row["label"])) for row in rows]
    random.Random(4).shuffle(found)
    return found[:number]


def _dropped(pairs: Sequence[Pair], keep: Filter) -> list[bool]:
    """Whether either is dropped: which of the two is kept is measured on pools."""
    return [len(keep([first, second])) < 2 for first, second, _ in pairs]


def measure_sick(pairs: Sequence[Pair], peers: Sequence[FilterPeer]) -> dict[str, Any]:
    """What follows from the better-ranked sentence may go, what contradicts it may not."""
    slice_ = max(1, int(len(pairs) * TUNING))
    tuning, rest = pairs[:slice_], pairs[slice_:]
    systems: dict[str, Any] = {}
    for peer in [peer for peer in peers if peer.of_pairs]:
        for name, value in _pair_settings(peer, tuning).items():
            dropped = _dropped(rest, peer.at(value))
            labelled = zip(dropped, rest, strict=True)
            systems[name] = {
                "peer": peer.name,
                "setting": {peer.setting: value} if peer.setting else {},
                "contradictions dropped": share(
                    [(gone, 1) for gone, pair in labelled if pair[2] == "contradiction"]
                ),
                "entailments": accuracy(dropped, [pair[2] == "entailment" for pair in rest]),
            }
            print(f"  {name}", flush=True)
    return _of_pairs(pairs, rest, tuning, systems)


def _pair_settings(peer: FilterPeer, tuning: Sequence[Pair]) -> dict[str, float]:
    if not peer.sweep:
        return {peer.name: peer.default}
    right = [pair[2] == "entailment" for pair in tuning]

    def f1(value: float) -> float:
        figure = accuracy(_dropped(tuning, peer.at(value)), right)["F1"]
        return figure["value"] if figure else 0.0

    best = max(peer.sweep, key=f1)
    runs = {f"{peer.name} {peer.default:g} (default)": peer.default}
    return runs if best == peer.default else {**runs, f"{peer.name} {best:g} (tuned)": best}


def measure_msrp(pairs: Sequence[Pair], peers: Sequence[FilterPeer]) -> dict[str, Any]:
    """Precision of what is dropped as a paraphrase: by default, and where recall is .35."""
    systems: dict[str, Any] = {}
    right = [pair[2] == "1" for pair in pairs]
    for peer in [peer for peer in peers if peer.of_pairs]:
        name = f"{peer.name} {peer.default:g} (default)" if peer.sweep else peer.name
        systems[name] = {
            "peer": peer.name,
            "setting": {peer.setting: peer.default} if peer.setting else {},
            "paraphrases": accuracy(_dropped(pairs, peer.at(peer.default)), right),
        }
        if peer.similarity is not None:
            scores = peer.similarity([pair[:2] for pair in pairs])
            found = best_precision(scores, right, recall=0.35)
            systems[name]["precision at recall .35"] = found
        print(f"  {name}", flush=True)
    return _of_pairs(pairs, pairs, (), systems)


def _of_pairs(
    pairs: Sequence[Pair],
    measured: Sequence[Pair],
    tuning: Sequence[Pair],
    systems: Mapping[str, Any],
) -> dict[str, Any]:
    shown = [
        Case(items=tuple(Item(text=text, role="document", kind="") for text in pair[:2]))
        for pair in pairs
    ]
    return {
        "cases": len(measured),
        "tuning cases": len(tuning),
        "shown": fingerprint(shown),
        "systems": systems,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description="Copies out, versions kept.")
    folder_option(parser)
    parser.add_argument("--cases", type=int, default=145, help="of each kind; 30 % are for tuning")
    parser.add_argument("--pairs", type=int, default=1000, help="of SICK and of MSRP")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = options_for(parser, arguments)
    number, pairs = (30, 200) if options.quick else (options.cases, options.pairs)
    ramdocs = read(options.data, "redundancy/ramdocs")
    kinds = {
        "contracts": contract_cases(read(options.data, "redundancy/cuad_clauses"), number),
        "RAMDocs": ramdocs_cases(ramdocs, number),
        "answer-swapped": swapped_cases(ramdocs, number),
    }
    sick = _pairs(read(options.data, "redundancy/sick_train"), pairs)
    msrp = _pairs(read(options.data, "redundancy/msrp_train"), pairs)

    encoder, missing = (None, {}) if options.only == ours.NAME else encoder_for(options.vectors)
    found, left_out = ([], {}) if options.only == ours.NAME else filters(encoder)
    peers = [peer for peer in (ours.filter_peer(), *found) if options.only in ("", peer.name)]
    meter = Meter(encoder)
    sets = {name: measure_cases(cases, peers, meter) for name, cases in kinds.items()}
    sets["SICK"] = measure_sick(sick, peers)
    sets["MSRP"] = measure_msrp(msrp, peers)
    result = {
        "what": "copies removed and versions kept, by case; 95 % bootstrap intervals over cases",
        "data": {name: text for name, text in FILES.items() if name.startswith("redundancy")},
        "sample": {"cases": number, "pairs": pairs},
        "environment": environment(*PEERS),
        "encoder": encoder.name if encoder else None,
        "left out": {**missing, **left_out},
        "ctxguard": repr(Deduplicate()),
        "sets": sets,
    }
    write(options.output, merged(result, options), quiet=True)


if __name__ == "__main__":
    main()
