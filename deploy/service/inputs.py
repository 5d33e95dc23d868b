"""Uploaded bytes to frames: pictures by Pillow, clips by FFmpeg, both measured before they are decoded."""

from __future__ import annotations

import io
import tempfile
import time
from fractions import Fraction
from pathlib import Path

from PIL import Image

from plantain.deploy.service.problems import HttpError
from plantain.operators.errors import SourceError
from plantain.operators.segments import Position
from plantain.operators.sources import open_source
from plantain.operators.sources.images import BROKEN, picture_of
from plantain.operators.sources.sequence import Picture, frame_of
from plantain.operators.streams import Sampling, StreamSpec, View
from plantain.operators.types import Frame, Header
from plantain.pipeline.config import ServeConfig

STREAM = "query"
"""The name under which a query's frames travel."""

FORMATS = ("JPEG", "PNG", "WEBP")


def frame_of_image(data: bytes, view: View, limits: ServeConfig) -> Frame:
    """The frame of an image file.

    Args:
        data: JPEG, PNG or WebP.
        view: What the frame must look like.
        limits: How many pixels it may have.

    Raises:
        HttpError: 413 if it is too large, 415 if it is of another kind, 422 if it is damaged.
    """
    started = time.perf_counter()
    try:
        opened = Image.open(io.BytesIO(data), formats=FORMATS)
    except BROKEN as error:
        raise HttpError(415, "the image is not a JPEG, PNG or WebP file that can be read") from error
    with opened:
        width, height = opened.size
        if width * height > limits.max_pixels:
            raise HttpError(413, _too_many_pixels("image", width, height, limits))
        try:
            picture = picture_of(opened, view)
        except BROKEN as error:
            raise HttpError(422, "the image is damaged: it cannot be decoded to its end") from error
    return frame_of(picture, view, Header(STREAM, 0, 0), Fraction(1, 1), started)


def blank_frame(view: View) -> Frame:
    """The frame of questions that are about no picture: black, as large as the model's canvas."""
    height, width = view.model_hw
    picture = Picture.whole(Image.new("RGB", (width, height)))
    return frame_of(picture, view, Header(STREAM, 0, 0), Fraction(1, 1), time.perf_counter())


def frames_of_clip(data: bytes, view: View, limits: ServeConfig, fps: float | None = None) -> list[Frame]:
    """The frames of a short video file.

    Args:
        data: mp4, or another container that holds its media itself.
        view: What the frames must look like.
        limits: How many pixels and frames it may have, and how long decoding may take.
        fps: Look at no more frames per second.

    Raises:
        HttpError: 413 if it is too large or too long, 415 if it is no video, 422 if not a frame can be decoded.
    """
    deadline_s = time.monotonic() + limits.timeout_s
    most = limits.max_clip_frames
    with tempfile.TemporaryDirectory(prefix="plantain-clip-") as folder:
        path = Path(folder) / "clip"
        path.write_bytes(data)
        # One frame more than is allowed, to know that there are too many.
        spec = StreamSpec(STREAM, str(path), "file", Sampling(fps, max_frames=most + 1), {"threads": "1"})
        try:
            source = open_source(spec, view, Position())
        except SourceError as error:
            raise HttpError(415, "the clip is not a video file that can be read") from error
        try:
            if source.info.width * source.info.height > limits.max_pixels:
                raise HttpError(413, _too_many_pixels("clip", source.info.width, source.info.height, limits))
            frames: list[Frame] = []
            while not source.ended and len(frames) <= most:
                if time.monotonic() > deadline_s:
                    raise HttpError(413, f"the clip takes more than {limits.timeout_s:g} s to decode: cut it")
                frames += source.read(1)
        except SourceError as error:
            raise HttpError(422, "the clip is damaged: it cannot be decoded") from error
        finally:
            source.close()
    if len(frames) > most:
        raise HttpError(
            413, f"the clip has more than {most} frames to look at: cut it, or ask for fewer with fps"
        )
    if not frames:
        raise HttpError(422, "the clip holds no frame that can be decoded")
    return frames


def _too_many_pixels(what: str, width: int, height: int, limits: ServeConfig) -> str:
    return f"the {what} is {width} x {height}, more than {limits.max_pixels / 1e6:g} million pixels: make it smaller"
