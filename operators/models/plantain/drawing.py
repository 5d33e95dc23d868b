"""Fields to drawings: every task's answer in exactly the colours that its prompt gives.

Fields come at half resolution and are doubled before they are compared or coloured, so that borders are
placed to the pixel; colours are only ever looked up, never blended.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the field's name for it)

from plantain.operators import colours
from plantain.operators.answers.depth import codec as depth_codec
from plantain.operators.answers.normals.codec import NO_DIRECTION
from plantain.operators.models.plantain.fields import OFFSET_UNIT_PX, Fields
from plantain.operators.models.plantain.joining import joined
from plantain.operators.prompts import DepthCurve, Prompt

NUM_COLOURS = 56
"""Colours for instances; 56 beside a background keep 72 levels apart, the decoder needs 56 levels (4 tau)."""

MAX_OBJECTS = 56
"""Objects of one class in one picture; further ones join the nearest."""

CENTRE_LOGIT = -2.2
"""Logit of the heat (0.10) that makes a local maximum an object's centre. This and the next two were chosen on
60 training scenes with the weights of run 6: training_log.md."""

MIN_CELLS = 22
"""Half-resolution cells of an object that is drawn."""

MIN_SCORE = 0.82
"""Mean likelihood of an object's cells from which it is drawn."""

REGION_LOGIT = 3.0
"""A referred region is drawn only if some cell's logit over the background's reaches this (same scenes)."""

_CELL_PX = 48
"""An object keeps its colour while its centre stays in one cell of this size, unless two share a cell."""

LOG_NEAR, LOG_FAR, LOG_STEPS = math.log(0.2), math.log(1000.0), 8192
"""Range and number of steps of the table from log depths to colours."""


def doubled(x: Tensor) -> Tensor:
    """(C, h, w) at twice the size, between pixels linear."""
    return F.interpolate(x[None], scale_factor=2, mode="bilinear", align_corners=False)[0]


def masks(logits: Tensor, prompt: Prompt) -> tuple[Tensor, Tensor]:
    """Each pixel in the colour of the phrase, or background, that fits it best.

    Args:
        logits: (K + 1, H/2, W/2), the background first.
        prompt: With K colours.

    Returns:
        The drawing (H, W, 3) uint8, and how likely the best is beside the second best, (H, W) uint8.
    """
    table = torch.tensor((prompt.background, *prompt.palette), dtype=torch.uint8, device=logits.device)
    two = logits.topk(2, dim=0).values
    return table[doubled(logits).argmax(0)], _likelihood(two[0] - two[1])


def _likelihood(odds: Tensor) -> Tensor:
    """255ths (H, W) uint8 that logarithmic odds (H/2, W/2) mean."""
    return (odds.sigmoid() * 255 + 0.5).to(torch.uint8).repeat_interleave(2, 0).repeat_interleave(2, 1)


def least_score(prompt: Prompt) -> float:
    """Mean likelihood of an object's cells from which it is drawn: all where the prompt says how sure it must be."""
    return 0.0 if prompt.score else MIN_SCORE


def sure(logits: Tensor) -> Tensor:
    """Logits (2, h, w) of background and a referred region, all background unless some cell is sure."""
    if bool((logits[1] - logits[0]).max() >= REGION_LOGIT):
        return logits
    return torch.stack([logits[0], logits[0] - 1])


def depth(log_depth: Tensor, sky: Tensor, prompt: Prompt) -> Tensor:
    """Log depth and logit of "infinitely far" (H/2, W/2) as a drawing (H, W, 3) uint8 in curve and map."""
    full = doubled(torch.stack([log_depth, sky]))
    table = torch.from_numpy(depth_table(prompt.curve, prompt.colormap)).to(full.device)
    step = (full[0] - LOG_NEAR) * (LOG_STEPS / (LOG_FAR - LOG_NEAR))
    index = step.round().clamp(0, LOG_STEPS - 1).long()
    return table[torch.where(full[1] > 0, LOG_STEPS, index)]


@lru_cache(maxsize=32)
def depth_table(curve: DepthCurve, colormap: str) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Colours (LOG_STEPS + 1, 3) of depths in equal steps of their logarithm; the last is infinitely far."""
    drawn = depth_codec.drawing_table(colormap)
    metres = np.exp(LOG_NEAR + np.arange(LOG_STEPS + 1) / LOG_STEPS * (LOG_FAR - LOG_NEAR))
    valid = np.arange(LOG_STEPS + 1) < LOG_STEPS
    index = depth_codec.index_of(metres[None].astype(np.float32), valid[None], curve, len(drawn))
    return np.ascontiguousarray(drawn[index[0]])


def normals(vectors: Tensor, sky: Tensor) -> Tensor:
    """Vectors (3, H/2, W/2) as a drawing (H, W, 3) uint8 in the paper's code; the sky has no direction."""
    full = doubled(torch.cat([vectors, sky[None]]))
    unit = F.normalize(full[:3], dim=0, eps=1e-6)
    sign = torch.tensor([-1.0, 1.0, 1.0], device=unit.device)[:, None, None]
    drawn = ((unit * sign + 1) * 127.5).round().to(torch.uint8)
    drawn = torch.where(
        full[3] > 0, torch.tensor(NO_DIRECTION, dtype=torch.uint8, device=unit.device)[:, None, None], drawn
    )
    return drawn.permute(1, 2, 0).contiguous()


