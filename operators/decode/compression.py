"""What a camera's encoder does to a picture: H.264 at a real bit rate, and back."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from plantain.operators.errors import SourceError

Pixels = NDArray[np.uint8]


def compressed(pictures: list[Pixels], crf: int) -> Pixels:
    """The last of some consecutive pictures as a player shows it.

    All but the first are predicted from the one before, as nearly all pictures of a camera are.

    Args:
        pictures: (H, W, 3) uint8 RGB, of one size with even sides.
        crf: Constant rate factor: 18 is hardly seen, 30 is a frugal camera, 40 a starved one.

    Raises:
        SourceError: If this build of FFmpeg has no H.264 encoder.
    """
    height, width = pictures[0].shape[:2]
    try:
        encoder = VideoCodecContext.create("libx264", "w")
        encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
        encoder.time_base = Fraction(1, 25)
        encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "crf": str(crf), "threads": "1"}
        decoder = VideoCodecContext.create("h264", "r")
        shown: list[VideoFrame] = []
        for number, picture in enumerate(pictures):
            frame = VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = number
            for packet in encoder.encode(frame):
                shown += decoder.decode(packet)
        for packet in encoder.encode(None):
            shown += decoder.decode(packet)
        shown += decoder.decode(None)
    except (av.FFmpegError, ValueError) as error:
        raise SourceError(f"a picture cannot be compressed with H.264 here: {error}") from error
    last: Pixels = shown[-1].to_ndarray(format="rgb24").astype(np.uint8, copy=False)
    return last
