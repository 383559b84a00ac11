"""What a call shows to its caller and to its callbacks, without what is drawn anew for each run."""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from pydantic import BaseModel

__all__ = ["Entry", "Recorder", "blurred", "events_tree", "tree"]

_DRAWN = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}|0x[0-9a-f]{6,}")


def blurred(value: Any) -> Any:
    """A value as plain data, without identifiers and addresses."""
    if value is None or isinstance(value, bool | int | float | bytes):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return type(value).__name__, blurred(fields)
    found = next((blur for kinds, blur in _BLURS if isinstance(value, kinds)), None)
    return _DRAWN.sub("*", repr(value)) if found is None else found(value)


def _model(value: BaseModel) -> tuple[str, Any]:
    extra = {n: v for n, v in vars(value).items() if n not in type(value).model_fields}
    fields = {name: getattr(value, name) for name in type(value).model_fields}
    if isinstance(value, BaseMessage):
        fields["id"] = value.id or "*"  # a graph draws it some time after the message is seen
    return type(value).__name__, blurred({**fields, **extra})


_PLACES = ("timestamp", "seq")  # of an event, which its place in the list says, too
_BLURS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (str, lambda value: _DRAWN.sub("*", value)),
    (BaseModel, _model),
    (Mapping, lambda value: {blurred(k): blurred(v) for k, v in value.items() if k not in _PLACES}),
    ((tuple, list), lambda value: [blurred(item) for item in value]),
    ((set, frozenset), lambda value: sorted((blurred(item) for item in value), key=repr)),
    (UUID, lambda _: "*"),
    (BaseException, lambda value: (type(value).__name__, blurred(str(value)))),
    (type, lambda value: value.__qualname__),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that a run told of itself."""

    run: str
    parent: str
    kind: str
    """The callback's or the event's name: on_chain_start."""
    name: str
    what: Any
    """All else of it, blurred."""


@dataclass(slots=True)
class _Told:
    parent: str
    name: str = ""
    entries: list[Any] = field(default_factory=list[Any])
    children: list[str] = field(default_factory=list[str])


def tree(entries: Iterable[Entry], unordered: tuple[str, ...]) -> list[Any]:
    """Each run with what it told, in order, and the runs inside of it, as they started.

    Args:
        entries: in the order in which they were told.
        unordered: beginnings of the names of runs that work in parallel: what they and the runs
            inside of them tell comes in any order, and is sorted.
    """
    runs: dict[str, _Told] = {}
    for entry in entries:
        run = runs.get(entry.run)
        if run is None:
            run = runs[entry.run] = _Told(entry.parent)
            if entry.parent in runs:
                runs[entry.parent].children.append(entry.run)
        run.name = run.name or entry.name
        run.entries.append((entry.kind, entry.name, entry.what))

    def shown(run: _Told) -> Any:
        told, inside = run.entries, [shown(runs[child]) for child in run.children]
        if run.name.startswith(unordered):
            told, inside = sorted(told, key=repr), sorted(inside, key=repr)
        return told, inside

    roots = [shown(run) for run in runs.values() if run.parent not in runs]
    return sorted(roots, key=repr)  # the items of a batch run in parallel


def events_tree(events: Iterable[Mapping[str, Any]], unordered: tuple[str, ...]) -> list[Any]:
    """The events of `astream_events` (version 2) by run."""
    drawn = ("run_id", "parent_ids", "event", "name")
    return tree(
        (
            Entry(
                event["run_id"],
                next(iter(event["parent_ids"][::-1]), ""),
                event["event"],
                event["name"],
                blurred({key: value for key, value in event.items() if key not in drawn}),
            )
            for event in events
        ),
        unordered,
    )


class Recorder(BaseCallbackHandler):
    """Keeps everything that it is told."""

    raise_error = True

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> Recorder:
        return self

    def _note(self, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        run, parent = kwargs.pop("run_id", ""), kwargs.pop("parent_run_id", None)
        name = kwargs.pop("name", None) or ""
        with self._lock:
            entry = Entry(str(run), str(parent or ""), kind, name, blurred((args, kwargs)))
            self.entries.append(entry)

    def on_chain_start(self, *args: Any, **kwargs: Any) -> None:
        self._note("on_chain_start", args, kwargs)

    def on_chain_end(self, *args: Any, **kwargs: Any) -> None:
        self._note("on_chain_end", args, kwargs)

    def on_chain_error(self, *args: Any, **kwargs: Any) -> None:
        self._note("on_chain_error", args, kwargs)

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        self._note("on_chat_model_start", args, kwargs)

    def on_llm_start(self, *args: Any, **kwargs: Any) -> None:
        self._note("on_llm_start", args, kwargs)

    def on_llm_new_token(self, *args: Any, **kwargs: Any) -> None:
        self._note("on_llm_new_token", args, kwargs)

    def on_stream_event(self, *args: Any, **kwargs: Any) -> None:
        # LangChain's agents may write another role into the event meanwhile, in place.
        told = tuple({k: v for k, v in event.items() if k != "role"} for event in args)
        self._note("on_stream_event", told, kwargs)

    def on_llm_end(self, *args: Any, **kwargs: Any) -> None:
        self._note("on_llm_end", args, kwargs)

    def on_llm_error(self, *args: Any, **kwargs: Any) -> None:
        self._note("on_llm_error", args, kwargs)

    def on_retriever_start(self, *args: Any, **kwargs: Any) -> None:
        self._note("on_retriever_start", args, kwargs)

    def on_retriever_end(self, *args: Any, **kwargs: Any) -> None:
        self._note("on_retriever_end", args, kwargs)

    def on_retriever_error(self, *args: Any, **kwargs: Any) -> None:
        self._note("on_retriever_error", args, kwargs)

    def on_tool_start(self, *args: Any, **kwargs: Any) -> None:
        self._note("on_tool_start", args, kwargs)

    def on_tool_end(self, *args: Any, **kwargs: Any) -> None:
        self._note("on_tool_end", args, kwargs)

    def on_tool_error(self, *args: Any, **kwargs: Any) -> None:
        self._note("on_tool_error", args, kwargs)

    def on_custom_event(self, *args: Any, **kwargs: Any) -> None:
        self._note("on_custom_event", args, kwargs)
