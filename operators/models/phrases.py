"""What text encoders made of phrases: each is encoded when it is first met, and the encoder rests after."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

MAX_PHRASES = 4096


class Phrases:
    """Encodings by phrase; forgets all when it is full.

    Args:
        encode: Encodings (P, ...) of P phrases, each independent of the others.
    """

    def __init__(self, encode: Callable[[list[str]], Sequence[Tensor]]) -> None:
        self._encode = encode
        self._held: dict[str, tuple[Tensor, ...]] = {}

    def clear(self) -> None:
        """Forgets all."""
        self._held.clear()

    def of(self, phrases: Sequence[str]) -> tuple[Tensor, ...]:
        """What `encode` gives of the phrases, row by row."""
        missing = [phrase for phrase in dict.fromkeys(phrases) if phrase not in self._held]
        if len(self._held) + len(missing) > MAX_PHRASES:
            self._held.clear()
            missing = list(dict.fromkeys(phrases))
        if missing:
            encoded = self._encode(missing)
            for row, phrase in enumerate(missing):
                self._held[phrase] = tuple(each[row] for each in encoded)
        return tuple(
            torch.stack(each) for each in zip(*(self._held[phrase] for phrase in phrases), strict=True)
        )
