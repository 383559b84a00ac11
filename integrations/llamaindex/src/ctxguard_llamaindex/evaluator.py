"""The verifier as one of LlamaIndex's evaluators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.base.response.schema import (
    AsyncStreamingResponse,
    PydanticResponse,
    Response,
    StreamingResponse,
)
from llama_index.core.evaluation import BaseEvaluator, EvaluationResult
from llama_index.core.prompts.mixin import PromptDictType
from typing_extensions import override

from ctxguard.errors import InputError
from ctxguard.types import Chunk
from ctxguard.verification import Verifier, grade
from ctxguard_llamaindex.convert import chunks_of

__all__ = ["GroundednessEvaluator"]


class GroundednessEvaluator(BaseEvaluator):
    """Says whether a response is grounded in its contexts, claim by claim and without a model.

    ```python
    runner = BatchEvalRunner({"groundedness": GroundednessEvaluator()})
    ```

    `passing` is whether the contexts support all that is claimed, `score` that of the weakest
    claim, `feedback` what failed, with quotes. A response that claims nothing ("I don't know")
    passes without a score, so that a mean counts it neither as right nor as wrong. One that could
    not be judged, in another language than its contexts, is an invalid result and says why.
    """

    def __init__(self, verifier: Verifier | None = None) -> None:
        """Set up, without loading anything.

        Args:
            verifier: None: `Verifier()`.
        """
        self.verifier = verifier or Verifier()

    @override
    def _get_prompts(self) -> PromptDictType:
        return {}

    @override
    def _update_prompts(self, prompts_dict: PromptDictType) -> None:
        """There are none."""

    @override
    async def aevaluate(
        self,
        query: str | None = None,
        response: str | None = None,
        contexts: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> EvaluationResult:
        """As `evaluate`; nothing is awaited."""
        return self.evaluate(query, response, contexts, **kwargs)

    @override
    def evaluate(
        self,
        query: str | None = None,
        response: str | None = None,
        contexts: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> EvaluationResult:
        """What the contexts say of a response.

        Args:
            query: what was asked.
            response: the answer.
            contexts: the texts that it was made from; none are contexts that hold nothing.
            kwargs: for other evaluators.

        Raises:
            InputError: the response or the contexts are missing.
        """
        if contexts is None:
            raise InputError("contexts: expected the texts that the response was made from")
        return self._judge(query, response, list(contexts))

    @override
    def evaluate_response(
        self, query: str | None = None, response: Any = None, **kwargs: Any
    ) -> EvaluationResult:
        """As `evaluate`, of an engine's response and its source nodes; a stream is read to its end.

        Raises:
            InputError: there is no response, or its stream can only be awaited.
        """
        if isinstance(response, AsyncStreamingResponse):
            raise InputError("response: its stream has to be awaited, by aevaluate_response")
        if isinstance(response, StreamingResponse):
            response = response.get_response()
        if not isinstance(response, Response | PydanticResponse):
            kind = type(response).__name__
            raise InputError(f"response: expected a Response of a query engine, got {kind}")
        chunks, _ = chunks_of(response.source_nodes)
        return self._judge(query, str(response) if response.response else "", chunks)

    @override
    async def aevaluate_response(
        self, query: str | None = None, response: Any = None, **kwargs: Any
    ) -> EvaluationResult:
        """As `evaluate_response`."""
        if isinstance(response, AsyncStreamingResponse):
            response = await response.get_response()
        return self.evaluate_response(query, response, **kwargs)

    def _judge(
        self, query: str | None, response: str | None, contexts: Sequence[str | Chunk]
    ) -> EvaluationResult:
        if response is None:
            raise InputError("response: expected the text of an answer")
        graded = grade(self.verifier(response, contexts, query))
        is_invalid = graded.passing is None
        return EvaluationResult(
            query=query,
            response=response,
            contexts=[one.text if isinstance(one, Chunk) else one for one in contexts],
            passing=graded.passing,
            score=graded.score,
            feedback=graded.explanation,
            invalid_result=is_invalid,
            invalid_reason=graded.explanation if is_invalid else None,
        )
