"""One packet to a decoder, also to one that a damaged packet before it has stopped."""

from __future__ import annotations

import av
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

# They may refuse all packets after one that they cannot decode, also keyframes (libdav1d with one thread).
_STUCK_AFTER_DAMAGE = frozenset(("libdav1d", "av1"))


def decode(
    context: VideoCodecContext, packet: Packet[VideoStream] | None, *, has_failed: bool
) -> list[VideoFrame]:
    """The pictures that a packet completes.

    Args:
        context: The decoder.
        packet: The next one; None to empty the decoder.
        has_failed: The packet before could not be decoded.

    Raises:
        av.FFmpegError: If it cannot be decoded.
    """
    try:
        return context.decode(packet)
    except av.FFmpegError:
        if not has_failed or packet is None or context.name not in _STUCK_AFTER_DAMAGE:
            raise
        context.flush_buffers()
        return context.decode(packet)
