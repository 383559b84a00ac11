"""Routing: how much inference a question deserves, decided without a model."""

from __future__ import annotations

from ctxguard.routing.calibration import Promise
from ctxguard.routing.choice import Candidate, Estimate, Moved, Routing
from ctxguard.routing.evaluation import Evaluation, Point, evaluate
from ctxguard.routing.route import Load, Price, Route
from ctxguard.routing.router import Router
from ctxguard.routing.surroundings import surroundings_in, surroundings_of
from ctxguard.routing.trace import Columns, Trace, read_traces
from ctxguard.routing.weighing import Surrounding

__all__ = [
    "Candidate",
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
    "Routing",
    "Surrounding",
    "Trace",
    "evaluate",
    "read_traces",
    "surroundings_in",
    "surroundings_of",
]
