"""Encoding and decoding on the CPU, some frames at a time and each such handful on a thread of its own.

Threads that each have frames never wait for one another, where the threads of an operator meet at its end.
A few frames together share what an operator costs whatever its size, and the weights that it reads; the maps of
a prompt are made one by one, and stay in a core's cache meanwhile. Measured in docs/model.md. Several callers may use
it at the same time.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the field's name for it)

from plantain.operators.compiled import compiled
from plantain.operators.models.plantain import fused
from plantain.operators.models.plantain.fields import EMBED, STRIDE, Features
from plantain.operators.models.plantain.network import CENTRE_BIAS, LOG_DEPTH_CENTRE, Decoder, Network, places

T = TypeVar("T")
R = TypeVar("R")
Maps = NDArray[np.float32]

MAX_SCORES = 8
"""Up to so many numbers a pixel the compiled loop is quicker than the matrix product: 0.15 to 0.4 against 0.47 ms."""

HEADS = {"depth": (EMBED, EMBED + 2), "normals": (EMBED + 1, EMBED + 5), "instances": (EMBED + 5, EMBED + 8)}
"""Rows of the decoder's last layer that a task reads besides those of pixels."""


class Sight:
    """A network that looks at frames, for inference on the CPU.

    Args:
        network: Folded, in the precision to compute in.
        threads: How many handfuls at a time; they end with the object.
    """

    def __init__(self, network: Network, threads: int) -> None:
        self._network = network
        self.pool = ThreadPoolExecutor(threads, "sight", initializer=torch.set_num_threads, initargs=(1,))
        weakref.finalize(self, self.pool.shutdown, wait=False)
        self.threads = threads
        self._callers = 0
        self._caller = threading.local()
        weight = network.decoder.out.weight[:, :, 0, 0].detach().float()
        bias = network.decoder.out.bias
        assert bias is not None
        bias = bias.detach().float().clone()
        bias[EMBED] += LOG_DEPTH_CENTRE
        bias[EMBED + 5] += CENTRE_BIAS
        self._weight, self._bias = weight, bias
        self._dtype = network.decoder.out.weight.dtype
        self._levels = torch.linspace(-1, 1, 256).to(self._dtype)
        self._grounds: dict[tuple[int, int], tuple[Tensor, Tensor, Tensor]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def share(self) -> Iterator[int]:
        """How many threads a caller should use: all, or its part while others are at work, too."""
        with self._lock:
            self._callers += 1
            part = max(1, self.threads // self._callers)
        try:
            yield part
        finally:
            with self._lock:
                self._callers -= 1

    def each(self, work: Callable[[T], R], items: Sequence[T], threads: int) -> list[R]:
        """What `work` gives for each item: on the pool's threads, or on the caller's where it needs no more than one.

        The main thread is not taken for it: its user may want torch to spread over cores there.
        """
        if (len(items) > 1 and threads > 1) or threading.current_thread() is threading.main_thread():
            return list(self.pool.map(work, items))
        if not hasattr(self._caller, "is_on_one_core"):
            torch.set_num_threads(1)  # not each time: it empties caches of operators
            self._caller.is_on_one_core = True
        return [work(item) for item in items]

    def encode(self, images: Sequence[NDArray[np.uint8]]) -> Features:
        """Features of pictures (H, W, 3) uint8 of one size, padded with black to multiples of STRIDE."""
        height, width = images[0].shape[:2]
        canvas = (-(-height // STRIDE) * STRIDE, -(-width // STRIDE) * STRIDE)
        ground, placed32, placed = self._ground(canvas)
        halved = ground.repeat(len(images), 1, 1, 1)
        for image, own in zip(images, halved, strict=True):
            _unshuffle(image, _bits(self._levels), _bits(own))
        features: Features = self._network.encoder.levels(halved.permute(0, 3, 1, 2), placed32, placed)
        return features

    def decode(
        self, features: Features, tasks: Sequence[int], heads: Sequence[str], phrases: Tensor, keep: Tensor
    ) -> Iterator[tuple[Maps, Maps]]:
        """What each prompt's drawing is made from, one prompt after the other: maps at half resolution, and the lens.

        Args:
            features: Of M frames, M a divisor of N: the first N / M prompts are about the first one, and so on.
            tasks: Index into TASKS of each of N prompts.
            heads: What is read for each: "masks" or a key of HEADS.
            phrases: (N, K, width) phrase vectors.
            keep: (N, K) bool, False for padding.

        Yields:
            Arrays (H/2, W/2, C) float32. C is for "masks" K + 1 scores, the background's first; for "depth" canonical
            log depth and sky; for "normals" sky and the vector; for "instances" the odds of the class, centre and
            offset (dx, dy). The lens (2,) is that of Fields, and means something for "depth" and "normals".
        """
        films, queries, lenses = self._network.decoder.read(
            features.tokens, torch.tensor(tasks), phrases, keep
        )
        kept = keep.sum(1).tolist()
        asked = len(heads) // len(features.fine)
        for row, head in enumerate(heads):
            x = self._field(features.at(row // asked), films[row : row + 1])
            weight, bias = self._read_by(head, queries[row, : 1 + kept[row]].float())
            yield _scored(x, weight, bias), lenses[row].numpy()

    def _field(self, features: Features, film: Tensor) -> Tensor:
        """What the decoder's last layer reads, (1, fine, H/2, W/2), for one prompt; as in `Decoder.forward`.

        How a prompt scales and shifts a convolution's result is worked into its weights.
        """
        decoder = self._network.decoder
        lean, film1, film2 = torch.split(film, list(decoder.splits), dim=1)
        x = _tilted(features.dense, lean)
        inner = fused.steered(x, decoder.conv1, film1)
        x = fused.steered(inner, decoder.conv2, film2, added=x)
        coarse = fused.plain(x, decoder.narrow)
        if coarse.dtype == torch.bfloat16:
            joined = torch.empty_like(features.fine)
            _join(_pixels(coarse), _pixels(features.fine), _pixels(joined))
        else:
            joined = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
            joined.add_(features.fine).relu_()
        return fused.plain(joined, decoder.conv3, is_clipped=True)

    def _read_by(self, head: str, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Weight (C, fine) and bias (C,) that give a prompt's maps: pixels are never compared one by one."""
        if head in ("masks", "instances"):
            scaled = queries[:, :EMBED] * EMBED**-0.5
            weight = scaled @ self._weight[:EMBED]
            bias = scaled @ self._bias[:EMBED] + queries[:, EMBED]
            if head == "masks":
                return weight, bias
            first, last = HEADS[head]
            return (
                torch.cat([weight[1:2] - weight[:1], self._weight[first:last]]),
                torch.cat([bias[1:2] - bias[:1], self._bias[first:last]]),
            )
        first, last = HEADS[head]
        return self._weight[first:last], self._bias[first:last]

    def _ground(self, size_hw: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """The encoder's input for a black picture, (1, H/2, W/2, 16), and what a place adds (`Encoder.placed`)."""
        with self._lock:
            if size_hw not in self._grounds:
                height, width = size_hw[0] // 2, size_hw[1] // 2
                ground = torch.full((1, height, width, 16), -1.0, dtype=self._dtype)
                ground[..., 12:] = places(height, width, ground).permute(1, 2, 0)
                placed = self._network.encoder.placed(height, width, ground)
                self._grounds = {**self._grounds, size_hw: (ground, *placed)}
            return self._grounds[size_hw]


def _tilted(dense: Tensor, lean: Tensor) -> Tensor:
    """As `Decoder.tilted`, of one map."""
    if dense.dtype != torch.bfloat16:
        return Decoder.tilted(dense, lean)
    height, width = dense.shape[2:]
    aspect = math.log(width / height)
    tilted = torch.empty_like(dense)
    _tilt(
        _pixels(dense), lean.float().view(-1, 4).T.contiguous().numpy(), np.float32(aspect), _pixels(tilted)
    )
    return tilted


def _scored(x: Tensor, weight: Tensor, bias: Tensor) -> Maps:
    """(h, w, K) float32 product of each pixel of a map (1, C, h, w) with `weight` (K, C), plus `bias` (K,)."""
    if x.dtype == torch.bfloat16 and len(weight) <= MAX_SCORES:
        scores = np.empty((*x.shape[2:], len(weight)), np.float32)
        _score(_pixels(x), weight.numpy(), bias.numpy(), scores)
        return scores
    flat = x[0].permute(1, 2, 0).reshape(-1, x.shape[1]).float()
    maps: Maps = torch.addmm(bias, flat, weight.T).view(*x.shape[2:], -1).numpy()
    return maps


def _bits(x: Tensor) -> NDArray[Any]:
    """The tensor's memory as NumPy sees it: bfloat16 as plain 16 bits."""
    seen: NDArray[Any] = (x.view(torch.uint16) if x.dtype == torch.bfloat16 else x).numpy()
    return seen


def _pixels(x: Tensor) -> NDArray[Any]:
    """(H, W, C) memory of a map (1, C, H, W) whose channels lie side by side."""
    return _bits(x[0].permute(1, 2, 0))


@compiled(inline="always")
def _value(bits: int) -> float:
    """The number that 16 bits of bfloat16 mean."""
    return np.uint32(np.uint32(bits) << np.uint32(16)).view(np.float32)  # type: ignore[return-value]  # numba inlines it


@compiled(inline="always")
def _rounded(value: float) -> int:
    """16 bits of bfloat16 nearest to a number; of two as near, the even one."""
    bits = np.float32(value).view(np.uint32)
    up = np.uint32(0x7FFF) + np.uint32(np.uint32(bits >> np.uint32(16)) & np.uint32(1))
    return np.uint16(np.uint32(bits + up) >> np.uint32(16))  # type: ignore[return-value]  # numba inlines it


@compiled(fastmath=True, error_model="numpy")
def _tilt(dense: NDArray[Any], lean: Maps, aspect: np.float32, out: NDArray[Any]) -> None:
    """`dense` (h, w, C) plus the plane that `lean` (4, C) says for each channel, bfloat16 as bits."""
    height, width, channels = dense.shape
    row = np.empty(channels, np.float32)
    for y in range(height):
        down = (np.float32(y) + np.float32(0.5)) / np.float32(height) * np.float32(2) - np.float32(1)
        for c in range(channels):
            row[c] = down * lean[1, c] + aspect * lean[2, c] + lean[3, c]
        for x in range(width):
            right = (np.float32(x) + np.float32(0.5)) / np.float32(width) * np.float32(2) - np.float32(1)
            for c in range(channels):
                out[y, x, c] = _rounded(_value(dense[y, x, c]) + row[c] + right * lean[0, c])


@compiled(fastmath=True, error_model="numpy")
def _score(x: NDArray[Any], weight: Maps, bias: Maps, out: Maps) -> None:
    """Product of each pixel (bfloat16 as bits) with each row of `weight` (K, C), plus `bias`."""
    height, width, channels = x.shape
    pixel = np.empty(channels, np.float32)
    for i in range(height):
        for j in range(width):
            for c in range(channels):
                pixel[c] = _value(x[i, j, c])
            for k in range(len(bias)):
                total = np.float32(0)
                for c in range(channels):
                    total += pixel[c] * weight[k, c]
                out[i, j, k] = total + bias[k]


@compiled(fastmath=True, error_model="numpy")
def _join(coarse: NDArray[Any], fine: NDArray[Any], out: NDArray[Any]) -> None:
    """ReLU of `coarse` (h, w, C) doubled bilinearly plus `fine` (2 h, 2 w, C), all bfloat16 as bits."""
    height, width, channels = coarse.shape
    row = np.empty((width, channels), np.float32)
    for y in range(2 * height):
        near = y >> 1
        far = min(max(near + 1 if y & 1 else near - 1, 0), height - 1)
        for x in range(width):
            for c in range(channels):
                upper, lower = _value(coarse[near, x, c]), _value(coarse[far, x, c])
                row[x, c] = np.float32(0.75) * upper + np.float32(0.25) * lower
        for x in range(2 * width):
            beside = x >> 1
            other = min(max(beside + 1 if x & 1 else beside - 1, 0), width - 1)
            for c in range(channels):
                mixed = np.float32(0.75) * row[beside, c] + np.float32(0.25) * row[other, c]
                out[y, x, c] = _rounded(max(np.float32(mixed + _value(fine[y, x, c])), np.float32(0)))  # type: ignore[arg-type]


@compiled()
def _unshuffle(image: NDArray[np.uint8], levels: NDArray[Any], out: NDArray[Any]) -> None:
    """Writes each pixel's level to where pixel_unshuffle puts it."""
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            for c in range(3):
                out[y >> 1, x >> 1, 4 * c + 2 * (y & 1) + (x & 1)] = levels[image[y, x, c]]
