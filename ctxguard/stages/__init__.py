"""Stages: pure functions from a Context to a StageResult, each configured by its own fields."""

from ctxguard.reliability import Reliability
from ctxguard.stages._rank_model import RankModel
from ctxguard.stages.compress import Compress
from ctxguard.stages.dedupe import Deduplicate
from ctxguard.stages.layout import Layout
from ctxguard.stages.rank import Rank
from ctxguard.stages.select import Breakpoint, Choice, Kept, Select, SelectionPath
from ctxguard.text.template import Template

__all__ = [
    "Breakpoint",
    "Choice",
    "Compress",
    "Deduplicate",
    "Kept",
    "Layout",
    "Rank",
    "RankModel",
    "Reliability",
    "Select",
    "SelectionPath",
    "Template",
]
