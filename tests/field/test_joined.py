"""Recordings joined end to end whose times are unlike: each part is named, the line goes on."""

from __future__ import annotations

import threading
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from plantain.operators.decode import scan
from plantain.operators.decode.line import Line
from plantain.operators.segments import Position
from plantain.operators.sources.clock import SystemClock
from plantain.operators.sources.live.realtime import RealtimeFile
from plantain.operators.sources.pace import Pace
from plantain.operators.streams import Sampling
from plantain.operators.types import Frame
from tests.assets.clips import make, packet_by_packet
from tests.field.recordings import WRAP_MS
from tests.field.runs import run
from tests.field.test_recordings import read, told

HOUR = 3600.0
FULL_S = 2**33 / 90_000


def joined(tmp_path: Path, container: str, codec: str, starts_s: list[float], length: int = 20) -> Path:
    """Parts of 25 pictures a second, each a picture shorter than the one before, that begin at these times."""
    data = b""
    for number, start_s in enumerate(starts_s):
        part = make(
            tmp_path / f"p{number}.{container}", length - number, codec=codec, size=(64, 48), gop=6,
            b_frames=0 if container == "mpg" else 2, container_options={"output_ts_offset": str(start_s)},
        )  # fmt: skip
        data += part.read_bytes()
    path = tmp_path / f"joined.{container}"
    path.write_bytes(data)
    return path


def lapse(path: Path, times_s: list[float], codec: str = "libx264", **container: str) -> Path:
    return make(
        path, len(times_s), codec=codec, size=(64, 48), gop=5, b_frames=0,
        pts=[round(time_s * 1000) for time_s in times_s], container_options=container,
    )  # fmt: skip


