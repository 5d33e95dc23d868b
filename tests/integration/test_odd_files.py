"""Every clip of the data folder, and every row of the table that says what it should give."""

from __future__ import annotations

import numpy as np
import pytest

from plantain.operators.decode import scan
from plantain.operators.errors import NoVideoError, SourceError
from plantain.operators.segments import Position
from plantain.operators.sources import open_source
from plantain.operators.streams import StreamSpec, View
from plantain.operators.types import Frame
from tests.assets import clips

pytestmark = pytest.mark.skipif(
    not clips.DATA.is_dir(), reason="the folder with real and damaged clips is not here"
)

VIEW = View((112, 192))

# name: frames, damaged packets, corrupt frames
FRAMES = {
    "video/intel_car-detection.mp4": (377, 0, 0),
    "video/intel_one-by-one-person-detection.mp4": (1394, 0, 0),
    "video/carnd_solidWhiteRight.mp4": (221, 0, 0),
    "odd/nasa_13013.mp4": (390, 0, 0),
    "odd/h264_10bits.mp4": (30, 0, 0),
    "odd/h265_10bits.mp4": (30, 0, 0),
    "odd/testsrc2_hdr.mp4": (60, 0, 0),
    "odd/testsrc2_odd_height_and_width_mpeg2.mp4": (10, 0, 0),
    "odd/testsrc2_odd_height_and_width_444.mp4": (25, 0, 0),
    "odd/testsrc2_odd_height_and_width_vp9.mp4": (25, 0, 0),
    "odd/bt601_full_range.mp4": (60, 0, 0),
    "odd/bt601_limited_range.mp4": (60, 0, 0),
    "odd/av1_video.mkv": (125, 0, 0),
    "odd/h265_video.mp4": (10, 0, 0),
    "odd/testsrc2_mpeg4.avi": (30, 0, 0),
    "odd_made/faststart.mp4": (75, 0, 0),
    "odd_made/truncated_half.mp4": (27, 1, 0),
    "odd_made/bitflips.mp4": (75, 0, 31),
    "odd_made/zeroed_hole.mp4": (66, 9, 1),
    "odd_made/mid_gop_start.ts": (50, 0, 0),
    "odd_made/interlaced_tff.ts": (75, 0, 0),
    "odd_made/vfr_with_gap.mp4": (75, 0, 0),
    "odd_made/open_gop_bframes.mkv": (75, 0, 0),
    "odd_made/mjpeg.avi": (25, 0, 0),
}
NO_VIDEO = {
    "odd/sine_mono_s16.wav": "only audio",
    "odd/nasa_13013.mp4.audio.mp3": "only audio",
    "odd_made/truncated_no_moov.mp4": "not a video that can be read",
    "odd_made/text_renamed.mp4": "not a video that can be read",
    "odd_made/empty.mp4": "is empty",
}
# Where a resumed reader may have to decode from the start: frames were lost before.
LOSSY = {"odd_made/zeroed_hole.mp4", "odd_made/mid_gop_start.ts", "odd_made/truncated_half.mp4"}
# What stands in for damaged pixels differs from one decoder run to the next.
UNSTEADY = {"odd_made/bitflips.mp4", "odd_made/zeroed_hole.mp4"}


def read(
    name: str, position: Position | None = None, num: int | None = None, **options: str
) -> tuple[list[Frame], int]:
    source = open_source(
        StreamSpec("s", str(clips.DATA / name), options=options), VIEW, position or Position()
    )
    frames: list[Frame] = []
    while not source.ended and (num is None or len(frames) < num):
        frames.extend(source.read(16 if num is None else min(16, num - len(frames))))
    source.close()
    return frames, source.num_damaged


def test_every_clip_of_the_folder_is_in_a_table() -> None:
    there = {
        str(file.relative_to(clips.DATA))
        for folder in ("video", "odd", "odd_made")
        for file in (clips.DATA / folder).iterdir()
    }
    assert there == {*FRAMES, *NO_VIDEO}


@pytest.mark.parametrize("threads", ["1", "3"])
@pytest.mark.parametrize("name", FRAMES)
def test_frames_are_those_of_a_decode_packet_by_packet(name: str, threads: str) -> None:
    frames, num_damaged = read(name, threads=threads)
    num_frames, expected_damaged, num_corrupt = FRAMES[name]
    assert len(frames) == num_frames
    assert [frame.header.frame_index for frame in frames] == list(range(num_frames))
    assert [frame.info.pts for frame in frames] == clips.packet_by_packet(clips.DATA / name)
    assert num_damaged == expected_damaged
    found_corrupt = sum(frame.info.is_corrupt for frame in frames)
    # With threads, what a damaged picture is mended with, and so what is reported of later ones, is a race.
    assert found_corrupt == num_corrupt if threads == "1" else bool(found_corrupt) == bool(num_corrupt)


