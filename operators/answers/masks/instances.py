"""Objects of one class, each in a solid colour of the generator's own choice (Vision Banana, appendix A).

Five stages: background, colour grouping, noise pruning, halo removal, merge of parts that something hides.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plantain.operators import colours
from plantain.operators.answers import pixels
from plantain.operators.answers.masks.semantic import draw
from plantain.operators.answers.masks.value import Masks
from plantain.operators.compiled import compiled
from plantain.operators.errors import CodecError, PromptError
from plantain.operators.prompts import Prompt
from plantain.operators.types import Value

# All four values: appendix A of the paper.
TAU = 14
"""Distance in RGB levels up to which two colours are the same one."""
MIN_AREA = 2e-4
"""Smallest component, as a share of the drawing."""
MIN_CORE = 0.1
"""Smallest share of a component that a 3 x 3 erosion leaves."""
GAMMA = 5.0
"""How many times the sum of two parts' bounding boxes the box around both may be."""

BACKGROUND, OPEN, DROPPED = 0, -1, -2
"""Labels of pixels in no component: not asked for, not yet looked at, in a component that was too small."""


class InstancesCodec:
    """Solid colours to objects and back.

    What the paper leaves open is read so: "16-connectivity" is the 8 neighbours and the 8 knight's moves;
    seeds are taken in raster order; pixels beyond the border belong to no component; areas of the last stage
    are those of bounding boxes; parts are merged in raster order until no two can be.
    """

    def decode(self, rgb: NDArray[np.uint8], prompt: Prompt) -> Masks:
        """The objects of a drawing (H, W, 3) uint8 on `prompt.background`.

        Returns:
            Regions in the raster order of their first pixels, all named as the prompt's class. A region's
            score is one minus its pixels' mean distance to its mean colour as a share of `TAU`, at least 0:
            how solid it is drawn. `off_palette` is the share of pixels that are neither background nor in a
            region.

        Raises:
            CodecError: If `rgb` has another shape or dtype.
        """
        flat = pixels.flat(rgb)
        height, width = rgb.shape[:2]
        red, green, blue = prompt.background
        components = np.empty(height * width, np.int32)
        count = _group(flat, width, red, green, blue, MIN_AREA * height * width, components)
        sums, boxes, cores = _measure(flat, width, components, count)
        region_of = _regions(sums, boxes, cores / np.maximum(1, sums[:, 3]) >= MIN_CORE)
        total = np.zeros((region_of.max() + 1, 4))
        np.add.at(total, region_of, sums)
        areas = np.maximum(1, total[:, 3])
        mean = (total[:, :3] / areas[:, None]).astype(np.float32)
        labels, distances = np.empty(height * width, np.uint16), np.zeros(len(total))
        left_over = _label(flat, components, region_of, mean, labels, distances)
        scores = 1.0 - distances[1:] / areas[1:] / TAU
        return Masks(
            labels.reshape(height, width),
            (prompt.classes[0] if prompt.classes else prompt.text,) * len(scores),
            np.clip(scores, 0.0, 1.0).astype(np.float32),
            left_over / max(1, labels.size),
        )

    def encode(self, value: Value, prompt: Prompt) -> NDArray[np.uint8]:
        """The drawing (H, W, 3) uint8 that gives every region a colour of its own, far from the others.

        Regions too small or too thin for the decoder's thresholds are drawn all the same.

        Raises:
            CodecError: If `value` is no Masks, or has more regions than colours far apart exist (215).
        """
        masks = pixels.expect(value, Masks, "instances")
        try:
            palette = colours.spread(len(masks.names), (prompt.background,))
        except PromptError as error:
            raise CodecError(f"{len(masks.names)} objects cannot be drawn: {error}") from error
        return draw(masks, palette, prompt)


