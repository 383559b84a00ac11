"""What a question needs, under a token budget: ours and the peers on the same chunks, in one run.

    python benchmarks/selection.py [--data DIR] [--questions 100] [--contracts 30] [--only ctxguard]

Questions of HotpotQA and MuSiQue come with their chunks and titles; a question about a contract
has the whole contract, cut in chunks of about 1,000 characters. The budget is a share of the
o200k tokens of all chunks. A supporting text counts as kept when nine tenths of its five-word runs
stand in what a system hands on. Systems over the budget are counted as such, and measured as they
are. `--only` measures the system of one name anew and keeps the others' results in the file.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import ours
from benchmarks.cost import Meter
from benchmarks.data import FILES, folder_option, read
from benchmarks.measures import share, stands_in
from benchmarks.merging import merged, options_for
from benchmarks.peers.base import Question, SelectorPeer, Source
from benchmarks.peers.registry import encoder_for, selectors
from benchmarks.report import PEERS, environment, write
from benchmarks.texts import cut, sentences, tokens
from ctxguard import Policy

RESULTS = Path(__file__).parent / "results" / "selection.json"
SHARES = (0.25, 0.125)
PER_CONTRACT = 2
SEPARATOR = "\n\n"


def passages(rows: Sequence[Mapping[str, Any]]) -> list[Question]:
    """Questions that bring their chunks along."""
    return [
        Question(
            id=row["id"],
            group=row["id"],
            text=row["question"],
            chunks=tuple(
                Source(
                    title=chunk["title"], text=chunk["text"], sentences=tuple(chunk["sentences"])
                )
                for chunk in row["chunks"]
            ),
            support=tuple(row["support"]),
            answers=tuple(a for a in row["answers"] if a.casefold() not in ("yes", "no")),
        )
        for row in rows
    ]


def contracts(
    rows: Sequence[Mapping[str, Any]], texts: Sequence[Mapping[str, Any]], number: int
) -> list[Question]:
    """Two questions about each of `number` contracts, drawn by the hash of their ids."""
    chosen = sorted((row["contract"] for row in texts), key=_digest)[:number]
    by_name = {row["contract"]: row["text"] for row in texts}
    found: list[Question] = []
    for name in chosen:
        chunks = tuple(
            Source(title="", text=text, sentences=sentences(text)) for text in cut(by_name[name])
        )
        about = [row for row in rows if row["chunks"] == name]
        about.sort(key=lambda row: _digest(row["id"]))
        found += [
            Question(
                id=row["id"],
                group=name,
                text=row["question"],
                chunks=chunks,
                support=tuple(row["support"]),
            )
            for row in about[:PER_CONTRACT]
        ]
    return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def whole(question: Question) -> str:
    """All evidence of a question."""
    return SEPARATOR.join(chunk.text for chunk in question.chunks)


def measure(questions: Sequence[Question], peer: SelectorPeer, part: float) -> dict[str, Any]:
    """One system at one budget."""
    supports: dict[str, list[float]] = {}
    wholes: dict[str, list[float]] = {}
    answers: list[tuple[float, float]] = []
    used: list[tuple[float, float]] = []
    over = 0
    for question in questions:
        text = whole(question)
        budget = int(tokens(text) * part)
        kept = SEPARATOR.join(peer.select(question, budget))
        spent = tokens(kept)
        hits = [stands_in(support, kept) for support in question.support]
        supports.setdefault(question.group, []).append(sum(hits) / len(hits))
        wholes.setdefault(question.group, []).append(float(all(hits)))
        answers += _answered(question, text, kept)
        used.append((spent, budget))
        over += spent > budget
    return {
        "support recall": share([(sum(hits), len(hits)) for hits in supports.values()]),
        "all support kept": share([(sum(hits), len(hits)) for hits in wholes.values()]),
        "answer kept": share(answers),
        "over budget": round(over / len(questions), 3),
        "tokens used": share(used),
    }


def _answered(question: Question, text: str, kept: str) -> list[tuple[float, float]]:
    """Whether one of its answers still stands; nothing where none stood before."""
    standing = [a.casefold() for a in question.answers if a.casefold() in text.casefold()]
    if not standing:
        return []
    return [(float(any(answer in kept.casefold() for answer in standing)), 1.0)]


def measure_set(
    questions: Sequence[Question], peers: Sequence[SelectorPeer], meter: Meter
) -> dict[str, Any]:
    """Every system at every budget."""
    systems: dict[str, Any] = {}
    for peer in peers:
        at = {f"{part:.1%}": measure(questions, peer, part) for part in SHARES}
        systems[peer.name] = {
            "peer": peer.name,
            "note": peer.note,
            "at": at,
            "cost": meter.ratio(
                [question for question in questions if len(question.chunks) <= 50][:2],
                lambda question, peer=peer: peer.select(question, tokens(whole(question)) // 4),
                lambda question: [chunk.text for chunk in question.chunks],
            ),
        }
        print(f"  {peer.name}", flush=True)
    shown = hashlib.sha256("\0".join(map(_shown, questions)).encode("utf-8", "replace"))
    return {
        "cases": len(questions),
        "chunks": sum(len(question.chunks) for question in questions),
        "tokens": sum(tokens(whole(question)) for question in questions),
        "shown": shown.hexdigest()[:12],
        "systems": systems,
    }


def _shown(question: Question) -> str:
    return "\0".join((question.text, *question.support, whole(question)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description="What a question needs, under a token budget.")
    folder_option(parser)
    parser.add_argument("--questions", type=int, default=100, help="of HotpotQA and of MuSiQue")
    parser.add_argument("--contracts", type=int, default=30, help="two questions about each")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = options_for(parser, arguments)
    number, about = (15, 4) if options.quick else (options.questions, options.contracts)
    rows = {name: read(options.data, f"selection/{name}") for name in ("hotpot", "musique", "cuad")}
    sets = {
        "HotpotQA": passages(rows["hotpot"][:number]),
        "MuSiQue": passages(rows["musique"][:number]),
        "contracts": contracts(rows["cuad"], read(options.data, "selection/contracts"), about),
    }
    alone = options.only == ours.NAME
    encoder, missing = (None, {}) if alone else encoder_for(options.vectors)
    found, left_out = ([], {}) if alone else selectors(encoder)
    peers = [peer for peer in (ours.selector_peer(), *found) if options.only in ("", peer.name)]
    meter = Meter(encoder)
    result = {
        "what": "support kept under a token budget; 95 % bootstrap intervals over questions, "
        "for contracts over contracts",
        "data": {name: text for name, text in FILES.items() if name.startswith("selection")},
        "sample": {"questions": number, "contracts": about},
        "environment": environment(*PEERS),
        "encoder": encoder.name if encoder else None,
        "left out": {**missing, **left_out},
        "ctxguard": repr(Policy()),
        "sets": {name: measure_set(chosen, peers, meter) for name, chosen in sets.items()},
    }
    write(options.output, merged(result, options), quiet=True)


if __name__ == "__main__":
    main()
