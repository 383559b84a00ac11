"""Whose call it is, as a config says: the conversation of its thread, and the tenant that pays."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from langchain_core.runnables.config import var_child_runnable_config

from ctxguard.routing import calling_for, current_caller

__all__ = ["TENANT", "calling"]

TENANT = "ctxguard_tenant"
"""Key of a config's `configurable` for who pays."""
_THREAD = "thread_id"


@contextmanager
def calling(args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None) -> Generator[None]:
    """Let the block's calls be those of a config's thread and tenant.

    What `calling_for` says around it comes first.

    Args:
        args: of an entry point; the second is the config.
        kwargs: by name. The config of the step that this context is in counts, too.
    """
    given = args[1] if len(args) > 1 else (kwargs or {}).get("config")
    known = {**_configurable(var_child_runnable_config.get()), **_configurable(given)}
    caller = current_caller()
    thread, tenant = known.get(_THREAD), known.get(TENANT)
    with calling_for(
        conversation=None if caller.conversation or thread is None else str(thread),
        tenant=None if caller.tenant or tenant is None else str(tenant),
    ):
        yield


def _configurable(config: object) -> Mapping[str, Any]:
    if not isinstance(config, Mapping):
        return {}
    found: object = cast("Mapping[str, Any]", config).get("configurable")
    return cast("Mapping[str, Any]", found) if isinstance(found, Mapping) else {}
