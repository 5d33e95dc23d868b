"""The lens, fitted once more when the rest is learnt: to rendered frames, and to real ones and cuts out of them.

Of rendered frames the focal length is known. Of real ones it is not, but a picture's middle is what a longer lens would
have shown: its focal length over the canvas's width is the whole one's over the share of the width that is left. So
pairs teach what to look for in real pictures, where rendered ones alone leave the answer to what streets look like; and
what most cameras have (`USUAL_HFOV_DEG`) keeps the level, which pairs leave open.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import structlog
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from plantain.operators.models.plantain import lens, weights
from plantain.operators.models.plantain.fields import STRIDE, TASKS
from plantain.operators.models.plantain.network import LOG_SPREAD, Network
from plantain.operators.models.plantain.text import Vocabulary
from plantain.operators.models.plantain.training import shards
from plantain.operators.models.plantain.training.streets import Album

log = structlog.get_logger(__name__)

NUM_RENDERED, NUM_REAL = 1500, 1000
"""Frames that a fit looks at; of each real one, two cuts as well."""

CUTS = 0.5, 0.95
"""Share of a picture's sides that is left in a cut, at least and at most."""

USUAL_HFOV_DEG = 60.0
"""Field of view that whole real pictures are kept about, whose lens nobody knows: assumed, not measured."""

RIDGE = 0.3
"""For each frame, against weights of features that few frames speak for; features are of unit variance."""

_CANVAS_W = 384
_EULER = 0.5772
"""By so much the mean logarithm of an error lies below the logarithm of the mean one, of Laplace's distribution."""


def focus(path: Path, scenes: Path, streets: Path) -> None:
    """Fits the lens of a weights file, and writes it there.

    Args:
        path: The file.
        scenes: Folder of rendered frames, as `shards` stores them.
        streets: Folder of real pictures, as `streets` reads them; their labels do not matter.
    """
    network, vocabulary = weights.load(path)
    rng = np.random.default_rng((0, 31))
    files = shards.files(scenes)
    chosen = [files[index] for index in rng.permutation(len(files))[:NUM_RENDERED]]
    eye = _Eye(network, vocabulary)
    seen, focals = [], []
    for shot in map(shards.load, chosen):
        seen.append(eye.look(shot.image))
        focals.append(lens.log_focal(shot.hfov_deg))
    wholes, steps, shares = [], [], []
    album = Album(streets)
    for _ in range(min(NUM_REAL, len(album.entries))):
        whole = album.one(rng).image
        wholes.append(eye.look(whole))
        for share in rng.uniform(*CUTS, 2):
            part, left = middle(whole, float(share))
            steps.append(eye.look(part) - wholes[-1])
            shares.append(-math.log(left))
    weight, bias = fitted(
        np.array(seen), np.array(focals), np.array(wholes), np.array(steps), np.array(shares)
    )
    with torch.no_grad():
        network.decoder.to_lens.weight.copy_(torch.from_numpy(weight))
        network.decoder.to_lens.bias.copy_(torch.from_numpy(bias))
    gap = np.array(seen) @ weight[0] + bias[0] - focals
    log.info(
        "focused",
        rendered=len(seen),
        pairs=len(shares),
        error=round(float(np.abs(gap).mean()), 3),
        followed=round(float(np.array(steps) @ weight[0] @ shares / np.square(shares).sum()), 3),
    )
    weights.save(path, network, vocabulary, weights.notes(path))


def middle(picture: NDArray[np.uint8], share: float) -> tuple[NDArray[np.uint8], float]:
    """The middle of a picture (H, W, 3), `share` of its sides, and which share of its width that is exactly."""
    height, width = picture.shape[:2]
    inner_h, inner_w = max(1, round(height * share)), max(1, round(width * share))
    top, left = (height - inner_h) // 2, (width - inner_w) // 2
    return picture[top : top + inner_h, left : left + inner_w], inner_w / width


def on_canvas(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture (H, W, 3) as wide as the canvas, padded below to whole strides."""
    height = max(1, round(picture.shape[0] * _CANVAS_W / picture.shape[1]))
    shown = np.asarray(Image.fromarray(picture).resize((_CANVAS_W, height), Image.Resampling.BILINEAR))
    return np.pad(shown, ((0, -height % STRIDE), (0, 0), (0, 0)))


def fitted(
    seen: NDArray[np.float32],
    focals: NDArray[np.float64],
    wholes: NDArray[np.float32],
    steps: NDArray[np.float32],
    shares: NDArray[np.float64],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weight (2, C) and bias (2,) of the layer that says the focal length's logarithm and its spread (`Fields.lens`).

    Each rendered frame, each whole picture and each pair counts the same.

    Args:
        seen: (N, C), what the layer reads of frames whose lens is known.
        focals: (N,), logarithm of their focal length over the canonical one.
        wholes: (R, C), what it reads of whole pictures of usual cameras.
        steps: (P, C), what it reads of a cut less what it reads of the whole picture.
        shares: (P,), how much larger the logarithm of the cut's focal length is.
    """
    mean, scale = seen.mean(0), seen.std(0) + 1e-6

    def rows_of(read: NDArray[np.float32], level: float = 1.0) -> NDArray[np.float64]:
        rows: NDArray[np.float64] = np.c_[(read - level * mean) / scale, np.full(len(read), level)]
        return rows

    known = rows_of(seen)
    every = np.concatenate([known, rows_of(wholes), rows_of(steps, 0.0)])
    wanted = np.concatenate([focals, np.full(len(wholes), lens.log_focal(USUAL_HFOV_DEG)), shares])
    ridge = RIDGE * np.diag(np.r_[np.ones(len(mean)), 0.0])
    focal = np.linalg.solve(every.T @ every + len(every) * ridge, every.T @ wanted)
    errors = np.abs(known @ focal - focals)
    middle, reach = LOG_SPREAD
    reached = np.clip((np.log(errors + 1e-3) + _EULER - middle) / reach, -0.95, 0.95)
    spread = np.linalg.solve(known.T @ known + len(known) * ridge, known.T @ np.arctanh(reached))
    both = np.stack([focal, spread])
    weight = both[:, :-1] / scale
    return weight.astype(np.float32), (both[:, -1] - weight @ mean).astype(np.float32)


class _Eye:
    """What a network's layer of the lens reads of pictures."""

    def __init__(self, network: Network, vocabulary: Vocabulary) -> None:
        self._network = network
        self._nothing = vocabulary.tensor([""])
        self._task = torch.tensor([TASKS.index("depth")])
        self._read: list[Tensor] = []
        network.decoder.to_lens.register_forward_pre_hook(lambda _, given: self._read.append(given[0]))

    def look(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(C,) of a picture (H, W, 3), which fills the canvas's width."""
        shown = on_canvas(picture)
        with torch.inference_mode():
            features = self._network.encoder(torch.from_numpy(shown).permute(2, 0, 1)[None].float().div(255))
            phrases = self._network.phrases(self._nothing)[None]
            self._network.decoder.read(
                features.tokens, self._task, phrases, torch.zeros((1, 1), dtype=torch.bool)
            )
        vector: NDArray[np.float32] = self._read.pop()[0].numpy()
        return vector