def check_line(path: Path, expected: list[int]) -> list[Frame]:
    """Parts as expected, by threads, in parts and resumed; an even line of 25 pictures a second."""
    frames = read(path)
    assert [frame.header.epoch for frame in frames] == expected
    said = [told(frame) for frame in frames]
    assert [told(frame) for frame in read(path, threads="3")] == said
    assert [told(frame) for frame in read(path, kind="parts", threads="3")] == said
    line = [frame.info.line_s for frame in frames]
    for at in range(1, len(frames), max(7, len(frames) // 5)):
        again = read(path, Position(at, frames[at].info.pts, at))
        assert [told(frame) for frame in again] == said[at:]
        assert [frame.info.line_s for frame in again] == line[at:]
    return frames


@pytest.mark.parametrize(
    ("container", "codec", "starts_s"),
    [
        ("ts", "libx264", [HOUR, 0]),
        ("ts", "libx265", [90, 0]),
        ("ts", "mpeg4", [20 * HOUR, 0]),
        ("ts", "libx264", [26 * HOUR, 1]),
        ("ts", "libx264", [0, HOUR]),
        ("ts", "mpeg2video", [5, 65]),
        ("ts", "libx264", [0, 26 * HOUR]),
        ("ts", "libx264", [HOUR, 0, 2 * HOUR]),
        ("ts", "mpeg2video", [2 * HOUR, HOUR, 0]),
        ("ts", "libx264", [10, 0, 24 * HOUR, 5]),
        ("mpg", "mpeg2video", [HOUR, 0]),
        ("mpg", "mpeg2video", [0, 30 * 60]),
        ("mpg", "mpeg1video", [9 * HOUR, 3 * HOUR, 0]),
        ("m2ts", "libx264", [HOUR, 0]),
    ],
)
def test_parts_with_other_times_are_named_and_have_their_own(
    tmp_path: Path, container: str, codec: str, starts_s: list[float]
) -> None:
    path = joined(tmp_path, container, codec, starts_s)
    expected = [number for number in range(len(starts_s)) for _ in range(20 - number)]
    frames = check_line(path, expected)
    own = [frame.info.time_s for frame in frames]
    assert [frame.info.pts for frame in frames] == packet_by_packet(path, overflow=False)
    for number, start_s in enumerate(starts_s):
        assert own[expected.index(number)] == pytest.approx(start_s, abs=2.0)
    line = [frame.info.line_s for frame in frames]
    assert np.diff(line) == pytest.approx(0.04, abs=0.005)
    sampled = read(path, sampling=Sampling(fps=5.0))
    assert [frame.header.frame_index for frame in sampled] == list(range(0, len(frames), 5))


@pytest.mark.parametrize("starts_s", [[HOUR, 0], [0, HOUR]])
def test_an_overlay_goes_on_over_a_jump(tmp_path: Path, starts_s: list[float]) -> None:
    path = joined(tmp_path, "ts", "libx264", starts_s, length=25)
    out = tmp_path / "out"
    run([path], out, output={"sinks": ["parquet", "overlay"]})
    with av.open(str(out / "overlay" / "joined.mp4")) as video:
        assert float(video.duration) / 1e6 == pytest.approx(49 / 25, abs=0.1)
        shown = [frame.time for frame in video.decode(video=0)]
    assert len(shown) == 49
    assert max(b - a for a, b in pairwise(shown)) < 0.1


class Noting(Pace):
    """Holds nothing back, and notes when that would have been."""

    def __init__(self) -> None:
        super().__init__(SystemClock(), threading.Event())
        self.times: list[float] = []

    def wait(self, time: Fraction) -> bool:
        """Does not."""
        self.times.append(float(time))
        return False


@pytest.mark.parametrize("starts_s", [[HOUR, 0], [0, HOUR], [20, 0]])
def test_played_as_a_camera_it_goes_on(tmp_path: Path, starts_s: list[float]) -> None:
    pace = Noting()
    file = RealtimeFile(str(joined(tmp_path, "ts", "libx264", starts_s)), False, True, pace)
    pts = [picture.pts for picture in file.pictures() if picture is not None]
    file.close()
    assert np.diff(pace.times) == pytest.approx(0.04, abs=0.001)
    assert np.diff(pts) == pytest.approx(3600, abs=2)


# -- clocks that are full ---------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [1, 7, 19])
@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
def test_a_clock_that_is_full_goes_on_in_one_part(tmp_path: Path, before: int, codec: str) -> None:
    path = tmp_path / "a.ts"
    make(
        path, 30, codec=codec, size=(64, 48), gop=6,
        container_options={"output_ts_offset": str(FULL_S - before / 25 - 1.4)},
    )  # fmt: skip
    frames = check_line(path, [0] * 30)
    assert np.diff([frame.info.time_s for frame in frames]) == pytest.approx(0.04, abs=1e-4)


@pytest.mark.parametrize("step_s", [1, 60, 1200, 3600])
def test_a_recording_of_more_than_a_day_goes_on_in_one_part(tmp_path: Path, step_s: int) -> None:
    """Also one that is full twice, which FFmpeg has begin again."""
    first_s = FULL_S - 20.5 * step_s
    count = 40 if step_s < 1200 else int(2.2 * FULL_S / step_s)
    path = lapse(tmp_path / "a.ts", [first_s + step_s * number for number in range(count)])
    frames = read(path)
    assert {frame.header.epoch for frame in frames} == {0}
    assert np.diff([frame.info.time_s for frame in frames]) == pytest.approx(step_s, abs=0.001)
    for at in (5, 30):
        again = read(path, Position(at, frames[at].info.pts, at))
        assert [told(frame) for frame in again] == [told(frame) for frame in frames[at:]]


def test_behind_a_clock_that_was_full_another_part_has_its_own_time(tmp_path: Path) -> None:
    full = lapse(tmp_path / "a.ts", [WRAP_MS / 1000 - 0.4 + 0.04 * number for number in range(20)])
    other = make(tmp_path / "b.ts", 20, size=(64, 48), container_options={"output_ts_offset": "7200"})
    path = tmp_path / "joined.ts"
    path.write_bytes(full.read_bytes() + other.read_bytes())
    frames = check_line(path, [0] * 20 + [1] * 20)
    assert frames[20].info.time_s == pytest.approx(7200, abs=2)
    path.write_bytes(other.read_bytes() + full.read_bytes())
    frames = check_line(path, [0] * 20 + [1] * 20)
    assert frames[20].info.time_s == pytest.approx(FULL_S, abs=3)
    assert np.diff([frame.info.line_s for frame in frames]) == pytest.approx(0.04, abs=0.005)


# -- pauses are no jumps ----------------------------------------------------------------------------------

PAUSES = {
    "a picture an hour": [HOUR * number for number in range(12)],
    "a picture an hour, none for 20 hours": [HOUR * number + 20 * HOUR * (number > 2) for number in range(5)],
    "a picture a minute, none at night": [60 * number + 12 * HOUR * (number > 8) for number in range(16)],
    "a screen that stands still": [0, 0.04, 0.08, 1.5, 1.54, 9.0, 60.0, 60.04, 600.0, 600.04, 1800.0],
    "half a minute without": [0.04 * number + 30 * (number > 10) for number in range(20)],
    "from a picture a second to one an hour": [0, 1, 2, 600, 1200, 4800, 8400],
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(PAUSES))
@pytest.mark.parametrize("container", ["mp4", "mkv", "ts"])
def test_pauses_are_within_a_part(tmp_path: Path, kind: str, container: str) -> None:
    path = lapse(tmp_path / f"a.{container}", PAUSES[kind])
    frames = read(path)
    assert {frame.header.epoch for frame in frames} == {0}
    line = np.array([frame.info.line_s for frame in frames])
    assert line - line[0] == pytest.approx(np.array(PAUSES[kind]), abs=0.01)


@pytest.mark.parametrize("container", ["mp4", "mkv", "mov", "nut"])
def test_jumps_are_found_in_every_container(tmp_path: Path, container: str) -> None:
    times_s = [0.04 * number + HOUR * (number >= 11) for number in range(30)]
    codec = "mpeg4" if container == "nut" else "libx264"
    frames = check_line(lapse(tmp_path / f"a.{container}", times_s, codec), [0] * 11 + [1] * 19)
    assert np.diff([frame.info.line_s for frame in frames]) == pytest.approx(0.04, abs=0.005)


def test_a_long_recording_with_jumps_is_cut_into_parts_and_resumed_behind_them(tmp_path: Path) -> None:
    times_s = [0.04 * number + HOUR * (number >= 90) + HOUR * (number >= 200) for number in range(300)]
    path = make(
        tmp_path / "a.mkv",
        300,
        size=(64, 48),
        gop=12,
        b_frames=2,
        pts=[round(each * 1000) for each in times_s],
    )
    assert len(scan(str(path)).ranges(4)) == 4
    frames = check_line(path, [0] * 90 + [1] * 110 + [2] * 100)
    assert np.diff([frame.info.line_s for frame in frames]) == pytest.approx(0.04, abs=0.005)


@pytest.mark.parametrize("seed", range(30))
def test_a_line_is_the_same_from_wherever_it_is_taken_up(seed: int) -> None:
    chance = np.random.default_rng(seed)
    base = Fraction(1, int(chance.choice([1000, 90_000, 12_800, 30_000])))
    lengths_s = [0.001, 0.04, 0.04, 0.9, 11, 100, 3600, 50_000]
    steps = chance.choice(lengths_s, size=40, p=[0.1, 0.3, 0.3, 0.1, 0.05, 0.05, 0.05, 0.05])
    own = np.cumsum(np.maximum(1, (steps / float(base)).astype(np.int64)))
    whole = Line(Fraction(1, 25))
    placed = [whole.place(int(each) * base) for each in own]
    for at in range(len(own)):
        line = Line(Fraction(1, 25))
        line.pass_over(own[:at], base)
        assert [line.place(int(each) * base) for each in own[at:]] == placed[at:]
        assert line.start == whole.start
