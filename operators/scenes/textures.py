"""Procedural textures from hashed value noise; a pattern fades where a pixel covers more than its detail."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from plantain.operators.compiled import compiled

Colour = tuple[float, float, float, float, float]
"""Linear red, green, blue reflectance, how much the surface mirrors, how much light it gives off."""


@compiled(fastmath=True, error_model="numpy", inline="always")
def cell_hash(x: int, y: int, seed: int) -> float:
    """A number in [0, 1) for an integer cell."""
    h = (x * 374761393 + y * 668265263 + seed * 974634777) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    h = ((h ^ (h >> 15)) * 2246822519) & 0xFFFFFFFF
    return float(((h ^ (h >> 16)) & 0xFFFFFF) / 16777216.0)


@compiled(fastmath=True, error_model="numpy")
def noise(x: float, y: float, seed: int) -> float:
    """Smooth value noise in [-1, 1] with cells of size 1."""
    fx, fy = math.floor(x), math.floor(y)
    ix, iy = int(fx), int(fy)
    u, v = x - fx, y - fy
    u, v = u * u * (3.0 - 2.0 * u), v * v * (3.0 - 2.0 * v)
    a, b = cell_hash(ix, iy, seed), cell_hash(ix + 1, iy, seed)
    c, d = cell_hash(ix, iy + 1, seed), cell_hash(ix + 1, iy + 1, seed)
    top, bottom = a + (b - a) * u, c + (d - c) * u
    return 2.0 * (top + (bottom - top) * v) - 1.0


@compiled(fastmath=True, error_model="numpy", inline="always")
def fade(footprint: float, detail: float) -> float:
    """1 where a pixel is much smaller than the detail, 0 where it is larger."""
    return min(1.0, max(0.0, 1.6 - 1.6 * footprint / detail))


@compiled(fastmath=True, error_model="numpy", inline="always")
def step(edge: float, value: float, width: float) -> float:
    """Share of a pixel of the given width that lies beyond the edge."""
    return min(1.0, max(0.0, (value - edge) / (width + 1e-6) + 0.5))


@compiled(fastmath=True, error_model="numpy")
def mottle(u: float, v: float, seed: int, size: float, footprint: float) -> float:
    """Three octaves of noise in about [-1, 1] whose largest patches have the given size."""
    total = 0.5 * noise(u / size, v / size, seed)
    size *= 0.31
    f = fade(footprint, size)
    if f > 0.0:
        total += 0.35 * f * noise(u / size, v / size, seed + 7)
        size *= 0.29
        f = fade(footprint, size)
        if f > 0.0:
            total += 0.3 * f * noise(u / size, v / size, seed + 13)
    return total


@compiled(fastmath=True, error_model="numpy")
def surface_colour(m: NDArray[np.float32], u: float, v: float, is_level: bool, footprint: float) -> Colour:
    """What a point of a material looks like.

    Args:
        m: One row of the materials' table.
        u: Metres along the surface (level: object x).
        v: Metres upwards (level: object y).
        is_level: Whether the surface is about horizontal.
        footprint: Metres of surface that one pixel covers.
    """
    kind = int(m[0])
    r, g, b = float(m[1]), float(m[2]), float(m[3])
    scale, gloss, emission, seed, rough = float(m[7]), float(m[8]), float(m[12]), int(m[13]), float(m[15])
    if kind == 5 or kind == 6 or kind == 9:
        return r, g, b, gloss, emission
    if kind == 4 and not is_level:
        return _facade(m, u, v, footprint)
    if kind == 12 and not is_level:
        return _shop(m, u, v, footprint)
    if kind == 1:
        w = mottle(u, v, seed, 6.0, footprint)
        grain = fade(footprint, 0.03) * (cell_hash(int(u * 70 + 4096), int(v * 70 + 4096), seed) - 0.5)
        mix = min(1.0, max(0.0, 0.5 + 0.6 * w))
        shade = 1.0 + rough * (0.5 * w + grain)
        # repaired patches and tar seams
        px, py = math.floor(u / (scale * 7.0)), math.floor(v / (scale * 9.0))
        if cell_hash(int(px), int(py), seed + 3) < 0.2:
            shade *= 0.72 + 0.4 * cell_hash(int(px), int(py), seed + 4)
        crack = abs(noise(u * 0.35, v * 0.35, seed + 9))
        shade *= 1.0 - 0.45 * rough * (1.0 - step(0.012, crack, footprint * 0.5 + 0.006)) * fade(
            footprint, 0.25
        )
        return _mix(m, mix, shade, gloss, emission)
    if kind == 2:
        row = math.floor(v / scale)
        shift = 0.5 * (int(row) & 1) * float(m[9])
        cu = u / (scale * float(m[10])) + shift
        fu, fv = cu - math.floor(cu), v / scale - row
        tone = cell_hash(math.floor(cu), int(row), seed)
        line = 0.016 / scale
        w = footprint / scale
        joint = min(step(line, min(fu, 1 - fu) * float(m[10]), w), step(line, min(fv, 1 - fv), w))
        joint = joint * fade(footprint, scale * 0.7) + 0.93 * (1 - fade(footprint, scale * 0.7))
        near = fade(footprint, scale)
        shade = (1.0 + rough * ((tone - 0.5) * near + mottle(u, v, seed + 1, 2.5, footprint))) * (
            0.55 + 0.45 * joint
        )
        return _mix(m, tone * near + 0.5 * (1 - near), shade, gloss, emission)
    if kind == 3:
        w = mottle(u, v, seed, 4.0, footprint)
        blade = fade(footprint, 0.1) * noise(u * 14.0, v * 14.0, seed + 5)
        patch = noise(u * 0.07, v * 0.07, seed + 6)
        return _mix(
            m,
            min(1.0, max(0.0, 0.5 + 0.7 * patch + 0.5 * w)),
            1.0 + rough * (1.2 * w + 0.8 * blade),
            0.0,
            0.0,
        )
    if kind == 7:
        w = (
            noise(u * 1.3, v * 1.3, seed) * 0.5
            + fade(footprint, 0.25) * noise(u * 9.0, v * 9.0, seed + 2) * 0.6
        )
        return _mix(m, min(1.0, max(0.0, 0.5 + w)), 1.0 + 0.5 * w, 0.0, 0.0)
    if kind == 8:
        w = fade(footprint, 0.1) * noise(u * 22.0, v * 3.0, seed)
        return _mix(m, 0.5 + 0.5 * w, 1.0 + rough * w, 0.0, 0.0)
    if kind == 10:
        pattern = int(m[9])
        w = mottle(u, v, seed, 0.5, footprint)
        mix = 0.0
        near = fade(footprint, scale)
        if pattern == 1:
            mix = float(math.floor(v / scale) & 1) * near + 0.5 * (1 - near)
        elif pattern == 2:
            mix = 0.5 * float((math.floor(v / scale) & 1) + (math.floor(u / scale) & 1)) * near + 0.5 * (
                1 - near
            )
        elif pattern == 3:
            mix = 1.0 if noise(u / scale, v / scale, seed) > 0.35 else 0.0
        return _mix(m, mix, 1.0 + rough * w, gloss, emission)
    if kind == 11:
        row = math.floor(v / scale)
        fv = v / scale - row
        f = fade(footprint, scale)
        tone = cell_hash(math.floor(u / scale + 0.5 * (int(row) & 1)), int(row), seed)
        shade = (
            1.0 + rough * mottle(u, v, seed, 3.0, footprint) + f * (0.25 * fv - 0.12 + 0.25 * (tone - 0.5))
        )
        return _mix(m, tone * f + 0.5 * (1 - f), shade, gloss, emission)
    if kind == 13:
        f = fade(footprint, scale * 0.6)
        ink = (
            1.0
            if (
                noise(u / scale * 2.2, math.floor(v / scale) * 9.1, seed) > 0.05
                and cell_hash(math.floor(u / scale * 3), math.floor(v / scale), seed) > 0.35
            )
            else 0.0
        )
        return _mix(m, ink * f + 0.35 * (1 - f), 1.0, gloss, emission)
    if kind == 14:
        row = math.floor(v / scale)
        cu = u / scale + 0.5 * (int(row) & 1)
        fu, fv = cu - math.floor(cu) - 0.5, v / scale - row - 0.5
        f = fade(footprint, scale)
        dome = 1.0 - 1.7 * (fu * fu + fv * fv)
        tone = cell_hash(math.floor(cu), int(row), seed)
        return _mix(
            m,
            tone * f + 0.5 * (1 - f),
            (dome * f + 0.8 * (1 - f)) * (1 + rough * mottle(u, v, seed, 4.0, footprint)),
            gloss,
            emission,
        )
    shade = 1.0 + rough * mottle(u, v, seed, scale, footprint)
    return _mix(m, 0.0, shade, gloss, emission)


@compiled(fastmath=True, error_model="numpy", inline="always")
def _mix(m: NDArray[np.float32], mix: float, shade: float, gloss: float, emission: float) -> Colour:
    """Between the material's two colours, times a shade."""
    shade = max(0.05, shade)
    return (
        (m[1] + (m[4] - m[1]) * mix) * shade,
        (m[2] + (m[5] - m[2]) * mix) * shade,
        (m[3] + (m[6] - m[3]) * mix) * shade,
        gloss,
        emission,
    )


