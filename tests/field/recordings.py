"""Recordings by the hundred: containers, codecs and shapes by a seed, whole and as they come out of the field."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import av

from tests.assets import clips

SIZE = (64, 48)

CODECS = {
    "libx264": ("mp4", "mkv", "ts", "mov", "avi", "flv"),
    "mpeg4": ("mp4", "mkv", "avi", "ts", "mov"),
    "mpeg2video": ("ts", "mpg", "mkv", "mp4"),
    "libvpx": ("webm", "mkv"),
    "libvpx-vp9": ("webm", "mp4", "mkv"),
    "libx265": ("mp4", "mkv", "ts"),
    "mjpeg": ("avi", "mkv", "mov", "mp4"),
    "ffv1": ("mkv", "avi"),
    "h263p": ("avi",),
    "prores_ks": ("mov", "mkv"),
}
PIX_FMTS = {"mjpeg": "yuvj420p", "prores_ks": "yuv422p10le"}
HAS_B_FRAMES = {"libx264", "mpeg4", "mpeg2video", "libx265"}
# Containers that still play when their bytes are put one behind the other.
JOINABLE = {"ts", "mpg"}
SHAPES = (
    "plain",
    "vfr",
    "joined",
    "joined thrice",
    "cut off",
    "cut front",
    "hole",
    "interlaced",
    "two streams",
)


@dataclass(frozen=True)
class Recipe:
    """How a recording was made, for whoever has to make it again."""

    seed: int
    codec: str
    container: str
    shape: str
    gop: int
    b_frames: int
    frames: int
    is_open: bool


def recipe_of(seed: int) -> Recipe:
    """A recipe by its number."""
    chance = random.Random(seed)
    shape = SHAPES[seed % len(SHAPES)]
    codec = chance.choice(sorted(CODECS))
    containers = CODECS[codec]
    if shape.startswith("joined") or shape == "cut front":
        codec = chance.choice(["libx264", "mpeg4", "mpeg2video", "libx265"])
        containers = tuple(sorted(JOINABLE & {*CODECS[codec]}))
    if shape == "interlaced":
        codec, containers = chance.choice(
            [("mpeg2video", ("ts", "mpg", "mkv")), ("libx264", ("mp4", "ts", "mkv"))]
        )
    return Recipe(
        seed, codec, chance.choice(containers), shape, chance.choice([1, 5, 12, 250]),
        chance.choice([0, 1, 2, 3]) if codec in HAS_B_FRAMES else 0, chance.randint(3, 40), chance.random() < 0.5,
    )  # fmt: skip


def record(recipe: Recipe, folder: Path) -> Path:
    """Makes it."""
    chance = random.Random(-recipe.seed)
    path = folder / f"r{recipe.seed}.{recipe.container}"
    options = _options(recipe)
    pts = None
    has_rates = recipe.codec in ("mpeg2video", "h263p") or recipe.container in ("avi", "mpg", "flv")
    if recipe.shape == "vfr" and not has_rates:
        times = [0]
        while len(times) < recipe.frames:
            times.append(times[-1] + chance.choice([20, 33, 40, 40, 120, 900]))
        pts = times

    def one(path: Path, frames: int) -> Path:
        return clips.make(
            path, frames, size=SIZE, codec=recipe.codec, pix_fmt=PIX_FMTS.get(recipe.codec, "yuv420p"),
            gop=recipe.gop, b_frames=recipe.b_frames, pts=pts, codec_options=options,
            num_streams=2 if recipe.shape == "two streams" and recipe.container in ("mp4", "mkv", "mov", "ts") else 1,
        )  # fmt: skip

    match recipe.shape:
        case "joined" | "joined thrice":
            parts = []
            for number in range(3 if recipe.shape == "joined thrice" else 2):
                part = one(folder / f"part{number}.{recipe.container}", chance.randint(2, recipe.frames + 2))
                parts.append(part.read_bytes())
            path.write_bytes(b"".join(parts))
        case "cut off":
            whole = one(folder / f"whole.{recipe.container}", recipe.frames + 20)
            clips.cut_off(whole, path, chance.uniform(0.5, 0.99))
        case "cut front":
            whole = one(folder / f"whole.{recipe.container}", recipe.frames + 20)
            clips.cut_front(whole, path, chance.uniform(0.05, 0.5))
        case "hole":
            whole = one(folder / f"whole.{recipe.container}", recipe.frames + 20)
            clips.hole(whole, path, chance.uniform(0.2, 0.8), chance.choice([20, 200, 2000]))
        case _:
            one(path, recipe.frames)
    return path


def _options(recipe: Recipe) -> dict[str, str]:
    options: dict[str, str] = {}
    if recipe.shape == "interlaced":
        options["flags"] = "+ildct+ilme"
        if recipe.codec == "libx264":
            options["x264-params"] = "tff=1"
    if recipe.codec in ("libx264", "libx265"):
        options |= {"preset": "ultrafast"}
        params = [options.get("x264-params", ""), "open-gop=1" if recipe.is_open else "", "log-level=none"]
        name = "x264-params" if recipe.codec == "libx264" else "x265-params"
        params = params if recipe.codec == "libx265" else params[:2]
        options[name] = ":".join(filter(None, params))
        if not options[name]:
            del options[name]
    if recipe.codec.startswith("libvpx"):
        options |= {"deadline": "realtime", "cpu-used": "8"}
    if recipe.is_open and recipe.codec == "mpeg2video":
        options["flags"] = options.get("flags", "")
        options = {name: value for name, value in options.items() if value}
    return options


def can(codec: str) -> bool:
    """Whether this build of FFmpeg encodes so."""
    try:
        av.codec.Codec(codec, "w")
    except ValueError:
        return False
    return True
