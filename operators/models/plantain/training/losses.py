"""What each task's fields are held to: every term of the sum that training lowers, and its weight."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the field's name for it)

from plantain.operators.models.plantain.fields import OFFSET_UNIT_PX, TASKS, Features, Fields
from plantain.operators.models.plantain.network import Guide, Network
from plantain.operators.models.plantain.precision import has_bfloat16
from plantain.operators.models.plantain.training.questions import IGNORE
from plantain.operators.models.plantain.training.samples import TAUGHT, TrainingBatch
from plantain.operators.vocabulary import CLASSES

WEIGHTS = {
    "semantic": 1.5,
    "things": 0.6,
    "centre": 0.25,
    "offset": 1.0,
    "region": 0.6,
    "depth": 2.5,
    "lens": 0.3,
    "sky": 0.5,
    "normals": 1.5,
    "guide": 1.0,
}
"""Of each term in the sum that training lowers."""

LEAST_KNOWN = 0.12
"""Share of a picture that must be known for it to count as much as others."""

_NEVER = -1e4
"""Logit of an answer that is out of the question."""

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
    device = batch.images.device
    with torch.autocast(device.type, torch.bfloat16, enabled=has_bfloat16(device)):
        features = network.encoder(batch.images.float() / 255)
        phrases = network.phrases(batch.ids)
        asked = _asked(network, batch, features, phrases)
        heads = _heads(network, batch, features, phrases)
        guided = guide_head(features)
    with torch.autocast(device.type, enabled=False):
        found = {
            "semantic": semantic(asked, batch, class_weights),
            "guide": guide(guided, batch, class_weights),
        }
        for kind, (fields, own) in heads.items():
            match kind:
                case "instances":
                    found["things"] = region(fields, own.things, own.is_told * own.thing_trust)
                    found["centre"], found["offset"] = centres(
                        fields.centre,
                        fields.offset,
                        own.centre,
                        own.offset,
                        own.things & own.is_apart,
                        own.is_apart,
                    )
                case "refer":
                    found["region"] = region(fields, own.region, own.inside * own.region_trust[:, None, None])
                case "depth":
                    found["depth"], found["sky"] = depth(fields, own)
                    found["lens"] = lens(fields, own)
                case "normals":
                    found["normals"] = normals(fields, own)
                    found["sky"] = found.get("sky", torch.zeros(())) + depth(fields, own)[1]
        return found


def _asked(network: Network, batch: TrainingBatch, features: Features, phrases: Tensor) -> Fields:
    """Fields of each sample's semantic question."""
    task = torch.zeros(len(batch.images), dtype=torch.int64, device=phrases.device)
    fields: Fields = network.decoder(features, task, phrases[batch.semantic_phrases], batch.semantic_keep)
    return fields


def _heads(
    network: Network, batch: TrainingBatch, features: Features, phrases: Tensor
) -> dict[str, tuple[Fields, TrainingBatch]]:
    """Of each other task the fields of the samples that teach it, and those samples; none of one that none teaches."""
    device = batch.images.device
    rows = {kind: batch.taught[:, TAUGHT.index(kind)].nonzero()[:, 0].to(device) for kind in TASKS[1:]}
    rows = {kind: each for kind, each in rows.items() if len(each)}
    if not rows:
        return {}
    single, keep = [], []
    for kind, own in rows.items():
        # Depth and normals have no phrase of their own.
        place = {"instances": 0, "refer": 1}.get(kind)
        single.append(torch.zeros_like(own) if place is None else batch.single_phrases[own, place])
        keep.append(torch.full((len(own), 1), place is not None, device=device))
    tasks = [torch.full_like(own, TASKS.index(kind)) for kind, own in rows.items()]
    fields: Fields = network.decoder(
        features.of(torch.cat(list(rows.values()))),
        torch.cat(tasks),
        phrases[torch.cat(single)][:, None],
        torch.cat(keep),
    )
    counts = [len(own) for own in rows.values()]
    parts = [getattr(fields, name).split(counts) for name in Fields.__slots__]
    by_task = (Fields(*each) for each in zip(*parts, strict=True))
    return {kind: (each, batch.of(own)) for (kind, own), each in zip(rows.items(), by_task, strict=True)}


