"""What each task's fields are held to: every term of the sum that training lowers, and its weight."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the field's name for it)

from plantain.operators.models.plantain.network import (
    OFFSET_UNIT_PX,
    TASKS,
    Features,
    Fields,
    Guide,
    Network,
)
from plantain.operators.models.plantain.training.questions import IGNORE
from plantain.operators.models.plantain.training.samples import TAUGHT, TrainingBatch
from plantain.operators.scenes import CLASSES

WEIGHTS = {
    "semantic": 1.5,
    "things": 0.6,
    "centre": 0.25,
    "offset": 1.0,
    "region": 0.6,
    "depth": 2.5,
    "sky": 0.5,
    "normals": 1.5,
    "guide": 1.0,
}
"""Of each term in the sum that training lowers."""

_PERCENT = {
    "road": 30.0, "lane marking": 0.74, "crossing": 1.1, "pavement": 13.4, "terrain": 5.1, "building": 23.3,
    "wall": 4.0, "sky": 7.2, "vegetation": 6.9, "pole": 0.92, "traffic light": 0.054, "sign": 0.12,
    "car": 3.6, "van": 0.72, "truck": 0.37, "bus": 0.21, "motorcycle": 0.046, "bicycle": 0.056,
    "person": 1.6, "animal": 0.037, "object": 0.34,
}  # fmt: skip
"""Share of each class in the pixels of the scenes (400 training frames, 2026-11-21)."""


def class_weights() -> Tensor:
    """(256,) weight of a pixel by its class: the rarer the more, as each class counts the same in mIoU."""
    weights = torch.ones(256)
    for index, name in enumerate(CLASSES):
        if name in _PERCENT:
            weights[index] = min(8.0, max(0.5, (3.0 / _PERCENT[name]) ** 0.5))
    return weights


def terms(
    network: Network, batch: TrainingBatch, class_weights: Tensor, guide_head: Guide
) -> dict[str, Tensor]:
    """Every term of WEIGHTS, unweighted.

    Args:
        network: Draws the fields.
        batch: Pictures, questions and what is to be drawn.
        class_weights: (256,) see `class_weights`.
        guide_head: The training-only head.
    """
    with torch.autocast(batch.images.device.type, torch.bfloat16):
        features = network.encoder(batch.images.float() / 255)
        asked, (things, referred, for_depth, for_normals) = _heads(network, batch, features)
        guided = guide_head(features)
    with torch.autocast(batch.images.device.type, enabled=False):
        focal, offset = centres(
            things.centre,
            things.offset,
            batch.centre,
            batch.offset,
            batch.things,
            known(batch, "instances"),
        )
        level, far = depth(for_depth, batch)
        return {
            "semantic": semantic(asked, batch, class_weights),
            "things": region(things, batch.things, known(batch, "instances")),
            "centre": focal,
            "offset": offset,
            "region": region(referred, batch.region, known(batch, "refer")),
            "depth": level,
            "sky": far + depth(for_normals, batch)[1],
            "normals": normals(for_normals, batch),
            "guide": guide(guided, batch, class_weights),
        }


def _heads(network: Network, batch: TrainingBatch, features: Features) -> tuple[Fields, tuple[Fields, ...]]:
    """Fields of the semantic question, and of instances, refer, depth and normals, for each sample."""
    phrases = network.phrases(batch.ids)
    count = len(batch.images)
    semantic = network.decoder(
        features,
        torch.zeros(count, dtype=torch.int64, device=phrases.device),
        phrases[batch.semantic_phrases],
        batch.semantic_keep,
    )
    num_single = len(TASKS) - 1
    single = torch.zeros(num_single, count, dtype=torch.int64, device=phrases.device)
    single[:2] = batch.single_phrases.T
    keep = torch.zeros(num_single, count, dtype=torch.bool, device=phrases.device)
    keep[:2] = True
    fields = network.decoder(
        features.repeated(num_single),
        torch.arange(1, len(TASKS), device=phrases.device).repeat_interleave(count),
        phrases[single.flatten()][:, None],
        keep.view(-1, 1),
    )
    by_task = [getattr(fields, name).unflatten(0, (num_single, count)).unbind(0) for name in Fields.__slots__]
    return semantic, tuple(Fields(*each) for each in zip(*by_task, strict=True))


def semantic(fields: Fields, batch: TrainingBatch, weights: Tensor) -> Tensor:
    """Cross-entropy over background and phrases, padding phrases excluded."""
    logits = fields.logits().float()
    missing = F.pad(~batch.semantic_keep, (1, 0), value=False)
    logits = logits.masked_fill(missing[:, :, None, None], -1e4)
    each = F.cross_entropy(logits, batch.semantic.long(), ignore_index=IGNORE, reduction="none")
    weight = weights[batch.class_map.long()] * (batch.semantic != IGNORE)
    return (each * weight).sum() / weight.sum().clamp(min=1)


def known(batch: TrainingBatch, kind: str) -> Tensor:
    """(N, h, w) bool: pixels of pictures whose answer of this kind is known; `kind` of TAUGHT."""
    return batch.inside & batch.taught[:, TAUGHT.index(kind), None, None]


def region(fields: Fields, target: Tensor, known: Tensor) -> Tensor:
    """Binary cross-entropy and dice of one phrase against the background; target and known (N, h, w) bool."""
    logits = fields.logits().float()
    odds = logits[:, 1] - logits[:, 0]
    known = known.float()
    wanted = target.float()
    share = wanted.mean((1, 2), keepdim=True)
    weight = known * (1 + wanted * (0.02 / share.clamp(min=1e-3)).clamp(max=4.0))
    entropy = F.binary_cross_entropy_with_logits(odds, wanted, reduction="none") * weight
    drawn = odds.sigmoid() * known
    overlap = 2 * (drawn * wanted).sum((1, 2)) + 1
    dice = 1 - overlap / (drawn.sum((1, 2)) + wanted.sum((1, 2)) + 1)
    present = (wanted.sum((1, 2)) > 0).float()
    return 3 * entropy.sum() / known.sum().clamp(min=1) + (dice * present).sum() / present.sum().clamp(min=1)


def centres(
    odds: Tensor, offset: Tensor, heat: Tensor, true_offset: Tensor, on: Tensor, known: Tensor
) -> tuple[Tensor, Tensor]:
    """Focal loss of the centres' heat (CenterNet's form), and L1 of the offsets in units of OFFSET_UNIT_PX.

    Args:
        odds: (N, h, w) logits of centres.
        offset: (N, 2, h, w) drawn.
        heat: (N, h, w) true heat.
        true_offset: (N, 2, h, w) pixels.
        on: (N, h, w) bool, whether there is an object.
        known: (N, h, w) bool, whether the pixel counts.
    """
    peak = (heat > 0.999).float()
    chance = odds.sigmoid()
    hits = F.logsigmoid(odds) * (1 - chance) ** 2 * peak
    quiet = F.logsigmoid(-odds) * chance**2 * (1 - heat) ** 4 * (1 - peak) * known
    focal = -(hits.sum() + quiet.sum()) / peak.sum().clamp(min=4)
    mask = on.float()[:, None]
    gap = (offset - true_offset / OFFSET_UNIT_PX).abs()
    return focal, (gap * mask).sum() / (2 * mask.sum()).clamp(min=64)


def guide(drawn: tuple[Tensor, Tensor, Tensor], batch: TrainingBatch, weights: Tensor) -> Tensor:
    """What the training-only head is held to: every pixel's class, every object's centre and offset."""
    classes, odds, offset = drawn
    true = batch.class_map[:, ::2, ::2].long()
    weight = weights[true] * ((true != IGNORE) & (true != 0))
    entropy = F.cross_entropy(classes, true.clamp(max=len(CLASSES) - 1), reduction="none")
    on = batch.all_offset.abs().sum(1) > 0
    counts = known(batch, "everything")[:, ::2, ::2]
    focal, gap = centres(odds, offset, batch.all_centre, batch.all_offset, on, counts)
    return (entropy * weight).sum() / weight.sum().clamp(min=1) + 0.15 * focal + 0.5 * gap


def depth(fields: Fields, batch: TrainingBatch) -> tuple[Tensor, Tensor]:
    """L1 of log depth and of its steps between neighbours; cross-entropy of "infinitely far"."""
    near = torch.isfinite(batch.log_depth)
    error = torch.where(near, fields.log_depth - batch.log_depth.nan_to_num(), 0.0)
    count = near.sum().clamp(min=1)
    across = (error[:, :, 1:] - error[:, :, :-1]).abs() * (near[:, :, 1:] & near[:, :, :-1])
    down = (error[:, 1:] - error[:, :-1]).abs() * (near[:, 1:] & near[:, :-1])
    level = error.abs().sum() / count + 0.5 * (across.sum() + down.sum()) / count
    inside = known(batch, "depth").float()
    far = F.binary_cross_entropy_with_logits(fields.sky, (~near).float(), reduction="none")
    return level, (far * inside).sum() / inside.sum().clamp(min=1)


def normals(fields: Fields, batch: TrainingBatch) -> Tensor:
    """One minus cosine, plus L1 of the unit vectors, which keeps pulling when the angle is small."""
    on = (batch.normals.square().sum(1) > 0.25).float()
    drawn = F.normalize(fields.normals, dim=1, eps=1e-3)
    true = F.normalize(batch.normals, dim=1, eps=1e-3)
    gap = 1 - (drawn * true).sum(1) + 0.5 * (drawn - true).abs().sum(1)
    return (gap * on).sum() / on.sum().clamp(min=1)
