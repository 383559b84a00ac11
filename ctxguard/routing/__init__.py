"""Routing: how much inference a question deserves, decided without a model."""

from __future__ import annotations

from ctxguard.routing.calibration import Promise
from ctxguard.routing.caller import Caller, calling_for, current_caller
from ctxguard.routing.choice import Candidate, Estimate, Moved, Routing
from ctxguard.routing.evaluation import Evaluation, Point, evaluate
from ctxguard.routing.report import Savings
from ctxguard.routing.route import Load, Price, Route
from ctxguard.routing.router import Router
from ctxguard.routing.savings import savings_of
from ctxguard.routing.settings import Cascade, Routes
from ctxguard.routing.state import SpendLimit
from ctxguard.routing.surroundings import surroundings_in, surroundings_of
from ctxguard.routing.trace import Columns, Trace, read_traces
from ctxguard.routing.weighing import Surrounding

__all__ = [
    "Caller",
    "Candidate",
    "Cascade",
    "Columns",
    "Estimate",
    "Evaluation",
    "Load",
    "Moved",
    "Point",
    "Price",
    "Promise",
    "Route",
    "Router",
    "Routes",
    "Routing",
    "Savings",
    "SpendLimit",
    "Surrounding",
    "Trace",
    "calling_for",
    "current_caller",
    "evaluate",
    "read_traces",
    "savings_of",
    "surroundings_in",
    "surroundings_of",
]