def semantic(fields: Fields, batch: TrainingBatch, weights: Tensor) -> Tensor:
    """Minus the logarithm of the share that the allowed answers get, padding phrases excluded.

    Where one answer is allowed, as on every pixel of a rendered scene, that is the cross-entropy. Each picture counts
    the same, but one of which less than LEAST_KNOWN is known the less.
    """
    logits = fields.logits().float()
    missing = F.pad(~batch.semantic_keep, (1, 0), value=False)
    logits = logits.masked_fill(missing[:, :, None, None], _NEVER)
    index = torch.arange(logits.shape[1], dtype=torch.int32, device=logits.device)[None, :, None, None]
    is_allowed = (batch.answers[:, None] >> index) & 1
    share = torch.logsumexp(logits.masked_fill(is_allowed == 0, _NEVER), 1) - torch.logsumexp(logits, 1)
    weight = weights[batch.class_map.long()] * batch.trust * (batch.answers != 0)
    total = weight.sum((1, 2))
    each = -(share * weight).sum((1, 2)) / total.clamp(min=LEAST_KNOWN * weight[0].numel())
    return each.sum() / (total > 0).sum().clamp(min=1)


def known(batch: TrainingBatch, kind: str) -> Tensor:
    """(N, h, w) bool: pixels of pictures whose answer of this kind is known; `kind` of TAUGHT."""
    return batch.inside & batch.taught[:, TAUGHT.index(kind), None, None]


def region(fields: Fields, target: Tensor, trust: Tensor) -> Tensor:
    """Binary cross-entropy and dice of one phrase against the background.

    Args:
        fields: What was drawn.
        target: (N, h, w) bool.
        trust: (N, h, w) how much a pixel counts, 0 where it is not known.
    """
    logits = fields.logits().float()
    odds = logits[:, 1] - logits[:, 0]
    wanted = target.float()
    share = wanted.mean((1, 2), keepdim=True)
    weight = trust * (1 + wanted * (0.02 / share.clamp(min=1e-3)).clamp(max=4.0))
    entropy = F.binary_cross_entropy_with_logits(odds, wanted, reduction="none") * weight
    drawn, trusted = odds.sigmoid() * trust, (wanted * trust).sum((1, 2))
    overlap = 2 * (drawn * wanted).sum((1, 2)) + 1
    dice = 1 - overlap / (drawn.sum((1, 2)) + trusted + 1)
    present = trusted / wanted.sum((1, 2)).clamp(min=1)
    return 3 * entropy.sum() / trust.sum().clamp(min=1) + (dice * present).sum() / present.sum().clamp(min=1)


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
    """L1 of log depth and of its steps between neighbours; cross-entropy of "infinitely far".

    Where the focal length is not known, what the network takes it for stands in, and learns from the depth, too.
    """
    near = torch.isfinite(batch.log_depth)
    is_told = torch.isfinite(batch.log_focal)
    focal = torch.where(is_told, batch.log_focal.nan_to_num(), fields.lens[:, 0])
    drawn = fields.log_depth + focal[:, None, None]
    error = torch.where(near, drawn - batch.log_depth.nan_to_num(), 0.0)
    count = near.sum().clamp(min=1)
    across = (error[:, :, 1:] - error[:, :, :-1]).abs() * (near[:, :, 1:] & near[:, :, :-1])
    down = (error[:, 1:] - error[:, :-1]).abs() * (near[:, 1:] & near[:, :-1])
    level = error.abs().sum() / count + 0.5 * (across.sum() + down.sum()) / count
    inside = known(batch, "depth").float()
    far = F.binary_cross_entropy_with_logits(fields.sky, (~near).float(), reduction="none")
    return level, (far * inside).sum() / inside.sum().clamp(min=1)


def lens(fields: Fields, batch: TrainingBatch) -> Tensor:
    """Minus the log likelihood of the focal lengths that are known, under a Laplace distribution about the estimate."""
    is_told = torch.isfinite(batch.log_focal)
    mean, log_spread = fields.lens.unbind(1)
    gap = (mean - batch.log_focal.nan_to_num()).abs()
    each = torch.where(is_told, gap * torch.exp(-log_spread) + log_spread, 0.0)
    return each.sum() / is_told.sum().clamp(min=1)


def normals(fields: Fields, batch: TrainingBatch) -> Tensor:
    """One minus cosine, plus L1 of the unit vectors, which keeps pulling when the angle is small."""
    on = (batch.normals.square().sum(1) > 0.25).float()
    drawn = F.normalize(fields.normals, dim=1, eps=1e-3)
    true = F.normalize(batch.normals, dim=1, eps=1e-3)
    gap = 1 - (drawn * true).sum(1) + 0.5 * (drawn - true).abs().sum(1)
    return (gap * on).sum() / on.sum().clamp(min=1)
