from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantain.pipeline.engine.ordering import Reorder


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