@compiled()
def _group(
    rgb: NDArray[np.uint8],
    width: int,
    red: int,
    green: int,
    blue: int,
    min_area: float,
    label: NDArray[np.int32],
) -> int:
    """Stages 1 to 3: fills `label` (N,) of the pixels (N, 3) with components 1..n in raster order; returns n.

    A component is all that is connected to its seed through pixels of the seed's colour, in whatever order it
    is walked: here by spans (row, first, last), the longest runs of such pixels in a row.
    """
    count = len(rgb) // 3
    tau_sq = TAU * TAU
    for i in range(count):
        dr, dg, db = rgb[3 * i] - red, rgb[3 * i + 1] - green, rgb[3 * i + 2] - blue
        label[i] = BACKGROUND if dr * dr + dg * dg + db * db < tau_sq else OPEN
    height = count // max(1, width)
    # Spans of one component in one row have a gap between them. Memory that is never written costs nothing.
    spans = np.empty((height * ((width + 1) // 2), 3), np.int32)
    components = 0
    for i in range(count):
        if label[i] != OPEN:
            continue
        components += 1
        seed = (np.int64(rgb[3 * i]), np.int64(rgb[3 * i + 1]), np.int64(rgb[3 * i + 2]))
        row = i // width
        first = last = i - row * width
        end = _spread(rgb, label, width, seed, components, row, first, last, spans, 0)
        area = 0
        done = 0
        while done < end:
            row, first, last = int(spans[done, 0]), int(spans[done, 1]), int(spans[done, 2])
            done += 1
            area += last - first + 1
            for step in (-1, 1):
                near = row + step
                if 0 <= near < height:
                    end = _spread(rgb, label, width, seed, components, near, first - 2, last + 2, spans, end)
                far = near + step
                if 0 <= far < height:
                    if first == last:  # the pixel straight above or below is no knight's move away
                        end = _spread(
                            rgb, label, width, seed, components, far, first - 1, first - 1, spans, end
                        )
                        end = _spread(
                            rgb, label, width, seed, components, far, last + 1, last + 1, spans, end
                        )
                    else:
                        end = _spread(
                            rgb, label, width, seed, components, far, first - 1, last + 1, spans, end
                        )
        if area < min_area:
            components -= 1
            for k in range(end):
                start = spans[k, 0] * width
                for x in range(spans[k, 1], spans[k, 2] + 1):
                    label[start + x] = DROPPED
    return components


@compiled()
def _is_seed(
    rgb: NDArray[np.uint8], label: NDArray[np.int32], seed: tuple[np.int64, np.int64, np.int64], i: int
) -> bool:
    """Whether pixel i is in no component yet, and of the seed's colour."""
    if label[i] != OPEN:
        return False
    dr, dg, db = rgb[3 * i] - seed[0], rgb[3 * i + 1] - seed[1], rgb[3 * i + 2] - seed[2]
    return bool(dr * dr + dg * dg + db * db <= TAU * TAU)


@compiled()
def _spread(
    rgb: NDArray[np.uint8],
    label: NDArray[np.int32],
    width: int,
    seed: tuple[np.int64, np.int64, np.int64],
    component: int,
    row: int,
    first: int,
    last: int,
    spans: NDArray[np.int32],
    end: int,
) -> int:
    """Labels all spans of `row` that touch columns first..last, and appends them; returns the new end."""
    start = row * width
    x = max(0, first)
    last = min(width - 1, last)
    left = x
    while x <= last:
        if not _is_seed(rgb, label, seed, start + x):
            x += 1
            continue
        if x == left:
            while left > 0 and _is_seed(rgb, label, seed, start + left - 1):
                left -= 1
                label[start + left] = component
        else:
            left = x
        while x < width and _is_seed(rgb, label, seed, start + x):
            label[start + x] = component
            x += 1
        spans[end, 0], spans[end, 1], spans[end, 2] = row, left, x - 1
        end += 1
        left = -1
        x += 1
    return end


def _measure(
    rgb: NDArray[np.uint8], width: int, label: NDArray[np.int32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """What the last two stages ask of each component 0..count (0 is no component).

    Returns:
        Sums (count + 1, 4) of red, green, blue and pixels; bounding boxes (count + 1, 4) `left, top, right,
        bottom` with the last row and column included; and pixels (count + 1,) that a 3 x 3 erosion leaves.
    """
    sums, cores = np.zeros((count + 1, 4), np.int64), np.zeros(count + 1, np.int64)
    boxes = np.full((count + 1, 4), -1)
    boxes[:, :2] = len(label)
    _add_up(rgb, width, label, sums, boxes, cores)
    return sums, boxes, cores


@compiled()
def _add_up(
    rgb: NDArray[np.uint8],
    width: int,
    label: NDArray[np.int32],
    sums: NDArray[np.int64],
    boxes: NDArray[np.int64],
    cores: NDArray[np.int64],
) -> None:
    """Fills what `_measure` returns."""
    height = len(label) // max(1, width)
    for y in range(height):
        start = y * width
        x = 0
        while x < width:
            component = label[start + x]
            if component <= 0:
                x += 1
                continue
            first = x
            red = green = blue = core = 0
            is_inner_row = 0 < y < height - 1
            while x < width and label[start + x] == component:
                i = start + x
                red += rgb[3 * i]
                green += rgb[3 * i + 1]
                blue += rgb[3 * i + 2]
                if is_inner_row and 0 < x < width - 1:
                    core += (
                        (label[i - width - 1] == component)
                        & (label[i - width] == component)
                        & (label[i - width + 1] == component)
                        & (label[i - 1] == component)
                        & (label[i + 1] == component)
                        & (label[i + width - 1] == component)
                        & (label[i + width] == component)
                        & (label[i + width + 1] == component)
                    )
                x += 1
            sums[component, 0] += red
            sums[component, 1] += green
            sums[component, 2] += blue
            sums[component, 3] += x - first
            cores[component] += core
            boxes[component, 0] = min(boxes[component, 0], first)
            boxes[component, 1] = min(boxes[component, 1], y)
            boxes[component, 2] = max(boxes[component, 2], x - 1)
            boxes[component, 3] = y


def _regions(
    sums: NDArray[np.int64], boxes: NDArray[np.int64], is_kept: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Stage 5: the region (count + 1,) of each component, 1..m in raster order, 0 for those not kept."""
    region_of = np.zeros(len(sums), np.int64)
    _merge(sums.astype(np.float64), boxes.copy(), is_kept, np.arange(len(sums)), region_of)
    return region_of


@compiled()
def _merge(
    total: NDArray[np.float64],
    box: NDArray[np.int64],
    is_kept: NDArray[np.bool_],
    into: NDArray[np.int64],
    region_of: NDArray[np.int64],
) -> None:
    """Fills `region_of`, all zeros before; the others, of which `into` names each part itself, are changed."""
    count = len(into)
    has_changed = True
    while has_changed:
        has_changed = False
        for a in range(1, count):
            if not is_kept[a] or into[a] != a:
                continue
            for b in range(a + 1, count):
                if is_kept[b] and into[b] == b and _is_one(total, box, a, b):
                    into[b] = a
                    for k in range(4):
                        total[a, k] += total[b, k]
                    for k in range(2):
                        box[a, k] = min(box[a, k], box[b, k])
                        box[a, k + 2] = max(box[a, k + 2], box[b, k + 2])
                    has_changed = True
    regions = 0
    for a in range(1, count):
        if not is_kept[a]:
            continue
        root = into[a]
        if root == a:
            regions += 1
            region_of[a] = regions
            continue
        while into[root] != root:
            root = into[root]
        region_of[a] = region_of[root]


@compiled()
def _is_one(total: NDArray[np.float64], box: NDArray[np.int64], a: int, b: int) -> bool:
    """Whether two parts have the same mean colour and lie close enough to be one object."""
    distance_sq = 0.0
    for channel in range(3):
        step = total[a, channel] / total[a, 3] - total[b, channel] / total[b, 3]
        distance_sq += step * step
    if distance_sq > TAU * TAU:
        return False
    wide = max(box[a, 2], box[b, 2]) - min(box[a, 0], box[b, 0]) + 1
    high = max(box[a, 3], box[b, 3]) - min(box[a, 1], box[b, 1]) + 1
    return bool(wide * high <= GAMMA * (_area(box, a) + _area(box, b)))


@compiled(inline="always")
def _area(box: NDArray[np.int64], k: int) -> int:
    area: int = (box[k, 2] - box[k, 0] + 1) * (box[k, 3] - box[k, 1] + 1)
    return area


@compiled()
def _label(
    rgb: NDArray[np.uint8],
    component: NDArray[np.int32],
    region_of: NDArray[np.int64],
    mean: NDArray[np.float32],
    label: NDArray[np.uint16],
    distances: NDArray[np.float64],
) -> int:
    """Fills `label` (N,), adds to each region's `distances` (m + 1,) to its mean (m + 1, 3); returns what is left."""
    left_over = 0
    for i in range(len(label)):
        region = region_of[component[i]] if component[i] > 0 else 0
        label[i] = region
        if region:
            dr, dg, db = (
                rgb[3 * i] - mean[region, 0],
                rgb[3 * i + 1] - mean[region, 1],
                rgb[3 * i + 2] - mean[region, 2],
            )
            distances[region] += np.sqrt(dr * dr + dg * dg + db * db)
        elif component[i] != BACKGROUND:
            left_over += 1
    return left_over
