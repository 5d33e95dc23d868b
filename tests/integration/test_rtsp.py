"""Cameras that are real RTSP servers: killed, frozen, silent, at the wrong path, behind a password."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from plantain.operators.segments import Position
from plantain.operators.sources import open_source
from plantain.operators.sources.live.source import LiveSource
from plantain.operators.streams import Sampling, StreamSpec, View
from tests.assets import clips
from tests.certificate import make_certificate
from tests.ports import free_port
from tests.rtsp_server import RtspServer, why_missing
from tests.watching import Watch, follow

pytestmark = [pytest.mark.rtsp, pytest.mark.timeout(180)]

VIEW = View((96, 160), "stretch")
TIMEOUT_S = 2.0
SECRET = "hunter2"


@pytest.fixture(scope="module", autouse=True)
def _server_is_installed() -> None:
    if reason := why_missing():
        if os.environ.get("REQUIRE_RTSP") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 s of numbered pictures, a keyframe in each half second."""
    return clips.make(
        tmp_path_factory.mktemp("rtsp") / "street.mp4", 1000, size=(160, 96), gop=12, b_frames=0
    )


@pytest.fixture
def server(clip: Path) -> Iterator[RtspServer]:
    with RtspServer(clip) as running:
        yield running


def camera(url: str, name: str = "gate", sampling: Sampling | None = None, **options: str) -> LiveSource:
    given = {"timeout_s": str(TIMEOUT_S), "backoff_s": "0.2", "backoff_max_s": "1", "ring": "500", **options}
    source = open_source(
        StreamSpec(name, url, sampling=sampling or Sampling(), options=given), VIEW, Position()
    )
    assert isinstance(source, LiveSource)
    return source


def silent_port(stack: ExitStack) -> int:
    """A port where the kernel accepts connections and nobody ever answers."""
    listener = stack.enter_context(closing(socket.create_server(("127.0.0.1", 0))))
    return int(listener.getsockname()[1])


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_camera_is_joined_at_a_keyframe_and_read_in_order(server: RtspServer, transport: str) -> None:
    with closing(camera(server.url(), transport=transport)) as source:
        watch = Watch(source)
        follow([watch], lambda: len(watch.frames) >= 50, "fifty frames")
        assert watch.states == ["connecting", "live"]
        assert (source.info.width, source.info.height) == (160, 96)
        assert [frame.header.frame_index for frame in watch.frames] == list(range(len(watch.frames)))
        assert source.dropped == {}
        if transport == "tcp":
            shown = [clips.number_of(frame.image) for frame in watch.frames]
            # The first picture may come twice, the first time without pts.
            assert shown[shown[:2].count(0) - 1 :] == list(range(len(shown) - shown[:2].count(0) + 1))
        times = [frame.info.pts for frame in watch.frames if frame.info.pts is not None]
        assert times == sorted(times)
        assert len(times) >= len(watch.frames) - 1
        for frame in watch.frames:
            age_s = (time.time_ns() - (frame.info.captured_ns or 0)) / 1e9
            assert -1.0 < age_s < 60.0


def test_the_camera_s_own_clock_dates_the_frames_once_it_has_said(server: RtspServer) -> None:
    with closing(camera(server.url())) as source:
        watch = Watch(source)
        follow(
            [watch], lambda: any(f.info.captured_by == "camera" for f in watch.frames), "dated by the camera"
        )
        dated = next(frame for frame in watch.frames if frame.info.captured_by == "camera")
        assert abs((dated.info.captured_ns or 0) - time.time_ns()) < 30 * 10**9


def test_a_camera_that_loses_its_power_is_taken_up_again(server: RtspServer) -> None:
    with closing(camera(server.url())) as source:
        watch = Watch(source)
        follow([watch], lambda: len(watch.frames) >= 10, "live")
        server.kill()
        follow([watch], lambda: "refused" in watch.states, "refused")
        server.start()
        follow([watch], lambda: watch.num_in(1) >= 10, "live again")
        assert watch.states == ["connecting", "live", "lost", "refused", "live"]
        assert [event.epoch for event in watch.events] == [0, 0, 0, 0, 1]
        assert [frame.header.frame_index for frame in watch.frames] == list(range(len(watch.frames)))


def test_a_frozen_camera_is_silent_and_heals(server: RtspServer) -> None:
    with closing(camera(server.url())) as source:
        watch = Watch(source)
        follow([watch], lambda: len(watch.frames) >= 10, "live")
        server.freeze()
        frozen_s = time.monotonic()
        follow([watch], lambda: "silent" in watch.states, "silent")
        assert time.monotonic() - frozen_s >= 0.8 * TIMEOUT_S
        follow([watch], lambda: "silent" in watch.states, "silent while it is frozen")
        server.thaw()
        follow([watch], lambda: watch.num_in(1) >= 10, "live again")
        assert watch.states[-1] == "live"