@compiled(fastmath=True, error_model="numpy")
def _wall(m: NDArray[np.float32], u: float, v: float, footprint: float) -> Colour:
    """Plaster, bricks, panels or boards; the kind is the integer part of the roughness column."""
    kind, rough, seed = int(m[15]), float(m[15]) - int(m[15]), int(m[13])
    w = mottle(u, v, seed, 3.0, footprint)
    streak = 0.5 * noise(u * 2.3, v * 0.15, seed + 2)
    shade = 1.0 + rough * (0.7 * w + 0.5 * streak)
    if kind == 1:
        tall = 0.085
        row = math.floor(v / tall)
        cu = u / 0.25 + 0.5 * (int(row) & 1)
        fu, fv = cu - math.floor(cu), v / tall - row
        f = fade(footprint, 0.09)
        tone = cell_hash(math.floor(cu), int(row), seed)
        mortar = 1.0 if (fu < 0.05 or fv < 0.14) else 0.0
        shade *= 1.0 + f * (0.5 * (tone - 0.5) + 0.45 * mortar)
    elif kind == 2:
        cu, cv = u / 1.5, v / 1.0
        f = fade(footprint, 0.15)
        edge = min(
            min(cu - math.floor(cu), 1 - cu + math.floor(cu)) * 1.5,
            cv - math.floor(cv),
            1 - cv + math.floor(cv),
        )
        tone = cell_hash(math.floor(cu), math.floor(cv), seed)
        shade *= (1.0 + 0.12 * (tone - 0.5)) * (1.0 - 0.4 * f * (1.0 - step(0.02, edge, footprint)))
    elif kind == 3:
        cv = v / 0.18
        shade *= 1.0 - 0.3 * fade(footprint, 0.15) * (1.0 - (cv - math.floor(cv)))
    return m[1] * shade, m[2] * shade, m[3] * shade, 0.0, 0.0


