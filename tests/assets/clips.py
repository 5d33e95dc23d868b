"""Recipes for clips, good and broken, made with PyAV when a test asks for them.

Every picture carries its number as eight bars, black for 0 and white for 1, so that a test can tell which
picture it was given, whatever codec, size or rotation it went through.
"""

from __future__ import annotations

import os
import wave
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

DATA = Path(__file__).parents[3] / "shared" / "data"
"""Clips that are not part of the project; tests that use them skip where the folder is absent."""

BITS = 8


def numbered(number: int, width: int = 320, height: int = 180) -> NDArray[np.uint8]:
    """Picture (height, width, 3) of a number below 256: bars on top, something that moves below."""
    picture = np.zeros((height, width, 3), np.uint8)
    bar = width // BITS
    for bit in range(BITS):
        picture[: height // 2, bit * bar : (bit + 1) * bar] = 230 if number >> bit & 1 else 20
    columns = (np.arange(width) + 7 * number) % 64
    picture[height // 2 :] = np.stack([columns * 3, 255 - columns * 3, np.full(width, 90)], axis=-1)
    return picture


def number_of(picture: NDArray[np.uint8]) -> int:
    """The number that a `numbered` picture carries, at any size."""
    height, width = picture.shape[:2]
    bar = width / BITS
    centres = [int((bit + 0.5) * bar) for bit in range(BITS)]
    strip = picture[height // 8 : height // 3].astype(np.float32).mean(axis=(0, 2))
    return sum(
        int(strip[max(0, centre - 2) : centre + 3].mean() > 125) << bit for bit, centre in enumerate(centres)
    )


def make(
    path: Path,
    num_frames: int = 50,
    *,
    size: tuple[int, int] = (320, 180),
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    gop: int = 12,
    b_frames: int = 2,
    rate: int = 25,
    pts: Sequence[int] | None = None,
    rotation: int | None = None,
    codec_options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    metadata: dict[str, str] | None = None,
    num_streams: int = 1,
) -> Path:
    """A clip of numbered pictures.

    `pts` are milliseconds, `size` is (width, height), halved for each further stream.
    """
    with _scheduled_as_before(), av.open(str(path), "w", options=container_options or {}) as container:
        container.metadata.update(metadata or {})
        streams = []
        for index in range(num_streams):
            stream = container.add_stream(codec, rate=rate, options=codec_options or {})
            stream.width, stream.height = (side >> index for side in size)
            stream.pix_fmt = pix_fmt
            stream.codec_context.gop_size = gop
            stream.codec_context.max_b_frames = b_frames
            stream.codec_context.time_base = Fraction(1, 1000) if pts is not None else Fraction(1, rate)
            if rotation is not None:
                stream.set_display_rotation(rotation)
            streams.append(stream)
        for number in range(num_frames):
            for stream in streams:
                frame = av.VideoFrame.from_ndarray(
                    numbered(number, stream.width, stream.height), format="rgb24"
                )
                frame = frame.reformat(format=pix_fmt, dst_colorspace=5, src_color_range=2, dst_color_range=1)
                frame.pts = number if pts is None else pts[number]
                frame.time_base = stream.codec_context.time_base
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    return path


@contextmanager
def _scheduled_as_before() -> Iterator[None]:
    """SVT-AV1 has the thread that calls it go before all others (SCHED_FIFO, 99) where root may say so, for ever."""
    policy, param = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, param)


def cut_off(source: Path, path: Path, share: float) -> Path:
    """The first part of a file."""
    data = source.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def cut_front(source: Path, path: Path, share: float) -> Path:
    """The last part of a transport stream, from the beginning of one of its packets of 188 bytes."""
    data = source.read_bytes()
    path.write_bytes(data[int(len(data) * share) // 188 * 188 :])
    return path


def hole(source: Path, path: Path, at: float, size: int) -> Path:
    """A file with zeros in it."""
    data = bytearray(source.read_bytes())
    start = int(len(data) * at)
    data[start : start + size] = bytes(size)
    path.write_bytes(data)
    return path


def torn(source: Path, path: Path, picture: int, size: int) -> Path:
    """A file with zeros from the middle of one picture, in the order of the file, over those after it.

    However an encoder divides its bytes, that picture is damaged and not lost.
    """
    with av.open(str(source)) as container:
        packets = sorted(packet.pos + packet.size // 2 for packet in container.demux(video=0) if packet.size)
    return hole(source, path, (packets[picture] + 0.5) / source.stat().st_size, size)


def sound(path: Path) -> Path:
    """A file with nothing but sound in it."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16000))
    return path


def packet_by_packet(path: Path, stream: int | None = None, *, overflow: bool = True) -> list[int | None]:
    """The pts that PyAV gives when packets are decoded one by one with errors caught.

    Without `overflow` times of transport and program streams are those in the file, also where they are full.
    Of H.264 with B-frames in AVI, and in MXF as FFmpeg writes it, packets say only in which order they are decoded:
    then these times, in that order. AV1 is decoded by one thread, and anew after two errors: libdav1d may show
    nothing any more after one, and with several threads forgets what they are at.
    """
    times: list[int | None] = []
    sent: list[int | None] = []
    with av.open(str(path), options={"correct_ts_overflow": str(int(overflow))}) as container:
        video = container.streams.best("video") if stream is None else container.streams[stream]
        video.thread_type = "NONE"
        context = video.codec_context
        is_old = container.format.name in ("avi", "mxf")
        is_stuck = context.name in ("av1", "libdav1d")
        context.thread_count = 1 if is_stuck else context.thread_count
        has_failed = False
        has_order = not (is_old and context.name == "h264" and context.has_b_frames)
        for packet in container.demux(video):
            sent += [packet.pts] if packet.size else []
            try:
                times.extend(frame.pts for frame in packet.decode())
                has_failed = False
            except av.FFmpegError:
                if is_stuck and has_failed:
                    context.flush_buffers()
                    with suppress(av.FFmpegError):
                        times.extend(frame.pts for frame in packet.decode())
                has_failed = True
    return times if has_order else sent[: len(times)]


def is_root() -> bool:
    """Whether permissions do not stop this process."""
    return os.geteuid() == 0
