"""One reply of a guarded model, held against the evidence of its run, as the policy says.

An adapter pushes the text as it comes, shows what it is given back, and settles the reply when it
has ended. What is decided here is the same for calls and streams of every framework.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from ctxguard.attempts import current_attempt, verification_of
from ctxguard.errors import UngroundedAnswerError
from ctxguard.run import Record, Run, Source, current_run
from ctxguard.types import Action, Chunk, Decision, Verification
from ctxguard.verification import (
    Annotator,
    Asks,
    Correction,
    Evidence,
    Gate,
    Repaired,
    Retrieve,
    adrive,
    drive,
)
from ctxguard.verification.repair import Ending
from ctxguard.verifying import flags_of, settings_of

if TYPE_CHECKING:
    from ctxguard.guard import Guard
    from ctxguard.policy import Policy

__all__ = ["Answering", "Form", "Settled", "Shown", "answering", "reads_quickly"]

Form: TypeAlias = Literal["text", "fields"]
"""What a reply is: words for a reader, or a JSON text whose fields a program reads."""
_STAGE = "verify"
_SUBJECT = "answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a reader may see, now that more of a reply has come."""

    text: str
    """Blank while a gate waits for the end of a sentence."""
    corrections: tuple[Correction, ...] = ()
    """What of the text so far is known to be wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What became of a reply."""

    answer: str
    """All that the reader has in the end, or is to be given."""
    rest: str = ""
    """Of the answer, what a stream has not shown yet."""
    verification: Verification | None = None
    """Of the answer as far as the model's words are in it; None: it was not verified."""
    corrections: tuple[Correction, ...] = ()
    """What is known only now."""
    ending: Ending = "passed"
    """How it ended; of a reply that nobody judged 'passed' too, and `verification` is None."""
    repaired: Repaired | None = None
    """A better answer that a reader who has the first one already can only be told of."""


def answering(
    guard: Guard,
    *,
    streamed: bool = False,
    form: Form = "text",
    calls: bool = False,
    results: Iterable[Chunk] = (),
) -> Answering | None:
    """Follows one reply of a model in the run of now; None: the policy asks for no verification.

    Args:
        guard: whose policy applies.
        streamed: whether the reader sees the text as it comes.
        form: what the reply is.
        calls: whether the reply may yet turn out to call tools: then a gate shows nothing after a
            sentence that failed before it is known, because what it says beside the calls passes
            as it is.
        results: what the prompt holds of evidence that no retriever of the run brought, as what
            tools returned.
    """
    settings, run = verification_of(guard.policy), current_run()
    if settings is None or run is None:
        return None
    guard = guard.with_verification(settings)
    evidence = _joined(run.evidence, results)
    return Answering(guard, run, evidence, streamed=streamed, form=form, calls=calls)


def reads_quickly(policy: Policy) -> bool:
    """Whether text may be pushed where an event loop waits: no scorer, or one that is quick."""
    scorer = settings_of(policy).verifier.scorer
    return scorer is None or bool(getattr(scorer, "quick", False))


