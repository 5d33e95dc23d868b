from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from plantain.operators.answers.depth.value import DepthMap
from plantain.operators.answers.grids import enlarge
from plantain.operators.answers.image.value import Image
from plantain.operators.answers.masks.value import Masks
from plantain.operators.answers.normals.value import NormalMap
from plantain.operators.errors import SinkError
from plantain.operators.geometry import Letterbox
from plantain.operators.prompts import Prompt
from plantain.operators.render.drawing import draw
from plantain.operators.render.layout import Layout, has_tile, layout_for
from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.rows import Rows
from plantain.operators.sinks.video.overlay import OverlaySink
from plantain.operators.types import Failure, FrameInfo, Header, Prediction, Result, Timing, Value

FIT = Letterbox.fit((180, 320), (128, 128))
SIZE = (FIT.height, FIT.width)
TASKS = (
    "instances:car",
    "refer:the red car",
    "depth",
    "normals",
    "semantic:road,car,sky",
    "generate:a wet street",
)


def blocks(*regions: tuple[int, int, int, int]) -> NDArray[np.uint16]:
    """Labels with region k + 1 in rectangle k: top, left, bottom, right."""
    labels = np.zeros(SIZE, np.uint16)
    for number, (top, left, bottom, right) in enumerate(regions):
        labels[top:bottom, left:right] = number + 1
    return labels


def value_for(prompt: Prompt) -> Value:
    match prompt.codec:
        case "depth":
            depth = np.linspace(1, 80, SIZE[0] * SIZE[1], dtype=np.float32).reshape(SIZE)
            return DepthMap(depth, depth < 70, 0.0)
        case "normals":
            up = np.zeros((*SIZE, 3), np.float32)
            up[..., 1] = 1
            return NormalMap(up, np.ones(SIZE, np.bool_), 0.0)
        case "image":
            return Image(np.full((*SIZE, 3), 99, np.uint8))
        case "instances":
            scores = np.ones(2, np.float32)
            return Masks(
                blocks((10, 10, 30, 40), (40, 60, 70, 120)),
                ("car", "car"),
                scores,
                0.0,
                (3, None),
                (8.25, None),
            )
        case _:
            regions = [(10 + 20 * k, 10, 28 + 20 * k, 60) for k in range(len(prompt.classes))]
            return Masks(blocks(*regions), prompt.classes, np.ones(len(regions), np.float32), 0.0)


def result(
    index: int, tasks: Sequence[str] = TASKS, *, pts: int | None = -1, values: Sequence[Value | Failure] = ()
) -> Result:
    prompts = [Prompt.parse(task) for task in tasks]
    answers = values or [value_for(prompt) for prompt in prompts]
    picture = np.full((180, 320, 3), 60 + index % 100, np.uint8)
    info = FrameInfo(index if pts == -1 else pts, Fraction(1, 25), None, "file", FIT, picture=picture)
    predictions = tuple(
        Prediction(prompt, answer, "fake", "0", Timing())
        for prompt, answer in zip(prompts, answers, strict=True)
    )
    return Result(Header("gate", 0, index), info, predictions)


