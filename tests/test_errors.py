"""The error tree: one base, standard bases too, tables that can be read."""

from __future__ import annotations

import ctxguard
from ctxguard import errors


def test_every_error_is_a_ctxguard_error_and_exported() -> None:
    for name in errors.__all__:
        kind = getattr(errors, name)
        assert issubclass(kind, errors.CtxguardError)
        assert getattr(ctxguard, name) is kind
        assert name in (errors.__doc__ or "")


def test_errors_are_caught_by_what_users_already_catch() -> None:
    assert issubclass(errors.InputError, ValueError)
    assert issubclass(errors.UnsupportedObjectError, TypeError)
    assert issubclass(errors.MissingDependencyError, ImportError)


def test_the_budget_error_is_a_table() -> None:
    error = errors.BudgetExceededError(
        limit=1000,
        usage={"instructions": 1500, "history": 20},
        pinned=frozenset({"instructions"}),
    )
    lines = str(error).splitlines()
    assert "1,500" in lines[0]
    assert lines[1].split() == ["instructions", "1,500", "pinned"]
    assert "can be left out" in lines[2]
    assert "Budget(window" in lines[-1]