class Answering:
    """Follows one reply from its first word to what the ledger says of it.

    A failure in here is the guard's and not the call's: with `on_error="pass"` the rest of the
    text goes on unchanged and the ledger gets an error Decision.
    """

    def __init__(
        self,
        guard: Guard,
        run: Run,
        evidence: Sequence[Chunk],
        *,
        streamed: bool = False,
        form: Form = "text",
        calls: bool = False,
    ) -> None:
        """Start before the first character; `answering` makes one."""
        self._guard = guard
        self._run = run
        self._settings = settings_of(guard.policy)
        self._streamed = streamed
        self._form: Form = form
        self._evidence = Evidence(evidence)
        self._draft: list[str] = []
        self._shown: list[str] = []
        self._seconds = 0.0
        self._passes = not evidence  # whether the text goes on as it comes, and nobody judges it
        self._reader = self._reads(calls=calls)

    def _reads(self, *, calls: bool) -> Gate | Annotator | None:
        """What reads along with a stream; None: all is read at the end."""
        settings = self._settings
        if not self._streamed or self._passes or self._form == "fields":
            return None
        question = self._run.question
        if settings.mode == "gate":
            closes = calls or settings.on_fail != "flag"
            return Gate(settings.verifier, self._evidence, question=question, closes=closes)
        if settings.mode == "annotate":
            return Annotator(settings.verifier, self._evidence, question=question)
        return None

    # -- while it comes ---------------------------------------------------------------------------

    def push(self, text: str) -> Shown:
        """What a reader may see, now that this text has followed."""
        return drive(self._pushing(text))

    async def apush(self, text: str) -> Shown:
        """As `push`; a scorer is awaited, or runs in a thread unless it is quick."""
        return await adrive(self._pushing(text))

    def _pushing(self, text: str) -> Asks[Shown]:
        self._draft.append(text)
        shown = Shown(text=text)
        if self._reader is not None and not self._passes:
            reader = self._reader
            with self._guarding():
                shown = yield from _shown(reader, text)
            if self._passes:  # it failed just now
                shown = Shown(text=self._held_back())
        self._shown.append(shown.text)
        return shown

    def hand_on(self) -> str:
        """Let the reply pass unjudged, because it calls tools: what was held back of it until now.

        What it says beside the calls is on the way to an answer and none itself.
        """
        rest = "" if self._passes else self._unshown()
        self._passes, self._draft = True, []
        self._shown.append(rest)
        return rest

    def _held_back(self) -> str:
        """What was pushed and not shown; nothing of a gate that has closed."""
        if isinstance(self._reader, Gate) and self._reader.failed:
            return ""
        return self._unshown()

    def _unshown(self) -> str:
        """All that follows what was shown; nothing where a sentence was left out of that."""
        draft, shown = "".join(self._draft), "".join(self._shown)
        return draft[len(shown) :] if draft.startswith(shown) else ""

    # -- the end ----------------------------------------------------------------------------------

    def settle(self, ends_well: Callable[[BaseException], bool] | None = None) -> Asks[Settled]:
        """Asks for what puts the reply right, as far as the policy goes; for `drive` and `adrive`.

        Args:
            ends_well: tells a framework's control flow, which passes through, from errors.

        Raises:
            UngroundedAnswerError: with `on_fail="raise"`, when nothing helped.
        """
        draft, shown = "".join(self._draft), "".join(self._shown)
        settled = Settled(answer=draft)
        if self._streamed:
            rest = self._held_back()
            settled = Settled(answer=shown + rest, rest=rest)
        if not self._passes and draft.strip():
            given = shown if self._streamed else ""
            with self._guarding(ends_well):
                settled = yield from self._settling(draft, given, ends_well)
        elif draft.strip() and not self._evidence.chunks:
            self._note("flag", "not-verified", "there was no evidence to hold the answer against")
        return settled

    def _settling(
        self, draft: str, shown: str, ends_well: Callable[[BaseException], bool] | None
    ) -> Asks[Settled]:
        began = time.perf_counter()
        verification, corrections = yield from self._judged(draft)
        self._seconds += time.perf_counter() - began
        self._run.add(Record(timings={_STAGE: self._seconds}))
        gated = self._settings.mode == "gate"  # whoever calls is given what a reader is shown
        told = self._streamed and not gated
        fixed = told or self._form == "fields"  # nobody can take it back, or write it anew
        if fixed and verification.failed and self._settings.on_fail == "raise":
            self._add(verification)
            raise UngroundedAnswerError(verification)
        if self._form == "fields":
            self._add(verification)
            ending: Ending = "flagged" if verification.failed else "passed"
            return Settled(
                answer=draft, verification=verification, corrections=corrections, ending=ending
            )
        repaired = yield from self._guard.repair(
            verification,
            self._evidence,
            question=self._run.question,
            keep=len(shown) if gated else 0,
            doubt=self._doubt(verification),
            ends_well=ends_well,
        )
        if gated:
            return (yield from self._gated(repaired, shown))
        if told:
            better = repaired if repaired.answer != draft else None
            if better is not None:
                self._note(
                    "flag",
                    "shown-already",
                    "the reader has the answer that failed, and can only be told of a better one; "
                    'mode="gate" shows nothing that failed',
                )
                self._add(verification)
            return Settled(
                answer=draft,
                verification=verification,
                corrections=corrections,
                ending=repaired.ending,
                repaired=better,
            )
        return Settled(
            answer=repaired.answer, verification=repaired.verification, ending=repaired.ending
        )

    def _doubt(self, verification: Verification) -> str:
        """Why an answer that passed is taken to a heavier route; blank where it is not."""
        attempt = current_attempt()
        doubt = "" if attempt is None or verification.failed else attempt.doubt(verification.score)
        if not doubt:
            return ""
        said = "; a reader has it already, and it stays" if self._streamed else ""
        self._note("flag", "low-confidence", f"{doubt}{said}")
        return "" if said else doubt

    def _judged(self, draft: str) -> Asks[tuple[Verification, tuple[Correction, ...]]]:
        """What the evidence says of the whole reply, and what of it was not said before."""
        reader = self._reader
        if isinstance(reader, Annotator):
            late = yield from reader.finishing()
            return reader.verification, late
        if isinstance(reader, Gate):
            yield from reader.finishing()
            return reader.verification, ()
        judge = self._settings.verifier
        verifying = judge.verifying_fields if self._form == "fields" else judge.verifying
        verification = yield from verifying(draft, self._evidence, self._run.question)
        if not self._streamed:
            return verification, ()
        failed = verification.failed
        return verification, tuple(
            Correction(offset=len(draft), claim=verdict.claim, verdict=verdict)
            for verdict in failed
        )

    def _gated(self, repaired: Repaired, shown: str) -> Asks[Settled]:
        """The end of what a gate lets through: never a sentence that failed."""
        answer = repaired.answer
        if repaired.verification.failed:
            answer = yield from self._passed(repaired, shown)
            count = len(repaired.verification.failed)
            self._note(
                "drop",
                "withheld",
                f"{count} claim{'s' if count > 1 else ''} that failed "
                f"{'were' if count > 1 else 'was'} not shown",
            )
        return Settled(
            answer=answer,
            rest=answer[len(shown) :],
            verification=repaired.verification,
            ending=repaired.ending,
        )

    def _passed(self, repaired: Repaired, shown: str) -> Asks[str]:
        """An answer without the sentences that failed; what was shown of it stays."""
        gate = Gate(
            self._settings.verifier, repaired.evidence, question=self._run.question, closes=False
        )
        yield from gate.pushing(repaired.answer)
        yield from gate.finishing()
        return gate.released if gate.released.startswith(shown) else shown

    # -- what it needs from around it -------------------------------------------------------------

    def retrieve(self, request: Retrieve) -> list[Chunk] | None:
        """What the retrievers of the run find for a request; None: it has none."""
        if not self._run.sources:
            return None
        found: list[Chunk] = []
        for source, query in self._searches(request):
            found += source.search(query)
        return found

    async def aretrieve(self, request: Retrieve) -> list[Chunk] | None:
        """As `retrieve`, with searches that are awaited."""
        if not self._run.sources:
            return None
        found: list[Chunk] = []
        for source, query in self._searches(request):
            found += await source.asearch(query)
        return found

    def _searches(self, request: Retrieve) -> Iterator[tuple[Source, str]]:
        """Who is asked what, as long as the request has time."""
        until = _until(request)
        for query in request.queries:
            for source in self._run.sources:
                if time.monotonic() < until:
                    yield source, query

    # -- when something fails ---------------------------------------------------------------------

    @contextmanager
    def _guarding(
        self, ends_well: Callable[[BaseException], bool] | None = None
    ) -> Generator[None]:
        began = time.perf_counter()
        try:
            yield
        except UngroundedAnswerError:
            raise
        except Exception as error:
            if self._guard.policy.on_error == "raise" or (ends_well and ends_well(error)):
                raise
            self._passes = True
            reason = f"the answer was handed on unverified: {type(error).__name__}: {error}"
            self._note("error", "verify-failed", reason)
        finally:
            self._seconds += time.perf_counter() - began

    def _add(self, verification: Verification) -> None:
        """Let the ledger end with what the reader has."""
        flags = flags_of(verification, self._settings.verifier.cut)
        self._run.add(Record(decisions=tuple(flags), verifications=(verification,)))

    def _note(self, action: Action, code: str, reason: str) -> None:
        decision = Decision(stage=_STAGE, action=action, subject=_SUBJECT, code=code, reason=reason)
        self._run.add(Record(decisions=(decision,)))


def _shown(reader: Gate | Annotator, text: str) -> Asks[Shown]:
    if isinstance(reader, Gate):
        releases = yield from reader.pushing(text)
        return Shown(text="".join(release.text for release in releases))
    return Shown(text=text, corrections=(yield from reader.pushing(text)))


def _until(request: Retrieve) -> float:
    return float("inf") if request.seconds is None else time.monotonic() + request.seconds


def _joined(evidence: Sequence[Chunk], results: Iterable[Chunk]) -> tuple[Chunk, ...]:
    """The run's evidence, and what else the prompt holds, without what stands in both."""
    chunks = list(evidence)
    known = {chunk.id for chunk in chunks}
    for result in results:
        text = result.text
        for chunk in evidence:
            text = text.replace(chunk.text, "\n") if chunk.text else text
        if result.id not in known and any(map(str.isalnum, text)):
            known.add(result.id)
            chunks.append(result if text == result.text else Chunk(id=result.id, text=text.strip()))
    return tuple(chunks)
