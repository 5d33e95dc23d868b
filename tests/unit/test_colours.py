from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantain.operators import colours
from plantain.operators.errors import PromptError

channel = st.integers(0, 255)


@given(channel, channel, channel)
def test_a_colour_written_as_hex_or_numbers_is_read_back(red, green, blue):
    assert colours.parse(colours.to_hex((red, green, blue))) == (red, green, blue)
    assert colours.parse(f" ({red}, {green},{blue}) ") == (red, green, blue)


def test_names_are_read_in_any_case():
    assert colours.parse(" Yellow ") == (255, 255, 0)


@pytest.mark.parametrize("text", ["", "reddish", "#12345", "#12345g", "1,2", "(256,0,0)", "1,2,3,4"])
def test_anything_else_is_refused_with_what_to_write(text):
    with pytest.raises(PromptError, match="is no colour: write #rrggbb, "):
        colours.parse(text)


@pytest.mark.parametrize(("count", "gap"), [(7, 183), (26, 102), (58, 72), (215, 51)])
def test_palettes_are_far_apart_and_always_the_same(count, gap):
    chosen = np.array([*colours.spread(count), colours.BLACK])
    distances = np.linalg.norm(chosen[:, None] - chosen[None], axis=2)[~np.eye(count + 1, dtype=bool)]
    assert distances.min() >= gap
    colours.spread.cache_clear()
    assert colours.spread(count) == tuple(map(tuple, chosen[:-1].tolist()))
    assert colours.spread(count - 1) == colours.spread(count)[:-1], "a longer palette begins with the shorter"


def test_what_is_to_be_avoided_is_avoided():
    assert colours.WHITE not in colours.spread(20, (colours.BLACK, colours.WHITE))


def test_more_colours_than_there_are_is_refused():
    with pytest.raises(PromptError, match="use at most 215"):
        colours.spread(216)
