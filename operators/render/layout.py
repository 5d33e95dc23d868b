"""Where things stand in a drawn frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plantain.operators.answers import kind_of
from plantain.operators.prompts import Prompt
from plantain.operators.types import Result

# A smaller picture is enlarged, so that labels are legible on it.
MIN_LONG_SIDE = 960
MAX_ROWS = 3


@dataclass(frozen=True, slots=True)
class Tile:
    """Where one picture stands in the drawn frame, pixels."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything stands; the same for all frames of a stream.

    The frame with its objects is on the left under a line of text, dense answers are tiles at its right.

    Attributes:
        width, height: Of the drawn frame, even numbers of pixels.
        main: The frame.
        tiles: One for each prompt with a dense answer, in the order of the prompts.
        header: Height of the line of text.
    """

    width: int
    height: int
    main: Tile
    tiles: tuple[Tile, ...]
    header: int

    @classmethod
    def of(cls, picture_hw: tuple[int, int], num_tiles: int) -> Layout:
        """The layout for pictures of a size and a number of tiles."""
        scale = max(1.0, MIN_LONG_SIDE / max(picture_hw))
        height, width = (max(1, round(side * scale)) for side in picture_hw)
        header = max(28, round(height / 22))
        gap = 4
        tiles = []
        right = width
        if num_tiles:
            columns = -(-num_tiles // MAX_ROWS)
            rows = -(-num_tiles // columns)
            tile_h = max(1, (height - gap * (rows - 1)) // rows)
            tile_w = max(1, round(tile_h * width / height))
            for number in range(num_tiles):
                column, row = divmod(number, rows)
                left = width + gap + column * (tile_w + gap)
                tiles.append(Tile(left, header + row * (tile_h + gap), tile_w, tile_h))
                right = left + tile_w
        return cls(
            right + right % 2,
            header + height + (header + height) % 2,
            Tile(0, header, width, height),
            tuple(tiles),
            header,
        )


def has_tile(prompt: Prompt) -> bool:
    """Whether the answer to a prompt gets a tile of its own; the others are drawn on the frame."""
    return kind_of(prompt).has_tile(prompt)


def layout_for(result: Result) -> Layout:
    """The layout of a stream whose frames are asked what `result` was asked."""
    info = result.info
    picture_hw = info.fit.source_hw if info.picture is None else info.picture.shape[:2]
    prompts: Sequence[Prompt] = [prediction.prompt for prediction in result.predictions]
    return Layout.of((picture_hw[0], picture_hw[1]), sum(has_tile(prompt) for prompt in prompts))