@compiled(fastmath=True, error_model="numpy")
def _facade(m: NDArray[np.float32], u: float, v: float, footprint: float) -> Colour:
    """A wall with a grid of windows; p: cell width, the window's share of cell width and storey."""
    storey, cell, share_u, share_v = float(m[7]), float(m[9]), float(m[10]), float(m[11])
    seed = int(m[13])
    r, g, b, gloss, emission = _wall(m, u, v, footprint)
    cu, cv = u / cell, (v - float(m[14])) / storey
    iu, iv = math.floor(cu), math.floor(cv)
    if cv < 0.0:
        return r, g, b, gloss, emission
    fu, fv = (cu - iu - 0.5) * cell, (cv - iv - 0.52) * storey
    half_u, half_v = 0.5 * share_u * cell, 0.5 * share_v * storey
    du, dv = abs(fu) - half_u, abs(fv) - half_v
    inside = 1.0 - step(0.0, max(du, dv), footprint)
    trim = 0.11
    if inside < 1.0:
        border = (1.0 - step(trim, max(du, dv), footprint)) * (1.0 - inside) * 0.9
        r, g, b = r + (m[4] - r) * border, g + (m[5] - g) * border, b + (m[6] - b) * border
    if inside > 0.0:
        tone = cell_hash(iu, iv, seed + 11)
        pane = 0.02 + 0.05 * tone
        pr, pg, pb, shine, glow = pane * 0.9, pane, pane * 1.1, 0.85, 0.0
        if tone > 0.45:
            # blinds or curtains behind the glass
            drop = half_v * (1.0 - 2.2 * cell_hash(iu, iv, seed + 12))
            if fv > drop or abs(fu) > half_u * (1.3 - 0.8 * tone):
                light = 0.25 + 0.5 * cell_hash(iu, iv, seed + 13)
                pr, pg, pb, shine = light, light * 0.95, light * 0.85, 0.4
        if m[12] > 0.0 and cell_hash(iu, iv, seed + 14) < m[12]:
            warm = cell_hash(iu, iv, seed + 15)
            glow = 0.15 + 0.5 * warm
            pr, pg, pb = 1.0, 0.78 + 0.15 * warm, 0.45 + 0.4 * warm
        frame = 0.05
        split = abs(fu) if cell_hash(iu * 0, 0, seed + 16) < 0.6 else abs(fv - 0.2 * half_v)
        bars = max(1.0 - step(frame * 0.6, split, footprint), step(-frame, max(du, dv), footprint)) * fade(
            footprint, 0.35
        )
        pr, pg, pb = pr + (m[4] - pr) * bars, pg + (m[5] - pg) * bars, pb + (m[6] - pb) * bars
        # the reveal throws a shadow on the pane's top
        dim = 1.0 - 0.5 * step(half_v - 0.18, fv, footprint) * (1.0 - bars)
        shine *= (1.0 - bars) * dim
        r, g, b = r + (pr * dim - r) * inside, g + (pg * dim - g) * inside, b + (pb * dim - b) * inside
        gloss, emission = shine * inside, glow * inside * (1.0 - bars)
    elif dv > 0.0 and fv < 0.0 and du < 0.1 and dv < 0.5:
        stain = 0.12 * (1.0 - dv * 2.0) * cell_hash(iu, iv, seed + 17)
        r, g, b = r * (1 - stain), g * (1 - stain), b * (1 - stain)
    return r, g, b, gloss, emission


