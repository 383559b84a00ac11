"""The context window of one model call: everything counted, and made to fit."""

from ctxguard.window.cuts import Cut, apply_cuts
from ctxguard.window.fit import Fitted, count_messages, fit_messages

__all__ = ["Cut", "Fitted", "apply_cuts", "count_messages", "fit_messages"]
