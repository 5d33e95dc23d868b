"""What is in a file does not depend on how it is read: by threads, in parts, resumed, sampled, in company."""

from __future__ import annotations

import hashlib
import os
import random
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest

from plantain.operators.decode import VideoReader
from plantain.operators.decode.line import Line
from plantain.operators.errors import SourceError
from plantain.operators.segments import Position
from plantain.operators.sinks.parquet.reading import read_frames
from plantain.operators.sources import open_source
from plantain.operators.streams import Sampling, StreamSpec, View
from plantain.operators.types import Frame
from tests.assets.clips import make, packet_by_packet
from tests.field.recordings import SHAPES, Recipe, can, recipe_of, record
from tests.field.runs import Mortal, killed, rows, run

VIEW = View((24, 32), "stretch")
NUM_INPUTS = int(os.environ.get("PLANTAIN_FIELD_INPUTS", "306"))
BATCHES = 17
DAMAGED = {"cut off", "cut front", "hole"}

Told = tuple[int, int, int | None, str]
"""Of a frame: epoch, index, presentation time, and a digest of its pixels."""


def told(frame: Frame) -> Told:
    header = frame.header
    return header.epoch, header.frame_index, frame.info.pts, hashlib.md5(frame.image.tobytes()).hexdigest()


def read(
    path: Path,
    position: Position | None = None,
    sampling: Sampling | None = None,
    kind: str = "file",
    **options: str,
) -> list[Frame]:
    spec = StreamSpec("s", str(path), kind, sampling or Sampling(), options)
    source = open_source(spec, VIEW, position or Position())
    frames = []
    try:
        while not source.ended:
            frames += source.read(7)
    finally:
        source.close()
    return frames


def whole_unread(path: Path) -> int:
    """What a source says of a file's rest."""
    source = open_source(StreamSpec("s", str(path), "file"), VIEW, Position())
    while not source.ended:
        source.read(100)
    source.close()
    return source.unread_bytes


def times(path: Path, threads: int) -> list[int | None]:
    reader = VideoReader(str(path), num_threads=threads)
    found = []
    while (picture := reader.next()) is not None:
        found.append(picture.pts)
    reader.close()
    return found


