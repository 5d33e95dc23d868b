"""The small parts of a live source, each by itself."""

from __future__ import annotations

import threading
from dataclasses import fields
from fractions import Fraction
from random import Random
from typing import get_args

import pytest

from plantain.operators.sources.clock import SystemClock
from plantain.operators.sources.live.address import ACCESS, Kind, kind_of
from plantain.operators.sources.live.backoff import Backoff
from plantain.operators.sources.live.connection import ffmpeg_options
from plantain.operators.sources.live.health import Health
from plantain.operators.sources.live.options import LiveOptions
from plantain.operators.sources.pace import Pace
from plantain.operators.streams import StreamSpec


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("RTSP://camera/1", "rtsp"),
        ("rtsps://camera/1", "rtsps"),
        ("http://camera/video.cgi", "http"),
        ("https://camera/LIVE.M3U8?x=1", "hls"),
        ("udp://239.0.0.1:1234", "udp"),
        ("tcp://encoder:1234", "tcp"),
        ("/dev/video12", "device"),
        ("/dev/videos", None),
        ("file:///clip.mp4", None),
        ("clip.mp4", None),
        ("concat:/a|/b", None),
    ],
)
def test_the_kind_of_an_address(url: str, kind: Kind | None) -> None:
    assert kind_of(url) == kind
    assert kind_of(url, is_realtime=True) == "realtime"


@pytest.mark.parametrize("kind", [kind for kind in get_args(Kind) if kind != "realtime"])
def test_ffmpeg_may_open_nothing_but_what_the_kind_needs(kind: Kind) -> None:
    told = ffmpeg_options(kind, LiveOptions(timeout_s=1.5, transport="udp"))
    assert told["protocol_whitelist"] == ACCESS[kind].protocols
    assert told["format_whitelist"]
    if kind != "device":
        assert "file" not in told["protocol_whitelist"].split(",")
        assert "1500000" in (told.get("timeout"), told.get("rw_timeout"))
    assert "stimeout" not in told
    assert told.get("rtsp_transport") == ("udp" if kind.startswith("rtsp") else None)


def test_options_are_read_from_text() -> None:
    text = {"policy": "latest", "ring": "3", "timeout_s": "2.5", "loop": "Yes", "epoch": "7", "seed": "-1"}
    options = LiveOptions.of(StreamSpec("s", "rtsp://camera", options=text))
    assert (options.policy, options.ring, options.timeout_s, options.loop) == ("latest", 3, 2.5, True)
    assert (options.epoch, options.seed) == (7, -1)
    assert LiveOptions.of(StreamSpec("s", "rtsp://camera")) == LiveOptions()


def test_every_option_is_described() -> None:
    assert LiveOptions.__doc__
    for field in fields(LiveOptions):
        assert f"{field.name}" in LiveOptions.__doc__


def test_hls_is_given_the_time_between_two_segments() -> None:
    playlist = "https://camera/live.m3u8"
    assert LiveOptions.of(StreamSpec("s", playlist)).timeout_s == 20.0
    assert LiveOptions.of(StreamSpec("s", playlist, options={"timeout_s": "3"})).timeout_s == 3.0


def test_a_pace_holds_back_catches_up_and_survives_jumps() -> None:
    class Clock:
        now_s = 50.0

        def monotonic_s(self) -> float:
            return self.now_s

        def wall_ns(self) -> int:
            return 0

        def sleep(self, seconds: float, stop: threading.Event) -> bool:
            self.now_s += max(0.0, seconds)
            return stop.is_set()

    clock, stop = Clock(), threading.Event()
    pace = Pace(clock, stop)
    came: list[float] = []
    for time, delay_s in (
        (9, 0),
        (10, 0),
        (11, 3),
        (12, 0),
        (13, 0),
        (14, 0),
        (9000, 0),
        (9001, 0),
        (1, 0),
        (2, 0),
    ):
        clock.now_s += delay_s
        assert not pace.wait(Fraction(time))
        came.append(clock.now_s)
    assert came == [50, 51, 54, 54, 54, 55, 55, 56, 56, 57]
    stop.set()
    assert pace.wait(Fraction(3))


def test_pauses_are_reproducible_capped_and_never_overflow() -> None:
    one, two = (Backoff(0.5, 8.0, Random("7:gate")) for _ in range(2))
    pauses = [one.next_s() for _ in range(2000)]
    assert pauses == [two.next_s() for _ in range(2000)]
    assert max(pauses) <= 8.0
    assert min(pauses[10:]) >= 8.0 * 0.7
    one.reset()
    assert 0.35 <= one.next_s() <= 0.5


def test_a_state_is_told_once_and_momentary_ones_each_time() -> None:
    health = Health("gate", SystemClock(), size=4)
    assert health.enter("connecting", 0, "a")
    assert not health.enter("connecting", 0, "b")
    assert not health.enter("silent", 0, "c", frozenset(("live",)))
    assert health.enter("live", 0, "d")
    assert health.enter("changed", 0, "e")
    assert health.enter("changed", 0, "f")
    assert health.state == "live"
    assert not health.enter("live", 0, "g")
    assert health.enter("lost", 0, "h")
    assert [event.sentence for event in health.drain()] == ["d", "e", "f", "h"]
    assert health.drain() == []
