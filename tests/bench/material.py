"""What the benchmarks share: a 1080p clip, a backend with a known cost, and the printed line."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np

from plantain.operators.prompts import Prompt

CANVAS_HW = (256, 256)
# Longer clips repeat the packets of one of this length: encoding 3,000 frames would take minutes.
LOOP_FRAMES = 300
PROMPT = "semantic:shade,mid,light,bright"


def report(
    figure: str, value: float, target: float | None = None, *, at_most: bool = True, **more: Any
) -> None:
    """Prints one figure."""
    line: dict[str, Any] = {"figure": figure, "value": round(value, 4)}
    if target is not None:
        line |= {"target": target, "reached": value <= target if at_most else value >= target}
    sys.stdout.write(json.dumps(line | more) + "\n")
    sys.stdout.flush()


def make_clip(
    path: Path,
    num_frames: int,
    size_hw: tuple[int, int] = (1080, 1920),
    *,
    b_frames: int = 2,
    bit_rate: int = 6_000_000,
) -> Path:
    """A moving, textured H.264 clip of about so many bits a second, a keyframe every two seconds; made once."""
    if path.exists():
        return path
    if num_frames > LOOP_FRAMES:
        loop = make_clip(path.with_name(f"loop-{LOOP_FRAMES}.mp4"), LOOP_FRAMES, size_hw)
        return repeat(loop, path, num_frames // LOOP_FRAMES)
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    height, width = size_hw
    coarse = rng.integers(0, 255, (height // 24 + 20, width // 24 + 60, 3), dtype=np.uint8)
    ground = np.kron(coarse, np.ones((24, 24, 1), np.uint8))
    ground = (ground * 0.7 + rng.integers(0, 76, ground.shape)).astype(np.uint8)
    aside = path.with_suffix(".part.mp4")
    with av.open(str(aside), "w", format="mp4") as container:
        stream = container.add_stream(
            "libx264", rate=25, options={"preset": "superfast", "g": "50", "bf": str(b_frames)}
        )
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = width, height, "yuv420p", bit_rate
        for k in range(num_frames):
            y, x = (3 * k) % 240, (7 * k) % 720
            picture = np.ascontiguousarray(ground[y : y + height, x : x + width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    aside.rename(path)
    return path


def repeat(loop: Path, path: Path, turns: int) -> Path:
    """The packets of a clip again and again, as one clip, without encoding them anew."""
    aside = path.with_suffix(".part.mp4")
    with av.open(str(loop)) as source, av.open(str(aside), "w", format="mp4") as container:
        video = source.streams.video[0]
        copy = container.add_stream_from_template(video)
        packets = [packet for packet in source.demux(video) if packet.size]
        frame = packets[0].duration
        for turn in range(turns):
            for packet in packets:
                again = av.Packet(bytes(packet))
                again.pts = packet.pts + turn * len(packets) * frame
                again.dts = packet.dts + turn * len(packets) * frame
                again.duration, again.time_base = frame, packet.time_base
                again.is_keyframe, again.stream = packet.is_keyframe, copy
                container.mux(again)
    aside.rename(path)
    return path


# What a drawing costs here, besides the thresholds: one small matrix product a frame.
_WEIGHTS = np.random.default_rng(0).standard_normal((768, 192), dtype=np.float32)


def draw(images: np.ndarray, palette: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """The model of both sides of every comparison: a matrix product, then four shades of the picture."""
    patches = images.reshape(len(images), -1, 768).astype(np.float32)
    patches @ _WEIGHTS  # costs as a small network's stem does; its result is not needed
    colours = np.array(palette, np.uint8)
    return colours[images[..., 1] >> 6]


class BenchBackend:
    """A user's backend by dotted path that draws with `draw`."""

    name = "bench"
    fingerprint = "1"

    def render(self, images: np.ndarray, image_of: Sequence[int], prompts: Sequence[Prompt]) -> np.ndarray:
        """Four shades of each picture."""
        return draw(images[list(image_of)] if len(image_of) != len(images) else images, prompts[0].palette)

    def close(self) -> None:
        """Holds nothing."""
