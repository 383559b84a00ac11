"""Stages: pure functions from a Context to a StageResult, each configured by its own fields."""

from ctxguard.stages.dedupe import Deduplicate
from ctxguard.stages.layout import Layout
from ctxguard.stages.rank import Rank
from ctxguard.stages.select import Select

__all__ = ["Deduplicate", "Layout", "Rank", "Select"]
