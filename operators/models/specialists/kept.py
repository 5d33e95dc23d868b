"""Encoders of the library that rest: of a picture that is looked at for several words, of words that come again.

Each takes the encoder's place in a network that reads pictures and words together, and gives again what it made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from plantain.operators.models.phrases import MAX_PHRASES


class KeptPictures(nn.Module):
    """The vision encoder of Grounding DINO: it sees each picture once, however many passes are made about it.

    Args:
        encoder: The library's.
    """

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder
        self.position_embedding = encoder.position_embedding
        self._features: list[tuple[Tensor, Tensor]] = []
        self._positions: list[Tensor] = []
        self._places = torch.zeros(0, dtype=torch.int64)

    def look(self, pixel_values: Tensor, pixel_mask: Tensor) -> None:
        """Sees pictures (M, 3, H, W), where their mask (M, H, W) is not 0."""
        self._features, self._positions = self.encoder(pixel_values, pixel_mask)

    def choose(self, places: Tensor) -> None:
        """Which of the pictures the rows of the next passes are about."""
        self._places = places

    def forget(self) -> None:
        """Gives back what the pictures took."""
        self._features, self._positions = [], []

    def forward(self, pixel_values: Tensor, pixel_mask: Tensor) -> tuple[Any, list[Tensor]]:
        """Features with their masks, and positions, of each level, as the library's encoder gives them."""
        del pixel_values, pixel_mask
        features = [(each[self._places], mask[self._places]) for each, mask in self._features]
        return features, [each[self._places] for each in self._positions]


class KeptLevels(nn.Module):
    """Backbone and pixel decoder of OneFormer, which is told its task after them: one pass for all tasks.

    Args:
        module: The library's.
    """

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module
        self._levels: Any = None

    def forward(self, pixel_values: Tensor, output_hidden_states: bool = False) -> Any:
        """What the library's module gives, of the first pictures since it was told to forget."""
        if self._levels is None:
            self._levels = self.module(pixel_values, output_hidden_states)
        return self._levels

    def forget(self) -> None:
        """Gives back what the pictures took."""
        self._levels = None


class KeptLooks:
    """What Qwen-VL, GLM-V and their like make of pictures for what writes: each is seen once, whatever is asked.

    It takes the place of `get_image_features` of the network that reads pictures and words.

    Args:
        see: The library's.
    """

    def __init__(self, see: Callable[..., Any]) -> None:
        self._see = see
        self._held: dict[int, tuple[Any, ...]] = {}
        self._places: Sequence[int] = ()
        self._made: Callable[..., Any] = dict

    def choose(self, places: Sequence[int]) -> None:
        """Which picture each row of the next pass is about, by a number that stays its own until all is forgotten."""
        self._places = places

    def forget(self) -> None:
        """Gives back what the pictures took."""
        self._held.clear()

    def __call__(self, pixel_values: Tensor, image_grid_thw: Tensor, **options: Any) -> Any:
        """The library's output, with the features of each row's picture.

        Args:
            pixel_values: (P, C), patches of all rows, one row after the other.
            image_grid_thw: (N, 3), how many each row has along time, height and width.
            options: Of the library.
        """
        patches = torch.split(pixel_values, image_grid_thw.prod(-1).tolist())
        new = {place: k for k, place in enumerate(self._places) if place not in self._held}
        if new:
            rows = [*new.values()]
            seen = self._see(torch.cat([patches[k] for k in rows]), image_grid_thw[rows], **options)
            levels = getattr(seen, "deepstack_features", None) or ()
            self._made = type(seen)
            self._held |= zip(new, zip(seen.pooler_output, *levels, strict=True), strict=True)
        features, *deeper = zip(*(self._held[place] for place in self._places), strict=True)
        return self._made(pooler_output=features, **({"deepstack_features": deeper} if deeper else {}))


class KeptWords(nn.Module):
    """A text encoder whose words do not depend on how far a row is padded: it reads each row once.

    Args:
        encoder: The library's.
        padding: The token that rows are padded with.
    """

    def __init__(self, encoder: Any, padding: int) -> None:
        super().__init__()
        self.encoder = encoder
        self._padding = padding
        self._held: dict[tuple[int, ...], Tensor] = {}

    def forward(self, input_ids: Tensor, *others: Tensor, **options: Any) -> Any:
        """The library's output, with `last_hidden_state` (N, L, C), 0 in the padding.

        Args:
            input_ids: (N, L).
            others: Masks and numbers of the same rows.
            options: Of the library.
        """
        from transformers.modeling_outputs import BaseModelOutput

        rows = [tuple(n for n in row if n != self._padding) for row in input_ids.tolist()]
        if len(self._held) + len(rows) > MAX_PHRASES:
            self._held.clear()
        new = {row: k for k, row in enumerate(rows) if row not in self._held}
        if new:
            places = torch.tensor([*new.values()], device=input_ids.device)
            read = self.encoder(input_ids[places], *(each[places] for each in others), **options)
            for row, states in zip(new, read.last_hidden_state, strict=True):
                self._held[row] = states[: len(row)]
        first = self._held[rows[0]]
        states = first.new_zeros(*input_ids.shape, first.shape[-1])
        for k, row in enumerate(rows):
            states[k, : len(row)] = self._held[row]
        return BaseModelOutput(last_hidden_state=states)
