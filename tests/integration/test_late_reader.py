"""A reader of a real camera that had no time for a while."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from plantain.operators.sources.clock import SystemClock
from plantain.operators.sources.live.connection import AvConnection
from plantain.operators.sources.live.options import LiveOptions
from plantain.operators.sources.pace import Pace
from tests.assets import clips
from tests.rtsp_server import RtspServer, why_missing

pytestmark = [pytest.mark.rtsp, pytest.mark.timeout(180)]

PAUSE_S = 4.0
GOP = 12


def test_what_nobody_had_time_for_is_passed_over_and_counted(tmp_path: Path) -> None:
    if reason := why_missing():
        if os.environ.get("REQUIRE_RTSP") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    clip = clips.make(tmp_path / "street.mp4", 750, size=(160, 96), gop=GOP, b_frames=0)
    with RtspServer(clip) as server:
        connection = AvConnection(server.url(), "rtsp", LiveOptions(), Pace(SystemClock(), threading.Event()))
        try:
            pictures = (picture for picture in connection.pictures() if picture is not None)
            before = [next(pictures) for _ in range(25)]
            assert connection.num_skipped == 0
            time.sleep(PAUSE_S)
            after = [next(pictures) for _ in range(50)]
        finally:
            connection.close()
    skipped = connection.num_skipped
    assert skipped > 0.5 * PAUSE_S * 25 - GOP
    shown = [
        float(picture.pts * connection.time_base) for picture in before + after if picture.pts is not None
    ]
    assert shown == sorted(shown)
    assert round((shown[-1] - shown[0]) * 25) + 1 == len(shown) + skipped, (
        "every picture was shown or counted"
    )
    assert not all(picture.is_keyframe for picture in after[-GOP:]), "and it looks at every picture again"
