"""What the tests of all three distributions share."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import hypothesis
import pytest

# On a shared machine a slow example says nothing; in CI every run tries the same examples.
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")

# The frameworks' own telemetry and uploads stay off, whatever the environment says.
os.environ["LANGSMITH_TRACING"] = "false"
os.environ["LANGCHAIN_TRACING_V2"] = "false"
os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "false"


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio: the frameworks support no other event loop."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _event_loop() -> Iterator[None]:
    """A loop that is closed: LlamaIndex makes one where there is none, and leaves it open."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that need CTXGUARD_DATA where it is not set."""
    if os.environ.get("CTXGUARD_DATA"):
        return
    without = [item for item in items if item.get_closest_marker("data")]
    if without:
        config.hook.pytest_deselected(items=without)
        items[:] = [item for item in items if item not in without]
