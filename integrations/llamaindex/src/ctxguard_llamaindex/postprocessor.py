"""The guard as one of LlamaIndex's node postprocessors, for explicit use."""

from __future__ import annotations

import warnings

from llama_index.core.callbacks import CallbackManager
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle
from pydantic import Field, PrivateAttr, SkipValidation

from ctxguard.guard import Guard
from ctxguard.handle import Coverage, CoverageWarning, Handle, Reached
from ctxguard.policy import Policy
from ctxguard.run import Run, current_run
from ctxguard_llamaindex.convert import chunks_of, question_of
from ctxguard_llamaindex.hooks import prepare_nodes

__all__ = ["CtxGuardPostprocessor"]

_UNVERIFIED = (
    "CtxGuardPostprocessor: it sees no answers, so the policy's verification does not happen; "
    "guard(engine) verifies them"
)


class CtxGuardPostprocessor(BaseNodePostprocessor):
    """Applies a policy to the nodes that a retriever found.

    ```python
    engine = index.as_query_engine(node_postprocessors=[CtxGuardPostprocessor(policy=policy)])
    ```

    `guard(engine)` does the same at the retriever and also makes prompts fit the model's window.
    Inside of a guarded engine with the same policy, nodes that its retriever has prepared are left
    as they are; a policy of its own is applied to them.
    """

    policy: SkipValidation[Policy] = Field(
        default_factory=Policy.from_env, description="What is done to the nodes.", exclude=True
    )
    _handle: Handle = PrivateAttr()

    def __init__(
        self, policy: Policy | None = None, *, callback_manager: CallbackManager | None = None
    ) -> None:
        """Set up, without loading anything.

        Args:
            policy: None: `CTXGUARD_POLICY`'s file if that is set, else the balanced preset.
            callback_manager: LlamaIndex's; a query engine sets its own.
        """
        values: dict[str, object] = {"policy": policy or Policy.from_env()}
        super().__init__(callback_manager=callback_manager or CallbackManager(), **values)
        if self.policy.verification is not None:
            warnings.warn(_UNVERIFIED, CoverageWarning, stacklevel=2)

    def model_post_init(self, context: object, /) -> None:
        """Make the handle."""
        super().model_post_init(context)
        reached = Reached(path="", type=type(self).__name__, kind="postprocessor")
        self._handle = Handle(Guard(self.policy), None, Coverage(reached=(reached,)))

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex serialises it."""
        return "CtxGuardPostprocessor"

    @property
    def ctxguard(self) -> Handle:
        """Coverage, ledgers and policy."""
        return self._handle

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        run = current_run()
        if run is not None and self._prepared_in(run, nodes):
            return nodes
        question = question_of(query_bundle)
        with self._handle.join(question, type(self).__name__):
            return list(prepare_nodes(self._handle.guard, question, nodes, type(self).__name__))

    def _prepared_in(self, run: Run, nodes: list[NodeWithScore]) -> bool:
        owner = run.owner
        if (
            not isinstance(owner, Handle)
            or owner.guard.fingerprint != self._handle.guard.fingerprint
        ):
            return False
        known = {chunk.text for chunk in run.evidence}
        return all(chunk.text in known for chunk in chunks_of(nodes)[0])
