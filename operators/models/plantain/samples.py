"""Training samples: augmented frames, questions about them, and the answers at half resolution."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor
from torch.utils.data import IterableDataset

from operators.models.plantain import questions, shards
from operators.models.plantain.questions import IGNORE, MAX_PHRASES
from operators.models.plantain.shards import Shot
from operators.models.plantain.text import Vocabulary
from operators.scenes import CLASSES

NUM_DRAWN = 3
"""Shots among which one is chosen for a sample."""

_RARE = np.array(
    [name in {"traffic light", "sign", "van", "truck", "bus", "motorcycle", "bicycle", "animal", "object"}
     for name in (*CLASSES, *[""] * (256 - len(CLASSES)))]
)  # fmt: skip
"""Which class ids stand in fewer than half of all frames."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One frame with one question of each kind; maps are (H/2, W/2) unless said.

    Attributes:
        image: (H, W, 3) uint8.
        log_depth: float32, NaN for the sky and where unknown.
        normals: (H/2, W/2, 3) float32, 0 where unknown.
        class_map: uint8, IGNORE outside of the picture.
        phrases, semantic: The classes asked for, and the index + 1 of each pixel's one.
        thing, things: The countable class asked for, and whether a pixel belongs to it.
        centre, offset: Heat of object centres in [0, 1], and (H/2, W/2, 2) full-resolution pixels to one's
            own.
        all_centre, all_offset: The same of all countable things, (H/4, W/4).
        expression, region: The referring expression, and whether a pixel belongs to what it means.
    """

    image: NDArray[np.uint8]
    log_depth: NDArray[np.float32]
    normals: NDArray[np.float32]
    class_map: NDArray[np.uint8]
    phrases: tuple[str, ...]
    semantic: NDArray[np.uint8]
    thing: str
    things: NDArray[np.bool_]
    centre: NDArray[np.float32]
    offset: NDArray[np.float32]
    all_centre: NDArray[np.float32]
    all_offset: NDArray[np.float32]
    expression: str
    region: NDArray[np.bool_]


def sample(shot: Shot, size_hw: tuple[int, int], rng: np.random.Generator, augmented: bool = True) -> Sample:
    """One question of each kind about a frame, the frame resized to `size_hw` and, if wanted, disturbed."""
    height, width = size_hw
    is_mirrored = augmented and rng.random() < 0.5
    top, left, inner_h, inner_w, columns = _placement(
        shot.image.shape[1], size_hw, rng if augmented else None
    )
    rows = np.arange(shot.image.shape[0])
    step = -1 if is_mirrored else 1
    picture = np.asarray(
        Image.fromarray(shot.image[:, columns][:, ::step]).resize((inner_w, inner_h), Image.Resampling.BOX)
    )
    if augmented:
        picture = disturbed(picture, rng)
    image = np.zeros((height, width, 3), np.uint8)
    image[top : top + inner_h, left : left + inner_w] = picture
    # Each half-resolution cell is taught by one of its four pixels, another one each time: on average it
    # learns the share of each class in the cell, so that doubling its logits bilinearly finds the border
    # inside it.
    dy, dx = (int(value) for value in rng.integers(0, 2, 2)) if augmented else (0, 0)
    ys = np.arange(dy, height, 2)
    xs = np.arange(dx, width, 2)
    inside = ((ys >= top) & (ys < top + inner_h))[:, None] & ((xs >= left) & (xs < left + inner_w))
    from_rows = rows[np.clip((ys - top + 0.5) * len(rows) / inner_h, 0, len(rows) - 1).astype(int)]
    order = columns[::step]
    from_columns = order[np.clip((xs - left + 0.5) * len(order) / inner_w, 0, len(order) - 1).astype(int)]
    grid = np.ix_(from_rows, from_columns)
    class_map = np.where(inside, shot.class_map[grid], IGNORE).astype(np.uint8)
    instance_map = np.where(inside, shot.instance_map[grid], 0)
    depth_m = shot.depth_m[grid].astype(np.float32)
    known = inside & np.isfinite(depth_m) & (depth_m > 0)
    log_depth = np.where(known, np.log(np.clip(depth_m, 0.2, 1000.0)), np.nan).astype(np.float32)
    normals = shot.normals[grid].astype(np.float32) * (inside[..., None] / 127.0).astype(np.float32)
    if is_mirrored:
        normals[..., 0] *= -1
    phrases, table = questions.semantic(rng)
    thing, covers = questions.thing(set(np.unique(class_map).tolist()) - {0, IGNORE}, rng)
    things = covers[class_map] & (class_map != IGNORE)
    centre, offset = _centres(np.where(things, instance_map, 0), 2)
    all_centre, all_offset = _centres(instance_map[::2, ::2], 4)
    expression, ids = _expression(shot, rng)
    return Sample(
        image,
        log_depth,
        normals,
        class_map,
        phrases,
        table[class_map],
        thing,
        things,
        centre,
        offset,
        all_centre,
        all_offset,
        questions.mirrored(expression) if is_mirrored else expression,
        np.isin(instance_map, sorted(ids)) if ids else np.zeros(instance_map.shape, np.bool_),
    )


def _placement(
    source_w: int, size_hw: tuple[int, int], rng: np.random.Generator | None
) -> tuple[int, int, int, int, NDArray[np.intp]]:
    """Top, left, height, width of the picture on the canvas, and the source columns that it shows.

    One picture in six is cropped to 4:3 around its middle, which leaves the optical axis where it is, and
    stands between black bars, as other aspect ratios do when the canvas is fixed.
    """
    height, width = size_hw
    if rng is None or rng.random() > 0.17:
        return 0, 0, height, width, np.arange(source_w)
    share = float(rng.uniform(0.55, 0.95))
    inner_w = int(width * share) // 2 * 2
    kept = int(source_w * share) // 2 * 2
    if rng.random() < 0.3:  # wider than the canvas instead: bars above and below, the picture squeezed alike
        inner_h = int(height * share) // 2 * 2
        return (height - inner_h) // 2, 0, inner_h, width, np.arange(source_w)
    return (
        0,
        (width - inner_w) // 2,
        height,
        inner_w,
        np.arange((source_w - kept) // 2, (source_w + kept) // 2),
    )


def disturbed(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The picture as another camera might have given it: exposure, tint, blur, noise, compression."""
    levels = np.linspace(0.0, 1.0, 256)
    gamma = np.exp(rng.normal(0, 0.25))
    gain = np.exp(rng.normal(0, 0.12)) * np.exp(rng.normal(0, 0.06, 3))
    lift, contrast = rng.normal(0, 0.04), np.exp(rng.normal(0, 0.15))
    tables = [
        (np.clip(((levels**gamma * gain[c]) - 0.5) * contrast + 0.5 + lift, 0, 1) * 255).astype(np.uint8)
        for c in range(3)
    ]
    out = np.stack([tables[c][picture[..., c]] for c in range(3)], axis=-1)
    if rng.random() < 0.5:
        gray = out.astype(np.float32).mean(axis=-1, keepdims=True)
        mixed = gray + (out - gray) * np.float32(rng.uniform(0.3, 1.5))
        out = np.clip(mixed, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        radius = float(rng.uniform(0.3, 1.6))
        out = np.asarray(Image.fromarray(out).filter(ImageFilter.GaussianBlur(radius)))
    if rng.random() < 0.5:
        sigma = rng.uniform(1, 14)
        noise = rng.integers(-128, 128, out.shape, dtype=np.int8).astype(np.float32) * np.float32(sigma / 74)
        out = np.clip(out + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.35:
        buffer = io.BytesIO()
        Image.fromarray(out).save(buffer, "JPEG", quality=int(rng.integers(20, 90)))
        out = np.asarray(Image.open(buffer))
    return out


def _centres(ids: NDArray[np.uint8], pixels_per_cell: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Heat of centres, and full-resolution offsets to them, of the objects in `ids`."""
    height, width = ids.shape
    heat = np.zeros((height, width), np.float32)
    offset = np.zeros((height, width, 2), np.float32)
    rows, columns = np.nonzero(ids)
    which = ids[rows, columns].astype(np.intp)
    area = np.bincount(which, minlength=256)
    mean_y = np.bincount(which, rows, 256) / np.maximum(area, 1)
    mean_x = np.bincount(which, columns, 256) / np.maximum(area, 1)
    offset[rows, columns, 0] = (mean_x[which] - columns) * pixels_per_cell
    offset[rows, columns, 1] = (mean_y[which] - rows) * pixels_per_cell
    for each in np.nonzero(area)[0]:
        sigma = float(np.clip(0.14 * np.sqrt(area[each]), 1.0, 6.0))
        reach = int(3 * sigma) + 1
        cy, cx = round(mean_y[each]), round(mean_x[each])
        y0, y1 = max(0, cy - reach), min(height, cy + reach + 1)
        x0, x1 = max(0, cx - reach), min(width, cx + reach + 1)
        dy, dx = np.arange(y0, y1) - cy, np.arange(x0, x1) - cx
        bump = np.exp(-(dy[:, None] ** 2 + dx[None] ** 2) / (2 * sigma**2))
        np.maximum(heat[y0:y1, x0:x1], bump.astype(np.float32), out=heat[y0:y1, x0:x1])
    return heat, offset


def _expression(shot: Shot, rng: np.random.Generator) -> tuple[str, frozenset[int]]:
    """A referring expression about the frame, three in four of them with something that they mean."""
    if not shot.expressions:
        return "person", frozenset()
    meaning = [pair for pair in shot.expressions if pair[1]]
    empty = [pair for pair in shot.expressions if not pair[1]]
    pool = meaning if meaning and (not empty or rng.random() < 0.75) else empty
    return pool[int(rng.integers(len(pool)))]


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """Samples side by side; see Sample. Phrases are rows of `ids` (P, MAX_WORDS), told by their index."""

    images: Tensor
    log_depth: Tensor
    normals: Tensor
    class_map: Tensor
    semantic: Tensor
    things: Tensor
    centre: Tensor
    offset: Tensor
    all_centre: Tensor
    all_offset: Tensor
    region: Tensor
    ids: Tensor
    semantic_phrases: Tensor
    semantic_keep: Tensor
    single_phrases: Tensor


def collate(samples: list[Sample], vocabulary: Vocabulary) -> TrainingBatch:
    """A batch; each different phrase is encoded once, however often it is asked.

    Shapes are rounded up, because every new one costs the CPU's matrix library a compilation.
    """
    rows: dict[str, int] = {"": 0}
    asked = torch.zeros(len(samples), MAX_PHRASES, dtype=torch.int64)
    keep = torch.zeros(len(samples), MAX_PHRASES, dtype=torch.bool)
    for index, each in enumerate(samples):
        for place, phrase in enumerate(each.phrases):
            asked[index, place] = rows.setdefault(phrase, len(rows))
        keep[index, : len(each.phrases)] = True
    single = [
        [rows.setdefault(each.thing, len(rows)), rows.setdefault(each.expression, len(rows))]
        for each in samples
    ]
    padding = [""] * (-len(rows) % 64)
    return TrainingBatch(
        images=torch.from_numpy(np.stack([each.image for each in samples])).permute(0, 3, 1, 2),
        log_depth=torch.from_numpy(np.stack([each.log_depth for each in samples])),
        normals=torch.from_numpy(np.stack([each.normals for each in samples])).permute(0, 3, 1, 2),
        class_map=torch.from_numpy(np.stack([each.class_map for each in samples])),
        semantic=torch.from_numpy(np.stack([each.semantic for each in samples])),
        things=torch.from_numpy(np.stack([each.things for each in samples])),
        centre=torch.from_numpy(np.stack([each.centre for each in samples])),
        offset=torch.from_numpy(np.stack([each.offset for each in samples])).permute(0, 3, 1, 2),
        all_centre=torch.from_numpy(np.stack([each.all_centre for each in samples])),
        all_offset=torch.from_numpy(np.stack([each.all_offset for each in samples])).permute(0, 3, 1, 2),
        region=torch.from_numpy(np.stack([each.region for each in samples])),
        ids=vocabulary.tensor([*rows, *padding]),
        semantic_phrases=asked,
        semantic_keep=keep,
        single_phrases=torch.tensor(single),
    )


class Stream(IterableDataset[TrainingBatch]):
    """Endless batches from a folder of shots, which may grow and change meanwhile.

    Args:
        folder: Where `shards.render` writes.
        vocabulary: Of the network.
        batch_size: Samples per batch.
        size_hw: Canvas of the samples.
        seed: Of the choice of shots, questions and disturbances.
    """

    def __init__(
        self, folder: Path, vocabulary: Vocabulary, batch_size: int, size_hw: tuple[int, int], seed: int
    ) -> None:
        super().__init__()
        self.folder, self.vocabulary, self.batch_size = folder, vocabulary, batch_size
        self.size_hw, self.seed = size_hw, seed

    def __iter__(self) -> Iterator[TrainingBatch]:
        """Batches without end."""
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, 0 if worker is None else worker.id])
        count = 0
        paths: list[Path] = []
        while True:
            if count % 20 == 0:
                paths = sorted(path for path in self.folder.glob("*.npz") if ".tmp" not in path.name)
            count += 1
            chosen = [self._one_of(paths, rng) for _ in range(self.batch_size)]
            yield collate([sample(shards.load(path), self.size_hw, rng) for path in chosen], self.vocabulary)

    @staticmethod
    def _one_of(paths: list[Path], rng: np.random.Generator) -> Path:
        """Of some shots drawn by chance one, likelier where it shows rare things."""
        drawn = [paths[int(index)] for index in rng.integers(0, len(paths), NUM_DRAWN)]
        weights = np.array([0.5 + _RARE[shards.classes_of(path)].sum() for path in drawn])
        return drawn[int(rng.choice(NUM_DRAWN, p=weights / weights.sum()))]