@compiled(fastmath=True, error_model="numpy")
def _shop(m: NDArray[np.float32], u: float, v: float, footprint: float) -> Colour:
    """A ground floor of shop windows, doors and pillars. p = cell width, sill, top."""
    cell, sill, top, seed = float(m[9]), float(m[10]), float(m[11]), int(m[13])
    cu = u / cell
    iu = math.floor(cu)
    fu = (cu - iu - 0.5) * cell
    pick = cell_hash(iu, 3, seed)
    r, g, b, _, _ = _wall(m, u, v, footprint)
    if pick < 0.12:
        return r, g, b, 0.0, 0.0
    low = 0.05 if pick < 0.35 else sill
    half = cell * (0.2 if pick < 0.35 else 0.43)
    inside = (
        (1.0 - step(half, abs(fu), footprint)) * step(low, v, footprint) * (1.0 - step(top, v, footprint))
    )
    if inside <= 0.0:
        return r, g, b, 0.0, 0.0
    if 0.35 <= pick < 0.5:
        # a shutter
        groove = v / 0.12
        shade = 0.3 + 0.15 * fade(footprint, 0.1) * (groove - math.floor(groove))
        return (
            r + (m[4] * shade * 2 - r) * inside,
            g + (m[5] * shade * 2 - g) * inside,
            b + (m[6] * shade * 2 - b) * inside,
            0.05,
            0.0,
        )
    goods = 0.06 + 0.16 * max(0.0, noise(u * 1.7, v * 2.1, seed + 5)) * fade(footprint, 0.6)
    hue = cell_hash(math.floor(u * 1.3), math.floor(v * 1.1), seed + 6)
    pr, pg, pb = goods * (0.7 + 0.6 * hue), goods, goods * (1.3 - 0.6 * hue)
    bars = max(step(half - 0.07, abs(fu), footprint), 1.0 - step(0.04, abs(fu), footprint)) * fade(
        footprint, 0.5
    )
    glow = float(m[12]) * (0.3 + 0.7 * pick) * (1 - bars)
    if glow > 0.0:
        pr, pg, pb = 0.9 * (0.7 + hue * 0.3), 0.85, 0.6 + 0.3 * (1 - hue)
    pr, pg, pb = pr + (m[4] - pr) * bars, pg + (m[5] - pg) * bars, pb + (m[6] - pb) * bars
    return (
        r + (pr - r) * inside,
        g + (pg - g) * inside,
        b + (pb - b) * inside,
        0.7 * inside * (1 - bars),
        glow * inside,
    )