def times_of(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def written(sink: OverlaySink, indexes: Sequence[int], segment: int, **options: object) -> None:
    name = Segment("gate", 0, segment)
    for index in indexes:
        sink.write(name, Rows([result(index, ("instances:car",), **options)]))  # type: ignore[arg-type]
    sink.commit(name)


@pytest.mark.parametrize("num_tiles", range(8))
@pytest.mark.parametrize("picture_hw", [(720, 1280), (241, 321), (1280, 720), (90, 160)])
def test_the_layout_fits_and_is_even(picture_hw: tuple[int, int], num_tiles: int) -> None:
    layout = Layout.of(picture_hw, num_tiles)
    assert layout.width % 2 == layout.height % 2 == 0
    assert max(layout.main.width, layout.main.height) >= 960
    covered = np.zeros((layout.height, layout.width), np.int64)
    for tile in (layout.main, *layout.tiles):
        part = covered[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width]
        assert part.shape == (tile.height, tile.width)
        part += 1
    assert covered.max() == 1


@pytest.mark.parametrize("shown", [(540, 960), (180, 320), (72, 128), (71, 127), (301, 533)])
def test_enlarging_is_exact(shown: tuple[int, int]) -> None:
    given = np.arange(SIZE[0] * SIZE[1]).reshape(SIZE)
    enlarged = enlarge(given, shown)
    for row in (0, shown[0] // 3, shown[0] - 1):
        for column in (0, shown[1] // 2, shown[1] - 1):
            source = int((row + 0.5) * SIZE[0] / shown[0]), int((column + 0.5) * SIZE[1] / shown[1])
            assert enlarged[row, column] == given[source]


@pytest.mark.parametrize("model_hw", [(128, 128), (72, 128)])
def test_a_mask_lies_exactly_on_what_it_marks(model_hw: tuple[int, int]) -> None:
    fit = Letterbox.fit((720, 1280), model_hw)
    top, left, bottom, right = 20, 30, 40, 70  # of 72 x 128; ten display pixels each
    picture = np.zeros((720, 1280, 3), np.uint8)
    picture[top * 10 : bottom * 10, left * 10 : right * 10] = 200
    labels = np.zeros((fit.height, fit.width), np.uint16)
    labels[top:bottom, left:right] = 1
    masks = Masks(labels, ("box",), np.ones(1, np.float32), 0.0)
    plain = result(0, ("semantic:box",), values=[masks])
    info = FrameInfo(0, Fraction(1), None, "file", fit, picture=picture)
    shown = Result(plain.header, info, plain.predictions)
    layout = layout_for(shown)
    main = layout.main
    drawn = draw(shown, layout)[main.top : main.top + main.height, main.left : main.left + main.width]
    changed = (drawn != picture).any(axis=2)
    expected = np.zeros((720, 1280), np.bool_)
    expected[top * 10 : bottom * 10, left * 10 : right * 10] = True
    np.testing.assert_array_equal(changed, expected)


def test_every_kind_of_answer_is_drawn_in_its_place() -> None:
    every = result(7)
    layout = layout_for(every)
    assert len(layout.tiles) == sum(has_tile(prediction.prompt) for prediction in every.predictions) == 4
    drawn = draw(every, layout)
    assert drawn.shape == (layout.height, layout.width, 3)
    depth, normals, classes, image = (
        drawn[tile.top + tile.height // 2, tile.left + tile.width // 4].astype(int) for tile in layout.tiles
    )
    assert depth.sum() > 60
    assert tuple(normals) == (127, 255, 127)
    assert classes.max() > 100
    assert tuple(image) == (99, 99, 99)


def test_a_failed_answer_is_said_and_the_rest_is_drawn() -> None:
    failed = Failure("infer", "the model ran out of memory on this image", retryable=True)
    tasks = ("instances:car", "depth", "refer:a dog")
    values = [value_for(Prompt.parse(tasks[0])), failed, failed]
    spoiled = result(0, tasks, values=values)
    drawn = draw(spoiled, layout_for(spoiled))
    whole = result(0, tasks)
    assert drawn.shape == draw(whole, layout_for(whole)).shape


def test_nothing_found_leaves_the_frame_as_it_is() -> None:
    nothing = Masks(np.zeros(SIZE, np.uint16), (), np.zeros(0, np.float32), 0.0)
    empty = result(40, ("instances:car", "refer:a dog"), values=[nothing, nothing])
    layout = layout_for(empty)
    main = layout.main
    drawn = draw(empty, layout)[main.top : main.top + main.height, : main.width]
    assert (drawn == 100).all()


def test_without_a_picture_answers_are_drawn_on_a_plain_ground() -> None:
    given = result(0)
    info = FrameInfo(0, Fraction(1, 25), None, "file", FIT)
    blind = Result(given.header, info, given.predictions)
    assert draw(blind, layout_for(blind)).any()


def test_segments_become_one_video_with_the_times_of_the_frames(tmp_path: Path) -> None:
    sink = OverlaySink(str(tmp_path))
    sink.begin("gate", is_resumed=False)
    written(sink, range(10), 0)
    written(sink, [10, 11, 40, 41], 1)  # a gap in time
    assert not (tmp_path / "overlay").exists()
    sink.finish("gate")
    sink.close()
    times = times_of(tmp_path / "overlay" / "gate.mp4")
    assert times == [Fraction(index, 25) for index in [*range(12), 40, 41]]
    assert [file.name for file in (tmp_path / "overlay").iterdir()] == ["gate.mp4"]
    assert not list((tmp_path / ".plantain" / "overlay").iterdir())


def test_a_fixed_rate_closes_the_gaps(tmp_path: Path) -> None:
    sink = OverlaySink(str(tmp_path), fps=10.0)
    sink.begin("gate", is_resumed=False)
    written(sink, [0, 7, 9], 0)
    written(sink, [30, 90], 1)
    sink.finish("gate")
    sink.close()
    assert times_of(tmp_path / "overlay" / "gate.mp4") == [Fraction(number, 10) for number in range(5)]


def test_frames_without_times_or_with_the_same_time_follow_each_other(tmp_path: Path) -> None:
    sink = OverlaySink(str(tmp_path))
    for pts in (None, 5):
        sink.begin("gate", is_resumed=False)
        written(sink, range(4), 0, pts=pts)
        sink.finish("gate")
        times = times_of(tmp_path / "overlay" / "gate.mp4")
        assert len(times) == 4
        assert times == sorted(set(times))
    sink.close()


def test_a_repeated_segment_replaces_its_piece(tmp_path: Path) -> None:
    sink = OverlaySink(str(tmp_path))
    sink.begin("gate", is_resumed=False)
    written(sink, range(8), 0)
    written(sink, range(8, 12), 1)
    written(sink, range(8, 16), 1)
    sink.finish("gate")
    sink.close()
    assert len(times_of(tmp_path / "overlay" / "gate.mp4")) == 16


@pytest.mark.parametrize("had_finished", [False, True])
def test_a_killed_run_leaves_no_half_video_and_is_taken_up_again(tmp_path: Path, had_finished: bool) -> None:
    killed = OverlaySink(str(tmp_path))
    killed.begin("gate", is_resumed=False)
    written(killed, range(8), 0)
    written(killed, range(8, 16), 1)
    if had_finished:  # but was killed before the checkpoint said so
        killed.finish("gate")
    else:
        killed.write(Segment("gate", 0, 2), Rows([result(16, ("instances:car",))]))
        assert not (tmp_path / "overlay").exists()
    sink = OverlaySink(str(tmp_path))
    sink.begin("gate", is_resumed=True)
    written(sink, range(8, 16), 1)
    written(sink, range(16, 20), 2)
    sink.finish("gate")
    sink.close()
    assert times_of(tmp_path / "overlay" / "gate.mp4") == [Fraction(index, 25) for index in range(20)]
    killed.close()


def test_a_stream_that_starts_anew_forgets_its_old_video(tmp_path: Path) -> None:
    sink = OverlaySink(str(tmp_path))
    sink.begin("gate", is_resumed=False)
    written(sink, range(4), 0)
    sink.finish("gate")
    sink.begin("gate", is_resumed=False)
    assert not (tmp_path / "overlay" / "gate.mp4").exists()
    written(sink, range(2), 0)
    sink.finish("gate")
    sink.close()
    assert len(times_of(tmp_path / "overlay" / "gate.mp4")) == 2


def test_the_video_plays_anywhere(tmp_path: Path) -> None:
    sink = OverlaySink(str(tmp_path))
    sink.begin("gate", is_resumed=False)
    written(sink, range(3), 0)
    sink.finish("gate")
    sink.close()
    video = tmp_path / "overlay" / "gate.mp4"
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert stream.width % 2 == stream.height % 2 == 0
        frame = next(container.decode(stream))
        expected = draw(result(0, ("instances:car",)), layout_for(result(0, ("instances:car",))))
        assert np.abs(frame.to_ndarray(format="rgb24").astype(int) - expected).mean() < 4
    data = video.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_where_it_cannot_write_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="need a local folder"):
        OverlaySink("s3://bucket/out")
    (tmp_path / "out").write_text("a file is in the way")
    sink = OverlaySink(str(tmp_path / "out"))
    with pytest.raises(SinkError) as refusal:
        written(sink, [0], 0)
    assert str(tmp_path / "out") in str(refusal.value)


def test_a_tile_keeps_its_last_answer_where_its_prompt_is_not_asked_of_every_frame(tmp_path):
    whole = [result(index, ("instances:car", "depth", "normals")) for index in range(4)]
    thinned = [
        replace(
            made,
            predictions=tuple(
                each for each in made.predictions if number % 2 == 0 or str(each.prompt) != "depth"
            ),
        )
        for number, made in enumerate(whole)
    ]
    other = [replace(result(index, ("depth",)), predictions=()) for index in range(4, 8)]
    sink = OverlaySink(str(tmp_path))
    sink.begin("cam", is_resumed=False)
    segment = Segment("cam", 0, 0)
    sink.write(segment, Rows([*thinned, *other]))
    sink.commit(segment)
    sink.finish("cam")
    with av.open(str(tmp_path / "overlay" / "cam.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 8
    tile = layout_for(whole[0]).tiles[0]
    shown = [
        frame[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width].astype(int)
        for frame in frames
    ]
    for each in shown[1:]:
        assert np.abs(each - shown[0]).mean() < 8, "depth is there all the time"


def of_camera(
    sink: OverlaySink,
    epoch: int,
    captured_s: float | None,
    count: int = 10,
    picture_hw: tuple[int, int] = (180, 320),
) -> None:
    """A connection of a camera at 25 frames a second, whose times begin at 0."""
    name = Segment("gate", epoch, 0, is_live=True)
    picture = np.zeros((*picture_hw, 3), np.uint8)
    for index in range(count):
        made = result(index, ("instances:car",))
        ns = None if captured_s is None else round((captured_s + index / 25) * 1e9)
        fit = Letterbox.fit(picture_hw, FIT.model_hw)
        info = replace(made.info, captured_ns=ns, captured_by="arrival", picture=picture, fit=fit)
        value = Masks(np.zeros((fit.height, fit.width), np.uint16), (), np.zeros(0, np.float32), 0.0)
        predictions = (replace(made.predictions[0], value=value),)
        made = Result(replace(made.header, epoch=epoch), info, predictions)
        sink.write(name, Rows([made]))
    sink.commit(name)


@pytest.mark.parametrize(
    ("captured_s", "begins_s"),
    [
        ([1000.0, 1010.0, 1100.0], [0, 10, 100]),
        ([1000.0, 400.0, 401.0], [0, 0.4, 0.8]),  # the clock was set back
        ([None, None, None], [0, 0.4, 0.8]),  # nobody knows when
    ],
)
def test_each_connection_of_a_camera_keeps_its_pace_where_it_began(
    tmp_path: Path, captured_s: list[float | None], begins_s: list[float]
) -> None:
    sink = OverlaySink(str(tmp_path))
    sink.begin("gate", is_resumed=False)
    for epoch, at_s in enumerate(captured_s):
        of_camera(sink, epoch, at_s)
    sink.finish("gate")
    sink.close()
    times = times_of(tmp_path / "overlay" / "gate.mp4")
    assert times == pytest.approx([begin + k / 25 for begin in begins_s for k in range(10)], abs=1e-4)


def test_a_camera_that_came_back_with_another_size_has_a_further_video(tmp_path: Path) -> None:
    for epoch, size_hw in enumerate([(180, 320), (240, 320), (240, 320), (180, 320)]):
        sink = OverlaySink(str(tmp_path))  # each time a new process
        sink.begin("gate", is_resumed=epoch > 0)
        of_camera(sink, epoch, 1000.0 + 10 * epoch, picture_hw=size_hw)
        if epoch == 3:
            sink.finish("gate")
        sink.close()
    videos = sorted(path.name for path in (tmp_path / "overlay").iterdir())
    assert videos == ["gate (2).mp4", "gate (3).mp4", "gate.mp4"]
    assert [len(times_of(tmp_path / "overlay" / name)) for name in videos] == [20, 10, 10]
    OverlaySink(str(tmp_path)).begin("gate", is_resumed=False)
    assert not list((tmp_path / "overlay").iterdir())


def test_where_nothing_can_be_synced_videos_are_stored_all_the_same(tmp_path: Path, monkeypatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    sink = OverlaySink(str(tmp_path))
    sink.begin("gate", is_resumed=False)
    written(sink, range(3), 0)
    sink.finish("gate")
    sink.close()
    assert len(times_of(tmp_path / "overlay" / "gate.mp4")) == 3
