"""LlamaIndex's contracts for its components: plain and guarded give the same outcome to each."""

from __future__ import annotations

import copy
import inspect
import pickle
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import PromptTemplate
from llama_index.core.callbacks import CallbackManager
from llama_index.core.prompts import BasePromptTemplate
from pydantic import BaseModel

import ctxguard
from ctxguard_llamaindex.testing import ScriptedLLM
from integrations.llamaindex.tests.matrix import agents, chats, engines, models, retrievers
from integrations.llamaindex.tests.matrix.world import Shape, World

guard: Any = ctxguard.guard  # its result has `.ctxguard`, which its type does not say

pytestmark = [
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211"),
    pytest.mark.filterwarnings("ignore::ctxguard.CoverageWarning"),
]
SHAPES = [
    shape for module in (engines, retrievers, chats, agents, models) for shape in module.SHAPES
]


def written(value: Any) -> Any:
    """A value as something that can be compared: without addresses, and without the objects."""
    if isinstance(value, BasePromptTemplate):
        return value.get_template()
    if isinstance(value, dict):
        return {str(key): written(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [written(inner) for inner in value]
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, str | int | float | bool | bytes | None):
        return value
    return written(type(value))


def members(obj: Any) -> dict[str, Any]:
    """Every public member: the kind of a method and its parameters, the class of a value."""
    found: dict[str, Any] = {}
    for name in dir(obj):
        if name.startswith("_") or name == "ctxguard":
            continue
        try:
            value = getattr(obj, name)
        except Exception as error:
            found[name] = type(error).__name__
            continue
        if inspect.isroutine(value):
            found[name] = (inspect.iscoroutinefunction(value), str(inspect.signature(value)))
        else:
            found[name] = written(type(value))
    return found


def updated_prompts(obj: Any) -> Any:
    new = copy.copy(obj)
    for name in obj.get_prompts():
        new.update_prompts({name: PromptTemplate("Say {query_str} of {context_str}")})
    return written(new.get_prompts())


def rebuilt(obj: Any) -> Any:
    """An object of the same class from its own dictionary, and what it says of itself."""
    new = type(obj).from_dict(obj.to_dict())
    return written(new), written(new.to_dict())


def constructed(obj: Any) -> Any:
    """Another object of its class, as code that knows only the instance makes it."""
    new = type(obj)(**{name: getattr(obj, name) for name in type(obj).model_fields})
    return written(new), isinstance(new, BaseModel), written(new.model_dump())


def restored(obj: Any) -> Any:
    new = pickle.loads(pickle.dumps(obj))  # noqa: S301 -- its own pickle
    return written(new), sorted(vars(new))


def set_manager(obj: Any) -> Any:
    new, manager = copy.copy(obj), CallbackManager([])
    new.callback_manager = manager
    return new.callback_manager is manager, obj.callback_manager is manager


PROBES: dict[str, Callable[[Any], Any]] = {
    "class_name": lambda obj: obj.class_name(),
    "class": lambda obj: (written(obj), type(obj).__doc__, type(obj).__name__),
    "members": members,
    "constructor": lambda obj: str(inspect.signature(type(obj))),
    "to_dict": lambda obj: written(obj.to_dict()),
    "to_json": lambda obj: obj.to_json(),
    "from_dict": rebuilt,
    "constructed": constructed,
    "model_dump": lambda obj: written(obj.model_dump()),
    "model_fields": lambda obj: (sorted(type(obj).model_fields), sorted(obj.model_fields_set)),
    "model_json_schema": lambda obj: type(obj).model_json_schema(),
    "model_copy": lambda obj: written(obj.model_copy()),
    "get_prompts": lambda obj: written(obj.get_prompts()),
    "update_prompts": updated_prompts,
    "metadata": lambda obj: repr(obj.metadata),
    "callback_manager": set_manager,
    "equal": lambda obj: (obj == copy.copy(obj), obj == "something else"),
    "hash": lambda obj: hash(obj) == hash(obj),
    "repr": lambda obj: repr(obj).split(" object at ")[0],
    "copy": lambda obj: (written(copy.copy(obj)), sorted(vars(copy.copy(obj)))),
    "deepcopy": lambda obj: written(copy.deepcopy(obj)),
    "pickle": restored,
    "weakref": lambda obj: weakref.ref(obj)() is obj,
    "validate": lambda obj: obj.validate(),
    "steps": lambda obj: sorted(obj._get_steps()),
    "events": lambda obj: (obj.workflow_name, written(obj.events), written(obj.start_event_class)),
    "tool": lambda obj: obj.metadata.to_openai_tool(),
    "as_query_component": lambda obj: written(obj.as_query_component()),
}


def outcomes(obj: Any) -> dict[str, Any]:
    return {name: outcome(probe, obj) for name, probe in PROBES.items()}


def outcome(probe: Callable[[Any], Any], obj: Any) -> Any:
    try:
        found = probe(obj)
    except Exception as error:
        return f"{type(error).__name__}: {str(error).split(' object at ')[0]}"
    if isinstance(found, tuple) and isinstance(found[-1], list):
        found = (*found[:-1], [name for name in found[-1] if name != "_ctxguard_handle"])
    return found


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_outcomes(shape: Shape, corpus: Any, nodes: Any, index: Any, tmp_path: Path) -> None:
    def make(name: str) -> Any:
        """A new one for each: some probes change what they look at."""
        (folder := tmp_path / name).mkdir()
        llm = ScriptedLLM(script=shape.script)
        return shape.make(World(corpus=corpus, nodes=nodes, index=index, llm=llm, folder=folder))

    before, after = outcomes(make("plain")), outcomes(guard(make("guarded")))
    assert {
        name: (before[name], after[name]) for name in PROBES if before[name] != after[name]
    } == {}
