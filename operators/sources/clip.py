"""A short video file made of pictures, such as the rendered street of the demo."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from plantain.operators.errors import SourceError

# Visually lossless: what a model makes of the clip is then its own doing, not the encoder's.
CRF = "16"
_BT709 = 1


def write_clip(path: Path, pictures: Iterable[NDArray[np.uint8]], fps: int = 25) -> int:
    """Writes an H.264 mp4 that every player opens; the file appears when it is complete.

    Args:
        path: Where; its folder is made if missing.
        pictures: (h, w, 3) uint8 RGB, all of one size with even sides.
        fps: Pictures per second.

    Returns:
        How many pictures it holds.

    Raises:
        SourceError: If it cannot be written.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        count = _write(aside, pictures, fps)
        aside.replace(path)
    except (OSError, av.FFmpegError) as error:
        raise SourceError(f"the clip {path} cannot be written: {error}; is the folder writable?") from error
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
    return count


def _write(path: Path, pictures: Iterable[NDArray[np.uint8]], fps: int) -> int:
    count = 0
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "veryfast", "crf": CRF})
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = ColorRange.MPEG
        for count, picture in enumerate(pictures, start=1):
            if count == 1:
                stream.height, stream.width = picture.shape[:2]
            frame = VideoFrame.from_ndarray(picture, format="rgb24").reformat(
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                src_color_range=ColorRange.JPEG,
                dst_color_range=ColorRange.MPEG,
            )
            frame.pts, frame.time_base = count - 1, Fraction(1, fps)
            container.mux(stream.encode(frame))
        if count:
            container.mux(stream.encode())
    return count
