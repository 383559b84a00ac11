"""One pass of chunks through a policy's stages: each timed, each replaceable by its own input."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from ctxguard.ledger import Step
from ctxguard.models import ModelCard
from ctxguard.policy import Policy
from ctxguard.run import Record
from ctxguard.stages.layout import write_chunks
from ctxguard.text.analysis import Analysis, Analyzer
from ctxguard.text.tokens import EstimateTokenizer, TiktokenTokenizer, Tokenizer
from ctxguard.types import Budget, Chunk, Context, Decision, Segment, Stage

__all__ = ["Pipeline", "failed", "within"]

T = TypeVar("T")


class Pipeline:
    """One pass of chunks through the stages of a policy."""

    def __init__(self, policy: Policy, analyzer: Analyzer) -> None:
        self.policy = policy
        self.analyzer = analyzer
        self.decisions: list[Decision] = []
        self.timings: dict[str, float] = {}
        self.budget = Budget()
        self._held: list[Analysis] = []

    def run(
        self,
        question: str,
        chunks: Sequence[Chunk],
        budget: Budget,
        decisions: Sequence[Decision],
        *,
        previous: Sequence[str] = (),
    ) -> Context:
        """The context after every stage; a stage that fails hands its input on."""
        self.decisions.extend(decisions)
        self.budget = budget
        self._held = self._read(chunks) if self.policy.stages else []
        context = Context(
            question=question,
            chunks=tuple(chunks),
            budget=budget,
            template=self.policy.template,
            previous=tuple(previous),
            analyzer=self.analyzer,
        )
        for stage in self.policy.stages:
            context = self._step(stage, context)
        return context

    def _read(self, chunks: Sequence[Chunk]) -> list[Analysis]:
        """Tokenise every chunk once; who holds the result spares every stage to do it again.

        Not with a foreign tokenizer, which may hang or fail: each stage has its own deadline.
        """
        if not isinstance(self._tokenizer, TiktokenTokenizer | EstimateTokenizer):
            return []
        return self.analyzer.analyse_all([chunk.rendered or chunk.text for chunk in chunks])

    def _step(self, stage: Stage, context: Context) -> Context:
        started = time.perf_counter()
        try:
            result = within(lambda: stage(context), self._tokenizer, self.policy.deadline)
        except Exception as error:
            if self.policy.on_error == "raise":
                raise
            self.decisions.append(failed(stage.name, error))
            return context
        finally:
            self.timings[stage.name] = time.perf_counter() - started
        self.decisions.extend(result.decisions)
        return result.context

    def _unexplained(self, record: Record) -> Iterator[Decision]:
        """A keep for each survivor that no stage explained (Select explains all of them)."""
        explained = {d.subject for d in record.decisions if d.action == "keep"}
        for chunk in record.evidence:
            if chunk.id not in explained:
                yield Decision(
                    stage="guard",
                    action="keep",
                    subject=chunk.id,
                    code="kept",
                    reason="nothing asked for it to be left out",
                    score=chunk.relevance,
                    details={"covers": chunk.covers} if chunk.pieces else {},
                )

    def _incomplete(self, record: Record) -> Iterator[Decision]:
        """A flag for each trimmed survivor whose twin, which holds the rest, was left out later."""
        kept = {chunk.id for chunk in record.evidence}
        trims = [d for d in record.decisions if d.action == "trim" and d.twin and d.subject in kept]
        for subject, twin in dict.fromkeys((d.subject, d.twin) for d in trims):
            if twin not in kept:
                yield Decision(
                    stage="guard",
                    action="flag",
                    subject=subject,
                    code="twin-left-out",
                    reason=f"what was trimmed from it stands in {twin}, which was left out later",
                    twin=twin,
                )

    def record(
        self, context: Context, given: Sequence[Chunk], *, question: str, name: str, card: ModelCard
    ) -> Record:
        """What this pass adds to a run.

        It is completed when the ledger is read, because nothing is decided by its counts; with
        `on_error="raise"` now, so that whoever asked hears of a tokenizer that fails.
        """
        self._held = []
        record = Record(
            step=Step(kind="retrieval", name=name, tokens_before=0, tokens_after=0),
            decisions=tuple(self.decisions),
            chunks=tuple(map(_without_vector, given)),
            evidence=context.chunks,
            timings=self.timings,
            question=question,
            model=card.name,
            tokenizer=str(getattr(self.analyzer.tokenizer, "name", "custom")),
            budget=self.budget,
            complete=self._completed,
        )
        return record.completed() if self.policy.on_error == "raise" else record

    def _completed(self, record: Record) -> Record:
        """With its tokens and keeps; counting that fails is 0 tokens and an error Decision."""
        decisions = [*record.decisions, *self._unexplained(record), *self._incomplete(record)]
        step = record.step
        try:
            before, segments = within(
                lambda: self._count(record.chunks, record.evidence),
                self._tokenizer,
                self.policy.deadline,
            )
        except Exception as error:
            if self.policy.on_error == "raise":
                raise
            decisions.append(failed("count", error))
        else:
            after = sum(segment.tokens for segment in segments)
            if step is not None:
                step = replace(step, tokens_before=before, tokens_after=after, segments=segments)
        return replace(record, step=step, decisions=tuple(decisions), complete=None)

    def _count(
        self, given: Sequence[Chunk], kept: Sequence[Chunk]
    ) -> tuple[int, tuple[Segment, ...]]:
        template = self.policy.template
        counts = self._tokens([chunk.rendered or chunk.text for chunk in given])
        after = self._tokens(
            [chunk.rendered or chunk.text for chunk in kept]
            if template is None
            else write_chunks(kept, template)
        )
        segments = map(_segment, kept, after)
        return sum(counts), tuple(segments)

    def _tokens(self, texts: Sequence[str]) -> list[int]:
        return [analysis.tokens for analysis in self.analyzer.analyse_all(texts)]

    @property
    def _tokenizer(self) -> Tokenizer:
        return self.analyzer.tokenizer


def _without_vector(chunk: Chunk) -> Chunk:
    """The chunk as a ledger keeps it: a vector can be had again, and fills a page when printed."""
    return chunk if chunk.embedding is None else replace(chunk, embedding=None)


def _segment(chunk: Chunk, tokens: int) -> Segment:
    return Segment(
        kind="evidence",
        label=chunk.source or chunk.id,
        tokens=tokens,
        subject=chunk.id,
        text=chunk.text,
    )


def failed(stage: str, error: Exception) -> Decision:
    """The Decision that says that a stage failed and changed nothing."""
    return Decision(
        stage=stage,
        action="error",
        subject=stage,
        code="stage-failed",
        reason=f"{stage} failed and handed its input on unchanged: {type(error).__name__}: {error}",
    )


def within(work: Callable[[], T], tokenizer: Tokenizer, seconds: float | None) -> T:
    """The result of `work`; with a foreign tokenizer, which may hang, within `seconds`.

    Raises:
        TimeoutError: the time is over; the thread goes on as a daemon and its result is ignored.
    """
    if seconds is None or isinstance(tokenizer, TiktokenTokenizer | EstimateTokenizer):
        return work()
    results: list[T] = []
    errors: list[BaseException] = []

    def target() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=target, name="ctxguard-stage", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(f"no result within {seconds:g} s (Policy.deadline)")
    return results[0]