@pytest.mark.parametrize("name", NO_VIDEO)
def test_what_is_no_video_is_refused_in_one_sentence_that_names_it(name: str) -> None:
    with pytest.raises(NoVideoError, match=NO_VIDEO[name]) as refusal:
        read(name)
    assert name in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize("name", [name for name in FRAMES if not name.startswith("video/")])
def test_a_resumed_reader_gives_the_frames_of_an_undisturbed_one(name: str, threads: str) -> None:
    whole, _ = read(name, threads=threads)
    for at in sorted({1, len(whole) // 3, len(whole) // 2, len(whole) - 1}):
        first = whole[at]
        for pts in (first.info.pts, None):
            rest, _ = read(name, Position(at, pts, at), 12, threads=threads)
            assert [frame.header for frame in rest] == [frame.header for frame in whole[at : at + 12]]
            assert [frame.info.pts for frame in rest] == [frame.info.pts for frame in whole[at : at + 12]]
            if name not in UNSTEADY:
                for again, once in zip(rest, whole[at:], strict=False):
                    np.testing.assert_array_equal(again.image, once.image)


@pytest.mark.parametrize("name", FRAMES)
def test_the_parts_of_a_file_are_the_whole(name: str) -> None:
    if name in LOSSY | UNSTEADY:
        pytest.skip("damaged: its parts cannot be counted apart")
    whole, _ = read(name, num=200)
    url = str(clips.DATA / name)
    parts = scan(url).ranges(3)
    frames: list[Frame] = []
    for part in parts:
        options = {} if part.end is None else {"end_frame": str(part.end), "end_pts": str(part.end_pts)}
        if part.first < len(whole):
            frames.extend(read(name, Position(part.first, part.pts, part.first), 200, **options)[0])
    for once, again in zip(whole, frames, strict=False):
        assert (once.header, once.info.pts) == (again.header, again.info.pts)
        np.testing.assert_array_equal(once.image, again.image)
    assert len(frames) >= len(whole)


def test_a_damaged_file_refuses_to_be_read_in_parts() -> None:
    name = "odd_made/zeroed_hole.mp4"
    parts = scan(str(clips.DATA / name)).ranges(3)
    assert len(parts) == 3

    def read_parts() -> None:
        for part in parts[:-1]:
            read(name, Position(part.first, part.pts), end_frame=str(part.end), end_pts=str(part.end_pts))

    with pytest.raises(SourceError, match="read it as a whole"):
        read_parts()


def test_a_stream_of_several_is_chosen_on_purpose() -> None:
    best, _ = read("odd/nasa_13013.mp4")
    first, _ = read("odd/nasa_13013.mp4", stream="0")
    assert best[0].info.fit.source_hw == (270, 480)
    assert first[0].info.fit.source_hw == (180, 320)
    assert (len(best), len(first)) == (390, 325)


def test_the_range_that_a_file_states_decides_about_its_colours() -> None:
    # The two hold the same samples (luma 0..218 and 0..222, mean 101.7) and differ in what they say of them:
    # the colour bars are pure where they are read as limited, and paler where they are read as full.
    (full,), _ = read("odd/bt601_full_range.mp4", num=1)
    (limited,), _ = read("odd/bt601_limited_range.mp4", num=1)
    reds = [frame.info.fit.crop(frame.image)[90, 15].astype(int) for frame in (full, limited)]
    assert np.abs(reds[0] - (237, 12, 12)).max() <= 6
    assert np.abs(reds[1] - (254, 0, 0)).max() <= 3


def test_deinterlacing_smooths_the_comb_and_keeps_every_frame() -> None:
    woven, _ = read("odd_made/interlaced_tff.ts", deinterlace="off")
    smooth, _ = read("odd_made/interlaced_tff.ts")
    assert [frame.info.pts for frame in woven] == [frame.info.pts for frame in smooth]
    assert any((one.image != other.image).any() for one, other in zip(woven, smooth, strict=True))


def test_capture_time_comes_from_the_container() -> None:
    frames, _ = read("video/carnd_solidWhiteRight.mp4", num=3)
    assert [frame.info.captured_ns for frame in frames] == [
        1_472_418_968_000_000_000 + number * 40_000_000 for number in range(3)
    ]
    frames, _ = read("odd/h265_video.mp4", num=1)
    assert frames[0].info.captured_ns is None
