"""Recordings by the hundred: containers, codecs and shapes by a seed, whole and as they come out of the field."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import av

from tests.assets import clips

SIZE = (64, 48)

CODECS = {
    "libx264": ("mp4", "mkv", "ts", "mov", "avi", "flv", "m2ts", "3gp", "nut", "mxf", "h264"),
    "mpeg4": ("mp4", "mkv", "avi", "ts", "mov", "3gp", "nut"),
    "mpeg2video": ("ts", "mpg", "mkv", "mp4", "mxf", "m2ts"),
    "mpeg1video": ("mpg", "ts"),
    "libvpx": ("webm", "mkv", "ivf"),
    "libvpx-vp9": ("webm", "mp4", "mkv", "ivf"),
    "libx265": ("mp4", "mkv", "ts", "hevc"),
    "libsvtav1": ("mp4", "webm", "mkv", "ivf", "obu"),
    "wmv2": ("asf", "avi"),
    "h263": ("3gp",),
    "rawvideo": ("y4m", "nut", "avi"),
    "mjpeg": ("avi", "mkv", "mov", "mp4", "mjpeg"),
    "ffv1": ("mkv", "avi"),
    "h263p": ("avi",),
    "prores_ks": ("mov", "mkv"),
}
PIX_FMTS = {"mjpeg": "yuvj420p", "prores_ks": "yuv422p10le"}
SIZES = {"h263": (176, 144), "libsvtav1": (64, 64)}
# Whose times are those of a rate, or none at all.
RATED = {"avi", "mpg", "flv", "mxf", "y4m", "h264", "hevc", "obu", "mjpeg"}
HAS_B_FRAMES = {"libx264", "mpeg4", "mpeg2video", "libx265"}
# Containers that still play when their bytes are put one behind the other.
JOINABLE = {"ts", "mpg", "m2ts"}
SHAPES = (
    "plain",
    "vfr",
    "joined",
    "joined thrice",
    "joined back",
    "joined far",
    "cut off",
    "cut front",
    "hole",
    "interlaced",
    "two streams",
    "wrapped",
    "edit list",
    "rotated",
    "two programs",
)
# In time with a clock of 90 kHz, whose 33 bits are full after this many milliseconds.
WRAP_MS = 2**33 // 90
# When the parts of a recording begin whose second one is more than a minute before, or an hour after the first.
BACK_S: list[float | None] = [3600.0, 0.0]
FAR_S: list[float | None] = [0.0, 3600.0]
# Shapes that only some containers can have.
ONLY_IN = {
    "wrapped": ("ts",),
    "two programs": ("ts",),
    "edit list": ("mp4", "mov"),
    "rotated": ("mp4", "mov", "mkv"),
}


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
    if shape in ONLY_IN:
        codec = chance.choice(["libx264", "mpeg4", "libx265"])
        containers = tuple(sorted({*ONLY_IN[shape]} & {*CODECS[codec]}))
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
    is_rotated = recipe.shape == "rotated"
    has_rates = recipe.codec in ("mpeg1video", "mpeg2video", "h263", "h263p") or recipe.container in RATED
    if recipe.shape == "vfr" and not has_rates:
        times = [0]
        while len(times) < recipe.frames:
            times.append(times[-1] + chance.choice([20, 33, 40, 40, 120, 900]))
        pts = times
    elif recipe.shape == "wrapped":
        first = WRAP_MS - 40 * chance.randint(1, recipe.frames)
        pts = [first + 40 * number for number in range(recipe.frames)]
    elif recipe.shape == "edit list":
        hidden = chance.randint(1, max(1, recipe.frames // 2))
        pts = [40 * (number - hidden) for number in range(recipe.frames)]

    def one(path: Path, frames: int, **container_options: str) -> Path:
        return clips.make(
            path, frames, size=SIZES.get(recipe.codec, SIZE), codec=recipe.codec,
            pix_fmt=PIX_FMTS.get(recipe.codec, "yuv420p"), gop=recipe.gop, b_frames=recipe.b_frames,
            pts=pts, codec_options=options, container_options=container_options,
            rotation=chance.choice([90, 180, 270]) if is_rotated else None,
            num_streams=2 if recipe.shape == "two streams" and recipe.container in ("mp4", "mkv", "mov", "ts") else 1,
        )  # fmt: skip

    match recipe.shape:
        case "joined" | "joined thrice" | "joined back" | "joined far":
            parts = []
            starts_s = {"joined back": BACK_S, "joined far": FAR_S}.get(recipe.shape, [None] * 3)
            for number, start_s in enumerate(starts_s[: 2 + (recipe.shape == "joined thrice")]):
                offset = {} if start_s is None else {"output_ts_offset": str(start_s)}
                length = chance.randint(3, recipe.frames + 2)  # a jump is one only behind a step (`Line`)
                part = one(folder / f"part{number}.{recipe.container}", length, **offset)
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
        case "edit list":
            one(path, recipe.frames, use_editlist="1", avoid_negative_ts="disabled")
        case "wrapped":
            one(path, recipe.frames, avoid_negative_ts="disabled")
        case "two programs":
            first = one(folder / "one.ts", recipe.frames)
            second = one(
                folder / "two.ts", recipe.frames // 2 + 1,
                mpegts_service_id="2", mpegts_pmt_start_pid="0x1010", mpegts_start_pid="0x200",
            )  # fmt: skip
            path.write_bytes(_both_programs(first.read_bytes(), second.read_bytes()))
        case _:
            one(path, recipe.frames)
    return path


def _both_programs(first: bytes, second: bytes) -> bytes:
    """Two transport streams as the programs 1 and 2 of one, packet by packet."""
    lists = [[data[k : k + 188] for k in range(0, len(data), 188)] for data in (first, second)]
    section = bytes.fromhex("00b0110001c100000001f0000002f010")
    table = section + _crc(section).to_bytes(4, "big")
    merged = []
    for packets in zip_longest(*lists):
        for number, packet in enumerate(packets):
            if packet is None:
                continue
            is_table = int.from_bytes(packet[1:3], "big") & 0x1FFF == 0
            if not is_table:
                merged.append(packet)
            elif number == 0:
                merged.append(packet[:4] + b"\0" + table + b"\xff" * (183 - len(table)))
    return b"".join(merged)


def _crc(data: bytes) -> int:
    """As tables of transport streams have it (CRC-32/MPEG-2)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    return crc


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
    if recipe.codec == "libsvtav1":
        options |= {"preset": "12"}
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
