"""Colours and labels of every pixel from the triangles that its four samples show.

A pixel's colour is the mean over its samples; its labels are those of the surface that most samples show.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from plantain.operators.compiled import compiled
from plantain.operators.scenes.decals import marked_road
from plantain.operators.scenes.light import (
    BOUNCE,
    FAR_M,
    FOG_COLOUR,
    FOG_DENSITY,
    HORIZON,
    SHADOW_AMBIENT,
    SHADOW_SOFT,
    SHADOW_TEXEL,
    SUN,
    SUN_COLOUR,
    WET,
    ZENITH,
)
from plantain.operators.scenes.shadows import sun_share
from plantain.operators.scenes.sky import SKY_CLASS, sky_colour
from plantain.operators.scenes.textures import cell_hash, noise, surface_colour


@compiled(fastmath=True, error_model="numpy")
def _shade(
    t: int,
    sx: float,
    sy: float,
    w: float,
    focal: float,
    half_w: float,
    half_h: float,
    points: NDArray[np.float32],
    normals: NDArray[np.float32],
    material: NDArray[np.int32],
    owner: NDArray[np.int32],
    owners: NDArray[np.float32],
    owner_class: NDArray[np.uint8],
    table: NDArray[np.float32],
    decals: NDArray[np.float32],
    eye: NDArray[np.float64],
    view: NDArray[np.float64],
    light: NDArray[np.float64],
    height_map: NDArray[np.float32],
    map_centre: NDArray[np.float64],
    map_axes: NDArray[np.float64],
    lamps: NDArray[np.float32],
    out: NDArray[np.float64],
) -> int:
    """Shade triangle `t` at (sx, sy): fills `out` with colour, world normal, 1 / depth; gives the class."""
    cx, cy = (sx - half_w) / focal, (sy - half_h) / focal
    rx = view[0, 0] * cx + view[1, 0] * cy + view[2, 0]
    ry = view[0, 1] * cx + view[1, 1] * cy + view[2, 1]
    rz = view[0, 2] * cx + view[1, 2] * cy + view[2, 2]
    ax, ay, az = points[t, 0, 0], points[t, 0, 1], points[t, 0, 2]
    e1x, e1y, e1z = points[t, 1, 0] - ax, points[t, 1, 1] - ay, points[t, 1, 2] - az
    e2x, e2y, e2z = points[t, 2, 0] - ax, points[t, 2, 1] - ay, points[t, 2, 2] - az
    gx, gy, gz = e1y * e2z - e1z * e2y, e1z * e2x - e1x * e2z, e1x * e2y - e1y * e2x
    area = math.sqrt(gx * gx + gy * gy + gz * gz) + 1e-20
    gx, gy, gz = gx / area, gy / area, gz / area
    facing = gx * rx + gy * ry + gz * rz
    if facing > 0.0:
        gx, gy, gz, facing = -gx, -gy, -gz, -facing
    depth = 1.0 / w
    if facing < -1e-6:
        met = (gx * (ax - eye[0]) + gy * (ay - eye[1]) + gz * (az - eye[2])) / facing
        # A sample at a silhouette may lie outside its triangle, where a plane seen edge-on runs away.
        depth = min(depth * 1.05, max(depth * 0.95, met))
    px, py, pz = eye[0] + rx * depth, eye[1] + ry * depth, eye[2] + rz * depth
    nx, ny, nz = gx, gy, gz
    qx, qy, qz = px - ax, py - ay, pz - az
    d11, d12, d22 = (
        e1x * e1x + e1y * e1y + e1z * e1z,
        e1x * e2x + e1y * e2y + e1z * e2z,
        e2x * e2x + e2y * e2y + e2z * e2z,
    )
    dq1, dq2 = qx * e1x + qy * e1y + qz * e1z, qx * e2x + qy * e2y + qz * e2z
    det = d11 * d22 - d12 * d12 + 1e-20
    s = min(1.0, max(0.0, (d22 * dq1 - d12 * dq2) / det))
    q = min(1.0, max(0.0, (d11 * dq2 - d12 * dq1) / det))
    o = 1.0 - s - q
    nx = o * normals[t, 0, 0] + s * normals[t, 1, 0] + q * normals[t, 2, 0]
    ny = o * normals[t, 0, 1] + s * normals[t, 1, 1] + q * normals[t, 2, 1]
    nz = o * normals[t, 0, 2] + s * normals[t, 1, 2] + q * normals[t, 2, 2]
    length = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-12
    nx, ny, nz = nx / length, ny / length, nz / length
    if nx * rx + ny * ry + nz * rz > 0.0:
        # Smooth normals may lean away at a silhouette; cards are seen from both sides.
        if nx * gx + ny * gy + nz * gz < 0.0:
            nx, ny, nz = -nx, -ny, -nz
        if nx * rx + ny * ry + nz * rz > 0.0:
            nx, ny, nz = gx, gy, gz
    ray = math.sqrt(rx * rx + ry * ry + rz * rz)
    slant = max(0.02, -facing / ray)
    across = depth / focal * 2.0
    footprint = across / math.sqrt(slant)
    which = owner[t]
    lx, ly, lz = px - owners[which, 0], py - owners[which, 1], pz - owners[which, 2]
    cos, sin = owners[which, 3], owners[which, 4]
    lx, ly = lx * cos + ly * sin, ly * cos - lx * sin
    m = material[t]
    level = abs(nz) > 0.75
    if level:
        u, v = lx, ly
    else:
        mx, my = nx * cos + ny * sin, ny * cos - nx * sin
        flatlen = math.sqrt(mx * mx + my * my) + 1e-9
        u, v = (ly * mx - lx * my) / flatlen, lz
    r, g, b, gloss, emission = surface_colour(table[m], u, v, level, footprint)
    label = int(owner_class[which])
    if label == 1:
        # change of the ground position from pixel to pixel, for marking edges
        fx = abs(view[0, 0]) * across + abs(rx) / ray * across / slant
        fy = abs(view[0, 1]) * across + abs(ry) / ray * across / slant
        r, g, b, label = marked_road(decals, px, py, fx, fy, r, g, b)
    wet = light[WET]
    if wet > 0.0 and nz > 0.9 and label < 6:
        pool = 0.7 * noise(px * 0.35, py * 0.35, 77) + 0.25 * noise(px * 1.7, py * 1.7, 78)
        puddle = min(1.0, max(0.0, 0.45 + pool))
        dark = 1.0 - 0.45 * wet
        r, g, b = r * dark, g * dark, b * dark
        gloss = max(gloss, wet * (0.25 + 0.6 * puddle) * (0.25 if label == 5 else 1.0))
    turn = int(16 * cell_hash(int(sx), int(sy), 3))
    share = sun_share(
        height_map, map_centre, map_axes, light[SHADOW_TEXEL], light[SHADOW_SOFT],
        light[SHADOW_AMBIENT] > 0.5, (px, py, pz), (gx, gy, gz), turn,
    )  # fmt: skip
    to_sun = nx * light[SUN] + ny * light[SUN + 1] + nz * light[SUN + 2]
    open_sky = 0.5 + 0.5 * nz
    if light[SHADOW_AMBIENT] > 0.5:
        ambient, direct = 0.22 + 0.78 * share, 0.0
    else:
        ambient, direct = 0.55 + 0.45 * share, max(0.0, to_sun) * share
    if label == 9:
        direct = direct * 0.75 + 0.18 * share
    sky_r = (0.6 * light[ZENITH] + 0.4 * light[HORIZON]) * open_sky + light[BOUNCE] * (1 - open_sky)
    sky_g = (0.6 * light[ZENITH + 1] + 0.4 * light[HORIZON + 1]) * open_sky + light[BOUNCE + 1] * (
        1 - open_sky
    )
    sky_b = (0.6 * light[ZENITH + 2] + 0.4 * light[HORIZON + 2]) * open_sky + light[BOUNCE + 2] * (
        1 - open_sky
    )
    lr = sky_r * ambient + light[SUN_COLOUR] * direct
    lg = sky_g * ambient + light[SUN_COLOUR + 1] * direct
    lb = sky_b * ambient + light[SUN_COLOUR + 2] * direct
    for k in range(lamps.shape[0]):
        ox, oy, oz = lamps[k, 0] - px, lamps[k, 1] - py, lamps[k, 2] - pz
        dist2 = ox * ox + oy * oy + oz * oz
        reach = lamps[k, 6]
        if dist2 > reach * reach:
            continue
        dist = math.sqrt(dist2) + 1e-6
        cosine = max(0.0, (nx * ox + ny * oy + nz * oz) / dist)
        if lamps[k, 10] > 0.0:
            aim = -(lamps[k, 7] * ox + lamps[k, 8] * oy + lamps[k, 9] * oz) / dist
            cosine *= max(0.0, (aim - lamps[k, 10]) / (1.0 - lamps[k, 10])) ** 1.5
        edge = 1.0 - dist / reach
        power = cosine * edge * edge / (0.6 + dist2 * 0.06)
        lr += lamps[k, 3] * power
        lg += lamps[k, 4] * power
        lb += lamps[k, 5] * power
    cr, cg, cb = r * lr, g * lg, b * lb
    if gloss > 0.0:
        vx, vy, vz = rx / ray, ry / ray, rz / ray
        dot = -(vx * nx + vy * ny + vz * nz)
        mx, my, mz = vx + 2 * dot * nx, vy + 2 * dot * ny, vz + 2 * dot * nz
        fresnel = gloss * (0.05 + 0.95 * (1.0 - min(1.0, max(0.0, dot))) ** 4)
        if gloss > 0.6 and label != 1:
            fresnel = max(fresnel, 0.16 * gloss)
        if mz > 0.0:
            hr, hg, hb = sky_colour(light, mx, my, mz, False)
            skyline = 0.12 + 0.2 * (0.5 + 0.5 * noise(math.atan2(my, mx) * 5.0, 0.5, 9))
            block = min(1.0, max(0.0, (skyline - mz) * 12.0)) if label != 1 else 0.0
            hr, hg, hb = hr * (1 - 0.75 * block), hg * (1 - 0.75 * block), hb * (1 - 0.75 * block)
        else:
            hr, hg, hb = light[BOUNCE] * 0.5, light[BOUNCE + 1] * 0.5, light[BOUNCE + 2] * 0.5
        spark = (
            max(0.0, mx * light[SUN] + my * light[SUN + 1] + mz * light[SUN + 2]) ** 60
            * share
            * (1.0 - light[SHADOW_AMBIENT])
        )
        hr, hg, hb = (
            hr + spark * light[SUN_COLOUR] * 4,
            hg + spark * light[SUN_COLOUR + 1] * 4,
            hb + spark * light[SUN_COLOUR + 2] * 4,
        )
        cr, cg, cb = cr + (hr - cr) * fresnel, cg + (hg - cg) * fresnel, cb + (hb - cb) * fresnel
    cr, cg, cb = cr + r * emission, cg + g * emission, cb + b * emission
    haze = 1.0 - math.exp(-depth * ray * light[FOG_DENSITY])
    out[0] = cr + (light[FOG_COLOUR] - cr) * haze
    out[1] = cg + (light[FOG_COLOUR + 1] - cg) * haze
    out[2] = cb + (light[FOG_COLOUR + 2] - cb) * haze
    out[3], out[4], out[5], out[6] = nx, ny, nz, 1.0 / depth
    return label


@compiled(fastmath=True, error_model="numpy")
def shade_frame(
    inverse_depth: NDArray[np.float32],
    index: NDArray[np.int32],
    points: NDArray[np.float32],
    normals: NDArray[np.float32],
    material: NDArray[np.int32],
    owner: NDArray[np.int32],
    owners: NDArray[np.float32],
    owner_class: NDArray[np.uint8],
    owner_instance: NDArray[np.uint16],
    table: NDArray[np.float32],
    decals: NDArray[np.float32],
    eye: NDArray[np.float64],
    view: NDArray[np.float64],
    focal: float,
    light: NDArray[np.float64],
    height_map: NDArray[np.float32],
    map_centre: NDArray[np.float64],
    map_axes: NDArray[np.float64],
    lamps: NDArray[np.float32],
    radiance: NDArray[np.float32],
    depth_m: NDArray[np.float32],
    normal: NDArray[np.float32],
    class_map: NDArray[np.uint8],
    instance_map: NDArray[np.uint16],
) -> None:
    """Resolve 2 x 2 samples per pixel into colour and labels; the last five arguments are filled.

    Args: as in `World`; `inverse_depth` and `index` are (2H, 2W), `radiance` (H, W, 3) linear light.
    """
    height, width = depth_m.shape
    half_w, half_h = width * 1.0, height * 1.0
    ids = np.empty(4, np.int64)
    weight = np.empty(4, np.int64)
    sum_x = np.empty(4, np.float64)
    sum_y = np.empty(4, np.float64)
    sum_w = np.empty(4, np.float64)
    labels = np.empty(4, np.int64)
    things = np.empty(4, np.int64)
    out = np.zeros((4, 7), np.float64)
    for row in range(height):
        for column in range(width):
            count = 0
            for k in range(4):
                y, x = 2 * row + (k >> 1), 2 * column + (k & 1)
                t = index[y, x]
                found = -1
                for j in range(count):
                    if ids[j] == t:
                        found = j
                if found < 0:
                    found = count
                    ids[found], weight[found], sum_x[found], sum_y[found], sum_w[found] = t, 0, 0.0, 0.0, 0.0
                    count += 1
                weight[found] += 1
                sum_x[found] += x + 0.5
                sum_y[found] += y + 0.5
                sum_w[found] += inverse_depth[y, x]
            r, g, b = 0.0, 0.0, 0.0
            for j in range(count):
                share = 1.0 / weight[j]
                sx, sy = sum_x[j] * share, sum_y[j] * share
                t = ids[j]
                if t < 0:
                    cx, cy = (sx - half_w) / focal, (sy - half_h) / focal
                    rx = view[0, 0] * cx + view[1, 0] * cy + view[2, 0]
                    ry = view[0, 1] * cx + view[1, 1] * cy + view[2, 1]
                    rz = view[0, 2] * cx + view[1, 2] * cy + view[2, 2]
                    scale = 1.0 / math.sqrt(rx * rx + ry * ry + rz * rz)
                    sr, sg, sb = sky_colour(light, rx * scale, ry * scale, rz * scale, True)
                    haze = 1.0 - math.exp(
                        -light[FAR_M] * light[FOG_DENSITY] * max(0.0, 1.0 - 2.0 * rz * scale)
                    )
                    out[j, 0] = sr + (light[FOG_COLOUR] - sr) * haze
                    out[j, 1] = sg + (light[FOG_COLOUR + 1] - sg) * haze
                    out[j, 2] = sb + (light[FOG_COLOUR + 2] - sb) * haze
                    labels[j], things[j] = SKY_CLASS, 0
                else:
                    labels[j] = _shade(
                        t, sx, sy, sum_w[j] * share, focal, half_w, half_h, points, normals, material,
                        owner, owners, owner_class, table, decals, eye, view, light, height_map, map_centre,
                        map_axes, lamps, out[j],
                    )  # fmt: skip
                    things[j] = owner_instance[owner[t]]
                part = weight[j] * 0.25
                r += out[j, 0] * part
                g += out[j, 1] * part
                b += out[j, 2] * part
            radiance[row, column, 0] = r
            radiance[row, column, 1] = g
            radiance[row, column, 2] = b
            best, most = 0, -1.0
            for j in range(count):
                votes = 0.0
                for k in range(count):
                    if labels[k] == labels[j] and things[k] == things[j]:
                        votes += weight[k]
                if labels[j] != SKY_CLASS:
                    votes += 0.1 + 0.1 * out[j, 6] / (1.0 + out[j, 6])
                if votes > most:
                    most, best = votes, j
            class_map[row, column] = labels[best]
            instance_map[row, column] = things[best]
            if labels[best] == SKY_CLASS:
                depth_m[row, column] = np.inf
                normal[row, column, 0] = 0.0
                normal[row, column, 1] = 0.0
                normal[row, column, 2] = 0.0
                continue
            nx, ny, nz, w, total = 0.0, 0.0, 0.0, 0.0, 0.0
            for k in range(count):
                if labels[k] == labels[best] and things[k] == things[best]:
                    nx += out[k, 3] * weight[k]
                    ny += out[k, 4] * weight[k]
                    nz += out[k, 5] * weight[k]
                    w += out[k, 6] * weight[k]
                    total += weight[k]
            length = math.sqrt(nx * nx + ny * ny + nz * nz)
            if length < 0.3 * total:
                nx, ny, nz = out[best, 3], out[best, 4], out[best, 5]
                length = math.sqrt(nx * nx + ny * ny + nz * nz)
            nx, ny, nz = nx / length, ny / length, nz / length
            depth_m[row, column] = total / w
            normal[row, column, 0] = view[0, 0] * nx + view[0, 1] * ny + view[0, 2] * nz
            normal[row, column, 1] = -(view[1, 0] * nx + view[1, 1] * ny + view[1, 2] * nz)
            normal[row, column, 2] = -(view[2, 0] * nx + view[2, 1] * ny + view[2, 2] * nz)