def test_a_frozen_camera_holds_nobody_up_who_closes_it(server: RtspServer) -> None:
    source = camera(server.url())
    watch = Watch(source)
    follow([watch], lambda: len(watch.frames) >= 10, "live")
    server.freeze()
    started_s = time.monotonic()
    source.close()
    took_s = time.monotonic() - started_s
    assert took_s < TIMEOUT_S + 5
    assert not [thread for thread in threading.enumerate() if thread.name == "plantain-live-gate"]


def test_a_wrong_path_and_a_wrong_password_are_told_apart_and_no_secret_is_told(
    clip: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with RtspServer(clip, credentials=f"guard:{SECRET}") as guarded, ExitStack() as stack:
        urls = {
            "right": guarded.url(),
            "path": guarded.url("attic"),
            "password": guarded.url(credentials=f"guard:{SECRET}x"),
            "none": f"rtsp://127.0.0.1:{guarded.port}/cam?password={SECRET}",
            "silent": f"rtsp://guard:{SECRET}@127.0.0.1:{silent_port(stack)}/cam",
            "off": f"rtsp://guard:{SECRET}@127.0.0.1:{free_port()}/cam",
        }
        watches = {name: Watch(stack.enter_context(closing(camera(url, name)))) for name, url in urls.items()}
        want = {"path": "not_found", "password": "unauthorised", "none": "unauthorised"}
        want |= {"silent": "silent", "off": "refused"}
        follow(
            list(watches.values()),
            lambda: (
                bool(watches["right"].frames)
                and all(state in watches[name].states for name, state in want.items())
            ),
            "all recognised",
        )
        for name, state in want.items():
            assert watches[name].states == ["connecting", state]
            assert not watches[name].source.ended
        told = [event.sentence for watch in watches.values() for event in watch.events]
        out, err = capfd.readouterr()
        for text in (*told, out, err, caplog.text):
            assert SECRET not in text


def test_a_camera_that_speaks_tls(clip: Path, tmp_path: Path) -> None:
    with (
        RtspServer(
            clip, credentials=f"guard:{SECRET}", certificate=make_certificate(tmp_path / "camera.pem")
        ) as server,
        closing(camera(server.url())) as source,
        closing(camera(server.url(credentials="guard:wrong"), "stranger")) as stranger,
    ):
        assert server.url().startswith("rtsps://")
        watches = [Watch(source), Watch(stranger)]
        follow(
            watches,
            lambda: len(watches[0].frames) >= 50 and "unauthorised" in watches[1].states,
            "fifty frames over TLS",
        )
        assert watches[0].states == ["connecting", "live"]
        assert [frame.header.frame_index for frame in watches[0].frames] == list(
            range(len(watches[0].frames))
        )
        server.kill()
        follow(watches, lambda: "refused" in watches[0].states, "refused")
        server.start()
        follow(watches, lambda: watches[0].num_in(1) >= 10, "live again")


def test_three_cameras_do_not_notice_that_the_fourth_is_killed(clip: Path) -> None:
    with ExitStack() as stack:
        servers = [stack.enter_context(RtspServer(clip)) for _ in range(4)]
        watches = [
            Watch(stack.enter_context(closing(camera(server.url(), f"gate-{number}"))))
            for number, server in enumerate(servers)
        ]
        follow(watches, lambda: all(len(watch.frames) >= 10 for watch in watches), "all live")
        servers[0].kill()
        follow(watches, lambda: "refused" in watches[0].states, "one refused")
        at_kill = [len(watch.frames) for watch in watches]
        others = list(zip(watches, at_kill, strict=True))[1:]
        follow(watches, lambda: all(len(watch.frames) >= at + 25 for watch, at in others), "three still live")
        for watch, _ in others:
            assert watch.states == ["connecting", "live"]
            assert [frame.header.frame_index for frame in watch.frames] == list(range(len(watch.frames)))


def test_only_keyframes_are_decoded_when_no_more_is_asked_for(server: RtspServer) -> None:
    with closing(camera(server.url(), keyframes_only="true")) as source:
        watch = Watch(source)
        follow([watch], lambda: len(watch.frames) >= 5, "five keyframes")
        shown = [clips.number_of(frame.image) for frame in watch.frames]
        assert {number % 12 for number in shown} == {0}
        assert source.decoded == len(watch.frames) + sum(source.dropped.values()) + source.counts.waiting


def test_joins_and_goodbyes_leave_nothing_behind(server: RtspServer) -> None:
    nobody = f"rtsp://127.0.0.1:{free_port()}/cam"

    def cycle() -> None:
        with closing(camera(server.url())) as source:
            assert source.wait(60.0)
        for _ in range(10):
            camera(nobody).close()

    def resources() -> tuple[int, int]:
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    cycle()
    threads, files = resources()
    for _ in range(10):
        cycle()
    # A camera that is given up while it connects is closed by its own thread, a moment later; and what an earlier test
    # left to the garbage collector may go meanwhile.
    deadline = time.monotonic() + 10.0
    while resources() > (threads, files) and time.monotonic() < deadline:
        time.sleep(0.05)
    threads_now, files_now = resources()
    assert threads_now == threads
    assert files_now <= files
