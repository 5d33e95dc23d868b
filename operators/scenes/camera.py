"""Where the camera is, and what its lens and sensor do to the light."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from plantain.operators.compiled import compiled
from plantain.operators.scenes.textures import cell_hash

MAST_M = 5.5, 15.0
"""Heights at which cameras of traffic hang, metres."""

_AIM_M = 12.0, 70.0
"""How far away such a camera's middle meets the ground, metres."""

_EYE_M = 2.5
"""A camera below this is a walker's, a car's or a room's."""


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole.

    Attributes:
        at: (x, y, height) metres.
        yaw, pitch, roll: Radians; pitch is positive upwards.
        fov_deg: Horizontal field of view.
        speed_mps: Forward along `course` (a dashcam's car).
        course: Heading of the motion, radians.
    """

    at: tuple[float, float, float]
    yaw: float
    pitch: float
    roll: float
    fov_deg: float
    speed_mps: float = 0.0
    course: float = 0.0

    def eye(self, time_s: float) -> NDArray[np.float64]:
        """(3,) position at a time, metres."""
        way = self.speed_mps * time_s
        return np.array(
            [self.at[0] + way * math.cos(self.course), self.at[1] + way * math.sin(self.course), self.at[2]]
        )

    def view(self) -> NDArray[np.float64]:
        """(3, 3) rows: right, down, forward in world coordinates."""
        cy, sy, cp, sp = math.cos(self.yaw), math.sin(self.yaw), math.cos(self.pitch), math.sin(self.pitch)
        forward = np.array([cy * cp, sy * cp, sp])
        right = np.array([sy, -cy, 0.0])
        down = np.cross(forward, right)
        cr, sr = math.cos(self.roll), math.sin(self.roll)
        return np.stack([cr * right + sr * down, cr * down - sr * right, forward])

    def focal(self, width: int) -> float:
        """Focal length in pixels of a picture of that width."""
        return 0.5 * width / math.tan(math.radians(self.fov_deg) / 2)

    def zoomed(self, times: float) -> Camera:
        """The same camera through a lens so many times longer."""
        half = math.tan(math.radians(self.fov_deg) / 2) / times
        return replace(self, fov_deg=2 * math.degrees(math.atan(half)))

    def raised(self, rng: np.random.Generator) -> Camera:
        """A standing camera outdoors where those of traffic hang, looking down; others stay as they are."""
        if self.speed_mps or self.at[2] <= _EYE_M:
            return self
        height = float(rng.uniform(*MAST_M))
        pitch = -math.atan2(height, float(rng.uniform(*_AIM_M)))
        return replace(self, at=(*self.at[:2], height), pitch=pitch)


@dataclass(frozen=True, slots=True)
class Sensor:
    """What happens to light on its way to a picture.

    Attributes:
        exposure: Target mean of the picture before the tone curve, about 0.18.
        balance: White balance error, one gain per channel.
        contrast, saturation: 1 is neutral.
        noise: Standard deviation of read noise in the picture's units (1 = white).
        blur_px: Radius of defocus, pixels.
        streak_px: (x, y) motion blur, pixels.
        vignette: Darkening in the corners, 0..1.
        bloom: Share of bright light that spills.
        jpeg: Quality of compression, 0 for none.
        rain: Strength of falling rain.
        seed: Of the noise.
    """

    exposure: float
    balance: tuple[float, float, float]
    contrast: float
    saturation: float
    noise: float
    blur_px: float
    streak_px: tuple[float, float]
    vignette: float
    bloom: float
    jpeg: int
    rain: float
    seed: int

    @classmethod
    def random(cls, rng: np.random.Generator, *, is_dark: bool, rain: float, moves: bool) -> Sensor:
        """A random camera; worse in the dark."""
        soft = rng.uniform() < 0.3
        streak = rng.normal(0, 1.5, 2) if (rng.uniform() < (0.25 if moves else 0.1)) else np.zeros(2)
        return cls(
            exposure=float(rng.uniform(0.07, 0.17) if is_dark else rng.uniform(0.13, 0.3)),
            balance=(float(rng.normal(1, 0.05)), 1.0, float(rng.normal(1, 0.06))),
            contrast=float(rng.uniform(0.8, 1.25)),
            saturation=float(rng.uniform(0.55, 1.25)),
            noise=float(rng.uniform(0.0, 0.012) + (rng.uniform(0.005, 0.04) if is_dark else 0.0)),
            blur_px=float(rng.uniform(0.6, 1.4)) if soft else float(rng.uniform(0.0, 0.5)),
            streak_px=(float(streak[0]), float(streak[1] * 0.4)),
            vignette=float(rng.uniform(0, 0.35)),
            bloom=float(rng.uniform(0.0, 0.12)),
            jpeg=int(rng.integers(25, 92)) if rng.uniform() < 0.6 else 0,
            rain=rain,
            seed=int(rng.integers(1 << 30)),
        )

    def picture(self, radiance: NDArray[np.float32], time_s: float) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 sRGB of (H, W, 3) linear light."""
        mean = float(np.exp(np.log(radiance[::4, ::4].mean(-1) + 2e-3).mean()))
        gain = self.exposure / (mean + 1e-3)
        light = radiance
        if self.bloom > 0.02:
            light = _with_bloom(light, self.bloom)
        if max(abs(self.streak_px[0]), abs(self.streak_px[1])) > 0.7:
            light = _streaked(light, *self.streak_px)
        if self.blur_px > 0.2:
            light = _blurred(light, self.blur_px)
        out = np.empty(light.shape, np.uint8)
        frame = self.seed + round(time_s * 1000.0) * 7919
        _develop(
            light,
            gain * np.asarray(self.balance),
            self.contrast,
            self.saturation,
            self.noise,
            self.vignette,
            self.rain,
            frame & 0x3FFFFFFF,
            out,
        )
        if self.jpeg:
            stream = io.BytesIO()
            Image.fromarray(out).save(stream, "JPEG", quality=self.jpeg)
            with Image.open(stream) as picture:
                out = np.asarray(picture.convert("RGB")).copy()
        return out


@compiled(fastmath=True, error_model="numpy")
def _develop(
    light: NDArray[np.float32],
    gain: NDArray[np.float64],
    contrast: float,
    saturation: float,
    noise: float,
    vignette: float,
    rain: float,
    seed: int,
    out: NDArray[np.uint8],
) -> None:
    """Vignetting, tone curve, rain, noise and rounding; fills `out`."""
    height, width, _ = light.shape
    tone = np.empty(3, np.float64)
    for y in range(height):
        for x in range(width):
            dx, dy = (x + 0.5) / width - 0.5, (y + 0.5) / height - 0.5
            fall = 1.0 - vignette * 2.0 * (dx * dx + dy * dy)
            for c in range(3):
                e = max(0.0, light[y, x, c] * gain[c] * fall)
                # a filmic shoulder that keeps 0.18 in place
                e = e * (1.0 + e * 0.08) / (1.0 + 0.55 * e)
                s = max(0.0, e) ** 0.4545
                s = 0.45 + (s - 0.45) * contrast
                tone[c] = s
            grey = 0.3 * tone[0] + 0.59 * tone[1] + 0.11 * tone[2]
            wet = 0.0
            if rain > 0.0:
                lane = int(x * 1.0 + y * 0.15)
                start = cell_hash(lane, seed & 1023, 5)
                if cell_hash(lane, int(y / 14.0 + start * 7), seed & 4095) < 0.05 * rain:
                    wet = 0.09
            for c in range(3):
                s = grey + (tone[c] - grey) * saturation + wet
                if noise > 0.0:
                    h = cell_hash(x * 3 + c, y, seed) + cell_hash(x * 3 + c, y, seed + 1)
                    h += cell_hash(x * 3 + c, y, seed + 2) - 1.5
                    s += 2.0 * h * noise
                out[y, x, c] = np.uint8(min(255.0, max(0.0, s * 255.0 + 0.5)))


@compiled(fastmath=True, error_model="numpy")
def _blurred(light: NDArray[np.float32], radius: float) -> NDArray[np.float32]:
    """A 3-tap binomial-like blur in both directions; `radius` about its standard deviation, pixels."""
    height, width, _ = light.shape
    side = min(0.33, 0.5 * radius * radius / (1.0 + radius * radius))
    middle = 1.0 - 2.0 * side
    across = np.empty_like(light)
    for y in range(height):
        for x in range(width):
            left, right = max(0, x - 1), min(width - 1, x + 1)
            for c in range(3):
                across[y, x, c] = middle * light[y, x, c] + side * (light[y, left, c] + light[y, right, c])
    out = np.empty_like(light)
    for y in range(height):
        up, down = max(0, y - 1), min(height - 1, y + 1)
        for x in range(width):
            for c in range(3):
                out[y, x, c] = middle * across[y, x, c] + side * (across[up, x, c] + across[down, x, c])
    return out


@compiled(fastmath=True, error_model="numpy")
def _streaked(light: NDArray[np.float32], dx: float, dy: float) -> NDArray[np.float32]:
    """The mean of five pictures shifted along (dx, dy), centred, so that labels stay in place."""
    height, width, _ = light.shape
    out = np.zeros_like(light)
    for y in range(height):
        for x in range(width):
            for k in range(5):
                s = (k - 2) * 0.25
                column = min(width - 1, max(0, math.floor(x + dx * s + 0.5)))
                row = min(height - 1, max(0, math.floor(y + dy * s + 0.5)))
                for c in range(3):
                    out[y, x, c] += 0.2 * light[row, column, c]
    return out


def _with_bloom(light: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """Adds a wide blur of the brightest light, computed at an eighth of the size."""
    height, width, _ = light.shape
    rows, columns = height // 8, width // 8
    if rows < 3 or columns < 3:
        return light
    small = light[: rows * 8, : columns * 8].reshape(rows, 8, columns, 8, 3).mean((1, 3))
    bright = np.clip(small - 2.0 * small.mean(), 0, 50 * small.mean() + 1e-3).astype(np.float32)
    wide = _blurred(_blurred(_blurred(bright, 2.0), 2.0), 2.0)
    return _with_spill(light, wide, share)


@compiled(fastmath=True, error_model="numpy")
def _with_spill(light: NDArray[np.float32], wide: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """`light` plus a share of `wide`, which is smaller by 8 and is interpolated."""
    height, width, _ = light.shape
    rows, columns, _ = wide.shape
    out = np.empty_like(light)
    for y in range(height):
        fy = min(rows - 1.001, max(0.0, (y + 0.5) / 8.0 - 0.5))
        y0 = int(fy)
        fy -= y0
        for x in range(width):
            fx = min(columns - 1.001, max(0.0, (x + 0.5) / 8.0 - 0.5))
            x0 = int(fx)
            fx -= x0
            for c in range(3):
                top = wide[y0, x0, c] * (1.0 - fx) + wide[y0, x0 + 1, c] * fx
                bottom = wide[y0 + 1, x0, c] * (1.0 - fx) + wide[y0 + 1, x0 + 1, c] * fx
                out[y, x, c] = light[y, x, c] + share * (top * (1.0 - fy) + bottom * fy)
    return out
