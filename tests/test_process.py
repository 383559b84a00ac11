"""Guards in place: classes that are changed and put back, in every order."""

from __future__ import annotations

import gc
import pickle
import threading
import weakref

import pytest

from ctxguard import Guard, Handle, Policy
from ctxguard.patching import Patches, patch_classes
from ctxguard.process import Carrying, ProcessHandle
from ctxguard.run import activate


class Plain:
    """Somebody's object."""


class Guarded(Plain):
    """Its guarded class."""


class Slotted:
    """Its layout is its own."""

    __slots__ = ("value",)


def _keep(obj: object, handle: Handle | None) -> None:
    if handle is None:
        vars(obj).pop("handle", None)
    elif hasattr(obj, "__dict__"):
        vars(obj)["handle"] = handle


CARRYING = Carrying(
    owner=lambda obj: getattr(obj, "__dict__", {}).get("handle"),
    keep=lambda obj, handle: _keep(obj, handle) if hasattr(obj, "__dict__") else None,
    plain=lambda kind: Plain if kind is Guarded else kind,
)
GUARD = Guard(Policy())


def taken(obj: object) -> ProcessHandle:
    handle = ProcessHandle(GUARD, obj)
    handle.take(obj, Guarded, CARRYING)
    return handle


def test_unguard_puts_everything_back_and_may_be_repeated() -> None:
    obj = Plain()
    handle = taken(obj)
    assert (type(obj), vars(obj)) == (Guarded, {"handle": handle})
    assert handle.live()
    assert handle.unguard() is obj
    assert (type(obj), vars(obj)) == (Plain, {})
    assert handle.unguard() is obj
    assert not handle.live()


def test_a_call_in_flight_finishes_guarded() -> None:
    obj = Plain()
    handle = taken(obj)
    run = handle.start()
    with activate(run):
        handle.unguard()
        inner = Handle(GUARD, None).start()
        assert handle.live()
        with activate(inner):
            assert handle.live()
    assert not handle.live(), "a call that begins now"
    assert type(obj) is Guarded
    handle.finish(run)
    assert type(obj) is Plain


def test_the_last_of_many_calls_puts_the_classes_back() -> None:
    obj = Plain()
    handle = taken(obj)
    started, leave = threading.Barrier(9), threading.Event()

    def call() -> None:
        with handle.run():
            started.wait(10)
            leave.wait(10)

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    started.wait(10)
    handle.unguard()
    assert type(obj) is Guarded
    leave.set()
    for thread in threads:
        thread.join()
    assert type(obj) is Plain


def test_the_handle_keeps_nothing_alive() -> None:
    first, second = Plain(), Plain()
    handle = ProcessHandle(GUARD, first)
    handle.take(first, Guarded, CARRYING)
    handle.take(second, Guarded, CARRYING)
    gone = weakref.ref(first)
    del first
    gc.collect()
    assert gone() is None
    assert handle.original is None
    assert handle.unguard() is None
    assert type(second) is Plain


def test_objects_do_not_keep_the_handle_once_they_are_unguarded() -> None:
    obj = Plain()
    gone = weakref.ref(taken(obj))
    obj.handle.unguard()  # pyright: ignore[reportAttributeAccessIssue] -- put there by CARRYING
    gc.collect()
    assert gone() is None


def test_what_cannot_change_its_class_stays_as_it_is() -> None:
    obj = Slotted()
    handle = ProcessHandle(GUARD, obj)
    with pytest.raises(TypeError, match="layout"):
        handle.take(obj, Guarded, CARRYING)
    assert handle.unguard() is obj
    assert type(obj) is Slotted


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_guards_of_one_object_are_taken_off_in_any_order(order: tuple[int, int]) -> None:
    obj = Plain()
    handles = [taken(obj)]
    handles.append(taken(obj))
    assert vars(obj)["handle"] is handles[1]
    handles[order[0]].unguard()
    assert type(obj) is Guarded
    assert vars(obj)["handle"] is handles[order[1]]
    handles[order[1]].unguard()
    assert (type(obj), vars(obj)) == (Plain, {})


def test_a_guarded_copy_gets_its_guard_back() -> None:
    obj = Guarded()
    owner = Handle(GUARD, Plain())
    _keep(obj, owner)
    taken(obj).unguard()
    assert (type(obj), vars(obj)) == (Guarded, {"handle": owner})


def test_it_pickles_without_its_objects() -> None:
    handle = taken(Plain())
    loaded: ProcessHandle = pickle.loads(pickle.dumps(handle))  # noqa: S301 -- our own bytes
    assert isinstance(loaded, ProcessHandle)
    assert loaded.policy == handle.policy
    assert loaded.original is None


# -- patching -----------------------------------------------------------------------------------


def _named(kind: type) -> dict[str, object]:
    names = ("own", "inherited", "mixed", "abstract")
    return {name: lambda self: "patched" for name in names if hasattr(kind, name)}


def test_methods_are_replaced_where_they_are_defined() -> None:
    class Root:
        made: list[str] = []  # noqa: RUF012 -- of the class

        def __init_subclass__(cls) -> None:
            Root.made.append(cls.__name__)

        def inherited(self) -> str:
            return "root"

    class Mixin:
        def mixed(self) -> str:
            return "mixin"

    class Kind(Mixin, Root):
        def own(self) -> str:
            return "kind"

        def abstract(self) -> str:
            return "abstract"

        abstract.__isabstractmethod__ = True  # pyright: ignore[reportFunctionMemberAccess]

    class Below(Kind):
        pass

    before = {kind: dict(vars(kind)) for kind in (Root, Mixin, Kind, Below)}
    patches = Patches()
    patch_classes(patches, Root, _named)

    class New(Root):
        def own(self) -> str:
            return "new"

    below = Below()
    assert [below.own(), below.inherited(), below.mixed()] == ["patched"] * 3
    assert below.abstract() == "abstract"
    assert Mixin().mixed() == "mixin"
    assert "own" not in vars(Below)
    assert New().own() == "patched"
    patches.undo()
    assert {kind: dict(vars(kind)) for kind in before} == before
    assert New().own() == "new"
    assert Root.made == ["Kind", "Below", "New"]


def test_what_somebody_else_replaced_since_is_left_to_them() -> None:
    class Kind:
        def own(self) -> str:
            return "kind"

    patches = Patches()
    patches.put(Kind, "own", lambda self: "ours")
    ours = vars(Kind)["own"]
    Kind.own = lambda self: f"theirs over {ours(self)}"
    patches.undo()
    assert Kind().own() == "theirs over ours"


def test_what_was_replaced_goes_back_when_patching_fails() -> None:
    class Kind:
        pass

    def fail() -> None:
        with Patches() as patches:
            patches.put(Kind, "own", "ours")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not hasattr(Kind, "own")
