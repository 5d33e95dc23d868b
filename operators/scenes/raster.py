"""Which triangle each sample of the picture shows: a z-buffer in software.

Both rasterisers write the index of the nearest triangle. Surface properties are not interpolated here:
shading meets the triangle's plane with the sample's ray, so positions are exact at any perspective.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plantain.operators.compiled import compiled

NEAR_M = 0.15
"""Nothing nearer to the camera is drawn, metres."""


@compiled(fastmath=True, error_model="numpy")
def rasterise(
    points: NDArray[np.float32],
    eye: NDArray[np.float64],
    view: NDArray[np.float64],
    focal: float,
    inverse_depth: NDArray[np.float32],
    index: NDArray[np.int32],
) -> None:
    """Draw triangles through a pinhole.

    Args:
        points: (T, 3, 3) world coordinates.
        eye: (3,) camera position.
        view: (3, 3) rows are the camera's right, down and forward.
        focal: Focal length in samples.
        inverse_depth: (H, W) 1 / metres, updated; start from zeros.
        index: (H, W) triangle index, updated; start from -1.
    """
    height, width = inverse_depth.shape
    cx, cy = width * 0.5, height * 0.5
    camera = np.empty((3, 3), np.float64)
    poly = np.empty((5, 3), np.float64)
    screen = np.empty((5, 3), np.float64)
    for t in range(points.shape[0]):
        num_near = 0
        for k in range(3):
            x = points[t, k, 0] - eye[0]
            y = points[t, k, 1] - eye[1]
            z = points[t, k, 2] - eye[2]
            for r in range(3):
                camera[k, r] = view[r, 0] * x + view[r, 1] * y + view[r, 2] * z
            if camera[k, 2] < NEAR_M:
                num_near += 1
        if num_near == 3:
            continue
        count = 0
        if num_near == 0:
            for k in range(3):
                for r in range(3):
                    poly[k, r] = camera[k, r]
            count = 3
        else:
            for k in range(3):
                n = (k + 1) % 3
                inside = camera[k, 2] >= NEAR_M
                if inside:
                    for r in range(3):
                        poly[count, r] = camera[k, r]
                    count += 1
                if inside != (camera[n, 2] >= NEAR_M):
                    s = (NEAR_M - camera[k, 2]) / (camera[n, 2] - camera[k, 2])
                    for r in range(3):
                        poly[count, r] = camera[k, r] + s * (camera[n, r] - camera[k, r])
                    count += 1
        for k in range(count):
            inverse = 1.0 / poly[k, 2]
            screen[k, 0] = cx + focal * poly[k, 0] * inverse
            screen[k, 1] = cy + focal * poly[k, 1] * inverse
            screen[k, 2] = inverse
        for k in range(1, count - 1):
            _fill(screen, 0, k, k + 1, t, inverse_depth, index)


@compiled(fastmath=True, error_model="numpy")
def may_show(
    points: NDArray[np.float32],
    eye: NDArray[np.float64],
    view: NDArray[np.float64],
    slope_x: float,
    slope_y: float,
) -> NDArray[np.bool_]:
    """Which triangles a camera may see: those not wholly outside one side of its field of view.

    Args:
        points: (T, 3, 3) world coordinates.
        eye: (3,) camera position.
        view: (3, 3) rows are the camera's right, down and forward.
        slope_x: Largest |right| / forward in the picture.
        slope_y: Largest |down| / forward in the picture.
    """
    shows = np.empty(len(points), np.bool_)
    for t in range(len(points)):
        behind, left, right, above, below = 0, 0, 0, 0, 0
        for k in range(3):
            x, y, z = points[t, k, 0] - eye[0], points[t, k, 1] - eye[1], points[t, k, 2] - eye[2]
            across = view[0, 0] * x + view[0, 1] * y + view[0, 2] * z
            down = view[1, 0] * x + view[1, 1] * y + view[1, 2] * z
            ahead = view[2, 0] * x + view[2, 1] * y + view[2, 2] * z
            behind += ahead < NEAR_M
            left += across < -slope_x * ahead
            right += across > slope_x * ahead
            above += down < -slope_y * ahead
            below += down > slope_y * ahead
        shows[t] = not (behind == 3 or left == 3 or right == 3 or above == 3 or below == 3)
    return shows


@compiled(fastmath=True, error_model="numpy")
def rasterise_from_light(
    points: NDArray[np.float32],
    centre: NDArray[np.float64],
    axes: NDArray[np.float64],
    texel_m: float,
    height_map: NDArray[np.float32],
) -> None:
    """Draw the distance towards a far light, as seen from it.

    Args:
        points: (T, 3, 3) world coordinates.
        centre: (3,) what lies in the middle of the map.
        axes: (3, 3) rows are the map's right, down and the direction TO the light.
        texel_m: Size of a texel, metres.
        height_map: (S, S) metres along the third axis, the largest of each texel, updated; start from -1e9.
    """
    size = height_map.shape[0]
    half = size * 0.5
    s = np.empty((3, 3), np.float64)
    for t in range(points.shape[0]):
        for k in range(3):
            x = points[t, k, 0] - centre[0]
            y = points[t, k, 1] - centre[1]
            z = points[t, k, 2] - centre[2]
            s[k, 0] = half + (axes[0, 0] * x + axes[0, 1] * y + axes[0, 2] * z) / texel_m
            s[k, 1] = half + (axes[1, 0] * x + axes[1, 1] * y + axes[1, 2] * z) / texel_m
            s[k, 2] = axes[2, 0] * x + axes[2, 1] * y + axes[2, 2] * z
        _fill_height(s, height_map)


@compiled(fastmath=True, error_model="numpy", inline="always")
def _fill(
    s: NDArray[np.float64],
    i: int,
    j: int,
    k: int,
    t: int,
    inverse_depth: NDArray[np.float32],
    index: NDArray[np.int32],
) -> None:
    """Fill one triangle on the screen; the third column of `s` is 1 / depth, linear on the screen."""
    height, width = inverse_depth.shape
    x0, y0, x1, y1, x2, y2 = s[i, 0], s[i, 1], s[j, 0], s[j, 1], s[k, 0], s[k, 1]
    left = max(0, int(np.floor(min(x0, x1, x2) - 0.5)) + 1) if min(x0, x1, x2) > 0.5 else 0
    top = max(0, int(np.floor(min(y0, y1, y2) - 0.5)) + 1) if min(y0, y1, y2) > 0.5 else 0
    right = min(width - 1, int(np.floor(max(x0, x1, x2) - 0.5))) if max(x0, x1, x2) < width else width - 1
    bottom = min(height - 1, int(np.floor(max(y0, y1, y2) - 0.5))) if max(y0, y1, y2) < height else height - 1
    if max(x0, x1, x2) < 0.5 or max(y0, y1, y2) < 0.5 or left > right or top > bottom:
        return
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    if area == 0.0:
        return
    flip = 1.0 / area
    ax, ay = (y1 - y2) * flip, (x2 - x1) * flip
    bx, by = (y2 - y0) * flip, (x0 - x2) * flip
    for row in range(top, bottom + 1):
        py = row + 0.5
        px = left + 0.5
        a = ax * (px - x2) + ay * (py - y2)
        b = bx * (px - x2) + by * (py - y2)
        for column in range(left, right + 1):
            c = 1.0 - a - b
            if a >= 0.0 and b >= 0.0 and c >= 0.0:
                w = a * s[i, 2] + b * s[j, 2] + c * s[k, 2]
                if w > inverse_depth[row, column]:
                    inverse_depth[row, column] = w
                    index[row, column] = t
            a += ax
            b += bx


@compiled(fastmath=True, error_model="numpy", inline="always")
def _fill_height(s: NDArray[np.float64], height_map: NDArray[np.float32]) -> None:
    """Fill one triangle of the light's map, keeping the largest third coordinate."""
    size = height_map.shape[0]
    x0, y0, x1, y1, x2, y2 = s[0, 0], s[0, 1], s[1, 0], s[1, 1], s[2, 0], s[2, 1]
    if max(x0, x1, x2) < 0.0 or max(y0, y1, y2) < 0.0 or min(x0, x1, x2) > size or min(y0, y1, y2) > size:
        return
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    if area == 0.0:
        return
    left, right = int(max(0.0, min(x0, x1, x2) - 0.5)), int(min(size - 1.0, max(x0, x1, x2)))
    top, bottom = int(max(0.0, min(y0, y1, y2) - 0.5)), int(min(size - 1.0, max(y0, y1, y2)))
    flip = 1.0 / area
    ax, ay = (y1 - y2) * flip, (x2 - x1) * flip
    bx, by = (y2 - y0) * flip, (x0 - x2) * flip
    for row in range(top, bottom + 1):
        a = ax * (left + 0.5 - x2) + ay * (row + 0.5 - y2)
        b = bx * (left + 0.5 - x2) + by * (row + 0.5 - y2)
        for column in range(left, right + 1):
            c = 1.0 - a - b
            if a >= 0.0 and b >= 0.0 and c >= 0.0:
                h = a * s[0, 2] + b * s[1, 2] + c * s[2, 2]
                height_map[row, column] = max(height_map[row, column], h)
            a += ax
            b += bx
