"""ctxguard for LlamaIndex: `guard(engine)` finds this package by itself.

```python
from ctxguard import guard

engine = guard(index.as_query_engine())
engine.query("What is the notice period?")
print(engine.ctxguard.last)
```
"""

from ctxguard_llamaindex.adapter import LlamaIndexAdapter, adapter
from ctxguard_llamaindex.convert import ALSO_IN
from ctxguard_llamaindex.evaluator import GroundednessEvaluator
from ctxguard_llamaindex.events import (
    AnswerCorrected,
    AnswerCorrectedEvent,
    AnswerVerified,
    AnswerVerifiedEvent,
)
from ctxguard_llamaindex.postprocessor import CtxGuardPostprocessor

__version__ = "0.1.0"

__all__ = [
    "ALSO_IN",
    "AnswerCorrected",
    "AnswerCorrectedEvent",
    "AnswerVerified",
    "AnswerVerifiedEvent",
    "CtxGuardPostprocessor",
    "GroundednessEvaluator",
    "LlamaIndexAdapter",
    "adapter",
]
