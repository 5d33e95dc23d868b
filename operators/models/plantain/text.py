"""Words: how a phrase becomes numbers, and the small transformer that reads them."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's name for it)

from plantain.operators.models.plantain import fused

MAX_WORDS = 16
"""Longer phrases are cut; the scenes' longest expression has 14 words."""

NUM_UNKNOWN = 64
"""Buckets that share out all words outside the vocabulary, by checksum."""

_PAD = 0
_WORD = re.compile(r"[a-z0-9]+")
_ARTICLES = frozenset({"a", "an", "the", "all", "every", "each"})


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words a network was trained on.

    Attributes:
        words: Known words; index i has the id 1 + NUM_UNKNOWN + i.
    """

    words: tuple[str, ...]

    @classmethod
    def of(cls, phrases: Sequence[str]) -> Vocabulary:
        """The words of these phrases, sorted, so that the same phrases give the same ids."""
        return cls(tuple(sorted({word for phrase in phrases for word in _words(phrase)})))

    def with_words(self, phrases: Sequence[str]) -> tuple[Vocabulary, list[int]]:
        """This vocabulary with the words of `phrases` behind its own, and the id that each new one had here."""
        table = {word: 1 + NUM_UNKNOWN + index for index, word in enumerate(self.words)}
        asked = dict.fromkeys(word for phrase in phrases for word in _words(phrase))
        ids = {word: _lookup(table, word) for word in asked}
        new = {word: found for word, found in ids.items() if found <= NUM_UNKNOWN}
        if not new:
            return self, []
        return Vocabulary((*self.words, *new)), list(new.values())

    @property
    def num_ids(self) -> int:
        """Rows that an embedding table needs."""
        return 1 + NUM_UNKNOWN + len(self.words)

    def ids(self, phrase: str) -> list[int]:
        """Word ids of a phrase, one to MAX_WORDS; articles are left out, plurals are tried."""
        table = {word: 1 + NUM_UNKNOWN + index for index, word in enumerate(self.words)}
        return [_lookup(table, word) for word in _words(phrase)[:MAX_WORDS]] or [1]

    def known(self, phrase: str) -> str:
        """The phrase without the words that are not in the vocabulary, in any number."""
        table = {word: 1 + NUM_UNKNOWN + index for index, word in enumerate(self.words)}
        return " ".join(word for word in _words(phrase) if _lookup(table, word) > NUM_UNKNOWN)

    def tensor(self, phrases: Sequence[str]) -> Tensor:
        """Word ids (P, MAX_WORDS) int64 of P phrases, padded with zeros."""
        table = {word: 1 + NUM_UNKNOWN + index for index, word in enumerate(self.words)}
        ids = torch.zeros(len(phrases), MAX_WORDS, dtype=torch.int64)
        for row, phrase in enumerate(phrases):
            found = [_lookup(table, word) for word in _words(phrase)[:MAX_WORDS]] or [1]
            ids[row, : len(found)] = torch.tensor(found)
        return ids


def _words(phrase: str) -> list[str]:
    return [word for word in _WORD.findall(phrase.lower()) if word not in _ARTICLES]


def _lookup(table: dict[str, int], word: str) -> int:
    """Id of a word, of its singular, or of its bucket."""
    for form in (word, word.removesuffix("s"), word.removesuffix("es"), word + "s"):
        if form in table:
            return table[form]
    return 1 + zlib.crc32(word.encode()) % NUM_UNKNOWN


MANY = 128
"""Vectors that ask, from which on the fused attention's backward pass pays on a CPU."""


class Attention(nn.Module):
    """Multi-head attention from one set of vectors to another, with a pre-norm of what asks.

    Args:
        width: Channels of both.
        heads: Number of heads.
    """

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.pair = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor | None = None, keep: Tensor | None = None) -> Tensor:
        """`x` (B, N, width) plus what it finds in `context` or itself, where `keep` (B, M).

        Args:
            x: Who asks.
            context: (C, M, width), C a divisor of B: each B / C in a row ask the same one. None to ask one another.
            keep: False for padding; only without `context`.
        """
        if context is not None and len(context) < len(x):  # what many ask of one is one long question
            joined = self(x.reshape(len(context), -1, x.shape[2]), context)
            return joined.view_as(x)  # type: ignore[no-any-return]
        asked = self.norm(x)
        source = asked if context is None else context
        batch, count, width = x.shape
        head = width // self.heads
        query = fused.linear(asked, self.query).view(batch, count, self.heads, head).transpose(1, 2)
        key, value = (
            part.view(batch, -1, self.heads, head).transpose(1, 2)
            for part in fused.linear(source, self.pair).chunk(2, dim=-1)
        )
        mask = None if keep is None else keep[:, None, None, :]
        if torch.is_inference_mode_enabled() or count >= MANY:
            mixed = F.scaled_dot_product_attention(query, key, value, mask)
        else:
            # Written out: for a few dozen vectors the fused kernel's backward pass takes three times as long on
            # a CPU.
            score = (query @ key.transpose(2, 3)).float() * head**-0.5
            if mask is not None:
                score = score.masked_fill(~mask, -1e4)
            mixed = score.softmax(dim=-1).to(value.dtype) @ value
        return fused.linear(mixed.transpose(1, 2).reshape(batch, count, width), self.out, added=x)


class Perceptron(nn.Module):
    """The residual two-layer part of a transformer block.

    Args:
        width: Channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.ReLU(), nn.Linear(3 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """`x` (..., width) plus its own transform."""
        norm, wide, _, narrow = self.body
        assert isinstance(wide, nn.Linear)
        assert isinstance(narrow, nn.Linear)
        return fused.linear(fused.linear(norm(x), wide, is_clipped=True), narrow, added=x)


class PhraseEncoder(nn.Module):
    """One vector per phrase: word and place embeddings, two transformer blocks, the mean over words.

    Args:
        num_ids: Rows of the embedding table (`Vocabulary.num_ids`).
        width: Channels.
    """

    def __init__(self, num_ids: int, width: int) -> None:
        super().__init__()
        self.words = nn.Embedding(num_ids, width)
        self.places = nn.Parameter(torch.zeros(MAX_WORDS, width))
        nn.init.normal_(self.words.weight, std=0.5)
        nn.init.normal_(self.places, std=0.1)
        self.attend = nn.ModuleList([Attention(width), Attention(width)])
        self.think = nn.ModuleList([Perceptron(width), Perceptron(width)])
        self.norm = nn.LayerNorm(width)

    def forward(self, ids: Tensor) -> Tensor:
        """Vectors (P, width) of word ids (P, MAX_WORDS)."""
        keep = ids != _PAD
        x = self.words(ids) + self.places
        for attend, think in zip(self.attend, self.think, strict=True):
            x = think(attend(x, keep=keep))
        weight = keep.to(x.dtype)[..., None]
        result: Tensor = self.norm((x * weight).sum(1) / weight.sum(1).clamp(min=1))
        return result
