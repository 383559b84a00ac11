"""Recent: the last few results, by equal keys, within a size."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from ctxguard.text.recent import Recent


def test_a_result_is_found_under_an_equal_key() -> None:
    recent = Recent(10)
    recent.put(("a", ("b", (0, 1))), "found", 1)
    assert recent.get(("a", ("b", (0, 1)))) == "found"
    assert recent.get(("a", ("b", (0, 2)))) is None


def test_the_last_four_are_kept() -> None:
    recent = Recent(10)
    for number in range(6):
        recent.put((number,), number, 1)
    assert [recent.get((number,)) for number in range(6)] == [None, None, 2, 3, 4, 5]


def test_the_oldest_make_room_and_what_is_too_large_is_not_kept() -> None:
    recent = Recent(10)
    recent.put(("old",), 1, 6)
    recent.put(("new",), 2, 6)
    assert (recent.get(("old",)), recent.get(("new",))) == (None, 2)
    recent.put(("large",), 3, 11)
    assert recent.get(("large",)) is None


def test_threads_find_their_own() -> None:
    recent = Recent(1000)

    def work(number: int) -> bool:
        recent.put((number,), number, 1)
        return recent.get((number,)) in (number, None)

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(500)))
    assert recent.get((499,)) in (499, None)
