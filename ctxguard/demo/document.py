"""What the demo prints with `--json`: everything that was measured, as one document."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ctxguard.demo.corpus import Corpus
from ctxguard.demo.measures import DEFINITIONS
from ctxguard.demo.run import Answer, Comparison, Summary
from ctxguard.verification import grade

__all__ = ["to_json"]

SCHEMA_VERSION = 1


def to_json(
    comparisons: Sequence[Comparison], result: Summary, *, run: Mapping[str, Any], corpus: Corpus
) -> str:
    """Everything that was measured, as JSON.

    Args:
        comparisons: one per question.
        result: their summary.
        run: what the run was set up with.
        corpus: what was read.
    """
    document = {
        "schema_version": SCHEMA_VERSION,
        "run": dict(run),
        "corpus": {
            "files": len(corpus.licences),
            "distributions": corpus.distributions,
            "characters": corpus.characters,
            "notes": corpus.notes,
        },
        "definitions": dict(DEFINITIONS),
        "questions": [_question(item) for item in comparisons],
        "summary": dataclasses.asdict(result),
    }
    return json.dumps(document, indent=2)


def _question(result: Comparison) -> dict[str, Any]:
    return {
        "question": result.question,
        "first": result.first,
        "plain": _answer(result.plain),
        "guarded": _answer(result.guarded),
        "retained": dataclasses.asdict(result.retained),
        "ledger": json.loads(result.ledger.to_json()),
    }


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "text": answer.text,
        "chunks": [passage.source for passage in answer.passages],
        "sources": answer.sources,
        "prompt_tokens": answer.prompt_tokens,
        "first_token": answer.first_token,
        "seconds": answer.seconds,
        "in_prompt": answer.in_prompt,
        "verdict": _verdict(answer),
    }


def _verdict(answer: Answer) -> dict[str, Any] | None:
    """What the answer's evidence says of it; None without an answer."""
    if answer.verification is None:
        return None
    failed = [
        {"claim": one.claim.text, "label": one.label, "code": one.code, "reason": one.reason}
        for one in answer.verification.failed
    ]
    return {**dataclasses.asdict(grade(answer.verification)), "failed": failed}