def check(path: Path, is_damaged: bool, shape: str = "") -> None:
    """The promise, on one file."""
    try:
        expected = packet_by_packet(path, overflow=not shape.startswith("joined"))
    except Exception:  # noqa: BLE001 (what cannot be opened by FFmpeg is no recording)
        return
    if not expected:
        with pytest.raises(SourceError):
            read(path)
        return
    assert times(path, 1) == expected
    for threads in (2, 3):
        assert times(path, threads) == expected, f"{threads} threads"
    whole = read(path)
    assert [frame.info.pts for frame in whole] == expected
    said = [told(frame) for frame in whole]
    parts = read(path, kind="parts", threads="3")
    if is_damaged:  # what stands in for damaged pixels may differ
        assert [each[:3] for each in map(told, parts)] == [each[:3] for each in said]
    else:
        assert [told(frame) for frame in parts] == said
    for at in sorted({1, len(whole) // 3, len(whole) // 2, len(whole) - 1} & {*range(len(whole))}):
        frame = whole[at]
        again = read(path, Position(frame.header.frame_index, frame.info.pts, at))
        found = [told(frame) for frame in again]
        wanted = said[at:]
        if is_damaged:
            found, wanted = [each[:3] for each in found], [each[:3] for each in wanted]
        assert found == wanted, f"resumed at {at}"
    line = [frame.info.line_s for frame in whole]
    if not is_damaged:
        assert whole_unread(path) == 0
    if shape.startswith("joined"):
        assert all(b - a < 1.0 for a, b in pairwise(line)), "no jump on the line"
    if shape in ("joined back", "joined far"):
        assert {frame.header.epoch for frame in whole} >= {0, 1}, "parts are named"
    if None not in line:  # AVI cannot say in which order its pictures are shown
        assert all(b >= a - 1e-9 for a, b in pairwise(line)), "the line never goes back"
        sampled = read(path, sampling=Sampling(fps=5.0))
        if line:
            longest = max(b - a for a, b in pairwise(line)) if len(line) > 1 else 0.0
            kept = [frame.info.line_s for frame in sampled]
            gaps = [b - a for a, b in pairwise(kept)]
            assert all(gap <= 0.2 + longest + 1e-6 for gap in gaps), "no stretch is left out"
            assert line[-1] - kept[-1] <= 0.2 + longest + 1e-6, "to the end"


@pytest.mark.parametrize("batch", range(BATCHES))
def test_what_is_in_a_file_does_not_depend_on_how_it_is_read(tmp_path: Path, batch: int) -> None:
    wrong = []
    for seed in range(batch, NUM_INPUTS, BATCHES):
        recipe = recipe_of(seed)
        if not can(recipe.codec):
            continue
        folder = tmp_path / str(seed)
        folder.mkdir()
        path = record(recipe, folder)
        try:
            check(path, recipe.shape in DAMAGED, recipe.shape)
        except AssertionError as error:
            wrong.append(f"{recipe}: {str(error).splitlines()[0][:300]}")
    assert not wrong, "\n".join(wrong)


def stored(out: Path) -> list[tuple[object, ...]]:
    """The rows of a run: stream, part, index, presentation time."""
    columns = ["stream_id", "epoch", "frame_index", "time_s"]
    found = read_frames(out, columns)
    return sorted(zip(*(found[name].tolist() for name in columns), strict=True))


def rows_alone(path: Path) -> list[tuple[object, ...]]:
    """What a run must store of a file."""
    return [
        (path.stem, frame.header.epoch, frame.header.frame_index, frame.info.time_s) for frame in read(path)
    ]


@pytest.mark.parametrize("batch", range(NUM_INPUTS // 75))
def test_rows_are_the_same_in_company_and_after_a_kill(tmp_path: Path, batch: int) -> None:
    """Each file of three has the rows that it has alone, in one run, and in one that is killed and goes on."""
    shapes = [
        "joined back",
        "joined far",
        random.Random(batch).choice(["vfr", "joined", "interlaced", "wrapped"]),
    ]
    paths: list[Path] = []
    for shape in shapes:
        recipe = recipe_of(batch * len(SHAPES) + SHAPES.index(shape))
        folder = tmp_path / shape
        folder.mkdir()
        paths += [record(recipe, folder)] if can(recipe.codec) else []
    expected = sorted(row for path in paths for row in rows_alone(path))
    assert None not in [row[-1] for row in expected]
    together = Mortal()
    run(paths, tmp_path / "together", by=together, output={"segment_frames": 4})
    assert stored(tmp_path / "together") == expected
    out = tmp_path / "killed"
    killed(paths, out, random.Random(batch).randint(1, together.calls), output={"segment_frames": 4})
    run(paths, out, output={"segment_frames": 4})
    assert stored(out) == expected


FOUND = (
    Recipe(962, "libx264", "avi", "plain", gop=250, b_frames=2, frames=11, is_open=True),
    Recipe(2086, "libx264", "avi", "hole", gop=5, b_frames=3, frames=35, is_open=True),
    Recipe(3581, "libvpx-vp9", "webm", "hole", gop=250, b_frames=0, frames=3, is_open=True),
    Recipe(4127, "mpeg4", "ts", "hole", gop=12, b_frames=2, frames=29, is_open=False),
    Recipe(4712, "mpeg2video", "ts", "hole", gop=12, b_frames=2, frames=11, is_open=True),
    Recipe(6040, "libx264", "avi", "two streams", gop=5, b_frames=2, frames=40, is_open=True),
    Recipe(6995, "libx264", "avi", "vfr", gop=250, b_frames=2, frames=29, is_open=True),
    Recipe(3066, "libsvtav1", "ivf", "cut off", gop=1, b_frames=0, frames=26, is_open=True),
    Recipe(3278, "libsvtav1", "webm", "hole", gop=5, b_frames=0, frames=4, is_open=True),
    Recipe(3336, "libsvtav1", "ivf", "cut off", gop=12, b_frames=0, frames=40, is_open=True),
    Recipe(5625, "libx264", "mxf", "plain", gop=250, b_frames=1, frames=38, is_open=True),
    Recipe(6276, "mpeg2video", "mxf", "cut off", gop=1, b_frames=0, frames=19, is_open=False),
    Recipe(1, "libx264", "mxf", "plain", gop=12, b_frames=2, frames=20, is_open=False),
)


@pytest.mark.parametrize("recipe", FOUND, ids=lambda recipe: f"{recipe.container}-{recipe.seed}")
def test_what_was_found_is_not_found_again(tmp_path: Path, recipe: Recipe) -> None:
    """H.264 with B-frames in AVI and MXF; a picture that others refer to missing; threads beside a damaged one."""
    if not can(recipe.codec):
        pytest.skip(f"this FFmpeg has no {recipe.codec}")
    check(record(recipe, tmp_path), recipe.shape in DAMAGED)


@pytest.mark.parametrize(("b_frames", "gop"), [(1, 12), (2, 6), (3, 250)])
def test_avi_that_knows_no_order_is_one_part_of_even_times(tmp_path: Path, b_frames: int, gop: int) -> None:
    path = make(tmp_path / "x.avi", 40, codec="libx264", size=(64, 48), gop=gop, b_frames=b_frames)
    for threads in ("1", "3"):
        frames = read(path, threads=threads)
        assert {frame.header.epoch for frame in frames} == {0}
        assert [frame.info.line_s for frame in frames] == pytest.approx(
            [frames[0].info.line_s + k / 25 for k in range(40)]
        )


# -- joined recordings -----------------------------------------------------------------------------------


def joined(tmp_path: Path, container: str, codec: str, lengths: list[int]) -> Path:
    data = b""
    for number, length in enumerate(lengths):
        part = make(tmp_path / f"p{number}.{container}", length, codec=codec, size=(64, 48), gop=10)
        data += part.read_bytes()
    path = tmp_path / f"joined.{container}"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("container", "codec", "lengths"),
    [
        ("ts", "libx264", [50, 25]),
        ("ts", "libx264", [25, 50]),
        ("ts", "mpeg2video", [30, 30, 30]),
        ("mpg", "mpeg2video", [40, 20]),
        ("ts", "libx265", [20, 12, 30]),
        ("ts", "mpeg4", [45, 9, 22]),
    ],
)
def test_joined_recordings_have_all_their_rows_however_they_are_run(
    tmp_path: Path, container: str, codec: str, lengths: list[int]
) -> None:
    path = joined(tmp_path, container, codec, lengths)
    total = len(packet_by_packet(path))
    assert total == sum(lengths)
    other = make(tmp_path / "other.mp4", 20, size=(64, 48))
    run([path], tmp_path / "alone", executor="threads")
    run([path, other], tmp_path / "company", executor="threads")
    run([path], tmp_path / "one", threads=1)
    run([path], tmp_path / "three", threads=3)
    expected = rows(tmp_path / "one")
    assert len(expected) == total
    for name in ("alone", "three"):
        assert rows(tmp_path / name) == expected
    assert rows(tmp_path / "company", "joined") == expected
    for stop in (lengths[0], lengths[0] + 1):
        out = tmp_path / f"stopped{stop}"
        run([{"url": str(path), "max_frames": stop}], out, output={"segment_frames": 8})
        assert len(rows(out)) == stop
    frames = read(path)
    parts = [frame.header.epoch for frame in frames]
    starts = [sum(lengths[:number]) for number in range(len(lengths))]
    assert [parts.index(number) for number in range(len(lengths))] == starts, "each part is named"
    assert frames[-1].info.line_s - frames[0].info.line_s == pytest.approx((total - 1) / 25, abs=0.05)


def test_both_parts_of_a_joined_recording_are_sampled_and_shown(tmp_path: Path) -> None:
    path = joined(tmp_path, "ts", "libx264", [50, 25])
    sampled = read(path, sampling=Sampling(fps=5.0))
    assert [frame.header.frame_index for frame in sampled] == list(range(0, 75, 5))
    out = tmp_path / "out"
    run([path], out, output={"sinks": ["parquet", "overlay"]})
    with av.open(str(out / "overlay" / "joined.mp4")) as video:
        assert float(video.duration) / 1e6 == pytest.approx(3.0, abs=0.1)
        shown = [frame.time for frame in video.decode(video=0)]
    assert len(shown) == 75
    assert max(b - a for a, b in pairwise(shown)) < 0.1


def test_a_line_goes_on() -> None:
    line = Line(Fraction(1, 25))
    own = [
        Fraction(10, 25),
        Fraction(11, 25),
        Fraction(2, 25),
        Fraction(3, 25),
        None,
        Fraction(5, 25),
        Fraction(4, 25),
    ]
    placed = [line.place(each) for each in own]
    assert [part for part, _ in placed] == [0, 0, 1, 1, 1, 1, 2]
    assert [time * 25 for _, time in placed] == [0, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("own", "parts"),
    [
        (
            [0, 1, 2, 90_000, 3, 90_001, 90_002],
            [0, 0, 0, 1, 2, 3, 3],
        ),  # the times of two pictures are swapped
        ([0, 1, 2, 90_000, 3, 4, 90_001, 90_002], [0, 0, 0, 1, 2, 2, 3, 3]),
        ([0, 1, 2, 90_000, 180_000, 270_000], [0, 0, 0, 1, 1, 1]),  # seconds, then hours
        ([50, 51, 52, 0, 90_000, 180_000], [0, 0, 0, 1, 1, 1]),
        ([0, 1, 2, 90_000, 3, 90_003, 180_003], [0, 0, 0, 1, 2, 3, 3]),
        ([0, 1, 2, 90_000, 3, 2, 90_001], [0, 0, 0, 1, 2, 3, 4]),
    ],
)
def test_a_picture_between_joined_recordings_hides_no_jump(own: list[int], parts: list[int]) -> None:
    line = Line(Fraction(1, 25))
    placed = [line.place(Fraction(each, 25)) for each in own]
    assert [part for part, _ in placed] == parts
    assert all(later >= before for (_, before), (_, later) in pairwise(placed))


@pytest.mark.parametrize("container", ["ts", "mpg", "mkv"])
@pytest.mark.parametrize("b_frames", [0, 2])
def test_interlaced_pictures_are_the_same_after_resuming(
    tmp_path: Path, container: str, b_frames: int
) -> None:
    path = make(
        tmp_path / f"a.{container}",
        24,
        codec="mpeg2video",
        size=(64, 48),
        gop=6,
        b_frames=b_frames,
        codec_options={"flags": "+ildct+ilme"},
    )
    whole = read(path)
    for at in range(1, len(whole)):
        position = Position(whole[at].header.frame_index, whole[at].info.pts, at)
        assert told(read(path, position)[0]) == told(whole[at]), at
