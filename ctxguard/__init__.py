"""ctxguard: the right context, without excess, around an existing chain, and the reasons.

```python
from ctxguard import guard

chain = guard(chain)  # same type back
chain.invoke("What is the notice period?")
print(chain.ctxguard.last)  # what filled the context window, what was left out, and why
```
"""

from ctxguard.block import guarded
from ctxguard.errors import (
    BudgetExceededError,
    CtxguardError,
    InputError,
    MissingDependencyError,
    PolicyError,
    SpendLimitError,
    StateStoreError,
    UngroundedAnswerError,
    UnsupportedObjectError,
)
from ctxguard.guard import Guard, Prepared, guard
from ctxguard.handle import Coverage, CoverageWarning, Handle, handle
from ctxguard.ledger import Ledger
from ctxguard.policy import Policy
from ctxguard.types import Budget, Chunk, Decision, Message, Segment

__version__ = "0.1.0"

__all__ = [
    "Budget",
    "BudgetExceededError",
    "Chunk",
    "Coverage",
    "CoverageWarning",
    "CtxguardError",
    "Decision",
    "Guard",
    "Handle",
    "InputError",
    "Ledger",
    "Message",
    "MissingDependencyError",
    "Policy",
    "PolicyError",
    "Prepared",
    "Segment",
    "SpendLimitError",
    "StateStoreError",
    "UngroundedAnswerError",
    "UnsupportedObjectError",
    "guard",
    "guarded",
    "handle",
]
