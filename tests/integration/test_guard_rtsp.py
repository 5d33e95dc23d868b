"""A real RTSP camera that somebody outside has named: watched through the relay when it is allowed, never when not."""

from __future__ import annotations

from pathlib import Path

import pytest

from plantain.operators.errors import SourceError
from plantain.operators.segments import Position
from plantain.operators.sources.live.source import LiveSource
from plantain.operators.streams import StreamSpec, View
from tests.assets.clips import make
from tests.rtsp_server import RtspServer, why_missing
from tests.watching import Watch, follow

pytestmark = pytest.mark.rtsp


@pytest.fixture(scope="module", autouse=True)
def _server() -> None:
    if (why := why_missing()) is not None:
        pytest.skip(why)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("clips") / "cam.mp4", 500, b_frames=0)


def watch(url: str, hosts: str) -> Watch:
    options = {"hosts": hosts, "transport": "udp", "backoff_s": "0.2"}
    return Watch(LiveSource(StreamSpec("cam", url, options=options), View((48, 64)), Position()))


def test_an_allowed_camera_with_a_password_is_watched_through_the_relay(clip) -> None:
    with RtspServer(clip, credentials="me:secret") as server:
        watched = watch(server.url(), "127.0.0.0/8")
        follow([watched], lambda: len(watched.frames) > 20, "watched")
        watched.source.close()
    assert "live" in watched.states
    assert all("secret" not in event.sentence for event in watched.events)


def test_a_camera_that_comes_back_is_judged_and_watched_again(clip) -> None:
    with RtspServer(clip) as server:
        watched = watch(server.url(), "127.0.0.1")
        follow([watched], lambda: len(watched.frames) > 5, "watched")
        server.kill()
        follow([watched], lambda: "lost" in watched.states, "lost")
        server.start()
        follow([watched], lambda: watched.num_in(1) > 5, "watched again")
        watched.source.close()


def test_a_camera_that_is_not_allowed_is_never_connected_to(clip) -> None:
    with RtspServer(clip) as server:
        watched = watch(server.url(), "10.0.0.0/8 *.example.org")
        with pytest.raises(SourceError, match="not among those that requests may name"):
            follow([watched], lambda: False, "refused")
        watched.source.close()
    assert not watched.frames
