"""What a failed call says of its route: by status, header, code and name."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ctxguard.routing.failures import failure_of


def error(
    name: str = "APIStatusError", base: type[Exception] = Exception, **fields: Any
) -> Exception:
    made = type(name, (base,), {})("said")
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def response(status: int, **headers: str) -> SimpleNamespace:
    return SimpleNamespace(
        status_code=status, headers={key.replace("_", "-"): value for key, value in headers.items()}
    )


@pytest.mark.parametrize(
    ("status", "kind", "charged"),
    [
        (429, "rate-limited", False),
        (401, "unreachable", False),
        (404, "unreachable", False),
        (503, "unreachable", True),
        (529, "unreachable", True),
        (400, "other", False),
        (422, "other", False),
    ],
)
def test_a_status_tells(status: int, kind: str, charged: bool) -> None:
    for made in (error(status_code=status), error(response=response(status))):
        failure = failure_of(made)
        assert (failure.kind, failure.charged) == (kind, charged)
        assert failure.elsewhere == (kind != "other")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"retry_after_ms": "250"}, 0.25),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({}, None),
    ],
)
def test_a_header_tells_when_to_come_back(headers: dict[str, str], seconds: float | None) -> None:
    failure = failure_of(error(response=response(429, **headers)))
    assert (failure.kind, failure.retry_after) == ("rate-limited", seconds)


@pytest.mark.parametrize(
    ("made", "kind", "charged"),
    [
        (error("ResourceExhausted"), "rate-limited", False),
        (error("ReadTimeout"), "unreachable", True),
        (error("ConnectTimeout"), "unreachable", False),
        (ConnectionRefusedError("no"), "unreachable", False),
        (ConnectionResetError("cut"), "unreachable", True),
        (TimeoutError("late"), "unreachable", True),
        (
            error("BadRequestError", code="context_length_exceeded", status_code=400),
            "too-long",
            False,
        ),
        (error("ContextOverflowError"), "too-long", False),
        (ValueError("a bug"), "other", True),
        (KeyError("a bug"), "other", True),
    ],
)
def test_without_a_status_the_name_or_code_tells(made: Exception, kind: str, charged: bool) -> None:
    failure = failure_of(made)
    assert (failure.kind, failure.charged) == (kind, charged)


def test_what_an_error_was_raised_from_tells_as_well() -> None:
    outer = error("WrapperError")
    outer.__cause__ = error(status_code=429)
    assert failure_of(outer).kind == "rate-limited"
    outer.__cause__.__context__ = outer  # a cycle ends
    outer.__cause__ = error("Inner")
    assert failure_of(outer).kind == "other"
