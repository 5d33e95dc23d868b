from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantain.operators.types import Header
from plantain.pipeline.engine.batcher import Batcher
from plantain.pipeline.engine.item import Item
from plantain.pipeline.graph import Batch


def item(index: int, *, key: str = "a", cost: int = 1, at: float = 0.0, attempts: int = 0) -> Item:
    return Item(Header("clip", 0, index, key, cost), (index,), 0, index, at, attempts)


def indexes(batch: list[Item]) -> list[int]:
    return [each.sequence for each in batch]


def test_a_batch_waits_for_company_until_its_deadline():
    batcher = Batcher(Batch(max_items=3, max_wait_s=0.5))
    batcher.put(item(0, at=10.0))
    assert batcher.deadline() == 10.5
    assert batcher.pop(10.4) == []
    assert indexes(batcher.pop(10.5)) == [0]
    assert batcher.deadline() is None


def test_where_only_full_batches_are_wanted_company_is_waited_for_beyond_the_deadline():
    batcher = Batcher(Batch(max_items=2, max_wait_s=0.5))
    batcher.put(item(0, at=10.0))
    assert batcher.pop(99.0, only_full=True) == []
    assert indexes(batcher.pop(99.0, drain=True, only_full=True)) == [0]
    for index in (1, 2):
        batcher.put(item(index, at=10.0))
    assert indexes(batcher.pop(10.0, only_full=True)) == [1, 2]


def test_a_full_batch_goes_at_once_and_is_never_larger():
    batcher = Batcher(Batch(max_items=3, max_wait_s=9))
    for index in range(4):
        batcher.put(item(index))
    assert indexes(batcher.pop(0.0)) == [0, 1, 2]
    assert batcher.pop(0.0) == []
    assert len(batcher) == 1


def test_what_there_is_goes_when_nothing_more_can_come():
    batcher = Batcher(Batch(max_items=3, max_wait_s=9))
    batcher.put(item(0))
    assert indexes(batcher.pop(0.0, drain=True)) == [0]


def test_different_keys_never_meet_and_the_one_that_waits_longest_goes_first():
    batcher = Batcher(Batch(max_items=2, max_wait_s=1))
    batcher.put(item(0, key="small", at=5.0))
    batcher.put(item(1, key="large", at=4.0))
    batcher.put(item(2, key="small", at=6.0))
    assert indexes(batcher.pop(9.0)) == [1]
    assert indexes(batcher.pop(9.0)) == [0, 2]


def test_cost_bounds_a_batch_but_one_dear_item_still_goes():
    batcher = Batcher(Batch(max_items=8, max_cost=10, max_wait_s=9))
    for index, cost in enumerate((4, 4, 4, 50)):
        batcher.put(item(index, cost=cost))
    assert indexes(batcher.pop(0.0)) == [0, 1]
    assert indexes(batcher.pop(0.0)) == [2]
    assert indexes(batcher.pop(0.0)) == [3]


def test_an_item_that_was_with_a_dead_worker_goes_first_and_alone():
    batcher = Batcher(Batch(max_items=8, max_wait_s=9))
    for index in range(3):
        batcher.put(item(index))
    batcher.put(item(9, attempts=1))
    assert indexes(batcher.pop(0.0)) == [9]
    assert batcher.pop(0.0) == []


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 9), st.integers(0, 1)), max_size=40),
    st.integers(1, 6),
    st.integers(1, 12),
)
def test_every_item_comes_out_once_within_the_limits(items, max_items, max_cost):
    batcher = Batcher(Batch(max_items, max_cost, 1.0))
    for index, (key, cost, attempts) in enumerate(items):
        batcher.put(item(index, key=key, cost=cost, at=index, attempts=attempts))
    seen = []
    while batch := batcher.pop(0.0, drain=True):
        assert len({each.header.batch_key for each in batch}) == 1
        assert len(batch) <= max_items
        assert len(batch) == 1 or sum(each.header.cost for each in batch) <= max_cost
        assert len(batch) == 1 or not any(each.attempts for each in batch)
        seen.extend(indexes(batch))
    assert sorted(seen) == list(range(len(items)))
    assert len(batcher) == 0


def query(index: int, *, key: str = "64x48", cost: int = 1, queued_at: float = 0.0) -> Item:
    made = Item(Header(f"?{index}", 0, index, key, cost), (None,), 0, 0, queued_at)
    made.is_query = True
    return made


def frame(index: int, *, key: str = "64x48", cost: int = 1, queued_at: float = 0.0) -> Item:
    return Item(Header("cam", 0, index, key, cost), (None,), 0, index, queued_at)


def test_a_query_joins_the_next_batch_and_waits_for_no_company():
    batcher = Batcher(Batch(max_items=4, max_wait_s=1.0))
    batcher.put(frame(0))
    assert batcher.pop(0.1) == []
    batcher.put(query(0, queued_at=0.1))
    assert batcher.deadline() == 0.1
    assert [item.is_query for item in batcher.pop(0.1)] == [True, False]
    assert len(batcher) == 0


@pytest.mark.parametrize(
    ("max_items", "num_queries", "waited_s", "num_streams"),
    [
        (8, 1, 0.06, 5), (8, 2, 0.06, 4), (8, 3, 0.06, 5), (4, 1, 0.06, 1), (1, 1, 0.06, 0),
        (8, 1, 0.01, 7), (4, 1, 0.01, 3),
    ],
)  # fmt: skip
def test_a_few_queries_that_waited_long_make_a_small_batch(max_items, num_queries, waited_s, num_streams):
    batcher = Batcher(Batch(max_items=max_items, max_wait_s=0.05))
    for index in range(20):
        batcher.put(item(index))
    for index in range(num_queries):
        batcher.put(replace(item(100 + index), is_query=True))
    kinds = Counter(each.is_query for each in batcher.pop(waited_s))
    assert kinds == Counter({True: num_queries, False: num_streams})
    assert len(batcher.pop(waited_s)) == max_items, "and the next one is as large as ever"


@pytest.mark.parametrize("max_items", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("query_cost", [1, 5, 40])
def test_queries_without_end_leave_streams_half_of_the_places_and_of_the_drawings(max_items, query_cost):
    batcher = Batcher(Batch(max_items=max_items, max_cost=10, max_wait_s=0.0))
    waiting: Counter[bool] = Counter()
    places: Counter[bool] = Counter()
    for number in range(40):
        for is_query, make in ((True, query), (False, frame)):
            for _ in range(10 - waiting[is_query]):
                batcher.put(make(number, cost=query_cost if is_query else 1))
            waiting[is_query] = 10
        batch = Counter(each.is_query for each in batcher.pop(0.0))
        waiting -= batch
        places += batch
    assert places[True] > 0
    assert places[False] >= places[True]


def test_queries_of_another_canvas_take_turns_with_streams():
    batcher = Batcher(Batch(max_items=2, max_wait_s=0.0))
    for index in range(8):
        batcher.put(query(index, key="96x96"))
        batcher.put(frame(index))
    kinds = [batcher.pop(0.0)[0].is_query for _ in range(8)]
    assert kinds == [True, False] * 4


def test_what_nobody_waits_for_any_more_is_taken_out():
    batcher = Batcher(Batch(max_items=4))
    batcher.put(query(1))
    batcher.put(query(2, key="96x96"))
    batcher.put(frame(0))
    batcher.discard("?1")
    batcher.discard("?2")
    assert len(batcher) == 1
    assert [item.is_query for item in batcher.pop(0.0, drain=True)] == [False]
    assert batcher.deadline() is None
