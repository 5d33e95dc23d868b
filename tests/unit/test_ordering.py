from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantain.operators.types import Header
from plantain.pipeline.engine.item import Item
from plantain.pipeline.engine.ordering import Order, Reorder


@given(st.permutations(range(12)), st.frozensets(st.integers(0, 11)))
def test_items_leave_in_order_whatever_the_order_they_come_in(arrivals, gaps):
    reorder: Reorder[int] = Reorder()
    left = [out for number in arrivals for out in reorder.put(number, None if number in gaps else number)]
    assert left == [number for number in range(12) if number not in gaps]
    assert len(reorder) == 0


def test_a_missing_number_holds_back_what_follows():
    reorder: Reorder[str] = Reorder()
    assert reorder.put(1, "b") == []
    assert len(reorder) == 1
    assert reorder.put(0, "a") == ["a", "b"]


@pytest.mark.parametrize("number", [0, 2])
def test_a_number_that_comes_twice_is_a_mistake(number):
    reorder: Reorder[int] = Reorder()
    reorder.put(0, 0)
    reorder.put(2, 2)
    with pytest.raises(ValueError, match=f"sequence number {number} has come before"):
        reorder.put(number, number)


def part_of(index: int, part: int, sequence: int) -> Item:
    """One of two parts of a camera's frame that belong together, for the pools `fast` and `slow`."""
    header = Header("cam", 0, index, pool=("fast", "slow")[part], part=part, parts=2, joins=True)
    return Item(header, (f"{index}.{part}",), 0, sequence)


def line_up(order: Order, *indexes: int) -> dict[tuple[int, int], Item]:
    """Parts of frames that have entered."""
    items = {}
    for index in indexes:
        headers = [part_of(index, part, 0).header for part in (0, 1)]
        for part, place in enumerate(order.enter(headers)):
            items[index, part] = part_of(index, part, place)
    return items


def left(items: list[Item]) -> list[tuple[str, ...]]:
    return [item.handles for item in items]


def test_parts_of_a_cameras_frame_that_belong_together_leave_as_one():
    order = Order(joins=False, patience_s=1.0)
    items = line_up(order, 0, 1)
    assert left(order.put(items[0, 0], 0.0)) == []
    assert left(order.put(items[1, 0], 0.1)) == [], "in its line nothing overtakes what waits"
    assert left(order.put(items[0, 1], 0.2)) == [("0.0", "0.1")]
    assert left(order.put(items[1, 1], 0.3)) == [("1.0", "1.1")]
    assert order.deadline() == float("inf")


def test_a_part_waits_for_another_no_longer_than_the_camera_can():
    order = Order(joins=False, patience_s=1.0)
    items = line_up(order, 0, 1)
    order.put(items[0, 0], 5.0)
    assert order.deadline() == 6.0
    assert left(order.expire(5.9)) == []
    assert left(order.expire(6.0)) == [("0.0",)]
    assert left(order.put(items[0, 1], 9.0)) == [("0.1",)], "what comes later goes on alone"
    order.put(items[1, 1], 9.0)
    assert left(order.put(items[1, 0], 9.5)) == [("1.0", "1.1")], "whichever comes first"


def test_a_part_that_will_not_come_frees_those_that_wait_for_it():
    order = Order(joins=False, patience_s=1.0)
    items = line_up(order, 0)
    order.put(items[0, 0], 0.0)
    assert left(order.skip(items[0, 1])) == [("0.0",)]
    assert order.deadline() == float("inf")


def test_where_nobody_waits_each_part_goes_on_at_once():
    order = Order(joins=False)
    items = line_up(order, 0)
    assert left(order.put(items[0, 0], 0.0)) == [("0.0",)]
    assert left(order.put(items[0, 1], 7.0)) == [("0.1",)]
