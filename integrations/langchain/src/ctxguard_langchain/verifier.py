"""The verifier on its own in LangChain: a step of a chain, and an evaluator.

Neither asks a model. `GroundednessChecker` is a Runnable, from a chain's result to a Verification.
`GroundednessEvaluator` reports the same as feedback: to LangSmith's `evaluate`, and by the methods
of LangChain's StringEvaluator. Neither package is needed for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import run_in_executor
from typing_extensions import override

from ctxguard.guard import Guard
from ctxguard.policy import Policy
from ctxguard.run import current_run
from ctxguard.types import Verification
from ctxguard.verification import Verifier, Verify, grade
from ctxguard_langchain.answers import Evidence, Keys, fields_of
from ctxguard_langchain.dynamic import Dynamic

__all__ = ["GroundednessChecker", "GroundednessEvaluator"]


class GroundednessChecker(Runnable[Any, Verification]):
    """Holds the answer in a mapping, or in a graph's state, against the evidence beside it.

    ```python
    checked = chain | RunnablePassthrough.assign(verification=GroundednessChecker())
    ```

    The answer is a str or a message; the evidence is Documents, strings, or one string. Of
    `messages`, the answer is the model's last one, and the evidence what tools returned since the
    last question: their artifacts where those are Documents. Inside of a guarded chain the call's
    ledger gets the verdicts, and evidence that the input does not have is that of the run.
    """

    def __init__(
        self,
        verifier: Verifier | None = None,
        *,
        answer: str | None = None,
        evidence: str | None = None,
        question: str | None = None,
    ) -> None:
        """Set up, without loading anything.

        Args:
            verifier: None: `Verifier()`.
            answer: key of the answer; None: the first of 'answer', 'output', 'response', 'result',
                'generation', 'prediction' and 'messages' that there is.
            evidence: key of the evidence; None: the first of 'context', 'contexts', 'documents',
                'source_documents', 'docs', 'evidence', and 'messages' with results of tools.
            question: key of the question; None: the first of 'question', 'query', 'input' and
                'messages', if there is one.
        """
        self.verifier = verifier or Verifier()
        self._guard = Guard(Policy(verification=Verify(verifier=self.verifier)))
        self._keys = Keys.of(answer=answer, evidence=evidence, question=question)

    @override
    def invoke(
        self, input: Dynamic, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Verification:
        """What the evidence says of the answer, claim by claim.

        Args:
            input: a mapping, or a state that is a dataclass or a pydantic model.
            config: LangChain's.
            kwargs: none is known.

        Raises:
            InputError: there is no answer or no evidence; it names the keys that there are.
        """
        return self._call_with_config(self._verify, input, config, **kwargs)

    def _verify(self, value: Dynamic) -> Verification:
        fields, keys = fields_of(value), self._keys
        of_run = current_run() is not None and not keys.has_evidence(fields)
        return self._guard.verify(
            keys.answer(fields),
            None if of_run else keys.evidence(fields),
            question=keys.question(fields) or None,
        )


class GroundednessEvaluator:
    """Says whether answers are grounded in their evidence, as feedback.

    ```python
    langsmith.evaluate(chain.invoke, data="questions", evaluators=[GroundednessEvaluator()])
    ```

    The value is 'grounded', 'contradicted', 'not found', 'abstained' or 'not judged', beside a
    score from 0 to 1 and a comment: what failed, with quotes. An answer that claims nothing
    abstains and has no score, so that a mean counts it neither as right nor as wrong.
    """

    evaluation_name = "groundedness"
    requires_input = False
    requires_reference = True

    def __init__(
        self,
        verifier: Verifier | None = None,
        *,
        answer: str | None = None,
        evidence: str | None = None,
        question: str | None = None,
    ) -> None:
        """Set up; the arguments are those of GroundednessChecker."""
        self.verifier = verifier or Verifier()
        self._keys = Keys.of(answer=answer, evidence=evidence, question=question)
        self.__name__ = self.evaluation_name  # by which LangSmith tells evaluators apart

    def __call__(
        self,
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Any],
        reference_outputs: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Feedback for LangSmith: key, score, value and comment.

        Args:
            inputs: of the example: the question.
            outputs: of the chain: the answer, and the evidence that it was made from.
            reference_outputs: of the example. Evidence that the outputs do not have is looked for
                in the inputs, then here.

        Raises:
            InputError: there is no answer or no evidence; it names the keys that there are.
        """
        graded = self._grade(
            self._keys.answer(outputs),
            self._keys.evidence(outputs, inputs, reference_outputs or {}),
            self._keys.question(inputs, outputs),
        )
        comment = graded.pop("reasoning")
        return {"key": self.evaluation_name, **graded, "comment": comment}

    def evaluate_strings(
        self,
        *,
        prediction: Dynamic,
        reference: Dynamic = None,
        input: Dynamic = None,  # noqa: A002 -- the protocol's name
        **_: Any,
    ) -> dict[str, Any]:
        """Score, value and reasoning, as LangChain's StringEvaluator gives them.

        Args:
            prediction: the answer, a str or a message.
            reference: the evidence: Documents, strings, or one string.
            input: the question.

        Raises:
            InputError: the answer or the evidence is of another type, or missing.
        """
        fields = {"answer": prediction, "question": input}
        known = {} if reference is None else {"evidence": reference}
        keys = Keys.of(answer="answer", evidence="evidence", question="question")
        return self._grade(keys.answer(fields), keys.evidence(known), keys.question(fields))

    async def aevaluate_strings(
        self,
        *,
        prediction: Dynamic,
        reference: Dynamic = None,
        input: Dynamic = None,  # noqa: A002 -- the protocol's name
        **_: Any,
    ) -> dict[str, Any]:
        """As `evaluate_strings`, in a thread."""
        return await run_in_executor(
            None, self.evaluate_strings, prediction=prediction, reference=reference, input=input
        )

    def _grade(self, answer: str, evidence: Evidence, question: str) -> dict[str, Any]:
        graded = grade(self.verifier(answer, evidence, question or None))
        value = graded.outcome.replace("_", " ")
        return {"score": graded.score, "value": value, "reasoning": graded.explanation}
