"""Pictures that are drawn from words alone."""

from __future__ import annotations

import zlib
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plantain.operators.models.phrases import MAX_PHRASES
from plantain.operators.models.plantain import drawing
from plantain.operators.models.plantain.shared import Shared
from plantain.operators.models.plantain.text import Vocabulary

MAX_CACHED_PICTURES = 32


class Pictures:
    """Those that were drawn last: the same words give the same picture, whatever frame they came with."""

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}

    def of(self, description: str, size_hw: tuple[int, int], model: Shared) -> NDArray[np.uint8]:
        """The picture (H, W, 3) uint8 of a description.

        Args:
            description: Of which `drawable` leaves something.
            size_hw: Of the picture.
            model: Draws it, if it is not there.
        """
        key = " ".join(description.lower().split())
        picture = self._held.get(key)
        if picture is None:
            words, seed = drawable(key, model.vocabulary), zlib.crc32(key.encode())

            def drawn() -> Tensor:
                with torch.inference_mode():
                    return model.network.generator.draw(words, model.vocabulary, seed).cpu()

            # On one thread, as everything here (sight.py): 0.34 s, where two that meet at every operator take 0.23.
            picture = drawn() if model.sight is None else model.sight.pool.submit(drawn).result()
            while len(self._held) >= MAX_CACHED_PICTURES:
                self._held.pop(next(iter(self._held)))
            self._held[key] = picture
        return drawing.filling(picture, size_hw).numpy()

    def clear(self) -> None:
        """Forgets them."""
        self._held.clear()


@lru_cache(MAX_PHRASES)
def drawable(description: str, vocabulary: Vocabulary) -> str:
    """Of a description the words that scenes are described with and weights know: others they were not taught."""
    # It renders with compiled code: loaded where pictures are drawn.
    from plantain.operators.scenes import descriptions

    return vocabulary.known(Vocabulary.of(descriptions.all_words()).known(description))
