"""What the tests of all three distributions share."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import operator
import os
import shutil
from collections.abc import Iterator

import hypothesis
import pytest

# The fixtures `openai_server`, `anthropic_server` and `ollama_server`, for both adapters.
pytest_plugins = ["tests.openai_server", "tests.anthropic_server", "tests.ollama_server"]

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
    """Leave out the tests that need what is not there: data, torch, Redis, a newer framework."""
    lacks = (_lacks_data, _lacks_models, _lacks_redis, _lacks_attribute)
    without = [item for item in items if any(one(item) for one in lacks)]
    if without:
        config.hook.pytest_deselected(items=without)
        items[:] = [item for item in items if item not in without]


def _lacks_data(item: pytest.Item) -> bool:
    return bool(item.get_closest_marker("data")) and not os.environ.get("CTXGUARD_DATA")


def _lacks_models(item: pytest.Item) -> bool:
    return bool(item.get_closest_marker("models")) and importlib.util.find_spec("torch") is None


def _lacks_redis(item: pytest.Item) -> bool:
    return bool(item.get_closest_marker("redis")) and shutil.which("redis-server") is None


def _lacks_attribute(item: pytest.Item) -> bool:
    """Whether a test is marked `needs("package.module", "Class.method")`, and that is not there."""
    for marker in item.iter_markers("needs"):
        module, attribute = marker.args
        try:
            operator.attrgetter(attribute)(importlib.import_module(module))
        except (ImportError, AttributeError):
            return True
    return False
