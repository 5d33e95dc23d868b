"""When a picture was taken, and who says so."""

from __future__ import annotations

from plantain.operators.sources.live.connection import Connection, Picture
from plantain.operators.types import CapturedBy

# A camera clock that differs more from ours was never set; the time of arrival is nearer the truth.
MAX_CLOCK_ERROR_NS = 3600 * 10**9


def captured(picture: Picture, connection: Connection, now_ns: int) -> tuple[int, CapturedBy]:
    """When a picture was taken, ns since 1970 UTC, by the camera's clock where it tells it and can be believed.

    Args:
        picture: Which has just been decoded.
        connection: That it came over.
        now_ns: By this machine's clock, ns since 1970 UTC.
    """
    arrived_ns = now_ns - round(picture.decode_s * 1e9)
    start_ns = connection.start_realtime_ns
    if start_ns is not None and picture.pts is not None:
        captured_ns = start_ns + round(picture.pts * connection.time_base * 10**9)
        if abs(captured_ns - arrived_ns) <= MAX_CLOCK_ERROR_NS:
            return captured_ns, "camera"
    return arrived_ns, "arrival"
