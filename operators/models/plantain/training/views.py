"""Pictures on the canvas, as training shows them: placed, mirrored, disturbed."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from plantain.operators.decode.compression import compressed

Placement = tuple[int, int, int, int, NDArray[np.intp]]
"""Top, left, height and width of a picture on the canvas, and the source columns that it shows."""


@dataclass(frozen=True, slots=True)
class View:
    """A picture on the canvas, and where each half-resolution cell's answer is found in its maps.

    Attributes:
        image: (H, W, 3) uint8.
        inside: (H/2, W/2) bool, False on the bars.
        grid: Index of a map (h, w, ...) that gives (H/2, W/2, ...).
        is_mirrored: Left and right changed places.
    """

    image: NDArray[np.uint8]
    inside: NDArray[np.bool_]
    grid: tuple[NDArray[np.intp], ...]
    is_mirrored: bool

    def directions(self, normals: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normals (H/2, W/2, 3) as this view shows them, 0 on the bars."""
        sign = np.array([-1.0 if self.is_mirrored else 1.0, 1.0, 1.0], np.float32)
        return (normals * self.inside[..., None] * sign).astype(np.float32)


def widening(placement: Placement, source_w: int, canvas_w: int) -> float:
    """The width that the whole source would have on the canvas at the scale of its visible part, over the canvas's."""
    _, _, _, inner_w, columns = placement
    return inner_w / len(columns) * source_w / canvas_w


def view_of(
    picture: NDArray[np.uint8],
    size_hw: tuple[int, int],
    placement: Placement,
    is_mirrored: bool,
    rng: np.random.Generator | None,
) -> View:
    """The picture placed on a canvas, and disturbed if there is an `rng`."""
    height, width = size_hw
    top, left, inner_h, inner_w, columns = placement
    num_rows = picture.shape[0]
    step = -1 if is_mirrored else 1
    order = columns[::step]
    shown = Image.fromarray(picture[:, order])
    if shown.size != (inner_w, inner_h):
        shown = shown.resize((inner_w, inner_h), Image.Resampling.BOX)
    image = np.zeros((height, width, 3), np.uint8)
    image[top : top + inner_h, left : left + inner_w] = (
        np.asarray(shown) if rng is None else disturbed(np.asarray(shown), rng)
    )
    # Each half-resolution cell is taught by one of its four pixels, another one each time: on average it
    # learns the share of each class in the cell, so that doubling its logits bilinearly finds the border
    # inside it.
    dy, dx = (0, 0) if rng is None else (int(value) for value in rng.integers(0, 2, 2))
    ys = np.arange(dy, height, 2)
    xs = np.arange(dx, width, 2)
    inside = ((ys >= top) & (ys < top + inner_h))[:, None] & ((xs >= left) & (xs < left + inner_w))
    from_rows = np.clip((ys - top + 0.5) * num_rows / inner_h, 0, num_rows - 1).astype(int)
    from_columns = order[np.clip((xs - left + 0.5) * len(order) / inner_w, 0, len(order) - 1).astype(int)]
    return View(image, inside, np.ix_(from_rows, from_columns), is_mirrored)


def random_placement(source_w: int, size_hw: tuple[int, int], rng: np.random.Generator | None) -> Placement:
    """Where a picture of the canvas's shape goes: it fills the canvas, if there is an `rng` not always.

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
    kind = rng.random()
    if kind < 0.35 and not (out.shape[0] % 2 or out.shape[1] % 2):
        # A camera that sways a little: the picture is predicted from the same one some pixels aside.
        before = np.roll(out, rng.integers(-3, 4, 2).tolist(), axis=(0, 1))
        out = compressed([before, out], int(rng.integers(20, 40)))
    elif kind < 0.5:
        buffer = io.BytesIO()
        Image.fromarray(out).save(buffer, "JPEG", quality=int(rng.integers(20, 90)))
        out = np.asarray(Image.open(buffer))
    return out