def instances(logits: Tensor, centre: Tensor, offset: Tensor, prompt: Prompt) -> tuple[Tensor, Tensor]:
    """Each object of the asked class in a colour of its own.

    Args:
        logits: (2, H/2, W/2), background and class.
        centre: (H/2, W/2), logit.
        offset: (2, H/2, W/2), (dx, dy) in units of OFFSET_UNIT_PX.
        prompt: Names the background, and how sure an object must be.

    Returns:
        The drawing (H, W, 3) uint8, and how likely each pixel is the class's, (H, W) uint8.
    """
    odds = logits[1] - logits[0]
    inside = doubled(odds[None])[0] > 0
    owner, found = group(odds, centre, offset)
    cells = torch.zeros(len(found) + 1, device=odds.device)
    scores = cells.clone()
    cells.index_add_(0, owner.flatten(), (odds > 0).flatten().float())
    scores.index_add_(0, owner.flatten(), torch.where(odds > 0, odds.sigmoid(), 0.0).flatten())
    sure = (cells >= MIN_CELLS) & (scores >= least_score(prompt) * cells.clamp(min=1))
    chosen = (prompt.background, *palette_at(found.tolist(), prompt.background))
    table = torch.tensor(chosen, dtype=torch.uint8, device=odds.device)
    table[~sure] = table[0].clone()
    wide = owner.repeat_interleave(2, 0).repeat_interleave(2, 1)
    return table[torch.where(inside, wide, 0)], _likelihood(odds)


def group(odds: Tensor, centre: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
    """Which object each half-resolution pixel belongs to.

    Returns:
        (H/2, W/2) int64, 1..n for pixels near the class's region (a pixel beyond its border too, because the
        doubled region may reach there), and the centres (n, 2) in full-resolution pixels (x, y), strongest
        first.
    """
    peaks = F.max_pool2d(centre[None, None], 5, 1, 2)[0, 0]
    near = F.max_pool2d(odds[None, None], 3, 1, 1)[0, 0] > 0
    is_peak = (centre == peaks) & (centre > CENTRE_LOGIT) & near
    owner = torch.zeros(odds.shape, dtype=torch.int64, device=odds.device)
    rows, columns = near.nonzero(as_tuple=True)
    ys, xs = is_peak.nonzero(as_tuple=True)
    if len(rows) == 0:
        return owner, torch.zeros(0, 2)
    if len(ys) == 0:  # a region without a centre is one object
        owner[rows, columns] = 1
        return owner, torch.stack([columns.float().mean(), rows.float().mean()])[None].cpu() * 2
    order = centre[ys, xs].argsort(descending=True, stable=True)[:MAX_OBJECTS]
    centres = torch.stack([xs[order], ys[order]], 1).float() * 2
    aim = torch.stack([columns, rows], 1).float() * 2 + offset[:, rows, columns].T * OFFSET_UNIT_PX
    gap = aim.square().sum(1, keepdim=True) - 2 * aim @ centres.T + centres.square().sum(1)
    object_of, strongest = joined(odds.cpu().numpy(), centre.cpu().numpy(), centres.cpu().numpy())
    owner[rows, columns] = torch.from_numpy(object_of).to(owner.device)[gap.argmin(1)] + 1
    return owner, torch.from_numpy(strongest)


def maps_of(
    fields: Fields, logits: Tensor | None, row: int, word: str
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """What `Sight.decode` gives for a question, from the fields of a batch: (H/2, W/2, C) float32.

    Args:
        fields: Of a batch.
        logits: (K + 1, H/2, W/2) of the question's phrases.
        row: Of the question.
        word: Its task: "refer", "instances" or "depth".
    """
    if word == "depth":
        planes = torch.stack([fields.log_depth[row], fields.sky[row]])
    else:
        assert logits is not None
        planes = logits
        if word == "instances":
            planes = torch.cat([logits[1:2] - logits[:1], fields.centre[row, None], fields.offset[row]])
    return np.ascontiguousarray(planes.float().permute(1, 2, 0).cpu().numpy())


def palette_at(centres: Sequence[Sequence[float]], background: colours.RGB) -> tuple[colours.RGB, ...]:
    """A colour for each centre (x, y) in full-resolution pixels.

    It is told by the place, so that it stays from frame to frame. The strongest objects choose first; one
    whose cell's colour is taken gets the next free one.
    """
    all_colours = colours.spread(NUM_COLOURS, (background,))
    taken: set[int] = set()
    chosen = []
    for x, y in centres:
        # 31 and 17 are coprime to 56, so that neighbouring cells start far apart in the palette.
        wanted = (int(x / _CELL_PX) * 31 + int(y / _CELL_PX) * 17) % NUM_COLOURS
        while wanted in taken:
            wanted = (wanted + 1) % NUM_COLOURS
        taken.add(wanted)
        chosen.append(all_colours[wanted])
    return tuple(chosen)


def filling(picture: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """A picture (h, w, 3) uint8 at another size (H, W), what hangs over cut off evenly."""
    height, width = picture.shape[:2]
    scale = max(size_hw[0] / height, size_hw[1] / width)
    wanted = max(size_hw[0], round(height * scale)), max(size_hw[1], round(width * scale))
    if wanted != (height, width):
        planes = picture.permute(2, 0, 1)[None].float()
        planes = F.interpolate(planes, size=wanted, mode="bilinear", align_corners=False, antialias=True)
        picture = planes[0].round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0)
    top, left = (wanted[0] - size_hw[0]) // 2, (wanted[1] - size_hw[1]) // 2
    return picture[top : top + size_hw[0], left : left + size_hw[1]]
